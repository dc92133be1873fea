"""How a loss that needs each sample's group is called as ``loss(pred, label)`` by an engine that knows no groups."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from fairpool.losses.first_batch import check_first_batch
from fairpool.losses.group_ids import as_group_ids, attributes_of
from fairpool.losses.surrogates import as_plain
from fairpool.processes import world_size

__all__ = [
    "GroupLoss",
    "Groups",
    "all_reduced",
    "all_reduced_at_once",
    "joined_mean",
    "no_sample_sentence",
]

Groups = Tensor | tuple[Tensor, ...]


class GroupLoss(nn.Module):
    """A loss of (logits, labels, groups) whose groups a handler may bind beforehand, for one call.

    Subclasses implement ``forward(logits, labels, groups=None)`` and what the state below does not cover.

    Args:
        num_groups: K of each protected attribute.
        takes_label_sets: whether labels (B, L) are L labels of a sample, rather than refused as one-hot.
    Raises:
        ValueError: a number of groups is below 2.

    Buffer ``nonfinite_iteration``: the first iteration whose loss was NaN or infinite in a step that was taken, or -1.
    """

    nonfinite_iteration: Tensor
    _window_loss: Tensor

    def __init__(self, num_groups: Sequence[Any], *, takes_label_sets: bool = True) -> None:
        super().__init__()
        for number in num_groups:
            if isinstance(number, bool) or not isinstance(number, Integral) or number < 2:
                raise ValueError(f"num_groups must be at least 2: fairness needs two sites to compare; got {number!r}.")
        self._group_numbers = tuple(int(number) for number in num_groups)
        self._takes_label_sets = takes_label_sets
        self._is_checked = False
        self._bound: Groups | None = None
        self.register_buffer("nonfinite_iteration", torch.tensor(-1), persistent=False)
        self.register_buffer("_window_loss", torch.zeros(()), persistent=False)

    def bind(self, groups: Groups) -> None:
        """Keep the groups (B,), a tuple of them for several attributes, for the next call, and for that call alone.

        Raises:
            RuntimeError: the last binding was never used, so the engine does not call this loss.
        """
        if self._bound is not None:
            raise RuntimeError(
                "the groups of the last batch were bound but the loss was not called: the engine's loss_function must "
                "be the loss that was given to FairALMHandler."
            )
        self._bound = groups

    def unbind(self) -> None:
        """Forget a binding that will not be used."""
        self._bound = None

    def take(self, logits: Tensor, labels: Tensor, groups: Groups | None) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Plain tensors, and the groups of each attribute: those given, or the bound ones, which are spent by this.

        The groups come in any container and integer type, see `as_group_ids`; they leave as int64 (B,), by the logits.

        Raises:
            RuntimeError: the groups are neither given nor bound.
            TypeError, ValueError: the groups are no ids, or the first batch is refused, see `check_first_batch`.
        """
        if groups is None:
            groups, self._bound = self._bound, None
        if groups is None:
            raise RuntimeError(
                "the loss does not know the sites of this batch. Add the handler, "
                'train_handlers=[FairALMHandler(loss, group_key="site")], or call loss(logits, labels, groups).'
            )
        logits, labels = as_plain(logits), as_plain(labels)
        each = tuple(
            as_group_ids(part).to(logits.device, non_blocking=True)
            for part in attributes_of(groups, len(self._group_numbers))
        )
        if len(each) != len(self._group_numbers):
            raise ValueError(
                f"the loss constrains {len(self._group_numbers)} protected attributes and got the groups of "
                f"{len(each)}: pass a tuple of one tensor an attribute, group_key a list of as many keys."
            )
        if not self._is_checked and not torch.compiler.is_compiling():
            for part, number in zip(each, self._group_numbers, strict=True):
                check_first_batch(logits, labels, part, number, multi_label=self._takes_label_sets)
            is_softmax = logits.ndim == 2 and logits.shape[1] > 1 and not (labels.ndim == 2 and labels.shape[1] > 1)
            self.check_classes(logits.shape[1] if is_softmax else 2)
            self._is_checked = True
        return logits, labels, each

    def record(self, loss: Tensor) -> Tensor:
        """Remember the value in training, so that a loss that is not finite is found without waiting; returns it.

        Of several processes each records the value of the joined batch; one that does not must reduce its window.
        """
        if self._is_recording():
            # In place, here and elsewhere: an assignment to a module's buffer costs more than the sum.
            self._window_loss.add_(loss.detach())
        return loss

    def _is_recording(self) -> bool:
        return self.training and torch.is_grad_enabled()

    def end_window(self, found_inf: Tensor | None, iteration: int, total: Tensor) -> Tensor:
        """Whether the state may move now, a boolean scalar on the device: a step was taken and all so far was finite.

        Args:
            found_inf: a fused optimizer's flag that its step moved nothing (scalar, non-zero: skipped).
            iteration: what to remember as the place of a first non-finite loss.
            total: a scalar, the same in all processes, that is finite only if each loss of the window was.
        """
        is_bad = total - total != 0  # what isfinite says, in two kernel calls rather than five
        if found_inf is not None:
            is_skipped = found_inf.to(is_bad.device) != 0
            is_bad &= ~is_skipped
        place = self.nonfinite_iteration
        place.masked_fill_(is_bad & (place < 0), iteration)
        is_moving = place < 0
        return is_moving if found_inf is None else is_moving & ~is_skipped

    @torch.no_grad()
    def update_multipliers(self, found_inf: Tensor | None = None, iteration: int = 0) -> None:
        """Move what moves once after an optimizer step; here nothing but the watch for a loss that is not finite.

        Args:
            found_inf: a fused optimizer's flag that its step moved nothing (scalar, non-zero: skipped).
            iteration: what to remember as the place of a first non-finite loss.
        """
        self.end_window(found_inf, iteration, self._window_loss)
        self.discard_window()

    def discard_window(self) -> None:
        """Forget what was gathered since the last update, because the optimizer skipped its step."""
        self._window_loss.zero_()

    def end_epoch(self) -> None:
        """Apply what changes once an epoch."""

    def epoch_problem(self) -> str:
        """A sentence if the epoch that ends showed that the constraint has no effect on these data, else nothing."""
        return ""

    def check_classes(self, num_classes: int) -> None:
        """Refuse outputs whose number of classes does not fit; called with the first batch's."""


