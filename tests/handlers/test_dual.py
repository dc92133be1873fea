"""FairALMHandler in real MONAI trainers: when the multipliers move, by how much, and what ends a run."""

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import MetaTensor
from oracles import FairALMOracle
from skipped_steps import overflow_at
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, default_collate

from fairpool import EqualizedOdds, EqualOpportunity, FairALMHandler, FairALMLoss, PredictiveParity
from fairpool.handlers.dual import groups_of
from fairpool.losses import AdversarialLoss


def make_loss(**options):
    return FairALMLoss(nn.CrossEntropyLoss(), EqualizedOdds(), 3, **({"eta": 0.125} | options))


def assert_follows_oracle(trainer, accumulation_steps=1, skipped=(), epochs=1, **options):
    """Multipliers after each iteration are those of an oracle that takes one dual step a window."""
    oracle = FairALMOracle(("y0", "y1"), 3, **({"eta": 0.125} | options))
    per_epoch = len(trainer.steps) // epochs
    moves = 0
    for i, step in enumerate(trainer.steps, start=1):
        oracle.record(step.samples)
        done = (i - 1) % per_epoch + 1
        window = range(i - (done - 1) % accumulation_steps, i + 1)
        if done % accumulation_steps == 0 or done == per_epoch:
            if set(window) & set(skipped):
                oracle.window = []
            else:
                oracle.dual()
                moves += 1
        torch.testing.assert_close(step.multipliers, torch.tensor(oracle.lam), rtol=1e-4, atol=1e-5)
        if done == per_epoch:
            oracle.end_epoch()
    return moves


class FailingAt(nn.Linear):
    """Outputs that are NaN at one call."""

    def __init__(self, call):
        super().__init__(5, 2)
        self.call, self.calls = call, 0

    def forward(self, images):
        self.calls += 1
        return super().forward(images) * (torch.nan if self.calls == self.call else 1)


# Once per optimizer step


@pytest.mark.parametrize("dual_rates", ["soft", "hard"])
@pytest.mark.parametrize(
    ("accumulation_steps", "num_batches", "moves"),
    [(1, 12, 12), (2, 12, 6), (4, 12, 3), (1, 10, 10), (4, 10, 3), (3, 10, 4)],
)
def test_multipliers_move_once_per_optimizer_step(train, items, accumulation_steps, num_batches, moves, dual_rates):
    loss = make_loss(dual_rates=dual_rates)
    trainer = train(loss, [FairALMHandler(loss)], data=items[: 4 * num_batches], accumulation_steps=accumulation_steps)
    trainer.run()
    assert assert_follows_oracle(trainer, accumulation_steps, dual_rates=dual_rates) == moves


def test_the_penalty_grows_once_an_epoch_before_other_handlers_save_it(train):
    loss, seen = make_loss(growth=2.0), []
    trainer = train(loss, [FairALMHandler(loss)], epochs=3, accumulation_steps=5)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: seen.append(float(loss.eta)))
    trainer.run()
    assert seen == [0.25, 0.5, 1.0]
    assert assert_follows_oracle(trainer, 5, epochs=3, growth=2.0) == 9


def test_the_network_is_trained_by_the_constrained_loss(train, items):
    """Weights equal those of a plain PyTorch loop."""
    network, twin = nn.Linear(5, 2), nn.Linear(5, 2)
    twin.load_state_dict(network.state_dict())
    loss, other = make_loss(), make_loss()
    train(loss, [FairALMHandler(loss)], network=network).run()
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    for batch in DataLoader(items, batch_size=4):
        optimizer.zero_grad()
        other(twin(batch["image"]), batch["label"], batch["site"]).backward()
        optimizer.step()
        other.update_multipliers()
    assert torch.equal(network.weight, twin.weight)
    assert torch.equal(loss.multipliers, other.multipliers)


def test_a_second_run_goes_on_with_one_hook(train):
    loss = make_loss()
    trainer = train(loss, [FairALMHandler(loss)])
    trainer.run()
    trainer.state.max_epochs = 2
    trainer.run()
    assert assert_follows_oracle(trainer, epochs=2) == 24


