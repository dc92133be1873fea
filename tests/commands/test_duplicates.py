"""``fairpool duplicates``: copies are named by row, and fail the command where they spoil a result."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_study import assert_one_sentence, run_cli

COLUMNS = ["image", "label", "site", "patient", "split"]


@pytest.fixture
def folder(tmp_path):
    """Twelve images of smooth noise at two sites, all of other people, in a folder whose names must not be shown."""
    folder = tmp_path / "secret-folder"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8))
        coarse.resize((300, 300), Image.Resampling.BICUBIC).save(folder / f"mueller-{number}.png")
        site = ("bern", "Genève")[number % 2]
        rows.append([f"mueller-{number}.png", "0", site, f"PATIENT-{number}", "training" if number < 8 else "test"])
    write(folder, rows)
    return folder


def write(folder, rows):
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "manifest.csv", index=False)


def rows_of(folder):
    return pd.read_csv(folder / "manifest.csv", dtype=str).to_numpy().tolist()


def copy(folder, source, target, **save):
    Image.open(folder / f"mueller-{source}.png").save(folder / f"mueller-{target}.png", **save)


def find(folder, *arguments):
    done = run_cli("duplicates", folder / "manifest.csv", "--json", folder / "found.json", *arguments)
    for secret in ("secret-folder", "mueller", "PATIENT"):
        assert secret not in done.out + done.err
    content = json.loads((folder / "found.json").read_text()) if (folder / "found.json").exists() else None
    return done, content


def test_other_images_are_no_duplicates(folder):
    done, found = find(folder)
    assert (done.status, done.err) == (0, "")
    assert found["counts"]["same_pixels"]["all"] == found["counts"]["near"]["all"] == 0
    assert (found["images"], found["hashed"], found["split_columns"]) == (12, 12, ["split"])


def test_the_same_pixels_in_two_splits_are_status_1(folder):
    copy(folder, 0, 10, compress_level=0)
    done, found = find(folder)
    assert done.status == 1
    assert "same pixels: row 1 (bern, label 0, training), row 11 (bern, label 0, test)" in done.out
    assert "fault: 1 image occurs in two splits with the same pixels" in done.out
    assert found["faults"] == ["1 image occurs in two splits with the same pixels"]


def test_the_same_pixels_with_two_labels_are_status_1(folder):
    copy(folder, 0, 2, compress_level=0)
    rows = rows_of(folder)
    rows[2][1] = "1"
    write(folder, rows)
    done, found = find(folder)
    assert done.status == 1
    assert found["faults"] == ["1 image occurs with two labels with the same pixels"]


def test_the_same_pixels_at_two_sites_are_told_and_are_status_0(folder):
    copy(folder, 0, 1, compress_level=0)
    done, found = find(folder)
    assert done.status == 0
    assert found["counts"]["same_pixels"] == {
        "all": 1,
        "across_sites": 1,
        "across_splits": 0,
        "across_labels": 0,
        "images": 2,
    }
    assert "row 1 (bern, label 0, training), row 2 (Genève, label 0, training)" in done.out


def test_a_copy_that_was_compressed_again_is_a_near_pair_and_no_fault(folder):
    image = Image.open(folder / "mueller-0.png").resize((150, 150))
    image.save(folder / "mueller-9.png")
    done, found = find(folder)
    assert done.status == 0
    pair = found["near"][0]
    assert (pair["row"], pair["other_row"], pair["across_sites"], pair["across_splits"]) == (1, 10, True, True)
    assert found["counts"]["near"]["all"] == 1


def test_hashes_of_the_table_are_used_and_then_no_image_is_needed(folder):
    table = pd.read_csv(folder / "manifest.csv", dtype=str)
    table["pixel_hash"] = [f"{i:064x}" for i in range(11)] + [f"{0:064x}"]
    table["perceptual_hash"] = [f"{0x00FF00FF00FF00FF * (i + 1) % 2**64:016x}" for i in range(12)]
    table.to_csv(folder / "manifest.csv", index=False)
    for image in folder.glob("*.png"):
        image.unlink()
    done, found = find(folder, "--distance", 0)
    assert done.status == 1
    assert [row["row"] for row in found["same_pixels"]] == [1, 12]


def test_split_columns_are_those_that_are_named(folder):
    copy(folder, 0, 10, compress_level=0)
    table = pd.read_csv(folder / "manifest.csv", dtype=str).assign(split_bern="test")
    table.to_csv(folder / "manifest.csv", index=False)
    assert find(folder)[1]["split_columns"] == ["split", "split_bern"]
    done, found = find(folder, "--split-column", "split_bern")
    assert done.status == 0
    assert found["faults"] == []


def test_only_the_first_twenty_are_listed_and_the_file_has_all(folder):
    table = pd.DataFrame(
        {"image": "x.png", "label": "0", "site": ["bern", "zug"] * 30, "pixel_hash": [str(i // 2) for i in range(60)]}
    ).assign(perceptual_hash="")
    table.to_csv(folder / "manifest.csv", index=False)
    done, found = find(folder)
    assert done.out.count("same pixels: row") == 20
    assert "and 10 more: --json FILE has them" in done.out
    assert len(found["same_pixels"]) == 60


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--split-column", "fold"], 2, 'no column "fold" of --split-column; it has image, label'),
        (["--label-column", "finding"], 2, 'no column "finding" of --label-column'),
        (["--site-column", "hospital"], 1, 'no column "hospital"'),
        (["--json", "found.txt"], 2, "--json must end in .json"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(folder, arguments, status, message):
    done, _ = find(folder, *arguments)
    assert_one_sentence(done, status)
    assert message in done.err


def test_images_that_cannot_be_read_are_named_by_row_and_site(folder):
    (folder / "mueller-3.png").write_bytes(b"")
    done, _ = find(folder)
    assert_one_sentence(done, 1)
    assert "row 4 (Genève): not an image" in done.err
