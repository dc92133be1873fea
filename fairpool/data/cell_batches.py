"""Batches in each of which every (site, label) cell has a sample, so that every step can compare the sites."""

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from fairpool import processes
from fairpool.data.cell_plan import Integers, plan_epoch, shape_epoch
from fairpool.data.checks import list_rows
from fairpool.data.ids import as_integer
from fairpool.data.vocabulary import UNKNOWN
from fairpool.errors import DataError

__all__ = ["CellBatchSampler"]


class CellBatchSampler(Sampler[list[int]]):
    """Batches with at least one item of every (site, label) cell; give it to a loader as ``batch_sampler``.

    A cell is a site and a label that occur together. Where ``batch_size`` is at least their number M, each batch of
    each replica holds every cell, and an epoch shows every item at least once: it has as many batches as that takes, at
    most ``batch_size / (batch_size - M)`` times those of a plain loader. A cell's items are shuffled at each epoch and
    drawn in turn, a small cell's several times. Items of unknown site are drawn as often as the pool has them, in any
    batch. Where ``batch_size`` is below M, the cells take turns, over the batches of all replicas, and an epoch is as
    long as a plain one; where it equals M, items of unknown site have no place. Both are said once, in a warning.

    **What it does to the loss.** Batches no longer have the pool's make-up, small cells count more. (1) The base loss
    is a mean over what is drawn: as with over-sampling, labels that the sites share unequally are partly balanced. (2)
    `EqualOpportunity`, `PredictiveEquality` and `EqualizedOdds` compare means within a cell; items are drawn evenly
    within a cell, so these stay estimates of the pool's, with less noise, and no step is idle. (3) `ErrorRateParity`,
    `DemographicParity` and `PredictiveParity` average over the labels of a site, so they compare sites with the drawn
    mixture of labels, not the pool's. (4) ``counts`` of a loss must be what is drawn, ``sampler.cell_counts()``, never
    the pool's: it is by the expected number of a cell's samples in a batch that such a loss divides. With
    ``reweight=True`` as well, it takes out of the base loss what association of site and label the batches still have.

    Replicas draw one common plan, each its own part, in equally many batches. The plan follows from ``seed`` and the
    epoch alone. A fresh iteration starts the next epoch if all batches of the last were drawn, otherwise the same
    epoch again.

    Where it fails: the few images of a small cell are shown in every batch and may be learnt by heart; a site that
    lacks a label still does.

    Args:
        items: data items in the order of the dataset, with integers for label and site (-1 for unknown).
        batch_size: of one replica.
        seed: a whole number from 0 on.
        drop_last: leave some items out of an epoch rather than fill up the last places with items drawn before.
        num_batches: batches of an epoch on each replica, rather than the number said above.
        num_replicas: processes that train together, and ``rank`` which of them this is; by default those of
            torch.distributed where it was initialised, otherwise one.
        site_key: of the items.
        label_key: of the items.
    Raises:
        DataError: an item lacks site or label or holds no such id there, or no item has a known site.
        TypeError, ValueError: an argument is out of its range.

    >>> items = [{"site": 0, "label": 0}] * 9 + [{"site": 0, "label": 1}, {"site": 1, "label": 0}]
    >>> sampler = CellBatchSampler(items, batch_size=6)
    >>> [sorted(batch)[-2:] for batch in sampler]  # items 9 and 10 are alone in their cells
    [[9, 10], [9, 10], [9, 10]]
    >>> sampler.cell_counts()
    tensor([[12,  3],
            [ 3,  0]])
    """

    def __init__(
        self,
        items: Sequence[Mapping[str, Any]],
        batch_size: int,
        *,
        seed: int = 0,
        drop_last: bool = False,
        num_batches: int | None = None,
        num_replicas: int | None = None,
        rank: int | None = None,
        site_key: str = "site",
        label_key: str = "label",
    ) -> None:
        _check_whole("batch_size", batch_size, 1)
        _check_whole("seed", seed, 0)
        if num_batches is not None:
            _check_whole("num_batches", num_batches, 1)
        self.batch_size, self.seed = int(batch_size), int(seed)
        self._has_given_length = num_batches is not None
        self.num_replicas, self.rank = _replicas(num_replicas, rank)
        table = _ids(items, site_key, label_key)
        known = table[:, 0] != UNKNOWN
        if not known.any():
            raise DataError(
                f"none of {len(items)} items has a known site, so there are no cells to draw. Check the site column."
            )
        self._cells, of_known = np.unique(table[known], axis=0, return_inverse=True)
        self._cell_of = np.full(len(items), len(self._cells))
        self._cell_of[known] = of_known.ravel()
        sizes = np.bincount(self._cell_of, minlength=len(self._cells) + 1)
        self._shape = shape_epoch(
            sizes, self.batch_size, self.num_replicas, drop_last=drop_last, num_batches=num_batches
        )
        if not self._shape.num_batches:
            raise ValueError(
                f"{len(items)} items do not fill {self.num_replicas} batches of {self.batch_size}; set drop_last=False."
            )
        if self.rank == 0:
            self._say_what_has_no_place(sizes)
        self._start = self._drawn = (0, 0)  # epoch and batch: where an iteration begins, and what was drawn last
        self._trained: tuple[int, int] | None = None

    @property
    def num_cells(self) -> int:
        """M, the number of (site, label) cells that hold items."""
        return len(self._cells)

    def __len__(self) -> int:
        """Batches of an epoch on each replica."""
        return self._shape.num_batches

    def __iter__(self) -> Iterator[list[int]]:
        epoch, first = self._drawn = self._start
        if self._trained is not None:
            self._trained = self._start
        generator = np.random.default_rng([self.seed, epoch])
        plan = plan_epoch(self._cell_of, self._shape, self.batch_size, self.num_replicas, generator)
        for number, batch in enumerate(plan[self.rank :: self.num_replicas][first:], start=first + 1):
            self._drawn = self._place_after(epoch, number)
            if number == len(self):  # before the last batch is given out: a loader may not ask for more
                self._start = self._drawn
            yield batch.tolist()

    def cell_counts(self, num_classes: int | None = None, num_sites: int | None = None) -> Tensor:
        """Samples of each label and site that all replicas draw in an epoch: the ``counts`` of a loss.

        Args:
            num_classes: rows; default: as many as the labels need.
            num_sites: columns; default: as many as the sites need.
        Returns:
            int64, (num_classes, num_sites).
        Raises:
            ValueError: a label or site has no place in such a table.
        """
        sites, labels = self._cells[:, 0], self._cells[:, 1]
        shape = (num_classes or int(labels.max()) + 1, num_sites or int(sites.max()) + 1)
        if labels.max() >= shape[0] or sites.max() >= shape[1]:
            raise ValueError(
                f"labels up to {labels.max()} and sites up to {sites.max()} do not fit a table of {shape}."
            )
        counts = torch.zeros(shape, dtype=torch.int64)
        counts[torch.from_numpy(labels), torch.from_numpy(sites)] = torch.from_numpy(self._shape.places[:-1])
        return counts

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration begin this epoch (from 0). Without it, each full iteration is the next epoch's.

        Raises:
            TypeError, ValueError: not a whole number from 0 on.
        """
        _check_whole("epoch", epoch, 0)
        self._start = self._drawn = (int(epoch), 0)

    def attach(self, engine: Any) -> None:
        """Count the batches that an ignite engine has trained on, so that a state saved within an epoch is exact.

        Worker processes and threads draw batches ahead. Put the sampler among the trainer's handlers, before one that
        saves it; saving at the ends of epochs alone needs no attaching.
        """
        from ignite.engine import Events

        self._trained = self._start
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._count)

    def state_dict(self) -> dict[str, int | str]:
        """Where in which epoch the training is, the same on each replica; numbers and text alone."""
        epoch, batch = self._drawn if self._trained is None else self._trained
        return {"epoch": epoch, "batch": batch} | self._settings()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on where `state_dict` was taken.

        Raises:
            ValueError: the state is of other items or another seed; or, within an epoch, of other batches.
        """
        unlike = [name for name, value in self._settings().items() if state.get(name) != value]
        if unlike and (state.get("batch") != 0 or {"seed", "items"} & set(unlike)):
            raise ValueError(
                "the sampler's saved state is of another "
                + ", ".join(f"{name} ({state.get(name)}, now {self._settings()[name]})" for name in unlike)
                + ". Make the sampler as it was, or begin without the state."
            )
        self._start = self._drawn = (int(state["epoch"]), int(state["batch"]))
        if self._trained is not None:
            self._trained = self._start

    def _settings(self) -> dict[str, int | str]:
        digest = hashlib.sha256(self._cells[:, ::-1].tobytes() + self._cell_of.tobytes()).hexdigest()[:16]
        return {
            "seed": self.seed,
            "items": digest,
            "batch_size": self.batch_size,
            "num_replicas": self.num_replicas,
            "num_batches": len(self),
        }

    def _count(self, _: Any) -> None:
        epoch, batch = self._trained or self._start
        self._trained = self._place_after(epoch, batch + 1)

    def _place_after(self, epoch: int, batches: int) -> tuple[int, int]:
        return (epoch, batches) if batches < len(self) else (epoch + 1, 0)

    def _say_what_has_no_place(self, sizes: Integers) -> None:
        begin, unknown, total = f"batch_size {self.batch_size}", int(sizes[-1]), len(self._cell_of)
        per_step = self.batch_size * self.num_replicas
        draws = len(self) * per_step
        if not self._shape.is_complete:
            message = (
                f"{begin} has no room for the {self.num_cells} cells of site and label, which take turns; an epoch "
                f"shows {100 * self._shape.coverage(sizes):.0f} % of the images."
            )
        elif unknown and self.batch_size == self.num_cells:
            message = f"{begin} is the number of cells: the {unknown} items of unknown site have no place."
        elif draws > 2 * total + per_step and not self._has_given_length:
            message = (
                f"{begin} has little room beside the {self.num_cells} cells of site and label: an epoch that shows "
                f"every image draws {draws / total:.1f} times their number."
            )
        else:
            return
        warnings.warn(f"{message} Batches of {2 * self.num_cells} or more have room for all.", stacklevel=3)


