"""``fairpool select``: the choice among an experiment's runs by their validation figures."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairpool.commands.options import DEFAULT_OUTPUT, Output, TrackingUri
from fairpool.commands.outcome import check_target, check_within, method_names, quieten
from fairpool.gaps import GAP_WORDS

if TYPE_CHECKING:
    from rich.table import Table

    from fairpool.finished_runs import FinishedRuns
    from fairpool.selection import Choice

__all__ = ["select"]

_SHOWN_SETTINGS = 8
_CHOICES_AS_COLUMNS = 3
_NAMED = 3
_WORDS = {
    "error": "error",
    "balanced_error": "balanced error",
    **GAP_WORDS,
    "eodds_gap": "equalized odds gap",
    "fdr_gap": "FDR gap",  # short, for a column
    "worst_group_error": "worst site's error",
}


def select(
    experiment: Annotated[str, typer.Argument(help="An MLflow experiment; `fairpool run` takes the pipeline's name.")],
    output: Output = DEFAULT_OUTPUT,
    tracking_uri: TrackingUri = None,
    study: Annotated[str | None, typer.Option("--study", help="Only runs of this study.")] = None,
    sweep: Annotated[str | None, typer.Option("--sweep", help="Only runs of this sweep.")] = None,
    method: Annotated[str | None, typer.Option("--method", help="Only these methods, separated by commas.")] = None,
    error: Annotated[str, typer.Option("--error", help="Validation error; accuracy is 1 - error.")] = "val/error",
    gap: Annotated[
        str | None,
        typer.Option("--gap", help="Validation gap to make small; default: what the runs' constraint makes small."),
    ] = None,
    within: Annotated[float, typer.Option("--within", help="Share of the best accuracy that a run needs.")] = 0.9,
    by_method: Annotated[bool, typer.Option("--by-method", help="One choice for each method.")] = False,
    over_seeds: Annotated[
        bool, typer.Option("--over-seeds", help="Compare means over the seeds of a configuration, not single runs.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the choice here.")] = None,
) -> None:
    """Choose a run by its validation figures, and show the test figures of that run alone.

    Of all finished runs whose validation accuracy is at least 90 % of the best, the one with the smallest validation
    gap (Donini et al. 2018): of the runs' own constraint, such as val/fpr_gap for predictive_equality, and val/deo
    where runs of several constraints are compared. By default there is one choice among the runs of all methods; with
    --by-method one for each, within that method's own best accuracy, as in the paper's table 1. Runs on other data or
    with another target have a choice of their own. A choice among single runs favours a lucky seed; where
    configurations were run with several, add --over-seeds.
    """
    from fairpool.finished_runs import mean_over_seeds, open_store, runs_of
    from fairpool.selection import choose_runs, gap_of_constraint
    from fairpool.tracking import default_tracking_uri
    from fairpool.whole_file import write_json

    check_within(within)
    check_target("--json", json_file)
    methods = method_names("--method", method)
    quieten()
    client = open_store(tracking_uri or default_tracking_uri(output))
    runs = runs_of(client, experiment, study=study, methods=methods, sweep=sweep)
    gap = gap if gap is not None else gap_of_constraint(runs.rows)
    failures: list[str] = []
    choices = choose_runs(
        client,
        runs,
        error=error,
        gap=gap,
        within=within,
        by_method=by_method,
        over_seeds=over_seeds,
        on_failure=failures.append,
    )
    show_choices(choices, runs, error=error, gap=gap, within=within)
    for sentence in failures:
        typer.echo(f"no choice of {sentence}")
    if not over_seeds and len(mean_over_seeds(runs.rows)) < len(runs.rows):
        typer.echo("note: single runs were compared, which favours a lucky seed; --over-seeds compares means")
    if json_file is not None:
        rule = {"experiment": experiment, "error": error, "gap": gap, "within": within, "over_seeds": over_seeds}
        found = {**rule, "left_out": runs.left_out, "no_choice": failures}
        found["choices"] = [choice.as_dict() for choice in choices]
        write_json(json_file, found, allow_nan=False)


def show_choices(choices: "Sequence[Choice]", runs: "FinishedRuns", *, error: str, gap: str, within: float) -> None:
    """Print the choices of each task, one column each, or of many one row, with what they were made from."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(file=sys.stdout)
    tasks = list(dict.fromkeys(choice.task for choice in choices))
    measure = gap.removeprefix("val/")
    words = f"validation {_WORDS[measure]} ({gap})" if measure in _WORDS else gap
    title = f"Smallest {words} among runs with at least {100 * within:g} % of the best accuracy"
    for task in tasks:
        own = [choice for choice in choices if choice.task == task]
        is_many = len(own) > _CHOICES_AS_COLUMNS
        grid = _many(own, error, gap) if is_many else _few(own, _settings(own, runs), error, gap)
        grid.title = escape(f"{task}\n{title}" if task else title)
        console.print(grid)
    for sentence in _left_out(choices):
        console.print(f"left out: {sentence}", markup=False, highlight=False, soft_wrap=True)
    for state, number in sorted(runs.left_out.items()):
        console.print(f"left out: {number} {state.lower()} run{'s' if number > 1 else ''}", highlight=False)
    for sentence in dict.fromkeys(sentence for choice in choices for sentence in choice.notes):
        console.print(f"note: {sentence}", markup=False, highlight=False, soft_wrap=True)
    if len(tasks) > 1:
        console.print(
            f"note: these runs are of {len(tasks)} tasks (other data, another target), each with a choice of its own; "
            "--study or --sweep takes one",
            highlight=False,
            soft_wrap=True,
        )
    constraints = sorted({str(row.get("constraint")) for row in runs.rows})
    if len(constraints) > 1:
        console.print(
            f"note: these runs were trained with different constraints ({', '.join(constraints)}); --gap says which "
            "gap counts",
            highlight=False,
            soft_wrap=True,
        )
    settings, is_many = _settings(choices, runs), len(choices) > _CHOICES_AS_COLUMNS
    for number, choice in enumerate(choices):
        row = choice.selection.chosen
        text = f"{_name(choice)}: MLflow run {', '.join(row.get('run_ids') or [row['run_id']])}"
        if is_many:
            values = [f"{name} {cells[number]}" for name, cells in settings.items() if cells[number] != "-"]
            text = ", ".join([text, f"study {row.get('study')}", *values])
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _name(choice: "Choice") -> str:
    """What a choice is of."""
    return ", ".join(filter(None, [choice.task, choice.method])) or "chosen"