def no_sample_sentence(events: Sequence[str]) -> str:
    """Why an epoch without a sample in these events is a mistake."""
    return (
        f"the event {', '.join(map(repr, events))} did not occur: no training sample of a known site has that label, "
        "so the constraint does nothing there. Choose another constraint, or look at the labels."
    )


def all_reduced(sums: Tensor) -> Tensor:
    """The sum over all processes of a process group, or the tensor itself in a single process."""
    if world_size() == 1:
        return sums
    joined = sums.to("cuda" if torch.distributed.get_backend() == "nccl" else sums.device, copy=True)
    torch.distributed.all_reduce(joined)
    return joined.to(sums.device)


def all_reduced_at_once(*sums: Tensor) -> tuple[Tensor, ...]:
    """`all_reduced` of several tensors of one dtype and device, in one message."""
    if world_size() == 1:
        return sums
    joined = all_reduced(torch.cat([part.flatten() for part in sums])).split([part.numel() for part in sums])
    return tuple(found.view_as(part) for found, part in zip(joined, sums, strict=True))


def joined_mean(mean: Tensor, size: int) -> Tensor:
    """A mean over this process's samples as the mean over those of all processes, whose batches may differ in size.

    Gradients are averaged over the processes, so this one's counts by its part of the samples.

    Args:
        mean: scalar.
        size: number of samples behind it.
    """
    if world_size() == 1:
        return mean
    count = mean.new_full((), float(size))
    total, samples = all_reduced_at_once(mean.detach() * count, count)
    local = world_size() * count / samples * mean
    return local + (total / samples - local).detach()
