"""fairpool: FairALM as the paper has it."""

import numpy as np
from torch import nn

from fairpool import EqualOpportunity, FairALMLoss
from step_peers.task import STEP, Contender, Task


def make_contender(task: Task) -> Contender:
    """The two lines of the README: the loss, and the multipliers after the optimizer."""
    loss = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), task.num_groups, dual_step=STEP)
    optimizer = task.optimizer()

    def step() -> None:
        optimizer.zero_grad()
        loss(task.network(task.inputs), task.labels, task.groups).backward()
        optimizer.step()
        loss.update_multipliers()

    def found() -> list[float]:
        step()
        return (loss.multipliers[0] / STEP).tolist()

    return Contender(step, found, error_gaps)


def error_gaps(rates: np.ndarray, _: float) -> np.ndarray:
    """Each group's error minus the mean error of the others; 0 where there is nothing to compare."""
    others = [np.delete(rates, number) for number in range(len(rates))]
    gaps = [
        0.0 if np.isnan(own) or np.isnan(rest).all() else np.nanmean(rest) - own
        for own, rest in zip(rates, others, strict=True)
    ]
    return np.array(gaps)
