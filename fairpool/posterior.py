"""Fair posteriors over a finite set of classifiers: the paper's algorithm 1, and the exact solution it approaches.

Each of N classifiers has an error and a gap (the difference of its conditional mean errors at two sites). A posterior
``q`` draws a classifier for each case; its error and gap are the means ``q @ errors`` and ``q @ gaps``. Wanted is the
posterior of smallest error whose gap is 0 (Lokhande et al. 2020, eq. (2)).
"""

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["NoFairMixtureError", "Posterior", "exact_posterior", "fairalm_posterior"]

Array = NDArray[np.float64]

_ROUNDING = 1e-12  # a gap nearer to 0 than this is a difference of equal rates


@dataclass(frozen=True, eq=False)
class Posterior:
    """A distribution over N classifiers, and how far it is from the best fair one.

    Attributes:
        weights: probability of each classifier, (N,).
        multiplier: of the constraint "gap = 0"; with M gaps a classifier, (M,).
        error: expected error, a fraction.
        gap: expected gap, a signed fraction; with M gaps a classifier, (M,).
        duality_gap: ``error + bound * sum|gap| - min_i(errors[i] + gaps[i] @ m)``, where ``m`` is the multiplier
            clipped to ±bound: what the two players of the game of eq. (3) could still gain together, the multiplier's
            player within ±bound. Never negative; 0 at the exact solution.
    """

    weights: Array
    multiplier: float | Array
    error: float
    gap: float | Array
    duality_gap: float


class NoFairMixtureError(ValueError):
    """No mixture of the classifiers has gaps of 0; carries the one that comes closest.

    Attributes:
        weights: probabilities (N,) of the mixture with the smallest ``sum|gap|``, and of these the smallest error.
        error: its error.
        gap: its gap; with M gaps a classifier, (M,).
    """

    def __init__(self, sentence: str, weights: Array, error: float, gap: float | Array) -> None:
        super().__init__(sentence)
        self.weights, self.error, self.gap = weights, error, gap


def fairalm_posterior(
    errors: ArrayLike, gaps: ArrayLike, rounds: int, eta: float, *, bound: float | None = None
) -> Posterior:
    """Average play of FairALM, algorithm 1: best response against a follow-the-leader multiplier.

    Round ``t = 1, 2, ..., rounds`` plays ``h_t = argmin_i errors[i] + lam_t * gaps[i]`` (the first of equals), with
    ``lam_1 = 0``, and then moves ``lam_{t+1} = lam_t + eta * gaps[h_t] / t``. The posterior is the share of the rounds
    in which each classifier was played, the multiplier the mean of ``lam_1 .. lam_rounds``.

    While one classifier h is played the multiplier grows as ``eta * gaps[h] * log(t)``, so with a small ``eta`` or a
    small gap it takes about ``exp(lam* / (eta * |gaps[h]|))`` rounds to leave it; see docs/explanation/posterior.md.

    Args:
        errors: fractions in [0, 1], shape (N,).
        gaps: signed fractions in [-1, 1], shape (N,); nearer to 0 than 1e-12 counts as 0.
        rounds: T, at least 1. 100,000 rounds take about a second.
        eta: dual step size, above 0.
        bound: of the multiplier in ``duality_gap``; default ``max(1, |multiplier|)``.
    Raises:
        NoFairMixtureError: all gaps have one sign.
        ValueError: what is given is empty, not finite, out of range or of differing length.
    Source: Lokhande et al. 2020 (doi:10.1007/978-3-030-58610-2_22), algorithm 1 and theorem 3. The paper's loop begins
        with t = 0, which step 6 cannot divide by; it returns the last classifier, where theorem 3 speaks of the mean.

    >>> posterior = fairalm_posterior([0.1, 0.2], [0.3, -0.1], 10000, 1.0)
    >>> posterior.weights.round(3), round(posterior.error, 3), round(posterior.multiplier, 3)
    (array([0.25, 0.75]), 0.175, 0.25)
    """
    e, d = _checked(errors, gaps, bound)
    if d.ndim > 1:
        raise ValueError(f"algorithm 1 takes one gap a classifier, got shape {d.shape}; exact_posterior takes several.")
    if isinstance(rounds, bool) or not isinstance(rounds, int | np.integer) or rounds < 1:
        raise ValueError(f"rounds must be a whole number from 1 on, got {rounds!r}.")
    if not (np.isfinite(eta) and eta > 0):
        raise ValueError(f"eta must be a number above 0, got {eta!r}: at 0 the multiplier would never move.")
    _check_signs(e, d)

    reach = eta * float(np.abs(d).max()) * (1 + np.log(rounds))  # |lam_t| never exceeds eta * max|d| * (1 + ... + 1/t)
    playable = _near_the_envelope(e, d, reach)
    cost, slope = e[playable], d[playable]
    steps, plays = (eta * slope).tolist(), [0] * len(playable)
    lam = sum_of_lam = 0.0
    for t in range(1, rounds + 1):
        h = int((cost + lam * slope).argmin())  # primal
        plays[h] += 1
        sum_of_lam += lam
        lam += steps[h] / t  # dual
    weights = np.zeros(len(e))
    weights[playable] = np.asarray(plays) / rounds
    return _posterior(weights, sum_of_lam / rounds, e, d, bound)


