"""The runs of one number of sites and one confounding strength, method by method."""

from collections.abc import Mapping, Sequence
from itertools import product
from statistics import fmean, stdev
from typing import Any

from methods_study.protocol import Plan

__all__ = ["OURS", "Condition", "Rows", "condition_of", "deviation"]

Rows = Sequence[Mapping[str, Any]]

OURS = ("fairalm", "fairalm_balanced", "fairalm_balanced_averaged")
"""The methods whose standing the page always tells."""


class Condition:
    """The runs of one number of sites and strength, by method; failed runs are counted and left out of the figures."""

    def __init__(self, rows: Rows, num_sites: int, strength: float, methods: Sequence[str]) -> None:
        self.num_sites, self.strength = num_sites, strength
        own = [row for row in rows if (row["num_sites"], row["strength"]) == (num_sites, strength)]
        self.failed = {method: sum(row["method"] == method and "failed" in row for row in own) for method in methods}
        self.runs = {
            method: {row["seed"]: row for row in own if row["method"] == method and "failed" not in row}
            for method in methods
        }
        self.methods = [method for method in methods if self.runs[method]]

    @property
    def title(self) -> str:
        """Such as "2 sites, confounding 0.8"."""
        return f"{self.num_sites} sites, confounding {self.strength:g}"

    def values(self, method: str, figure: str) -> list[float]:
        """The figure of every seed."""
        return [row[figure] for row in self.runs[method].values()]

    def mean(self, method: str, figure: str) -> float:
        """The mean over seeds."""
        return fmean(self.values(method, figure))

    def differences(self, method: str, against: str, figure: str) -> list[float]:
        """The figure of a method minus another's, seed by seed."""
        first, second = self.runs[method], self.runs[against]
        return [first[seed][figure] - second[seed][figure] for seed in first if seed in second]

    def contenders(self) -> list[str]:
        """The methods within one point of the smallest mean error, the smallest mean DEO first."""
        best = min(self.mean(method, "error") for method in self.methods)
        close = [method for method in self.methods if self.mean(method, "error") <= best + 0.01]
        return sorted(close, key=lambda method: self.mean(method, "deo"))


def condition_of(plan: Plan, rows: Rows) -> list[Condition]:
    """Every number of sites and strength of the plan."""
    return [Condition(rows, *where, plan.methods) for where in product(plan.sites, plan.strengths)]


def deviation(values: Sequence[float]) -> float:
    """Standard deviation over seeds; 0 for one seed."""
    return stdev(values) if len(values) > 1 else 0.0
