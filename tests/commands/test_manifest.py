"""``fairpool manifest``: a folder becomes a table; the table is checked and converted."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from small_study import assert_one_sentence, run_cli

from fairpool.data.manifest import read_manifest, read_table
from fairpool.data.pseudonyms import Pseudonyms, read_or_make_key

SITES = ("Bern", "Zürich")


@pytest.fixture
def tree(tmp_path):
    """Two hospitals' CT slices, two of each of three patients, a report and a page that is no image."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for number in range(12):
        site, patient = SITES[number % 2], f"CANARY-{number % 6}"
        dataset.InstitutionName, dataset.PatientID, dataset.PatientName = site, patient, "CANARY^NAME"
        dataset.StudyInstanceUID = f"1.2.777.{number % 6}"
        path = tmp_path / "tree" / f"ward{number % 2}" / f"IM{number:02d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path)
    (tmp_path / "tree" / "page.png").write_text("<html>")
    (tmp_path / "tree" / "notes.txt").write_text("Hello")
    return tmp_path / "tree"


def build(tree, *arguments, output="manifest.csv"):
    output = tree.parent / output
    return run_cli("manifest", "build", tree, "--output", output, "--workers", 1, *arguments), output


def test_a_folder_becomes_a_table_with_sites_from_the_header(tree):
    done, output = build(tree, "--site-from", "dicom:InstitutionName")
    assert (done.status, done.err) == (0, "")
    table = read_table(output)
    assert len(table) == 12
    assert table.groupby("site").size().to_dict() == {"Bern": 6, "Zürich": 6}
    assert table["patient"].nunique() == 6
    assert "12 images of 6 patients" in done.out
    assert "1 file cannot be used; manifest.unreadable.csv says why" in done.out
    assert "1 file passed over: .txt" in done.out
    unreadable = read_table(output.with_name("manifest.unreadable.csv"))
    assert unreadable["path"].tolist() == ["page.png"]
    assert "web page" in unreadable["reason"][0]


def test_the_table_trains_as_it_is(tree):
    _, output = build(tree, "--site-from", "dicom:InstitutionName")
    records = read_manifest(output, label_column=None, root_dir=tree)
    assert sorted(records["site"].unique()) == list(SITES)
    assert all(os.path.isfile(image) for image in records["image"])


