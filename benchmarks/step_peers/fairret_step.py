"""fairret: its norm loss on true positive rates, a penalty without a multiplier."""

import torch.nn.functional as F  # noqa: N812  (the field's own abbreviation)
from fairret.loss import NormLoss
from fairret.statistic import TruePositiveRate
from torch import Tensor

from step_peers.task import PENALTY, Contender, Task


def make_contender(task: Task) -> Contender:
    """Groups as one-hot columns, as it wants them, made once and not in the step."""
    penalty = NormLoss(TruePositiveRate())
    optimizer = task.optimizer()
    members, labels = F.one_hot(task.groups, 2).float(), task.labels.float()[:, None]

    def unfairness(logits: Tensor) -> Tensor:
        return penalty(logits[:, 1:] - logits[:, :1], members, labels)

    def step() -> None:
        optimizer.zero_grad()
        logits = task.network(task.inputs)
        (F.cross_entropy(logits, task.labels) + PENALTY * unfairness(logits)).backward()
        optimizer.step()

    def found() -> float:
        return float(unfairness(task.network(task.inputs)).detach())

    return Contender(step, found, lambda rates, rate: float(abs(rates / rate - 1).sum()))
