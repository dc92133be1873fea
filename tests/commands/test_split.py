"""``fairpool split``: the table as it was, with a split that the run takes."""

import pandas as pd
import pytest
from small_study import TINY, assert_one_sentence, run_cli, write_hospitals, write_manifest

from fairpool.data import read_manifest
from fairpool.data.manifest import read_table

HEADER = ("image", "label", "site", "patient", "age")


@pytest.fixture
def manifest(tmp_path):
    """Three sites of 20 patients, two images each, without any image on disk; a site that looks like a formula."""
    rows = [
        [f"{site}-{i}-{k}.png", i % 2, site, f"PATIENT-{site}-{i}", 40 + i]
        for site in ("=bern", "Genève", "zug")
        for i in range(20)
        for k in range(2)
    ]
    return write_manifest(tmp_path / "manifest.csv", rows, HEADER)


def split(manifest, *arguments, output="split.csv"):
    output = manifest.parent / output
    return run_cli("split", manifest, "--output", output, *arguments), output


def test_the_table_keeps_its_rows_and_columns_and_gets_a_patient_disjoint_split(manifest):
    done, output = split(manifest, "--seed", 3)
    assert (done.status, done.err) == (0, "")
    before, after = read_table(manifest), read_table(output)
    pd.testing.assert_frame_equal(after.drop(columns="split"), before)
    assert (after.groupby("patient")["split"].nunique() == 1).all()
    counts = pd.crosstab(after["split"], [after["site"], after["label"]])
    assert counts.loc["test"].isin([4, 6]).all()  # a quarter of ten patients, two images each
    assert counts.to_numpy().sum() == 120
    assert "'=bern" in output.read_text(encoding="utf-8")
    assert f"60 patients, 120 images; split: {output}" in done.out
    assert "PATIENT" not in done.out
    lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in done.out.splitlines()]
    cells = next([int(cell) for cell in line[2:]] for line in lines if line[:2] == ["=bern", "0"])
    assert cells == [counts[("=bern", "0")][section] for section in ("training", "validation", "test")]


def test_folds_test_every_row_once(manifest):
    done, output = split(manifest, "--folds", 4)
    assert done.status == 0, done.err
    table = read_table(output)
    folds = table[[f"split_{i}" for i in range(4)]]
    assert ((folds == "test").sum(axis=1) == 1).all()
    assert "split" not in table


@pytest.mark.parametrize("output", ["split.tsv", "split.parquet", "split.json"])
def test_each_site_is_left_out_in_a_column_of_its_slug(manifest, output):
    done, output = split(manifest, "--leave-one-site-out", output=output)
    assert done.status == 0, done.err
    table = read_table(output)
    for site, name in (("=bern", "split_bern"), ("Genève", "split_geneve"), ("zug", "split_zug")):
        assert ((table[name] == "test") == (table["site"] == site)).all()


def test_a_split_that_is_there_is_replaced_only_on_request(manifest):
    _, output = split(manifest)
    again = run_cli("split", output, "--output", output, "--seed", 9)
    assert_one_sentence(again, 2)
    assert 'has a column "split" already: --replace' in again.err
    before = read_table(output)["split"]
    assert run_cli("split", output, "--output", output, "--seed", 9, "--replace").status == 0
    after = read_table(output)
    assert list(after).count("split") == 1
    assert not after["split"].equals(before)


def test_rows_of_an_ignored_label_stay_in_the_table_and_in_no_section(manifest):
    table = read_table(manifest)
    table.loc[[0, 50], "label"] = "-1"
    table.to_csv(manifest, index=False)
    refused, _ = split(manifest)
    assert_one_sentence(refused, 1)
    assert 'rows have no label in "label" (rows 1, 51)' in refused.err
    done, output = split(manifest, "--ignore-label", "-1")
    assert done.status == 0, done.err
    assert '2 of 120 rows are left out for the label -1 in "label" (=bern 1, Genève 1)' in done.out
    found = read_table(output)["split"]
    assert found[[0, 50]].tolist() == ["", ""]
    assert (found != "").sum() == 118


