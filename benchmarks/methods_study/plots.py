"""The study's plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from methods_study.conditions import OURS, Condition, Rows, condition_of, deviation
from methods_study.protocol import Plan

__all__ = ["write_plots"]


def write_plots(plan: Plan, rows: Rows, folder: Path) -> dict[str, str]:
    """Write the plots; their file names by caption."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    conditions = condition_of(plan, rows)
    colours = dict(zip(plan.methods, matplotlib.colormaps["tab20"].colors, strict=False))
    rates = (
        "Operating points: false negative rate (pointing down) and false positive rate (up), each seed, mean over sites"
    )
    return {
        "Error against DEO, mean and standard deviation over seeds": _plot_trade_off(
            plan, conditions, colours, folder / "results_error_deo.png"
        ),
        rates: _plot_rates(plan, conditions, colours, folder / "results_rates.png"),
    }


def _plot_trade_off(plan: Plan, conditions: Sequence[Condition], colours: Mapping[str, Any], path: Path) -> str:
    from matplotlib import pyplot as plt

    columns = len(plan.strengths)
    size = (6.2 * columns, 4.4 * len(plan.sites) + 0.8)
    figure, axes = plt.subplots(len(plan.sites), columns, figsize=size, squeeze=False, layout="constrained")
    for axis, condition in zip(axes.flat, conditions, strict=True):
        for method in condition.methods:
            error, deo = condition.values(method, "error"), condition.values(method, "deo")
            axis.errorbar(
                100 * fmean(error),
                100 * fmean(deo),
                xerr=100 * deviation(error),
                yerr=100 * deviation(deo),
                marker="*" if method in OURS else "o",
                markersize=13 if method in OURS else 7,
                color=colours[method],
                linestyle="none",
                elinewidth=1,
                label=method,
            )
        fair = 100 * fmean(condition.mean(method, "fair_deo") for method in condition.methods)
        axis.axhline(fair, color="grey", linestyle=":", linewidth=1, label="a fair model's DEO")
        axis.set(title=condition.title, xlabel="error, balanced test set (%)", ylabel="DEO (points)", ylim=(0, None))
    handles, labels = max((axis.get_legend_handles_labels() for axis in axes.flat), key=lambda pair: len(pair[1]))
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)), frameon=False)
    return _save(figure, path)


def _plot_rates(plan: Plan, conditions: Sequence[Condition], colours: Mapping[str, Any], path: Path) -> str:
    from matplotlib import pyplot as plt

    size = (3.4 * len(conditions) + 1.2, 4.6)
    figure, axes = plt.subplots(1, len(conditions), figsize=size, squeeze=False, sharey=True, layout="constrained")
    order = list(reversed(plan.methods))
    for axis, condition in zip(axes.flat, conditions, strict=True):
        for method in condition.methods:
            for rate, marker, above in (("fnr", "v", 0.14), ("fpr", "^", -0.14)):
                values = [100 * value for value in condition.values(method, rate)]
                axis.plot(values, [order.index(method) + above] * len(values), marker, color=colours[method])
        axis.set(title=condition.title, xlabel="rate (%)", yticks=range(len(order)))
        axis.set_yticklabels(order)
        axis.grid(axis="x", alpha=0.3)
    return _save(figure, path)


def _save(figure: Any, path: Path) -> str:
    from matplotlib import pyplot as plt

    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return path.name
