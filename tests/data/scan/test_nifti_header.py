import gzip
import io
from pathlib import Path

import nibabel
import numpy as np
import pytest

from fairpool.data.scan.nifti_header import read_nifti_header
from fairpool.errors import DataError

NIBABEL = Path(nibabel.__file__).parent / "tests" / "data"


def read(source, max_pixels=10**8):
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    return read_nifti_header(io.BytesIO(content), max_pixels=max_pixels)


@pytest.mark.parametrize(
    "name", ["anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz", "standard.nii.gz"]
)
def test_shape_and_spacing_are_those_of_nibabel(name):
    image = nibabel.load(NIBABEL / name)
    header = read(NIBABEL / name)
    assert header.shape == "x".join(map(str, image.shape))
    found = [float(number) for number in header.spacing.split("x")]
    assert found == pytest.approx(list(image.header.get_zooms()[:3]), rel=1e-3)
    assert header.format == "nifti"


def test_spacing_is_in_mm_whatever_the_unit(write_nifti, tmp_path):
    assert read(write_nifti(tmp_path / "a.nii", zooms=(0.5, 0.5, 2), unit="mm")).spacing == "0.5x0.5x2"
    assert read(write_nifti(tmp_path / "b.nii", zooms=(0.0005, 0.0005, 0.002), unit="meter")).spacing == "0.5x0.5x2"
    assert read(write_nifti(tmp_path / "c.nii", zooms=(500, 500, 2000), unit="micron")).spacing == "0.5x0.5x2"


def test_dimensions_of_one_at_the_end_are_left_out(write_nifti, tmp_path):
    header = read(write_nifti(tmp_path / "a.nii", shape=(4, 5, 1, 1)))
    assert (header.shape, header.spacing) == ("4x5", "1x1")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_file_that_ends_early_is_refused(write_nifti, tmp_path, ending):
    content = write_nifti(tmp_path / f"a{ending}", shape=(20, 20, 20)).read_bytes()
    read(content)
    for length in (len(content) // 2, len(content) - 40):
        with pytest.raises(DataError, match="ends early"):
            read(content[:length])


def test_a_gzip_file_of_several_members_or_with_more_behind_the_image_is_whole(write_nifti, tmp_path):
    plain = write_nifti(tmp_path / "a.nii", shape=(20, 20, 20)).read_bytes()
    members = gzip.compress(plain[:900]) + gzip.compress(plain[900:])
    longer = gzip.compress(plain + b"more")
    assert read(members).shape == read(longer).shape == "20x20x20"
    with pytest.raises(DataError, match="ends early"):
        read(gzip.compress(plain[:900]) + gzip.compress(plain[900:-1]))


def test_more_than_the_limit_is_refused_by_the_header_alone(write_nifti, tmp_path):
    content = bytearray(write_nifti(tmp_path / "a.nii").read_bytes())
    content[40:56] = np.array([3, 30_000, 30_000, 6, 1, 1, 1, 1], "<i2").tobytes()
    with pytest.raises(DataError, match=r"30000 x 30000 = 900,000,000 pixels"):
        read(bytes(content))
    content[40:56] = np.array([4, 9000, 9000, 9000, 9000, 1, 1, 1], "<i2").tobytes()
    with pytest.raises(DataError, match="the limit is 4,000,000,000"):
        read(bytes(content))


@pytest.mark.parametrize("dimensions", [[3, 0, 4, 4], [3, -4, 5, 6], [1, 7, 1, 1], [9, 4, 4, 4], [0, 1, 1, 1]])
def test_a_shape_without_a_meaning_is_refused(write_nifti, tmp_path, dimensions):
    content = bytearray(write_nifti(tmp_path / "a.nii").read_bytes())
    content[40:48] = np.array(dimensions, "<i2").tobytes()
    with pytest.raises(DataError):
        read(bytes(content))


def test_an_unknown_type_of_numbers_is_refused(write_nifti, tmp_path):
    content = bytearray(write_nifti(tmp_path / "a.nii").read_bytes())
    content[70:72] = b"\xff\x7f"
    with pytest.raises(DataError, match="has no meaning"):
        read(bytes(content))


def test_big_endian_files_are_read(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5), ">i2"), np.eye(4), header), tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes()[:4] == b"\0\0\x01\x5c"
    assert read(tmp_path / "a.nii").shape == "3x4x5"