def test_labels_of_any_values_are_strata_and_an_identifier_is_not_believed(manifest):
    table = read_table(manifest).assign(finding=["tb", "normal", "other"] * 40)
    table.to_csv(manifest, index=False)
    done, output = split(manifest, "--label-column", "finding")
    assert done.status == 0, done.err
    assert "│ other" in done.out
    assert set(read_table(output)["split"]) == {"training", "validation", "test"}
    refused, _ = split(manifest, "--label-column", "patient")
    assert_one_sentence(refused, 1)
    assert '"patient" has 60 values over 120 rows. Is it the column of the labels?' in refused.err


def test_a_table_without_patients_says_that_images_are_taken_for_patients(manifest):
    read_table(manifest).rename(columns={"patient": "person"}).to_csv(manifest, index=False)
    done, _ = split(manifest)
    assert "every image counts as a patient of its own (--patient-column)" in done.out
    named, _ = split(manifest, "--patient-column", "person")
    assert "60 patients, 120 images" in named.out


def test_misspelt_sites_are_joined_on_request_and_stay_as_written(manifest, tmp_path):
    table = read_table(manifest)
    table.loc[0:3, "site"] = "ZUG"
    table.to_csv(manifest, index=False)
    assert "several ways" in split(manifest)[0].err
    done, output = split(manifest, "--normalize-sites", "--leave-one-site-out")
    assert done.status == 0, done.err
    assert '"zug" joins "ZUG" (4), "zug" (40)' in done.out
    after = read_table(output)
    assert after["site"].equals(table["site"])
    assert (after["split_zug"][:4] == "test").all()
    (tmp_path / "aliases.yaml").write_text("Zug: [ZUG, zug]\n")
    done, output = split(manifest, "--aliases", tmp_path / "aliases.yaml", "--leave-one-site-out")
    assert done.status == 0, done.err
    assert '"Zug" joins "ZUG" (4), "zug" (40)' in done.out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--folds", "3", "--leave-one-site-out"], 2, "--folds and --leave-one-site-out are two kinds"),
        (["--folds", "61"], 1, "num_folds is 61, but there are only 60 patients"),
        (["--test-frac", "0.99"], 1, "must leave patients to train on"),
        (["--val-frac", "0.001"], 1, 'the validation section of "split" would be empty'),
        (["--site-column", "hospital"], 1, 'no column "hospital"; it has image, label, site, patient, age'),
        (["--max-groups", "2"], 1, '"site" has 3 values over 120 rows. Is it the right column?'),
    ],
)
def test_what_cannot_be_split_is_one_sentence_and_writes_nothing(manifest, arguments, status, message):
    done, output = split(manifest, *arguments)
    assert_one_sentence(done, status)
    assert message in done.err
    assert str(manifest.parent) not in done.err
    assert not output.exists()


def test_an_output_of_another_kind_or_place_is_refused_before_reading(manifest):
    assert_one_sentence(split(manifest, output="split.xlsx")[0], 2)
    assert_one_sentence(split(manifest, output="none/split.csv")[0], 2)


def test_an_output_in_another_folder_says_where_the_images_are(manifest):
    (manifest.parent / "other").mkdir()
    done, _ = split(manifest, output="other/split.csv")
    assert "give it as --data" in done.out


@pytest.mark.slow
def test_a_run_trains_and_tests_on_the_split_that_it_is_given(tmp_path, store):
    manifest = write_hospitals(tmp_path, sites=("bern", "Genève", "zug"), per_cell=8)
    output = tmp_path / "split.csv"
    assert run_cli("split", manifest, "--output", output, "--leave-one-site-out").status == 0
    options = ["--split-column", "split_bern", "--seeds", 1, "--epochs", 1, "--output", store.folder, *TINY]
    done = run_cli("run", "tuberculosis", "--manifest", output, "--methods", "unconstrained", *options)
    assert done.status == 0, done.err
    assert 'site "bern" has no training image (0 of 16): no constraint reaches it' in done.out
    predictions = next(
        path
        for path in store.folder.rglob("predictions.parquet")
        if set(pd.read_parquet(path).query("split == 'test'")["site"]) == {"bern"}
    )
    found = pd.read_parquet(predictions).query("split == 'test'")
    expected = read_manifest(output, split_column="split_bern").query("section == 'test'")
    assert sorted(found["row"]) == sorted(expected["row"])
