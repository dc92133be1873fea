import hashlib
import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

import fairpool.data.headers
from fairpool.data.pseudonyms import Pseudonyms
from fairpool.data.scan import PatientSource, TableJoin, build_manifest
from fairpool.errors import DataError

NAMES = Pseudonyms(bytes(range(32)))


@pytest.fixture
def tree(tmp_path, write_dicom, write_png, write_nifti):
    """Files of every format and of none, sound and damaged."""
    root = tmp_path / "tree"
    write_dicom(root / "bern" / "IM1", PatientID="7", StudyInstanceUID="1.2")
    write_dicom(root / "bern" / "IM2", PatientID="7", StudyInstanceUID="1.3")
    write_png(root / "basel" / "a.png", (6, 9))
    write_png(root / "basel" / "b.jpg", (6, 9))
    write_nifti(root / "bids" / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    (root / "basel" / "notes.txt").write_text("Hello")
    (root / "basel" / "page.png").write_text("<html>")
    (root / "basel" / "empty.dcm").write_bytes(b"")
    (root / "basel" / "cut.png").write_bytes((root / "basel" / "a.png").read_bytes()[:-20])
    (root / "loop").symlink_to(".")
    with open(os.fsencode(root) + b"/basel/M\xfcller.png", "wb") as file:
        file.write(b"1")
    return root


def build(tree, **options):
    return build_manifest(tree, NAMES, **options)


def test_a_tree_becomes_a_table_a_list_of_faults_and_counts(tree):
    built = build(tree)
    assert list(built.table) == [
        *("path", "patient", "study", "site", "scanner", "format", "shape", "spacing", "photometric", "fingerprint")
    ]
    table = built.table.set_index("path")
    assert list(table.index) == [
        *("basel/a.png", "basel/b.jpg", "bern/IM1", "bern/IM2", "bids/sub-01/anat/sub-01_T1w.nii.gz")
    ]
    assert table["format"].tolist() == ["png", "jpeg", "dicom", "dicom", "nifti"]
    assert table["shape"].tolist() == ["6x9", "6x9", "128x128", "128x128", "4x5x6"]
    assert table.loc["bern/IM1", ["spacing", "photometric", "scanner"]].tolist() == [
        *("0.6615x0.6615x5", "MONOCHROME2", "GE MEDICAL SYSTEMS | RHAPSODE")
    ]
    assert built.unreadable["path"].tolist() == [
        *("basel/M\\xfcller.png", "basel/cut.png", "basel/empty.dcm", "basel/page.png", "loop")
    ]
    assert [reason.split(".")[0].split("(")[0].strip() for reason in built.unreadable["reason"]] == [
        "name is not UTF-8",
        "image ends early",
        "not an image",
        "not an image; the download was probably refused",
        "link leads back to a folder above it",
    ]
    assert built.skipped == {".txt": 1}
    assert (built.num_read, built.num_known) == (9, 0)


def test_patients_and_studies_are_pseudonyms_that_the_key_gives_again(tree):
    table = build(tree).table.set_index("path")
    assert table.loc["bern/IM1", "patient"] == table.loc["bern/IM2", "patient"] == NAMES.of("7")
    assert table.loc["bern/IM1", "study"] == NAMES.of("1.2", "study")
    assert table["patient"].nunique() == 4
    assert (table["study"] == "").sum() == 3
    other = build_manifest(tree, Pseudonyms(bytes(32))).table
    assert not set(other["patient"]) & set(table["patient"])


def test_a_fingerprint_is_of_the_file_and_tells_nobody_without_the_key(tmp_path, write_dicom):
    write_dicom(tmp_path / "a", PatientID="047113")
    (tmp_path / "copy").write_bytes((tmp_path / "a").read_bytes())
    write_dicom(tmp_path / "b", PatientID="047114")
    found = build(tmp_path, journal=tmp_path / "j").table.set_index("path")["fingerprint"]
    assert found.str.fullmatch(r"file-[0-9a-f]{16}").all()
    assert found["a"] == found["copy"] != found["b"]
    assert build_manifest(tmp_path, Pseudonyms(bytes(32))).table["fingerprint"][0] != found["a"]
    # Whoever knows the file but for the PatientID could try all of them, if any plain hash of it stood anywhere.
    content = (tmp_path / "a").read_bytes()
    written = found["a"] + (tmp_path / "j").read_text()
    for head in (content[:16384], f"{len(content)} ".encode() + content[:16384], content):
        assert hashlib.sha256(head).hexdigest()[:16] not in written


def test_sites_of_headers_are_found_in_the_one_reading_of_a_file(tree, monkeypatch):
    from fairpool.data.scan import SiteSource
    from fairpool.transforms import SiteFromDicomd

    (tree / "aliases.yaml").write_text("Bern: [JFK IMAGING CENTER | GE MEDICAL SYSTEMS]\n")
    text, elements = "dicom:InstitutionName+Manufacturer", ("InstitutionName", "Manufacturer")
    site = SiteSource(text, root=tree, aliases=tree / "aliases.yaml", missing="unknown")
    transform = SiteFromDicomd(elements=elements, aliases=tree / "aliases.yaml", missing="unknown")
    images = sorted((tree / "bern").iterdir())
    expected = [transform({"image": str(image)})["site"] for image in images]
    parsed, parse = [], fairpool.data.headers.parse_elements

    def count(handle, *arguments, **options):
        parsed.append(handle)
        return parse(handle, *arguments, **options)

    for module in ("headers", "scan.dicom_header"):
        monkeypatch.setattr(f"fairpool.data.{module}.parse_elements", count)
    built = build(tree, site=site)
    assert expected == ["Bern", "Bern"]
    assert built.table["site"].tolist() == expected
    assert len(parsed) == len(images)
    reasons = built.unreadable.set_index("path")["reason"]
    assert reasons["basel/a.png"].startswith("not a DICOM file")


def test_a_header_without_the_element_has_no_site(tmp_path, write_dicom):
    from fairpool.data.scan import SiteSource

    write_dicom(tmp_path / "a", InstitutionName="Bern")
    write_dicom(tmp_path / "b", InstitutionName="")
    text = "dicom:InstitutionName"
    built = build(tmp_path, site=SiteSource(text, root=tmp_path))
    assert built.table["site"].tolist() == ["Bern"]
    assert "the image has no site: its header has no InstitutionName" in built.unreadable["reason"][0]
    built = build(tmp_path, site=SiteSource(text, root=tmp_path, missing="unknown"))
    assert built.table["site"].tolist() == ["Bern", "unknown"]


def test_images_without_a_patient_are_counted_in_a_note(tree):
    assert build(tree).notes == ["2 of 5 images name no patient: each counts as a patient of its own (--patient-from)"]


def test_a_patient_id_with_its_issuer_here_and_without_it_there_is_one_patient(tmp_path, write_dicom):
    write_dicom(tmp_path / "1", PatientID="7", IssuerOfPatientID="bern")
    write_dicom(tmp_path / "2", PatientID="7")
    built = build(tmp_path)
    assert built.table["patient"].tolist() == [NAMES.of("7^^^bern")] * 2
    assert "1 image has a PatientID without an issuer" in built.notes[0]
    write_dicom(tmp_path / "3", PatientID="7", IssuerOfPatientID="basel")
    built = build(tmp_path)
    assert built.table["patient"].nunique() == 3
    assert "which several issuers gave" in built.notes[0]


def test_patients_by_a_pattern_go_before_the_header(tree):
    built = build(tree, patient=PatientSource(pattern=r"^(?P<patient>bern|basel)/"))
    assert built.table["patient"].tolist() == [NAMES.of(name) for name in ("basel", "basel", "bern", "bern")]
    assert built.unreadable["reason"].str.startswith("patient cannot be told").sum() == 1


def test_a_journal_of_another_rule_of_hashing_is_not_taken(tree, tmp_path, monkeypatch):
    options = {"journal": tmp_path / "j", "hash_pixels": True}
    number = build(tree, **options).num_read
    assert build(tree, **options).num_read < number
    monkeypatch.setattr("fairpool.data.scan.build.HASH_RULE", 1)
    assert build(tree, **options).num_read == number
    assert build(tree, **options).num_read < number


def test_labels_are_joined(tree, tmp_path):
    (tmp_path / "labels.csv").write_text("who,finding\n7,ill\n01,well\n")
    built = build(tree, labels=TableJoin(tmp_path / "labels.csv", "finding", "who", "patient"))
    assert built.table["label"].tolist() == ["", "", "ill", "ill", "well"]
    assert "2 of 5 images have no label in the table of labels" in built.notes


def test_scanners_of_one_model_are_told_apart_on_demand_by_a_pseudonym(tmp_path, write_dicom):
    for number, serial in enumerate(["S-1", "S-1", "S-2"]):
        write_dicom(tmp_path / str(number), DeviceSerialNumber=serial, StationName=None)
    assert build(tmp_path).table["scanner"].nunique() == 1
    table = build(tmp_path, per_device=True).table
    assert table["scanner"].tolist()[0] == table["scanner"].tolist()[1] != table["scanner"].tolist()[2]
    assert not table["scanner"].str.contains("S-").any()
    assert table["scanner"].str.fullmatch(r"GE MEDICAL SYSTEMS \| RHAPSODE \| device-[0-9a-f]{16}").all()


def test_hashes_are_columns_on_demand_and_what_cannot_be_decoded_is_a_fault(tree):
    png = (tree / "basel" / "a.png").read_bytes()
    at = png.index(b"IDAT") + 10
    (tree / "basel" / "damaged.png").write_bytes(png[:at] + bytes(8) + png[at + 8 :])
    assert "basel/damaged.png" in build(tree).table["path"].tolist()
    built = build(tree, hash_pixels=True)
    assert built.table["pixel_hash"].str.fullmatch("[0-9a-f]{64}").all()
    assert built.table["perceptual_hash"].str.fullmatch("[0-9a-f]{16}").all()
    assert "basel/damaged.png" in built.unreadable["path"].tolist()


def test_a_second_run_reads_new_changed_and_faulty_files_alone(tree, tmp_path, write_png):
    first = build(tree, journal=tmp_path / "j")
    again = build(tree, journal=tmp_path / "j")
    assert (again.num_read, again.num_known) == (3, 6)  # what is a fault is looked at again
    pd.testing.assert_frame_equal(first.table, again.table)
    assert again.skipped == first.skipped
    write_png(tree / "basel" / "a.png", (7, 7))
    write_png(tree / "basel" / "new.png", (8, 8))
    (tree / "basel" / "b.jpg").unlink()
    third = build(tree, journal=tmp_path / "j")
    assert (third.num_read, third.num_known) == (5, 4)
    assert third.table["shape"].tolist()[:2] == ["7x7", "8x8"]
    assert third.table.to_dict() == build(tree).table.to_dict()


def test_another_key_or_another_wish_reads_everything_again(tree, tmp_path):
    build(tree, journal=tmp_path / "j")
    for options in ({"hash_pixels": True}, {"per_device": True}, {"max_pixels": 1000}):
        assert build(tree, journal=tmp_path / "j", **options).num_known == 0
    assert build_manifest(tree, Pseudonyms(bytes(32)), journal=tmp_path / "j").num_known == 0


def test_other_patients_or_sites_read_everything_again(tree, tmp_path):
    from fairpool.data.scan import SiteSource

    (tmp_path / "one.csv").write_text("path,who\nbasel/a.png,Ann\nbern/IM1,Bob\n")
    (tmp_path / "two.csv").write_text("path,who\nbasel/a.png,Ann\nbern/IM1,Eve\n")
    sources = [
        {"patient": None},
        {"patient": PatientSource(pattern=r"^(?P<patient>bern|basel)/")},
        {"patient": PatientSource(pattern=r"^(?P<patient>be|ba)")},
        {"patient": PatientSource(table=TableJoin(tmp_path / "one.csv", "who", "path", "path"))},
        {"patient": PatientSource(table=TableJoin(tmp_path / "two.csv", "who", "path", "path"))},
        {"site": SiteSource("level:0", root=tree)},
        {"site": SiteSource("level:-1", root=tree)},
    ]
    for options in sources:
        fresh = build(tree, **options)
        kept = build(tree, journal=tmp_path / "j", **options)
        assert kept.num_known == 0
        pd.testing.assert_frame_equal(kept.table, fresh.table)
        assert build(tree, journal=tmp_path / "j", **options).num_known > 0


def test_a_label_that_was_corrected_is_seen_without_reading_again(tree, tmp_path):
    found = []
    for label in ("ill", "well"):
        (tmp_path / "labels.csv").write_text(f"who,finding\n7,{label}\n")
        built = build(
            tree, journal=tmp_path / "j", labels=TableJoin(tmp_path / "labels.csv", "finding", "who", "patient")
        )
        found.append(built.table["label"].tolist()[2])
    assert found == ["ill", "well"]
    assert built.num_known == 6


def test_the_journal_holds_no_name(tree, tmp_path, write_dicom):
    write_dicom(tree / "x", PatientID="CANARY-1", StudyInstanceUID="1.2.777", DeviceSerialNumber="CANARY-2")
    build(tree, journal=tmp_path / "j", per_device=True)
    text = (tmp_path / "j").read_text()
    assert "CANARY" not in text
    assert "1.2.777" not in text


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path, write_dicom):
    (tmp_path / "tree").mkdir()
    content = write_dicom(tmp_path / "one").read_bytes()
    for number in range(3000):
        (tmp_path / "tree" / str(number)).write_bytes(content)
    code = (
        "import sys, pathlib; from fairpool.data.scan import build_manifest; from fairpool.data.pseudonyms import "
        "Pseudonyms; build_manifest(sys.argv[1], Pseudonyms(bytes(range(32))), journal=pathlib.Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "tree"), str(tmp_path / "j")])
    journal = tmp_path / "j"
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > 50_000):
        time.sleep(0.01)
    process.kill()
    process.wait()
    built = build(tmp_path / "tree", journal=journal)
    assert 50 < built.num_known < 3000
    assert len(built.table) == 3000
    assert built.table.to_dict() == build(tmp_path / "tree").table.to_dict()


