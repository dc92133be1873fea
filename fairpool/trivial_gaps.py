"""Gaps of 0 that are no fairness: a network with the worst rate at every site differs between none of them."""

from collections.abc import Mapping
from typing import Any

__all__ = ["trivial_gap"]

_WORST = {
    "fnr": "misses every positive at every site",
    "fpr": "takes every negative for a positive at every site",
}


def trivial_gap(figures: Mapping[str, Any], prefix: str = "") -> str | None:
    """Why a run's gaps say nothing, as the rest of a sentence about its network; None where they do.

    A network that answers "negative" to everything has a false negative rate of 100 % at all sites, so a DEO of 0; one
    that answers "positive" the same of false positives. A choice by the smallest gap would take them.

    Args:
        figures: a run's figures by name, with the false negative and false positive rates of the sites, such as
            ``fnr/bern``, in [0, 1]; a site without an estimate is not there.
        prefix: before each name, such as ``val/``.

    >>> trivial_gap({"val/fnr/basel": 1.0, "val/fnr/bern": 1.0, "val/fpr/bern": 0.0}, "val/")
    'misses every positive at every site'
    >>> trivial_gap({"fnr/basel": 1.0, "fnr/bern": 0.9}) is None
    True
    """
    for rate, words in _WORST.items():
        values = [value for name, value in figures.items() if str(name).startswith(f"{prefix}{rate}/")]
        if values and all(value == 1 for value in values):
            return words
    return None
