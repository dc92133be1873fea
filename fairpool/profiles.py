"""Training profiles: how error and gap developed over the epochs, by method, over an experiment's finished runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fairpool.finished_runs import FinishedRuns, finite_number

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

__all__ = ["profile_plot", "training_profiles"]

_MOST_LINES = 10
_TITLES = {"val/deo": ("DEO", "points"), "val/error": ("error", "percent"), "val/fpr_gap": ("FPR gap", "points")}


def training_profiles(
    client: "MlflowClient", runs: FinishedRuns, figures: Sequence[str] = ("val/deo", "val/error")
) -> "pd.DataFrame":
    """Mean and range over runs of each figure at each epoch, by line.

    A line is a method; where a method was run in several studies, which may differ in any setting, it is a method and a
    study. An epoch whose figure some run could not estimate, or that some run did not reach, is over the others.

    Args:
        client: of the store that the runs came from.
        runs: of `fairpool.finished_runs.runs_of`.
        figures: names of metrics with one value an epoch, of the validation section.
    Returns:
        one row a (line, figure, epoch), lines in the order of the runs: columns ``line``, ``figure``, ``epoch`` (from
        1), ``mean``, ``min``, ``max``, ``runs`` (how many).
    Raises:
        ValueError: no run has a value of a figure, or there are more than ten lines.
    Source: Lokhande et al. 2020, figures 2 and 5, whose lines are single runs.
    """
    import pandas as pd

    studies: dict[str, set[str]] = {}
    for row in runs.rows:
        studies.setdefault(row["method"], set()).add(row["study"])
    lines = [
        row["method"] if len(studies[row["method"]]) == 1 else f"{row['method']} ({row['study']})" for row in runs.rows
    ]
    if len(set(lines)) > _MOST_LINES:
        raise ValueError(
            f"these runs are of {len(set(lines))} methods and studies, more than the {_MOST_LINES} lines that can be "
            f"told apart: choose with --study or --methods. The newest study is {runs.rows[-1]['study']}."
        )
    points = []
    for row, line in zip(runs.rows, lines, strict=True):
        for figure in figures:
            # A later value of the same epoch replaces an earlier one.
            history = sorted(client.get_metric_history(row["run_id"], figure), key=lambda point: point.timestamp)
            latest = {point.step: finite_number(point.value) for point in history}
            points += [(line, figure, epoch, value) for epoch, value in latest.items() if value is not None]
    table = pd.DataFrame(points, columns=["line", "figure", "epoch", "value"])
    for figure in figures:
        if figure not in set(table["figure"]):
            raise ValueError(f'no run of the experiment has a value of "{figure}" at any epoch.')
    for column, order in (("line", list(dict.fromkeys(lines))), ("figure", list(figures))):
        table[column] = pd.Categorical(table[column], categories=order, ordered=True)
    grouped = table.groupby(["line", "figure", "epoch"], observed=True)["value"]
    profiles = grouped.agg(mean="mean", min="min", max="max", runs="count").reset_index()
    return profiles.astype({"line": str, "figure": str})


def profile_plot(profiles: "pd.DataFrame") -> "Figure":
    """One chart a figure: the mean of each line against the epoch, and a band from the smallest to the largest run.

    Args:
        profiles: of `training_profiles`; values in [0, 1] are drawn in percent.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figures, lines = list(dict.fromkeys(profiles["figure"])), list(dict.fromkeys(profiles["line"]))
    figure = Figure(figsize=(4.6 * len(figures), 3.8), layout="constrained")
    axes = figure.subplots(1, len(figures), squeeze=False)[0]
    for axis, name in zip(axes, figures, strict=True):
        for number, line in enumerate(lines):
            part = profiles[(profiles["figure"] == name) & (profiles["line"] == line)]
            color = f"C{number}"
            runs = int(part["runs"].max()) if len(part) else 0
            marker = "o" if len(part) == 1 else ""
            axis.plot(part["epoch"], 100 * part["mean"], color=color, marker=marker, label=f"{line} ({runs})")
            axis.fill_between(part["epoch"], 100 * part["min"], 100 * part["max"], color=color, alpha=0.2, linewidth=0)
        title, unit = _TITLES.get(name, (name, "percent"))
        axis.set_title(f"validation {title}" if name in _TITLES else name, fontsize=10)
        axis.set_ylabel(unit)
        axis.set_xlabel("epoch")
        axis.set_ylim(bottom=0)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(fontsize=8, title="mean and range (runs)", title_fontsize=8)
    return figure
