"""Every failure of the command line is a status and one sentence, before anything is trained where that can be."""

import re
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from small_study import (
    FAIRPOOL,
    TINY,
    answers,
    assert_one_sentence,
    end_group,
    free_port,
    read_rows,
    run_cli,
    wait_for,
    write_hospitals,
    write_manifest,
)

from fairpool.bundle import find_bundle
from fairpool.constraints import CONSTRAINTS


def run_process(*arguments):
    """The command line in a process of its own."""
    done = subprocess.run([*FAIRPOOL, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    return SimpleNamespace(status=done.returncode, out=done.stdout, err=done.stderr)


@pytest.fixture
def number_of_runs(small_study):
    return lambda: len(small_study.client.search_runs([small_study.experiment_id]))


@pytest.fixture
def run_on(small_study):
    """``fairpool run tuberculosis`` with a manifest, in the store and folder that are there already."""

    def run(manifest, *arguments):
        where = ["--manifest", manifest, "--output", small_study.store.folder]
        return run_cli("run", "tuberculosis", *where, "--seeds", 1, "--epochs", 1, *TINY, *arguments)

    return run


def test_a_study_prints_the_comparison_and_the_counts(small_study):
    out, runs = small_study.done.out, small_study.runs
    assert small_study.done.err == ""
    assert "2 seeds (equal_opportunity)" in " ".join(out.split())
    for name, run in runs.items():
        method, seed = name.split("-seed")
        assert f"{method}, seed {seed}: test error {100 * run.data.metrics['test/error']:.1f}" in out
    lines = {line.split("│")[1].strip(): line for line in out.splitlines() if line.count("│") > 2}
    summary = small_study.summaries[0].data.metrics
    for method in ("unconstrained", "fairalm"):
        mean, std = (100 * summary[f"test/error/{method}/{part}"] for part in ("mean", "std"))
        assert f"{mean:.1f} ± {std:.1f}" in lines["error"]
    assert {"DEO (FNR gap)", "error at Genève", "error at bern", "Genève", "bern"} <= lines.keys()
    assert f"fairpool ui --output {small_study.store.folder}" in out
    assert small_study.summaries[0].info.run_id in out


@pytest.mark.parametrize("run", [run_cli, pytest.param(run_process, marks=pytest.mark.slow)])
def test_the_same_command_again_trains_nothing(small_study, number_of_runs, run):
    before = number_of_runs()
    start = time.monotonic()
    done = run(*small_study.arguments)
    seconds = time.monotonic() - start
    assert (done.status, done.err) == (0, "")
    assert done.out.count("(was finished)") == 4
    assert number_of_runs() == before
    assert seconds < 60  # of a process of its own, most are imports

    def table(out):
        return out[out.index("Test, percent") : out.index("Box plots")].rstrip()

    assert table(done.out) == table(small_study.done.out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "tubercolosis"], 'did you mean "tuberculosis"'),
        (["run", "tuberculosis", "--methods", "fairal"], 'did you mean "fairalm"'),
        (["run", "tuberculosis", "--methods", "fairalm,fairalm"], "each method once"),
        (["run", "tuberculosis", "--methods", ","], "each method once"),
        (["run", "tuberculosis", "--constraint", "equal_oportunity"], 'did you mean "equal_opportunity"'),
        (["run", "tuberculosis", "epoch=3"], 'did you mean "epochs"'),
        (["run", "tuberculosis", "epochs"], "key=value"),
        (["run", "tuberculosis", "epochs=$1"], "--trust-config"),
        (["run", "tuberculosis", "seed=1"], "--seeds"),
        (["run", "tuberculosis", "batch_size=abc"], "whole number"),
        (["run", "tuberculosis", "--test-manifest", "x.csv"], "--manifest"),
        (["run", "tuberculosis", "--manifest", "x.csv", "--site-column", "$print(1)"], "would be evaluated"),
        (["run", "tuberculosis", "--manifest", "x.csv", "--positive", "@seed"], "would be evaluated"),
        (["run", "./nothing"], "there is no pipeline"),
        (["synthesize", "brain"], "tuberculosis"),
        (["download", "brain"], "tuberculosis"),
        (["download", "tuberculosis", "--sha256", "abc"], "SITE=DIGEST"),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_cli(*arguments)
    assert_one_sentence(done, 2)
    assert message in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "tuberculosis", "--seeds", "0"],
        ["run", "tuberculosis", "--seeds", "many"],
        ["run", "tuberculosis", "--epochs", "0"],
        ["run", "tuberculosis", "--no-such-option"],
        ["evaluate", "model.pt"],
        ["nothing"],
    ],
)
def test_wrong_options_are_status_2(arguments):
    done = run_cli(*arguments)
    assert done.status == 2
    assert "Error" in done.err
    assert "Traceback" not in done.err


