"""Perceptual hashes are ImageHash's own; copies that were compressed or reduced stay near, other images do not."""

import imagehash
import numpy as np
import pytest
from PIL import Image

from fairpool.data.duplicates import NEAR_DISTANCE
from fairpool.data.image_cache import ImageCache
from fairpool.data.image_hashes import hash_images, perceptual_hash
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
    return hash_images([str(path) for path in paths], ImageCache(None, 224), describe=lambda i: f"row {i + 1} (bern)")


def test_the_hash_is_imagehashs_own_on_eight_and_sixteen_bits():
    levels = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    expected = str(imagehash.phash(Image.fromarray(levels)))
    assert perceptual_hash(levels) == expected
    assert perceptual_hash(levels.astype(np.uint16) * 257) == expected


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_an_image_of_one_grey_value_has_at_most_the_first_bit(level):
    assert int(perceptual_hash(np.full((224, 224), level, dtype=np.uint8)), 16).bit_count() <= 1


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
    with pytest.raises(DataError, match=r"row 2 \(bern\): not an image") as caught:
        hash_files([radiographs[0], tmp_path / "mueller.png"])
    assert "mueller" not in str(caught.value)
