"""Batches by cell: complete, covering, alike in number on every replica, and gone on with exactly."""

import io
import os
import subprocess
import sys
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fairpool import EqualOpportunity, FairALMHandler, FairALMLoss
from fairpool.data.cell_batches import CellBatchSampler
from fairpool.data.cell_plan import plan_epoch, shape_epoch, spread
from fairpool.errors import DataError
from fairpool.losses import ReweightedLoss


def items_of(*cells, unknown=0):
    """(site, label, number of items) cells as items, and some of unknown site."""
    items = [{"site": site, "label": label} for site, label, count in cells for _ in range(count)]
    return items + [{"site": -1, "label": row % 2} for row in range(unknown)]


CONFOUNDED = items_of((0, 0, 90), (0, 1, 10), (1, 0, 6), (1, 1, 50), unknown=8)


def cells_in(batch, items):
    return {(items[row]["site"], items[row]["label"]) for row in batch if items[row]["site"] >= 0}


def quiet(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CellBatchSampler(*arguments, **options)


@st.composite
def pools(draw):
    """Items of up to eight cells in any order, some of unknown site."""
    counts = draw(st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 1)), st.integers(1, 25), min_size=1))
    items = items_of(*((*cell, count) for cell, count in counts.items()), unknown=draw(st.integers(0, 9)))
    draw(st.randoms(use_true_random=False)).shuffle(items)
    return items, len(counts)


# One epoch


@given(pools(), st.integers(1, 12), st.integers(1, 3), st.integers(0, 5))
def test_with_room_every_batch_of_every_replica_is_complete_and_an_epoch_shows_every_item(pool, room, replicas, seed):
    items, num_cells = pool
    cells = cells_in(range(len(items)), items)
    samplers = [quiet(items, num_cells + room, seed=seed, num_replicas=replicas, rank=i) for i in range(replicas)]
    parts = [list(sampler) for sampler in samplers]
    assert {len(part) for part in parts} == {len(samplers[0])}
    for part in parts:
        for batch in part:
            assert len(batch) == num_cells + room
            assert cells_in(batch, items) == cells
    assert {row for part in parts for batch in part for row in batch} == set(range(len(items)))


