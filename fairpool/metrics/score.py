"""Score intervals of a proportion, a difference of proportions, and any other linear combination of them."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["score_interval"]

_HALVINGS = 64


def score_interval(
    rates: ArrayLike, sizes: ArrayLike, contrast: ArrayLike, *, inflation: ArrayLike = 1.0, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Limits of ``sum_k contrast_k * rate_k`` over independent binomial rates, by inverting the score test.

    With one rate this is Wilson's interval, with the difference of two Mee's (Miettinen and Nurminen's without its
    factor N/(N-1)). The arguments broadcast; leading axes are separate intervals.

    Args:
        rates: observed proportions in [0, 1], shape (..., K).
        sizes: numbers of trials behind them, positive, not necessarily whole, shape (..., K).
        contrast: coefficients, shape (..., K); 0 leaves a rate out.
        inflation: factor on the variance of the combination, shape (...,).
        confidence: of the two-sided interval.
    Returns:
        low and high, shape (...,).
    Raises:
        ValueError: a rate is outside [0, 1], a size or the inflation is not positive, or the confidence makes no sense.
    Source: Martín Andrés, Herranz Tejedor and Álvarez Hernández 2012, doi:10.1080/00949655.2010.530601 (method S0); Mee
        1984 and Miettinen and Nurminen 1985, doi:10.1002/sim.4780040211, for two rates; Wilson 1927 for one.

    >>> low, high = score_interval([56 / 70, 48 / 80], [70, 80], [1, -1])
    >>> round(float(low), 4), round(float(high), 4)
    (0.0533, 0.3377)
    """
    from scipy.special import ndtri

    arguments = (np.asarray(part, float) for part in (rates, sizes, contrast))
    rate, size, beta = np.broadcast_arrays(*arguments)
    factor = np.asarray(inflation, float)
    if not ((rate >= 0) & (rate <= 1)).all():
        raise ValueError("rates must be proportions between 0 and 1.")
    if not (size > 0).all() or not (factor > 0).all():
        raise ValueError("sizes and inflation must be positive: leave a rate without samples out of the combination.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}; 0.95 is usual.")
    bound = float(ndtri((1 + confidence) / 2)) ** 2
    observed = (beta * rate).sum(-1)

    def variance(eta: NDArray[Any]) -> NDArray[Any]:
        slope = eta[..., None] * beta
        # Both p and 1 - p from their own root: neither loses its digits where it is small.
        product = _restricted(rate, size, slope) * _restricted(1 - rate, size, -slope)
        total: NDArray[Any] = (beta**2 * product / size).sum(-1)
        return total

    # Under the hypothesis sum(beta p) = value, the likelihood's Lagrange multiplier eta gives the value it belongs to:
    # value = observed - eta * variance, and the squared score statistic is eta^2 * variance. So each limit is one root.
    limits = []
    shape = np.broadcast_shapes(observed.shape, factor.shape)
    for sign in (1, -1):
        low, high = np.full(shape, -15.0), np.full(shape, 35.0)  # of log |eta|
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            is_beyond = np.exp(2 * middle) * variance(sign * np.exp(middle)) > bound * factor
            low, high = np.where(is_beyond, low, middle), np.where(is_beyond, middle, high)
        eta = sign * np.exp((low + high) / 2)
        limits.append(observed - eta * variance(eta))
    return limits[0], limits[1]


def _restricted(rate: NDArray[Any], size: NDArray[Any], slope: NDArray[Any]) -> NDArray[Any]:
    """The p of greatest likelihood less slope * p: the root in [0, 1] of slope p^2 - (slope + size) p + size rate."""
    linear = slope + size
    root = np.sqrt(np.maximum(linear**2 - 4 * slope * size * rate, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        # Each form where it does not subtract nearly equal numbers.
        found = np.where(linear > 0, 2 * size * rate / (linear + root), (linear - root) / (2 * slope))
    clipped: NDArray[Any] = np.clip(found, 0, 1)
    return clipped