def exact_posterior(errors: ArrayLike, gaps: ArrayLike, *, bound: float | None = None) -> Posterior:
    """The fair posterior of smallest error.

    With one gap a classifier the dual ``max_lam min_i errors[i] + lam * gaps[i]`` is concave and piecewise linear in
    one dimension; a walk over a few intersections of lines ends at its top, and at most two classifiers mix there. With
    several gaps it is a linear program for scipy's HiGHS, and at most M + 1 classifiers mix.

    Args:
        errors: fractions in [0, 1], shape (N,).
        gaps: signed fractions in [-1, 1], shape (N,), or (N, M) for M constraints at once; nearer to 0 than 1e-12
            counts as 0.
        bound: of the multiplier in ``duality_gap``; default ``max(1, |multiplier|)``.
    Raises:
        NoFairMixtureError: no mixture has gaps of 0, such as where all gaps have one sign.
        ValueError: what is given is empty, not finite, out of range or of differing length.
        RuntimeError: HiGHS gave up.
    Source: eq. (2) and (3) of Lokhande et al. 2020 (doi:10.1007/978-3-030-58610-2_22); the walk is ours.

    >>> posterior = exact_posterior([0.1, 0.2, 0.9], [0.3, -0.1, 0.0])
    >>> posterior.weights.round(6), round(posterior.error, 6), round(posterior.multiplier, 6)
    (array([0.25, 0.75, 0.  ]), 0.175, 0.25)
    """
    e, d = _checked(errors, gaps, bound)
    if d.ndim > 1:
        weights, multiplier = _linear_program(e, d)
        return _posterior(weights, multiplier, e, d, bound)
    _check_signs(e, d)
    rising, falling, level = (np.flatnonzero(kind) for kind in (d > 0, d < 0, d == 0))
    height = np.inf
    if len(rising) and len(falling):
        above, below, height = _walk(e, d, int(rising[e[rising].argmin()]), int(falling[e[falling].argmin()]))
    if len(level) and e[level].min() <= height:
        fair = int(level[e[level].argmin()])
        # No line runs below this one for multipliers in an interval: the one nearest to 0.
        lowest = ((e[fair] - e[rising]) / d[rising]).max(initial=-np.inf)
        highest = ((e[fair] - e[falling]) / d[falling]).min(initial=np.inf)
        return _posterior(_indicator(fair, len(e)), float(min(max(0.0, lowest), highest)), e, d, bound)
    share = d[below] / (d[below] - d[above])
    weights = share * _indicator(above, len(e)) + (1 - share) * _indicator(below, len(e))
    return _posterior(weights, float((e[below] - e[above]) / (d[above] - d[below])), e, d, bound)


