import gzip
import os
from pathlib import Path

import nibabel
import pytest
from pydicom.data import get_testdata_file

from fairpool.data.scan.formats import HEAD_BYTES, find_fault, tell_format

NIBABEL = Path(nibabel.__file__).parent / "tests" / "data"


def head(path):
    return Path(path).read_bytes()[:HEAD_BYTES]


@pytest.mark.parametrize("name", ["anatomical.nii", "example4d.nii.gz", "example_nifti2.nii.gz", "standard.nii.gz"])
def test_nifti_is_told_by_its_header_packed_or_not(name):
    assert tell_format(head(NIBABEL / name)) == "nifti"


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm"])
def test_dicom_is_told_by_its_preamble(name):
    assert tell_format(head(get_testdata_file(name, download=False))) == "dicom"


def test_png_and_jpeg_are_told_by_their_content(write_png, tmp_path):
    assert tell_format(head(write_png(tmp_path / "a.png"))) == "png"
    assert tell_format(head(write_png(tmp_path / "a.jpg"))) == "jpeg"


@pytest.mark.parametrize("content", [b"", b"text", gzip.compress(b"text"), b"\x1f\x8b damaged", os.urandom(400)])
def test_other_content_is_none(content):
    assert tell_format(content) is None


def test_a_gzip_bomb_is_unpacked_by_a_header_alone():
    bomb = gzip.compress(bytes(100_000_000))
    assert tell_format(bomb[:HEAD_BYTES]) is None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.png", b"", "the file is empty"),
        ("IM0001", b"", "the file is empty"),
        ("1.2.840.113", b"", "the file is empty"),
        ("a.PNG", b"\n <!DOCTYPE html><p>Sign in", "web page"),
        ("a.dcm", b"version https://git-lfs.github.com/spec/v1", "pointer"),
        ("a.nii.gz", b"\x1f\x8b damaged", "damaged at its start"),
        ("a.jpeg", b"GIF89a", "not DICOM, NIfTI, PNG or JPEG"),
    ],
)
def test_a_file_that_should_be_an_image_is_a_fault(name, content, words):
    assert words in find_fault(name, content, len(content))


@pytest.mark.parametrize(
    ("name", "content"), [("notes.txt", b""), ("README", b"Hello"), ("a.json", b"{}"), ("a.tif", b"II*\0")]
)
def test_a_file_that_need_not_be_an_image_is_none(name, content):
    assert find_fault(name, content, len(content)) is None


def test_nifti_in_two_files_is_a_fault():
    assert ".hdr and .img" in find_fault("nifti1.hdr", head(NIBABEL / "nifti1.hdr"), 348)


@pytest.mark.parametrize("name", ["ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "rtstruct.dcm"])
def test_dicom_without_its_preamble_is_a_fault_under_any_name(name):
    content = head(get_testdata_file(name, download=False))
    assert tell_format(content) is None
    assert "132 bytes" in find_fault("IM1", content, len(content))
