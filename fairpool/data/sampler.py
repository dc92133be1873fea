"""Batches in which every site has as many ill as healthy patients: re-sampling, the plainest fairness baseline."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import WeightedRandomSampler

from fairpool.data.ids import as_integer
from fairpool.data.vocabulary import UNKNOWN
from fairpool.errors import DataError

__all__ = ["balanced_sampler", "sampling_weights"]


def balanced_sampler(
    items: Sequence[Mapping[str, Any]], *, seed: int, num_samples: int | None = None
) -> WeightedRandomSampler:
    """A sampler that draws every (site, label) cell equally often, with replacement.

    An item's weight is one over the number of items in its cell. Items of unknown site are in no cell and keep the mean
    weight, so that they are drawn as often as without balancing. Each epoch continues the sampler's own generator.

    Where it fails: the few images of a rare cell are shown over and over and are learned by heart, while most images of
    a full cell are left out of an epoch; a cell without any image cannot be drawn, so a site that lacks a label keeps
    telling the label. Nothing constrains the errors: they come out equal only where the sites are equally hard. It is
    for one process; several each need an own part of the data.

    Args:
        items: data items in the order of the dataset, with the integers ``label`` and ``site`` (-1 for unknown).
        seed: of the sampler's generator, apart from torch's global one.
        num_samples: draws in an epoch; default: as many as there are items.
    Raises:
        DataError: an item lacks ``label`` or ``site`` or holds no integer there, no item has a known site, or there are
            no items.
        ValueError: ``num_samples`` is not positive.
    Source: Idrissi et al., Simple data balancing achieves competitive worst-group-accuracy, CLeaR 2022, PMLR 177,
        arXiv:2110.14503 ("RWG": sampling by the inverse group size).

    >>> items = [{"label": 1, "site": 0}] * 9 + [{"label": 0, "site": 0}]
    >>> drawn = list(balanced_sampler(items, seed=0, num_samples=1000))
    >>> 450 < sum(items[row]["label"] for row in drawn) < 550
    True
    """
    if num_samples is not None and (isinstance(num_samples, bool) or num_samples < 1):
        raise ValueError(f"num_samples must be a positive number of draws, got {num_samples}.")
    weights = sampling_weights(items)
    generator = torch.Generator().manual_seed(seed)
    return WeightedRandomSampler(weights, num_samples or len(items), replacement=True, generator=generator)


def sampling_weights(items: Sequence[Mapping[str, Any]]) -> list[float]:
    """Weight of each item, with mean 1: equal in sum over the cells that hold items; 1 for an unknown site.

    Args:
        items: as for `balanced_sampler`.
    Raises:
        DataError: as `balanced_sampler`.

    >>> sampling_weights([{"label": 1, "site": 0}, {"label": 1, "site": 0}, {"label": 0, "site": 1}, {"label": 0, "site": -1}])
    [0.75, 0.75, 1.5, 1.0]
    """  # noqa: E501
    cells = [(_integer(item, "site", row), _integer(item, "label", row)) for row, item in enumerate(items, start=1)]
    counts = Counter(cell for cell in cells if cell[0] != UNKNOWN)
    if not counts:
        raise DataError(
            f"none of {len(items)} items has a known site, so there are no cells to balance. Check the site column."
        )
    share = sum(counts.values()) / len(counts)
    return [1.0 if cell[0] == UNKNOWN else share / counts[cell] for cell in cells]


def _integer(item: Mapping[str, Any], key: str, row: int) -> int:
    value = item.get(key)
    number = as_integer(value)
    if number is None:
        found = "nothing" if value is None else repr(value)
        raise DataError(
            f'item {row} must hold one integer as its "{key}", found {found}. Encode sites and labels first.'
        )
    if key == "site" and number < UNKNOWN:
        raise DataError(f'item {row} has the site {number}; ids are 0..K-1, or -1 for "unknown".')
    return number