def _walk(e: Array, d: Array, above: int, below: int) -> tuple[int, int, float]:
    """The lines ``e + lam * d`` of positive and negative slope that meet at the top of the lower envelope; its height.

    Begins with one of each kind; whatever line runs below their intersection replaces its own kind.
    """
    height = _height(e, d, above, below)
    while True:
        # All lines at the intersection, lam = rise / spread, times spread.
        spread, rise = d[above] - d[below], e[below] - e[above]
        heights = e * spread + d * rise
        heights[d == 0] = np.inf
        lowest = int(heights.argmin())
        pair = (lowest, below) if d[lowest] > 0 else (above, lowest)
        lower = _height(e, d, *pair)
        if (
            not lower < height
        ):  # the top; a difference of rounding ends the walk too, which it could keep going for ever
            return above, below, height
        (above, below), height = pair, lower


def _height(e: Array, d: Array, above: int, below: int) -> float:
    """Error of the mixture of two lines whose gap is 0: the height of their intersection."""
    return float((d[above] * e[below] - d[below] * e[above]) / (d[above] - d[below]))


def _near_the_envelope(e: Array, d: Array, reach: float) -> NDArray[np.int64]:
    """Lines that are the lowest for some |lam| <= reach, or are within rounding of it, in their order, each once.

    What is left out can never be the argmin. A line's height above the envelope is convex in lam, so it is smallest at
    an end or at a corner of the envelope: those are visited, from the ends inwards.
    """
    tolerance = _ROUNDING * (1 + reach * float(np.abs(d).max()))
    near = np.zeros(len(e), dtype=bool)

    def lowest_at(lam: float) -> int:
        heights = e + lam * d
        lowest = int(heights.argmin())
        near[heights <= heights[lowest] + tolerance] = True
        return lowest

    intervals = [(lowest_at(-reach), lowest_at(reach))]
    while intervals:
        left, right = intervals.pop()
        if d[left] > d[right]:
            middle = lowest_at((e[right] - e[left]) / (d[left] - d[right]))
            if d[left] > d[middle] > d[right]:
                intervals += [(left, middle), (middle, right)]
    found = np.flatnonzero(near)
    _, first = np.unique(np.stack([e[found], d[found]]), axis=1, return_index=True)
    return found[np.sort(first)]


def _linear_program(e: Array, d: Array) -> tuple[Array, Array]:
    """Weights and multipliers with M constraints."""
    equal = np.vstack([d.T, np.ones(len(e))])
    solution = _solve(e, A_eq=equal, b_eq=np.append(np.zeros(d.shape[1]), 1.0))
    if solution is None:
        _refuse_with_the_closest(e, d)
    return _distribution(solution.x), -solution.eqlin.marginals[:-1]


def _refuse_with_the_closest(e: Array, d: Array) -> NoReturn:
    n, m = d.shape
    cost = np.append(np.zeros(n), np.ones(m))  # of the weights and of one |gap| each
    sides = np.block([[d.T, -np.eye(m)], [-d.T, -np.eye(m)]])
    one = {"A_eq": np.append(np.ones(n), np.zeros(m))[None], "b_eq": [1.0]}
    nearest = _solve(cost, A_ub=sides, b_ub=np.zeros(2 * m), **one)
    total = float(nearest.fun)
    best = _solve(
        np.append(e, np.zeros(m)), A_ub=np.vstack([sides, cost]), b_ub=np.append(np.zeros(2 * m), total), **one
    )
    weights = _distribution((nearest if best is None else best).x[:n])
    gap, error = weights @ d, float(weights @ e)
    used = list(map(str, np.flatnonzero(weights)))
    used = used if len(used) <= 10 else [*used[:9], f"{len(used) - 9} more"]
    closest = f"{', '.join(used[:-1])} and {used[-1]}" if len(used) > 1 else used[0]
    closest = f"the mixture of classifiers {closest}" if len(used) > 1 else f"classifier {closest} alone"
    raise NoFairMixtureError(
        f"no mixture of these {n} classifiers closes all {m} gaps at once. The closest is {closest}, which leaves gaps "
        f"of {np.abs(gap).sum():.4f} in sum and {np.abs(gap).max():.4f} at most, with error {error:.4f}. Add "
        "classifiers whose gaps lie on the other side, or constrain fewer gaps.",
        weights,
        error,
        gap,
    )


