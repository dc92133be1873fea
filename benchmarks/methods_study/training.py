"""One training of the study: a MONAI `SupervisedTrainer` with the two lines, on tensors in memory."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import RandomSampler, Sampler

from fairpool.data.sampler import balanced_sampler
from fairpool.metrics import confusion_by_group
from methods_study.hospitals import Images
from methods_study.registry import METHODS, Settings

__all__ = ["Recipe", "evaluate", "make_network", "run", "train"]


@dataclass(frozen=True)
class Recipe:
    """What all methods share.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step; an incomplete last batch is left out.
        block_inplanes: channels of the ResNet's four blocks.
    """

    epochs: int
    batch_size: int
    block_inplanes: tuple[int, int, int, int]


class TensorBatches:
    """Batches of MONAI's form cut straight from tensors, with random flips and shifts.

    A `DataLoader` collates sample by sample, which would take longer than the network here.
    """

    def __init__(self, data: Images, batch_size: int, sampler: Sampler[int], generator: torch.Generator) -> None:
        self.data, self.batch_size, self.sampler, self.generator = data, batch_size, sampler, generator

    def __len__(self) -> int:
        return max(1, len(self.data.labels) // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        order = torch.tensor(list(self.sampler))
        for chosen in order.split(self.batch_size)[: len(self)]:
            images = normalise(augment(self.data.images[chosen], self.generator))
            yield {"image": images, "label": self.data.labels[chosen], "site": self.data.sites[chosen]}


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip half of the images [B, H, W] and shift each by up to 5 % of its side, in whole pixels.

    Nothing is interpolated: that would smooth the grain, and the network would meet grain only in the test images.
    """
    batch, height, width = images.shape
    reach = max(1, round(0.05 * width))
    across, down = torch.randint(-reach, reach + 1, (2, batch, 1), generator=generator)
    is_flipped = torch.rand(batch, 1, generator=generator) < 0.5
    columns = torch.arange(width).expand(batch, width)
    columns = (torch.where(is_flipped, width - 1 - columns, columns) + across).clamp(0, width - 1)
    rows = (torch.arange(height) + down).clamp(0, height - 1)
    return images[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]


def normalise(images: Tensor) -> Tensor:
    """Grey values [B, H, W] as float32 [B, 1, H, W], each image with mean 0 and standard deviation 1."""
    values = images.float()[:, None]
    values -= values.mean(dim=(1, 2, 3), keepdim=True)
    return values / values.std(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)


def make_network(recipe: Recipe) -> nn.Module:
    """MONAI's ResNet with one basic block a stage, its weights channels last: on one core a step takes a third less."""
    from monai.networks.nets import ResNet

    network: nn.Module = ResNet(
        block="basic",
        layers=[1, 1, 1, 1],
        block_inplanes=list(recipe.block_inplanes),
        spatial_dims=2,
        n_input_channels=1,
        conv1_t_size=5,
        conv1_t_stride=2,
        num_classes=2,
    )
    return network.to(memory_format=torch.channels_last)


def train(method: str, settings: Settings, data: Images, counts: Tensor, recipe: Recipe, seed: int) -> nn.Module:
    """A trained network.

    Args:
        method: a name in `METHODS`.
        settings: its hyper-parameters, with ``learning_rate`` and ``weight_decay``.
        data: the training images.
        counts: training images by label and site, [2, K].
        recipe: what all methods share.
        seed: decides the initial weights, the order and the augmentation; the same for every method.
    Raises:
        RuntimeError: the loss became NaN or infinite.
    """
    from monai.engines import SupervisedTrainer
    from monai.handlers import LrScheduleHandler

    from fairpool.handlers import FairALMHandler, FiniteLossHandler, WeightAveraging

    logging.getLogger("ignite").setLevel(logging.ERROR)
    torch.manual_seed(seed)
    network = make_network(recipe)
    prepared = METHODS[method](settings, counts)
    if prepared.is_balanced:
        cells = zip(data.labels.tolist(), data.sites.tolist(), strict=True)
        sampler: Sampler[int] = balanced_sampler([{"label": label, "site": site} for label, site in cells], seed=seed)
    else:
        sampler = RandomSampler(data.labels, generator=torch.Generator().manual_seed(seed))
    batches = TensorBatches(data, recipe.batch_size, sampler, torch.Generator().manual_seed(seed + 1))
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=recipe.epochs)
    handlers = [LrScheduleHandler(schedule, print_lr=False)]
    handlers.append(FairALMHandler(prepared.loss, group_key="site") if prepared.is_bound else FiniteLossHandler())
    if prepared.averaging:
        handlers.append(WeightAveraging(network, start=1 - prepared.averaging))
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=recipe.epochs,
        train_data_loader=batches,
        network=network,
        optimizer=optimizer,
        loss_function=prepared.loss,
        train_handlers=handlers,
        decollate=False,
    ).run()
    return network


@torch.inference_mode()
def evaluate(network: nn.Module, data: Images, num_sites: int) -> Tensor:
    """Confusion counts by site, int64 [K, true, predicted]."""
    network.eval()
    decisions = torch.cat([network(normalise(batch)).argmax(dim=1) for batch in data.images.split(250)])
    return confusion_by_group(data.labels, decisions, data.sites, num_sites)


def run(
    method: str,
    settings: Settings,
    training: Images,
    held_out: Images,
    counts: Tensor,
    recipe: Recipe,
    seed: int,
) -> dict[str, object]:
    """Train, then count decisions on the held-out images.

    Returns:
        ``counts`` as in `evaluate`, or ``failed`` with the reason; ``seconds`` of processor time for the training.
    """
    start = time.process_time()
    try:
        network = train(method, settings, training, counts, recipe, seed)
    except RuntimeError as error:
        if "NaN or infinite" not in str(error):
            raise
        return {"failed": str(error), "seconds": time.process_time() - start}
    seconds = time.process_time() - start
    return {"counts": evaluate(network, held_out, counts.shape[1]).tolist(), "seconds": seconds}
