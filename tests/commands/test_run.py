"""``fairpool run``: what is refused before anything is read."""

import pandas as pd
import pytest
from small_study import TINY, assert_one_sentence, read_rows, run_cli, write_hospitals, write_manifest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "", "image_size=32"], "--methods names no method"),
        (["--methods", " , ", "eta=0.5"], "--methods names no method"),
        (["--methods", "unconstrained", "eta=0.5"], '"eta" is a setting of fairalm'),
        (["--methods", "unconstrained", "strength=2"], '"strength" is a setting of adversarial and'),
    ],
)
def test_wrong_usage_is_one_sentence_about_its_cause(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = run_cli("run", "tuberculosis", *arguments)
    assert_one_sentence(done, 2)
    assert message in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_an_output_that_is_no_folder_is_one_sentence_naming_the_option(small_study, tmp_path, name):
    (tmp_path / "file").write_text("")
    done = run_cli("run", "tuberculosis", "--manifest", small_study.manifest, "--output", tmp_path / name)
    assert_one_sentence(done, 2)
    assert "--output" in done.err
    assert "must be a folder" in done.err
    assert "store" not in done.err


def test_an_output_that_cannot_be_made_is_one_sentence_naming_the_option(small_study, tmp_path):
    output = tmp_path / ("x" * 300)  # longer than a file system takes
    done = run_cli("run", "tuberculosis", "--manifest", small_study.manifest, "--output", output)
    assert_one_sentence(done, 2)
    assert "the folder of --output" in done.err
    assert "cannot be made" in done.err


def test_more_folds_than_patients_are_one_sentence(small_study):
    done = run_cli(*small_study.arguments, "num_folds=500")
    assert_one_sentence(done, 1)
    assert "num_folds is 500, but there are only 48 patients" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split-column", "split"], "--split-column is about a table: it needs --manifest"),
        (["--normalize-sites"], "--normalize-sites is about a table"),
        (["--aliases", "a.yaml"], "--aliases is about a table"),
        (["--ignore-label", "-1"], "--ignore-label is about a table"),
        (["--manifest", "a.csv", "--test-manifest", "b.csv", "--split-column", "split"], "a test section of its own"),
        (["--manifest", "a.csv", "--split-column", "$exit()"], "would be evaluated by the configuration"),
        (["--manifest", "a.csv", "--ignore-label", "@seed"], "would be evaluated by the configuration"),
    ],
)
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_options_of_a_table_that_make_no_sense_are_wrong_usage(tmp_path, monkeypatch, command, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = run_cli(command, "tuberculosis", *arguments)
    assert_one_sentence(done, 2)
    assert message in done.err
    assert not list(tmp_path.iterdir())


def write_split(folder, change=lambda rows: rows, header=("image", "label", "site", "patient", "fold")):
    """The hospitals' table with a column ``fold``: of every (site, label) eight train, two validate, two test."""
    manifest = write_hospitals(folder)
    words = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    rows = [[*row, words[number % 12]] for number, row in enumerate(read_rows(manifest))]
    return write_manifest(manifest, change(rows), header)


def share_patients(rows):
    """The first two patients of the training are also in the test."""
    rows[10][3], rows[11][3] = rows[0][3], rows[1][3]
    return rows


def test_a_patient_in_two_sections_of_the_split_column_is_refused_by_number(small_study, tmp_path):
    manifest = write_split(tmp_path, share_patients)
    done = run_cli("run", "tuberculosis", "--manifest", manifest, "--split-column", "fold", *small_study.arguments[6:])
    assert_one_sentence(done, 1)
    assert "patients are in two sections: 2 in training and test. Split by patient (fairpool split)" in done.err
    assert "PATIENT" not in done.err


def test_what_a_table_leaves_out_and_joins_is_noted_and_its_split_tested(small_study, tmp_path):
    """Through the whole pipeline: another spelling, an ignored label, a split column."""

    def change(rows):
        rows[0][2], rows[1][1] = "BERN", "-1"
        rows[0][4] = "train"
        return rows

    manifest = write_split(tmp_path, change)
    (tmp_path / "aliases.yaml").write_text("Genève: [BERN]\n", encoding="utf-8")
    options = ["--split-column", "fold", "--aliases", tmp_path / "aliases.yaml", "--ignore-label", "-1"]
    where = ["--seeds", 1, "--epochs", 1, "--methods", "unconstrained", "--output", small_study.store.folder, *TINY]
    done = run_cli("run", "tuberculosis", "--manifest", manifest, *options, *where)
    assert done.status == 0, done.err
    out = " ".join(done.out.split())
    assert '1 of 48 rows are left out for the label -1 in "label" (Genève 1)' in out
    assert '"Genève" joins "BERN" (1), "Genève" (22)' in out
    study = next(line for line in done.out.splitlines() if "confidence intervals by site: " in line).split("site: ")[1]
    found = pd.read_parquet(f"{study}/unconstrained-seed0/predictions.parquet")
    assert sorted(found["row"][found["split"] == "test"]) == [11, 12, 23, 24, 35, 36, 47, 48]
    assert sorted(found["row"][found["split"] == "validation"]) == [9, 10, 21, 22, 33, 34, 45, 46]


def test_the_place_of_the_alias_table_is_no_part_of_the_evidence(small_study, tmp_path):
    (tmp_path / "aliases.yaml").write_text("bern: [Bern]\n", encoding="utf-8")
    options = ["--aliases", tmp_path / "aliases.yaml", "--methods", "unconstrained", "--seeds", 1, "--epochs", 1]
    done = run_cli(
        "run", "tuberculosis", "--manifest", small_study.manifest, *options, "--output", small_study.store.folder, *TINY
    )
    assert done.status == 0, done.err
    runs = small_study.client.search_runs([small_study.experiment_id])
    assert not any(str(tmp_path) in str(run.data.params) for run in runs)


def test_unseen_sites_may_be_tested_as_unknown(small_study, tmp_path):
    elsewhere = write_hospitals(tmp_path, sites=("bern", "zug"), per_cell=2, seed=7)
    options = ["--test-manifest", elsewhere, "--methods", "unconstrained", "--seeds", 1, "--epochs", 1]
    where = ["--output", small_study.store.folder, *TINY, "unknown_sites=keep"]
    done = run_cli("run", "tuberculosis", "--manifest", small_study.manifest, *options, *where)
    assert done.status == 0, done.err
    assert "4 test images are of sites that the training never saw (zug 4)" in done.out
    assert "error at zug" not in done.out
    study = next(line for line in done.out.splitlines() if "confidence intervals by site: " in line).split("site: ")[1]
    found = pd.read_parquet(f"{study}/unconstrained-seed0/predictions.parquet").query("split == 'test'")
    assert found["site"].value_counts().to_dict() == {"bern": 4, "unknown": 4}