def test_a_run_starts_clean_of_what_an_earlier_one_left(train):
    loss = make_loss()
    loss(torch.tensor([[5.0, 0.0], [0.0, 5.0]], requires_grad=True), torch.tensor([1, 1]), torch.tensor([0, 1]))
    loss.bind(torch.tensor([0]))
    loss.nonfinite_iteration.fill_(3)
    trainer = train(loss, [FairALMHandler(loss)])
    trainer.run()
    assert assert_follows_oracle(trainer) == 12


# Bug found here: epoch_length is None, and the modulo raised.
@pytest.mark.parametrize("batches", [5, 3])
def test_data_without_a_length_trains(train, items, batches):
    """MONAI leaves epoch_length None for these until the first epoch has ended."""

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(items[: 4 * batches])

    loss = make_loss(growth=2.0)
    trainer = train(loss, [FairALMHandler(loss)], data=DataLoader(Stream(), batch_size=4), epochs=2)
    trainer.run()
    assert float(loss.eta) == 0.5
    assert assert_follows_oracle(trainer, epochs=2, growth=2.0) == 2 * batches


# Steps that the scaler skips


@pytest.mark.usefixtures("cpu_scaler")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("accumulation_steps", "bad", "moves"), [(1, 5, 11), (1, 12, 11), (2, 5, 5), (2, 6, 5), (5, 11, 2)]
)
def test_a_step_that_the_scaler_skips_moves_nothing_and_drops_its_window(train, accumulation_steps, bad, moves, fused):
    loss, network = make_loss(), overflow_at(nn.Linear(5, 2), bad)
    trainer = train(
        loss, [FairALMHandler(loss)], network=network, fused=fused, amp=True, accumulation_steps=accumulation_steps
    )
    before = network.weight.detach().clone()
    trainer.run()
    assert assert_follows_oracle(trainer, accumulation_steps, skipped=[bad]) == moves
    weights = [before, *(step.weights for step in trainer.steps)]
    window_end = min(-(-bad // accumulation_steps) * accumulation_steps, 12)
    assert torch.equal(weights[window_end], weights[window_end - 1])
    assert bool(torch.isfinite(network.weight).all())


@pytest.mark.usefixtures("cpu_scaler")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("accumulation_steps", "moves"), [(1, 11), (2, 5)])
def test_a_nan_loss_whose_step_was_skipped_is_none(train, accumulation_steps, moves, fused):
    loss = make_loss()
    trainer = train(
        loss,
        [FairALMHandler(loss)],
        network=FailingAt(5),
        fused=fused,
        amp=True,
        accumulation_steps=accumulation_steps,
        epochs=2,
    )
    trainer.run()
    assert trainer.state.epoch == 2
    for step in trainer.steps:
        step.samples = [sample for sample in step.samples if sample.logits[0] == sample.logits[0]]
    assert assert_follows_oracle(trainer, accumulation_steps, skipped=[5], epochs=2) == moves + 12 // accumulation_steps


# The hook


def steps_of_its_own(trainer, loss):
    """Multipliers before and after the optimizer steps outside of the run."""
    before = loss.multipliers.clone()
    logits = trainer.network(torch.randn(8, 5))
    loss(logits, torch.tensor([0, 1] * 4), torch.arange(8) % 3).backward()
    trainer.optimizer.step()
    return before, loss.multipliers


def test_the_hook_is_removed_when_the_run_completes(train):
    loss = make_loss()
    trainer = train(loss, [FairALMHandler(loss)])
    trainer.run()
    assert torch.equal(*steps_of_its_own(trainer, loss))


def test_the_hook_is_removed_after_an_exception_which_is_raised_again(train):
    loss = make_loss()
    trainer = train(loss, [FairALMHandler(loss)])
    error = ZeroDivisionError("of another handler")

    def fail(_):
        raise error

    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), fail)
    with pytest.raises(ZeroDivisionError) as caught:
        trainer.run()
    assert caught.value is error
    assert len(trainer.steps) == 3
    loss.unbind()
    assert torch.equal(*steps_of_its_own(trainer, loss))


# A loss that is not finite


