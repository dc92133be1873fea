"""Fairness constraints: which samples form an event, and which of their rates must agree between groups.

A constraint is one function of (labels, predictions): fed probabilities it gives the training surrogate, fed one-hot
predictions it gives the evaluation. Sections of Lokhande et al. 2020 (ECCV) in brackets.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = [
    "CONSTRAINTS",
    "Constraint",
    "EqualOpportunity",
    "EqualizedOdds",
    "ErrorRateParity",
    "PredictiveEquality",
]


class Constraint(ABC):
    """Equal rates between groups in each of C events.

    Attributes:
        name: the word of the command line, such as ``equal_opportunity``.
        events: the names of the C events, such as ``("y1",)``.
    """

    name: str
    events: tuple[str, ...]

    @abstractmethod
    def weights(self, labels: Tensor) -> Tensor:
        """Event weights ``w``: (B,) integer labels to booleans of shape (B, C)."""

    def __call__(
        self, labels: Tensor, predictions: Tensor | None, errors: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Event weights and rates of each sample.

        Args:
            labels: integer, shape (B,), in 0..num_classes-1.
            predictions: probabilities or one-hot decisions, shape (B, num_classes).
            errors: the surrogate error of each sample, shape (B,); default ``1 - predictions[y]``. Given these, a
                constraint on errors needs no predictions.
        Returns:
            weights ``w``, boolean (B, C), and rates ``r``, floating (B, C); the rate of an event and group is
            ``sum(w * r) / sum(w)`` over the group's samples.
        Raises:
            TypeError: neither predictions nor errors are given.

        >>> weights, rates = EqualOpportunity()(torch.tensor([1, 0]), torch.tensor([[0.25, 0.75], [1.0, 0.0]]))
        >>> weights.tolist(), rates.tolist()
        ([[True], [False]], [[0.25], [0.0]])
        """
        if errors is None:
            if predictions is None:
                raise TypeError(f"{type(self).__name__} needs predictions or errors.")
            errors = 1 - predictions.gather(1, labels[:, None]).squeeze(1)
        return self.weights(labels), errors[:, None].expand(-1, len(self.events))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(events={list(self.events)})"


class _LabelEvents(Constraint):
    """Events "y = c" for each of some labels; the rate is the error."""

    def __init__(self, labels: tuple[int, ...]) -> None:
        for label in labels:
            if isinstance(label, bool) or not isinstance(label, int) or label < 0:
                raise ValueError(f"a label must be an integer class index from 0 on, got {label!r}.")
        self.labels = labels
        self.events = tuple(f"y{label}" for label in labels)

    def weights(self, labels: Tensor) -> Tensor:
        """A sample belongs to the event of its own label."""
        return torch.stack([labels == label for label in self.labels], dim=1)


class EqualOpportunity(_LabelEvents):
    """Equal error among the samples of one label; for label 1, equal false negative rates [2.1b, the DEO].

    Fails where a site has no (or few) samples of that label, and says nothing of the other label's errors.

    Args:
        label: the class whose error rates must agree, from 0 on.
    """

    name = "equal_opportunity"

    def __init__(self, label: int = 1) -> None:
        super().__init__((label,))


class PredictiveEquality(_LabelEvents):
    """Equal error among the samples of label 0: equal false positive rates [2.1b, y = 0]."""

    name = "predictive_equality"

    def __init__(self) -> None:
        super().__init__((0,))


class EqualizedOdds(_LabelEvents):
    """Equal error within every label, each label with its own multipliers [2.1b, equality of odds].

    Args:
        num_classes: number of labels, at least 2.
    """

    name = "equalized_odds"

    def __init__(self, num_classes: int = 2) -> None:
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}.")
        super().__init__(tuple(range(num_classes)))


class ErrorRateParity(Constraint):
    """Equal misclassification rates over all samples: what the paper calls demographic parity [2.1a].

    Where the share of positives differs between sites, equal error rates can hide very different errors by label.
    """

    name = "error_rate_parity"
    events = ("all",)

    def weights(self, labels: Tensor) -> Tensor:
        """Every sample belongs to the one event, "all"."""
        return torch.ones_like(labels, dtype=torch.bool)[:, None]


CONSTRAINTS: dict[str, type[Constraint]] = {
    constraint.name: constraint for constraint in (EqualOpportunity, PredictiveEquality, EqualizedOdds, ErrorRateParity)
}
"""The constraints by the word of the command line."""
