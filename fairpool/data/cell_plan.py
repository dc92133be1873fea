"""Which item goes into which batch, so that every batch shows every cell: arrays in, arrays out."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

__all__ = ["EpochShape", "plan_epoch", "shape_epoch", "spread"]

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class EpochShape:
    """How long an epoch is, and how often it draws from each cell.

    Attributes:
        num_batches: batches of one epoch on each replica.
        places: draws of one epoch over all replicas, by cell and, last, from the items of no cell, (M + 1,); where the
            cells take turns, a cell may get one more or one less.
        is_complete: whether each batch has a place for every cell.
    """

    num_batches: int
    places: Integers
    is_complete: bool

    def coverage(self, sizes: Integers) -> float:
        """Share of the items that one epoch shows, from the number of items of each cell and of none, (M + 1,)."""
        return float(np.minimum(sizes, self.places).sum() / sizes.sum())


def shape_epoch(
    sizes: Integers, batch_size: int, num_replicas: int = 1, *, drop_last: bool = False, num_batches: int | None = None
) -> EpochShape:
    """The length and the make-up of an epoch.

    With room for all M cells, each batch of each replica has one place for every cell. The other places of the epoch go
    to the items that these do not reach, then, in proportion to the sizes, to all again; an epoch is as long as it
    takes to draw every item. Without room, the places go to the cells in equal parts, those of no cell take their share
    of the pool, and an epoch has as many places as the pool has items.

    Args:
        sizes: items of each cell, at least one, and, last, items of no cell, at least none, (M + 1,), with M >= 1.
        batch_size: of one replica.
        num_replicas: replicas that share the pool.
        drop_last: rather leave items out than fill the last places by drawing some again.
        num_batches: batches on each replica; None: as said above.
    Returns:
        the shape; ``num_batches`` is 0 where ``drop_last`` leaves no batch.

    >>> shape_epoch(np.array([6, 2, 0]), batch_size=4)  # room for two cells: 3 + 1, twice
    EpochShape(num_batches=2, places=array([6, 2, 0]), is_complete=True)
    >>> shape_epoch(np.array([6, 1, 1, 0]), batch_size=2)  # the three cells take turns
    EpochShape(num_batches=4, places=array([2, 3, 3, 0]), is_complete=False)
    """
    per_step = batch_size * num_replicas
    of_cells, unknown = sizes[:-1], int(sizes[-1])
    num_cells, total = len(of_cells), int(sizes.sum())
    if batch_size < num_cells:
        if num_batches is None:
            num_batches = total // per_step if drop_last else -(-total // per_step)
        num_places = num_batches * per_step
        rest = num_places - (shared := round(num_places * unknown / total))
        # Which cells get the odd places changes from epoch to epoch; here the last ones do.
        places = (rest + np.arange(num_cells)) // num_cells
        return EpochShape(num_batches, np.append(places, shared), is_complete=False)

    lacking_room = batch_size == num_cells  # then none is left for the items of no cell

    def spare(steps: int) -> int:
        """Places left over when every item has been drawn."""
        least = int(np.maximum(of_cells, steps * num_replicas).sum())
        return steps * per_step - least - (0 if lacking_room else unknown)

    if num_batches is None:
        low, high = 1, max(1, -(-total // num_replicas))  # one free place a batch would do, or the largest cell
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if spare(middle) >= 0 else (middle + 1, high)
        num_batches = low - 1 if drop_last and spare(low) > 0 else low
    guaranteed = num_batches * num_replicas
    lacking = np.append(np.maximum(of_cells - guaranteed, 0), 0 if lacking_room else unknown)
    extra = num_batches * per_step - num_cells * guaranteed
    if extra < lacking.sum():
        extras = _share(extra, lacking)
    else:
        extras = lacking + _share(extra - int(lacking.sum()), np.append(of_cells, 0 if lacking_room else unknown))
    return EpochShape(num_batches, extras + np.append(np.full(num_cells, guaranteed), 0), is_complete=True)


def plan_epoch(
    cells: Integers, shape: EpochShape, batch_size: int, num_replicas: int, generator: Generator
) -> Integers:
    """The batches of an epoch as indices of items, (num_batches * num_replicas, batch_size), in the order of the steps.

    Rows ``t * num_replicas`` to ``(t + 1) * num_replicas - 1`` are the batches of step t. A cell's items are shuffled
    and drawn in turn; when all were drawn, the same order begins again, so that no item returns before all others of
    its cell were shown.

    Args:
        cells: the cell of each item, 0..M-1, or M for none, (N,).
        shape: of `shape_epoch`.
        batch_size: B.
        num_replicas: W.
        generator: what the epoch is drawn from.
    """
    sizes = np.bincount(cells, minlength=len(shape.places))
    num_cells, num_rows = len(shape.places) - 1, shape.num_batches * num_replicas
    if shape.is_complete:
        free = spread(shape.places - np.append(np.full(num_cells, num_rows), 0), generator)
        each = np.broadcast_to(np.arange(num_cells), (num_rows, num_cells))
        flat = np.concatenate([each, free.reshape(num_rows, -1)], axis=1).ravel()
    else:
        shared = int(shape.places[-1])
        flat = np.full(num_rows * batch_size, num_cells)
        is_cell = spread(np.array([len(flat) - shared, shared]), generator) == 0
        # In turn, over the borders of batches and replicas: B consecutive places are B cells.
        flat[is_cell] = np.resize(generator.permutation(num_cells), len(flat) - shared)
    shuffled = np.lexsort((generator.random(len(cells)), cells))
    first_item = np.cumsum(sizes) - sizes
    in_order = np.argsort(flat, kind="stable")
    drawn_cells = flat[in_order]
    draws = np.bincount(flat, minlength=len(sizes))
    turn = np.arange(len(flat)) - (np.cumsum(draws) - draws)[drawn_cells]
    plan = np.empty(len(flat), np.int64)
    plan[in_order] = shuffled[first_item[drawn_cells] + turn % sizes[drawn_cells]]
    return generator.permuted(plan.reshape(num_rows, batch_size), axis=1)


def spread(counts: Integers, generator: Generator) -> Integers:
    """Each index as often as its count says, as evenly spaced as can be, from a random beginning.

    >>> spread(np.array([6, 3]), np.random.default_rng(0))
    array([1, 0, 0, 1, 0, 0, 1, 0, 0])
    """
    ids = np.repeat(np.arange(len(counts)), counts)
    turn = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ids[np.argsort((turn + generator.random(len(counts))[ids]) / counts[ids], kind="stable")]


def _share(total: int, weights: Integers) -> Integers:
    """A whole number in parts proportional to the weights, by largest remainder."""
    # Products of an epoch's places and a cell's items stay far below 2**63.
    parts, rests = np.divmod(total * weights, weights.sum())
    parts[np.argsort(-rests, kind="stable")[: total - int(parts.sum())]] += 1
    return parts