@given(pools(), st.integers(1, 12), st.integers(1, 3))
def test_no_shorter_epoch_could_be_complete_and_show_every_item(pool, room, replicas):
    items, num_cells = pool
    size = num_cells + room
    length = len(quiet(items, size, num_replicas=replicas, rank=0))
    counts = Counter((item["site"], item["label"]) for item in items if item["site"] >= 0)
    unknown = len(items) - sum(counts.values())

    def fits(batches):  # the places that completeness and coverage ask for, cell by cell
        return batches * replicas * size >= unknown + sum(max(n, batches * replicas) for n in counts.values())

    assert fits(length)
    assert length == 1 or not fits(length - 1)
    assert length <= -(-len(items) // (replicas * room))  # the bound of the docstring


@given(pools(), st.integers(1, 20), st.integers(1, 3))
def test_an_item_returns_only_after_all_others_of_its_cell(pool, size, replicas):
    """So no step holds an item twice whose cell has enough of them, on one replica or on two."""
    items, _ = pool
    parts = [list(quiet(items, size, num_replicas=replicas, rank=i)) for i in range(replicas)]
    of_cell = Counter((item["site"] >= 0 and (item["site"], item["label"])) for item in items)
    for step in zip(*parts, strict=True):
        drawn = [row for batch in step for row in batch]
        per_cell = Counter((items[row]["site"] >= 0 and (items[row]["site"], items[row]["label"])) for row in drawn)
        for row, times in Counter(drawn).items():
            cell = items[row]["site"] >= 0 and (items[row]["site"], items[row]["label"])
            assert times <= -(-per_cell[cell] // of_cell[cell])
    counts = Counter(row for part in parts for batch in part for row in batch)
    for cell in of_cell:
        times = [
            counts[row]
            for row, item in enumerate(items)
            if (item["site"] >= 0 and (item["site"], item["label"])) == cell
        ]
        assert max(times) - min(times) <= 1


@given(pools(), st.integers(1, 3))
def test_without_room_the_cells_take_turns_and_each_step_of_the_replicas_holds_as_many_as_fit(pool, replicas):
    items, num_cells = pool
    items = [item for item in items if item["site"] >= 0]
    if num_cells == 1:
        return
    size = num_cells - 1
    parts = [list(quiet(items, size, num_replicas=replicas, rank=i)) for i in range(replicas)]
    for step in zip(*parts, strict=True):
        assert all(len(cells_in(batch, items)) == size for batch in step)
        joined = [row for batch in step for row in batch]
        assert len(cells_in(joined, items)) == min(num_cells, size * replicas)
    drawn = Counter((items[row]["site"], items[row]["label"]) for part in parts for batch in part for row in batch)
    most, fewest = max(drawn.values()), min(drawn.get(cell, 0) for cell in cells_in(range(len(items)), items))
    assert most - fewest <= 1
    assert len(parts[0]) == -(-len(items) // (size * replicas))


def test_what_has_no_place_is_said_once_with_the_remedy():
    with pytest.warns(UserWarning, match="has no room for the 4 cells") as caught:
        sampler = CellBatchSampler(CONFOUNDED, 3)
    assert "Batches of 8 or more have room" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(sampler)
        CellBatchSampler(CONFOUNDED, 3, num_replicas=2, rank=1)  # the first process says it
        CellBatchSampler(CONFOUNDED, 16)
    with pytest.warns(UserWarning, match="the 8 items of unknown site have no place"):
        sampler = CellBatchSampler(CONFOUNDED, 4)
    assert not any(CONFOUNDED[row]["site"] == -1 for batch in sampler for row in batch)
    with pytest.warns(UserWarning, match=r"little room beside the 4 cells .* draws 2\.3 times"):
        CellBatchSampler(items_of((0, 0, 90), (0, 1, 10), (1, 0, 6), (1, 1, 50)), 4)


def test_the_coverage_that_the_warning_states_is_what_an_epoch_shows():
    items = items_of((0, 0, 300), (0, 1, 30), (1, 0, 20), (1, 1, 50))
    with pytest.warns(UserWarning, match="an epoch shows (\\d+) %") as caught:
        sampler = CellBatchSampler(items, 2)
    shown = len({row for batch in sampler for row in batch})
    assert f"shows {100 * shown / 400:.0f} %" in str(caught[0].message)
    assert shown == 100 + 30 + 20 + 50


@pytest.mark.parametrize("size", [5, 7, 16, 3])
def test_unknown_items_are_drawn_about_as_often_as_they_are_in_the_pool(size):
    sampler = quiet(CONFOUNDED, size)
    drawn = Counter(row for batch in sampler for row in batch)
    times = [drawn[row] for row, item in enumerate(CONFOUNDED) if item["site"] == -1]
    assert sum(times) == pytest.approx(8, abs=1)
    per_batch = [sum(CONFOUNDED[row]["site"] == -1 for row in batch) for batch in sampler]
    assert max(per_batch) - min(per_batch) <= 1  # evenly, not all at the end


def test_the_free_places_are_spread_so_that_batches_are_alike():
    sampler = CellBatchSampler(CONFOUNDED, 16)
    for cell in ((0, 0), (0, 1), (1, 0), (1, 1)):
        counts = [sum((CONFOUNDED[row]["site"], CONFOUNDED[row]["label"]) == cell for row in b) for b in sampler]
        assert max(counts) - min(counts) <= 3, cell


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5).filter(any), st.integers(0, 9))
def test_spread_keeps_the_counts_and_no_index_is_far_from_its_even_place(counts, seed):
    placed = spread(np.array(counts), np.random.default_rng(seed))
    assert np.bincount(placed, minlength=len(counts)).tolist() == counts
    for index, count in enumerate(counts):
        so_far = np.cumsum(placed == index)
        even = np.arange(1, len(placed) + 1) * count / len(placed)
        assert np.abs(so_far - even).max(initial=0) <= len(counts)


def test_spread_begins_with_each_index_equally_often():
    firsts = Counter(int(spread(np.array([4, 4, 4]), np.random.default_rng(seed))[0]) for seed in range(300))
    assert all(70 <= firsts[index] <= 130 for index in range(3)), firsts  # 100 each, give or take 8


def test_dropping_the_last_batch_leaves_items_out_instead_of_drawing_some_again():
    items = items_of((0, 0, 10), (1, 1, 10))
    assert [len(quiet(items, 8, drop_last=drop)) for drop in (False, True)] == [3, 2]
    drawn = [row for batch in CellBatchSampler(items, 8, drop_last=True) for row in batch]
    assert len(drawn) == len(set(drawn)) == 16
    assert len(CellBatchSampler(items, 10, drop_last=True)) == 2  # nothing to drop
    with pytest.raises(ValueError, match="20 items do not fill 1 batches of 32; set drop_last=False"):
        CellBatchSampler(items, 32, drop_last=True)


def test_a_given_number_of_batches_is_kept_and_they_stay_complete():
    for number in (1, 5, 100):
        batches = list(quiet(CONFOUNDED, 6, num_batches=number, num_replicas=2, rank=1))
        assert len(batches) == number
        assert all(len(cells_in(batch, CONFOUNDED)) == 4 for batch in batches)


@given(pools(), st.integers(1, 20), st.integers(1, 3), st.integers(1, 9))
def test_the_places_of_a_shape_are_what_the_plan_draws(pool, size, replicas, number):
    items, num_cells = pool
    names = sorted(cells_in(range(len(items)), items))
    cells = np.array([names.index((i["site"], i["label"])) if i["site"] >= 0 else num_cells for i in items])
    sizes = np.bincount(cells, minlength=num_cells + 1)
    for given_number in (None, number):
        shape = shape_epoch(sizes, size, replicas, num_batches=given_number)
        plan = plan_epoch(cells, shape, size, replicas, np.random.default_rng(0))
        drawn = np.bincount(cells[plan.ravel()], minlength=num_cells + 1)
        assert plan.shape == (shape.num_batches * replicas, size)
        if shape.is_complete:
            assert drawn.tolist() == shape.places.tolist()
        else:
            assert np.abs(drawn - shape.places).max() <= 1


# Epochs and states


def test_batches_follow_from_seed_and_epoch_alone():
    first, again, other = (CellBatchSampler(CONFOUNDED, 16, seed=seed) for seed in (3, 3, 4))
    epochs = [list(first) for _ in range(3)]
    assert [list(again) for _ in range(3)] == epochs
    assert list(other) != epochs[0]
    assert epochs[0] != epochs[1]
    again.set_epoch(1)
    torch.manual_seed(7)
    np.random.seed(7)
    assert list(again) == epochs[1]
    assert list(again) == epochs[2]


def test_a_look_at_the_first_batch_costs_nothing():
    sampler, twin = CellBatchSampler(CONFOUNDED, 16), CellBatchSampler(CONFOUNDED, 16)
    first = next(iter(sampler))
    assert list(sampler) == list(twin)
    assert first == next(iter(CellBatchSampler(CONFOUNDED, 16)))
    assert next(iter(sampler)) == next(iter(twin))


@given(pools(), st.integers(1, 12), st.integers(1, 2), st.integers(0, 80))
def test_a_loaded_state_goes_on_with_the_very_batches_that_were_left(pool, size, replicas, stop):
    items, _ = pool

    def make():
        return quiet(items, size, seed=2, num_replicas=replicas, rank=replicas - 1)

    whole = make()
    expected = [batch for _ in range(3) for batch in whole]
    stop = stop % (2 * len(whole)) + 1
    interrupted, seen = make(), []
    while len(seen) < stop:
        for batch in interrupted:
            seen.append(batch)
            if len(seen) == stop:
                break
    file = io.BytesIO()
    torch.save(interrupted.state_dict(), file)
    file.seek(0)
    resumed = make()
    resumed.load_state_dict(torch.load(file, weights_only=True))
    seen += list(resumed)
    while len(seen) < len(expected):
        seen += list(resumed)
    assert seen == expected


def test_a_state_of_other_data_or_other_batches_is_refused():
    sampler = CellBatchSampler(CONFOUNDED, 16)
    drawn = iter(sampler)
    next(drawn)
    state = sampler.state_dict()
    with pytest.raises(ValueError, match=r"state is of another batch_size \(16, now 20\), num_batches"):
        CellBatchSampler(CONFOUNDED, 20).load_state_dict(state)
    with pytest.raises(ValueError, match="of another items"):
        CellBatchSampler(CONFOUNDED[::-1], 16).load_state_dict(state)
    with pytest.raises(ValueError, match=r"of another seed \(0, now 1\)"):
        CellBatchSampler(CONFOUNDED, 16, seed=1).load_state_dict(state | {"batch": 0})
    other = CellBatchSampler(CONFOUNDED, 20)  # between epochs a change of batches has a meaning
    other.load_state_dict(state | {"epoch": 4, "batch": 0})
    assert other.state_dict()["epoch"] == 4


# What it does to a loss


@pytest.mark.parametrize("size", [4, 7, 16])
def test_cell_counts_are_what_an_epoch_draws(size):
    sampler = quiet(CONFOUNDED, size)
    drawn = Counter((CONFOUNDED[row]["label"], CONFOUNDED[row]["site"]) for batch in sampler for row in batch)
    counts = sampler.cell_counts()
    assert counts.dtype == torch.int64
    assert counts.tolist() == [[drawn[label, site] for site in (0, 1)] for label in (0, 1)]
    assert sampler.cell_counts(3, 4).sum() == counts.sum()
    with pytest.raises(ValueError, match="do not fit a table"):
        sampler.cell_counts(1)


def test_known_counts_must_be_those_of_the_sampler():
    """Over an epoch the constraint's terms then equal their closed form by cell; with the pool's counts they do not."""
    items = items_of((0, 0, 40), (0, 1, 8), (1, 0, 5), (1, 1, 30))
    errors = torch.linspace(0.05, 0.95, len(items)).double()
    labels, sites = (torch.tensor([item[key] for item in items]) for key in ("label", "site"))
    logits = torch.logit(torch.where(labels == 1, 1 - errors, errors))
    sampler = CellBatchSampler(items, 12)
    batches = list(sampler)

    def terms(counts):
        """Mean over the batches of loss minus base loss."""
        base = nn.BCEWithLogitsLoss(reduction="none")
        loss = FairALMLoss(base, EqualOpportunity(), 2, eta=0.5, counts=counts)
        values = [
            loss(logits[rows], labels[rows], sites[rows]) - base(logits[rows], labels[rows].double()).mean()
            for rows in batches
        ]
        return float(torch.stack(values).mean().detach())

    drawn = torch.tensor(batches).flatten()
    rates = [errors[drawn][(labels[drawn] == 1) & (sites[drawn] == k)].mean().item() for k in (0, 1)]
    assert terms(sampler.cell_counts()) == pytest.approx(0.5 * sum(rates), rel=1e-5)  # 2 / P * sum_k eta * mu_k
    assert abs(terms(torch.tensor([[40, 5], [8, 30]])) - 0.5 * sum(rates)) > 0.01


def test_re_weighting_by_the_drawn_counts_makes_label_and_site_independent():
    sampler = CellBatchSampler(CONFOUNDED, 16)
    labels, sites = (torch.tensor([item[key] for item in CONFOUNDED]) for key in ("label", "site"))
    weights = ReweightedLoss(nn.CrossEntropyLoss(reduction="none"), 2, sampler.cell_counts())
    logits = torch.zeros(len(CONFOUNDED), 2)
    table = torch.zeros(2, 2)  # what each label and site weighs in an epoch
    for row in (row for batch in sampler for row in batch if sites[row] >= 0):
        table[labels[row], sites[row]] += weights(logits[[row]], labels[[row]], sites[[row]]) / np.log(2)
    expected = table.sum(1, keepdim=True) * table.sum(0, keepdim=True) / table.sum()
    torch.testing.assert_close(table, expected, rtol=1e-4, atol=1e-3)


# Loaders and trainers


def with_images(items):
    generator = torch.Generator().manual_seed(5)
    return [item | {"image": torch.randn(5, generator=generator), "row": row} for row, item in enumerate(items)]


def loaders():
    from monai.data import DataLoader, ThreadDataLoader

    yield "monai", lambda data, sampler: DataLoader(data, batch_sampler=sampler, num_workers=0)
    yield "workers", lambda data, sampler: DataLoader(data, batch_sampler=sampler, num_workers=2)
    yield (
        "persistent",
        lambda data, sampler: DataLoader(data, batch_sampler=sampler, num_workers=2, persistent_workers=True),
    )
    yield "threads", lambda data, sampler: ThreadDataLoader(data, batch_sampler=sampler, num_workers=0, buffer_size=3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "make"), loaders(), ids=lambda value: value if isinstance(value, str) else "")
