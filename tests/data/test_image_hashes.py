"""One file has one pair of hashes, whoever asks; copies that were compressed or reduced stay near."""

import nibabel
import numpy as np
import pytest
from dicom_files import draw_pixels, write_dicom
from PIL import Image

from fairpool.audit.image_pass import pass_over_images
from fairpool.data.duplicates import NEAR_DISTANCE
from fairpool.data.image_hashes import hash_images
from fairpool.data.scan.reading import read_file
from fairpool.data.synthetic_tuberculosis import synthesize_tuberculosis
from fairpool.errors import DataError


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    """Synthetic radiographs of two hospitals."""
    root = tmp_path_factory.mktemp("tree")
    synthesize_tuberculosis(root, images_per_site={"montgomery": 6, "shenzhen": 6}, seed=0)
    return sorted(str(path) for path in root.rglob("*.png"))


def bits_apart(first, second):
    return (int(first, 16) ^ int(second, 16)).bit_count()


def hash_files(paths):
    return hash_images(paths, describe=lambda i: f"row {i + 1} (bern)")


def test_the_scan_the_audit_and_the_search_for_copies_give_one_file_the_same_hashes(radiographs, tmp_path):
    write_dicom(tmp_path / "a.dcm", pixels=draw_pixels(12, size=(32, 48), seed=0), bits=12, vendor="GE")
    voxels = np.random.default_rng(0).normal(size=(20, 30, 7, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "b.nii.gz")
    Image.open(radiographs[0]).convert("L").save(tmp_path / "c.jpg", quality=40)
    files = [radiographs[0], *(tmp_path / name for name in ("a.dcm", "b.nii.gz", "c.jpg"))]
    found = hash_files(files)
    assert found["pixel_hash"].nunique() == 4
    assert pass_over_images(files, cache_dir=None).hashes.equals(found)
    scanned = [read_file(str(file), max_pixels=10**8, hash_pixels=True) for file in files]
    assert [[file.pixel_hash, file.perceptual_hash] for file in scanned] == found.to_numpy().tolist()


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_an_image_of_one_grey_value_has_at_most_the_first_bit(tmp_path, level):
    Image.fromarray(np.full((224, 224), level, dtype=np.uint8)).save(tmp_path / "a.png")
    assert int(hash_files([tmp_path / "a.png"])["perceptual_hash"][0], 16).bit_count() <= 1


def test_copies_of_another_compression_or_size_are_near_and_have_other_pixels(radiographs, tmp_path):
    for number, path in enumerate(radiographs):
        image = Image.open(path).convert("L")
        image.save(tmp_path / f"{number}-a.jpg", quality=40)
        image.resize((image.width // 2, image.height // 2)).save(tmp_path / f"{number}-b.png")
    original = hash_files(radiographs)
    for kind in ("a.jpg", "b.png"):
        copies = hash_files([tmp_path / f"{number}-{kind}" for number in range(len(radiographs))])
        near = map(bits_apart, original["perceptual_hash"], copies["perceptual_hash"])
        assert max(near) <= NEAR_DISTANCE
        assert (original["pixel_hash"] != copies["pixel_hash"]).all()


def test_equal_pixels_in_files_of_other_bytes_have_one_hash(radiographs, tmp_path):
    Image.open(radiographs[0]).save(tmp_path / "again.png", compress_level=0)
    hashes = hash_files([radiographs[0], tmp_path / "again.png", radiographs[1]])
    assert hashes["pixel_hash"][0] == hashes["pixel_hash"][1] != hashes["pixel_hash"][2]


def test_images_that_cannot_be_read_are_named_by_row_and_site(radiographs, tmp_path):
    (tmp_path / "mueller.png").write_bytes(b"<html>")
    (tmp_path / "mueller.txt").write_text("report")
    with pytest.raises(DataError, match=r"^3 of 4 images cannot be used: row 2 \(bern\): not an image") as caught:
        hash_files([radiographs[0], *(tmp_path / f"mueller.{ending}" for ending in ("png", "txt", "gone"))])
    assert "row 3 (bern): not a DICOM, NIfTI, PNG or JPEG image" in str(caught.value)
    assert "row 4 (bern): file cannot be read" in str(caught.value)
    assert "mueller" not in str(caught.value)
