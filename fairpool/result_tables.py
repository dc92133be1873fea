"""What the terminal shows of a study's results: the figures by method and the counts by site."""

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from fairpool.gaps import GAP_WORDS, GAPS, gaps_of

if TYPE_CHECKING:
    import pandas as pd

    from fairpool.metrics import GroupReport
    from fairpool.study import RunResult, Study

__all__ = ["counts_table", "figures_table", "wrong_of"]

_SHOWN_SITES = 12
_METHODS_AS_COLUMNS = 3
_METHODS_WITH_COUNTS_AS_COLUMNS = 2
_ROWS_OF_COUNTS = 40
_LEAST_TITLE = 16
_NO_ESTIMATE = "no estimate"
_LONG_WORDS = {"deo": "DEO (FNR gap)"}


def figures_table(study: "Study", results: "Sequence[RunResult]", *, width: int = 80) -> Table:
    """Mean and spread of the figures; the constrained gap also beside what equal rates would show by chance.

    Args:
        study: its constraint names the gap.
        results: finished runs.
        width: columns of the terminal. Up to three methods that fit have a column each; else a method is a row, and the
            figures that find no room are left to ``comparison.csv``.
    """
    seeds = len({result.seed for result in results})
    spread = "mean ± standard deviation over " if seeds > 1 else ""
    over = f"{seeds} seeds" if seeds > 1 else "one seed"
    title = f"Test, percent: {spread}{over} ({study.constraint})"
    constrained = gaps_of(study.constraint)
    gaps = [*constrained, *(gap for gap in ("deo", "fpr_gap") if gap not in constrained)]
    words = {gap: _LONG_WORDS.get(gap, GAP_WORDS[gap]) for gap in gaps}
    grid = _a_method_a_column(title, words, results, width) if len(_methods(results)) <= _METHODS_AS_COLUMNS else None
    return grid or _a_method_a_row(title, words, constrained, results, width)


def _a_method_a_column(title: str, gaps: dict[str, str], results: "Sequence[RunResult]", width: int) -> Table | None:
    """Every figure; None where the width is too small."""
    rows = {"error": "error", "balanced_error": "balanced error"}
    for gap, word in gaps.items():
        rows |= {gap: word, f"{gap}/chance": f"{GAP_WORDS[gap]} if rates were equal"}
    sites = list(zip(results[0].slugs, results[0].sites, strict=True))[:_SHOWN_SITES]
    rows |= {f"error/{slug}": f"error at {site}" for slug, site in sites}
    methods, cells = _methods(results), _cells(results, list(rows))
    columns = [[method, *(row[number] for row in cells)] for number, method in enumerate(methods)]
    if _natural_width([["x" * _LEAST_TITLE], *columns]) > width:
        return None
    grid = Table(title=title)
    grid.add_column("")
    for method in methods:
        grid.add_column(escape(method), justify="right", no_wrap=True)
    for word, row in zip(rows.values(), cells, strict=True):
        grid.add_row(escape(word), *row)
    return grid


def _a_method_a_row(
    title: str, gaps: dict[str, str], constrained: Sequence[str], results: "Sequence[RunResult]", width: int
) -> Table:
    """Error and constrained gaps, and of the other figures those that find room."""
    rows = {"error": "error"} | {gap: gaps[gap] for gap in constrained}
    number_needed = len(rows)
    rows |= {f"{gap}/chance": f"{GAP_WORDS[gap]} if rates were equal" for gap in constrained}
    rows |= gaps  # the constrained gaps keep their places
    rows |= {"worst_group_error": "worst site's error"}
    methods, cells = _methods(results), _cells(results, list(rows))
    headings = [
        fill(word, max(map(cell_len, [*row, *word.split()]))).splitlines()
        for word, row in zip(rows.values(), cells, strict=True)
    ]
    columns = [[*heading, *row] for heading, row in zip(headings, cells, strict=True)]
    shown = list(range(number_needed))
    for number in range(number_needed, len(rows)):
        if _natural_width([methods, *(columns[i] for i in [*shown, number])]) <= width:
            shown.append(number)
    grid = Table(title=title, caption=None if len(shown) == len(rows) else "More figures are in comparison.csv.")
    grid.add_column("method", overflow="fold")
    for number in shown:
        grid.add_column("\n".join(headings[number]), justify="right", no_wrap=True)
    for position, method in enumerate(methods):
        grid.add_row(escape(method), *(cells[number][position] for number in shown))
    return grid


def _methods(results: "Sequence[RunResult]") -> list[str]:
    return list(dict.fromkeys(result.method for result in results))


def _cells(results: "Sequence[RunResult]", names: Sequence[str]) -> list[list[str]]:
    """Of each figure its cells by method; "GAP/chance" is the gap that equal rates would show."""
    from fairpool.summary import comparison

    table, methods = comparison(results), _methods(results)
    tested = [name.removesuffix("/chance") for name in names if name.endswith("/chance")]
    chance = {method: _chance([result for result in results if result.method == method], tested) for method in methods}
    return [
        [
            chance[method][name.removesuffix("/chance")]
            if name.endswith("/chance")
            else _mean_and_std(table, method, name)
            for method in methods
        ]
        for name in names
    ]