def test_the_key_is_new_once_and_its_owner_alone_may_read_it(tree):
    done, output = build(tree)
    key = output.with_name("manifest.csv.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "keep it secret" in " ".join(done.out.split()).lower()
    names = Pseudonyms(read_or_make_key(key))
    assert set(read_table(output)["patient"]) == {names.of(f"CANARY-{number}") for number in range(6)}
    again, _ = build(tree)
    assert "secret" not in again.out
    assert "13 files were known" in " ".join(again.out.split())


def test_no_name_of_a_patient_is_in_any_output(tree):
    done, output = build(
        tree, "--site-from", "dicom:InstitutionName", "--pseudonymize-sites", "--per-device", "--hash-pixels"
    )
    assert done.status == 0
    written = [file.read_bytes() for file in output.parent.iterdir() if file.is_file()]
    assert len(written) == 4
    for content in [done.out.encode(), done.err.encode(), *written]:
        for canary in ("CANARY", "1.2.777", "Bern", "Zürich", "Z\\u00fcrich"):
            assert canary.encode() not in content
    assert read_table(output)["site"].str.fullmatch("site-[0-9a-f]{16}").all()


@pytest.mark.parametrize(
    ("source", "sites"),
    [
        (["path:^(?P<site>ward[0-9])/"], ["ward0", "ward1"]),
        (["level:0"], ["ward0", "ward1"]),
        (["dicom:Manufacturer+ManufacturerModelName"], ["GE MEDICAL SYSTEMS | RHAPSODE"]),
        (["dicom:InstitutionName", "--normalize-sites"], ["bern", "zurich"]),
    ],
)
def test_sites_come_from_where_they_stand(tree, source, sites):
    done, output = build(tree, "--site-from", *source)
    assert done.status == 0, done.err
    assert sorted(read_table(output)["site"].unique()) == sites


def test_spellings_of_an_alias_table_are_joined(tree):
    (tree.parent / "aliases.yaml").write_text("Switzerland: [Bern, Zürich]\n", encoding="utf-8")
    done, output = build(tree, "--site-from", "dicom:InstitutionName", "--aliases", tree.parent / "aliases.yaml")
    assert done.status == 0, done.err
    assert set(read_table(output)["site"]) == {"Switzerland"}
    assert "only one site" in done.out


@pytest.mark.parametrize("on", ["path", "file", "patient", "study"])
def test_sites_and_labels_come_from_a_table_by_any_key(tree, on):
    keys = {
        "path": [f"ward{number % 2}/IM{number:02d}" for number in range(12)],
        "file": [f"IM{number:02d}" for number in range(12)],
        "patient": [f"CANARY-{number}" for number in range(6)],
        "study": [f"1.2.777.{number}" for number in range(6)],
    }[on]
    rows = "".join(f"{key},{'ab'[number % 2]},{number % 3 % 2}\n" for number, key in enumerate(keys))
    (tree.parent / "t.csv").write_text(f"key,hospital,ill\n{rows}")
    table = tree.parent / "t.csv"
    done, output = build(
        *(tree, "--site-from", f"table:{table}", "--site-column", "hospital", "--site-key", "key", "--site-on", on),
        *("--labels", table, "--label-column", "ill", "--label-key", "key", "--label-on", on),
    )
    assert done.status == 0, done.err
    found = read_table(output).sort_values("path")
    by_name = {Path(row["path"]).name: row for row in found.to_dict("records")}
    for number in range(12):
        row = by_name[f"IM{number:02d}"]
        assert row["site"] == "ab"[number % 2]
        assert row["label"] == str(number % 3 % 2 if on in ("path", "file") else number % 6 % 3 % 2)


def test_an_image_without_a_site_is_listed_or_gets_the_name_that_was_given(tree):
    dataset = pydicom.dcmread(tree / "ward0" / "IM00")
    del dataset.InstitutionName
    dataset.save_as(tree / "ward0" / "IM00")
    done, output = build(tree, "--site-from", "dicom:InstitutionName")
    assert done.status == 0
    assert len(read_table(output)) == 11
    listed = read_table(output.with_name("manifest.unreadable.csv")).set_index("path")["reason"]
    assert "InstitutionName" in listed["ward0/IM00"]
    done, output = build(tree, "--site-from", "dicom:InstitutionName", "--missing-site", "unknown")
    assert set(read_table(output)["site"]) == {"unknown", *SITES}


@pytest.mark.parametrize("ending", ["tsv", "parquet", "json"])
def test_the_table_may_be_of_another_kind(tree, ending):
    _, output = build(tree, "--site-from", "level:0", output=f"m.{ending}")
    assert len(read_table(output)) == 12
    assert run_cli("manifest", "validate", output, "--data", tree).status == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_what_pydicom_warns_of_stays_out_of_the_terminal(tmp_path, workers):
    """A file whose syntax says explicit and which is implicit; so many that two processes share them."""
    source = get_testdata_file("SC_rgb_jpeg.dcm", download=False)
    (tmp_path / "tree").mkdir()
    for number in range(70):
        shutil.copy(source, tmp_path / "tree" / f"{number}.dcm")
    command = [sys.executable, "-m", "fairpool", "manifest", "build", "tree", "--output", "out.csv"]
    command += ["--site-from", "dicom:Modality", "--workers", str(workers)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "70 images" in done.stdout
    assert done.stderr == ""


def test_bids_volumes_get_their_scanner_from_the_sidecar(tmp_path):
    import nibabel

    root = tmp_path / "bids"
    for number in (1, 2):
        folder = root / f"sub-{number:02d}" / "anat"
        folder.mkdir(parents=True)
        image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4))
        nibabel.save(image, folder / f"sub-{number:02d}_T1w.nii.gz")
        about = {"Manufacturer": "Siemens", "ManufacturersModelName": "Prisma", "MagneticFieldStrength": 3}
        about["InstitutionName"] = f"Hospital {number}"
        (folder / f"sub-{number:02d}_T1w.json").write_text(json.dumps(about))
    done, output = build(root, "--site-from", "sidecar:InstitutionName")
    assert done.status == 0, done.err
    table = read_table(output)
    assert table["site"].tolist() == ["Hospital 1", "Hospital 2"]
    assert table["scanner"].tolist() == ["Siemens | Prisma | 3"] * 2
    assert table["patient"].nunique() == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--site-from", "column:x"], "sites come from path:PATTERN"),
        (["--site-from", "level:two"], "level:N takes the number"),
        (["--site-from", "table:t.csv"], "needs the column of the site"),
        (["--patient-from", "dicom:PatientID"], "--patient-from takes path:PATTERN or table:FILE"),
        (["--patient-from", "table:t.csv"], "needs --patient-column"),
        (["--patient-from", "path:x"], "needs a group"),
        (["--labels", "t.csv", "--label-on", "name"], "got 'name'"),
    ],
)
def test_options_without_a_meaning_are_wrong_usage(tree, arguments, words):
    done, output = build(tree, *arguments)
    assert_one_sentence(done, 2)
    assert words in done.err
    assert not output.exists()


