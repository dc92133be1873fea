"""humancompatible-train: its augmented Lagrangian with one equality constraint, by the entry point it recommends."""

import torch.nn.functional as F  # noqa: N812  (the field's own abbreviation)
from humancompatible.train.dual_optim import ALM

from step_peers.task import PENALTY, STEP, Contender, Task, error_gap


def make_contender(task: Task) -> Contender:
    """``forward_update``, then the optimizer."""
    dual = ALM(m=1, lr=STEP, penalty=PENALTY)
    optimizer = task.optimizer()

    def step() -> None:
        optimizer.zero_grad()
        entropies = F.cross_entropy(task.network(task.inputs), task.labels, reduction="none")
        dual.forward_update(entropies.mean(), error_gap(entropies, task.labels, task.groups)).backward()
        optimizer.step()

    def found() -> float:
        step()
        return float(dual.duals.detach()) / STEP

    return Contender(step, found, lambda rates, _: float(rates[1] - rates[0]))
