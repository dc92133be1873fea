"""The handler that ends a training with the mean of its last weights, by torch's own `AveragedModel`."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

from fairpool.handlers.optimizer_steps import OptimizerStepHandler
from fairpool.losses.surrogates import as_plain

__all__ = ["WeightAveraging"]


class WeightAveraging(OptimizerStepHandler):
    """Averages the weights over the last part of a training and leaves the mean in the network.

    After each optimizer step beyond ``start`` of the training the weights enter an equal running mean. When the
    training is complete, the network takes the mean, and its batch-norm statistics are computed anew by one pass over
    the training loader. Validation and checkpoints of the epochs see the weights before that; whatever is saved or
    tested after the run sees the mean. Stochastic steps of a constrained training circle around the saddle point,
    and the mean lies nearer to it than the last step.

    A run that ends before ``start`` leaves the network as it is. A resumed run goes on with the mean if
    ``averaged`` was in the checkpoint, and otherwise averages what it still sees.

    Args:
        network: the network that the engine trains.
        start: share of the training that is left out, in [0, 1); 0.75 averages the last quarter.
        image_key: batch key of the images, used where the engine has no ``prepare_batch``.
    Attributes:
        averaged: the `torch.optim.swa_utils.AveragedModel`; its ``n_averaged`` counts the steps in the mean.
    Raises:
        ValueError: ``start`` is out of range.
    Raises (from the engine's run):
        RuntimeError: the training data cannot be iterated a second time.
    Source: Izmailov et al. 2018, Averaging weights leads to wider optima and better generalization, UAI,
    arXiv:1803.05407. That the mean of the plays is the saddle point's player is theorem 3 of Lokhande et al. 2020
    for mixtures; for the weights of one network it is a heuristic.

    >>> network = nn.Linear(2, 2)
    >>> handlers = [WeightAveraging(network, start=0.75)]
    """

    def __init__(self, network: nn.Module, start: float = 0.75, *, image_key: str = "image") -> None:
        super().__init__()
        if isinstance(start, bool) or not isinstance(start, int | float) or not 0 <= start < 1:
            raise ValueError(
                f"start must be a share of the training from 0 to below 1, got {start!r}; 0.75 averages the weights "
                "over the last quarter."
            )
        self.network = network
        self.first = float(start)
        self.image_key = image_key
        self.averaged = AveragedModel(network)

    def attach(self, engine: Any) -> None:
        """Register on a `SupervisedTrainer`, or on any ignite engine with an ``optimizer`` and MONAI's events."""
        from ignite.engine import Events

        super().attach(engine)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def start(self, engine: Any) -> None:
        """Begin a new mean, or go on with the one of a checkpoint."""
        super().start(engine)
        self.averaged.to(_device_of(self.network))
        if engine.state.iteration == 0:
            self.averaged.n_averaged.zero_()  # the first update then copies the weights

    def after_step(self, engine: Any, found_inf: Tensor | None) -> None:
        """Take the weights into the mean."""
        state = engine.state
        if state.epoch_length is None:  # data without a length, in their first epoch
            is_late = state.epoch - 1 >= self.first * state.max_epochs
        else:
            is_late = state.iteration > self.first * state.max_epochs * state.epoch_length
        if is_late:
            self.averaged.update_parameters(self.network)

    def after_skipped_step(self, engine: Any) -> None:
        """A step that the scaler skipped adds nothing to the mean."""

    def end_epoch(self, engine: Any) -> None:
        """Nothing happens at an epoch's end: its validation sees the weights as they are."""

    def _finish(self, engine: Any) -> None:
        if int(self.averaged.n_averaged) == 0:
            return
        self.network.load_state_dict(self.averaged.module.state_dict())
        update_bn(self._images(engine), self.network)

    def _images(self, engine: Any) -> Iterator[Tensor]:
        """The images of the training loader, on the engine's device."""
        device, is_empty = _device_of(self.network), True
        for batch in engine.state.dataloader:
            is_empty = False
            if hasattr(engine, "prepare_batch"):
                images = engine.prepare_batch(batch, device, engine.non_blocking, **engine.to_kwargs)[0]
            else:
                images = batch[self.image_key].to(device)
            yield as_plain(images)
        if is_empty:
            raise RuntimeError(
                "the batch-norm statistics of the averaged weights need a second pass over the training data, and the "
                "loader gave no batch. Pass a loader that can be iterated again, such as a DataLoader, not an iterator."
            )


def _device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
