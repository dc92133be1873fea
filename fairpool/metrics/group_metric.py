"""The MONAI metric over `confusion_by_group` and `group_report`."""

import torch
from monai.metrics.metric import Metric
from torch import Tensor

from fairpool.losses.binding import all_reduced
from fairpool.losses.surrogates import as_plain
from fairpool.metrics.confusion import confusion_by_group
from fairpool.metrics.report import GroupReport, group_report

__all__ = ["GroupMetric", "decisions"]


class GroupMetric(Metric):
    """Error rates by group over any number of batches, in constant memory; `aggregate` gives a `GroupReport`.

    Several processes add their counts (a fixed-size all-reduce, so that a process without samples cannot hang it).

    Args:
        num_groups: K.
        num_classes: C.
        threshold: probability from which a binary prediction is positive.

    >>> metric = GroupMetric(num_groups=2)
    >>> metric(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 1]), torch.tensor([0, 1]))
    >>> metric.aggregate().deo
    1.0
    """

    def __init__(self, num_groups: int, num_classes: int = 2, threshold: float = 0.5) -> None:
        super().__init__()
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be a probability between 0 and 1, got {threshold}.")
        self.num_groups = num_groups
        self.num_classes = num_classes
        self.threshold = threshold
        self.reset()

    def __call__(self, logits: Tensor, labels: Tensor, groups: Tensor) -> None:
        """Count a batch: logits (B,), (B, 1) or (B, C), labels (B,) or (B, 1), groups (B,).

        Raises:
            ValueError: logits are not finite, or what `confusion_by_group` refuses.
        """
        predicted = decisions(logits, self.threshold)
        labels, groups = as_plain(labels).reshape(-1).long(), as_plain(groups).reshape(-1)
        self.counts += confusion_by_group(labels, predicted, groups, self.num_groups, self.num_classes).cpu()
        self.num_unknown += int((groups == -1).sum())

    def aggregate(self) -> GroupReport:
        """The report over everything counted since the last reset."""
        return group_report(all_reduced(self.counts))

    def reset(self) -> None:
        """Forget all counts."""
        self.counts = torch.zeros(self.num_groups, self.num_classes, self.num_classes, dtype=torch.int64)
        self.num_unknown = 0


def decisions(logits: Tensor, threshold: float = 0.5) -> Tensor:
    """Predicted class of each sample, int64 (B,).

    Raises:
        ValueError: logits are not finite; the message gives how many samples.
    """
    logits = as_plain(logits).detach()
    if logits.ndim == 2 and logits.shape[1] == 1:
        logits = logits.squeeze(1)
    finite = torch.isfinite(logits).view(len(logits), -1).all(dim=1)
    if not bool(finite.all()):
        raise ValueError(
            f"{int((~finite).sum())} of {len(logits)} predictions are NaN or infinite: no error rate can be given. "
            "Look at the training loss and at the images of this batch."
        )
    if logits.ndim == 2 and logits.shape[1] > 2:
        return logits.argmax(dim=1)
    margin = logits if logits.ndim == 1 else logits[:, 1] - logits[:, 0]
    return (torch.sigmoid(margin.float()) >= threshold).long() if threshold != 0.5 else (margin > 0).long()
