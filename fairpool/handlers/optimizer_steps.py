"""Follow an engine's optimizer steps: no engine event fires once per step, so the optimizer's own hook does."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

__all__ = ["FiniteLossHandler", "OptimizerStepHandler"]


class OptimizerStepHandler(ABC):
    """Calls `after_step` once per optimizer step, `after_skipped_step` where the AMP scaler skipped it.

    With gradient accumulation every event of the engine fires for each micro-batch, the optimizer's hook once a window.
    """

    def __init__(self) -> None:
        self._hook: RemovableHandle | None = None
        self._has_stepped = False

    def attach(self, engine: Any) -> None:
        """Register on a `SupervisedTrainer`, or on any ignite engine with an ``optimizer`` and MONAI's events."""
        from ignite.engine import Events

        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._complete_iteration)
        engine.add_event_handler(Events.COMPLETED, self._remove_hook)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def start(self, engine: Any) -> None:
        """Prepare for a run of the engine."""
        self._remove_hook()

        def follow(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            # A fused optimizer runs its hooks even where the scaler told it to move nothing.
            self.after_step(engine, getattr(optimizer, "found_inf", None))
            self._has_stepped = True

        self._hook = engine.optimizer.register_step_post_hook(follow)

    @abstractmethod
    def after_step(self, engine: Any, found_inf: Tensor | None) -> None:
        """An optimizer step was taken; ``found_inf`` is a fused optimizer's flag that it moved nothing."""

    @abstractmethod
    def after_skipped_step(self, engine: Any) -> None:
        """The scaler skipped the step of the window that ends here."""

    @abstractmethod
    def end_epoch(self, engine: Any) -> None:
        """The epoch's last iteration is done; the EPOCH_COMPLETED handlers of others come after this."""

    def _complete_iteration(self, engine: Any) -> None:
        done = (engine.state.iteration - 1) % engine.state.epoch_length + 1
        is_last = done == engine.state.epoch_length
        if not self._has_stepped and (is_last or done % getattr(engine, "accumulation_steps", 1) == 0):
            self.after_skipped_step(engine)
        self._has_stepped = False
        if is_last:
            self.end_epoch(engine)

    def _remove_hook(self, _: Any = None) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _fail(self, _: Any, error: BaseException) -> None:
        self._remove_hook()
        raise error  # ignite swallows an exception that has a handler


class FiniteLossHandler(OptimizerStepHandler):
    """Ends a run at the end of the epoch in which a step was taken on a NaN or infinite loss, naming the place.

    The flag stays on the device, so no step waits for it. `FairALMHandler` does this for its own loss.

    Raises (from the engine's run):
        RuntimeError: the loss was not finite; the message gives epoch and iteration.
    """

    def start(self, engine: Any) -> None:
        """Prepare for a run of the engine."""
        super().start(engine)
        self._first = torch.tensor(-1, device=engine.state.device)

    def after_step(self, engine: Any, found_inf: Tensor | None) -> None:
        """Remember the first step whose loss was not finite."""
        is_bad = ~torch.isfinite(engine.state.output["loss"].detach()) & (self._first < 0)
        if found_inf is not None:
            is_bad &= found_inf == 0
        self._first = torch.where(is_bad, engine.state.iteration, self._first)

    def after_skipped_step(self, engine: Any) -> None:
        """A step that the scaler skips is none."""

    def end_epoch(self, engine: Any) -> None:
        """Refuse to go on after a non-finite loss."""
        refuse_nonfinite(int(self._first), engine.state.epoch_length)


def refuse_nonfinite(iteration: int, epoch_length: int) -> None:
    """Raise if an iteration (from 1; -1: none) had a loss that was not finite.

    Raises:
        RuntimeError: naming epoch and iteration.
    """
    if iteration >= 0:
        epoch = (iteration - 1) // epoch_length + 1
        raise RuntimeError(
            f"the loss became NaN or infinite in epoch {epoch}, iteration {iteration}. Lower the learning rate or the "
            "penalty eta, and look for NaN in the images."
        )
