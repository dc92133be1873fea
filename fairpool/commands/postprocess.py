"""``fairpool postprocess``: thresholds by site on the stored predictions of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairpool.commands.outcome import check_target, refuse_usage

if TYPE_CHECKING:
    from fairpool.metrics import GroupReport
    from fairpool.postprocessing import ExpectedReport, Postprocessing

__all__ = ["postprocess"]

_SHOWN_SITES = 12


def postprocess(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or its predictions.parquet.")],
    constraint: Annotated[
        str,
        typer.Option(
            "--constraint", help="equal_opportunity, predictive_equality, equalized_odds, demographic_parity."
        ),
    ] = "equal_opportunity",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the decisions that are drawn.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the thresholds and the figures to this file.")
    ] = None,
) -> None:
    """Choose thresholds by site on a run's validation predictions, and show its test errors before and after.

    Nothing is trained (Hardt et al. 2016). The thresholds need the site of every patient, and some decisions are drawn.
    """
    from fairpool.postprocessing import postprocess_predictions
    from fairpool.postprocessing.thresholds import check_constraint
    from fairpool.stored_predictions import read_predictions
    from fairpool.whole_file import write_json

    try:
        check_constraint(constraint)
    except ValueError as error:
        refuse_usage(str(error))
    check_target("--json", json_file)
    result = postprocess_predictions(read_predictions(source), constraint, seed=seed)
    if json_file is not None:
        write_json(json_file, result.to_dict(), ensure_ascii=False, allow_nan=False)
    _show(result, json_file)


def _show(result: "Postprocessing", json_file: Path | None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    by_site: dict[str, list[str]] = {}
    for row in result.rules.to_rows():
        rule = f"above {row['threshold']:.3f}" if row["decision"] == "above" else row["decision"]
        share = "" if row["share"] == 1 else f" ({_percent(row['share'])})"
        by_site.setdefault(row["site"], []).append(rule + share)
    fitted = Table(title=f"Thresholds by site from the validation predictions ({result.rules.constraint})")
    fitted.add_column("site")
    fitted.add_column("negative cases", justify="right")
    fitted.add_column("positive cases", justify="right")
    fitted.add_column("positive if the probability is (share of cases)")
    for site, rules in list(by_site.items())[:_SHOWN_SITES]:
        negative, positive = result.validation[site]
        fitted.add_row(escape(site), str(negative), str(positive), ", ".join(rules))
    console.print(fitted)

    reports: dict[str, GroupReport | ExpectedReport] = {"before": result.before, "expected": result.expected}
    reports[f"drawn (seed {result.seed})"] = result.drawn
    overall = Table(title="Test, percent: at 0.5 before; after, expected and as drawn")
    overall.add_column("")
    for name in reports:
        overall.add_column(name, justify="right")
    figures = {
        "error": "overall_error",
        "DEO (FNR gap)": "deo",
        "FPR gap": "fpr_gap",
        "selection rate gap": "selection_gap",
    }
    for title, figure in figures.items():
        overall.add_row(title, *(_figure(getattr(report, figure)) for report in reports.values()))
    console.print(overall)

    for title, rate in {"Missed positives": "fnr", "False alarms": "fpr"}.items():
        grid = Table(title=f"{title} in the test, by site")
        grid.add_column("site")
        for name in reports:
            grid.add_column(name, justify="right")
        for number, site in list(enumerate(result.sites))[:_SHOWN_SITES]:
            grid.add_row(escape(site), *(_share_of(report, rate, number) for report in reports.values()))
        console.print(grid)
    if len(by_site) > _SHOWN_SITES:
        console.print(f"{len(by_site) - _SHOWN_SITES} more sites are in the file of --json.")
    console.print(
        f"Two draws decide {result.decided_differently:.1f} of the {len(result.decisions)} test cases differently, on "
        "average: another --seed draws again.",
        highlight=False,
        soft_wrap=True,
    )
    if json_file is not None:
        console.print(f"Thresholds and figures: {json_file}", highlight=False, soft_wrap=True, markup=False)


def _share_of(report: "GroupReport | ExpectedReport", rate: str, number: int) -> str:
    share = _percent(float(getattr(report, rate)[number]))
    counts = getattr(report, f"{rate}_of", None)  # an expectation has no counts
    if counts is None:
        return share
    wrong, cases = counts[number].tolist()
    return f"{wrong} of {cases} ({share})" if cases else "no estimate (0 of 0)"


def _figure(value: float) -> str:
    return "no estimate" if value != value else f"{100 * value:.1f}"


def _percent(value: float) -> str:
    """Whole percents; what is not nothing does not read as 0 %."""
    if value != value:
        return "no estimate"
    return f"{100 * value:.0f} %" if value == 0 or value >= 0.005 else "below 1 %"
