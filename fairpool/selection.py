"""Choose among runs by their validation figures alone; the test figures of the chosen one are read afterwards."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fairpool.bundle import did_you_mean
from fairpool.configurations import means_compared
from fairpool.constraints import CONSTRAINTS
from fairpool.finished_runs import FinishedRuns, finite_number, read_test_figures
from fairpool.handlers.site_report import FIGURES
from fairpool.tasks import by_task
from fairpool.trivial_gaps import trivial_gap

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

__all__ = ["Choice", "NvpSelection", "choose_runs", "gap_of_constraint", "nvp_selection", "select_nvp"]

# Rates are ratios of counts: two that differ by less are equal, and the product with `within` was rounded.
_DIGITS = 9


@dataclass(frozen=True)
class NvpSelection:
    """A choice by `select_nvp` and what it was made from; numbers count the rows from 0.

    Attributes:
        chosen: the row, as it was given.
        index: its number.
        candidates: numbers of the rows that were accurate enough, the chosen one among them.
        excluded: why a row took no part, by its number.
        best_accuracy: largest accuracy of the rows that took part.
    """

    chosen: Mapping[str, Any]
    index: int
    candidates: list[int]
    excluded: dict[int, str]
    best_accuracy: float


def select_nvp(
    rows: "Sequence[Mapping[str, Any]] | pd.DataFrame",
    error: str = "val/error",
    gap: str = "val/deo",
    within: float = 0.9,
) -> Mapping[str, Any]:
    """The row with the smallest validation gap among those whose validation accuracy is close to the best.

    Accuracy is 1 - error. A row takes part if both figures are finite numbers, and is a candidate if its accuracy is at
    least ``within`` times the best. Of candidates with equal gaps the one with the smaller error is taken, then the
    first. Figures are compared after rounding to nine digits. A row whose gap is 0 because its network is of no use
    (`trivial_gap`, by the rates of the sites beside ``error``, such as ``val/fnr/bern``) takes no part, nor does one
    that says under ``left_out`` why it must not. `nvp_selection` tells more about the same choice.

    Args:
        rows: mappings, or a table's rows; other keys pass through.
        error: key of the validation error, in [0, 1].
        gap: key of the validation gap, at least 0.
        within: share of the best accuracy that a candidate needs, in (0, 1].
    Raises:
        ValueError: no row takes part, a figure is of the test section or out of its range, or ``within`` is.
    Source: Donini et al. 2018, NeurIPS, arXiv:1802.08626, section 5: the "novel validation procedure", with 0.9.

    >>> runs = [
    ...     {"eta": 0.0, "val/error": 0.10, "val/deo": 0.30},
    ...     {"eta": 0.1, "val/error": 0.15, "val/deo": 0.05},
    ...     {"eta": 9.0, "val/error": 0.50, "val/deo": 0.00},
    ... ]
    >>> select_nvp(runs)["eta"]
    0.1
    """
    return nvp_selection(rows, error, gap, within).chosen


def nvp_selection(
    rows: "Sequence[Mapping[str, Any]] | pd.DataFrame",
    error: str = "val/error",
    gap: str = "val/deo",
    within: float = 0.9,
) -> NvpSelection:
    """The choice of `select_nvp`, with the candidates and the rows that took no part.

    Args, Raises, Source: as `select_nvp`.

    >>> chosen = nvp_selection([{"val/error": 0.2, "val/deo": None}, {"val/error": 0.3, "val/deo": 0.1}])
    >>> chosen.index, chosen.excluded
    (1, {0: 'no estimate of val/deo'})
    """
    if not 0 < within <= 1:
        raise ValueError(f"within is the share of the best accuracy that a run needs, in (0, 1]; got {within}.")
    table: list[Mapping[str, Any]] = _mappings(rows)
    if not table:
        raise ValueError("there is no run to select from.")
    for key in (error, gap):
        if key.startswith("test/"):
            raise ValueError(
                f'"{key}" is a test figure: runs chosen by it would be untested. Give a validation figure.'
            )
        known = sorted({str(name) for row in table for name in row})
        if key not in known and not _is_figure_beside(key, known):
            raise ValueError(f'no run has the figure "{key}"{did_you_mean(key, known)}.')
    excluded: dict[int, str] = {}
    figures: dict[int, tuple[float, float]] = {}
    prefix = error[: error.rfind("/") + 1]
    for number, row in enumerate(table):
        told = row.get("left_out")
        reason = told if isinstance(told, str) else trivial_gap(row, prefix)
        if reason:
            excluded[number] = reason
            continue
        missing = [key for key in (error, gap) if finite_number(row.get(key)) is None]
        if missing:
            excluded[number] = f"no estimate of {' and '.join(missing)}"
            continue
        wrong, difference = float(row[error]), float(row[gap])
        if not 0 <= wrong <= 1:
            raise ValueError(f"{error} of run {number + 1} is {wrong:g}: it must be a share in [0, 1], no percentage.")
        if difference < 0:
            raise ValueError(f"{gap} of run {number + 1} is {difference:g}: give the size of a gap, at least 0.")
        figures[number] = wrong, difference
    if not figures:
        reasons = ", ".join(f"{words} ({number})" for words, number in Counter(excluded.values()).items())
        raise ValueError(f"none of {len(table)} runs can be chosen: {reasons}; there is nothing to select from.")
    best = max(1 - wrong for wrong, _ in figures.values())
    candidates = [number for number, (wrong, _) in figures.items() if 1 - wrong >= within * best - 10**-_DIGITS]
    index = min(candidates, key=lambda number: (*(round(value, _DIGITS) for value in figures[number][::-1]), number))
    return NvpSelection(table[index], index, candidates, excluded, best)


@dataclass(frozen=True)
class Choice:
    """What was chosen among some runs, with the test figures of that choice alone.

    Attributes:
        method: the method whose runs were compared; None for the runs of all methods.
        rows: the runs compared, without test figures; means over seeds where that was asked for.
        selection: the choice among them.
        test: test figures of the chosen row by name, such as ``error`` and ``deo``.
        task: of `fairpool.tasks.by_task`, where the runs were of several; None where they were of one.
        notes: what a reader should know of the runs compared, in sentences.
    """

    method: str | None
    rows: list[dict[str, Any]]
    selection: NvpSelection
    test: dict[str, float]
    task: str | None = None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The choice as plain values for a JSON file."""
        names = ["/".join(row.get("run_ids") or [row["run_id"]]) for row in self.rows]
        return {
            "task": self.task,
            "method": self.method,
            "chosen": {key: None if value != value else value for key, value in self.selection.chosen.items()},  # NaN
            "test": self.test,
            "best_accuracy": self.selection.best_accuracy,
            "candidates": [names[number] for number in self.selection.candidates],
            "excluded": {names[number]: reason for number, reason in self.selection.excluded.items()},
            "compared": len(self.rows),
            "notes": list(self.notes),
        }


