"""Loaders of several processes: each loads its share of what one loader would give, and together they give the same."""

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from monai.data.utils import set_rnd
from torch.utils.data import BatchSampler, DataLoader, Sampler, Subset

from fairpool.processes import check_batch_size, rank, world_size

__all__ = ["BatchShares", "share_of_batches", "share_of_items"]


class BatchShares(Sampler[list[int]]):
    """Of each batch of another batch sampler every ``num_replicas``-th item, from item ``rank`` on.

    The other sampler draws the same batches in every process, from a generator with the same seed, so that the shares
    of one step are one batch of a single process. The last batch of an epoch may leave the shares one item apart; one
    with fewer items than processes is left out.

    Args:
        batches: draws whole batches.
        num_replicas: processes that train together.
        rank: which of them this is.
    Raises:
        ValueError: whole batches of so many items cannot be shared evenly, or none is left.

    >>> whole = BatchSampler(range(7), batch_size=4, drop_last=False)
    >>> [list(BatchShares(whole, 2, rank)) for rank in (0, 1)]
    [[[0, 2], [4, 6]], [[1, 3], [5]]]
    """

    def __init__(self, batches: Iterable[list[int]], num_replicas: int, rank: int) -> None:
        self.batches, self.num_replicas, self.rank = batches, num_replicas, rank
        self.sampler = getattr(batches, "sampler", batches)  # where its generator is looked for
        check_batch_size(getattr(batches, "batch_size", None), num_replicas)
        self._length = len(batches)  # type: ignore[arg-type]
        if isinstance(batches, BatchSampler) and not batches.drop_last:
            rest = len(batches.sampler) % batches.batch_size  # type: ignore[arg-type]
            self._length -= 0 < rest < num_replicas
        if self._length < 1:
            raise ValueError(f"the training images do not fill one batch of {num_replicas} processes; start fewer.")

    def __len__(self) -> int:
        """Batches of an epoch, as many in each process."""
        return self._length

    def __iter__(self) -> Iterator[list[int]]:
        for number, batch in enumerate(self.batches):
            if number == self._length:
                return
            if len(batch) < self.num_replicas:
                raise ValueError(f"a batch of {len(batch)} images cannot be shared by {self.num_replicas} processes.")
            yield list(batch[self.rank :: self.num_replicas])


def share_of_batches(loader: DataLoader[Any], *, seed: int = 0) -> DataLoader[Any]:
    """This process's share of a training loader: of each of its batches a part; the loader itself in a single process.

    Any sampler keeps its meaning, because it draws for all processes. A sampler without a generator gets one with
    ``seed``: drawn from each process's own chance, the shares would be of different batches. Random transforms go their
    own way in each process. A loader whose sampler knows of the other processes (it has ``num_replicas``, such as
    `CellBatchSampler` or torch's DistributedSampler) stays as it is, and its ``batch_size`` is that of one process.

    Args:
        loader: of whole batches.
        seed: the same in all processes.
    Raises:
        ValueError: the loader has no batches to share, or they cannot be shared evenly.
    """
    number, place = world_size(), rank()
    batches = loader.batch_sampler
    if number == 1:
        return loader
    if any(getattr(part, "num_replicas", 1) > 1 for part in (batches, loader.sampler)):
        return _with_own_chance(loader, seed, place)
    if batches is None:
        raise ValueError("several processes need a training loader with batches over a data set with a length.")
    sampler: Any = getattr(batches, "sampler", batches)
    if getattr(sampler, "generator", ...) is None:
        sampler.generator = torch.Generator().manual_seed(seed)
    # With the loader's own generator, from which torch draws before each order: the order is that of one process.
    share = _like(loader, loader.dataset, batch_sampler=BatchShares(batches, number, place))
    return _with_own_chance(share, seed, place)


def share_of_items(loader: DataLoader[Any]) -> DataLoader[Any]:
    """This process's share of a loader that evaluates: every n-th item, each in one process, none twice.

    Raises:
        ValueError: there are fewer items than processes, or the loader's sampler changes their order.
    """
    number, place = world_size(), rank()
    if number == 1:
        return loader
    if not isinstance(loader.sampler, torch.utils.data.SequentialSampler) or loader.batch_size is None:
        raise ValueError("the images of an evaluation are shared in their order: leave out shuffle and samplers.")
    size = len(loader.dataset)  # type: ignore[arg-type]
    if size < number:
        raise ValueError(f"{size} images to evaluate cannot be shared by {number} processes: start fewer.")
    part = Subset(loader.dataset, range(place, size, number))
    return _like(loader, part, batch_size=max(1, loader.batch_size // number))


def _with_own_chance(loader: DataLoader[Any], seed: int, place: int) -> DataLoader[Any]:
    """The loader, whose random transforms differ from those of the other processes."""
    loader.worker_init_fn = _OwnChance(place, loader.worker_init_fn)
    if not loader.num_workers:
        set_rnd(loader.dataset, seed=_own_seed(seed, place))
    return loader


class _OwnChance:
    """Begins the chance of a loader's worker, which torch seeds alike in all processes that train together."""

    def __init__(self, place: int, begin: Callable[[int], None] | None) -> None:
        self.place, self.begin = place, begin

    def __call__(self, worker: int) -> None:
        if self.begin is not None:
            self.begin(worker)
        info = torch.utils.data.get_worker_info()
        assert info is not None  # called in a worker
        seed = _own_seed(info.seed, self.place)
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        set_rnd(info.dataset, seed=seed)


def _own_seed(seed: int, place: int) -> int:
    return (seed + place * 1_000_003) % 2**32


def _like(loader: DataLoader[Any], dataset: Any, **changed: Any) -> DataLoader[Any]:
    """Another loader of the same kind and settings."""
    names = ["num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context"]
    names += ["persistent_workers", "generator"] + (["prefetch_factor"] if loader.num_workers else [])
    settings = {name: getattr(loader, name) for name in names}
    return type(loader)(dataset, **settings, **changed)
