"""Figures of an image, on images where they are known."""

import numpy as np
import pytest

from fairpool.audit.image_statistics import STATISTICS, image_statistics, reduce_blocks


def named(pixels):
    return dict(zip(STATISTICS, image_statistics(pixels.astype(np.float32)), strict=True))


def test_a_ramp_has_its_quantiles_and_mean():
    found = named(np.tile(np.linspace(0, 1, 101), (101, 1)))
    assert found["mean"] == pytest.approx(0.5)
    assert found["quantile 25%"] == pytest.approx(0.25, abs=0.01)
    assert found["standard deviation"] == pytest.approx(np.linspace(0, 1, 101).std())
    assert found["asymmetry"] > 0.4


def test_a_black_frame_is_found_whole():
    pixels = np.full((100, 100), 0.6)
    pixels[:8], pixels[-8:], pixels[:, :8], pixels[:, -8:] = 0, 0, 0, 0
    found = named(pixels)
    assert found["black border share"] == 1
    assert found["border mean"] == 0
    assert found["centre mean"] == pytest.approx(0.6)
    assert named(np.full((100, 100), 0.6))["black border share"] == 0


def test_a_marker_in_a_corner_is_seen_in_its_corner_only():
    pixels = np.zeros((100, 100))
    pixels[:15, -15:] = 1
    found = named(pixels)
    assert found["top right mean"] == 1
    assert found["top left mean"] == found["bottom left mean"] == found["bottom right mean"] == 0


def test_a_smoothed_image_is_less_sharp():
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(0).random((64, 64))
    sharp, smooth = named(noise), named(gaussian_filter(noise, 2))
    assert smooth["sharpness"] < sharp["sharpness"] - 2
    assert smooth["edges"] < sharp["edges"]


@pytest.mark.parametrize("pixels", [np.zeros((32, 32)), np.ones((32, 32)), np.eye(17), np.full((16, 40), 0.5)])
def test_no_image_gives_nan(pixels):
    assert np.isfinite(image_statistics(pixels.astype(np.float32))).all()


def test_blocks_are_means():
    pixels = np.random.default_rng(1).random((224, 224)).astype(np.float32)
    found = reduce_blocks(pixels, 32)
    assert found[3, 5] == pytest.approx(pixels[21:28, 35:42].mean(), rel=1e-5)
