"""Baseline of Table 1: the squared gap as a penalty, without a multiplier."""

from collections.abc import Sequence

from torch import nn

from fairpool.constraints import Constraint
from fairpool.losses.fairalm import FairALMLoss

__all__ = ["L2PenaltyLoss"]


class L2PenaltyLoss(FairALMLoss):
    """Base loss plus ``eta / 2 * gap^2``: FairALM's quadratic form whose multipliers stay 0.

    Fails where the penalty must be exact: at any finite ``eta`` the gap stops short of 0, because the pull vanishes
    with the gap; a large ``eta`` makes the problem ill-conditioned (the paper's Fig. 2: an unstable training profile).
    In small batches the squared gap is mostly noise. (The authors' released code never zeroes the gradients of this
    baseline, which this does not copy.)

    Args:
        base_loss: the loss of the task, reducing to a scalar mean or to (B,).
        constraint: as in `FairALMLoss`, like the rest.
        num_groups: K.
        eta: weight of the penalty, > 0.
        surrogate: of the error.
    Source: Lokhande et al. 2020, sections 6.1 and 6.2, doi:10.1007/978-3-030-58610-2_22.

    >>> import torch
    >>> from fairpool import EqualOpportunity
    >>> loss = L2PenaltyLoss(nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=2, eta=1.0)
    >>> loss(torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([1, 1]), torch.tensor([0, 1]))
    tensor(0.9200)
    """

    def __init__(
        self,
        base_loss: nn.Module,
        constraint: Constraint | Sequence[Constraint],
        num_groups: int | Sequence[int],
        eta: float = 1.0,
        surrogate: str = "probability",
    ) -> None:
        super().__init__(
            base_loss, constraint, num_groups, eta, dual_step=0.0, penalty="quadratic", surrogate=surrogate
        )
