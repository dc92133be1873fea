"""Baseline of Table 1: the proxy-Lagrangian, whose two players look at different rates."""

from fairpool.losses.lagrangian import LagrangianLoss

__all__ = ["ProxyLagrangianLoss"]


class ProxyLagrangianLoss(LagrangianLoss):
    """The Lagrangian whose multipliers follow the decisions' rates while the weights follow the surrogate's.

    The constraint that counts is on decisions, which have no gradient; so the weights get the surrogate's gradient and
    the multipliers the truth. This is the paper's additive form with an external-regret dual; the swap-regret dual, for
    which the source proves its guarantee, is not here. Fails as the Lagrangian does, and where surrogate and decisions
    disagree: the weights can then answer a multiplier without moving a decision.

    Args:
        base_loss: the loss of the task, reducing to a scalar mean or to (B,).
        constraint: as in `FairALMLoss`, like the rest.
        num_groups: K.
        dual_step: step of the multipliers, > 0.
        surrogate: of the error.
        max_multiplier: bound on every multiplier's size, or None.
    Raises:
        ValueError: an argument is out of its range.
    Source: Cotter, Jiang, Sridharan 2019, Two-player games for efficient non-convex constrained optimization,
        arXiv:1804.06500, section 4.

    >>> import torch
    >>> from torch import nn
    >>> from fairpool import EqualOpportunity
    >>> loss = ProxyLagrangianLoss(nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=2)
    >>> value = loss(torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([1, 1]), torch.tensor([0, 1]))
    >>> loss.update_multipliers(); loss.multipliers  # the second sample is missed, the first is not
    tensor([[-0.1000,  0.1000]])
    """

    _dual_rates = "hard"
