"""Following an engine's optimizer steps, and FiniteLossHandler for losses that have no multipliers."""

import pytest
import torch
from ignite.engine import Events
from skipped_steps import overflow_at
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from fairpool.handlers import FiniteLossHandler
from fairpool.handlers.optimizer_steps import OptimizerStepHandler, refuse_nonfinite


class Diary(OptimizerStepHandler):
    """Writes down what it is told, with the iteration."""

    def __init__(self):
        super().__init__()
        self.entries = []

    def after_step(self, engine, found_inf):
        flag = None if found_inf is None else float(found_inf)
        self.entries.append(
            ("step", engine.state.iteration) if flag is None else ("step", engine.state.iteration, flag)
        )

    def after_skipped_step(self, engine):
        self.entries.append(("skipped", engine.state.iteration))

    def end_epoch(self, engine):
        self.entries.append(("end", engine.state.iteration))


class FailingAt(nn.Linear):
    def __init__(self, *calls):
        super().__init__(5, 2)
        self.bad, self.calls = calls, 0

    def forward(self, images):
        self.calls += 1
        return super().forward(images) * (torch.nan if self.calls in self.bad else 1)


@pytest.mark.parametrize(("accumulation_steps", "steps"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (4, [4, 5]), (9, [5])])
def test_each_step_is_told_once_and_the_epochs_end_after_it(train, items, accumulation_steps, steps):
    diary = Diary()
    train(nn.CrossEntropyLoss(), [diary], data=items[:20], accumulation_steps=accumulation_steps, epochs=2).run()
    first = [("step", i) for i in steps] + [("end", 5)]
    assert diary.entries == first + [(word, i + 5) for word, i in first]


@pytest.mark.usefixtures("cpu_scaler")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("accumulation_steps", "skipped", "steps"), [(1, 3, [1, 2, 4, 5]), (2, 4, [2, 5]), (2, 5, [2, 4])]
)
def test_a_skipped_step_is_told_as_such(train, items, accumulation_steps, skipped, steps):
    diary, network = Diary(), overflow_at(nn.Linear(5, 2), skipped)
    train(
        nn.CrossEntropyLoss(),
        [diary],
        data=items[:20],
        network=network,
        amp=True,
        accumulation_steps=accumulation_steps,
    ).run()
    told = [("step", i) for i in steps] + [("skipped", skipped)]
    assert diary.entries == [*sorted(told, key=lambda entry: entry[1]), ("end", 5)]


@pytest.mark.usefixtures("cpu_scaler")
@pytest.mark.filterwarnings("ignore")
def test_a_fused_optimizer_tells_its_flag(train, items):
    diary, network = Diary(), overflow_at(nn.Linear(5, 2), 2)
    train(nn.CrossEntropyLoss(), [diary], data=items[:12], network=network, fused=True, amp=True).run()
    assert diary.entries == [("step", 1, 0.0), ("step", 2, 1.0), ("step", 3, 0.0), ("end", 3)]


def test_nothing_is_told_after_the_run(train, items):
    diary = Diary()
    trainer = train(nn.CrossEntropyLoss(), [diary], data=items[:8])
    trainer.run()
    trainer.optimizer.step()
    assert diary.entries == [("step", 1), ("step", 2), ("end", 2)]


def test_nothing_is_told_after_an_exception(train, items):
    diary = Diary()
    trainer = train(nn.CrossEntropyLoss(), [diary], data=items[:8])
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer.run()
    trainer.optimizer.step()
    assert diary.entries == [("step", 1)]


def test_two_handlers_share_an_engine(train, items):
    diaries = [Diary(), Diary()]
    train(nn.CrossEntropyLoss(), diaries, data=items[:8]).run()
    assert diaries[0].entries == diaries[1].entries == [("step", 1), ("step", 2), ("end", 2)]


# Bug found here: epoch_length is None, and the modulo raised.
def test_steps_of_data_without_a_length_are_told(train, items):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(items[:12])

    diary = Diary()
    train(nn.CrossEntropyLoss(), [diary], data=DataLoader(Stream(), batch_size=4), epochs=2).run()
    assert diary.entries == [
        *[("step", 1), ("step", 2), ("step", 3), ("end", 3)],
        *[("step", 4), ("step", 5), ("step", 6), ("end", 6)],
    ]


@pytest.mark.parametrize(("bad", "epoch"), [(1, 1), (4, 1), (5, 2), (6, 2), (8, 2)])
def test_an_unconstrained_nan_loss_ends_the_run_with_its_epoch(train, items, bad, epoch):
    trainer = train(nn.CrossEntropyLoss(), [FiniteLossHandler()], data=items[:16], network=FailingAt(bad), epochs=3)
    with pytest.raises(RuntimeError, match=rf"NaN or infinite in epoch {epoch}, iteration {bad}\b"):
        trainer.run()
    assert trainer.state.iteration == 4 * epoch


# Bug found here: only the last micro-batch of a window was looked at.
@pytest.mark.parametrize("bad", [11, 12])
def test_a_nan_anywhere_in_the_last_window_ends_the_run(train, bad):
    """The step is taken on the sum of the window's gradients: one bad micro-batch spoils it."""
    trainer = train(nn.CrossEntropyLoss(), [FiniteLossHandler()], network=FailingAt(bad), accumulation_steps=2)
    with pytest.raises(RuntimeError, match=r"epoch 1, iteration 1[12]\b"):
        trainer.run()


def test_a_finite_loss_lets_the_run_complete_also_after_a_run_that_failed(train, items):
    handler = FiniteLossHandler()
    with pytest.raises(RuntimeError, match="iteration 2"):
        train(nn.CrossEntropyLoss(), [handler], data=items[:16], network=FailingAt(2)).run()
    trainer = train(nn.CrossEntropyLoss(), [handler], data=items[:16], epochs=2)
    trainer.run()
    assert trainer.state.epoch == 2


@pytest.mark.usefixtures("cpu_scaler")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("accumulation_steps", [1, 2])
@pytest.mark.parametrize("bad", [5, 6])
def test_a_nan_loss_whose_step_the_scaler_skipped_is_none(train, bad, accumulation_steps, fused):
    trainer = train(
        nn.CrossEntropyLoss(),
        [FiniteLossHandler()],
        network=FailingAt(bad),
        amp=True,
        fused=fused,
        accumulation_steps=accumulation_steps,
    )
    trainer.run()
    assert bool(torch.isfinite(trainer.network.weight).all())


@pytest.mark.parametrize(("iteration", "epoch"), [(1, 1), (7, 1), (8, 2), (14, 2), (15, 3)])
def test_the_epoch_of_an_iteration_counts_from_one(iteration, epoch):
    with pytest.raises(RuntimeError, match=f"epoch {epoch}, iteration {iteration}"):
        refuse_nonfinite(iteration, epoch_length=7)


def test_no_iteration_is_no_refusal():
    refuse_nonfinite(-1, epoch_length=7)
