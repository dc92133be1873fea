"""Baseline of Table 1: the plain Lagrangian, trained by dual ascent."""

from collections.abc import Sequence

from torch import nn

from fairpool.constraints import Constraint
from fairpool.losses.fairalm import FairALMLoss

__all__ = ["LagrangianLoss"]


class LagrangianLoss(FairALMLoss):
    """Base loss plus ``lam * gap``, the multiplier by gradient ascent: FairALM without its penalty.

    Fails by oscillation: without a proximal term nothing damps the game, so the multipliers overshoot where the dual
    step is large and arrive late where it is small; the result depends on that step.

    Args:
        base_loss: the loss of the task, reducing to a scalar mean or to (B,).
        constraint: as in `FairALMLoss`, like the rest.
        num_groups: K.
        dual_step: step of the multipliers, > 0.
        surrogate: of the error.
        max_multiplier: bound on every multiplier's size, or None.
    Raises:
        ValueError: an argument is out of its range.
    Source: Lokhande et al. 2020, eq. (3); Zhao et al. 2017, doi:10.18653/v1/D17-1323, as cited in Table 1.

    >>> import torch
    >>> from fairpool import EqualOpportunity
    >>> loss = LagrangianLoss(nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=2)
    >>> batch = torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([1, 1])
    >>> value = loss(*batch, torch.tensor([0, 1]))
    >>> bool(value.isclose(nn.CrossEntropyLoss()(*batch)))  # before the multipliers move
    True
    """

    _dual_rates = "soft"

    def __init__(
        self,
        base_loss: nn.Module,
        constraint: Constraint | Sequence[Constraint],
        num_groups: int | Sequence[int],
        dual_step: float = 0.1,
        surrogate: str = "probability",
        max_multiplier: float | None = None,
    ) -> None:
        if not dual_step > 0:
            raise ValueError(f"dual_step must be positive, or the multipliers never move; got {dual_step}.")
        super().__init__(
            base_loss,
            constraint,
            num_groups,
            dual_step=dual_step,
            dual_rates=self._dual_rates,
            penalty="quadratic",  # which is lam * gap once the penalty is 0, for selection rates too
            surrogate=surrogate,
            max_multiplier=max_multiplier,
        )
        self.eta.zero_()
