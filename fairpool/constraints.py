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
    "DemographicParity",
    "EqualOpportunity",
    "EqualizedOdds",
    "ErrorRateParity",
    "PredictiveEquality",
    "PredictiveParity",
]


class Constraint(ABC):
    """Equal rates between groups in each of C events.

    Multi-label targets (B, L) make each label column an event set of its own: L * C events, the first label's first.

    Attributes:
        name: the word of the command line, such as ``equal_opportunity``.
        events: the names of the C events, such as ``("y1",)``.
        gap: the figure of `GroupReport` that the constraint makes small, such as ``deo``.
        num_classes: number of classes that the network must have, None where any number will do.
        is_error_rate: whether the rate is the error, so that surrogates of the error apply.
        follows_decisions: whether the decisions, not the labels alone, say who belongs to an event.
    """

    name: str
    events: tuple[str, ...]
    gap: str
    num_classes: int | None = None
    is_error_rate = True
    follows_decisions = False

    @abstractmethod
    def weights(self, labels: Tensor) -> Tensor:
        """Who may belong to the events, by the labels alone: integers (...) to booleans (..., C)."""

    def __call__(
        self, labels: Tensor, predictions: Tensor | None, errors: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Event weights and rates of each sample.

        Args:
            labels: integer, shape (B,), in 0..num_classes-1; multi-label: shape (B, L), 0 or 1.
            predictions: probabilities or one-hot decisions, shape (B, num_classes); multi-label: (B, L, 2).
            errors: the surrogate error of each sample, in the shape of ``labels``; default ``1 - predictions[y]``.
                Given these, a constraint on errors needs no predictions.
        Returns:
            weights ``w`` (B, C), boolean, or floating where they carry a gradient, and rates ``r``, floating (B, C);
            the rate of an event and group is ``sum(w * r) / sum(w)`` over the group's samples.
        Raises:
            TypeError: neither predictions nor errors are given, or predictions are needed.

        >>> weights, rates = EqualOpportunity()(torch.tensor([1, 0]), torch.tensor([[0.25, 0.75], [1.0, 0.0]]))
        >>> weights.tolist(), rates.tolist()
        ([[True], [False]], [[0.25], [0.0]])
        """
        if errors is None:
            errors = 1 - self._given(predictions).gather(-1, labels[..., None]).squeeze(-1)
        weights = self.weights(labels)
        return weights.flatten(1), errors[..., None].expand(weights.shape).flatten(1)

    def _given(self, predictions: Tensor | None) -> Tensor:
        if predictions is None:
            raise TypeError(f"{type(self).__name__} needs predictions{' or errors' if self.is_error_rate else ''}.")
        return predictions

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
        if len(self.labels) == 1:
            return (labels == self.labels[0]).unsqueeze(-1)
        return torch.stack([labels == label for label in self.labels], dim=-1)


class EqualOpportunity(_LabelEvents):
    """Equal error among the samples of one label; for label 1, equal false negative rates [2.1b, the DEO].

    Fails where a site has no (or few) samples of that label, and says nothing of the other label's errors.

    Args:
        label: the class whose error rates must agree, from 0 on.
    """

    name = "equal_opportunity"
    gap = "deo"

    def __init__(self, label: int = 1) -> None:
        super().__init__((label,))


class PredictiveEquality(_LabelEvents):
    """Equal error among the samples of label 0: equal false positive rates [2.1b, y = 0]."""

    name = "predictive_equality"
    gap = "fpr_gap"

    def __init__(self) -> None:
        super().__init__((0,))


class EqualizedOdds(_LabelEvents):
    """Equal error within every label, each label with its own multipliers [2.1b, equality of odds].

    Args:
        num_classes: number of labels, at least 2.
    """

    name = "equalized_odds"
    gap = "eodds_gap"

    def __init__(self, num_classes: int = 2) -> None:
        _check_num_classes(num_classes)
        super().__init__(tuple(range(num_classes)))


class ErrorRateParity(Constraint):
    """Equal misclassification rates over all samples: what the paper calls demographic parity [2.1a].

    Where the share of positives differs between sites, equal error rates can hide very different errors by label.
    """

    name = "error_rate_parity"
    gap = "ddp"
    events = ("all",)

    def weights(self, labels: Tensor) -> Tensor:
        """Every sample belongs to the one event, "all"."""
        return torch.ones_like(labels, dtype=torch.bool)[..., None]


class _ClassRates(Constraint):
    """Rates of predicted classes: of class 1 where there are two, of each class where there are more."""

    is_error_rate = False

    def __init__(self, num_classes: int, event: str) -> None:
        _check_num_classes(num_classes)
        self.num_classes = num_classes
        self.events = (event,) if num_classes == 2 else tuple(f"{event}{c}" for c in range(num_classes))

    def weights(self, labels: Tensor) -> Tensor:
        """Any sample, whatever its label."""
        return torch.ones_like(labels, dtype=torch.bool)[..., None].expand(*labels.shape, len(self.events))

    def _last(self, by_class: Tensor) -> Tensor:
        """The last of two classes, or all of more; a slice, as a list of indices would wait for the device."""
        return by_class[..., by_class.shape[-1] - len(self.events) :]


class DemographicParity(_ClassRates):
    """Equal selection rates P(predicted positive): demographic parity as everyone but the paper defines it.

    The paper's "DP" [2.1a] is `ErrorRateParity`. Blind to the labels: where prevalence really differs between sites,
    equal selection rates force errors. Needs ``penalty="quadratic"``: the linear form would push every rate to 0.

    Args:
        num_classes: number of classes; with more than 2, each class's rate must agree (events ``all0``, ``all1``...).

    >>> DemographicParity()(torch.tensor([0]), torch.tensor([[0.25, 0.75]]))[1].tolist()
    [[0.75]]
    """

    name = "demographic_parity"
    gap = "selection_gap"

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__(num_classes, "all")

    def __call__(
        self, labels: Tensor, predictions: Tensor | None, errors: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Every sample, with the probability of the predicted class as its rate."""
        return self.weights(labels).flatten(1), self._last(self._given(predictions)).flatten(1)


class PredictiveParity(_ClassRates):
    """Equal false discovery rates among those predicted positive [2.1c]; linear-fractional in the classifier.

    The event is the decision itself, so it has no gradient; its weight is hard with the probability's gradient
    (straight-through). A weight by probability was measured to do nothing for the decisions' rate. Fails where a site
    has few predicted positives, and can be met by predicting fewer positives.

    Args:
        num_classes: number of classes; with more than 2, the rate of each predicted class must agree
            (``predicted0``, ``predicted1``...).

    >>> PredictiveParity()(torch.tensor([0, 1]), torch.tensor([[0.25, 0.75], [0.75, 0.25]]))
    (tensor([[1.],
            [0.]]), tensor([[1.],
            [0.]]))
    """

    name = "predictive_parity"
    gap = "fdr_gap"
    follows_decisions = True

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__(num_classes, "predicted")
        if num_classes == 2:
            self.events = ("predicted_positive",)

    def __call__(
        self, labels: Tensor, predictions: Tensor | None, errors: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Who is predicted a class, with "the label is another" as the rate."""
        predictions = self._given(predictions)
        probabilities = self._last(predictions)
        classes = self._last(torch.arange(predictions.shape[-1], device=labels.device))
        is_decided = (predictions.argmax(dim=-1)[..., None] == classes).to(probabilities.dtype)
        weights = is_decided + (probabilities - probabilities.detach())
        rates = (labels[..., None] != classes).to(probabilities.dtype)
        return weights.flatten(1), rates.flatten(1)


def _check_num_classes(num_classes: int) -> None:
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
        raise ValueError(f"num_classes must be a whole number of at least 2, got {num_classes!r}.")


CONSTRAINTS: dict[str, type[Constraint]] = {
    constraint.name: constraint
    for constraint in (
        EqualOpportunity,
        PredictiveEquality,
        EqualizedOdds,
        ErrorRateParity,
        DemographicParity,
        PredictiveParity,
    )
}
"""The constraints by the word of the command line."""
