"""Cell means over known counts: beyond the paper, a constraint as a fixed weight on each sample.

In a batch from a confounded pool a rare cell has one sample or none, and its mean is noise. With the training table
known, means are taken over the expected count instead, which is exact over micro-batches and processes.
"""

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own abbreviation)
from torch import Tensor, nn

from fairpool.constraints import Constraint
from fairpool.rates import is_comparable

__all__ = ["KnownCounts"]


class KnownCounts(nn.Module):
    """Fixed scales of the constraint's terms, and weights of the base loss, from the training table.

    Args:
        constraint: its events define the cells.
        counts: training samples by label and group, (num_classes, K).
        num_groups: K.
    Raises:
        ValueError: the table has another shape, holds a negative number, or nothing at all.

    Attributes:
        scale: ``2 / (P_c pi[c, k])``, (C, K); 0 where the group takes no part in the event.
    """

    scale: Tensor
    base_weights: Tensor

    def __init__(self, constraint: Constraint, counts: Tensor, num_groups: int) -> None:
        super().__init__()
        if counts.ndim != 2 or counts.shape[1] != num_groups or counts.shape[0] < 2:
            raise ValueError(f"counts must be (num_classes, {num_groups}) samples, got shape {tuple(counts.shape)}.")
        if bool((counts < 0).any()) or not bool(counts.sum() > 0):
            raise ValueError("counts must be non-negative and hold at least one sample.")
        table = counts.double()
        total = table.sum()
        by_event = constraint.weights(torch.arange(len(table))).double().t() @ table  # (C, K)
        comparable = is_comparable(by_event)
        scale = 2 * total / (comparable.sum(dim=1, keepdim=True) * by_event)  # 2 / (P_c pi[c, k])
        scale = torch.where(comparable, scale, 0)
        expected = table.sum(1, keepdim=True) * table.sum(0, keepdim=True) / total
        base_weights = torch.where(table > 0, expected / table, 0)
        self.register_buffer("scale", scale.float(), persistent=False)
        # Column 0 is the unknown group, whose samples keep weight 1.
        self.register_buffer("base_weights", F.pad(base_weights, (1, 0), value=1.0).float(), persistent=False)

    def sample_weights(self, labels: Tensor, groups: Tensor) -> Tensor:
        """Weight of each sample's base loss, (B,)."""
        return self.base_weights[labels, groups + 1]
