import os
import shutil
from pathlib import Path

import pytest

from fairpool.data.scan.reading import FileReading, read_file, read_files
from fairpool.data.scan.walking import walk


def read(path, **options):
    return read_file(str(path), **{"max_pixels": 10**8} | options)


def test_a_format_is_told_by_the_content_and_not_by_the_name(write_dicom, write_png, write_nifti, tmp_path):
    images = {
        "dicom": write_dicom(tmp_path / "IM0001"),
        "png": write_png(tmp_path / "a.png").rename(tmp_path / "picture.jpg"),
        "jpeg": write_png(tmp_path / "a.jpg").rename(tmp_path / "picture.dcm"),
        "nifti": write_nifti(tmp_path / "a.nii.gz").rename(tmp_path / "volume"),
    }
    for kind, path in images.items():
        assert read(path).header.format == kind


def test_other_files_are_passed_over_and_counted_by_an_ending_that_names_nobody(tmp_path):
    (tmp_path / "notes.txt").write_text("Hello")
    (tmp_path / "report.Meier").write_text("Hello")
    assert read(tmp_path / "notes.txt") == FileReading(skipped=".txt")
    assert read(tmp_path / "report.Meier") == FileReading(skipped="others")


def test_a_fault_names_no_file(tmp_path):
    (tmp_path / "Meier.png").write_bytes(b"<html>")
    reading = read(tmp_path / "Meier.png")
    assert "web page" in reading.fault
    assert "Meier" not in reading.fault
    assert read(tmp_path / "Huber.png").fault == "file cannot be read (no such file or directory)"


def test_a_pipe_that_took_the_place_of_a_file_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert "pipe" in read(tmp_path / "a.png").fault


def test_the_digest_changes_with_the_size_and_the_header(write_dicom, tmp_path):
    first = read(write_dicom(tmp_path / "a"))
    shutil.copy(tmp_path / "a", tmp_path / "copy")
    assert read(tmp_path / "copy").digest == first.digest
    assert len(first.digest) == 32
    assert read(write_dicom(tmp_path / "b", PatientID="other")).digest != first.digest
    (tmp_path / "c").write_bytes((tmp_path / "a").read_bytes() + b"\0\0")
    assert read(tmp_path / "c").digest != first.digest


def test_pixels_are_read_on_demand_alone(write_png, tmp_path):
    path = write_png(tmp_path / "a.png")
    assert read(path).pixel_hash == ""
    hashed = read(path, hash_pixels=True)
    assert len(hashed.pixel_hash) == 64
    assert len(hashed.perceptual_hash) == 16


def test_what_would_not_fit_the_memory_is_hashed_by_nobody(write_nifti, tmp_path, monkeypatch):
    monkeypatch.setattr("fairpool.data.scan.pixel_hashes.MAX_HASHED", 100)
    path = write_nifti(tmp_path / "a.nii", shape=(5, 5, 5))
    assert read(path).header.shape == "5x5x5"
    assert "5x5x5 = 125 numbers; the limit is 100" in read(path, hash_pixels=True).fault


@pytest.mark.slow
def test_processes_find_what_one_process_finds(write_dicom, write_png, tmp_path):
    for number in range(150):
        write_png(tmp_path / f"{number}.png", seed=number)
    for number in range(20):
        write_dicom(tmp_path / "d" / str(number), PatientID=str(number))
    (tmp_path / "bad.png").write_bytes(b"")
    files = walk(tmp_path).files
    found = [
        dict(read_files(str(tmp_path), files, max_pixels=10**8, hash_pixels=False, workers=workers))
        for workers in (1, 2)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 171


def test_every_bundled_file_gives_a_reading():
    import pydicom

    root = Path(pydicom.__file__).parent / "data" / "test_files"
    files = walk(root).files
    readings = [reading for _, reading in read_files(str(root), files, max_pixels=10**8, hash_pixels=False, workers=1)]
    assert len(readings) == len(files)
    for reading in readings:
        assert sum([reading.header is not None, bool(reading.fault), bool(reading.skipped)]) == 1
