"""The transform inside MONAI, on files whose numbers are known."""

import pickle

import numpy as np
import pydicom
import pytest
import torch
from dicom_files import write_dicom
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader, MetaTensor
from monai.transforms import Compose
from PIL import Image

from fairpool.errors import DataError
from fairpool.transforms.load import LoadRadiographd


@pytest.fixture
def levels():
    return np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)


@pytest.fixture
def path(tmp_path, levels):
    path = tmp_path / "meier.png"
    Image.fromarray(levels).save(path)
    return path


def test_path_becomes_a_plain_float_tensor_of_one_channel(path, levels):
    image = LoadRadiographd("image", 16)({"image": path})["image"]
    assert type(image) is torch.Tensor
    assert not isinstance(image, MetaTensor)
    assert (image.dtype, image.shape) == (torch.float32, (1, 16, 16))
    np.testing.assert_array_equal(image[0].numpy(), levels.astype(np.float32) / np.float32(255))


def test_height_comes_before_width_and_row_0_is_the_top(tmp_path):
    oblong = np.zeros((60, 90), dtype=np.uint8)
    oblong[:20] = 255  # a band along the whole top edge
    Image.fromarray(oblong).save(tmp_path / "oblong.png")
    image = LoadRadiographd("image", 12)({"image": tmp_path / "oblong.png"})["image"]
    assert image[0, :3].min() > 0.9
    assert image[0, 6:].max() < 0.1


def test_no_file_name_is_left_in_the_item_and_the_given_item_is_unchanged(path):
    given = {"image": str(path), "row": 41, "site_name": "bern"}
    item = LoadRadiographd("image", 16)(given)
    assert set(item) == set(given)
    assert b"meier" not in pickle.dumps(item)
    assert given["image"] == str(path)


def test_bad_image_is_told_with_row_and_site(tmp_path):
    (tmp_path / "meier.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"^row 41 \(bern\): not an image") as caught:
        LoadRadiographd("image", 16)({"image": tmp_path / "meier.png", "row": 41, "site_name": "bern"})
    assert "meier" not in str(caught.value)


def test_bad_image_without_row_and_site_is_told_without_them(tmp_path):
    with pytest.raises(DataError, match=r"^file not found"):
        LoadRadiographd("image", 16)({"image": tmp_path / "meier.png", "row": 41})


def test_error_inside_compose_keeps_the_sentence_as_its_cause(tmp_path, capsys, caplog):
    load = Compose([LoadRadiographd("image", 16)])
    with pytest.raises(RuntimeError) as caught:
        load({"image": tmp_path / "meier.png", "row": 41, "site_name": "bern"})
    assert isinstance(caught.value.__cause__, DataError)
    assert "meier" not in str(caught.value) + capsys.readouterr().err + caplog.text


def test_value_that_is_no_path_is_refused(path):
    load = LoadRadiographd("image", 16)
    with pytest.raises(TypeError, match=r'row 7 \(basel\): "image" must hold the path of one file, got list'):
        load({"image": [path], "row": 7, "site_name": "basel"})


def test_missing_key_is_refused_unless_allowed(path):
    with pytest.raises(KeyError, match="other"):
        LoadRadiographd(["image", "other"], 16)({"image": path})
    item = LoadRadiographd(["image", "other"], 16, allow_missing_keys=True)({"image": path})
    assert set(item) == {"image"}


def test_declared_range_reaches_the_reader(tmp_path):
    stored = np.full((8, 8), 1000, dtype=np.uint16)
    Image.fromarray(stored).save(tmp_path / "grey.png")
    image = LoadRadiographd("image", 8, value_range=(0, 4000))({"image": tmp_path / "grey.png"})["image"]
    torch.testing.assert_close(image, torch.full((1, 8, 8), 0.25), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strict": True}, r"row 2 \(bern\): image is in colour; strict takes"),
        ({"frame": 5}, r"row 2 \(bern\): DICOM holds 3 frames, so there is no frame 5"),
        ({}, r"row 2 \(bern\): DICOM holds 3 frames; expected one image"),
    ],
)
def test_settings_of_reading_reach_the_reader(tmp_path, settings, message):
    path = tmp_path / "image"
    if settings.get("strict"):
        Image.new("RGB", (8, 8)).save(path, "PNG")
    else:
        write_dicom(path, frames=3)
    with pytest.raises(DataError, match=message):
        LoadRadiographd("image", 8, **settings)({"image": path, "row": 2, "site_name": "bern"})


def test_a_volumes_middle_frame_is_loaded_with_its_holes_filled(tmp_path):
    path = write_dicom(tmp_path / "image", frames=3)
    load = LoadRadiographd("image", 32, frame="middle", nan="fill")
    stored = pydicom.dcmread(path).pixel_array[1]
    np.testing.assert_allclose(load({"image": path})["image"][0].numpy(), stored / 65535, atol=1e-5)


def test_bundle_config_builds_it_and_the_cache_is_filled(path, levels, tmp_path):
    parser = ConfigParser(
        {
            "cache_dir": str(tmp_path / "cache"),
            "load": {
                "_target_": "fairpool.transforms.load.LoadRadiographd",
                "keys": "image",
                "size": 16,
                "cache_dir": "@cache_dir",
                "value_range": [0, 4095],
            },
        }
    )
    load = parser.get_parsed_content("load")
    for _ in range(2):
        np.testing.assert_allclose(load({"image": path})["image"][0].numpy(), levels / 255, atol=1e-6)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_cache_dataset_and_loader_workers_give_batches(path, levels, tmp_path):
    items = [{"image": str(path), "row": row, "site_name": "bern"} for row in range(4)]
    transform = Compose([LoadRadiographd("image", 16, cache_dir=tmp_path / "cache")])
    dataset = CacheDataset(items, transform, num_workers=2, progress=False)
    path.unlink()  # whatever is read now comes from memory
    (batch,) = DataLoader(dataset, batch_size=4, num_workers=2)
    assert type(batch["image"]) is torch.Tensor
    assert batch["image"].shape == (4, 1, 16, 16)
    np.testing.assert_allclose(batch["image"][3, 0].numpy(), levels / 255, atol=1e-6)
