"""What the largest gap between sites would be by chance: its expectation under equal rates, and a permutation test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairpool.metrics.patients import RATES, PatientCounts

__all__ = ["NullGap", "expected_gap", "null_gap"]

_TOLERANCE = 1e-12
_CELLS_AT_ONCE = 5_000_000


@dataclass(frozen=True)
class NullGap:
    """A largest-minus-smallest gap beside what equal rates would show.

    Attributes:
        gap: largest minus smallest rate of the sites: for "fnr" the DEO.
        expected: its mean over test sets of the same sizes if all sites had the same rate.
        p_value: share of permutations with a gap at least as large, (1 + number) / (1 + permutations).
        permutations: R.
    """

    gap: float
    expected: float
    p_value: float
    permutations: int


def expected_gap(sizes: Sequence[int], rate: float) -> float:
    """Expectation of the largest minus the smallest of independent binomial proportions with one rate, exactly.

    Args:
        sizes: samples of each site; sites with none have no rate and enter no gap.
        rate: the common rate, in [0, 1].
    Returns:
        the expectation; NaN with fewer than two sites.
    Raises:
        ValueError: the rate is outside [0, 1], or a size is negative.

    Two sites of 200 ill patients each, 13 % of them missed at both, show a DEO of

    >>> round(100 * expected_gap([200, 200], 0.13), 1)
    2.7
    """
    from scipy.special import bdtr

    present = np.array([size for size in sizes if size], dtype=np.int64)
    if not 0 <= rate <= 1 or (present < 0).any():
        smallest = min(sizes, default=0)
        raise ValueError(f"the rate must lie in [0, 1] and no size be negative; got {rate} and {smallest}.")
    if len(present) < 2:
        return float("nan")
    different, repeats = np.unique(present, return_counts=True)
    grid = np.unique(np.concatenate([np.arange(size + 1) / size for size in different]))
    # E[max] is the integral of P(max > t), E[min] that of P(min > t): steps between neighbours of the grid.
    all_below, all_above = np.ones(len(grid)), np.ones(len(grid))
    for size, number in zip(different, repeats, strict=True):
        below = bdtr(np.arange(size + 1, dtype=float), int(size), rate)[np.floor(grid * size + 1e-9).astype(np.int64)]
        all_below *= below**number
        all_above *= (1 - below) ** number
    return float((np.diff(grid) * (1 - all_below - all_above)[:-1]).sum())


def null_gap(counts: PatientCounts, rate: str = "fnr", *, permutations: int = 9999, seed: int = 0) -> NullGap:
    """The gap of a rate, its expectation under equal rates, and the p-value of the hypothesis that sites do not matter.

    The permutation deals the sites anew to the patients who have images in the event, each keeping all images and each
    site its number of patients; a patient of several sites has them exchanged among the own images. The event is that
    of the rate: the ill for the FNR, and for the FDR the images decided positive, whose patients each site keeps in
    number. The expectation is exact (`expected_gap` at the pooled rate) where every patient has one image in the event,
    else the mean over the permutations.

    Args:
        counts: of `patient_counts`.
        rate: of `RATES`; "fnr" gives the DEO, "selection_rate" the difference in positive decisions.
        permutations: R.
        seed: of the permutations.
    Returns:
        NaN for gap, expectation and p-value where fewer than two sites have a rate.
    Raises:
        ValueError: another rate, or fewer than one permutation.
    Source: Phipson and Smyth 2010, doi:10.2202/1544-6115.1585, for the 1 + ... of the p-value.

    >>> from fairpool.metrics import patient_counts
    >>> counts = patient_counts(range(40), [0] * 20 + [1] * 20, [1] * 40, [0] * 8 + [1] * 32, num_sites=2)
    >>> result = null_gap(counts)  # 8 of 20 missed at one site and none at the other
    >>> round(result.gap, 3), round(result.expected, 3), result.p_value < 0.01
    (0.4, 0.1, True)
    """
    if rate not in RATES:
        raise ValueError(f'there is no rate "{rate}"; there are {", ".join(RATES)}.')
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}; 9999 is usual.")
    event = RATES.index(rate)
    in_event = counts.denominators[:, event] > 0
    patient, site = counts.patient[in_event], counts.site[in_event]
    values = np.stack([counts.numerators[in_event, event], counts.denominators[in_event, event]], axis=1)
    sums = np.stack([np.bincount(site, column, counts.num_sites) for column in values.T], axis=1)
    if (sums[:, 1] > 0).sum() < 2:
        return NullGap(float("nan"), float("nan"), float("nan"), permutations)
    gap = float(_gaps(sums[None])[0])
    gaps = _permuted_gaps(patient, site, values, counts.num_sites, permutations, np.random.default_rng(seed))
    if (np.bincount(patient, values[:, 1]) <= 1).all():
        wrong, images = sums.sum(axis=0)
        expected = expected_gap(sums[:, 1].astype(int).tolist(), wrong / images)
    else:
        expected = float(gaps.mean())
    return NullGap(gap, expected, float((1 + (gaps >= gap - _TOLERANCE).sum()) / (1 + permutations)), permutations)


def _gaps(sums: NDArray[Any]) -> NDArray[np.float64]:
    """Largest minus smallest rate of sums (..., K, 2): numerators and denominators."""
    rates = np.divide(sums[..., 0], sums[..., 1], out=np.full(sums.shape[:-1], np.nan), where=sums[..., 1] > 0)
    gaps: NDArray[np.float64] = np.nanmax(rates, axis=-1) - np.nanmin(rates, axis=-1)
    return gaps


def _permuted_gaps(
    patient: NDArray[Any],
    site: NDArray[Any],
    values: NDArray[Any],
    num_sites: int,
    number: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Gaps of R permutations; rows are (patient, site), values (M, 2) numerators and denominators."""
    from scipy.stats import random_table

    is_shared = np.bincount(patient)[patient] > 1
    # Patients with equal values are one kind: who goes where is a random table of kinds by sites with fixed margins.
    kinds, each = np.unique(values[~is_shared], axis=0, return_counts=True)
    places = np.bincount(site[~is_shared], minlength=num_sites)
    gaps = []
    step = max(1, _CELLS_AT_ONCE // max(1, len(kinds) * num_sites + 2 * int(is_shared.sum())))
    for start in range(0, number, step):
        size = min(step, number - start)
        sums = np.zeros((size, num_sites, 2))
        if len(each):
            # Patefield's cost grows with the cells of the table, Boyett's with the patients.
            method = "patefield" if len(each) * num_sites < len(site) else "boyett"
            tables = random_table.rvs(each, places, size=size, method=method, random_state=rng)
            sums += np.einsum("ruk,uv->rkv", tables, kinds, dtype=float)
        if is_shared.any():
            sums += _exchanged_within(patient[is_shared], site[is_shared], values[is_shared], num_sites, size, rng)
        gaps.append(_gaps(sums))
    return np.concatenate(gaps)


def _exchanged_within(
    patient: NDArray[Any], site: NDArray[Any], values: NDArray[Any], num_sites: int, size: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Sums by site (R, K, 2) after each patient's rows changed places at random; rows are sorted by patient."""
    order = np.argsort(patient + rng.random((size, len(patient))), axis=1)
    where = (np.arange(size)[:, None] * num_sites + site).ravel()
    columns = [np.bincount(where, column[order].ravel(), size * num_sites) for column in values.T]
    return np.stack(columns, axis=1).reshape(size, num_sites, 2).astype(np.float64)
