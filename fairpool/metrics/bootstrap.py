"""Bootstrap over patients: rates by site of many resampled test sets, for whatever has no interval of its own."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairpool.metrics.patients import PatientCounts

__all__ = ["bootstrap_rates"]

_CELLS_AT_ONCE = 5_000_000


def bootstrap_rates(counts: PatientCounts, *, resamples: int = 2000, seed: int = 0) -> NDArray[np.float64]:
    """Error, FNR and FPR by site, over patients drawn with replacement, all images of a patient together.

    Patients are drawn within their site, those of several sites among themselves. Patients with equal counts are one
    kind, and a resample is a multinomial draw over the kinds: the same as drawing the patients, and far less work.

    Use it for functions of the rates, as ``np.quantile(rates[:, 1].mean(axis=1), [0.025, 0.975])``. For the rates and
    their differences, `rate_intervals` and `gap_intervals` hold better (docs/explanation/uncertainty.md).

    Args:
        counts: of `patient_counts`.
        resamples: R.
        seed: of the draws.
    Returns:
        rates, shape (R, 3, K), the second axis the first three of `RATES`; NaN where a resample has no such image.
    Raises:
        ValueError: fewer than one resample.
    Source: Field and Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x, for the bootstrap of clusters.

    >>> from fairpool.metrics import patient_counts
    >>> counts = patient_counts(range(4), [0, 0, 1, 1], [1] * 4, [1, 0, 1, 1], num_sites=2)
    >>> rates = bootstrap_rates(counts, resamples=1000)
    >>> rates.shape, sorted(set(rates[:, 1, 0].tolist())), bool((rates[:, 1, 1] == 0).all())
    ((1000, 3, 2), [0.0, 0.5, 1.0], True)
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}; 2000 is usual.")
    rng = np.random.default_rng(seed)
    sums = np.zeros((resamples, counts.num_sites, 6))
    values = np.concatenate([counts.wrong, counts.images], axis=1)
    is_shared = counts.is_shared
    for site in range(counts.num_sites):
        at_site = values[~is_shared & (counts.site == site)]
        if len(at_site):
            kinds, number = np.unique(at_site, axis=0, return_counts=True)
            sums[:, site] += _resample(rng, kinds, number, resamples)
    if is_shared.any():
        sums += _resample(rng, *_one_kind_a_patient(counts, values), resamples).reshape(sums.shape)
    wrong, images = sums[..., :3], sums[..., 3:]
    rates = np.divide(wrong, images, out=np.full_like(wrong, np.nan), where=images > 0)
    return rates.transpose(0, 2, 1)


def _one_kind_a_patient(counts: PatientCounts, values: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
    """The sums of the patients of several sites, (U, 6 K) and sparse, and a 1 for each."""
    from scipy.sparse import csr_array

    is_shared = counts.is_shared
    patients, row = np.unique(counts.patient[is_shared], return_inverse=True)
    columns = counts.site[is_shared, None] * 6 + np.arange(6)
    entries = (np.repeat(row.reshape(-1), 6), columns.ravel())
    shape = (len(patients), counts.num_sites * 6)
    return csr_array((values[is_shared].ravel(), entries), shape=shape), np.ones(len(patients), np.int64)


def _resample(rng: np.random.Generator, kinds: Any, number: NDArray[Any], resamples: int) -> NDArray[np.float64]:
    """Sums over as many patients as there are, drawn with replacement: kinds (U, V) and their number (U,) to (R, V)."""
    drawn = int(number.sum())
    owner = np.repeat(np.arange(len(number)), number)
    step = max(1, _CELLS_AT_ONCE // len(number))
    parts = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        if len(number) < drawn / 8:
            weights = rng.multinomial(drawn, number / drawn, size=size)
        else:  # a kind a patient, or nearly: drawing the patients themselves is faster
            draws = owner[rng.integers(0, drawn, (size, drawn), dtype=np.int32)]
            weights = np.stack([np.bincount(row, minlength=len(number)) for row in draws])
        parts.append(np.asarray(weights.astype(np.float64) @ kinds, np.float64))
    return np.concatenate(parts)
