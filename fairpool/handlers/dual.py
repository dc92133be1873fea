"""The handler that makes a constrained loss work in an engine that knows nothing of groups."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from fairpool.handlers.optimizer_steps import OptimizerStepHandler, refuse_nonfinite
from fairpool.losses.binding import GroupLoss
from fairpool.losses.group_ids import as_group_ids

__all__ = ["FairALMHandler", "groups_of"]


class FairALMHandler(OptimizerStepHandler):
    """Gives the loss each batch's groups and moves its multipliers once per optimizer step.

    Binds ``engine.state.batch[group_key]`` before the engine calls ``loss(pred, label)``. The multipliers follow the
    optimizer itself, through its step hook, so gradient accumulation, a step that the AMP scaler skips and a fused
    optimizer that moved nothing are counted as what they are. Ends the run at an epoch's end when the loss was not
    finite, naming the first place, or when an event of the constraint had no sample.

    Args:
        loss: the engine's loss function, one of `fairpool.losses`.
        group_key: batch key of the group ids, integers 0..K-1 with -1 for unknown; for several protected attributes
            a list of keys, in the order of the loss's constraints.
    Raises:
        TypeError: ``loss`` is not one of `fairpool.losses`.

    >>> import torch
    >>> from fairpool import EqualOpportunity, FairALMLoss
    >>> loss = FairALMLoss(torch.nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=2)
    >>> handlers = [FairALMHandler(loss, group_key="site")]
    """

    def __init__(self, loss: GroupLoss, group_key: str | Sequence[str] = "site") -> None:
        super().__init__()
        if not isinstance(loss, GroupLoss):
            raise TypeError(f"loss must be one of fairpool.losses, got {type(loss).__name__}.")
        self.loss = loss
        self._has_updated = False
        self.group_keys = (group_key,) if isinstance(group_key, str) else tuple(group_key)

    def attach(self, engine: Any) -> None:
        """Register on a `SupervisedTrainer`, or on any ignite engine with an ``optimizer`` and MONAI's events."""
        from monai.engines.utils import IterationEvents

        super().attach(engine)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._bind)

    def start(self, engine: Any) -> None:
        """Move the loss to the engine's device and forget what an earlier run left behind."""
        super().start(engine)
        self.loss.unbind()
        self.loss.discard_window()
        self.loss.nonfinite_iteration.fill_(-1)
        self.loss.to(engine.state.device)

    def after_step(self, engine: Any, found_inf: Tensor | None) -> None:
        """Move the multipliers."""
        self._has_updated = True
        self.loss.update_multipliers(found_inf, engine.state.iteration)

    def after_skipped_step(self, engine: Any) -> None:
        """Drop the rates of a window whose step was not taken."""
        self.loss.discard_window()

    def end_epoch(self, engine: Any) -> None:
        """Refuse to go on after a non-finite loss, or with an event that never occurs; grow the penalty."""
        refuse_nonfinite(int(self.loss.nonfinite_iteration), engine.state.epoch_length)
        problem = self.loss.epoch_problem() if self._has_updated else ""  # the scaler may have skipped a whole epoch
        self._has_updated = False
        if problem:
            raise RuntimeError(f"epoch {engine.state.epoch}: {problem}")
        self.loss.end_epoch()

    def _bind(self, engine: Any) -> None:
        logits = engine.state.output["pred"]
        groups = (groups_of(engine.state.batch, key) for key in self.group_keys)
        self.loss.bind(tuple(part.to(logits.device, non_blocking=True) for part in groups))


def groups_of(batch: Any, group_key: str) -> Tensor:
    """Group ids of a collated batch, int64 (B,), whatever container collation made of them.

    Raises:
        KeyError: the batch has no such key.
        TypeError, ValueError: the values are not one integer a sample, see `as_group_ids`.
    """
    if not isinstance(batch, Mapping) or group_key not in batch:
        keys = ", ".join(f'"{key}"' for key in batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise KeyError(
            f'"{group_key}" is not a batch key (found: {keys}). Put the encoded site of every sample into the dataset '
            "before batching; a key that the first sample lacks, or that only a MetaTensor's meta holds, is lost there."
        )
    return as_group_ids(batch[group_key], f'batch["{group_key}"]')
