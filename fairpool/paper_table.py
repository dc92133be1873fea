"""The paper's table 1 from MLflow runs: error and gap of each method on each task, chosen by validation alone."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from fairpool.finished_runs import FinishedRuns, read_test_figures, runs_of
from fairpool.selection import Choice, choose_runs, gap_of_constraint
from fairpool.tasks import by_task
from fairpool.trivial_gaps import trivial_gap

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["METHOD_NAMES", "Figure", "PaperTable", "Task", "paper_table"]

METHOD_NAMES = {
    "unconstrained": "No constraints",
    "l2_penalty": "l2 penalty",
    "reweighted": "Reweight",
    "balanced_sampling": "Balanced sampling",
    "adversarial": "Adversarial",
    "lagrangian": "Lagrangian",
    "proxy_lagrangian": "Proxy-Lagrangian",
    "fairalm_paper": "FairALM (paper)",
    "fairalm_quadratic": "FairALM (quadratic)",
    "fairalm_balanced": "FairALM (balanced)",
    "fairalm": "FairALM",
}
"""The methods as the paper names them, in its order, and those that it has not."""

_DIGITS = 1


@dataclass(frozen=True)
class Figure:
    """A test figure of what was chosen, in percent.

    Attributes:
        mean: over the chosen runs that could estimate it.
        sd: their sample standard deviation; None of one run.
        runs: their number.
    """

    mean: float
    sd: float | None
    runs: int

    def __str__(self) -> str:
        return f"{self.mean:.{_DIGITS}f}" + (f" ± {self.sd:.{_DIGITS}f}" if self.sd is not None else "")


@dataclass(frozen=True)
class Task:
    """A column of the table: runs on the same data with the same question.

    Attributes:
        title: such as "Cooking(+) Driving(-)".
        figures: by method, the test error and the test gap; None where there is no estimate, or where it is no
            fairness (`trivial_gap`).
        run_ids: by method, the runs chosen.
    """

    title: str
    figures: dict[str, tuple[Figure | None, Figure | None]] = field(default_factory=dict)
    run_ids: dict[str, list[str]] = field(default_factory=dict)

    def best(self, place: int) -> set[str]:
        """The methods with the smallest figure as it is printed: 0 of the error, 1 of the gap."""
        shown = {m: round(pair[place].mean, _DIGITS) for m, pair in self.figures.items() if pair[place] is not None}  # type: ignore[union-attr]
        return {method for method, value in shown.items() if value == min(shown.values())}


@dataclass(frozen=True)
class PaperTable:
    """Methods by tasks.

    Attributes:
        methods: in the paper's order.
        tasks: the columns.
        gap: name of the gap, such as "deo".
        notes: what a reader should know: choices that could not be made, runs left out.
    """

    methods: list[str]
    tasks: list[Task]
    gap: str
    notes: list[str]

    def cells(self, method: str) -> list[tuple[str, bool]]:
        """Error and gap of each task as text, and whether it is the best of its column; "-" where no run is there."""
        found = []
        for task in self.tasks:
            for place in (0, 1):
                figure = task.figures[method][place] if method in task.figures else None
                text = "-" if method not in task.figures else "no estimate" if figure is None else str(figure)
                found.append((text, method in task.best(place)))
        return found

    @property
    def spread(self) -> str:
        """What the figures are: a sentence for the caption."""
        runs = {f.runs for task in self.tasks for pair in task.figures.values() for f in pair if f is not None}
        if runs <= {1}:
            return "test figures of one run each, in %"
        words = f"{min(runs)}" if len(runs) == 1 else f"{min(runs)} to {max(runs)}"
        return f"test figures in %, mean ± standard deviation over {words} seeds"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""

        def plain(figure: Figure | None) -> dict[str, Any] | None:
            return None if figure is None else {"mean": figure.mean, "sd": figure.sd, "runs": figure.runs}

        tasks = [
            {
                "task": task.title,
                "methods": {
                    method: {"error": plain(error), self.gap: plain(gap), "run_ids": task.run_ids[method]}
                    for method, (error, gap) in task.figures.items()
                },
            }
            for task in self.tasks
        ]
        return {"unit": "percent", "tasks": tasks, "notes": self.notes}


def paper_table(
    client: "MlflowClient",
    experiments: Sequence[str],
    *,
    by: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    gap: str | None = None,
    within: float = 0.9,
    each_run: bool = False,
) -> PaperTable:
    """Gather the runs of several studies into one table.

    Runs belong to one task if they have the same data and the same values of some parameters. For each task and method
    one configuration is chosen by `select_nvp`, within that method's own best accuracy, from validation figures; its
    test figures are shown. What is compared and shown is the mean over its seeds; configurations with fewer seeds than
    the method's others take no part, for the smallest of many single runs is small by luck.

    Args:
        client: of the store.
        experiments: names; `fairpool run` takes the pipeline's.
        by: parameters that tell the tasks apart; None is as in `by_task`.
        methods: only these; None is all.
        gap: validation gap to make small; None is that of the runs' constraint.
        within: share of the best accuracy that a run needs.
        each_run: choose among single runs, as the paper may have; it favours a lucky seed.
    Raises:
        ValueError: an experiment is not there or holds no finished run, or a parameter is unknown.
    Source: Lokhande et al. 2020, table 1; the choice is Donini et al. 2018.
    """
    rows, notes = [], []
    for experiment in experiments:
        found = runs_of(client, experiment, methods=methods)
        rows += [{**row, "experiment": experiment} for row in found.rows]
        notes += [f"left out: {n} {state.lower()} runs of {experiment}" for state, n in sorted(found.left_out.items())]
    for name in by or ():
        if not any(f"params/{name}" in row for row in rows):
            raise ValueError(f'no run has the parameter "{name}".')
    gap = gap if gap is not None else gap_of_constraint(rows)
    tasks = []
    for title, group in by_task(rows, by).items():
        task = Task(title)
        for method in dict.fromkeys(str(row["method"]) for row in group):
            own = FinishedRuns([row for row in group if row["method"] == method], {})
            try:
                # The title stands for all that tells tasks apart: these are of one.
                (choice,) = choose_runs(client, own, gap=gap, within=within, over_seeds=not each_run, by=by)
            except ValueError as error:
                notes.append(f"{title}, {method}: {error}")
                continue
            notes += [f"{title}, {method}: {sentence}" for sentence in _left_out(choice)]
            picked = choice.selection.chosen
            task.run_ids[method] = list(picked.get("run_ids") or [picked["run_id"]])
            tested = [read_test_figures(client, {"run_id": run_id}) for run_id in task.run_ids[method]]
            trivial = Counter(reason for figures in tested if (reason := trivial_gap(figures)))
            for reason, number in trivial.items():
                runs = "the run" if len(tested) == 1 else f"{number} of {len(tested)} runs"
                notes.append(f"{title}, {method}: {runs} {reason} of the test set: its gap of 0 is no fairness")
            test_gap = None if trivial else _figure(tested, gap.removeprefix("val/"))
            task.figures[method] = (_figure(tested, "error"), test_gap)
        tasks.append(task)
    there = {method for task in tasks for method in task.figures}
    order = [*(name for name in METHOD_NAMES if name in there), *sorted(there - set(METHOD_NAMES))]
    return PaperTable(order, tasks, gap.removeprefix("val/"), notes)


def _left_out(choice: Choice) -> list[str]:
    """Of the configurations that were not compared: how many, and why."""
    reasons = Counter(choice.selection.excluded.values())
    return [f"{number} of {len(choice.rows)} left out: {words}" for words, number in reasons.items()] + [*choice.notes]


def _figure(tested: Iterable[Mapping[str, float]], name: str) -> Figure | None:
    values = [100 * figures[name] for figures in tested if name in figures]
    return Figure(fmean(values), stdev(values) if len(values) > 1 else None, len(values)) if values else None
