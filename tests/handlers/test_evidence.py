"""What an epoch sends to MLflow, read back from a real store."""

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from monai.handlers import ValidationHandler

from fairpool import EqualizedOdds, FairALMHandler, FairALMLoss
from fairpool.handlers import EvidenceLogger, SiteReport
from fairpool.handlers.evidence import multiplier_metrics

SLUGS = ("basel", "bern", "geneve")


def make_loss():
    return FairALMLoss(torch.nn.CrossEntropyLoss(), EqualizedOdds(), num_groups=3, eta=0.1, growth=2.0)


@pytest.fixture
def run_id(store):
    return store.client.create_run(store.experiment_id).info.run_id


@pytest.fixture
def history(store, run_id):
    return lambda name: {point.step: point.value for point in store.client.get_metric_history(run_id, name)}


def validated(items, network, *, interval=1):
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=torch.utils.data.DataLoader(items, batch_size=16),
        network=network,
        val_handlers=[SiteReport(SLUGS)],
        decollate=False,
    )
    return evaluator, ValidationHandler(validator=evaluator, interval=interval, epoch_level=True)


def test_every_epoch_has_loss_multipliers_and_validation(store, run_id, history, items, train):
    loss, network = make_loss(), torch.nn.Linear(5, 2)
    evaluator, validation = validated(items, network)
    logger = EvidenceLogger(store.client, run_id, evaluator, loss, SLUGS)
    trainer = train(loss, [FairALMHandler(loss), validation, logger], network=network, epochs=3)
    seen = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: seen.append(dict(evaluator.state.metrics)))
    trainer.run()
    for epoch in (1, 2, 3):
        steps = trainer.steps[12 * (epoch - 1) : 12 * epoch]
        assert history("train/loss")[epoch] == pytest.approx(sum(step.loss for step in steps) / 12, rel=1e-5)
        for row, event in enumerate(("y0", "y1")):
            for column, slug in enumerate(SLUGS):
                expected = float(steps[-1].multipliers[row, column])
                assert history(f"multiplier/{event}/{slug}")[epoch] == pytest.approx(expected)
        for name, value in seen[epoch - 1].items():
            assert history(f"val/{name}")[epoch] == pytest.approx(value)
    assert {"error", "deo", "error/bern", "fpr/geneve"} <= seen[0].keys()
    assert history("eta") == pytest.approx({1: 0.2, 2: 0.4, 3: 0.8})


def test_an_epoch_without_validation_repeats_no_old_figure(store, run_id, history, items, train):
    loss, network = make_loss(), torch.nn.Linear(5, 2)
    evaluator, validation = validated(items, network, interval=2)
    logger = EvidenceLogger(store.client, run_id, evaluator, loss, SLUGS)
    train(loss, [FairALMHandler(loss), validation, logger], network=network, epochs=5).run()
    assert list(history("val/error")) == [2, 4]
    assert list(history("train/loss")) == [1, 2, 3, 4, 5]


def test_without_a_constrained_loss_there_are_no_multipliers(store, run_id, items, train):
    network = torch.nn.Linear(5, 2)
    evaluator, validation = validated(items, network)
    logger = EvidenceLogger(store.client, run_id, evaluator)
    train(torch.nn.CrossEntropyLoss(), [validation, logger], network=network).run()
    metrics = store.client.get_run(run_id).data.metrics
    assert {"train/loss", "val/error"} <= metrics.keys()
    assert not any(name.startswith(("multiplier", "eta")) for name in metrics)


def test_names_of_other_sites_than_the_losss_are_an_error():
    with pytest.raises(ValueError, match="zip"):
        multiplier_metrics(make_loss(), SLUGS[:2])
