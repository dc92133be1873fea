"""One pass over images of every format; what cannot be read is told and stops nothing."""

import nibabel
import numpy as np
import pytest
from dicom_files import draw_pixels, write_dicom
from PIL import Image

from fairpool.audit.image_pass import MEAN_SIZE, pass_over_images
from fairpool.audit.nifti_slice import read_middle_slice
from fairpool.errors import DataError


def write_volume(path, volume):
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
    return path


@pytest.fixture
def volume():
    volume = np.zeros((40, 30, 7), np.float32)
    volume[10:20, :, 3] = 1000
    volume[..., 4] = 9999
    return volume


def test_every_format_is_read_and_its_header_told(tmp_path, volume):
    Image.fromarray(np.full((60, 40), 128, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((50, 50), 128, np.uint8)).save(tmp_path / "b.jpg")
    write_dicom(tmp_path / "c.dcm", pixels=draw_pixels(12, size=(32, 48), seed=0), bits=12, vendor="GE")
    write_volume(tmp_path / "d.nii.gz", volume)
    found = pass_over_images([tmp_path / name for name in ("a.png", "b.jpg", "c.dcm", "d.nii.gz")], cache_dir=None)
    assert found.faults == {}
    assert found.headers["format"].tolist() == ["png", "jpeg", "dicom", "nifti"]
    assert found.headers["shape"].tolist()[0] == "60x40"
    assert found.statistics["aspect"].tolist()[0] == 1.5
    assert found.statistics["mean"][0] == pytest.approx(128 / 255, abs=1e-3)
    assert found.thumbnails.shape == (4, MEAN_SIZE, MEAN_SIZE)
    assert np.isfinite(found.statistics.to_numpy()).all()
    assert (found.hashes["pixel_hash"] != "").all()


def test_what_cannot_be_read_is_told_without_its_name(tmp_path, volume):
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "mueller-a.png")
    whole = (tmp_path / "mueller-a.png").read_bytes()
    (tmp_path / "mueller-b.png").write_bytes(whole[:-30])
    (tmp_path / "mueller-c.png").write_bytes(b"")
    (tmp_path / "mueller-d.txt").write_text("report")
    packed = write_volume(tmp_path / "mueller-e.nii.gz", volume).read_bytes()
    (tmp_path / "mueller-e.nii.gz").write_bytes(packed[: len(packed) // 2])
    names = ["mueller-a.png", "mueller-b.png", "mueller-c.png", "mueller-d.txt", "mueller-e.nii.gz", "gone.png"]
    done = []
    found = pass_over_images(
        [tmp_path / name for name in names], cache_dir=None, progress=lambda *counts: done.append(counts)
    )
    assert list(found.faults) == [1, 2, 3, 4, 5]
    assert done[-1] == (6, 6)
    assert "mueller" not in str(found.faults)
    assert str(tmp_path) not in str(found.faults)
    assert np.isnan(found.statistics["mean"][1:]).all()


def test_copies_have_one_hash(tmp_path):
    for number in (1, 2):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)).save(
            tmp_path / f"{number}.png", compress_level=number
        )
    hashes = pass_over_images([tmp_path / "1.png", tmp_path / "2.png"], cache_dir=None).hashes
    assert hashes["pixel_hash"].nunique() == hashes["perceptual_hash"].nunique() == 1


def test_the_middle_slice_of_the_third_axis_is_taken(tmp_path, volume):
    square = read_middle_slice(write_volume(tmp_path / "a.nii", volume), 40)
    assert square[15].min() > 0.9  # rows 10 to 20 of 40
    assert square[30].max() < 0.1
    series = write_volume(tmp_path / "b.nii.gz", np.stack([volume, 0 * volume], axis=-1))
    assert np.array_equal(read_middle_slice(series, 40), square)


def test_volumes_that_differ_outside_the_middle_slice_are_no_copies(tmp_path, volume):
    other = volume.copy()
    other[0, 0, 0] = 5
    paths = [write_volume(tmp_path / "a.nii", volume), write_volume(tmp_path / "b.nii", other)]
    found = pass_over_images([*paths, write_volume(tmp_path / "c.nii.gz", volume)], cache_dir=None)
    first, second, packed = found.hashes["pixel_hash"]
    assert first == packed != second
    assert found.hashes["perceptual_hash"].nunique() == 1


def test_a_volume_too_large_to_be_hashed_is_audited_all_the_same(tmp_path, volume, monkeypatch):
    monkeypatch.setattr("fairpool.audit.image_pass.MAX_HASHED", 100)
    path = write_volume(tmp_path / "a.nii", volume)
    for found in (
        pass_over_images([path], cache_dir=None),
        pass_over_images([path], cache_dir=None, hash_pixels=False),
    ):
        assert found.faults == {}
        assert np.isfinite(found.statistics.to_numpy()).all()
        assert found.hashes.to_numpy().tolist() == [["", ""]]


def test_the_slice_of_a_colour_volume_leaves_out_the_opacity(tmp_path):
    volume = np.zeros((8, 8, 3), [("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])
    volume["R"][4:], volume["A"][:4] = 255, 255
    square = read_middle_slice(write_volume(tmp_path / "a.nii", volume), 8)
    assert square[:3].max() == 0
    assert square[5:].min() == 1


@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf])
def test_a_slice_of_one_value_is_black_or_refused(tmp_path, fill):
    path = write_volume(tmp_path / "a.nii", np.full((8, 8, 3), fill, np.float32))
    if fill == 0:
        assert read_middle_slice(path, 16).max() == 0
    else:
        with pytest.raises(DataError, match="no finite number"):
            read_middle_slice(path, 16)


def test_a_missing_volume_is_told_without_its_name(tmp_path):
    with pytest.raises(DataError, match="file not found") as caught:
        read_middle_slice(tmp_path / "mueller.nii", 16)
    assert "mueller" not in str(caught.value)
    assert caught.value.__context__ is None