def choose_runs(
    client: "MlflowClient",
    runs: FinishedRuns,
    *,
    error: str = "val/error",
    gap: str = "val/deo",
    within: float = 0.9,
    by_method: bool = False,
    over_seeds: bool = False,
    by: Sequence[str] | None = None,
    on_failure: Callable[[str], None] | None = None,
) -> list[Choice]:
    """Choices by `select_nvp` among an experiment's runs, and the test figures of what was chosen.

    Runs of several tasks (other data, another target) are not compared: there is a choice for each task.

    Args:
        client: of the store that the runs came from.
        runs: of `fairpool.finished_runs.runs_of`.
        error: as in `select_nvp`.
        gap: as in `select_nvp`.
        within: as in `select_nvp`.
        by_method: one choice a method, each within its own best accuracy, as in the paper's table 1; else one of all.
        over_seeds: compare means over the seeds of a configuration, not single runs: see `means_compared`.
        by: parameters that tell tasks apart, as in `by_task`.
        on_failure: called with a sentence for a task or method of which no run can be chosen, if another has a choice;
            None raises.
    Raises:
        ValueError: as `select_nvp`.
    """
    groups: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    tasks = by_task(runs.rows, by)
    for task, own in tasks.items():
        for row in own:
            groups.setdefault((task, row["method"] if by_method else None), []).append(row)
    if over_seeds:
        groups = {key: means_compared(group) for key, group in groups.items()}
    selected: dict[tuple[str, str | None], NvpSelection] = {}
    failures: list[ValueError] = []
    for (task, method), group in groups.items():
        try:
            selected[task, method] = nvp_selection(group, error, gap, within)
        except ValueError as failure:
            name = ", ".join(filter(None, [task if len(tasks) > 1 else None, method]))
            failures.append(ValueError(f"{name}: {failure}") if len(groups) > 1 else failure)
    if failures and (on_failure is None or not selected):
        raise failures[0]
    if on_failure is not None:
        for reason in failures:
            on_failure(str(reason))
    # Only once every choice is made is anything of the test section read.
    return [
        Choice(
            method,
            groups[task, method],
            selection,
            read_test_figures(client, selection.chosen),
            task if len(tasks) > 1 else None,
            _not_counted(groups[task, method]),
        )
        for (task, method), selection in selected.items()
    ]


def _not_counted(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Sentences on runs of the configurations that no mean holds."""
    notes = {
        "repeats": ("repeats", "repeat", "a seed of the same configuration; of each seed the first run counts"),
        "aside": ("is", "are", "on a seed that not all compared configurations have, and left aside"),
    }
    table = list(rows)
    numbers = {key: sum(row.get(key, 0) for row in table) for key in notes}
    return tuple(
        f"{numbers[key]} {'run ' + one if numbers[key] == 1 else 'runs ' + several} {words}"
        for key, (one, several, words) in notes.items()
        if numbers[key]
    )


def gap_of_constraint(rows: Iterable[Mapping[str, Any]]) -> str:
    """The validation gap that the runs' constraint makes small, ``val/deo`` where they have several or an unknown one.

    Args:
        rows: with the key ``constraint``, as `fairpool.finished_runs.runs_of` gives them.

    >>> gap_of_constraint([{"constraint": "predictive_equality"}])
    'val/fpr_gap'
    >>> gap_of_constraint([{"constraint": "predictive_equality"}, {"constraint": "equal_opportunity"}])
    'val/deo'
    """
    names = {str(row.get("constraint")) for row in rows}
    constraint = CONSTRAINTS.get(names.pop()) if len(names) == 1 else None
    return f"val/{constraint.gap if constraint is not None else 'deo'}"


def _is_figure_beside(key: str, known: Sequence[str]) -> bool:
    """Whether runs have this figure, and these could merely not estimate it: they have others of its section."""
    section, name = key[: key.rfind("/") + 1], key[key.rfind("/") + 1 :]
    return name in FIGURES and any(f"{section}{other}" in known for other in FIGURES)


def _mappings(rows: Any) -> list[Mapping[str, Any]]:
    return rows.to_dict("records") if hasattr(rows, "to_dict") else list(rows)
