"""Confidence intervals of the rates by site and of the differences between sites, whatever images a patient has."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairpool.metrics.patients import RATES, PatientCounts
from fairpool.metrics.score import score_interval

__all__ = ["Intervals", "effective_sizes", "gap_intervals", "largest_gap_intervals", "pair_intervals", "rate_intervals"]

_PRIOR_PATIENTS = 0.5
"""Weight, in erring patients, of the assumption that all images of a patient are right or wrong together."""

_ALL = tuple(range(len(RATES)))


@dataclass(frozen=True)
class Intervals:
    """Estimates with their limits, fractions or differences of fractions; the first axis is that of `RATES`.

    Attributes:
        estimate: NaN where there is nothing to estimate from.
        low: NaN with the estimate.
        high: NaN with the estimate.
    """

    estimate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def effective_sizes(counts: PatientCounts) -> NDArray[np.float64]:
    """Number of independent images that would tell as much of each rate as the images at hand.

    The images divided by the design effect: the variance of the rate over patients, relative to that of independent
    images. Few erring patients tell little of it, so it is averaged with its largest possible value (every patient's
    images right or wrong together) with the weight of half a patient. With one image a patient: the number of images.

    Returns:
        shape (5, K), the first axis that of `RATES`; 0 where a rate has no images.
    Source: Rao and Scott 1992, doi:10.2307/2532311, for the division by the design effect; the average is ours, chosen
        by measured coverage (docs/explanation/uncertainty.md).

    >>> from fairpool.metrics import patient_counts
    >>> counts = patient_counts(["a", "a", "b", "b"], [0] * 4, [1] * 4, [1, 1, 1, 1], num_sites=1)
    >>> effective_sizes(counts)[0].tolist()  # four right decisions on two patients
    [2.0]
    """
    images, wrong = counts.by_site(counts.denominators), counts.by_site(counts.numerators)
    patients = counts.by_site(counts.denominators > 0)
    rate = _ratio(wrong, images)
    worst = _ratio(counts.by_site(counts.denominators**2), images)
    observed = _ratio(counts.by_site(_residuals(counts, rate) ** 2), images * rate * (1 - rate))
    observed = np.fmin(observed * _ratio(patients, patients - 1), worst)  # one patient, no error: the worst
    few = np.minimum(counts.by_site(counts.numerators > 0), counts.by_site(counts.numerators < counts.denominators))
    design_effect = (few * observed + _PRIOR_PATIENTS * worst) / (few + _PRIOR_PATIENTS)
    sizes: NDArray[np.float64] = np.nan_to_num(_ratio(images, design_effect))
    return sizes


def rate_intervals(counts: PatientCounts, *, confidence: float = 0.95) -> Intervals:
    """Each site's `RATES`, shape (5, K): Wilson's interval over `effective_sizes`.

    The false discovery rate is taken given the number of positive decisions, as the FNR given that of label 1.

    >>> from fairpool.metrics import patient_counts
    >>> counts = patient_counts(range(20), [0] * 20, [1] * 20, [1] * 20, num_sites=1)
    >>> rate_intervals(counts).high[1].round(3).tolist()  # no miss among 20 patients
    [0.161]
    """
    num = counts.num_sites
    sites, no_contrast = np.arange(num)[:, None], np.ones((num, 1))
    return _contrasts(counts, sites, no_contrast, confidence)


def gap_intervals(counts: PatientCounts, *, confidence: float = 0.95) -> Intervals:
    """Each site's rate minus the mean of the other sites' rates, shape (5, K), as a constraint's gap.

    Sites without the event enter no mean, and a gap needs two sites; the interval is `score_interval`'s over
    `effective_sizes`, and where patients have images at several sites, their covariance counts.
    """
    num = counts.num_sites
    sites = np.broadcast_to(np.arange(num), (num, num))
    results = []
    for event, present in enumerate(counts.by_site(counts.denominators) > 0):
        others = present.sum() - 1
        contrast = np.where(np.eye(num, dtype=bool), 1.0, -1.0 / max(others, 1)) * present
        contrast[~present | (others < 1)] = 0
        results.append(_contrasts(counts, sites, contrast, confidence, events=(event,)))
    return Intervals(
        *(np.concatenate([getattr(part, name) for part in results]) for name in ("estimate", "low", "high"))
    )


def pair_intervals(counts: PatientCounts, *, confidence: float = 0.95) -> Intervals:
    """Rate of site j minus rate of site k, shape (5, K, K); NaN on the diagonal and where a site lacks the event.

    >>> from fairpool.metrics import patient_counts
    >>> labels, misses = [1] * 150, [0] * 56 + [1] * 14 + [0] * 48 + [1] * 32
    >>> counts = patient_counts(range(150), [0] * 70 + [1] * 80, labels, misses, num_sites=2)
    >>> pairs = pair_intervals(counts)
    >>> [round(float(limit[1, 0, 1]), 4) for limit in (pairs.low, pairs.high)]
    [0.0533, 0.3377]
    """
    return _pairs(counts, confidence, _ALL)


def largest_gap_intervals(counts: PatientCounts, *, confidence: float = 0.95) -> Intervals:
    """Largest minus smallest rate (DEO for the FNR), shape (5,), with limits from all pairs of sites at once.

    The pairs' confidence is raised (Bonferroni) so that all their intervals hold together; the gap is then at least the
    largest difference that some pair has at least, and at most the largest that some pair has at most. With two sites
    it is the interval of the difference's absolute value. It is conservative with many sites. The estimate itself is
    biased upwards; see `null_gap`.
    """
    present = (counts.by_site(counts.denominators) > 0).sum(axis=1)
    result = Intervals(*(np.full(len(RATES), np.nan) for _ in range(3)))
    for event in np.flatnonzero(present > 1):
        num_pairs = present[event] * (present[event] - 1) / 2
        pairs = _pairs(counts, 1 - (1 - confidence) / num_pairs, (int(event),))
        # Both directions of a pair are there, so the largest of each matrix is of the differences' absolute values.
        result.estimate[event] = np.nanmax(pairs.estimate)
        result.low[event], result.high[event] = max(0.0, np.nanmax(pairs.low)), np.nanmax(pairs.high)
    return result


def _pairs(counts: PatientCounts, confidence: float, events: tuple[int, ...]) -> Intervals:
    num = counts.num_sites
    first, second = np.triu_indices(num, 1)
    sites = np.stack([first, second], axis=1)
    found = _contrasts(counts, sites, np.broadcast_to([1.0, -1.0], sites.shape), confidence, events)
    result = Intervals(*(np.full((len(events), num, num), np.nan) for _ in range(3)))
    result.estimate[:, first, second], result.estimate[:, second, first] = found.estimate, 0 - found.estimate
    result.low[:, first, second], result.low[:, second, first] = found.low, -found.high
    result.high[:, first, second], result.high[:, second, first] = found.high, -found.low
    return result


def _contrasts(
    counts: PatientCounts,
    sites: NDArray[Any],
    contrast: NDArray[Any],
    confidence: float,
    events: tuple[int, ...] = _ALL,
) -> Intervals:
    """Intervals of combinations of some sites' rates: sites and contrast of shape (N, L), result (len(events), N)."""
    images, sizes = counts.by_site(counts.denominators), effective_sizes(counts)
    rates = _ratio(counts.by_site(counts.numerators), images)
    inflation = np.ones((len(RATES), len(sites)))
    if counts.is_shared.any():
        inflation = _covariance_factor(counts, rates, sites, contrast)
    results = np.full((3, len(events), len(sites)), np.nan)
    for row, event in enumerate(events):
        rate, size = rates[event][sites], sizes[event][sites]
        wanted = contrast != 0
        has_estimate = ((size > 0) | ~wanted).all(axis=1) & wanted.any(axis=1)
        rate, size = np.where(wanted, rate, 0.0)[has_estimate], np.where(wanted, size, 1.0)[has_estimate]
        weights = contrast[has_estimate]
        limits = score_interval(rate, size, weights, inflation=inflation[event][has_estimate], confidence=confidence)
        results[:, row, has_estimate] = (weights * rate).sum(axis=1), *limits
    return Intervals(*results)