def test_help_is_status_0():
    done = run_cli("run", "--help")
    assert done.status == 0
    assert "--manifest" in done.out


def test_a_status_reaches_the_shell():
    """In a process of its own: typer returns an exit status that main must not lose."""
    assert_one_sentence(run_process("run", "tubercolosis"), 2)


def test_a_bundle_from_outside_needs_trust(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "train.json").write_text(f"""{{"imports": ["$open({str(tmp_path / "ran")!r}, 'w')"]}}""")
    done = run_cli("run", tmp_path)
    assert_one_sentence(done, 2)
    assert "--trust-config" in done.err
    assert not (tmp_path / "ran").exists()


# Each turns the rows of a good manifest into bad ones.
def drop_label(rows):
    return [row[:1] + row[2:] for row in rows], ("image", "site", "patient")


def change(**columns):
    """The second row's cells, by column."""

    def make(rows):
        for column, value in columns.items():
            rows[1][("image", "label", "site", "patient").index(column)] = value
        return rows, ("image", "label", "site", "patient")

    return make


def keep(column, value):
    def make(rows):
        return [row for row in rows if row[column] == value], ("image", "label", "site", "patient")

    return make


def confound(rows):
    return [row for row in rows if (row[2] == "bern") == (row[1] == "1")], ("image", "label", "site", "patient")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (drop_label, 'no column "label"'),
        (change(label="2"), "found '2' (row 2)"),
        (change(label=""), "row 2"),
        (change(site=""), "row 2"),
        (change(site="Bern"), "several ways"),
        (change(image="scans/none.png"), "row 2: no such file"),
        (change(image="../../etc/passwd"), "row 2: path leaves the data folder"),
        (change(image="scans/truncated.png"), "row 2 (Genève)"),
        (change(image="scans/empty.png"), "row 2 (Genève)"),
        (change(image="scans/page.png"), "row 2 (Genève)"),
        (change(image="scans/nan.dcm"), "row 2 (Genève)"),
        (keep(2, "bern"), "at least 2 sites"),
        (keep(1, "1"), "has label 1"),
        (confound, "no label occurs at two sites"),
        (lambda rows: (rows[:3], ("image", "label", "site", "patient")), ""),
        (lambda rows: ([], ("image", "label", "site", "patient")), "no row"),
    ],
)
def test_bad_data_are_one_sentence_before_anything_is_trained(run_on, tmp_path, number_of_runs, make, message):
    manifest = write_hospitals(tmp_path)
    whole = (tmp_path / read_rows(manifest)[0][0]).read_bytes()
    for name, content in (("truncated.png", whole[:300]), ("empty.png", b""), ("page.png", b"<html>denied</html>")):
        (tmp_path / "scans" / name).write_bytes(content)
    write_dicom_with_nan(tmp_path / "scans" / "nan.dcm")
    write_manifest(manifest, *make(read_rows(manifest)))
    before = number_of_runs()
    done = run_on(manifest)
    assert_one_sentence(done, 1)
    assert message in done.err
    assert str(tmp_path) not in done.err
    assert "mueller" not in done.err
    assert number_of_runs() == before


def write_dicom_with_nan(path):
    """A radiograph whose rescaling makes every pixel NaN."""
    import numpy as np
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Rows = dataset.Columns = 64
    dataset.FloatPixelData = np.full((64, 64), np.nan, dtype=np.float32).tobytes()
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.PhotometricInterpretation = 1, 32, "MONOCHROME2"
    dataset.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_no_data_are_one_sentence(small_study, tmp_path, kind, number_of_runs):
    folder = tmp_path / "radiographs"
    if kind == "empty":
        folder.mkdir()
    before = number_of_runs()
    done = run_cli("run", "tuberculosis", "--data", folder, "--output", small_study.store.folder, *TINY)
    assert_one_sentence(done, 1)
    assert 'no radiograph in "radiographs"' in done.err
    assert str(tmp_path) not in done.err
    assert number_of_runs() == before


def test_a_missing_manifest_is_one_sentence(run_on, tmp_path):
    done = run_on(tmp_path / "none.csv")
    assert_one_sentence(done, 1)
    assert 'no manifest "none.csv"' in done.err


@pytest.mark.parametrize(
    ("setting", "message"),
    [("num_folds=1", "num_folds"), ("val_frac=0.9", "val_frac"), ("image_size=0", "size")],
)
def test_settings_that_split_or_read_nothing_are_one_sentence(run_on, small_study, number_of_runs, setting, message):
    before = number_of_runs()
    done = run_on(small_study.manifest, setting)
    assert_one_sentence(done, 1)
    assert message in done.err
    assert number_of_runs() == before


