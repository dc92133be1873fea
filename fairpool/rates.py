"""Means over (event, group) cells and the gaps between groups: the only place that averages over groups.

Notation of Lokhande et al. 2020 (ECCV): event c, group k, ``mu[c, k]`` the mean rate of the group in the event.
"""

import torch
from torch import Tensor

__all__ = ["cell_sums", "event_mean_weights", "group_gaps", "is_comparable"]


def cell_sums(values: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Sum of each group's samples, one column a quantity.

    Args:
        values: floating, shape (B, M).
        groups: group of each sample, shape (B,), integer; -1 means "unknown" and enters no sum.
        num_groups: K.
    Returns:
        sums, shape (M, K), in the dtype of ``values``.
    Raises:
        IndexError: an id is neither -1 nor in 0..K-1 (on the CPU; a GPU fails its own assertion).

    >>> cell_sums(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([0, 1, -1]), 2)
    tensor([[1., 2.]])
    """
    # Row 0 takes the unknown, so that one segmented sum serves every sample without a data-dependent branch.
    sums = values.new_zeros(num_groups + 1, values.shape[1])
    return sums.index_add_(0, groups + 1, values)[1:].t()


def is_comparable(counts: Tensor) -> Tensor:
    """Whether a group is present in an event that holds at least one other group.

    Args:
        counts: samples (or summed event weights) by event and group, shape (C, K).
    Returns:
        boolean, shape (C, K).

    >>> is_comparable(torch.tensor([[3, 1, 0], [0, 2, 0]]))
    tensor([[ True,  True, False],
            [False, False, False]])
    """
    is_present = counts > 0
    return is_present & (is_present.sum(dim=1, keepdim=True) > 1)


def event_mean_weights(counts: Tensor) -> Tensor:
    """``2 / (P_c n[c, k])``: the weight of a sample in twice the mean over an event's P_c groups of their mean rates.

    Args:
        counts: samples n by event and group, shape (C, K), whole numbers of a floating dtype.
    Returns:
        weights, shape (C, K); 0 where the group is absent or fewer than two are present.

    >>> event_mean_weights(torch.tensor([[1.0, 4.0, 0.0], [3.0, 0.0, 0.0]])).tolist()
    [[1.0, 0.25, 0.0], [0.0, 0.0, 0.0]]
    """
    # Presence as a number rather than a boolean, here and below: no kernel call converts types, which is what costs.
    present = counts.sign()
    num_present = present.sum(dim=1, keepdim=True)
    return 2 * present * (num_present > 1) / (num_present * counts).clamp(min=1)


def group_gaps(rates: Tensor, counts: Tensor) -> Tensor:
    """One-versus-rest gap of each group's rate.

    Args:
        rates: mean rate, shape (C, K): event by group; any finite value where the group is absent.
        counts: samples behind each mean, shape (C, K). A zero marks an absent group.
    Returns:
        gaps, shape (C, K): the group's rate minus the mean of the other present groups' rates; exactly 0 where the
        group is absent or fewer than two are present.
    Raises:
        ValueError: the shapes differ.
    Source: Lokhande et al. 2020, eq. (4), for K = 2 (``d`` and ``-d``); the form for K > 2 is ours.

    >>> group_gaps(torch.tensor([[0.5, 0.25]]), torch.tensor([[5, 5]]))
    tensor([[ 0.2500, -0.2500]])
    """
    if rates.shape != counts.shape:
        raise ValueError(f"rates and counts must agree in shape, got {tuple(rates.shape)} and {tuple(counts.shape)}.")
    present = counts.sign()
    num_present = present.sum(dim=1, keepdim=True)
    total = (present * rates).sum(dim=1, keepdim=True)
    # r - (total - r) / (P - 1), on one denominator.
    gaps = present * (num_present * rates - total) / (num_present - 1).clamp(min=1)
    return torch.where(num_present > 1, gaps, 0)
