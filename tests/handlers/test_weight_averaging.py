"""WeightAveraging in real MONAI trainers, against the mean of the weights that the trainer itself wrote down."""

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.handlers import CheckpointLoader, CheckpointSaver, ValidationHandler
from skipped_steps import overflow_at
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from fairpool.handlers import WeightAveraging


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(5, 2), nn.BatchNorm1d(2)
        self.weight = self.linear.weight  # what the trainer of the tests writes down

    def forward(self, images):
        return self.norm(self.linear(images))


def slow_mean(tensors):
    total = torch.zeros_like(tensors[0], dtype=torch.float64)
    for tensor in tensors:
        total += tensor
    return (total / len(tensors)).float()


# 12 batches an epoch, 2 epochs: steps 1..24.
@pytest.mark.parametrize(("start", "first"), [(0, 1), (0.5, 13), (0.75, 19), (0.99, 24)])
def test_the_network_ends_with_the_mean_of_the_last_steps_weights(train, start, first):
    network = nn.Linear(5, 2)
    handler = WeightAveraging(network, start=start)
    trainer = train(nn.CrossEntropyLoss(), [handler], network=network, epochs=2)
    trainer.run()
    weights = [step.weights for step in trainer.steps][first - 1 :]
    torch.testing.assert_close(network.weight.detach(), slow_mean(weights))
    assert int(handler.averaged.n_averaged) == len(weights)


def test_training_itself_is_not_changed(train):
    recorded = []
    for use in (False, True):
        torch.manual_seed(1)
        network = nn.Linear(5, 2)
        trainer = train(nn.CrossEntropyLoss(), [WeightAveraging(network)] if use else [], network=network, epochs=2)
        trainer.run()
        recorded.append(torch.stack([step.weights for step in trainer.steps]))
    assert torch.equal(*recorded)


def test_batch_norm_statistics_are_those_of_the_averaged_weights_on_the_training_images(train, items):
    network = Normed()
    train(nn.CrossEntropyLoss(), [WeightAveraging(network)], network=network, epochs=2).run()
    images = torch.stack([item["image"] for item in items])
    hidden = [network.linear(batch).detach() for batch in images.split(4)]
    torch.testing.assert_close(network.norm.running_mean, slow_mean([batch.mean(dim=0) for batch in hidden]))
    torch.testing.assert_close(network.norm.running_var, slow_mean([batch.var(dim=0) for batch in hidden]))
    assert network.norm.momentum == 0.1
    assert network.training


def test_the_last_validation_and_checkpoint_see_the_weights_before_and_the_network_afterwards_the_mean(
    train, items, tmp_path
):
    network, seen = nn.Linear(5, 2), []
    evaluator = SupervisedEvaluator(device="cpu", val_data_loader=DataLoader(items, batch_size=48), network=network)
    evaluator.add_event_handler(Events.COMPLETED, lambda _: seen.append(network.weight.detach().clone()))
    saver = CheckpointSaver(str(tmp_path), {"network": network}, save_interval=1, n_saved=1)
    # First in the list: the order of the handlers must not matter.
    handlers = [WeightAveraging(network, start=0.5), ValidationHandler(1, evaluator), saver]
    trainer = train(nn.CrossEntropyLoss(), handlers, network=network, epochs=2)
    trainer.run()
    last = trainer.steps[-1].weights
    assert torch.equal(seen[-1], last)
    saved = torch.load(next(tmp_path.glob("*.pt")), weights_only=True)
    saved = saved.get("network", saved)
    assert torch.equal(saved["weight"], last)
    assert not torch.allclose(network.weight, last)


@pytest.mark.parametrize("accumulation_steps", [2, 5])
def test_micro_batches_of_one_step_count_once(train, accumulation_steps):
    network = nn.Linear(5, 2)
    handler = WeightAveraging(network, start=0)
    trainer = train(nn.CrossEntropyLoss(), [handler], network=network, accumulation_steps=accumulation_steps)
    trainer.run()
    after_steps = [i for i in range(1, 13) if i % accumulation_steps == 0 or i == 12]
    weights = [trainer.steps[i - 1].weights for i in after_steps]
    torch.testing.assert_close(network.weight.detach(), slow_mean(weights))


@pytest.mark.usefixtures("cpu_scaler")
@pytest.mark.filterwarnings("ignore")
def test_a_skipped_step_does_not_enter_the_mean(train):
    network = overflow_at(nn.Linear(5, 2), 8)
    handler = WeightAveraging(network, start=0.5)
    trainer = train(nn.CrossEntropyLoss(), [handler], network=network, amp=True)
    trainer.run()
    assert torch.equal(trainer.steps[6].weights, trainer.steps[7].weights)
    weights = [step.weights for i, step in enumerate(trainer.steps, 1) if i > 6 and i != 8]
    torch.testing.assert_close(network.weight.detach(), slow_mean(weights))


