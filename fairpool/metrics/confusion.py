"""Confusion counts by group: the one pass over the predictions from which every figure of a report follows."""

import torch
from torch import Tensor

from fairpool.losses.first_batch import check_groups

__all__ = ["confusion_by_group"]


def confusion_by_group(
    labels: Tensor, predictions: Tensor, groups: Tensor, num_groups: int, num_classes: int = 2
) -> Tensor:
    """Number of samples by group, true class and predicted class.

    Args:
        labels: class indices, integer, shape (B,).
        predictions: predicted class indices, integer (boolean for binary), shape (B,).
        groups: integer, shape (B,); -1 means "unknown", which enters no group's counts.
        num_groups: K.
        num_classes: C.
    Returns:
        counts, int64, shape (K, C, C): [group, true, predicted]. Counts of parts of the data add up to the whole's.
    Raises:
        TypeError: groups are not integers.
        ValueError: shapes differ, or a label, prediction or group id is out of range.

    >>> confusion_by_group(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0]), torch.tensor([0, 0, 1]), 2).tolist()
    [[[0, 0], [1, 1]], [[1, 0], [0, 0]]]
    """
    if not labels.shape == predictions.shape == groups.shape or labels.ndim != 1:
        raise ValueError(
            "labels, predictions and groups must be one-dimensional and of one length; got "
            f"{tuple(labels.shape)}, {tuple(predictions.shape)}, {tuple(groups.shape)}."
        )
    _check_classes("labels", labels, num_classes)
    _check_classes("predictions", predictions, num_classes)
    if groups.dtype != torch.int64 or not _lies_within(groups, -1, num_groups - 1):
        check_groups(groups, num_groups)
    # Group -1 lands in the first block, which is cut off: no sample needs to be picked out.
    cells = torch.add(labels, groups.long(), alpha=num_classes).add_(num_classes).mul_(num_classes).add_(predictions)
    counts = torch.bincount(cells, minlength=(num_groups + 1) * num_classes**2)
    return counts.view(num_groups + 1, num_classes, num_classes)[1:]


def _check_classes(name: str, values: Tensor, num_classes: int) -> None:
    if values.is_floating_point():
        raise ValueError(
            f"{name} must be class indices, got {values.dtype}; decide on a class first (argmax, threshold)."
        )
    if not _lies_within(values, 0, num_classes - 1):
        outside = values[(values < 0) | (values >= num_classes)]
        raise ValueError(
            f"{name} must lie in 0..{num_classes - 1}; found {int(outside[0])} ({outside.numel()} of {values.numel()})."
        )


def _lies_within(values: Tensor, low: int, high: int) -> bool:
    if values.numel() == 0 or values.dtype == torch.bool:
        return True
    smallest, largest = torch.aminmax(values)
    return bool((smallest >= low) & (largest <= high))