def test_loaders_deliver_the_samplers_batches_epoch_by_epoch(name, make):
    from monai.data import Dataset

    sampler, twin = CellBatchSampler(CONFOUNDED, 16), CellBatchSampler(CONFOUNDED, 16)
    loader = make(Dataset(with_images(CONFOUNDED)), sampler)
    assert len(loader) == len(sampler)
    for _ in range(2):
        assert [batch["row"].tolist() for batch in loader] == list(twin)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_in_a_trainer_each_batch_is_complete_and_no_update_is_idle(train, num_workers):
    from ignite.engine import Events
    from monai.data import DataLoader, Dataset

    items = with_images(CONFOUNDED)
    loss = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 2, eta=0.1)
    sampler = CellBatchSampler(items, 8)
    loader = DataLoader(Dataset(items), batch_sampler=sampler, num_workers=num_workers)
    trainer = train(loss, [FairALMHandler(loss), sampler], data=loader, epochs=2)
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.batch))
    trainer.run()
    assert len(trainer.steps) == 2 * len(sampler)
    assert int(loss.idle_updates) == 0
    for step in trainer.steps:
        assert {(one.group, one.label) for one in step.samples if one.group >= 0} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    plain = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 2, eta=0.1)
    train(plain, [FairALMHandler(plain)], data=DataLoader(Dataset(items), batch_size=8, shuffle=True), epochs=2).run()
    assert int(plain.idle_updates) > 0  # what the sampler is for


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_training_interrupted_within_an_epoch_goes_on_with_the_batches_that_were_left(train, num_workers):
    """The state is what was trained on, though the workers are ahead."""
    from ignite.engine import Events
    from monai.data import DataLoader, Dataset

    items = with_images(CONFOUNDED)
    rows = {}

    def start(name, state=None, engine_state=None, stop_at=None):
        loss = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 2)
        sampler = CellBatchSampler(items, 10)
        if state is not None:
            sampler.load_state_dict(state)
        loader = DataLoader(Dataset(items), batch_sampler=sampler, num_workers=num_workers)
        trainer = train(loss, [FairALMHandler(loss), sampler], data=loader, epochs=3)
        seen = rows.setdefault(name, [])
        trainer.add_event_handler(
            Events.ITERATION_STARTED, lambda engine: seen.append(engine.state.batch["row"].tolist())
        )
        if engine_state is not None:
            trainer.load_state_dict(engine_state)
        saved = {}
        if stop_at is not None:

            def stop(engine):
                saved.update(sampler=sampler.state_dict(), engine=dict(engine.state_dict()))
                engine.terminate()

            trainer.add_event_handler(Events.ITERATION_COMPLETED(once=stop_at), stop)
        trainer.run()
        return saved, len(sampler)

    _, length = start("whole")
    saved, _ = start("part", stop_at=length + 3)
    assert (saved["sampler"]["epoch"], saved["sampler"]["batch"]) == (1, 3)
    start("rest", state=saved["sampler"], engine_state=saved["engine"])
    assert len(rows["whole"]) == 3 * length
    assert rows["part"] + rows["rest"] == rows["whole"]


