"""Means over (event, group) cells and the gaps between groups: the only place that averages over groups.

Notation of Lokhande et al. 2020 (ECCV): event c, group k, ``mu[c, k]`` the mean rate of the group in the event.
"""

from torch import Tensor

__all__ = ["cell_sums", "event_mean_weights", "gaps_among", "group_gaps", "is_comparable", "presence"]


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

    >>> import torch
    >>> cell_sums(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([0, 1, -1]), 2)
    tensor([[1., 2.]])
    """
    # Row 0 takes the unknown, so that one segmented sum serves every sample without a data-dependent branch.
    sums = values.new_zeros(num_groups + 1, values.shape[1])
    return sums.index_add_(0, groups + 1, values)[1:].t()


def presence(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Which groups are present in an event, and how many.

    They are numbers of the counts' dtype: a step has dozens of calls on tiny tensors, where to convert a boolean costs
    as much as to compute.

    Args:
        counts: samples by event and group, shape (C, K).
    Returns:
        1 or 0 by event and group, shape (C, K), and the sums over the groups, shape (C, 1).

    >>> import torch
    >>> present, number = presence(torch.tensor([[3, 1, 0]]))
    >>> present.tolist(), number.tolist()
    ([[1, 1, 0]], [[2]])
    """
    present = counts.sign()
    return present, present.sum(dim=1, keepdim=True)


def is_comparable(counts: Tensor) -> Tensor:
    """Whether a group is present in an event that holds at least one other group.

    Args:
        counts: samples (or summed event weights) by event and group, shape (C, K).
    Returns:
        boolean, shape (C, K).

    >>> import torch
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

    >>> import torch
    >>> event_mean_weights(torch.tensor([[1.0, 4.0, 0.0], [3.0, 0.0, 0.0]])).tolist()
    [[1.0, 0.25, 0.0], [0.0, 0.0, 0.0]]
    """
    present, num_present = presence(counts)
    several = (num_present - 1).clamp(max=1)  # 0 where one group is alone
    return 2 * several * present / (num_present * counts).clamp(min=1)


def group_gaps(rates: Tensor, counts: Tensor) -> Tensor:
    """One-versus-rest gap of each group's rate.

    Args:
        rates: mean rate, shape (C, K): event by group; finite, and any such value where the group is absent.
        counts: samples behind each mean, shape (C, K). A zero marks an absent group.
    Returns:
        gaps, shape (C, K): the group's rate minus the mean of the other present groups' rates; exactly 0 where the
        group is absent or fewer than two are present.
    Raises:
        ValueError: the shapes differ.
    Source: Lokhande et al. 2020, eq. (4), for K = 2 (``d`` and ``-d``); the form for K > 2 is ours.

    >>> import torch
    >>> group_gaps(torch.tensor([[0.5, 0.25]]), torch.tensor([[5, 5]]))
    tensor([[ 0.2500, -0.2500]])
    """
    if rates.shape != counts.shape:
        raise ValueError(f"rates and counts must agree in shape, got {tuple(rates.shape)} and {tuple(counts.shape)}.")
    present, num_present = presence(counts)
    return gaps_among(present * rates, present, num_present)


def gaps_among(rates: Tensor, present: Tensor, num_present: Tensor) -> Tensor:
    """`group_gaps` of rates that are 0 where the group is absent, with what `presence` says of the counts."""
    total = rates.sum(dim=1, keepdim=True)
    # r - (total - r) / (P - 1), on one denominator: exactly 0 where one group is alone.
    return present * (num_present * rates - total) / (num_present - 1).clamp(min=1)
