"""The weights of the best validation are kept, and no disk ends a training."""

import torch
from ignite.engine import Engine

from fairpool.handlers import BestModel


def validate(handler, epochs):
    """Validations of an evaluator that finds some epochs to be the best so far."""
    evaluator = Engine(lambda *_: None)

    def find(engine):
        engine.state.best_metric_epoch = max((epoch for epoch in epochs if epoch <= engine.state.epoch), default=-1)

    from ignite.engine import Events

    evaluator.add_event_handler(Events.COMPLETED, find)
    handler.attach(evaluator)
    return evaluator


def validated(evaluator, epoch):
    evaluator.state.epoch = epoch - 1
    evaluator.run([0], max_epochs=epoch)


def test_the_weights_of_the_best_validation_are_kept(tmp_path):
    network = torch.nn.Linear(2, 1)
    evaluator = validate(BestModel(tmp_path / "models" / "best.pt", network), {1, 2})
    for epoch in (1, 2, 3):
        torch.nn.init.constant_(network.weight, epoch)
        validated(evaluator, epoch)
    kept = torch.load(tmp_path / "models" / "best.pt", weights_only=True)
    assert float(kept["weight"][0, 0]) == 2


def test_what_could_not_be_written_is_told_and_written_after_the_next_validation(tmp_path):
    """A file in the place of the folder stands for a full disk."""
    (tmp_path / "models").write_text("")
    network, notes = torch.nn.Linear(2, 1), []
    evaluator = validate(BestModel(tmp_path / "models" / "best.pt", network, notes.append), {1})
    torch.nn.init.constant_(network.weight, 1)
    validated(evaluator, 1)
    assert notes == ["the best weights could not be written (File exists); the training goes on."]
    (tmp_path / "models").unlink()
    torch.nn.init.constant_(network.weight, 2)
    validated(evaluator, 2)
    assert float(torch.load(tmp_path / "models" / "best.pt", weights_only=True)["weight"][0, 0]) == 1
    assert len(notes) == 1