def counts_table(study: "Study", results: "Sequence[RunResult]", *, width: int = 80) -> tuple[Table, int]:
    """Wrong decisions of all cases by site, and the number of sites that found no room.

    Where the constraint is on another rate than the FNR or FPR, its count comes first: of all errors, of positive
    decisions, or of the false alarms among these. With more than two methods, or too narrow a terminal, a method is a
    row.
    """
    from fairpool.summary import pooled_reports

    seeds = len({result.seed for result in results})
    over = f"{seeds} seeds" if seeds > 1 else "one seed"
    repeats = " (an image can be in several)" if seeds > 1 and not study.overrides.get("num_folds") else ""
    constrained = [gap for gap in gaps_of(study.constraint) if gap not in ("deo", "fpr_gap")]
    pooled = pooled_reports(results)
    parts = {method: _counts(report, constrained) for method, report in pooled.items()}
    titles = list(next(iter(parts.values())))
    what = (
        "Decisions by site, counted over the test sets of {}: number of cases"
        if constrained
        else ("Errors by site, counted over the test sets of {}: wrong of cases")
    )
    sites = results[0].sites
    if len(pooled) <= _METHODS_WITH_COUNTS_AS_COLUMNS:
        shown = sites[:_SHOWN_SITES]
        columns = [
            ([f"{method}:", *title.split(" / ")] if number == 0 else title.split(" / "), counts[title])
            for method, counts in parts.items()
            for number, title in enumerate(titles)
        ]
        if _natural_width([shown, *(heading + cells[: len(shown)] for heading, cells in columns)]) <= width:
            grid = Table(title=what.format(f"{over}{repeats}"))
            grid.add_column("site", overflow="fold")
            for heading, _ in columns:
                grid.add_column(escape("\n".join(heading)), justify="right", no_wrap=True)
            for number, site in enumerate(shown):
                grid.add_row(escape(site), *(cells[number] for _, cells in columns))
            return grid, len(sites) - len(shown)

    shown = sites[: min(_SHOWN_SITES, max(2, _ROWS_OF_COUNTS // len(pooled)))]
    words = [word for site in shown for word in site.split()]

    def needed(chosen: Sequence[str]) -> int:
        by_title = [[*t.split(" / "), *(cell for counts in parts.values() for cell in counts[t])] for t in chosen]
        return _natural_width([["site", *words], list(pooled), *by_title])

    while len(titles) > 2 and needed(titles) > width:
        titles.pop()
    grid = Table(title=what.format(f"{over}{repeats}"))
    grid.add_column("site", overflow="fold")
    grid.add_column("method", no_wrap=True)
    for title in titles:
        grid.add_column(title.replace(" / ", "\n"), justify="right", no_wrap=True)
    for number, site in enumerate(shown):
        for position, (method, counts) in enumerate(parts.items()):
            is_last = position == len(parts) - 1
            cells = (counts[title][number] for title in titles)
            grid.add_row("" if position else escape(site), escape(method), *cells, end_section=is_last)
    return grid, len(sites) - len(shown)


def wrong_of(part: Sequence[int]) -> str:
    """Wrong decisions and cases in words.

    >>> wrong_of([7, 9]), wrong_of([0, 0])
    ('7 of 9 (78 %)', 'no estimate (0 of 0)')
    """
    wrong, cases = part
    return f"{wrong} of {cases} ({100 * wrong / cases:.0f} %)" if cases else "no estimate (0 of 0)"


def _counts(report: "GroupReport", constrained: Sequence[str]) -> dict[str, list[str]]:
    """Cells by heading, of each site; the lines of a heading are parted by " / "."""
    misses, positives = report.fnr_of.T
    alarms, negatives = report.fpr_of.T
    decided = positives - misses + alarms
    rates = {
        "error": ("errors", misses + alarms, positives + negatives),
        "selection_rate": ("positive decisions", decided, positives + negatives),
        "fdr": ("false alarms of / positive decisions", alarms, decided),
        "fnr": ("missed positives", misses, positives),
        "fpr": ("false alarms", alarms, negatives),
    }
    wanted = [*(GAPS[gap] for gap in constrained), "fnr", "fpr"]
    return {
        title: [wrong_of(part) for part in zip(wrong.tolist(), cases.tolist(), strict=True)]
        for title, wrong, cases in (rates[rate] for rate in wanted)
    }


def _chance(runs: "Sequence[RunResult]", gaps: Sequence[str]) -> dict[str, str]:
    """By gap: its expectation under equal rates, mean over the seeds; of a single run also the permutation p-value."""
    from fairpool.uncertainty import null_gaps

    found = [by_gap for result in runs if (by_gap := null_gaps(result, gaps))]
    texts = {}
    for name in gaps:
        expected = [by_gap[name].expected for by_gap in found if by_gap[name].expected == by_gap[name].expected]
        texts[name] = f"{100 * sum(expected) / len(expected):.1f}" if expected else _NO_ESTIMATE
        if expected and len(runs) == 1:
            texts[name] += f", p = {found[0][name].p_value:.2g}"
    return texts


def _mean_and_std(table: "pd.DataFrame", method: str, name: str) -> str:
    if (method, name) not in table.index:
        return _NO_ESTIMATE
    mean, std = (float(table[column].loc[(method, name)]) for column in ("mean", "std"))
    return f"{100 * mean:.1f}" + (f" ± {100 * std:.1f}" if std == std else "")


def _natural_width(columns: Sequence[Sequence[str]]) -> int:
    """Width of a table none of whose cells is broken; a column is its lines."""
    return sum(max(map(cell_len, lines)) + 3 for lines in columns) + 1
