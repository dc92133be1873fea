"""``fairpool mixture``: a fair mixture of an experiment's finished runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairpool.commands.options import DEFAULT_OUTPUT, Output, TrackingUri
from fairpool.commands.outcome import quieten, refuse_usage

if TYPE_CHECKING:
    from rich.table import Table

    from fairpool.mixture import Mixture

__all__ = ["mixture"]

_SHOWN_RUNS, _SHOWN_SITES = 12, 12
_FIGURES = {
    "error": "error",
    "balanced_error": "balanced error",
    "deo": "DEO (FNR gap)",
    "fpr_gap": "FPR gap",
    "ddp": "error gap",
    "selection_gap": "selection rate gap",
}


def mixture(
    experiment: Annotated[str, typer.Argument(help="An MLflow experiment; `fairpool run` takes the pipeline's name.")],
    output: Output = DEFAULT_OUTPUT,
    tracking_uri: TrackingUri = None,
    study: Annotated[str | None, typer.Option("--study", help="Only runs of this study.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Only runs of this seed, which share a split.")] = None,
    method: Annotated[str | None, typer.Option("--method", help="Only these methods, separated by commas.")] = None,
    constraint: Annotated[
        str | None, typer.Option("--constraint", help="Gaps to close; default: what the runs were trained with.")
    ] = None,
    within: Annotated[
        float, typer.Option("--within", help="Of the NVP choice beside it: share of the best accuracy.")
    ] = 0.9,
    closest: Annotated[
        bool, typer.Option("--closest", help="Where no mixture closes the gaps, take the one that comes closest.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the mixture here.")] = None,
) -> None:
    """Mix finished runs so that their validation gaps cancel, at the smallest validation error.

    Each patient's run is then drawn with the weights shown; the test figures are expectations over that draw. All runs
    must have been validated and tested on the same cases: restrict them with --seed or --study where they were not.
    """
    from fairpool.mixture import fair_mixture
    from fairpool.tracking import default_tracking_uri

    if not 0 < within <= 1:
        refuse_usage(f"--within is a share of the best accuracy, in (0, 1]; got {within}.")
    if json_file is not None and not json_file.resolve().parent.is_dir():
        refuse_usage(f'the folder of --json, "{json_file.parent}", does not exist.')
    quieten()
    found = fair_mixture(
        experiment,
        tracking_uri=tracking_uri or default_tracking_uri(output),
        constraint=constraint,
        study=study,
        seed=seed,
        methods=[name.strip() for name in method.split(",") if name.strip()] if method is not None else None,
        within=within,
        closest=closest,
    )
    if json_file is not None:
        _write(json_file, found)
    _show(found, json_file)


def _write(file: Path, found: "Mixture") -> None:
    import json
    import os

    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(found.as_dict(), ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8")
    os.replace(part, file)


def _show(found: "Mixture", json_file: Path | None) -> None:
    from rich.console import Console

    console = Console()
    console.print(_runs(found))
    for section, title in {"val": "Validation", "test": "Test"}.items():
        console.print(_comparison(found, section, title))
    for note in found.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    drawn = found.runs[found.runs["weight"] > 0]
    console.print(
        "To use it: draw one run for each patient with these weights, and let that run decide on all of the patient's "
        "images (fairpool.mixture.Mixture.draw does so by a hash of the patient).",
        soft_wrap=True,
        highlight=False,
    )
    if len(drawn) == 1:
        console.print("One run alone has the weight 1: nothing needs to be drawn.", highlight=False)
    if json_file is not None:
        console.print(f"Weights and figures: {json_file}", highlight=False, soft_wrap=True, markup=False)


def _runs(found: "Mixture") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    gaps = [name for name in found.runs if str(name).startswith("val/gap/")]
    shown_gaps = gaps[:_SHOWN_SITES]
    state = "closes the validation gaps" if found.is_fair else "comes closest to closing the validation gaps"
    drawn = found.runs[found.runs["weight"] > 0].sort_values("weight", ascending=False, kind="stable")
    grid = Table(
        title=f"{len(drawn)} of {len(found.runs)} runs: the mixture that {state} ({found.constraint}); percent"
    )
    for title in ("run", "MLflow run", "study"):
        grid.add_column(title)
    for title in ("weight", "error", *("{} gap of {}".format(*str(name).split("/", 3)[2:]) for name in shown_gaps)):
        grid.add_column(escape(title), justify="right")
    for row in drawn.head(_SHOWN_RUNS).to_dict("records"):
        names = (str(row[key]) for key in ("run_name", "run_id", "study"))
        signed = (f"{100 * row[name]:+.1f}" for name in shown_gaps)
        weight, error = f"{100 * row['weight']:.1f}", f"{100 * row['val/error']:.1f}"
        grid.add_row(*map(escape, names), weight, error, *signed)
    return grid


def _comparison(found: "Mixture", section: str, title: str) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = found.comparison
    grid = Table(title=f"{title}, percent: the mixture's expectation beside single runs, chosen on validation")
    grid.add_column("")
    for name, words in {"mixture": "mixture", "lowest_error": "lowest error", "nvp": "NVP"}.items():
        run = "" if name == "mixture" else f": {escape(str(table.loc[name, 'run_name']))}"
        grid.add_column(words + run, justify="right")
    rows = {f"{section}/{figure}": words for figure, words in _FIGURES.items()}
    for rate, words in {"fnr": "missed positives", "fpr": "false alarms"}.items():
        sites = [name for name in table if str(name).startswith(f"{section}/{rate}/")]
        rows |= {str(name): f"{words} at {str(name).split('/', 2)[2]}" for name in sites[:_SHOWN_SITES]}
    for name, words in rows.items():
        if name in table:
            grid.add_row(escape(words), *("no estimate" if v != v else f"{100 * v:.1f}" for v in table[name]))
    return grid
