"""Reduced pixels: decoded once, found again, and refused with rows where a file is damaged."""

import io
import os
import stat

import numpy as np
import pytest
from PIL import Image

from fairpool.data.pixel_array import read_pixel_array
from fairpool.errors import DataError


@pytest.fixture
def paths(tmp_path):
    rng = np.random.default_rng(0)
    found = []
    for number in range(5):
        levels = np.full((60, 40, 3), rng.integers(0, 256, 3), dtype=np.uint8)
        levels[:, 20:] = rng.integers(0, 256, 3)
        found.append(str(tmp_path / f"face-{number}.png"))
        Image.fromarray(levels).save(found[-1])
    return found


def test_each_row_is_its_images_middle_square_reduced(paths, tmp_path):
    array = read_pixel_array(paths, 4, tmp_path / "cache")
    assert (array.dtype, array.shape) == (np.uint8, (5, 48))
    for row, path in zip(array.reshape(5, 4, 4, 3), paths, strict=True):
        levels = np.asarray(Image.open(path))
        np.testing.assert_allclose(row[:, 0], np.broadcast_to(levels[10, 5], (4, 3)), atol=1)
        np.testing.assert_allclose(row[:, 3], np.broadcast_to(levels[10, 35], (4, 3)), atol=1)


def test_a_second_call_decodes_nothing(paths, tmp_path, monkeypatch):
    first = np.array(read_pixel_array(paths, 4, tmp_path / "cache"))
    monkeypatch.setattr("fairpool.data.pixel_array.read_photograph", None)
    np.testing.assert_array_equal(read_pixel_array(paths, 4, tmp_path / "cache"), first)


def test_a_replaced_file_is_decoded_anew(paths, tmp_path):
    first = np.array(read_pixel_array(paths, 4, tmp_path / "cache"))
    status = os.stat(paths[2])
    Image.fromarray(np.full((60, 40, 3), 7, dtype=np.uint8)).save(paths[2])
    os.utime(paths[2], ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    second = read_pixel_array(paths, 4, tmp_path / "cache")
    assert (second[2] == 7).all()
    np.testing.assert_array_equal(second[3], first[3])


def test_damaged_files_are_counted_and_named_by_row_and_leave_no_part(paths, tmp_path):
    for number in (1, 3):
        with open(paths[number], "wb") as file:
            file.write(b"not an image")
    with pytest.raises(DataError, match=r"2 of 5 images cannot be used \(rows 2, 4\)") as caught:
        read_pixel_array(paths, 4, tmp_path / "cache")
    assert "face-" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_progress_ends_at_the_total(paths, tmp_path):
    calls = []
    read_pixel_array(paths, 4, tmp_path / "cache", progress=lambda *call: calls.append(call))
    assert calls[-1] == (5, 5)


DAMAGE = {
    "cut": lambda raw: raw[:-5],
    "cut in its header": lambda raw: raw[:60],
    "empty": lambda raw: b"",
    "a page": lambda raw: b"<html>" * 100,
    "a line of the header cut": lambda raw: raw.replace(b"}", b"("),
    "of another shape": lambda raw: saved(np.zeros((1, 2), np.uint8)),
    "of another type": lambda raw: saved(np.zeros((5, 48), np.int8)),
    "of objects": lambda raw: saved(np.array([[{}] * 48] * 5, dtype=object)),
}


def saved(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_array_is_made_again(paths, tmp_path, how):
    first = np.array(read_pixel_array(paths, 4, tmp_path / "cache"))
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(DAMAGE[how](kept.read_bytes()))
    np.testing.assert_array_equal(read_pixel_array(paths, 4, tmp_path / "cache"), first)
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [kept.name]
    np.testing.assert_array_equal(np.load(kept), first)


def test_the_owner_alone_reads_the_array_and_nobody_writes_into_what_is_returned(paths, tmp_path):
    array = read_pixel_array(paths, 4, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert not array.flags.writeable
