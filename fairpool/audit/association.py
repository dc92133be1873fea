"""How strongly two columns go together: Cramér's V with an interval over patients, and mutual information."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Association", "contingency", "cramers_v", "measure_association"]

_TAIL = 0.025  # on each side of a 95 % interval
_FEWEST_PATIENTS = 5
_CELLS_AT_ONCE = 1_000_000  # of drawn tables: 8 MB an array of them


@dataclass(frozen=True)
class Association:
    """Association of two columns; None where a column has one value only, so that there is nothing to measure.

    Attributes:
        num_images: images with both values.
        num_patients: of these images.
        num_values: distinct values of the first and of the second column.
        cramers_v: plain, 0 to 1; biased upwards, the more so the more values and the fewer images.
        corrected_v: Bergsma's correction, for the effective number of images.
        low: lower limit of V with 95 % confidence; None also with fewer than 5 patients a value on average.
        high: upper limit.
        design_effect: how many times larger V squared would be on average than with one image a patient, were the
            columns independent: 1 where a patient's images differ as those of several patients do, up to the number of
            his images where they are alike. How strongly the columns go together does not enter.
        bits: mutual information, plain.
        chance_bits: what independent columns would show of it by chance (Miller and Madow's term, times the effect).
        entropy_share: mutual information as a share of the entropy of the second column.
    """

    num_images: int
    num_patients: int
    num_values: tuple[int, int]
    cramers_v: float | None = None
    corrected_v: float | None = None
    low: float | None = None
    high: float | None = None
    design_effect: float | None = None
    bits: float | None = None
    chance_bits: float | None = None
    entropy_share: float | None = None


def contingency(first: ArrayLike, second: ArrayLike) -> NDArray[np.int64]:
    """Counts of the pairs of values, shape (R, C), each in the alphabet's order.

    >>> contingency(["b", "a", "b"], [0, 1, 0]).tolist()
    [[0, 1], [2, 0]]
    """
    rows, row = np.unique(np.asarray(first), return_inverse=True)
    columns, column = np.unique(np.asarray(second), return_inverse=True)
    cells = np.bincount(row.reshape(-1) * len(columns) + column.reshape(-1), minlength=len(rows) * len(columns))
    return cells.reshape(len(rows), len(columns)).astype(np.int64)


def cramers_v(table: NDArray[Any], *, corrected: bool = False, design_effect: float = 1.0) -> float | None:
    """Cramér's V of a contingency table, plain or with Bergsma's bias correction.

    Args:
        table: counts, shape (R, C).
        corrected: whether the expectation under independence is taken off, and R and C are reduced accordingly.
        design_effect: the counts are divided by it for the correction: images of one patient are not independent.
    Returns:
        V in [0, 1]; None where fewer than two rows or columns hold anything.
    Source: Cramér 1946; Bergsma 2013, doi:10.1016/j.jkss.2012.10.002.

    >>> cramers_v(np.array([[10, 0], [0, 10]])), cramers_v(np.array([[5, 5], [5, 5]]), corrected=True)
    (1.0, 0.0)
    """
    rows, columns = int((table.sum(axis=1) > 0).sum()), int((table.sum(axis=0) > 0).sum())
    if min(rows, columns) < 2:
        return None
    squared = _phi_squared_of(table)
    if not corrected:
        return float(np.sqrt(min(squared / (min(rows, columns) - 1), 1.0)))
    freedom = max(float(table.sum()) / design_effect - 1, 1.0)
    squared = max(0.0, squared - (rows - 1) * (columns - 1) / freedom)
    shorter = min(rows - (rows - 1) ** 2 / freedom, columns - (columns - 1) ** 2 / freedom) - 1
    return float(np.sqrt(min(squared / shorter, 1.0))) if shorter > 0 else None


def measure_association(
    first: Sequence[Any], second: Sequence[Any], patients: Sequence[Any], *, resamples: int = 1000, seed: int = 0
) -> Association:
    """Cramér's V with a 95 % interval, and mutual information, of two columns.

    The interval holds two: percentiles over patients drawn with replacement, shifted by twice the bias that the
    resamples show (V of a sample is too large, that of a resample twice so), and the values of V whose noncentral
    chi-squared distribution allows the observed one, the chi-squared divided by the design effect. Measured coverage:
    docs/explanation/audit.md.

    Args:
        first: of each image, no value missing, shape (N,).
        second: of each image, shape (N,).
        patients: of each image, shape (N,).
        resamples: of the patients.
        seed: of the draws.
    Source: Smithson 2003, Confidence Intervals (Sage), for the noncentral interval; Rao and Scott 1984,
        doi:10.1214/aos/1176346391, for the division; the estimate of the effect, the shift and the union are ours.

    >>> found = measure_association(["a"] * 30 + ["b"] * 30, [0, 1] * 30, range(60))
    >>> found.cramers_v, found.corrected_v, found.low, found.bits
    (0.0, 0.0, 0.0, 0.0)
    """
    codes = [np.unique(np.asarray(column), return_inverse=True)[1].reshape(-1) for column in (first, second, patients)]
    row, column, patient = codes
    num_images, num_patients = len(row), int(patient.max()) + 1 if len(patient) else 0
    table = contingency(row, column)
    rows, columns = table.shape
    plain = cramers_v(table)
    if plain is None:
        return Association(num_images, num_patients, (rows, columns))
    freedom = (rows - 1) * (columns - 1)
    squared = _phi_squared_of(table)
    rng = np.random.default_rng(seed)
    resampled = _resampled_phi_squared(row, column, patient, resamples, rng)
    bias = float(resampled.mean()) - squared
    design_effect = _design_effect(row, column, patient)
    low, high = None, None
    if num_patients >= _FEWEST_PATIENTS * max(rows, columns):
        shifted = np.quantile(resampled - 2 * bias, [_TAIL, 1 - _TAIL])
        allowed = _noncentral_limits(num_images * squared / design_effect, freedom)
        scale = design_effect / num_images
        low = min(float(shifted[0]), allowed[0] * scale)
        high = max(float(shifted[1]), allowed[1] * scale)
        low, high = (float(np.sqrt(np.clip(limit / (min(rows, columns) - 1), 0, 1))) for limit in (low, high))
    shares = table / num_images
    bits = _entropy(shares.sum(axis=1)) + _entropy(shares.sum(axis=0)) - _entropy(shares.ravel())
    return Association(
        num_images,
        num_patients,
        (rows, columns),
        cramers_v=plain,
        corrected_v=cramers_v(table, corrected=True, design_effect=design_effect),
        low=low,
        high=high,
        design_effect=design_effect,
        bits=max(bits, 0.0),
        chance_bits=design_effect * freedom / (2 * num_images * float(np.log(2))),
        entropy_share=max(bits, 0.0) / _entropy(shares.sum(axis=0)),
    )


def _design_effect(row: NDArray[Any], column: NDArray[Any], patient: NDArray[Any]) -> float:
    """Chi-squared of independent columns over its degrees of freedom, on average, given how a patient's images agree.

    It is 1 + sum over pairs of images of one patient of a * b / (n (R - 1)(C - 1)), where a = 1 / p - 1 if both are in
    one row of share p, else -1, and b the same for columns. Of independent columns the mean of a * b is the product of
    the means, so that the association that is there stays out. No patient can add more than his number of images.
    """
    sizes = np.bincount(patient).astype(np.float64)
    pairs, number = float((sizes * (sizes - 1)).sum()), len(row)
    if not pairs:
        return 1.0
    agreement = 1.0
    for line in (row, column):
        counts = np.bincount(line)
        keys, images = np.unique(patient * len(counts) + line, return_counts=True)
        alike = float((images * (images - 1) * (number / counts[keys % len(counts)])).sum())
        agreement *= (alike - pairs) / (len(counts) - 1)
    return float(np.clip(1 + agreement / (pairs * number), 1.0, sizes.max()))


def _phi_squared_of(table: NDArray[Any]) -> float:
    row, column = np.nonzero(table)
    return float(_phi_squared(table[None, row, column], row, column)[0])


def _phi_squared(counts: NDArray[Any], row: NDArray[Any], column: NDArray[Any]) -> NDArray[np.float64]:
    """Chi-squared over the number of images, of B tables, (B,): counts of P cells, (B, P), at (row, column), (P,) each.

    All other cells are empty: together they add what is expected there. So time and memory go with the cells that hold
    an image, not with R x C.
    """
    counts = counts.astype(np.float64, copy=False)
    total = counts.sum(axis=1)
    expected = (_sums_by(row, counts)[:, row] * _sums_by(column, counts)[:, column]) / total[:, None]
    # (n - e)^2 / e rather than n^2 / e: no differences of large numbers
    terms = np.divide((counts - expected) ** 2, expected, out=np.zeros_like(counts), where=expected > 0)
    found: NDArray[np.float64] = (terms.sum(axis=1) + total - expected.sum(axis=1)) / total
    return found


def _sums_by(line: NDArray[Any], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Margins of B tables, (B, lines), from the counts of their cells, (B, P), and the line of each cell, (P,)."""
    from scipy.sparse import csr_array

    return np.asarray(counts @ csr_array((np.ones(len(line)), (np.arange(len(line)), line))))


def _resampled_phi_squared(
    row: NDArray[Any], column: NDArray[Any], patient: NDArray[Any], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Chi-squared over the number of images, of patients drawn with replacement, shape (B,).

    Patients with the same images are one kind: a multinomial draw over the kinds is the same, and far less work.
    """
    from scipy.sparse import csr_array

    number, width = int(patient.max()) + 1, int(column.max()) + 1
    cells, cell = np.unique(row * width + column, return_inverse=True)
    sums = csr_array((np.ones(len(cell)), (patient, cell.reshape(-1))), shape=(number, len(cells)))
    sums.sum_duplicates()
    keys = [
        (*sums.indices[a:b].tolist(), -1, *sums.data[a:b].tolist())
        for a, b in zip(sums.indptr[:-1], sums.indptr[1:], strict=True)
    ]
    kinds: dict[tuple[float, ...], list[int]] = {}
    for index, key in enumerate(keys):
        kinds.setdefault(key, []).append(index)
    values = sums[[members[0] for members in kinds.values()]]
    shares = np.array([len(members) for members in kinds.values()]) / number
    step = max(1, _CELLS_AT_ONCE // max(len(kinds), len(cells)))
    parts = []
    for start in range(0, resamples, step):
        weights = rng.multinomial(number, shares, size=min(step, resamples - start)).astype(np.float64)
        parts.append(_phi_squared(np.asarray(weights @ values), *np.divmod(cells, width)))
    return np.concatenate(parts)


def _noncentral_limits(chi_squared: float, freedom: int) -> tuple[float, float]:
    """Noncentralities under which so large, and so small, a chi-squared has probability 2.5 %."""
    from scipy.optimize import brentq
    from scipy.stats import chi2, ncx2

    def limit(probability: float) -> float:
        def excess(noncentrality: float) -> float:
            below = ncx2.cdf(chi_squared, freedom, noncentrality) if noncentrality else chi2.cdf(chi_squared, freedom)
            return float(below) - probability

        if excess(0.0) <= 0:
            return 0.0
        highest = chi_squared + 10 * np.sqrt(chi_squared + freedom) + 20
        return float(brentq(excess, 0.0, highest))

    return limit(1 - _TAIL), limit(_TAIL)


def _entropy(shares: NDArray[Any]) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log2(present)).sum()) + 0.0
