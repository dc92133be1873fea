"""Nothing that names a patient leaves an image: canaries in every identifying element, then every command as a user.

The elements are those of DICOM PS3.15 Annex E (`identifying_elements`), the values and the search are in `canaries`.
Names of files and folders hold canaries too. Allowed are two places: the site, where the user asks for an element by
name, and the paths in the tables that `fairpool manifest build` writes.
"""

import csv
from types import SimpleNamespace

import pandas as pd
import pytest
from canaries import canary, find_canaries, find_in_folder, write_canary
from dicom_files import VENDORS, draw_pixels
from overhearing import everything_of, overhear
from small_study import TINY, run_cli
from spoilt_files import FAULTS, spoil

from fairpool.errors import DataError

SITES = {"bern": "Spital Bern", "geneva": "Spital Genf"}
PER_CELL = 10


def act(*arguments):
    """Run a command as a user whose program logs everything; what it said, in which no canary may be."""
    with overhear() as texts:
        try:
            done = run_cli(*arguments)
            status, out = done.status, done.out + done.err
        except Exception as error:  # noqa: BLE001  (FAIRPOOL_TRACEBACK lets every error through)
            status, out = 1, "\n".join(everything_of(error))
    said = "\n".join([*texts, out])
    assert find_canaries(said) == set(), said[-3000:]
    return SimpleNamespace(status=status, out=out)


