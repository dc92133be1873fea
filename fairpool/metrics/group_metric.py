"""The MONAI metric over `confusion_by_group` and `group_report`."""

import warnings

import torch
from monai.metrics.metric import Metric
from torch import Tensor

from fairpool.losses.binding import all_reduced
from fairpool.losses.surrogates import as_plain
from fairpool.metrics.confusion import confusion_by_group
from fairpool.metrics.report import GroupReport, group_report

__all__ = ["GroupMetric", "decisions"]

_SUSPICIOUS = 50
_TOLERANCE = 1e-3  # of half precision


class GroupMetric(Metric):
    """Error rates by group over any number of batches, in constant memory; `aggregate` gives a `GroupReport`.

    Several processes add their counts (a fixed-size all-reduce, so that a process without samples cannot hang it).

    Args:
        num_groups: K.
        num_classes: C.
        threshold: probability from which a binary prediction is positive.
        from_logits: whether predictions are logits; False: probabilities, after a sigmoid or softmax.

    >>> metric = GroupMetric(num_groups=2)
    >>> metric(torch.tensor([[0.0, 2.0], [1.0, 0.0]]), torch.tensor([1, 1]), torch.tensor([0, 1]))
    >>> metric.aggregate().deo
    1.0
    """

    _range: tuple[float, float]  # smallest and largest single-output logit

    def __init__(
        self, num_groups: int, num_classes: int = 2, threshold: float = 0.5, *, from_logits: bool = True
    ) -> None:
        super().__init__()
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be a probability between 0 and 1, got {threshold}.")
        self.num_groups = num_groups
        self.num_classes = num_classes
        self.threshold = threshold
        self.from_logits = from_logits
        self.reset()

    def __call__(self, logits: Tensor, labels: Tensor, groups: Tensor) -> None:
        """Count a batch: logits (or probabilities) (B,), (B, 1) or (B, C), labels (B,) or (B, 1), groups (B,).

        Raises:
            ValueError: predictions are not finite, are probabilities in place of logits or the reverse (`decisions`),
                or what `confusion_by_group` refuses.
        """
        predicted = decisions(logits, self.threshold, from_logits=self.from_logits)
        if self.from_logits and logits.numel() == len(logits) and len(logits):
            low, high = torch.aminmax(as_plain(logits).detach())
            self._range = (min(self._range[0], float(low)), max(self._range[1], float(high)))
        labels, groups = as_plain(labels).reshape(-1).long(), as_plain(groups).reshape(-1)
        self.counts += confusion_by_group(labels, predicted, groups, self.num_groups, self.num_classes).cpu()
        self.num_unknown += int((groups == -1).sum())

    def aggregate(self) -> GroupReport:
        """The report over everything counted since the last reset.

        Warns where many single-output predictions all lay in 0..1: that is what a sigmoid gives.
        """
        number = int(self.counts.sum())
        if 0 <= self._range[0] <= self._range[1] <= 1 and number >= _SUSPICIOUS:
            warnings.warn(
                f"all {number} predictions lie in 0..1, so as logits every one decides for the positive class. If "
                "the network ends in a sigmoid, remove it, or pass from_logits=False.",
                stacklevel=2,
            )
        return group_report(all_reduced(self.counts))

    def reset(self) -> None:
        """Forget all counts."""
        self.counts = torch.zeros(self.num_groups, self.num_classes, self.num_classes, dtype=torch.int64)
        self.num_unknown = 0
        self._range = (float("inf"), float("-inf"))


def decisions(logits: Tensor, threshold: float = 0.5, *, from_logits: bool = True) -> Tensor:
    """Predicted class of each sample, int64 (B,).

    Args:
        logits: (B,), (B, 1) or (B, C); probabilities of the same shapes where ``from_logits`` is false.
        threshold: probability from which a binary prediction is positive; a tie at 0.5 is negative.
        from_logits: see ``logits``.
    Raises:
        ValueError: predictions are not finite (the message gives how many samples); or their range contradicts
            ``from_logits``: rows of "logits" that all are shares of 1, or "probabilities" outside 0..1 or with
            another sum than 1.

    >>> decisions(torch.tensor([[0.2, 0.8], [0.9, 0.1]]), from_logits=False).tolist()
    [1, 0]
    >>> decisions(torch.tensor([[0.2, 0.8], [0.9, 0.1]]))
    Traceback (most recent call last):
        ...
    ValueError: all 2 rows of predictions are non-negative and sum to 1, so they are no logits. Pass from_logits=False.
    """
    logits = as_plain(logits).detach()
    if logits.ndim == 2 and logits.shape[1] == 1:
        logits = logits.squeeze(1)
    finite = torch.isfinite(logits)
    finite = finite.flatten(1).all(dim=1) if finite.ndim > 1 else finite
    if not bool(finite.all()):
        raise ValueError(
            f"{int((~finite).sum())} of {len(logits)} predictions are NaN or infinite: no error rate can be given. "
            "Look at the training loss and at the images of this batch."
        )
    _check_range(logits, from_logits)
    if logits.ndim == 2 and logits.shape[1] > 2:
        return logits.argmax(dim=1)
    if not from_logits:
        positive = logits if logits.ndim == 1 else logits[:, 1]
        return (positive >= threshold).long() if threshold != 0.5 else (positive > 0.5).long()
    margin = logits if logits.ndim == 1 else logits[:, 1] - logits[:, 0]
    return (torch.sigmoid(margin.float()) >= threshold).long() if threshold != 0.5 else (margin > 0).long()


def _check_range(predictions: Tensor, from_logits: bool) -> None:
    """Refuse predictions whose range contradicts what they are said to be."""
    if predictions.numel() == 0:
        return
    low, high = (float(end) for end in torch.aminmax(predictions))
    is_share = 0 <= low <= high <= 1
    if from_logits and not (is_share and predictions.ndim == 2 and len(predictions) > 1):
        return  # one row alone may sum to 1 by chance
    sums_to_one = predictions.ndim == 2 and bool(((predictions.double().sum(dim=1) - 1).abs() < _TOLERANCE).all())
    if from_logits:
        is_decided = bool(((predictions == 0) | (predictions == 1)).all())  # which means the same as logits
        if sums_to_one and not is_decided:
            raise ValueError(
                f"all {len(predictions)} rows of predictions are non-negative and sum to 1, so they are no logits. "
                "Pass from_logits=False."
            )
    elif not is_share:
        raise ValueError(
            f"predictions lie in {low:.3g}..{high:.3g}, so they are no probabilities. Pass from_logits=True, or apply "
            "the sigmoid or softmax."
        )
    elif predictions.ndim == 2 and not sums_to_one:
        raise ValueError("rows of predictions do not sum to 1, so they are no probabilities of classes.")
