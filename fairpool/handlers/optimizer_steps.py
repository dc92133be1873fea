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
        self._has_ended = False

    def attach(self, engine: Any) -> None:
        """Register on a `SupervisedTrainer`, or on any ignite engine with an ``optimizer`` and MONAI's events."""
        from ignite.engine import Events

        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._complete_iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._complete_epoch)
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
        length = engine.state.epoch_length  # None until data without a length has ended once
        done = engine.state.iteration if length is None else (engine.state.iteration - 1) % length + 1
        is_last = done == length
        if not self._has_stepped and (is_last or done % getattr(engine, "accumulation_steps", 1) == 0):
            self.after_skipped_step(engine)
        self._has_stepped = False
        self._has_ended = is_last
        if is_last:
            self.end_epoch(engine)

    def _complete_epoch(self, engine: Any) -> None:
        if not self._has_ended:  # the epoch's length was not known
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

    def attach(self, engine: Any) -> None:
        """Register on a `SupervisedTrainer`, or on any ignite engine with an ``optimizer`` and MONAI's events."""
        from monai.engines.utils import IterationEvents

        super().attach(engine)
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._watch)

    def start(self, engine: Any) -> None:
        """Prepare for a run of the engine."""
        super().start(engine)
        self._first = torch.tensor(-1, device=engine.state.device)
        self._first_of_window = self._first

    def after_step(self, engine: Any, found_inf: Tensor | None) -> None:
        """Remember the first iteration whose loss was not finite, of a window whose step was taken."""
        is_taken = (self._first < 0) if found_inf is None else (self._first < 0) & (found_inf == 0)
        self._first = torch.where(is_taken, self._first_of_window, self._first)
        self._first_of_window = torch.full_like(self._first, -1)

    def after_skipped_step(self, engine: Any) -> None:
        """A step that the scaler skips is none."""
        self._first_of_window = torch.full_like(self._first, -1)

    def end_epoch(self, engine: Any) -> None:
        """Refuse to go on after a non-finite loss."""
        refuse_nonfinite(int(self._first), engine.state.epoch_length)

    def _watch(self, engine: Any) -> None:
        is_first = ~torch.isfinite(engine.state.output["loss"].detach()) & (self._first_of_window < 0)
        self._first_of_window = torch.where(is_first, engine.state.iteration, self._first_of_window)


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