def _left_out(choices: "Sequence[Choice]") -> list[str]:
    """Runs that took no part, by the reason: named if they are few."""
    names: dict[str, list[str]] = {}
    for choice in choices:
        for number, reason in choice.selection.excluded.items():
            left = choice.rows[number]
            name = f"{left.get('run_name') or left.get('method')} of study {left.get('study')}"
            names.setdefault(reason, []).append(name)
    return [
        f"{', '.join(own[:_NAMED])}{f' and {len(own) - _NAMED} more' if len(own) > _NAMED else ''}: {reason}"
        for reason, own in names.items()
    ]


def _settings(choices: "Sequence[Choice]", runs: "FinishedRuns") -> dict[str, list[str]]:
    """Parameters in which the runs differ, of each choice."""
    names = [key for key in dict.fromkeys(key for row in runs.rows for key in row) if key.startswith("params/")]
    apart = {"params/method", "params/seed"}
    varied = [key for key in names if key not in apart and len({row[key] for row in runs.rows if key in row}) > 1]
    chosen = [choice.selection.chosen for choice in choices]
    return {
        key.removeprefix("params/"): [_short(row[key]) if key in row else "-" for row in chosen]
        for key in varied[:_SHOWN_SETTINGS]
    }


def _few(choices: "Sequence[Choice]", settings: dict[str, list[str]], error: str, gap: str) -> "Table":
    """A column for each choice."""
    from rich.markup import escape
    from rich.table import Table

    chosen = [choice.selection.chosen for choice in choices]
    rows = {
        "method": [str(row.get("method")) for row in chosen],
        "seed": [f"mean over {row['seeds']}" if "seeds" in row else str(row.get("seed")) for row in chosen],
        "study": [str(row.get("study")) for row in chosen],
        **settings,
    }
    rows |= {f"{name}, %": _percents(chosen, name) for name in (error, gap)}
    for name in _test_figures(error, gap):
        rows[f"test {_WORDS.get(name, name)}, %"] = _percents([choice.test for choice in choices], name)
    rows["accurate enough"] = [f"{len(c.selection.candidates)} of {len(c.rows)}" for c in choices]
    grid = Table()
    grid.add_column("", overflow="fold")
    for choice in choices:
        grid.add_column(escape(choice.method or "chosen"), justify="right", overflow="fold")
    for title, cells in rows.items():
        grid.add_row(escape(title), *map(escape, cells))
    return grid


def _many(choices: "Sequence[Choice]", error: str, gap: str) -> "Table":
    """A row for each choice, in 80 columns; their studies and settings stand below."""
    from rich.markup import escape
    from rich.table import Table

    chosen = [choice.selection.chosen for choice in choices]
    columns = {
        "method": [str(row.get("method")) for row in chosen],
        "seed": [_counted(row["seeds"]) if "seeds" in row else str(row.get("seed")) for row in chosen],
    }
    for name in (error, gap):
        columns[f"val. {_WORDS.get(name.removeprefix('val/'), name)}"] = _percents(chosen, name)
    for name in _test_figures(error, gap)[:3]:
        columns[f"test {_WORDS.get(name, name)}"] = _percents([choice.test for choice in choices], name)
    grid = Table(caption="percent, means over seeds" if any("seeds" in row for row in chosen) else "percent")
    for number, title in enumerate(columns):
        grid.add_column(
            escape(title.replace(" ", "\n")), justify="right" if number else "left", overflow="fold", no_wrap=not number
        )
    for cells in zip(*columns.values(), strict=True):
        grid.add_row(*map(escape, cells))
    return grid


def _counted(seeds: int) -> str:
    return f"{seeds} seed{'s' if seeds != 1 else ''}"


def _test_figures(error: str, gap: str) -> list[str]:
    """The figures that were chosen by, in the test, then those that every table shows."""
    return list(dict.fromkeys([error.removeprefix("val/"), gap.removeprefix("val/"), "error", "deo", "fpr_gap"]))


def _percents(figures: "Sequence[Mapping[str, Any]]", name: str) -> list[str]:
    return [f"{100 * float(row[name]):.1f}" if name in row else "no estimate" for row in figures]


def _short(value: object) -> str:
    """A setting as read: sampled numbers have sixteen digits."""
    try:
        return f"{float(str(value)):.4g}"
    except ValueError:
        return str(value)
