"""A training's configuration, spread over several processes: what MONAI's bundles keep in ``multi_gpu_train.json``."""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fairpool.losses.binding import all_reduced_at_once
from fairpool.processes import is_first, local_device, rank, world_size

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["average_buffers", "distributed_network", "keep_together", "spread", "synchronized_network"]


def spread(parser: "ConfigParser") -> None:
    """Lay over a configuration that is not parsed yet what several processes need; in one process nothing changes.

    The network of the trainer is wrapped, the three loaders give each process its share, the loss is that of the joined
    batch, the device is this process's own. All other keys, and what refers to them, stay.

    Args:
        parser: with ``network``, ``train#trainer`` and ``train#dataloader``; of a pipeline's ``train.json``.
    """
    if world_size() == 1:
        return
    shares = {"train": "share_of_batches", "validate": "share_of_items", "test": "share_of_items"}
    for section, share in shares.items():
        place = f"{section}#dataloader"
        if "dataloader" not in parser.get(section, {}):
            continue
        parser[f"{section}#whole_dataloader"] = parser[place]
        parser[place] = {"_target_": f"fairpool.data.shares.{share}", "loader": f"@{section}#whole_dataloader"}
    parser["train#dataloader"] |= {"seed": "@seed"}
    parser["device"] = local_device()
    parser["network"] = {"_target_": "fairpool.spread.synchronized_network", "network": parser["network"]}
    trainer = "train#trainer"
    parser[f"{trainer}#network"] = {
        "_target_": "fairpool.spread.distributed_network",
        "network": parser[f"{trainer}#network"],
        "find_unused_parameters": parser.get("find_unused_parameters", False),
    }
    parser[f"{trainer}#loss_function"] = {
        "_target_": "fairpool.losses.joined.joined_loss",
        "loss": parser[f"{trainer}#loss_function"],
    }


def synchronized_network(network: nn.Module) -> nn.Module:
    """The network with batch norms over the joined batch on GPUs; torch has none on the CPU, so there it stays.

    The parameters stay the same objects.
    """
    if world_size() > 1 and _device_of(network).type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return network


def distributed_network(network: nn.Module, *, find_unused_parameters: bool = False) -> nn.Module:
    """The network whose gradients are averaged over the processes.

    Its buffers are not overwritten by the first process's at each step, as torch does by default: `average_buffers`
    makes them equal, so that batch norm's running statistics are of all images.

    Args:
        network: on its device.
        find_unused_parameters: of `DistributedDataParallel`.
    """
    device = _device_of(network)
    return nn.parallel.DistributedDataParallel(
        network,
        device_ids=[device] if device.type == "cuda" else None,
        broadcast_buffers=False,
        find_unused_parameters=find_unused_parameters,
    )


@torch.no_grad()
def average_buffers(network: nn.Module) -> None:
    """Replace each floating buffer by its mean over the processes; called by all of them at once.

    Of a batch norm that saw equal shares the mean is then that of the joined batches; the variance lacks the part
    between the shares.
    """
    buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    if world_size() == 1 or not buffers:
        return
    for buffer, total in zip(buffers, all_reduced_at_once(*buffers), strict=True):
        buffer.copy_(total / world_size())


def keep_together(trainer: Any, network: nn.Module, seed: int) -> None:
    """Handlers and chance of a parsed training in several processes; call it last before the training runs.

    Buffers are averaged at each epoch's end, before it is validated and saved, and after the training; a validation
    within an epoch sees each process's own batch norm, unless it is synchronised. The processes
    but the first get a chance of their own, or all would draw the same dropout.

    Args:
        trainer: a MONAI trainer.
        network: that it trains, not wrapped.
        seed: of the training.
    """
    from ignite.engine import Events
    from monai.utils import set_determinism

    if world_size() == 1:
        return

    def end_of_epoch(engine: Any) -> None:
        if engine.state.iteration % engine.state.epoch_length == 0:
            average_buffers(network)

    trainer.add_event_handler(Events.ITERATION_COMPLETED, end_of_epoch)
    trainer.add_event_handler(Events.COMPLETED, lambda _: average_buffers(network))
    if not is_first():
        set_determinism((seed + 1) * 1_000_003 + rank())


def _device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
