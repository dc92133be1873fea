"""fairtorch: its constraint loss on true positive rates, a penalty without a multiplier.

The package brings demographic parity and equalized odds, whose means are a loop of boolean indexing. Equal opportunity
is written here on its base class by the two attributes that those set, with one segmented sum for all groups.
"""

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own abbreviation)
from fairtorch import ConstraintLoss
from torch import Tensor

from step_peers.task import PENALTY, Contender, Task


class EqualOpportunityLoss(ConstraintLoss):  # type: ignore[misc]
    """Squared excess of each group's true positive rate over that of all samples, and of all over it."""

    def __init__(self) -> None:
        super().__init__(n_class=2, alpha=1, p_norm=2)
        apart = torch.tensor([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]])
        self.M = torch.cat([apart, -apart])
        self.c = torch.zeros(4)
        self.device = torch.device("cpu")  # it takes a GPU where there is one

    def mu_f(self, X: Tensor | None, out: Tensor, sensitive: Tensor, y: Tensor) -> Tensor:  # noqa: N803
        """True positive rates of the two groups and of all, (3,)."""
        is_positive = y.to(out.dtype)
        columns = torch.stack([is_positive, out * is_positive], dim=1)
        by_group = columns.new_zeros(2, 2).index_add(0, sensitive, columns)
        counts, sums = torch.cat([by_group, by_group.sum(dim=0, keepdim=True)]).unbind(1)
        return sums / counts


def make_contender(task: Task) -> Contender:
    """Cross-entropy plus the penalty."""
    penalty = EqualOpportunityLoss()
    optimizer = task.optimizer()

    def unfairness(logits: Tensor) -> Tensor:
        found: Tensor = penalty(None, logits[:, 1] - logits[:, 0], task.groups, task.labels)
        return found

    def step() -> None:
        optimizer.zero_grad()
        logits = task.network(task.inputs)
        (F.cross_entropy(logits, task.labels) + PENALTY * unfairness(logits)).backward()
        optimizer.step()

    def found() -> float:
        return float(unfairness(task.network(task.inputs)).detach())

    return Contender(step, found, lambda rates, rate: float(((rates - rate) ** 2).sum()))
