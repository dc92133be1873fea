"""Do two methods differ? A paired comparison over the seeds that both have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import isfinite, sqrt

import numpy as np

__all__ = ["PairedComparison", "holm", "p_value_text", "paired_comparisons", "sign_flip_p_value"]

_LARGEST_EXACT = 20
_RANDOM_FLIPS = 100_000
_LEVEL = 0.05


@dataclass(frozen=True)
class PairedComparison:
    """A method against another in one figure, over the seeds that both have.

    Attributes:
        method: the method.
        against: what it is compared with.
        seeds: number of seeds.
        mean: mean over seeds of the method's figure minus the other's.
        std: its standard deviation over seeds (ddof 1); NaN for one seed.
        p_value: two-sided sign-flip test.
        adjusted: the same after Holm's adjustment over the pairs whose ``smallest`` is at most 0.05; of another pair
            the p-value itself, which cannot be evidence of a difference.
        smallest: the smallest p-value that so many seeds could give, before adjustment: 2 / 2^seeds up to 20.
    """

    method: str
    against: str
    seeds: int
    mean: float
    std: float
    p_value: float
    adjusted: float
    smallest: float

    @property
    def is_able(self) -> bool:
        """Whether so many seeds can give a p-value of at most 0.05 at all."""
        return self.smallest <= _LEVEL

    @property
    def is_different(self) -> bool:
        """Whether the adjusted p-value is at most 0.05."""
        return self.adjusted <= _LEVEL

    @property
    def verdict(self) -> str:
        """What may be said of the two."""
        return "evidence of a difference" if self.is_different else "no evidence of a difference"

    def sentence(self, figure: str) -> str:
        """The comparison in words; the figure is taken for a fraction and shown in points.

        >>> pairs = paired_comparisons({"plain": {0: 0.3, 1: 0.4, 2: 0.5}, "fair": {0: 0.05, 1: 0.1, 2: 0.0}})
        >>> pairs[0].sentence("DEO").split(" (")[0]
        'fair against plain, DEO: -35.0 points, p = 0.25'
        >>> pairs[0].sentence("DEO").split(" (")[1]
        'smallest p that 3 seeds can give: 0.25): no evidence of a difference'
        """
        seeds = f"{self.seeds} seed{'s' if self.seeds > 1 else ''}"
        p_value, adjusted = p_value_text(self.p_value), ""
        if self.adjusted != self.p_value:
            adjusted = f", {p_value_text(self.adjusted)} after Holm's adjustment"
        return (
            f"{self.method} against {self.against}, {figure}: {100 * self.mean:+.1f} points, p = {p_value}"
            f"{adjusted} (smallest p that {seeds} can give: {p_value_text(self.smallest)}): {self.verdict}"
        )


def sign_flip_p_value(differences: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p-value of the hypothesis that paired differences are symmetric about 0.

    The share of all 2^n assignments of signs whose sum is as far from 0 as the observed one; beyond 20 differences, of
    100,000 random assignments, the observed one counted among them.

    Args:
        differences: one a seed, finite.
        seed: of the random assignments.
    Raises:
        ValueError: there is no difference, or one is not finite.
    Source: Fisher 1935, The Design of Experiments, section 21.

    >>> sign_flip_p_value([0.2, 0.1, 0.3])
    0.25
    """
    values = np.asarray(differences, float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"differences must be finite, one a seed; got {list(differences)}.")
    reached = abs(values.sum()) - 1e-9 * np.abs(values).sum()  # rounding must not break a tie
    if len(values) <= _LARGEST_EXACT:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
        return float((np.abs(sums) >= reached).mean())
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, (_RANDOM_FLIPS, len(values)), dtype=np.int8) * 2 - 1
    return float((1 + (np.abs(signs @ values) >= reached).sum()) / (1 + _RANDOM_FLIPS))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted so that the chance of any false finding among them stays at the level.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = largest
    return adjusted


def paired_comparisons(figures: Mapping[str, Mapping[int, float]]) -> list[PairedComparison]:
    """Every pair of methods in one figure, each later method against each earlier one.

    Holm's adjustment is over the pairs with seeds enough for a p-value of at most 0.05. A pair that cannot come that
    low cannot be a false finding, so without it the chance of any false finding still stays at 0.05, and the others do
    not pay for it. Only the number of seeds decides, never the figures.

    Args:
        figures: by method, the figure by seed; a seed whose figure is not finite counts as missing.
    Returns:
        in the order of the methods; a pair without a common seed is left out.
    Source: Tarone 1990, doi:10.2307/2531456, for leaving out what cannot reach the level.

    >>> pairs = paired_comparisons({"unconstrained": {0: 0.3, 1: 0.5}, "fairalm": {0: 0.1, 1: 0.2, 2: 0.9}})
    >>> [(pair.method, pair.seeds, round(pair.mean, 3), pair.p_value, pair.smallest) for pair in pairs]
    [('fairalm', 2, -0.25, 0.5, 0.5)]
    """
    pairs = []
    for against, method in combinations(figures, 2):
        first, second = figures[method], figures[against]
        common = [seed for seed in first if seed in second and isfinite(first[seed]) and isfinite(second[seed])]
        if not common:
            continue
        differences = [first[seed] - second[seed] for seed in common]
        mean = sum(differences) / len(common)
        squares = sum((value - mean) ** 2 for value in differences)
        std = sqrt(squares / (len(common) - 1)) if len(common) > 1 else float("nan")
        p_value = sign_flip_p_value(differences)
        is_exact = len(common) <= _LARGEST_EXACT
        smallest = 2.0 ** (1 - len(common)) if is_exact else 1 / (1 + _RANDOM_FLIPS)
        pairs.append(PairedComparison(method, against, len(common), mean, std, p_value, p_value, smallest))
    able = [number for number, pair in enumerate(pairs) if pair.is_able]
    for number, value in zip(able, holm([pairs[number].p_value for number in able]), strict=True):
        pairs[number] = replace(pairs[number], adjusted=value)
    return pairs


def p_value_text(p_value: float) -> str:
    """A p-value with two digits, as a reader needs it.

    >>> p_value_text(0.03125), p_value_text(0.00002)
    ('0.031', 'below 0.001')
    """
    return f"{p_value:.2g}" if p_value >= 0.001 else "below 0.001"
