"""A training that was cut off and one that was not end with the same bits."""

import random
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler
from monai.transforms import Compose, RandAffined, RandGaussianNoised, RandLambdad
from monai.utils import set_determinism

from fairpool import EqualOpportunity, FairALMHandler, FairALMLoss
from fairpool.handlers import SiteReport, WeightAveraging
from fairpool.handlers.best_model import BestModel
from fairpool.handlers.resume import ExactResume
from fairpool.losses import AdversarialLoss


class PowerCutError(Exception):
    pass


def noise_from_everywhere(image):
    return image + 0.01 * (random.random() + np.random.rand() + torch.rand(()))


def make_training(
    folder, *, epochs=6, workers=0, loss="fairalm", averaging=0.0, resume=True, n_saved=2, batch=5, drop_last=False
):
    """A trainer of everything that has a state: dropout, batch norm, random transforms, scheduler, growth."""
    set_determinism(0)
    chance = torch.Generator().manual_seed(1)
    data = [{"image": torch.randn(1, 8, 8, generator=chance), "label": i % 2, "site": (i // 2) % 3} for i in range(26)]
    transform = Compose(
        [
            RandAffined("image", prob=0.5, rotate_range=0.3, padding_mode="border"),
            RandGaussianNoised("image", prob=0.5),
            RandLambdad("image", noise_from_everywhere, prob=0.7),
        ]
    )
    loader = DataLoader(
        CacheDataset(data, transform, progress=False, num_workers=1),
        batch_size=batch,
        drop_last=drop_last,
        shuffle=True,
        num_workers=workers,
        generator=torch.Generator().manual_seed(3),
    )
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.Flatten(),
        torch.nn.Dropout(),
        torch.nn.Linear(144, 2),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    if loss == "fairalm":
        loss = FairALMLoss(torch.nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=3, eta=0.3, growth=1.1)
    else:
        loss = AdversarialLoss(torch.nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=3)
    report = SiteReport(["a", "b", "c"])
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(data, batch_size=8),
        network=network,
        key_val_metric={"balanced_error": report},
        metric_cmp_fn=lambda current, best: current < best,
        val_handlers=[BestModel(folder / "best.pt", network)],
        decollate=False,
    )
    averager = WeightAveraging(network, start=1 - averaging) if averaging else None
    objects = {"network": network, "optimizer": optimizer, "scheduler": scheduler, "loss": loss}
    objects["averaged"] = averager and averager.averaged
    notes = []
    handler = ExactResume(
        folder, objects, loader=loader, evaluator=evaluator, resume=resume, n_saved=n_saved, note=notes.append
    )
    handlers = [
        *([averager] if averager else []),
        handler,
        FairALMHandler(loss),
        LrScheduleHandler(scheduler, print_lr=False),
        ValidationHandler(1, evaluator),
    ]
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=loss,
        train_handlers=handlers,
        decollate=False,
    )
    history = []
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: history.append((engine.state.epoch, dict(evaluator.state.metrics)))
    )
    return SimpleNamespace(
        trainer=trainer,
        network=network,
        loss=loss,
        history=history,
        evaluator=evaluator,
        notes=notes,
        optimizer=optimizer,
        handler=handler,
    )


def run(training, *, cut_after=None):
    """Train; an exception at an iteration within an epoch stands for a process that ends there."""
    if cut_after is not None:

        def cut(engine):
            if engine.state.iteration > cut_after:
                raise PowerCutError

        training.trainer.add_event_handler(Events.ITERATION_COMPLETED, cut)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        if cut_after is None:
            training.trainer.run()
        else:
            with pytest.raises(PowerCutError):
                training.trainer.run()
    return training


def same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        other_value = other[name]
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other_value), name
        elif isinstance(value, dict):
            same(value, other_value)
        else:
            assert value == other_value, name


def check_equal(cut, whole):
    same(cut.network.state_dict(), whole.network.state_dict())
    same(cut.loss.state_dict(), whole.loss.state_dict())
    same(dict(cut.loss.named_buffers()), dict(whole.loss.named_buffers()))
    assert cut.history == [point for point in whole.history if point[0] >= cut.history[0][0]]
    best = ("best_metric", "best_metric_epoch")
    assert [getattr(cut.evaluator.state, name) for name in best] == [
        getattr(whole.evaluator.state, name) for name in best
    ]