# Several processes


@pytest.fixture
def group_of_one(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group_of_one")
def test_replicas_are_those_of_torch_distributed():
    sampler = CellBatchSampler(CONFOUNDED, 16)
    assert (sampler.num_replicas, sampler.rank) == (1, 0)
    other = CellBatchSampler(CONFOUNDED, 16, num_replicas=2, rank=1)
    assert (other.num_replicas, other.rank) == (2, 1)


def test_replicas_draw_what_one_process_draws_in_larger_steps():
    """The joined plan is one plan: together the replicas draw each cell as often as the shape says."""
    parts = [CellBatchSampler(CONFOUNDED, 8, num_replicas=2, rank=rank) for rank in (0, 1)]
    drawn = Counter(
        (CONFOUNDED[row]["label"], CONFOUNDED[row]["site"]) for part in parts for batch in part for row in batch
    )
    assert parts[0].cell_counts().tolist() == [[drawn[label, site] for site in (0, 1)] for label in (0, 1)]
    counts = [Counter(row for batch in part for row in batch) for part in parts]
    in_both = Counter(
        (CONFOUNDED[row]["site"], CONFOUNDED[row]["label"]) for row in counts[0].keys() & counts[1].keys()
    )
    sizes = Counter((item["site"], item["label"]) for item in CONFOUNDED)
    for (site, label), count in in_both.items():
        if site >= 0:  # both show an item only where the cell is drawn more often than it has items
            assert count <= max(drawn[label, site] - sizes[site, label], 0)
    assert parts[0].state_dict() == parts[1].state_dict()


def worker():
    """One process of two: train on its part, and write down its batches, the weights and the multipliers."""
    import json

    from monai.data import DataLoader, Dataset
    from monai.engines import SupervisedTrainer

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    torch.manual_seed(0)
    items = with_images(CONFOUNDED)
    sampler = CellBatchSampler(items, 8)
    network = nn.parallel.DistributedDataParallel(nn.Linear(5, 2))
    loss = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 2, eta=0.1)
    rows = []

    def prepare(batch, device, non_blocking, **options):
        rows.append(batch["row"].tolist())
        return batch["image"], batch["label"]

    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=DataLoader(Dataset(items), batch_sampler=sampler, num_workers=2),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        loss_function=loss,
        prepare_batch=prepare,
        train_handlers=[FairALMHandler(loss), sampler],
    ).run()
    seen = {
        "rows": rows,
        "idle": int(loss.idle_updates),
        "multipliers": loss.multipliers.tolist(),
        "weights": network.module.weight.tolist(),
        "state": sampler.state_dict(),
    }
    with open(os.path.join(sys.argv[1], f"{sampler.rank}.json"), "w") as file:
        json.dump(seen, file)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_of_torchrun_train_in_step_on_complete_batches_of_their_own(tmp_path):
    import json

    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    subprocess.run(
        [*launcher, "--nproc-per-node", "2", os.path.abspath(__file__), str(tmp_path)],
        check=True,
        timeout=240,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "GLOO_SOCKET_IFNAME": "lo"},
    )
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    expected = []
    for rank in range(2):
        sampler = CellBatchSampler(CONFOUNDED, 8, num_replicas=2, rank=rank)
        expected.append([batch for _ in range(2) for batch in sampler])
    assert [one["rows"] for one in ranks] == expected
    for one in ranks:
        assert one["idle"] == 0
        assert all(len(cells_in(batch, CONFOUNDED)) == 4 for batch in one["rows"])
    assert ranks[0]["multipliers"] == ranks[1]["multipliers"]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert ranks[0]["state"] == ranks[1]["state"]
    assert ranks[0]["state"]["epoch"] == 2


