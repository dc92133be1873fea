"""The methods of the study by name, and the settings that each may choose from: four apiece.

A method is a function of its settings and the training table (labels by sites) and gives the loss, whether the handler
serves it, and what else it changes in the training.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

from torch import Tensor, nn

from fairpool import EqualOpportunity, losses

__all__ = ["BASES", "METHODS", "SETTINGS", "Prepared", "Settings"]

Settings = dict[str, float]
"""Hyper-parameters by name; ``learning_rate`` and ``weight_decay`` are the optimizer's."""


@dataclass(frozen=True)
class Prepared:
    """A method ready for one training.

    Attributes:
        loss: called as loss(pred, label).
        is_bound: whether `FairALMHandler` serves the loss.
        is_balanced: whether every site and label is drawn equally often, instead of every image once an epoch.
        averaging: share of the training at its end over which the weights are averaged.
    """

    loss: nn.Module
    is_bound: bool = True
    is_balanced: bool = False
    averaging: float = 0.0


def unconstrained(settings: Settings, counts: Tensor) -> Prepared:
    return Prepared(nn.CrossEntropyLoss(), is_bound=False)


def balanced_sampling(settings: Settings, counts: Tensor) -> Prepared:
    return Prepared(nn.CrossEntropyLoss(), is_bound=False, is_balanced=True)


def reweighted(settings: Settings, counts: Tensor) -> Prepared:
    return Prepared(losses.ReweightedLoss(nn.CrossEntropyLoss(reduction="none"), counts.shape[1], counts))


def l2_penalty(settings: Settings, counts: Tensor) -> Prepared:
    return Prepared(
        losses.L2PenaltyLoss(nn.CrossEntropyLoss(), EqualOpportunity(), counts.shape[1], eta=settings["eta"])
    )


def adversarial(settings: Settings, counts: Tensor) -> Prepared:
    return Prepared(
        losses.AdversarialLoss(
            nn.CrossEntropyLoss(),
            EqualOpportunity(),
            counts.shape[1],
            strength=settings["strength"],
            learning_rate=settings["adversary_learning_rate"],
        )
    )


def lagrangian(settings: Settings, counts: Tensor) -> Prepared:
    return Prepared(
        losses.LagrangianLoss(
            nn.CrossEntropyLoss(), EqualOpportunity(), counts.shape[1], dual_step=settings["dual_step"]
        )
    )


def proxy_lagrangian(settings: Settings, counts: Tensor) -> Prepared:
    return Prepared(
        losses.ProxyLagrangianLoss(
            nn.CrossEntropyLoss(), EqualOpportunity(), counts.shape[1], dual_step=settings["dual_step"]
        )
    )


def fairalm_paper(settings: Settings, counts: Tensor) -> Prepared:
    return Prepared(
        losses.FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), counts.shape[1], eta=settings["eta"], growth=1.01)
    )


def fairalm(settings: Settings, counts: Tensor) -> Prepared:
    return Prepared(
        losses.FairALMLoss(
            nn.CrossEntropyLoss(reduction="none"),
            EqualOpportunity(),
            counts.shape[1],
            eta=settings["eta"],
            dual_step=settings["dual_step"],
            dual_rates="hard",
            counts=counts,
            reweight=True,
        )
    )


def fairalm_balanced(settings: Settings, counts: Tensor) -> Prepared:
    """FairALM on batches in which every (label, site) cell is drawn equally often, so that every cell has some images.

    The batches being balanced, the known counts are equal ones and nothing is re-weighted. Soft rates move the
    multipliers: a rare cell's images come round often, so their decisions may be right long before the test's are.
    """
    return Prepared(
        losses.FairALMLoss(
            nn.CrossEntropyLoss(),
            EqualOpportunity(),
            counts.shape[1],
            eta=settings["eta"],
            dual_step=settings["dual_step"],
            counts=(counts > 0).long(),
        ),
        is_balanced=True,
    )


def fairalm_balanced_averaged(settings: Settings, counts: Tensor) -> Prepared:
    return replace(fairalm_balanced(settings, counts), averaging=0.25)


def balanced_sampling_averaged(settings: Settings, counts: Tensor) -> Prepared:
    return replace(balanced_sampling(settings, counts), averaging=0.25)


METHODS: dict[str, Callable[[Settings, Tensor], Prepared]] = {
    method.__name__: method
    for method in (
        unconstrained,
        l2_penalty,
        reweighted,
        adversarial,
        lagrangian,
        proxy_lagrangian,
        fairalm_paper,
        balanced_sampling,
        balanced_sampling_averaged,
        fairalm,
        fairalm_balanced,
        fairalm_balanced_averaged,
    )
}

_RATES = (1e-3, 3e-3)
_DECAY = 0.05


def _grid(
    *choices: Settings, rates: tuple[float, ...] = _RATES, decays: tuple[float, ...] = (_DECAY,)
) -> list[Settings]:
    return [
        {"learning_rate": rate, "weight_decay": decay, **choice}
        for rate, decay, choice in product(rates, decays, choices or ({},))
    ]


_PLAIN = _grid(decays=(1e-4, _DECAY))
_DUAL = _grid(*({"dual_step": step} for step in (0.03, 0.1)))
_FAIRALM = _grid(*({"eta": eta, "dual_step": step} for eta, step in ((0.1, 0.01), (0.2, 0.03))))

SETTINGS: dict[str, list[Settings]] = {
    "unconstrained": _PLAIN,
    "l2_penalty": _grid(*({"eta": eta} for eta in (1.0, 3.0))),
    "reweighted": _PLAIN,
    "adversarial": _grid(*({"strength": s, "adversary_learning_rate": 0.01} for s in (0.1, 1.0))),
    "lagrangian": _DUAL,
    "proxy_lagrangian": _DUAL,
    "fairalm_paper": _grid(*({"eta": eta} for eta in (0.1, 0.3))),
    "balanced_sampling": _PLAIN,
    "fairalm": _FAIRALM,
    "fairalm_balanced": _FAIRALM,
}
"""What each method is tuned over, on seeds of its own: the same number of settings for every method."""

BASES = {"balanced_sampling_averaged": "balanced_sampling", "fairalm_balanced_averaged": "fairalm_balanced"}
"""Methods that take the settings of another, which they only end differently."""
