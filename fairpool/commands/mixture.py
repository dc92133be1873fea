"""``fairpool mixture``: a fair mixture of an experiment's finished runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairpool.commands.options import DEFAULT_OUTPUT, Output, TrackingUri
from fairpool.commands.outcome import check_target, check_within, method_names, quieten

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from fairpool.mixture import Mixture

__all__ = ["mixture"]

_SHOWN_RUNS, _SHOWN_SITES, _GAPS_AS_COLUMNS = 12, 12, 3
_SINGLE_RUNS = {"lowest_error": "lowest error", "nvp": "NVP"}
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
    from fairpool.whole_file import write_json

    check_within(within)
    check_target("--json", json_file)
    methods = method_names("--method", method)
    quieten()
    found = fair_mixture(
        experiment,
        tracking_uri=tracking_uri or default_tracking_uri(output),
        constraint=constraint,
        study=study,
        seed=seed,
        methods=methods,
        within=within,
        closest=closest,
    )
    if json_file is not None:
        write_json(json_file, found.as_dict(), ensure_ascii=False, allow_nan=False)
    _show(found, json_file)


def _show(found: "Mixture", json_file: Path | None) -> None:
    from rich.console import Console

    console = Console()
    console.print(_runs(found))
    for sentence in found.unconstrained:
        console.print(f"note: {sentence}", markup=False, highlight=False, soft_wrap=True)
    for number, row in enumerate(_drawn(found).head(_SHOWN_RUNS).to_dict("records"), start=1):
        console.print(f"{number}: {_about(row)}", markup=False, highlight=False, soft_wrap=True)
    rows = {row["run_id"]: row for row in found.runs.to_dict("records")}
    for name, words in _single_runs(found).items():
        about = _about(rows[found.comparison.loc[name, "run_id"]])
        console.print(f"{words}: {about}", markup=False, highlight=False, soft_wrap=True)
    for section, title in {"val": "Validation", "test": "Test"}.items():
        console.print(_comparison(found, section, title))
    for note in found.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        "To use it: draw one run for each patient with these weights, and let that run decide on all of the patient's "
        "images (fairpool.mixture.Mixture.draw does so by a hash of the patient).",
        soft_wrap=True,
        highlight=False,
    )
    if len(_drawn(found)) == 1:
        console.print("One run alone has the weight 1: nothing needs to be drawn.", highlight=False)
    if json_file is not None:
        console.print(f"Weights and figures: {json_file}", highlight=False, soft_wrap=True, markup=False)


def _single_runs(found: "Mixture") -> dict[str, str]:
    """What the runs beside the mixture are called, of those that there are."""
    return {name: words for name, words in _SINGLE_RUNS.items() if name in found.comparison.index}


def _about(row: Mapping[Any, Any]) -> str:
    return f"{row['run_name']}, MLflow run {row['run_id']}, study {row['study']}"


def _drawn(found: "Mixture") -> "pd.DataFrame":
    """The runs that are drawn at all, the most frequent first."""
    return found.runs[found.runs["weight"] > 0].sort_values("weight", ascending=False, kind="stable")


def _runs(found: "Mixture") -> "Table":
    """Weights and validation figures of the drawn runs, in 80 columns; their ids stand below."""
    from rich.markup import escape
    from rich.table import Table

    gaps = [str(name) for name in found.runs if str(name).startswith("val/gap/")]
    drawn = _drawn(found)
    state = "closes the validation gaps" if found.is_fair else "comes closest to closing the validation gaps"
    title = f"{len(drawn)} of {len(found.runs)} runs: the mixture that {state} ({found.constraint}); percent"
    grid = Table(title=title)
    grid.add_column("")
    grid.add_column("run", overflow="fold")
    names = {gap: "{} gap of {}".format(*_rate_and_site(found, gap.removeprefix("val/gap/"))) for gap in gaps}
    headings = list(names.values()) if len(gaps) <= _GAPS_AS_COLUMNS else ["largest gap"]
    for heading in ("weight", "error", *headings):
        grid.add_column(escape(heading), justify="right", overflow="fold")
    for number, row in enumerate(drawn.head(_SHOWN_RUNS).to_dict("records"), start=1):
        cells = [f"{100 * row[gap]:+.1f}" for gap in gaps]
        if len(gaps) > _GAPS_AS_COLUMNS:
            largest = max(gaps, key=lambda gap: abs(row[gap]))
            cells = [f"{100 * row[largest]:+.1f}: {names[largest]}"]
        weight, error = f"{100 * row['weight']:.1f}", f"{100 * row['val/error']:.1f}"
        grid.add_row(str(number), *map(escape, (str(row["run_name"]), weight, error, *cells)))
    return grid


def _rate_and_site(found: "Mixture", name: str) -> tuple[str, str]:
    """How a rate and a site are called, from RATE/SLUG."""
    from fairpool.mixture import RATE_WORDS

    rate, slug = name.split("/", 1)
    return RATE_WORDS.get(rate, rate), found.sites.get(slug, slug)


def _comparison(found: "Mixture", section: str, title: str) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = found.comparison
    grid = Table(title=f"{title}, percent: the mixture's expectation beside single runs, chosen on validation")
    grid.add_column("", overflow="fold")
    for words in ("mixture", *_single_runs(found).values()):
        grid.add_column(words, justify="right")
    rows = {f"{section}/{figure}": words for figure, words in _FIGURES.items()}
    for rate, words in {"fnr": "missed positives", "fpr": "false alarms"}.items():
        names = [str(name) for name in table if str(name).startswith(f"{section}/{rate}/")]
        for name in names[:_SHOWN_SITES]:
            rows[name] = f"{words} at {_rate_and_site(found, name.removeprefix(f'{section}/'))[1]}"
    for name, words in rows.items():
        if name in table:
            values = table.loc[["mixture", *_single_runs(found)], name]
            grid.add_row(escape(words), *("no estimate" if v != v else f"{100 * v:.1f}" for v in values))
    return grid
