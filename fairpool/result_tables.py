"""What the terminal shows of a study's results: the figures by method, the counts by site, the methods compared."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from fairpool.constraints import CONSTRAINTS

if TYPE_CHECKING:
    import pandas as pd

    from fairpool.study import RunResult, Study

__all__ = ["comparison_sentences", "counts_table", "figures_table", "wrong_of"]

_SHOWN_SITES = 12
_METHODS_AS_COLUMNS = 3
_ROWS_OF_COUNTS = 40
_OTHER_GAPS = {"ddp": "error gap", "selection_gap": "selection rate gap", "fdr_gap": "false discovery gap"}


def figures_table(study: "Study", results: "Sequence[RunResult]") -> Table:
    """Mean and spread of the figures; the gaps also beside what equal rates would show by chance."""
    from fairpool.summary import comparison

    table = comparison(results)
    methods = list(dict.fromkeys(result.method for result in results))
    seeds = len({result.seed for result in results})
    spread = "mean ± standard deviation over " if seeds > 1 else ""
    rows = {
        "error": "error",
        "balanced_error": "balanced error",
        "deo": "DEO (FNR gap)",
        "deo/chance": "DEO if rates were equal",
    }
    rows |= {"fpr_gap": "FPR gap", "fpr_gap/chance": "FPR gap if rates were equal"}
    constrained = CONSTRAINTS[study.constraint].gap
    if constrained in _OTHER_GAPS:
        rows = {"error": rows.pop("error"), constrained: _OTHER_GAPS[constrained], **rows}
    is_wide = len(methods) > _METHODS_AS_COLUMNS
    if is_wide:
        rows["worst_group_error"] = "worst site's error"
        del rows["balanced_error"]  # it would not fit 100 columns; comparison.csv has it
    else:
        named = list(zip(results[0].slugs, results[0].sites, strict=True))[:_SHOWN_SITES]
        rows |= {f"error/{slug}": f"error at {escape(site)}" for slug, site in named}
    chance = {method: _chance([result for result in results if result.method == method]) for method in methods}
    cells = {
        method: [
            chance[method][name.removesuffix("/chance")]
            if name.endswith("/chance")
            else _mean_and_std(table, method, name)
            for name in rows
        ]
        for method in methods
    }
    over = f"{seeds} seeds" if seeds > 1 else "one seed"
    grid = Table(title=f"Test, percent: {spread}{over} ({study.constraint})")
    grid.add_column("", no_wrap=is_wide, min_width=max(map(len, methods)) if is_wide else None)
    if is_wide:
        for title in rows.values():
            grid.add_column(title, justify="right")
        for method in methods:
            grid.add_row(method, *cells[method])
        return grid
    for method in methods:
        grid.add_column(method, justify="right")
    for number, title in enumerate(rows.values()):
        grid.add_row(title, *(cells[method][number] for method in methods))
    return grid


def _chance(runs: "Sequence[RunResult]") -> dict[str, str]:
    """By gap: its expectation under equal rates, mean over the seeds; of a single run also the permutation p-value."""
    from fairpool.uncertainty import GAPS, null_gaps

    found = [gaps for gaps in map(null_gaps, runs) if gaps]
    texts = {}
    for name in GAPS:
        expected = [gaps[name].expected for gaps in found if gaps[name].expected == gaps[name].expected]
        texts[name] = f"{100 * sum(expected) / len(expected):.1f}" if expected else "no estimate"
        if expected and len(runs) == 1:
            texts[name] += f", p = {found[0][name].p_value:.2g}"
    return texts


def counts_table(study: "Study", results: "Sequence[RunResult]") -> tuple[Table, int]:
    """Wrong decisions of all cases by site, and the number of sites that found no room."""
    from fairpool.summary import pooled_reports

    seeds = len({result.seed for result in results})
    over = f"{seeds} seeds" if seeds > 1 else "one seed"
    repeats = " (an image can be in several)" if seeds > 1 and not study.overrides.get("num_folds") else ""
    grid = Table(title=f"Errors by site, counted over the test sets of {over}{repeats}: wrong of cases")
    pooled = pooled_reports(results)
    cells = {
        method: [
            [wrong_of(part.tolist()) for part in parts] for parts in zip(report.fnr_of, report.fpr_of, strict=True)
        ]
        for method, report in pooled.items()
    }
    sites = [escape(site) for site in results[0].sites]
    grid.add_column("site")
    if len(pooled) > _METHODS_AS_COLUMNS:
        shown = sites[: max(2, _ROWS_OF_COUNTS // len(pooled))]
        grid.add_column("method", no_wrap=True)
        for title in ("missed positives", "false alarms"):
            grid.add_column(title, justify="right")
        for number, site in enumerate(shown):
            for position, method in enumerate(pooled):
                is_last = position == len(pooled) - 1
                grid.add_row("" if position else site, method, *cells[method][number], end_section=is_last)
    else:
        shown = sites[:_SHOWN_SITES]
        for method in pooled:
            grid.add_column(f"{method}: missed positives", justify="right")
            grid.add_column("false alarms", justify="right")
        for number, site in enumerate(shown):
            grid.add_row(site, *(cell for method in pooled for cell in cells[method][number]))
    return grid, len(sites) - len(shown)


def comparison_sentences(results: "Sequence[RunResult]") -> list[str]:
    """A sentence for each pair of methods in error and DEO; of many methods, only against the first."""
    from fairpool.uncertainty import paired_by_figure

    methods = list(dict.fromkeys(result.method for result in results))
    if len(methods) < 2:
        return []
    if len({result.seed for result in results}) == 1:
        return ["One seed cannot tell a difference between methods from chance: give --seeds 6 or more."]
    by_figure = paired_by_figure(results)
    is_long = len(methods) > _METHODS_AS_COLUMNS
    sentences = [
        pair.sentence(title)
        for figure, title in {"error": "error", "deo": "DEO"}.items()
        for pair in by_figure[figure]
        if not is_long or pair.against == methods[0]
    ]
    return [*sentences, f"All {len(by_figure['deo'])} pairs are in paired.csv."] if is_long else sentences


def _mean_and_std(table: "pd.DataFrame", method: str, name: str) -> str:
    if (method, name) not in table.index:
        return "no estimate"
    mean, std = (float(table[column].loc[(method, name)]) for column in ("mean", "std"))
    return f"{100 * mean:.1f}" + (f" ± {100 * std:.1f}" if std == std else "")


def wrong_of(part: Sequence[int]) -> str:
    """Wrong decisions and cases in words.

    >>> wrong_of([7, 9]), wrong_of([0, 0])
    ('7 of 9 (78 %)', 'no estimate (0 of 0)')
    """
    wrong, cases = part
    return f"{wrong} of {cases} ({100 * wrong / cases:.0f} %)" if cases else "no estimate (0 of 0)"