@pytest.mark.parametrize("loss", ["fairalm", "adversarial"])
@pytest.mark.parametrize("cut_after", [3, 6, 17, 29, 35])
def test_weights_multipliers_and_metrics_are_bit_identical(tmp_path, loss, cut_after):
    """Six iterations an epoch: the cuts are in the first epoch, at a beginning, in the middle, and in the last one."""
    whole = run(make_training(tmp_path / "whole", loss=loss))
    run(make_training(tmp_path / "cut", loss=loss), cut_after=cut_after)
    cut = run(make_training(tmp_path / "cut", loss=loss))
    assert cut.history[0][0] == cut_after // 6 + 1  # no more than the epoch that was cut off is done again
    check_equal(cut, whole)
    best = [torch.load(tmp_path / name / "best.pt", weights_only=True) for name in ("whole", "cut")]
    same(*best)


def test_worker_processes_see_the_same_random_transforms(tmp_path):
    whole = run(make_training(tmp_path / "whole", workers=2, epochs=3))
    run(make_training(tmp_path / "cut", workers=2, epochs=3), cut_after=8)
    check_equal(run(make_training(tmp_path / "cut", workers=2, epochs=3)), whole)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("batch", "drop_last"), [(5, True), (13, False), (13, True)])
def test_batches_are_the_same_where_an_epoch_ends_before_its_iterator(tmp_path, batch, drop_last, workers):
    """A random sampler draws once more when it is asked for what it does not have."""
    settings = {"batch": batch, "drop_last": drop_last, "workers": workers, "epochs": 4}
    whole = run(make_training(tmp_path / "whole", **settings))
    run(make_training(tmp_path / "cut", **settings), cut_after=2 * (26 // batch))
    check_equal(run(make_training(tmp_path / "cut", **settings)), whole)


def test_averaged_weights_go_on(tmp_path):
    whole = run(make_training(tmp_path / "whole", averaging=0.7))
    run(make_training(tmp_path / "cut", averaging=0.7), cut_after=26)
    check_equal(run(make_training(tmp_path / "cut", averaging=0.7)), whole)


def test_a_training_cut_after_its_last_epoch_only_ends(tmp_path):
    whole = run(make_training(tmp_path, averaging=0.5))
    again = run(make_training(tmp_path, averaging=0.5))
    assert again.history == []
    same(again.network.state_dict(), whole.network.state_dict())
    assert again.handler.seconds == whole.handler.seconds > 0


def test_a_damaged_newest_state_is_told_and_the_one_before_taken(tmp_path):
    whole = run(make_training(tmp_path / "whole"))
    run(make_training(tmp_path / "cut"), cut_after=20)
    newest = max((tmp_path / "cut").glob("state-*.pt"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    cut = run(make_training(tmp_path / "cut"))
    assert len(cut.notes) == 1
    assert "is damaged; the training goes on after epoch 2" in cut.notes[0]
    check_equal(cut, whole)


def test_without_a_whole_state_the_training_begins_anew(tmp_path):
    run(make_training(tmp_path), cut_after=20)
    for file in tmp_path.glob("state-*.pt"):
        file.write_bytes(b"")
    cut = run(make_training(tmp_path), cut_after=20)
    assert "begins anew" in cut.notes[0]
    assert cut.history[0][0] == 1
    again = run(make_training(tmp_path))  # the damaged ones, of later epochs, took no place of the new ones
    assert again.notes == ["the training goes on after epoch 3 of 6."]


def test_states_of_an_earlier_training_are_left_where_nothing_is_to_be_resumed(tmp_path):
    run(make_training(tmp_path), cut_after=20)
    anew = run(make_training(tmp_path, resume=False))
    assert anew.history[0][0] == 1


@pytest.mark.parametrize("n_saved", [1, 3])
def test_the_last_states_are_kept(tmp_path, n_saved):
    run(make_training(tmp_path, n_saved=n_saved))
    epochs = sorted(int(file.name.split("-")[1]) for file in tmp_path.glob("state-*.pt"))
    assert epochs == list(range(7 - n_saved, 7))
    assert not list(tmp_path.glob("*.part"))


def test_a_state_of_another_configuration_is_refused(tmp_path):
    run(make_training(tmp_path), cut_after=20)
    with pytest.raises(RuntimeError, match="another configuration: it has network, optimizer, scheduler, loss"):
        run(make_training(tmp_path, averaging=0.5))


def test_what_could_not_be_read_back_is_named_at_the_first_state(tmp_path):
    training = make_training(tmp_path)
    training.handler.objects["sampler"] = SimpleNamespace(state_dict=lambda: {"seen": np.float64(3)})
    with pytest.raises(TypeError, match='the state_dict of "sampler" holds more than tensors'):
        training.trainer.run()
