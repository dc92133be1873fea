"""How a loss that needs each sample's group is called as ``loss(pred, label)`` by an engine that knows no groups."""

import torch
from torch import Tensor, nn

__all__ = ["GroupLoss", "all_reduced", "num_processes"]


class GroupLoss(nn.Module):
    """A loss of (logits, labels, groups) whose groups a handler may bind beforehand, for one call.

    Subclasses implement ``forward(logits, labels, groups=None)``, ``update_multipliers`` and ``end_epoch``.
    """

    _bound: Tensor | None = None

    def bind(self, groups: Tensor) -> None:
        """Keep the groups (B,) for the next call, and for that call alone.

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

    def take_groups(self, groups: Tensor | None) -> Tensor:
        """The groups given, or the bound ones, which are spent by this.

        Raises:
            RuntimeError: neither exists.
        """
        if groups is None:
            groups, self._bound = self._bound, None
        if groups is None:
            raise RuntimeError(
                "the loss does not know the sites of this batch. Add the handler, "
                'train_handlers=[FairALMHandler(loss, group_key="site")], or call loss(logits, labels, groups).'
            )
        return groups

    def update_multipliers(self, found_inf: Tensor | None = None, iteration: int = 0) -> None:
        """Move the dual variables once, after an optimizer step."""
        raise NotImplementedError

    def discard_window(self) -> None:
        """Forget what was gathered since the last update, because the optimizer skipped its step."""
        raise NotImplementedError

    def end_epoch(self) -> None:
        """Apply what changes once an epoch."""
        raise NotImplementedError

    nonfinite_iteration: Tensor


def num_processes() -> int:
    """Number of processes that train together."""
    is_distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if is_distributed else 1


def all_reduced(sums: Tensor) -> Tensor:
    """The sum over all processes of a process group, or the tensor itself in a single process."""
    if num_processes() == 1:
        return sums
    joined = sums.to("cuda" if torch.distributed.get_backend() == "nccl" else sums.device, copy=True)
    torch.distributed.all_reduce(joined)
    return joined.to(sums.device)
