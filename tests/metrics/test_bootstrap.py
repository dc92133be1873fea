"""The patient bootstrap, against a slow one that draws patient by patient."""

import random
import time

import numpy as np
import pytest

from fairpool.metrics import bootstrap_rates, patient_counts

# (patient, site, label, decision); patient 3 has images at both sites.
SAMPLES = [
    (0, 0, 1, 1),
    (0, 0, 1, 0),
    (1, 0, 1, 1),
    (2, 0, 0, 1),
    (2, 0, 1, 0),
    (4, 1, 1, 1),
    (5, 1, 0, 0),
    (6, 1, 1, 0),
]
SHARED = [*SAMPLES, (3, 0, 1, 0), (3, 1, 1, 0), (7, 0, 1, 1), (7, 1, 0, 1)]


def slow_bootstrap(samples, resamples, seed):
    """Rates (error, FNR, FPR) by site of each resample; patients drawn within the sites they are of."""
    draw = random.Random(seed)
    images, sites = {}, {}
    for patient, site, label, decision in samples:
        images.setdefault(patient, []).append((site, label, decision))
        sites.setdefault(patient, set()).add(site)
    strata = {}
    for patient in images:
        strata.setdefault("several" if len(sites[patient]) > 1 else min(sites[patient]), []).append(patient)
    rows = []
    for _ in range(resamples):
        wrong, total = np.zeros((3, 2)), np.zeros((3, 2))
        for patients in strata.values():
            for patient in draw.choices(patients, k=len(patients)):
                for site, label, decision in images[patient]:
                    for event in (0, 1 if label else 2):
                        wrong[event, site] += label != decision
                        total[event, site] += 1
        rows.append(np.divide(wrong, total, out=np.full((3, 2), np.nan), where=total > 0))
    return np.stack(rows)


@pytest.mark.parametrize("samples", [SAMPLES, SHARED], ids=["own sites", "shared patients"])
def test_resampled_rates_have_the_distribution_of_a_slow_bootstrap(samples):
    counts = patient_counts(*np.array(samples).T, 2)
    found, expected = bootstrap_rates(counts, resamples=20000), slow_bootstrap(samples, 20000, seed=1)
    np.testing.assert_allclose(np.isnan(found).mean(0), np.isnan(expected).mean(0), atol=0.015)
    for moment in (np.nanmean, np.nanstd):
        np.testing.assert_allclose(moment(found, axis=0), moment(expected, axis=0), atol=0.012)  # 4 standard errors
    for level in (0.1, 0.5, 0.9):  # discrete: the shares below the level's value are compared
        value = np.nanquantile(expected, level, axis=0)
        shares = [
            np.nanmean(np.where(np.isnan(part), np.nan, part <= value + 1e-9), axis=0) for part in (found, expected)
        ]
        np.testing.assert_allclose(*shares, atol=0.02)
    both = [np.nanmean(part[:, 1, 0] * part[:, 1, 1]) for part in (found, expected)]
    assert both[0] == pytest.approx(both[1], abs=0.01)  # patients of both sites tie the sites together


def test_the_standard_deviation_is_that_of_the_sandwich_formula():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(400), rng.integers(1, 5, 400))
    wrong = rng.random(len(patient)) < np.repeat(rng.beta(1, 4, 400), np.bincount(patient))
    ones = np.ones(len(patient), int)
    counts = patient_counts(patient, 0 * ones, ones, 1 - wrong.astype(int), 1)
    rate = wrong.mean()
    spread = np.bincount(patient, wrong - rate)
    expected = np.sqrt((spread**2).sum()) / len(patient)
    assert bootstrap_rates(counts, resamples=4000)[:, 1, 0].std() == pytest.approx(expected, rel=0.05)


def test_a_seed_repeats_and_another_differs():
    counts = patient_counts(*np.array(SHARED).T, 2)
    first, again, other = (bootstrap_rates(counts, resamples=50, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)


@pytest.mark.slow
def test_2000_resamples_of_100_000_predictions_take_less_than_5_seconds():
    rng = np.random.default_rng(0)
    for sites, patients in ((2, 50_000), (20, 50_000), (2, 1000)):
        patient, label, decision = rng.integers(0, patients, 100_000), *rng.integers(0, 2, (2, 100_000))
        start = time.process_time()
        counts = patient_counts(patient, patient % sites, label, decision, sites)
        assert bootstrap_rates(counts).shape == (2000, 3, sites)
        assert time.process_time() - start < 5


def test_no_resample_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        bootstrap_rates(patient_counts([1], [0], [1], [1], 1), resamples=0)
