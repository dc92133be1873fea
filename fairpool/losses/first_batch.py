"""Checks of the first batch, made once because they wait for the device."""

import warnings

import torch
from torch import Tensor

__all__ = ["check_first_batch", "check_group_type", "check_groups"]


def check_first_batch(
    logits: Tensor, labels: Tensor, groups: Tensor, num_groups: int, *, multi_label: bool = False
) -> None:
    """Refuse a first batch whose shapes, labels or group ids cannot be what the loss needs.

    Args:
        logits: (B,), (B, 1), (B, C) or, multi-label, (B, L).
        labels: (B,) or (B, 1), class indices; multi-label: (B, L), 0 or 1.
        groups: (B,), integer, -1 for unknown.
        num_groups: K.
        multi_label: whether labels (B, L) with L >= 2 are a set of labels; one-hot targets otherwise, and refused.
    Raises:
        TypeError: group ids are not integers.
        ValueError: shapes disagree, labels are soft or out of range, or an id is neither -1 nor in 0..K-1.
    """
    shapes = f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)}, groups {tuple(groups.shape)}"
    if logits.ndim not in (1, 2):
        raise ValueError(
            f"fairpool constrains classification: logits must have shape (B,), (B, 1) or (B, C); got {shapes}. "
            "Segmentation and regression targets are not supported."
        )
    is_multi_label = labels.ndim == 2 and labels.shape[1] > 1
    if is_multi_label and not multi_label:
        raise ValueError(
            f"labels must be class indices of shape (B,) or (B, 1); got {shapes}. One-hot labels become indices with "
            "labels.argmax(1); for several labels a sample use torch.nn.BCEWithLogitsLoss as the base loss."
        )
    if is_multi_label and logits.shape != labels.shape:
        raise ValueError(
            f"multi-label targets (B, L) need one logit a label; got {shapes}. For class indices pass labels (B,)."
        )
    if labels.ndim not in (1, 2) or groups.ndim != 1 or not logits.shape[0] == labels.shape[0] == groups.shape[0]:
        raise ValueError(f"logits, labels and groups must hold the same samples; got {shapes}.")
    if labels.is_floating_point() and bool((labels != labels.round()).any()):
        raise ValueError("labels must be class indices; found fractions. Soft labels are not supported.")
    is_softmax = logits.ndim == 2 and logits.shape[1] > 1 and not is_multi_label
    num_classes = logits.shape[1] if is_softmax else 2
    outside = labels[(labels < 0) | (labels >= num_classes)]
    if outside.numel():
        raise ValueError(
            f"labels must lie in 0..{num_classes - 1}; found {_value(outside)} ({outside.numel()} samples). "
            "Drop samples of unknown label before training."
        )
    check_groups(groups, num_groups)
    if is_softmax and logits.shape[0] > 1:
        looks_like_probabilities = (logits >= 0).all() & ((logits.sum(dim=1) - 1).abs() < 1e-3).all()
        if bool(looks_like_probabilities):
            warnings.warn(
                "the network's outputs are non-negative and sum to 1: fairpool expects logits; remove the softmax.",
                stacklevel=2,
            )


def check_groups(groups: Tensor, num_groups: int) -> None:
    """Refuse group ids that are not integers or neither -1 ("unknown") nor in 0..K-1.

    Raises:
        TypeError: the dtype is floating or boolean.
        ValueError: an id is out of range; the message gives the first one and how many there are.
    """
    check_group_type(groups)
    groups = groups.long()  # torch compares unsigned ids with -1 as with 255
    outside = groups[(groups < -1) | (groups >= num_groups)]
    if outside.numel():
        raise ValueError(
            f"group ids must lie in 0..{num_groups - 1}, or be -1 for unknown; found {_value(outside)} "
            f"({outside.numel()} samples). Encode sites with a SiteVocabulary, or raise num_groups."
        )


def check_group_type(groups: Tensor) -> None:
    """Refuse group ids whose dtype is no integer's, without a look at the values, so without waiting for the device.

    Raises:
        TypeError: the dtype is floating, complex or boolean.
    """
    if groups.is_floating_point() or groups.is_complex() or groups.dtype == torch.bool:
        raise TypeError(
            f"groups must be an integer tensor, got {str(groups.dtype).removeprefix('torch.')}. "
            "Encode site names as integers 0..K-1, -1 for unknown."
        )


def _value(outside: Tensor) -> str:
    return f"{outside.flatten()[0].item():g}"