def test_a_folder_that_is_not_there_and_another_ending_are_wrong_usage(tree):
    assert_one_sentence(build(tree, output="m.xlsx")[0], 2)
    assert_one_sentence(run_cli("manifest", "build", tree / "no", "--output", tree.parent / "m.csv"), 2)


def test_a_folder_without_images_is_a_failure_of_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    done, output = build(tmp_path / "empty")
    assert_one_sentence(done, 1)
    assert not output.exists()


@pytest.mark.slow
def test_an_interrupted_build_goes_on_with_the_same_command(tree):
    content = (tree / "ward0" / "IM00").read_bytes()
    for number in range(4000):
        (tree / "ward0" / f"more{number}").write_bytes(content)
    output = tree.parent / "manifest.csv"
    journal = tree.parent / "manifest.journal.jsonl"
    command = [sys.executable, "-m", "fairpool.cli", "manifest", "build", str(tree), "--output", str(output)]
    process = subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > 100_000):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.strip() == "Interrupted; the same command continues."
    assert not output.exists()
    done, _ = build(tree)
    assert done.status == 0
    known = int(" ".join(done.out.split()).split(" files were known")[0].split()[-1])
    assert 100 < known < 4000
    assert len(read_table(output)) == 4012


def write_table(path, rows, header="path,site,patient,label\n"):
    for row in rows:
        (path.parent / row.split(",")[0]).write_bytes(b"1")
    path.write_text(header + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_validate_says_what_a_sound_table_holds(tmp_path):
    table = write_table(tmp_path / "t.csv", ["a.png,bern,p,1", "b.png,basel,q,0"])
    done = run_cli("manifest", "validate", table, "--labels", "0,1")
    assert (done.status, done.err) == (0, "")
    assert "no fault: 2 images of 2 patients at 2 sites" in done.out


def test_validate_names_every_fault_in_one_sentence(tmp_path):
    table = write_table(tmp_path / "t.csv", ["a.png,bern,p,1", "b.png,,q,7"])
    (tmp_path / "a.png").unlink()
    done = run_cli("manifest", "validate", table, "--labels", "0,1")
    assert_one_sentence(done, 1)
    for words in ("3 faults", '"site" is empty (row 2)', "'7' (row 2)", "row 1: no such file"):
        assert words in done.err
    done = run_cli("manifest", "validate", table, "--no-files")
    assert "a fault" in done.err
    assert "no such file" not in done.err


def test_convert_keeps_every_cell(tmp_path):
    table = write_table(tmp_path / "t.csv", ["a.png,'=bern,p,1", "b.png,basel,q,0"])
    for ending in ("tsv", "parquet", "json"):
        done = run_cli("manifest", "convert", table, tmp_path / f"u.{ending}")
        assert (done.status, done.err) == (0, "")
        again = run_cli("manifest", "convert", tmp_path / f"u.{ending}", tmp_path / "v.csv")
        assert again.status == 0
        assert (tmp_path / "v.csv").read_bytes() == table.read_bytes()


def test_help_names_the_three_commands():
    done = run_cli("manifest", "--help")
    for command in ("build", "validate", "convert"):
        assert command in done.out


@pytest.mark.slow
def test_radiographs_that_were_hashed_are_found_twice(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    for site in ("a", "b"):
        (tmp_path / "tree" / site).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "tree" / site / "1.png")
    done, output = build(tmp_path / "tree", "--site-from", "level:0", "--hash-pixels")
    assert done.status == 0, done.err
    table = read_table(output)
    assert table["pixel_hash"].nunique() == 1
    found = run_cli("duplicates", output)
    assert "same pixels: row 1 (a), row 2 (b)" in found.out
