import pickle

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import Compose
from PIL import Image

from fairpool.errors import DataError
from fairpool.transforms.load_photograph import LoadPhotographd


@pytest.fixture
def photograph(tmp_path):
    """40 wide, 20 high: the left half red, the right half blue."""
    levels = np.zeros((20, 40, 3), np.uint8)
    levels[:, :20, 0] = 255
    levels[:, 20:, 2] = 255
    file = tmp_path / "photograph.png"
    Image.fromarray(levels).save(file)
    return file


def test_the_image_is_channel_height_width_between_0_and_1(photograph):
    image = LoadPhotographd("image", (10, 20))({"image": str(photograph)})["image"]
    assert type(image) is torch.Tensor
    assert image.shape == (3, 10, 20)
    assert image.dtype == torch.float32
    assert image[:, 0, 0].tolist() == [1, 0, 0]
    assert image[:, 9, 19].tolist() == [0, 0, 1]


def test_an_item_keeps_its_other_entries_and_the_given_one_its_path(photograph):
    item = {"image": str(photograph), "label": 1, "site": 0}
    loaded = LoadPhotographd("image", 8)(item)
    assert (loaded["label"], loaded["site"]) == (1, 0)
    assert item["image"] == str(photograph)


def test_a_refused_image_is_named_by_row_and_group_and_not_by_path(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"<html>")
    item = {"image": tmp_path / "secret.jpg", "row": 7, "site_name": "female"}
    with pytest.raises(DataError, match=r"^row 7 \(female\): not an image; the download was") as caught:
        LoadPhotographd("image", 8)(item)
    assert "secret" not in str(caught.value)


def test_what_is_no_path_is_refused():
    with pytest.raises(TypeError, match='"image" must hold the path of one file, got list'):
        LoadPhotographd("image", 8)({"image": ["a.jpg"]})


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": (1, 2, 3)}, {"size": True}, {"size": 8, "fit": "pad"}])
def test_settings_that_make_no_sense_are_refused_at_once(wrong):
    with pytest.raises(ValueError, match="must be"):
        LoadPhotographd("image", **wrong)


def test_workers_load_the_same_images(photograph):
    transform = Compose([pickle.loads(pickle.dumps(LoadPhotographd("image", 8)))])
    data = Dataset([{"image": str(photograph)}] * 4, transform)
    batches = [batch["image"] for batch in DataLoader(data, batch_size=2, num_workers=1)]
    expected = LoadPhotographd("image", 8)({"image": photograph})["image"]
    assert all(torch.equal(image, expected) for batch in batches for image in batch)