@pytest.mark.parametrize(("bad", "epoch"), [(1, 1), (4, 1), (5, 2), (6, 2), (8, 2)])
def test_a_nan_loss_ends_the_run_with_its_epoch_naming_epoch_and_iteration(train, items, bad, epoch):
    loss = make_loss(growth=2.0)
    trainer = train(loss, [FairALMHandler(loss)], data=items[:16], network=FailingAt(bad), epochs=3)
    with pytest.raises(RuntimeError, match=rf"NaN or infinite in epoch {epoch}, iteration {bad}\b"):
        trainer.run()
    assert trainer.state.epoch == epoch
    assert trainer.state.iteration == 4 * epoch
    frozen = trainer.steps[bad - 2].multipliers if bad > 1 else torch.zeros(2, 3)
    assert torch.equal(loss.multipliers, frozen)
    assert bool(torch.isfinite(loss.multipliers).all())


@pytest.mark.parametrize("bad", [11, 12])
def test_a_nan_in_the_last_window_ends_the_run(train, bad):
    loss = make_loss()
    trainer = train(loss, [FairALMHandler(loss)], network=FailingAt(bad), accumulation_steps=2)
    with pytest.raises(RuntimeError, match=r"epoch 1, iteration 1[12]\b"):
        trainer.run()


# The batch's site column


@pytest.mark.parametrize(
    "column",
    [
        lambda site: torch.tensor(site, dtype=torch.int32),
        lambda site: torch.tensor(site, dtype=torch.int8),
        lambda site: torch.tensor([site]),
        lambda site: np.int64(site),
        lambda site: np.array(site, dtype=np.int16),
        lambda site: MetaTensor(torch.tensor(site)),
    ],
    ids=["int32", "int8", "[B, 1]", "np.int64", "0-d array", "MetaTensor"],
)
def test_site_ids_of_any_integer_kind_work(train, items, column):
    expected, loss = make_loss(), make_loss()
    network = nn.Linear(5, 2)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    train(expected, [FairALMHandler(expected)], network=network).run()
    network.load_state_dict(state)
    data = [item | {"site": column(item["site"])} for item in items]
    train(loss, [FairALMHandler(loss)], network=network, data=data).run()
    assert torch.equal(loss.multipliers, expected.multipliers)
    assert float(loss.multipliers.abs().max()) > 0
    assert type(loss.multipliers) is torch.Tensor


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_site_ids_collated_by_numpy_work(train, items, dtype):
    def collate(batch):
        return default_collate(batch) | {"site": np.array([max(item["site"], 0) for item in batch], dtype=dtype)}

    loss = make_loss()
    trainer = train(loss, [FairALMHandler(loss)], data=DataLoader(items, batch_size=4, collate_fn=collate))
    trainer.run()
    assert assert_follows_oracle(trainer) == 12


def test_another_group_key_is_read(train, items):
    loss = make_loss()
    data = [{"scanner" if key == "site" else key: value for key, value in item.items()} for item in items]
    trainer = train(loss, [FairALMHandler(loss, group_key="scanner")], data=data, key="scanner")
    trainer.run()
    assert assert_follows_oracle(trainer) == 12


def refusal(train, items, kind, change):
    loss = make_loss()
    trainer = train(loss, [FairALMHandler(loss)], data=[change(dict(item), i) for i, item in enumerate(items)], key="-")
    with pytest.raises(kind) as caught:
        trainer.run()
    assert trainer.state.iteration == 1
    assert torch.equal(loss.multipliers, torch.zeros(2, 3))
    return str(caught.value)


def test_a_missing_site_key_is_named_with_those_found(train, items):
    def drop(item, _):
        del item["site"]
        return item

    message = refusal(train, items, KeyError, drop)
    assert '"site" is not a batch key (found: "image", "label")' in message.replace('\\"', '"')
    assert "before batching" in message


def test_a_site_that_only_the_images_meta_holds_is_refused(train, items):
    def bury(item, _):
        return {"image": MetaTensor(item["image"], meta={"site": item["site"]}), "label": item["label"]}

    assert "is not a batch key" in refusal(train, items, KeyError, bury)


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (lambda site: float(site), "float64"),
        (lambda site: torch.tensor(float(site)), "float32"),
        (lambda site: torch.tensor(site > 0), "bool"),
        (lambda site: float("nan"), "float64"),
    ],
)
def test_float_and_bool_ids_are_a_type_error(train, items, column, name):
    message = refusal(train, items, TypeError, lambda item, _: item | {"site": column(item["site"])})
    assert f"groups must be an integer tensor, got {name}" in message


