"""Heads and scanners: tissues that add up, atrophy that shows, a site that acts through the scanner alone."""

import numpy as np
import pytest
from scipy.stats import rice

from fairpool.data.synthetic_heads import MRI_SCANNERS, draw_head, scan_head


def head(label=0, age=70.0, seed=0, **options):
    return draw_head(label, age, np.random.default_rng(seed), **options)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("label", [0, 1])
def test_tissues_are_shares_that_add_up_to_no_more_than_one(label, seed):
    tissues = head(label, seed=seed)
    for name, part in tissues.items():
        assert part.shape == (24, 28, 24), name
        assert part.min() >= -1e-6, name
    assert sum(tissues.values()).max() <= 1 + 1e-5
    middle = {name: float(part[9:15, 11:17, 9:15].mean()) for name, part in tissues.items()}
    assert middle["scalp"] == pytest.approx(0, abs=1e-3)
    assert middle["white"] > 0.2


def test_the_volumes_of_the_tissues_are_those_of_the_ellipsoids():
    """Mean over heads of the whole head's volume, 4/3 pi a b c of 75, 92 and 80 mm, whatever the voxel size."""
    expected = 4 / 3 * np.pi * 75 * 92 * 80
    for voxel_size, shape in ((7.0, (24, 28, 24)), (4.0, (42, 50, 44))):
        volumes = [
            sum(part.sum() for part in head(seed=seed, shape=shape, voxel_size=voxel_size).values()) * voxel_size**3
            for seed in range(20)
        ]
        assert np.mean(volumes) == pytest.approx(expected, rel=0.1)


def test_atrophy_widens_the_ventricles_and_thins_the_cortex_of_the_very_same_head():
    for seed in range(10):
        healthy, ill, none = head(0, seed=seed), head(1, seed=seed), head(1, seed=seed, atrophy=0.0)
        assert ill["fluid"].sum() > 1.05 * healthy["fluid"].sum()
        assert ill["grey"].sum() < 0.95 * healthy["grey"].sum()
        np.testing.assert_array_equal(ill["scalp"], healthy["scalp"])
        for name in healthy:
            np.testing.assert_array_equal(none[name], healthy[name])


def test_atrophy_at_one_is_of_the_size_of_the_differences_between_healthy_people():
    healthy = np.array([head(0, seed=seed)["fluid"].sum() for seed in range(60)])
    ill = np.array([head(1, seed=seed)["fluid"].sum() for seed in range(60, 120)])
    effect = (ill.mean() - healthy.mean()) / healthy.std()
    assert 0.5 < effect < 2.5


def test_ventricles_grow_with_age():
    assert head(age=85.0)["fluid"].sum() > head(age=55.0)["fluid"].sum()


@pytest.mark.parametrize("site", MRI_SCANNERS)
def test_what_a_scanner_stores_are_whole_magnitudes(site):
    stored = scan_head(head(), site, np.random.default_rng(0))
    assert (stored.dtype, stored.shape) == (np.int16, (24, 28, 24))
    assert stored.min() >= 0
    assert 0.5 * MRI_SCANNERS[site].gain < np.percentile(stored, 99) < 2 * MRI_SCANNERS[site].gain


@pytest.mark.parametrize("site", MRI_SCANNERS)
def test_noise_in_air_is_rician(site):
    """Air has no signal: magnitudes follow a Rayleigh distribution, Rician with b = 0."""
    scanner = MRI_SCANNERS[site]
    air = scan_head({name: np.zeros((24, 28, 24), np.float32) for name in head()}, site, np.random.default_rng(1))
    expected = rice.mean(0, scale=scanner.noise) * scanner.gain
    assert air.mean() == pytest.approx(expected, rel=0.12)  # the gain varies by 5 %
    assert air.std() / air.mean() == pytest.approx(rice.std(0) / rice.mean(0), rel=0.03)


def test_the_scanners_shade_the_front_in_opposite_ways():
    tissues = {"white": np.ones((24, 28, 24), np.float32)}
    slopes = {}
    for site in MRI_SCANNERS:
        stored = np.mean([scan_head(tissues, site, np.random.default_rng(seed)) for seed in range(5)], axis=0)
        slopes[site] = np.polyfit(np.linspace(-1, 1, 28), np.log(stored.mean(axis=(0, 2))), 1)[0]
        assert slopes[site] == pytest.approx(MRI_SCANNERS[site].shading[1], abs=0.1)
    assert slopes["alpine"] < 0 < slopes["bayside"]


def test_a_site_without_a_scanner_is_named():
    with pytest.raises(ValueError, match='Site "x" has no synthetic scanner; expected one of alpine, bayside'):
        scan_head(head(), "x", np.random.default_rng(0))
