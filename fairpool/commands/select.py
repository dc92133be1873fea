"""``fairpool select``: the choice among an experiment's runs by their validation figures."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairpool.commands.options import DEFAULT_OUTPUT, Output, TrackingUri
from fairpool.commands.outcome import quieten, refuse_usage

if TYPE_CHECKING:
    from fairpool.finished_runs import FinishedRuns
    from fairpool.selection import Choice

__all__ = ["select"]

_SHOWN_SETTINGS = 8
_CHOICES_AS_COLUMNS = 3


def select(
    experiment: Annotated[str, typer.Argument(help="An MLflow experiment; `fairpool run` takes the pipeline's name.")],
    output: Output = DEFAULT_OUTPUT,
    tracking_uri: TrackingUri = None,
    study: Annotated[str | None, typer.Option("--study", help="Only runs of this study.")] = None,
    sweep: Annotated[str | None, typer.Option("--sweep", help="Only runs of this sweep.")] = None,
    method: Annotated[str | None, typer.Option("--method", help="Only these methods, separated by commas.")] = None,
    error: Annotated[str, typer.Option("--error", help="Validation error; accuracy is 1 - error.")] = "val/error",
    gap: Annotated[str, typer.Option("--gap", help="Validation gap to make small.")] = "val/deo",
    within: Annotated[float, typer.Option("--within", help="Share of the best accuracy that a run needs.")] = 0.9,
    by_method: Annotated[bool, typer.Option("--by-method", help="One choice for each method.")] = False,
    over_seeds: Annotated[
        bool, typer.Option("--over-seeds", help="Compare means over the seeds of a configuration, not single runs.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the choice here.")] = None,
) -> None:
    """Choose a run by its validation figures, and show the test figures of that run alone.

    Of all finished runs whose validation accuracy is at least 90 % of the best, the one with the smallest validation
    gap (Donini et al. 2018). By default there is one choice among the runs of all methods; with --by-method one for
    each, within that method's own best accuracy, as in the paper's table 1. A choice among single runs favours a lucky
    seed; where every configuration was run with several, add --over-seeds.
    """
    from fairpool.finished_runs import open_store, runs_of
    from fairpool.selection import choose_runs
    from fairpool.tracking import default_tracking_uri

    if not 0 < within <= 1:
        refuse_usage(f"--within is a share of the best accuracy, in (0, 1]; got {within}.")
    quieten()
    methods = [name.strip() for name in method.split(",") if name.strip()] if method is not None else None
    client = open_store(tracking_uri or default_tracking_uri(output))
    runs = runs_of(client, experiment, study=study, methods=methods, sweep=sweep)
    choices = choose_runs(client, runs, error=error, gap=gap, within=within, by_method=by_method, over_seeds=over_seeds)
    show_choices(choices, runs, error=error, gap=gap, within=within)
    if json_file is not None:
        rule = {"experiment": experiment, "error": error, "gap": gap, "within": within, "over_seeds": over_seeds}
        found = {**rule, "left_out": runs.left_out, "choices": [choice.as_dict() for choice in choices]}
        json_file.write_text(json.dumps(found, indent=1, allow_nan=False), encoding="utf-8")


def show_choices(choices: "Sequence[Choice]", runs: "FinishedRuns", *, error: str, gap: str, within: float) -> None:
    """Print the choices, one column each, or of many one row, with what they were made from."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(file=sys.stdout)
    names = [key for key in dict.fromkeys(key for row in runs.rows for key in row) if key.startswith("params/")]
    apart = {"params/method", "params/seed"}
    varied = [key for key in names if key not in apart and len({row[key] for row in runs.rows if key in row}) > 1]
    chosen = [choice.selection.chosen for choice in choices]
    settings = {
        key.removeprefix("params/"): [_short(row[key]) if key in row else "-" for row in chosen]
        for key in varied[:_SHOWN_SETTINGS]
    }
    facts = {
        "method": [str(row.get("method")) for row in chosen],
        "seed": [f"mean over {row['seeds']}" if "seeds" in row else str(row.get("seed")) for row in chosen],
    }
    figures = {f"{name}, %": [f"{100 * float(row[name]):.1f}" for row in chosen] for name in (error, gap)}
    for figure, title in {"error": "test error, %", "deo": "test DEO, %", "fpr_gap": "test FPR gap, %"}.items():
        figures[title] = [f"{100 * c.test[figure]:.1f}" if figure in c.test else "no estimate" for c in choices]
    grid = Table(title=f"Smallest {gap} from {100 * within:g} % of the best accuracy on")
    if len(choices) > _CHOICES_AS_COLUMNS:  # their studies and settings stand below
        for number, title in enumerate(facts | figures):
            grid.add_column(escape(title), justify="right" if number else "left", no_wrap=not number)
        for cells in zip(*(facts | figures).values(), strict=True):
            grid.add_row(*map(escape, cells))
    else:
        facts["study"] = [str(row.get("study")) for row in chosen]
        counts = {"accurate enough": [f"{len(c.selection.candidates)} of {len(c.rows)}" for c in choices]}
        grid.add_column("")
        for choice in choices:
            grid.add_column(escape(choice.method or "chosen"), justify="right")
        for title, cells in (facts | settings | figures | counts).items():
            grid.add_row(escape(title), *map(escape, cells))
    console.print(grid)
    for choice in choices:
        for number, reason in choice.selection.excluded.items():
            left = choice.rows[number]
            name = left.get("run_name") or left.get("method")
            console.print(f"left out: {name} of study {left.get('study')}: {reason}", markup=False, highlight=False)
    for state, number in sorted(runs.left_out.items()):
        console.print(f"left out: {number} {state.lower()} run{'s' if number > 1 else ''}", highlight=False)
    if len({row.get("data") for row in runs.rows}) > 1:
        console.print("note: these runs are on different data; --study or --sweep compares like with like")
    for number, (choice, row) in enumerate(zip(choices, chosen, strict=True)):
        ids = ", ".join(row.get("run_ids") or [row["run_id"]])
        text = f"{choice.method or 'chosen'}: MLflow run {ids}"
        if len(choices) > _CHOICES_AS_COLUMNS:
            own = [f"{name} {cells[number]}" for name, cells in settings.items() if cells[number] != "-"]
            text = ", ".join([f"{text}, study {row.get('study')}", *own])
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _short(value: object) -> str:
    """A setting as read: sampled numbers have sixteen digits."""
    try:
        return f"{float(str(value)):.4g}"
    except ValueError:
        return str(value)
