"""cooper-optim: its augmented Lagrangian with one equality constraint, primal and dual step at once."""

import cooper
import torch
import torch.nn.functional as F  # noqa: N812  (the field's own abbreviation)

from step_peers.task import PENALTY, STEP, Contender, Task, error_gap


class EqualErrors(cooper.ConstrainedMinimizationProblem):
    """Cross-entropy subject to a gap of 0."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.gap = cooper.Constraint(
            constraint_type=cooper.ConstraintType.EQUALITY,
            formulation_type=cooper.formulations.AugmentedLagrangian,
            multiplier=cooper.multipliers.DenseMultiplier(num_constraints=1),
            penalty_coefficient=cooper.penalty_coefficients.DensePenaltyCoefficient(torch.tensor(PENALTY)),
        )

    def compute_cmp_state(self) -> cooper.CMPState:
        """One forward pass and one softmax for both parts."""
        task = self.task
        entropies = F.cross_entropy(task.network(task.inputs), task.labels, reduction="none")
        violation = error_gap(entropies, task.labels, task.groups)
        state = cooper.ConstraintState(violation=violation)
        return cooper.CMPState(loss=entropies.mean(), observed_constraints={self.gap: state})


def make_contender(task: Task) -> Contender:
    """The cheapest of its optimizers: one forward pass serves both steps."""
    problem = EqualErrors(task)
    optimizer = cooper.optim.SimultaneousOptimizer(
        cmp=problem,
        primal_optimizers=task.optimizer(),
        dual_optimizers=torch.optim.SGD(problem.dual_parameters(), lr=STEP, maximize=True),
    )

    def step() -> None:
        optimizer.roll()

    def found() -> float:
        step()
        return float(problem.gap.multiplier.weight.detach()) / STEP

    return Contender(step, found, lambda rates, _: float(rates[1] - rates[0]))