def _covariance_factor(
    counts: PatientCounts, rates: NDArray[Any], sites: NDArray[Any], contrast: NDArray[Any]
) -> NDArray[Any]:
    """Variance of each combination with the covariance from patients of several sites, over that without; (5, N).

    As the design effect, it is averaged with no covariance, which is the wider for differences, by the erring patients.
    """
    from scipy.sparse import csr_array

    images = counts.by_site(counts.denominators)
    residuals = np.nan_to_num(_ratio(_residuals(counts, rates), images[:, counts.site].T))
    factors = []
    for event in _ALL:
        matrix = csr_array(
            (residuals[:, event], (counts.patient, counts.site)), shape=(_patients(counts), counts.num_sites)
        )
        covariance = (matrix.T @ matrix).toarray()
        full = np.einsum("nl,nlm,nm->n", contrast, covariance[sites[:, :, None], sites[:, None, :]], contrast)
        alone = (contrast**2 * covariance.diagonal()[sites]).sum(axis=1)
        few = np.unique(counts.patient[counts.is_shared & (counts.numerators[:, event] > 0)]).size
        ratio = np.divide(full, alone, out=np.ones_like(full), where=alone > 0)
        factors.append((few * ratio + _PRIOR_PATIENTS) / (few + _PRIOR_PATIENTS))
    return np.stack(factors)


def _patients(counts: PatientCounts) -> int:
    return int(counts.patient.max()) + 1


def _residuals(counts: PatientCounts, rates: NDArray[Any]) -> NDArray[Any]:
    """Numerators of each row beyond those that its site's rate expects, shape (M, 5)."""
    return counts.numerators - np.where(counts.denominators > 0, rates[:, counts.site].T, 0) * counts.denominators


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[Any]:
    ratio: NDArray[Any] = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
    return ratio