@pytest.mark.parametrize("setting", ["learning_rate=-1", "batch_size=-1", "key_metric_name=auc"])
def test_settings_that_train_nothing_are_one_sentence(run_on, small_study, setting):
    done = run_on(small_study.manifest, setting, "--methods", "fairalm")
    assert_one_sentence(done, 1)
    assert "fairalm, seed 0: " in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("eta=-1", "--methods", "fairalm"),
            ('"fairalm" with the constraint equal_opportunity', "eta must be positive"),
        ),
        (
            ("--constraint", "demographic_parity", "--methods", "fairalm"),
            ("demographic_parity needs", "fairalm_quadratic"),
        ),
        (("--constraint", "predictive_parity", "--methods", "adversarial"), ("no form for 'predictive_parity'",)),
    ],
)
def test_a_method_that_cannot_be_built_is_refused_before_any_run(run_on, small_study, number_of_runs, arguments, words):
    before = number_of_runs()
    done = run_on(small_study.manifest, *arguments)
    assert_one_sentence(done, 1)
    assert all(word in done.err for word in words)
    assert number_of_runs() == before


def test_an_unreachable_server_is_told_and_training_goes_on(run_on, small_study, number_of_runs):
    before = number_of_runs()
    done = run_on(small_study.manifest, "--tracking-uri", f"http://me:secret@127.0.0.1:{free_port()}")
    assert done.status == 0, done.err
    assert "does not answer" in done.out
    assert "fairpool sync" in done.out
    assert "secret" not in done.out + done.err
    assert number_of_runs() == before


def test_sites_with_any_name_are_shown_as_they_are(run_on, tmp_path):
    """Brackets are markup to the terminal, a dollar is code to the configuration, a slash is a folder to MLflow."""
    sites = ("[/red] Hôpital A (2)", f"$open({str(tmp_path / 'ran')!r}, 'w')", "../../x")
    manifest = write_hospitals(tmp_path, sites=sites)
    done = run_on(manifest, "--methods", "fairalm")
    assert (done.status, done.err) == (0, "")
    for site in sites:
        assert re.search(re.escape(f"error at {site}"[:60]), done.out)
    assert not (tmp_path / "ran").exists()


def test_a_separate_test_set_may_have_new_sites(run_on, tmp_path):
    manifest = write_hospitals(tmp_path)
    other = write_hospitals(tmp_path, sites=("bern", "zurich"), per_cell=3, name="test.csv", seed=1)
    done = run_on(manifest, "--test-manifest", other, "--patient-column", "patient")
    assert (done.status, done.err) == (0, "")
    assert 'site "zurich" is only in the test set (6 images)' in done.out
    assert "error at zurich" in done.out


def test_ui_without_a_store_is_one_sentence(tmp_path):
    assert_one_sentence(run_cli("ui", "--output", tmp_path / "none"), 1)
    assert_one_sentence(run_cli("ui", "--tracking-uri", f"sqlite:///{tmp_path}/none.db"), 1)


def test_ui_of_a_server_names_its_address_without_the_password():
    done = run_cli("ui", "--tracking-uri", "http://me:secret@example.org:5000")
    assert done.status == 0
    assert "http://example.org:5000" in done.out
    assert "secret" not in done.out


@pytest.mark.slow
def test_ui_shows_the_store(small_study, tmp_path):
    port = free_port()
    command = [*FAIRPOOL, "ui", "--output", str(small_study.store.folder), "--port", str(port)]
    with (tmp_path / "ui.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), "answer of the UI", 90)
        assert answers(f"http://127.0.0.1:{port}/")
    finally:
        end_group(process)
    assert f"http://127.0.0.1:{port}" in (tmp_path / "ui.log").read_text()


@pytest.mark.slow
def test_synthesized_radiographs_make_a_study(tmp_path):
    command = [sys.executable, "-m", "fairpool.cli"]
    done = subprocess.run(
        [*command, "synthesize", "tuberculosis", "--output", "tree", "--images", "12", "--confounding", "0"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [*command, "run", "tuberculosis", "--data", "tree", "--seeds", "1", "--epochs", "1", "val_frac=0.2", *TINY],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "error at shenzhen" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"tree", "fairpool-runs"}


@pytest.mark.slow
def test_every_method_of_the_pipeline_runs_and_stands_in_the_table(run_on, small_study):
    methods = find_bundle("tuberculosis").methods
    done = run_on(small_study.manifest, "--methods", ",".join(methods))
    assert done.status == 0, done.err
    for method in methods:
        assert f"{method}, seed 0: test error" in done.out
        assert f"│ {method} " in done.out


@pytest.mark.slow
@pytest.mark.parametrize("constraint", list(CONSTRAINTS))
def test_every_constraint_runs_with_a_method_that_has_a_form_for_it(run_on, small_study, constraint):
    done = run_on(small_study.manifest, "--methods", "fairalm_quadratic,lagrangian", "--constraint", constraint)
    assert done.status == 0, done.err
    assert f"({constraint})" in done.out
