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
    if groups.dtype != torch.int64:
        check_groups(groups, num_groups)
        groups = groups.long()
    smallest, largest = _extremes(groups)
    if smallest < -1 or largest >= num_groups:
        check_groups(groups, num_groups)
    # Two passes over the samples. Group -1 lands in a block of its own before the others, which is cut off.
    cells = torch.add(predictions, groups, alpha=num_classes**2).add_(labels, alpha=num_classes)
    num_blocks = num_groups
    if smallest < 0:
        cells, num_blocks = cells.add_(num_classes**2), num_groups + 1
    counts = torch.bincount(cells, minlength=num_blocks * num_classes**2)
    return counts.view(num_blocks, num_classes, num_classes)[num_blocks - num_groups :]


def _check_classes(name: str, values: Tensor, num_classes: int) -> None:
    if values.is_floating_point():
        raise ValueError(
            f"{name} must be class indices, got {values.dtype}; decide on a class first (argmax, threshold)."
        )
    smallest, largest = _extremes(values)
    if smallest < 0 or largest >= num_classes:
        outside = values[(values < 0) | (values >= num_classes)]
        raise ValueError(
            f"{name} must lie in 0..{num_classes - 1}; found {int(outside[0])} ({outside.numel()} of {values.numel()})."
        )


def _extremes(values: Tensor) -> tuple[int, int]:
    """Smallest and largest value; 0 and 0 where none can be out of range."""
    if values.numel() == 0 or values.dtype == torch.bool:
        return 0, 0
    smallest, largest = torch.stack(torch.aminmax(values)).tolist()
    return smallest, largest
