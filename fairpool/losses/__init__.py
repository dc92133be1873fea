"""Losses that train under a fairness constraint; `FairALMHandler` serves each of them."""

from fairpool.losses.adversarial import AdversarialLoss
from fairpool.losses.fairalm import FairALMLoss
from fairpool.losses.l2_penalty import L2PenaltyLoss
from fairpool.losses.lagrangian import LagrangianLoss
from fairpool.losses.proxy_lagrangian import ProxyLagrangianLoss
from fairpool.losses.reweighted import ReweightedLoss

__all__ = [
    "AdversarialLoss",
    "FairALMLoss",
    "L2PenaltyLoss",
    "LagrangianLoss",
    "ProxyLagrangianLoss",
    "ReweightedLoss",
]
