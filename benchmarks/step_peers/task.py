"""The step that every contender takes, and the rates that two of them want from their user."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["PENALTY", "STEP", "Contender", "Task", "error_gap", "true_positive_rates"]

STEP, PENALTY = 0.01, 0.1
"""Step of the multipliers and weight of the penalty, where a contender has them."""


@dataclass(frozen=True)
class Task:
    """A network on fixed data; the network of the loss alone has no parameters, so that its inputs move.

    Attributes:
        network: (B, ...) to logits (B, 2).
        inputs: (B, ...).
        labels: (B,), 0 or 1.
        groups: (B,), 0..K-1.
        num_groups: K; 2 for the other libraries.
    """

    network: nn.Module
    inputs: Tensor
    labels: Tensor
    groups: Tensor
    num_groups: int

    def optimizer(self) -> torch.optim.Optimizer:
        """Plain gradient descent on what can move, the same for every contender."""
        return torch.optim.SGD(list(self.network.parameters()) or [self.inputs], lr=1e-3)


@dataclass(frozen=True)
class Contender:
    """A step to time and the proof that it is the step it claims to be.

    Attributes:
        step: one whole training step.
        found: the constraint's value as the library itself holds it: called once, before any step.
        expected: the same value from the true positive rates by group, NaN where there is none, and of all samples.
    """

    step: Callable[[], None]
    found: Callable[[], float | list[float]]
    expected: Callable[[np.ndarray, float], float | np.ndarray]


def error_gap(entropies: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """False negative rate of group 0 minus that of group 1, (1,), with a gradient, in few kernel calls.

    Args:
        entropies: cross-entropy of each sample, (B,); the error is ``1 - exp(-entropy)``, so no second softmax.
        labels: (B,), 0 or 1.
        groups: (B,), 0 or 1.
    """
    is_positive = labels.to(entropies.dtype)
    columns = torch.stack([is_positive, -torch.expm1(-entropies) * is_positive], dim=1)
    counts, sums = columns.new_zeros(2, 2).index_add(0, groups, columns).unbind(1)
    rates = sums / counts
    return rates[:1] - rates[1:]


def true_positive_rates(task: Task) -> tuple[np.ndarray, float]:
    """Mean probability of class 1 among the positives, by group, (K,), and over all: NumPy, double, a loop."""
    with torch.no_grad():
        scores = task.network(task.inputs).double().numpy()
    is_positive, groups = task.labels.numpy() == 1, task.groups.numpy()
    chance = 1 / (1 + np.exp(scores[:, 0] - scores[:, 1]))
    members = [chance[is_positive & (groups == number)] for number in range(task.num_groups)]
    return np.array([one.mean() if len(one) else np.nan for one in members]), float(chance[is_positive].mean())
