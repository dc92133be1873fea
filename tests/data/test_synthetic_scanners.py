import numpy as np
import pytest

from fairpool.data.synthetic_radiographs import render_scene
from fairpool.data.synthetic_scanners import SCANNERS, expose_scene


def scenes(label, count, size=64):
    return [render_scene(np.random.default_rng(seed), label, shape=(size, size)) for seed in range(count)]


def test_all_grey_curves_have_one_value_and_slope_at_lung_density():
    step = 1e-3
    for scanner in SCANNERS.values():
        below, at, above = scanner.curve(np.array([0.3 - step, 0.3, 0.3 + step]))
        assert at == pytest.approx(0.25, abs=1e-6)
        assert (above - at) / step == pytest.approx(1.15, rel=0.01)
        assert (at - below) / step == pytest.approx(1.15, rel=0.01)


def test_a_lesion_is_equally_bright_at_every_site():
    gains = {site: [] for site in SCANNERS}
    for well, ill in zip(scenes(0, 12, 128), scenes(1, 12, 128), strict=True):
        region = ill.lesions > 0.04
        for site in SCANNERS:
            # Same generator, so that exposure, border and noise cancel in the difference.
            pair = (expose_scene(scene, site, np.random.default_rng(99)).astype(float) for scene in (ill, well))
            gains[site].append(np.subtract(*pair)[region].mean())
    medians = [np.median(gain) for gain in gains.values()]
    assert max(medians) / min(medians) < 1.25


def test_the_scanner_is_readable_from_plain_statistics_of_the_image():
    """The nearest centroid of thumbnails names the site far above chance, though the patients are others."""
    images = {
        site: np.stack(
            [
                expose_scene(scene, site, np.random.default_rng([number, index]))
                for number, scene in enumerate(scenes(index % 2, 24))
            ]
        ).astype(float)
        for index, site in enumerate(SCANNERS)
    }
    rims = {
        site: np.concatenate([x[:, :8].reshape(24, -1), x[:, -8:].reshape(24, -1)], 1) for site, x in images.items()
    }
    centroids = {site: rim[:12].mean(axis=0) for site, rim in rims.items()}
    right = [
        min(centroids, key=lambda other, row=row: np.abs(row - centroids[other]).sum()) == site
        for site, rim in rims.items()
        for row in rim[12:]
    ]
    assert np.mean(right) > 0.6  # chance: 0.2


@pytest.mark.parametrize("site", SCANNERS)
def test_the_same_generator_makes_the_same_image_and_another_another(site):
    scene = scenes(1, 1)[0]
    first, again, other = (expose_scene(scene, site, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.dtype == np.uint8
    assert first.shape == (64, 64)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