def assert_clean(folder, **options):
    assert find_in_folder(folder, **options) == {}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two hospitals' files in several transfer syntaxes and of several vendors, positives with a bright square."""
    folder = tmp_path_factory.mktemp("images") / "KANARI-Anna"
    kinds = ["explicit", "implicit", "big endian", "rle", "jpeg lossless", "jpeg 2000"]
    rows = []
    for site, institution in SITES.items():
        for label in (0, 1):
            for _ in range(PER_CELL):
                number = len(rows)
                pixels = draw_pixels(11, size=(32, 32), seed=number)
                pixels[8:20, 8:20] += 1500 * label
                path = f"{site}/KANARI-{number:03d}.dcm"
                options = {
                    "transfer_syntax": kinds[number % len(kinds)],
                    "vendor": list(VENDORS)[number % len(VENDORS)],
                }
                write_canary(folder / path, number, institution=institution, pixels=pixels, bits=12, **options)
                rows.append([path, label, site, canary("PatientID", number)])
    with (folder / "patients.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "site", "patient"], *rows])
    return folder


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A file for each fault, and a table of them."""
    folder = tmp_path_factory.mktemp("spoilt") / "KANARI-Bruno"
    rows = []
    for number, how in enumerate(FAULTS):
        path = f"{'ab'[number % 2]}/KANARI-{number}.dcm"
        spoil(write_canary(folder / path, number, institution="Spital Bern"), how)
        rows.append([path, number // 2 % 2, "ab"[number % 2], canary("PatientID", number)])
    with (folder / "patients.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "site", "patient"], *rows])
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with no canary in its name."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- tables of images ------------------------------------------------------------------------------------------------


def without_paths(folder):
    """Take the column of the paths out of the tables that `manifest build` wrote, as the one place for them."""
    for file in [*folder.glob("*.csv"), *folder.glob("*.parquet")]:
        read, write = (pd.read_csv, "to_csv") if file.suffix == ".csv" else (pd.read_parquet, "to_parquet")
        getattr(read(file).drop(columns="path"), write)(file, index=False)


def build(images, *options):
    return act("manifest", "build", images, "--labels", images / "patients.csv", *options, "--workers", 1)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_built_table_names_patients_by_pseudonyms_alone(images, here, kind):
    done = build(images, "--output", f"table.{kind}", "--site-from", "dicom:InstitutionName", "--hash-pixels")
    assert done.status == 0, done.out
    table = pd.read_csv("table.csv") if kind == "csv" else pd.read_parquet("table.parquet")
    assert table["patient"].nunique() == len(table) == 4 * PER_CELL
    assert set(table["site"]) == set(SITES.values())
    (here / "table.journal.jsonl").unlink()  # paths: it goes on where an interrupted build was
    without_paths(here)
    assert_clean(here)
    assert act("manifest", "validate", f"table.{kind}", "--no-files").status in (0, 1)


def test_the_journal_of_a_build_holds_paths_and_pseudonyms_but_nothing_of_the_headers(images, here):
    build(images, "--output", "table.csv", "--site-from", "level:0")
    journal = (here / "table.journal.jsonl").read_text()
    names = find_canaries("\n".join(str(path) for path in images.rglob("*.dcm")))
    assert find_canaries(journal) <= names
    assert "Spital" not in journal


def test_the_sites_name_can_be_a_pseudonym_too(images, here):
    options = ["--site-from", "dicom:InstitutionName", "--pseudonymize-sites", "--per-device"]
    done = build(images, "--output", "table.csv", *options)
    assert done.status == 0, done.out
    table = pd.read_csv("table.csv")
    assert table["site"].nunique() == 2
    for file in here.iterdir():
        assert b"Spital" not in file.read_bytes(), file
    assert "Spital" not in done.out


@pytest.mark.parametrize("element", ["PatientName", "PatientID", "AccessionNumber", "StudyDate", "StudyInstanceUID"])
def test_what_names_a_patient_is_refused_as_a_site(images, here, element):
    done = build(images, "--output", "table.csv", "--site-from", f"dicom:{element}")
    assert done.status in (1, 2)
    assert not (here / "table.csv").exists()


def test_split_duplicates_validate_and_convert_repeat_nothing(images, here):
    build(images, "--output", "table.csv", "--site-from", "dicom:InstitutionName", "--hash-pixels")
    (here / "table.journal.jsonl").unlink()
    for command in (
        ["manifest", "validate", "table.csv", "--data", images],
        ["manifest", "convert", "table.csv", "table.parquet"],
        ["split", "table.csv", "--output", "split.csv", "--seed", 1],
        ["split", "table.csv", "--output", "sites.csv", "--leave-one-site-out"],
        ["duplicates", "split.csv", "--data", images, "--json", "duplicates.json"],
    ):
        done = act(*command)
        assert done.status == 0, done.out
    without_paths(here)
    assert_clean(here)


def rewrite(source, target, change):
    """A copy of a user's table, changed, beside it."""
    table = pd.read_csv(source)
    changed = change(table)
    (table if changed is None else changed).to_csv(target, index=False)
    return target


BAD_TABLES = {
    "a path twice": lambda table: pd.concat([table, table.head(2)]),
    "a path that leaves the folder": lambda table: table.assign(path="../" + table["path"]),
    "a path to nowhere": lambda table: table.assign(path=table["path"] + ".gone"),
    "no patient": lambda table: table.assign(patient=[None, *table["patient"][1:]]),
    "a patient with two labels": lambda table: table.assign(
        patient=table["patient"][0], label=[0, 1] * (len(table) // 2)
    ),
    "a patient in two splits": lambda table: table.assign(
        patient=table["patient"][0], split=(["training", "test", "validation", "test"] * len(table))[: len(table)]
    ),
    "no site": lambda table: table.assign(site=[None, *table["site"][1:]]),
}


@pytest.mark.parametrize("fault", BAD_TABLES)
def test_messages_about_a_bad_table_name_rows_and_no_patient_or_path(images, here, fault):
    bad = rewrite(images / "patients.csv", images / "bad.csv", BAD_TABLES[fault])
    columns = ["--image-column", "path", "--patient-column", "patient"]
    try:
        for command in (
            ["manifest", "validate", bad],
            ["split", bad, "--output", "split.csv", "--patient-column", "patient"],
            ["duplicates", bad, *columns],
            ["manifest", "build", images, "--output", "a.csv", "--labels", bad, "--label-on", "path"],
            ["manifest", "build", images, "--output", "b.csv", "--labels", bad, "--label-on", "patient"],
        ):
            act(*command)
    finally:
        bad.unlink()


@pytest.mark.slow
def test_an_audit_shows_sites_and_figures_but_nobody(images, spoilt, here):
    from fairpool import cli
    from fairpool.commands.audit import audit

    if audit not in [command.callback for command in cli.app.registered_commands]:
        cli.app.command()(audit)
    build(images, "--output", "table.csv", "--site-from", "dicom:InstitutionName")
    for file in (here / "table.journal.jsonl", here / "table.csv.key"):
        file.unlink()
    done = act("audit", "table.csv", "--data", images, "--html", "audit.html", "--json", "audit.json")
    assert done.status == 0, done.out
    assert "Spital Bern" in (here / "audit.html").read_text()
    (here / "table.csv").unlink()  # it has the paths
    assert_clean(here)
    columns = ["--image-column", "path", "--patient-column", "patient"]
    for folder in (images, spoilt):  # scanners of the headers; files that cannot be read
        act("audit", folder / "patients.csv", *columns, "--html", "audit.html", "--json", "audit.json")
        assert_clean(here)


# --- files that fail -------------------------------------------------------------------------------------------------


def test_a_build_lists_spoilt_files_with_reasons_that_name_no_patient(spoilt, here):
    done = act("manifest", "build", spoilt, "--output", "table.csv", "--site-from", "level:0", "--hash-pixels")
    unreadable = pd.read_csv("table.unreadable.csv")
    assert len(unreadable) >= 10, done.out
    (here / "table.journal.jsonl").unlink()
    without_paths(here)
    assert find_canaries((here / "table.unreadable.csv").read_text()) == set()
    assert_clean(here)


def test_a_pool_names_spoilt_files_by_row_and_site(spoilt):
    from fairpool.data import pool_manifest

    columns = {"image_column": "path", "patient_column": "patient"}
    pool = pool_manifest(spoilt / "patients.csv", columns=columns, val_frac=0.2, test_frac=0.2)
    with pytest.raises(DataError, match=r"1[345] of 15 images cannot be used: row 1 \(a\): image ends early") as caught:
        pool.prepare(16, None)
    assert find_canaries("\n".join(everything_of(caught.value))) == set()


@pytest.mark.slow
@pytest.mark.parametrize("shown", ["sentence", "traceback"])
def test_a_run_on_spoilt_files_fails_without_a_word_of_them(spoilt, here, monkeypatch, shown):
    if shown == "traceback":
        monkeypatch.setenv("FAIRPOOL_TRACEBACK", "1")
    done = act(
        "run", "tuberculosis", "--manifest", spoilt / "patients.csv", "--image-column", "path", "--seeds", 1, *TINY
    )
    assert done.status == 1
    assert_clean(here)


# --- training and scoring --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_training_and_scoring_on_a_table_with_patients_names_leaves_none_behind(images, spoilt, here, monkeypatch):
    table = images / "patients.csv"
    columns = ["--image-column", "path", "--patient-column", "patient"]
    done = act(
        *("run", "tuberculosis", "--manifest", table, *columns, "--seeds", 1, "--epochs", 2, "--output", here / "runs"),
        *("--methods", "unconstrained,fairalm", *TINY),
    )
    assert done.status == 0, done.out
    assert_clean(here)
    model = next(here.glob("runs/**/model.pt"))
    for scores in ("scores.csv", "scores.parquet"):
        done = act("evaluate", model, "--manifest", table, *columns, "--label-column", "label", "--output", scores)
        assert done.status == 0, done.out
    assert len(pd.read_csv("scores.csv")) == 4 * PER_CELL
    for shown in ("", "1"):
        monkeypatch.setenv("FAIRPOOL_TRACEBACK", shown)
        assert act("evaluate", model, "--manifest", spoilt / "patients.csv", *columns).status == 1
    assert_clean(here)