def _ids(items: Sequence[Mapping[str, Any]], site_key: str, label_key: str) -> Integers:
    """Site and label of each item, (N, 2).

    Raises:
        DataError: naming all items that hold no such id.
    """
    if not len(items):
        raise DataError("there are no items to draw batches from.")
    columns = []
    for key, lowest in ((site_key, UNKNOWN), (label_key, 0)):
        values = [as_integer(item.get(key)) for item in items]
        bad = [row for row, value in enumerate(values) if value is None or value < lowest]
        if bad:
            found = items[bad[0]].get(key)
            raise DataError(
                f'{len(bad)} of {len(items)} items have no integer from {lowest} on as their "{key}" '
                f"({list_rows([row + 1 for row in bad])}): {'nothing' if found is None else repr(found)}. Encode sites "
                "and labels, and drop items of unknown label."
            )
        columns.append(values)
    return np.array(columns, np.int64).T


def _replicas(num_replicas: int | None, rank: int | None) -> tuple[int, int]:
    if (num_replicas is None) != (rank is None):
        raise ValueError("give num_replicas and rank together, or neither.")
    if num_replicas is None or rank is None:
        return processes.world_size(), processes.rank()
    _check_whole("num_replicas", num_replicas, 1)
    _check_whole("rank", rank, 0)
    if rank >= num_replicas:
        raise ValueError(f"rank must lie in 0..{num_replicas - 1}, got {rank}.")
    return int(num_replicas), int(rank)


def _check_whole(name: str, value: int, lowest: int) -> None:
    number = as_integer(value)
    if number is None:
        raise TypeError(f"{name} must be a whole number, got {value!r}.")
    if number < lowest:
        raise ValueError(f"{name} must be at least {lowest}, got {number}.")
