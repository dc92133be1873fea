"""What the terminal says of a study's methods against each other: sentences, or of many methods a table."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from fairpool.gaps import GAP_WORDS, gaps_of
from fairpool.study import finished_runs_of_study

if TYPE_CHECKING:
    from fairpool.metrics import PairedComparison
    from fairpool.study import RunResult, Study

__all__ = ["comparison_parts"]

_METHODS_AS_SENTENCES = 3


def comparison_parts(study: "Study", results: "Sequence[RunResult]") -> list[Table | str]:
    """The methods compared in error and in the constrained gap, over all finished runs of the study, as ``paired.csv``.

    Args:
        study: its constraint names the gap.
        results: runs whose methods are shown; other finished runs of the study add their seeds, and to Holm's
            adjustment their methods.
    Returns:
        up to three methods a sentence for each pair; of more a table against the first, and the verdict in a line.
    """
    from fairpool.uncertainty import paired_by_figure

    methods = list(dict.fromkeys(result.method for result in results))
    if len(methods) < 2:
        return []
    everything = finished_runs_of_study(results)
    if len({result.seed for result in everything}) == 1:
        return ["One seed cannot tell a difference between methods from chance: give --seeds 6 or more."]
    titles = {"error": "error"} | {gap: GAP_WORDS[gap] for gap in gaps_of(study.constraint)}
    by_figure = paired_by_figure(everything, tuple(titles))
    parts: list[Table | str] = []
    if len(methods) > _METHODS_AS_SENTENCES:
        parts += [_against_first(methods, titles, by_figure), _verdict(methods, titles, by_figure)]
    else:
        parts += [
            pair.sentence(title)
            for figure, title in titles.items()
            for pair in by_figure[figure]
            if {pair.method, pair.against} <= set(methods)
        ]
    if len(everything) > len(results):
        others = len({result.method for result in everything}) - len(methods)
        adjusted = f"; Holm's adjustment counts {others} more method{'s' if others > 1 else ''}" if others else ""
        parts.append(f"Compared over all {len(everything)} finished runs of the study, as in paired.csv{adjusted}.")
    return parts


def _against_first(
    methods: Sequence[str], titles: Mapping[str, str], by_figure: "Mapping[str, Sequence[PairedComparison]]"
) -> Table:
    from fairpool.metrics.seeds import p_value_text

    grid = Table(title=f"Against {escape(methods[0])}: mean difference in points, p after Holm's adjustment")
    grid.add_column("method", overflow="fold")
    grid.add_column("seeds", justify="right", no_wrap=True)
    for title in titles.values():
        grid.add_column(title.replace(" ", "\n"), justify="right", no_wrap=True)
        grid.add_column("p", justify="right", no_wrap=True)
    pairs = {
        (figure, pair.method): pair for figure in titles for pair in by_figure[figure] if pair.against == methods[0]
    }
    for method in methods[1:]:
        cells = []
        for figure in titles:
            pair = pairs.get((figure, method))
            cells += [f"{100 * pair.mean:+.1f}", p_value_text(pair.adjusted)] if pair else ["no estimate", ""]
        seeds = {pair.seeds for figure in titles if (pair := pairs.get((figure, method)))}
        grid.add_row(escape(method), " or ".join(map(str, sorted(seeds))) or "0", *cells)
    return grid


def _verdict(
    methods: Sequence[str], titles: Mapping[str, str], by_figure: "Mapping[str, Sequence[PairedComparison]]"
) -> str:
    from fairpool.metrics.seeds import p_value_text

    shown = [
        (figure, pair)
        for figure in titles
        for pair in by_figure[figure]
        if pair.against == methods[0] and pair.method in methods
    ]
    different: dict[str, list[str]] = {}
    for figure, pair in shown:
        if pair.is_different:
            different.setdefault(pair.method, []).append(titles[figure])
    number = max((len(pairs) for pairs in by_figure.values()), default=0)
    where = f"all {number} pairs are in paired.csv."
    if different:
        named = ", ".join(f"{method} ({' and '.join(words)})" for method, words in different.items())
        rest = "; none of the others" if len(different) < len(methods) - 1 else ""
        return f"Evidence of a difference from {methods[0]}: {named}{rest}; {where}"
    seeds, smallest = max(((pair.seeds, pair.smallest) for _, pair in shown), default=(0, 1.0))
    adjusted = max((sum(pair.is_able for pair in pairs) for pairs in by_figure.values()), default=0)
    before = f", before adjustment over {adjusted} pairs" if adjusted else ""
    return (
        f"No evidence of a difference from {methods[0]} (smallest p that {seeds} seeds can give: "
        f"{p_value_text(smallest)}{before}); {where}"
    )
