"""Shares of a loader: together they are what one loader gives, in the same order, none twice."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import DataLoader, Dataset
from monai.transforms import RandGaussianNoised
from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler, WeightedRandomSampler

from fairpool.data import shares
from fairpool.data.cell_batches import CellBatchSampler
from fairpool.data.shares import BatchShares, share_of_batches, share_of_items


@pytest.fixture
def place(monkeypatch):
    """Takes the place of one of several processes."""

    def take(rank, number):
        monkeypatch.setattr(shares, "rank", lambda: rank)
        monkeypatch.setattr(shares, "world_size", lambda: number)

    return take


def batches_of(loader):
    return [np.asarray(batch["number"]).tolist() for batch in loader]


def interleaved(step):
    """The shares of one batch as the batch: item i went to process i modulo their number."""
    longest = max(map(len, step))
    return [items[row] for row in range(longest) for items in step if row < len(items)]


def items(size):
    return [{"number": number, "image": torch.zeros(1, 2)} for number in range(size)]


def loader_of(size, batch_size, *, sampler=None, seed=None, **options):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    order = {"sampler": sampler} if sampler is not None else {"shuffle": True}
    return DataLoader(Dataset(items(size)), batch_size=batch_size, generator=generator, **order, **options)


@given(
    size=st.integers(1, 40),
    shared=st.integers(1, 4),
    number=st.integers(1, 4),
    drop_last=st.booleans(),
    seed=st.integers(0, 9),
)
def test_shares_are_the_whole_batches_and_alike_in_number(size, shared, number, drop_last, seed):
    def whole():
        order = RandomSampler(range(size), generator=torch.Generator().manual_seed(seed))
        return BatchSampler(order, shared * number, drop_last)

    expected = list(whole())
    if expected and len(expected[-1]) < number:
        expected.pop()
    if not expected:
        with pytest.raises(ValueError, match="do not fill one batch"):
            BatchShares(whole(), number, 0)
        return
    samplers = [BatchShares(whole(), number, rank) for rank in range(number)]
    assert [len(sampler) for sampler in samplers] == [len(expected)] * number
    steps = list(zip(*samplers, strict=True))
    assert [interleaved(step) for step in steps] == expected
    assert all(0 <= len(step[0]) - len(step[-1]) <= 1 and step[-1] for step in steps)


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    with pytest.raises(ValueError, match=r"batch_size is 8, that of the whole.*multiple of 3"):
        BatchShares(BatchSampler(SequentialSampler(range(20)), 8, True), 3, 0)


def test_a_sampler_of_uneven_batches_is_refused_at_the_batch_that_is_too_small():
    with pytest.raises(ValueError, match="a batch of 1 images cannot be shared by 2"):
        list(BatchShares([[0, 1], [2]], 2, 0))


@pytest.mark.parametrize("seed", [None, 5], ids=["no generator", "generator"])
@pytest.mark.parametrize("is_weighted", [False, True], ids=["shuffled", "weighted"])
def test_two_epochs_of_all_processes_are_those_of_one(place, seed, is_weighted):
    def loader():
        sampler = None
        if is_weighted:
            generator = None if seed is None else torch.Generator().manual_seed(seed)
            sampler = WeightedRandomSampler([1.0, 2.0] * 7, 14, generator=generator)
        return loader_of(14, 4, sampler=sampler, seed=seed, drop_last=True)

    parts = []
    for rank in range(2):
        place(rank, 2)
        torch.manual_seed(rank)  # each process's own chance must not matter
        share = share_of_batches(loader(), seed=3)
        parts.append([batches_of(share) for _ in range(2)])
    found = [[interleaved(step) for step in zip(*epoch, strict=True)] for epoch in zip(*parts, strict=True)]
    assert found[0] != found[1]
    assert all(len(batch) == 4 for epoch in found for batch in epoch)
    if seed is not None:
        one = loader()
        assert found == [batches_of(one) for _ in range(2)]


def test_random_transforms_of_the_processes_differ(place):
    seen = []
    for rank in range(2):
        place(rank, 2)
        noisy = Dataset(items(4), RandGaussianNoised("image", prob=1.0).set_random_state(seed=0))
        share = share_of_batches(DataLoader(noisy, batch_size=4, shuffle=True), seed=0)
        seen.append(next(iter(share))["image"])
    assert not torch.equal(*seen)


def test_workers_of_the_processes_have_a_chance_of_their_own(place):
    seen = []
    for rank in range(2):
        place(rank, 2)
        data = Dataset(items(4), RandGaussianNoised("image", prob=1.0))
        order = {"generator": torch.Generator().manual_seed(0), "shuffle": True}
        loader = DataLoader(data, batch_size=4, num_workers=1, **order)
        seen.append(next(iter(share_of_batches(loader, seed=0)))["image"])
    assert not torch.equal(*seen)


def test_a_sampler_that_knows_of_the_processes_stays_and_the_transforms_differ(place):
    cells = [{"site": site, "label": label} for site in (0, 1) for label in (0, 1) for _ in range(8)]
    seen = []
    for rank in range(2):
        place(rank, 2)
        sampler = CellBatchSampler(cells, batch_size=4, num_replicas=2, rank=rank)
        data = Dataset(items(len(cells)), RandGaussianNoised("image", prob=1.0).set_random_state(seed=0))
        loader = DataLoader(data, batch_sampler=sampler)
        share = share_of_batches(loader)
        assert share is loader
        assert share.batch_sampler is sampler
        seen.append(next(iter(share))["image"])
    assert not torch.equal(*seen)


def test_one_process_keeps_its_loaders(place):
    place(0, 1)
    loader = loader_of(6, 2)
    assert share_of_batches(loader) is loader
    assert share_of_items(loader) is loader


@given(size=st.integers(3, 30), number=st.integers(1, 3), batch_size=st.integers(1, 5))
def test_every_item_is_evaluated_once_and_in_order(size, number, batch_size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shares, "world_size", lambda: number)
        parts = []
        for rank in range(number):
            patch.setattr(shares, "rank", lambda rank=rank: rank)
            loader = DataLoader(Dataset(items(size)), batch_size=batch_size)
            parts.append([number for batch in batches_of(share_of_items(loader)) for number in batch])
    assert interleaved(parts) == list(range(size))


def test_an_evaluation_of_another_order_or_too_few_images_is_refused(place):
    place(0, 3)
    with pytest.raises(ValueError, match="in their order"):
        share_of_items(loader_of(6, 2))
    with pytest.raises(ValueError, match="2 images to evaluate cannot be shared by 3 processes"):
        share_of_items(DataLoader(Dataset(items(2)), batch_size=1))