# What is refused


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        ([], "there are no items"),
        ([*items_of((0, 0, 2)), {"site": 0}], r'1 of 3 items have no integer from 0 on as their "label" \(row 3\)'),
        ([*items_of((0, 0, 2)), {"site": "bern", "label": 0}], r'as their "site" \(row 3\): \'bern\'. Encode sites'),
        ([*items_of((0, 0, 2)), {"site": None, "label": 0}], r'as their "site" \(row 3\): nothing'),
        ([*items_of((0, 0, 2)), {"site": -2, "label": 0}], r'no integer from -1 on as their "site" \(row 3\): -2'),
        ([*items_of((0, 0, 2)), {"site": 0, "label": -1}], r'"label" \(row 3\): -1.*drop items of unknown label'),
        ([*items_of((0, 0, 2)), {"site": 0.0, "label": 0}], r'"site" \(row 3\): 0\.0'),
        ([*items_of((0, 0, 2)), {"site": True, "label": 0}], r'"site" \(row 3\): True'),
        (items_of(unknown=3), "none of 3 items has a known site"),
    ],
)
def test_items_without_ids_are_refused_naming_every_row(items, sentence):
    with pytest.raises(DataError, match=sentence):
        CellBatchSampler(items, 4)


def test_ids_of_numpy_and_torch_and_other_keys_are_taken():
    items = [{"scanner": np.int32(0), "y": torch.tensor(1)}, {"scanner": torch.tensor(1), "y": np.int64(0)}]
    sampler = CellBatchSampler(items, 2, site_key="scanner", label_key="y")
    assert sorted(next(iter(sampler))) == [0, 1]


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be a whole number, got 2.0"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"num_batches": 0}, ValueError, "num_batches must be at least 1"),
        ({"rank": 1}, ValueError, "give num_replicas and rank together"),
        ({"rank": 2, "num_replicas": 2}, ValueError, r"rank must lie in 0\.\.1, got 2"),
        ({"rank": True, "num_replicas": 2}, TypeError, "rank must be a whole number"),
    ],
)
def test_arguments_out_of_range_are_refused(options, kind, sentence):
    with pytest.raises(kind, match=sentence):
        CellBatchSampler(CONFOUNDED, **({"batch_size": 16} | options))


def test_two_hundred_thousand_items_are_planned_in_a_fraction_of_a_second():
    import time

    generator = np.random.default_rng(0)
    sites, labels = generator.choice(5, 200_000, p=[0.6, 0.2, 0.1, 0.07, 0.03]), generator.integers(0, 2, 200_000)
    items = [{"site": site, "label": label} for site, label in zip(sites.tolist(), labels.tolist(), strict=True)]
    began = time.process_time()
    sampler = CellBatchSampler(items, 64)
    assert sum(map(len, sampler)) == 64 * len(sampler)
    assert time.process_time() - began < 3  # 0.25 s on a free core


if __name__ == "__main__":
    worker()
    os._exit(0)  # see tests/losses/test_distributed.py
