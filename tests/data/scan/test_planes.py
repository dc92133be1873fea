import numpy as np
import pytest

from fairpool.data.scan.planes import middle_plane, mix_channels


@pytest.mark.parametrize(
    "shape", [(3, 4), (3, 4, 1), (3, 4, 5), (3, 4, 6), (3, 4, 5, 7), (3, 4, 1, 7), (3, 4, 5, 2, 3)]
)
def test_the_middle_of_the_third_axis_and_the_start_of_all_further_ones_is_taken(shape):
    volume = np.random.default_rng(0).normal(size=shape)
    expected = volume.reshape(*shape, *[1] * (5 - len(shape)))
    expected = expected[:, :, expected.shape[2] // 2, 0, 0]
    assert np.array_equal(middle_plane(volume), expected)


def test_channels_are_mixed_without_opacity_and_grey_is_left_alone():
    random = np.random.default_rng(0)
    for channels, colours in ((1, 1), (2, 1), (3, 3), (4, 3)):
        plane = random.integers(0, 256, (5, 6, channels), dtype=np.uint8)
        expected = [[sum(map(int, pixel[:colours])) / colours for pixel in line] for line in plane]
        assert np.allclose(mix_channels(plane), expected)
    grey = plane[..., 0]
    assert mix_channels(grey) is grey


def test_fields_are_channels_and_complex_numbers_have_a_magnitude():
    plane = np.array([[(30, 60, 90)]], [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert mix_channels(plane).tolist() == [[60]]
    assert mix_channels(np.array([[3 + 4j]])).tolist() == [[5]]
