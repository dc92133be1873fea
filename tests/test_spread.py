"""A training's configuration over several processes."""

import multiprocessing
import os

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from fairpool import spread as spread_module
from fairpool.spread import average_buffers, distributed_network, keep_together, spread, synchronized_network


def config():
    return {
        "seed": 4,
        "device": "cpu",
        "network_def": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 2},
        "network": "$@network_def.to(@device)",
        "loss": {"_target_": "torch.nn.CrossEntropyLoss"},
        "train": {
            "dataloader": {"_target_": "monai.data.DataLoader", "dataset": "$list(range(6))", "batch_size": 2},
            "trainer": {"_target_": "builtins.dict", "network": "@network", "loss_function": "@loss"},
        },
        "validate": {
            "dataloader": {"_target_": "monai.data.DataLoader", "dataset": "$list(range(6))", "batch_size": 2}
        },
    }


def in_process(rank, folder, number, task):
    store = torch.distributed.FileStore(os.path.join(folder, "store"), number)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=number)
    torch.save(task(rank), os.path.join(folder, f"{rank}.pt"))
    torch.distributed.barrier()
    os._exit(0)  # gloo's threads may abort an interpreter that shuts down


def run_in(folder, task, number=2):
    """What the task returns in each of several forked processes."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=in_process, args=(rank, str(folder), number, task)) for rank in range(number)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
        process.kill()
    del os.environ["GLOO_SOCKET_IFNAME"]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(number)]


def test_in_one_process_nothing_changes():
    parser = ConfigParser(config())
    spread(parser)
    assert parser.get() == config()
    network = nn.BatchNorm1d(2)
    assert synchronized_network(network) is network


def parse(rank):
    parser = ConfigParser(config())
    spread(parser)
    trainer = parser.get_parsed_content("train#trainer")
    return {
        "wrapped": isinstance(trainer["network"], nn.parallel.DistributedDataParallel),
        "same": trainer["network"].module is parser.get_parsed_content("network"),
        "loss": type(trainer["loss_function"]).__name__,
        "train": [batch.tolist() for batch in parser.get_parsed_content("train#dataloader")],
        "validate": [batch.tolist() for batch in parser.get_parsed_content("validate#dataloader")],
        "test": "test" in parser,
    }


def test_the_trainer_gets_its_share_and_all_other_keys_stay(tmp_path):
    first, second = run_in(tmp_path, parse)
    common = {"wrapped": True, "same": True, "loss": "JoinedLoss", "test": False}
    assert first == common | {"train": [[0], [2], [4]], "validate": [[0], [2], [4]]}
    assert second == common | {"train": [[1], [3], [5]], "validate": [[1], [3], [5]]}


def batch_norm_of(rank):
    norm = nn.BatchNorm1d(2)
    images = torch.arange(16.0).view(8, 2)
    norm(images[rank::2])
    average_buffers(norm)
    return norm.state_dict()


def test_the_running_mean_is_that_of_the_joined_batch_and_alike_in_all(tmp_path):
    first, second = run_in(tmp_path, batch_norm_of)
    joined = nn.BatchNorm1d(2)
    joined(torch.arange(16.0).view(8, 2))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=0, rtol=0)
    torch.testing.assert_close(first["running_mean"], joined.running_mean)
    assert int(first["num_batches_tracked"]) == 1


def step_of(rank):
    """A training step whose batch norm sees other images in each process; are the buffers left alone?"""
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    model = distributed_network(network)
    images = torch.arange(16.0).view(8, 2).square()[rank::2]
    for _ in range(2):
        model(images).sum().backward()
    return {"mean": network[1].running_mean, "gradient": network[0].weight.grad}


def test_gradients_are_averaged_and_buffers_are_not_overwritten_within_an_epoch(tmp_path):
    first, second = run_in(tmp_path, step_of)
    assert torch.equal(first["gradient"], second["gradient"])
    assert not torch.equal(first["mean"], second["mean"])


def trained(rank):
    """What a training leaves: buffers at an epoch's end and at its own, and what the process draws in it."""
    from ignite.engine import Engine, Events

    torch.manual_seed(0)
    network = nn.BatchNorm1d(2)
    seen = {"drawn": []}

    def step(engine, batch):
        seen["drawn"].append(torch.rand(1))
        network(batch)

    trainer = Engine(step)
    keep_together(trainer, network, seed=0)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: seen.setdefault("epoch", network.running_mean.clone()))

    def spoil(_):
        network.running_mean.fill_(rank)

    trainer.add_event_handler(Events.EPOCH_COMPLETED, spoil)  # as an average's own statistics would, later
    trainer.run([torch.arange(8.0).view(4, 2) + 10 * rank], max_epochs=1)
    return seen | {"end": network.running_mean}


def test_processes_end_each_epoch_and_the_training_alike_and_draw_apart(tmp_path):
    first, second = run_in(tmp_path, trained)
    assert torch.equal(first["epoch"], second["epoch"])
    assert first["end"].tolist() == second["end"].tolist() == [0.5, 0.5]
    assert not torch.equal(first["drawn"][0], second["drawn"][0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch has synchronised batch norm on GPUs alone")
def test_batch_norms_of_a_gpu_are_synchronised(monkeypatch):
    monkeypatch.setattr(spread_module, "world_size", lambda: 2)
    network = synchronized_network(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).cuda())
    assert isinstance(network[1], nn.SyncBatchNorm)
