"""Cell means over known counts: beyond the paper, a constraint as a fixed weight on each sample.

In a batch from a confounded pool a rare cell has one sample or none, and its mean is noise. With the training table
known, means are taken over the expected count instead, which is exact over micro-batches and processes.
"""

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own abbreviation)
from torch import Tensor

from fairpool.constraints import Constraint
from fairpool.rates import is_comparable

__all__ = ["cell_weights", "check_rows", "checked_table", "event_scale", "weighted_mean"]


def checked_table(counts: Tensor, num_groups: int) -> Tensor:
    """The table of training samples by label and group as double precision, (num_classes, K).

    Raises:
        ValueError: the table has another shape, holds what is no count, or nothing at all.
    """
    table = torch.as_tensor(counts).double()
    if table.ndim != 2 or table.shape[1] != num_groups or table.shape[0] < 2:
        raise ValueError(f"counts must be (num_classes, {num_groups}) samples, got shape {tuple(table.shape)}.")
    if not bool(((table >= 0) & table.isfinite()).all()) or not bool(table.sum() > 0):
        raise ValueError("counts must be non-negative, finite, and hold at least one sample.")
    return table


def event_scale(constraint: Constraint, table: Tensor) -> Tensor:
    """``2 / (P_c pi[c, k])``, (C, K), with pi the share of the samples in event and group; 0 where a group has no part.

    The share is that of the samples of known group: in a batch with unknown ones the terms weaken by their part.

    Args:
        constraint: its events define the cells.
        table: of `checked_table`.

    >>> from fairpool import EqualOpportunity
    >>> event_scale(EqualOpportunity(), torch.tensor([[3.0, 1.0], [1.0, 5.0]]))
    tensor([[10.,  2.]])
    """
    by_event = constraint.weights(torch.arange(len(table))).to(table.dtype).t() @ table  # (C, K)
    comparable = is_comparable(by_event)
    scale = 2 * table.sum() / (comparable.sum(dim=1, keepdim=True) * by_event)
    return torch.where(comparable, scale, 0).float()


def cell_weights(table: Tensor) -> Tensor:
    """``n_y n_k / (N n_yk)`` by label and group, which takes the association of the two out of a weighted mean.

    Args:
        table: of `checked_table`.
    Returns:
        weights, (num_classes, K + 1); 0 for an empty cell, and 1 in column 0, which is that of the unknown group -1.
    Source: Kamiran and Calders 2012, Knowledge and Information Systems 33, doi:10.1007/s10115-011-0463-8.
    """
    expected = table.sum(1, keepdim=True) * table.sum(0, keepdim=True) / table.sum()
    return F.pad(torch.where(table > 0, expected / table, 0), (1, 0), value=1.0).float()


def check_rows(weights: Tensor, num_classes: int) -> None:
    """Refuse a table with another number of labels than the network's output has classes.

    Args:
        weights: of `cell_weights`.
        num_classes: C.
    Raises:
        ValueError: naming both numbers.
    """
    if len(weights) != num_classes:
        raise ValueError(
            f"counts has {len(weights)} labels and the network's output {num_classes}: give a row of counts for every "
            "class."
        )


def weighted_mean(base: Tensor, weights: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """Mean over the samples of the base loss (B,) times the weight of its (label, group) cell.

    Args:
        base: loss of each sample, (B,) or (B, 1).
        weights: of `cell_weights`.
        labels: (B,), int64.
        groups: (B,), int64, -1 for unknown.
    Raises:
        ValueError: the base loss reduces, so that there is nothing to weight.
    """
    if base.numel() != len(labels):
        raise ValueError(
            f'weights by cell need a base loss with reduction="none"; got {tuple(base.shape)} values for '
            f"{len(labels)} samples."
        )
    return (base.view(-1) * weights[labels, groups + 1]).mean()