def test_a_second_run_of_the_trainer_begins_a_new_mean(train):
    network = nn.Linear(5, 2)
    handler = WeightAveraging(network, start=0.5)
    trainer = train(nn.CrossEntropyLoss(), [handler], network=network)
    trainer.run()
    trainer.state.epoch = trainer.state.iteration = 0
    trainer.run()
    torch.testing.assert_close(network.weight.detach(), slow_mean([step.weights for step in trainer.steps[-6:]]))


def test_a_resumed_run_goes_on_with_the_mean_of_the_checkpoint(train, tmp_path):
    def make(load, epochs):
        torch.manual_seed(2)
        network = nn.Linear(5, 2)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
        handler = WeightAveraging(network, start=0.25)
        trainer = train(nn.CrossEntropyLoss(), [handler], network=network, optimizer=optimizer, epochs=4)
        parts = {"trainer": trainer, "network": network, "optimizer": optimizer, "averaged": handler.averaged}
        if load:
            CheckpointLoader(str(load), parts).attach(trainer)
        else:
            CheckpointSaver(str(tmp_path), parts, save_interval=1, n_saved=None).attach(trainer)
        trainer.run()
        return network, handler

    whole, _ = make(None, 4)
    resumed, handler = make(next(tmp_path.glob("*epoch=2.pt")), 4)
    assert int(handler.averaged.n_averaged) == 36
    torch.testing.assert_close(resumed.weight, whole.weight)


def test_a_run_that_ends_before_the_start_leaves_the_network_as_it_is(train):
    network = nn.Linear(5, 2)
    trainer = train(nn.CrossEntropyLoss(), [WeightAveraging(network, start=0.75)], network=network)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=5), lambda engine: engine.terminate())
    trainer.run()
    assert torch.equal(network.weight.detach(), trainer.steps[-1].weights)


def test_data_without_a_length_are_averaged_from_the_epoch_of_the_start(train, items):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(items[:12])

    network = nn.Linear(5, 2)
    handler = WeightAveraging(network, start=0.5)
    trainer = train(
        nn.CrossEntropyLoss(), [handler], data=DataLoader(Stream(), batch_size=4), network=network, epochs=2
    )
    trainer.run()
    torch.testing.assert_close(network.weight.detach(), slow_mean([step.weights for step in trainer.steps[3:]]))


def test_an_engine_without_monais_batches_is_served_by_the_image_key(items):
    network = Normed()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    weights = []

    def step(_, batch):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(batch["scan"]), batch["label"]).backward()
        optimizer.step()
        weights.append(network.weight.detach().clone())

    engine = Engine(step)
    engine.optimizer = optimizer
    WeightAveraging(network, start=0.5, image_key="scan").attach(engine)
    data = [{"scan": item["image"], "label": item["label"]} for item in items]
    engine.run(DataLoader(data, batch_size=4), max_epochs=1)
    torch.testing.assert_close(network.weight.detach(), slow_mean(weights[6:]))


def test_data_that_cannot_be_read_twice_are_refused_where_batch_norm_needs_it(items):
    network = Normed()
    engine = Engine(lambda *_: engine.optimizer.step())
    engine.optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    WeightAveraging(network, start=0).attach(engine)
    with pytest.raises(RuntimeError, match="second pass over the training data, and the loader gave no batch"):
        engine.run(iter(DataLoader(items, batch_size=4)), max_epochs=1, epoch_length=12)


@pytest.mark.parametrize("start", [1, -0.1, 1.5, float("nan"), True, "late"])
def test_a_start_outside_the_training_is_refused(start):
    with pytest.raises(ValueError, match="start must be a share of the training from 0 to below 1, got"):
        WeightAveraging(nn.Linear(1, 1), start=start)


def test_the_pipelines_option_averages_the_share_it_names_and_is_off_unless_asked_for(tmp_path):
    from fairpool.bundle import find_bundle
    from fairpool.data import synthesize_tuberculosis

    synthesize_tuberculosis(
        tmp_path / "tree", images_per_site={"montgomery": 30, "shenzhen": 30}, size=64, confounding=0.3, num_workers=1
    )
    tiny = {"dataset_dir": str(tmp_path / "tree"), "output_dir": str(tmp_path / "out"), "cache_dir": str(tmp_path)}
    tiny |= {"image_size": 32, "block_inplanes": [4, 8, 8, 8], "batch_size": 8, "epochs": 2}
    averaged = []
    for share in (0.0, 0.5):
        build = find_bundle("tuberculosis").build
        workflow = build("fairalm", (), {**tiny, "weight_averaging": share}, "equal_opportunity")
        workflow.run()
        parsed = workflow.parser.get_parsed_content
        handlers = [handler for handler in parsed("train#handlers") if isinstance(handler, WeightAveraging)]
        averaged.append([int(handler.averaged.n_averaged) for handler in handlers])
        steps = parsed("train#trainer").state.iteration
    assert averaged == [[], [steps // 2]]