def _solve(cost: Array, **constraints: Any) -> Any:
    """HiGHS's solution with variables from 0 on, None where there is none."""
    from scipy.optimize import linprog

    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    solution = linprog(cost, method="highs", bounds=(0, None), options=tight, **constraints)
    if solution.status not in (0, 2):
        raise RuntimeError(f"scipy's HiGHS gave up on the linear program: {solution.message}")
    return solution if solution.status == 0 else None


def _distribution(weights: Array) -> Array:
    weights = np.where(weights > 1e-9, weights, 0.0)  # what is left below is the solver's tolerance
    return weights / weights.sum()


def _posterior(weights: Array, multiplier: float | Array, e: Array, d: Array, bound: float | None) -> Posterior:
    limit = max(1.0, float(np.abs(multiplier).max())) if bound is None else bound
    error, gap = float(weights @ e), weights @ d
    response = e + d @ np.clip(multiplier, -limit, limit) if d.ndim > 1 else e + d * np.clip(multiplier, -limit, limit)
    duality_gap = max(0.0, float(error + limit * np.abs(gap).sum() - response.min()))  # below 0 by rounding alone
    return Posterior(weights, multiplier, error, gap if d.ndim > 1 else float(gap), duality_gap)


def _indicator(index: int, length: int) -> Array:
    weights = np.zeros(length)
    weights[index] = 1.0
    return weights


def _checked(errors: ArrayLike, gaps: ArrayLike, bound: float | None) -> tuple[Array, Array]:
    e, d = np.asarray(errors, dtype=np.float64), np.asarray(gaps, dtype=np.float64)
    if e.ndim != 1 or d.ndim not in (1, 2):
        raise ValueError(f"errors must have shape (N,), gaps (N,) or (N, M); got {e.shape} and {d.shape}.")
    if len(e) != len(d):
        raise ValueError(f"there are {len(e)} errors but gaps of {len(d)} classifiers: each needs both.")
    if e.size == 0 or d.size == 0:
        raise ValueError("there is no classifier, or no gap, to find a posterior over: give at least one.")
    for name, values, low in (("error", e, 0.0), ("gap", d, -1.0)):
        wrong = ~((values >= low) & (values <= 1))  # NaN compares with nothing
        if wrong.any():
            at = tuple(int(part) for part in np.argwhere(wrong)[0])
            raise ValueError(
                f"the {name} of classifier {at[0]} is {values[at]:g}: {name}s must be fractions in [{low:g}, 1], and "
                f"{int(wrong.sum())} of {wrong.size} are not. Divide percentages by 100, drop what has no estimate."
            )
    if bound is not None and not (np.isfinite(bound) and bound > 0):
        raise ValueError(f"bound must be a number above 0, got {bound!r}.")
    return e, np.where(np.abs(d) < _ROUNDING, 0.0, d)


def _check_signs(e: Array, d: Array) -> None:
    if d.min() <= 0 <= d.max():
        return
    closest = np.flatnonzero(np.abs(d) == np.abs(d).min())
    best = int(closest[e[closest].argmin()])
    sign = "positive" if d[0] > 0 else "negative"
    raise NoFairMixtureError(
        f"no mixture of these classifiers is fair: all {len(d)} gaps are {sign}. The closest is "
        f"classifier {best} alone, with gap {d[best]:.4f} and error {e[best]:.4f}. Add classifiers whose gap "
        "has the other sign.",
        _indicator(best, len(e)),
        float(e[best]),
        float(d[best]),
    )