def test_site_names_are_a_type_error_that_shows_one(train, items):
    message = refusal(train, items, TypeError, lambda item, _: item | {"site": "bern"})
    assert "batch[\"site\"] holds text such as 'bern'" in message
    assert "encode sites as integers 0..K-1" in message


def test_ids_out_of_range_are_refused_at_the_first_batch_with_value_and_count(train, items):
    message = refusal(train, items, ValueError, lambda item, i: item | {"site": 7})
    assert "group ids must lie in 0..2" in message
    assert "found 7 (4 samples)" in message


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ({"site": torch.tensor([[1], [2]])}, [1, 2]),
        ({"site": np.array([1, -1], dtype=np.int8)}, [1, -1]),
        ({"site": [2, 0]}, [2, 0]),
        ({"site": (torch.tensor(2), torch.tensor(0))}, [2, 0]),
        ({"site": torch.tensor([255], dtype=torch.uint8)}, [255]),
    ],
    ids=repr,
)
def test_groups_of_a_batch_are_int64_of_one_dimension(batch, expected):
    groups = groups_of(batch, "site")
    assert type(groups) is torch.Tensor
    assert (groups.dtype, groups.tolist()) == (torch.int64, expected)


def test_a_batch_that_is_no_mapping_is_named():
    with pytest.raises(KeyError, match="found: list"):
        groups_of([torch.zeros(2), torch.zeros(2)], "site")


# Wrong pairs


def test_an_engine_that_trains_with_another_loss_is_an_error(train):
    with pytest.raises(RuntimeError, match="loss_function must be the loss that was given to FairALMHandler"):
        train(nn.CrossEntropyLoss(), [FairALMHandler(make_loss())]).run()


def test_a_trainer_without_the_handler_is_told_the_two_lines(train):
    with pytest.raises(RuntimeError, match="train_handlers="):
        train(make_loss(), []).run()


def test_a_loss_of_another_kind_is_a_type_error():
    with pytest.raises(TypeError, match=r"loss must be one of fairpool\.losses, got CrossEntropyLoss"):
        FairALMHandler(nn.CrossEntropyLoss())


def test_the_handler_works_with_any_optimizer(train):
    for make in (torch.optim.AdamW, lambda parameters: torch.optim.Adam(parameters, fused=True)):
        loss, network = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 3), nn.Linear(5, 2)
        trainer = train(loss, [FairALMHandler(loss)], network=network, optimizer=make(network.parameters()))
        trainer.run()
        assert float(loss.multipliers.abs().max()) > 0


def test_an_event_that_never_occurs_in_an_epoch_ends_the_run_naming_it(train):
    loss = FairALMLoss(torch.nn.CrossEntropyLoss(), EqualOpportunity(label=7), num_groups=3)
    with pytest.raises(RuntimeError, match="epoch 1: the event 'y7' did not occur"):
        train(loss, [FairALMHandler(loss, group_key="site")], epochs=2).run()


def test_decisions_may_leave_an_event_empty(train):
    loss = FairALMLoss(torch.nn.CrossEntropyLoss(), PredictiveParity(), num_groups=3)
    network = torch.nn.Linear(5, 2)
    torch.nn.init.constant_(network.bias, 0.0)
    network.bias.data[0] = 1e4  # nobody is predicted positive
    train(loss, [FairALMHandler(loss, group_key="site")], network=network).run()
    assert bool((loss.multipliers == 0).all())


@pytest.mark.parametrize("make", [FairALMLoss, AdversarialLoss])
def test_every_loss_with_events_says_that_one_never_occurs(make, train):
    loss = make(torch.nn.CrossEntropyLoss(), EqualOpportunity(label=7), num_groups=3)
    with pytest.raises(RuntimeError, match="epoch 1: the event 'y7' did not occur"):
        train(loss, [FairALMHandler(loss, group_key="site")], epochs=2).run()


def test_an_epoch_of_a_single_site_ends_the_run_as_nothing_can_be_compared(train, items):
    for item in items:
        item["site"] = 1
    loss = FairALMLoss(torch.nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=3)
    with pytest.raises(RuntimeError, match="epoch 1: no event of the constraint has training samples of two groups"):
        train(loss, [FairALMHandler(loss, group_key="site")], data=items).run()
