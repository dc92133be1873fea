"""Images that cannot be read leave the pool where the user allows it, and leave the same split behind."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_study import TINY, assert_one_sentence, run_cli, write_hospitals

from fairpool.data import Pool, pool_manifest
from fairpool.errors import DataError


@pytest.fixture
def manifest(tmp_path):
    """Two sites of 24 images; the files of rows 4 and 7 are empty."""
    table = write_hospitals(tmp_path, sites=("basel", "bern"), per_cell=12)
    spoil(table, 4, 7)
    return table


def spoil(table, *rows):
    with table.open(encoding="utf-8", newline="") as file:
        images = [line[0] for line in list(csv.reader(file))[1:]]
    for row in rows:
        (table.parent / images[row - 1]).write_bytes(b"")


def read(manifest, **options):
    return pool_manifest(manifest, columns={"patient_column": "patient"}, **options)


def sections(pool):
    return dict(zip(pool.records["row"], pool.records["section"], strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude_rows": 5}, "exclude_rows must be a list of row numbers"),
        ({"exclude_rows": [49]}, "exclude_rows names row 49; there are rows 1 to 48"),
        ({"exclude_rows": ["a.png"]}, "'a.png' among them"),
        ({"exclude_test_rows": [1]}, "exclude_test_rows names row 1"),
    ],
)
def test_rows_that_are_none_of_the_table_are_refused(manifest, options, message):
    with pytest.raises(ValueError, match=message):
        read(manifest, **options)


def test_skipped_images_leave_every_section_and_are_counted_by_site_and_label(manifest):
    pool = read(manifest)
    before = sections(pool)
    first, *_ = pool.prepare(16, None, on_error="skip", max_skipped=0.1)
    assert first.startswith(
        '2 of 24 images of site "basel" cannot be used and are left out (label 0: 2): row 4 (basel): not an image'
    )
    assert sections(pool) == {row: section for row, section in before.items() if row not in (4, 7)}
    items = [item["row"] for name in ("training", "validation", "test") for item in pool.section(name)]
    assert sorted(items) == sorted(sections(pool))
    assert len(pool.digests) == len(pool.records) == 46
    assert pool.excluded == {"exclude_rows": [4, 7], "exclude_test_rows": []}


def test_another_pool_without_these_rows_is_the_same(manifest):
    pool = read(manifest, seed=3)
    pool.prepare(16, None, on_error="skip", max_skipped=0.1)
    other = read(manifest, seed=3, **pool.excluded)
    pd.testing.assert_frame_equal(pool.records, other.records)
    assert other.fingerprint() == pool.fingerprint()
    assert other.section("training") == pool.section("training")
    other.check_equal_images(pool.digests)


def test_the_default_refuses_and_the_limit_holds(manifest):
    with pytest.raises(DataError, match="2 of 48 images cannot be used"):
        read(manifest).prepare(16, None)
    with pytest.raises(DataError, match='2 of 24 of site "basel"'):
        read(manifest).prepare(16, None, on_error="skip", max_skipped=0.08)


def test_rows_of_a_second_table_are_told_apart(manifest, tmp_path):
    test = write_hospitals(tmp_path / "new", sites=("basel", "bern"), seed=1)
    spoil(test, 1, 40)
    options = {"columns": {"patient_column": "patient"}}
    pool = pool_manifest(manifest, test, **options)
    sentences = pool.prepare(16, None, on_error="skip", max_skipped=0.2)
    assert "row 1 of the test table (basel)" in sentences[0]
    assert pool.excluded == {"exclude_rows": [4, 7], "exclude_test_rows": [1, 40]}
    other = pool_manifest(manifest, test, **options, **pool.excluded)
    pd.testing.assert_frame_equal(pool.records, other.records)


def test_a_section_or_a_comparison_that_is_lost_is_refused(tmp_path):
    rows = []
    for index in range(12):
        path = tmp_path / f"{index}.png"
        Image.fromarray(np.random.default_rng(index).integers(0, 255, (8, 8), np.uint8)).save(path)
        rows.append({"image": str(path), "label": index % 2, "site": "ab"[index // 6], "patient": str(index)})
    records = pd.DataFrame(rows, index=range(1, 13)).assign(row=range(1, 13), section="training")
    records.loc[[3, 9], "section"] = "validation"
    records.loc[[5, 11], "section"] = "test"
    for lost, message in (((5, 11), "test section is empty"), ((2, 4, 6, 7, 9, 11), "no label occurs at two sites")):
        pool = Pool(records)
        for row in lost:
            Path(records["image"][row]).write_bytes(b"")
        with pytest.raises(DataError, match=message):
            pool.prepare(16, None, on_error="skip", max_skipped=0.9)


def test_another_word_is_refused(manifest):
    with pytest.raises(ValueError, match='on_error must be "raise" or "skip"'):
        read(manifest).prepare(16, None, on_error="ignore")


@pytest.mark.slow
def test_a_study_trains_every_seed_without_the_skipped_rows_and_says_so(manifest, tmp_path):
    arguments = ["run", "tuberculosis", "--manifest", manifest, "--patient-column", "patient", "--seeds", 2]
    arguments += ["--epochs", 1, "--methods", "unconstrained", "--output", tmp_path / "out", *TINY]
    assert_one_sentence(run_cli(*arguments), 1)
    done = run_cli(*arguments, "on_error=skip", "max_skipped=0.1")
    assert done.status == 0, done.err
    assert '2 of 24 images of site "basel" cannot be used and are left out' in " ".join(done.out.split())
    tables = [pd.read_parquet(file) for file in tmp_path.glob("out/**/predictions.parquet")]
    assert len(tables) >= 2
    assert not any(set(table["row"]) & {4, 7} for table in tables)
    first = {file: file.stat().st_mtime_ns for file in tmp_path.glob("out/**/model.pt")}
    assert run_cli(*arguments, "on_error=skip", "max_skipped=0.1").status == 0
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("out/**/model.pt")} == first  # the same study