def test_excluded_files_are_not_looked_at(tree):
    assert "basel/a.png" not in build(tree, exclude=[tree / "basel" / "a.png"]).table["path"].tolist()


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no DICOM, NIfTI, PNG or JPEG file"):
        build(tmp_path)
    (tmp_path / "a.png").write_text("<html>")
    with pytest.raises(DataError, match=r"the only image cannot be used.*web page"):
        build(tmp_path)


def test_progress_ends_at_the_number_of_files(tree):
    seen = []
    build(tree, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 9) for number in range(1, 10)]


def test_the_largest_plane_that_is_allowed_is_an_option(tmp_path, write_png):
    write_png(tmp_path / "a.png", (10, 10))
    write_png(tmp_path / "b.png", (11, 10))
    built = build(tmp_path, max_pixels=100)
    assert built.table["path"].tolist() == ["a.png"]
    assert "11 = 110 pixels; the limit is 100" in built.unreadable["reason"][0]


def test_a_table_of_real_volumes_opens_with_nibabel(tmp_path, write_nifti):
    import nibabel

    write_nifti(tmp_path / "a.nii", shape=(5, 6, 7), zooms=(1, 2, 3.5), dtype=np.float32)
    row = build(tmp_path).table.iloc[0]
    image = nibabel.load(tmp_path / row["path"])
    assert row["shape"] == "x".join(map(str, image.shape))
    assert row["spacing"] == "1x2x3.5"
