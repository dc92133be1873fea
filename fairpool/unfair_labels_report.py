"""What `find_unfair_labels` found: bars with arrows as in the paper's Fig. 1, and the runs in MLflow."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fairpool.tracking import log_metrics, log_params

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

__all__ = ["as_json", "log_labels", "search_identity", "unfair_label_plot", "unfair_labels_table"]

_BEFORE, _AFTER = "#d55e00", "#009e73"  # told apart by the colour-blind
_FIGURES = ("precision", "error", "deo", "deo_by_chance", "fnr_absent", "fnr_present")


def unfair_labels_table(found: pd.DataFrame) -> pd.DataFrame:
    """Test figures of the selected labels before and after, the largest unconstrained DEO first.

    Args:
        found: of `find_unfair_labels`.
    Returns:
        one row a (protected, target): ``precision``, ``deo``, ``error`` and ``deo_by_chance`` of "unconstrained" and of
        "fairalm", as columns such as ``deo_fairalm``, fractions; and ``fewest_positives``: test images behind the rarer
        group's false negative rate, which limit how sure a DEO is.
    """
    chosen = found[found["selected"] & (found["section"] == "test")]
    wanted = ["precision", "deo", "error", "deo_by_chance"]
    if chosen.empty:
        names = [f"{figure}_{method}" for figure in wanted for method in ("unconstrained", "fairalm")]
        return pd.DataFrame(columns=["protected", "target", *names, "fewest_positives"])
    wide = chosen.pivot(index=["protected", "target"], columns="method", values=wanted)
    wide.columns = [f"{pair[0]}_{pair[1]}" for pair in wide.columns.to_flat_index()]
    fewest = chosen.assign(fewest_positives=chosen[["positives_absent", "positives_present"]].min(axis=1))
    wide["fewest_positives"] = fewest.groupby(["protected", "target"])["fewest_positives"].first()
    wide = wide.reset_index()
    order = {name: number for number, name in enumerate(dict.fromkeys(found["protected"]))}
    places = wide.assign(place=wide["protected"].map(order))
    return places.sort_values(["place", "deo_unconstrained"], ascending=[True, False]).drop(
        columns="place", errors="ignore"
    )


def unfair_label_plot(found: pd.DataFrame) -> "Figure":
    """DEO of the selected labels without the constraint as bars, an arrow to what FairALM leaves, precision above.

    No arrow where the network under FairALM predicts no positive.

    Args:
        found: of `find_unfair_labels`.
    """
    from matplotlib.figure import Figure

    table = unfair_labels_table(found)
    names = list(dict.fromkeys(found["protected"]))
    most = max([1, *(int((table["protected"] == name).sum()) for name in names)])
    figure = Figure(figsize=(max(4.5, 0.42 * most + 1.5) * len(names), 4.6), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        rows = table[table["protected"] == name]
        places = np.arange(len(rows))
        before = 100 * rows["deo_unconstrained"].to_numpy(dtype=float)
        # A network that predicts no positive misses all of both groups: a DEO of 0, and no fairness.
        is_silent = rows["precision_fairalm"].isna().to_numpy()
        after = np.where(is_silent, np.nan, 100 * rows["deo_fairalm"].to_numpy(dtype=float))
        top = max([10.0, *before, *after[~is_silent]]) * 1.25
        axis.bar(places, before, width=0.62, color=_BEFORE, alpha=0.75, label="unconstrained")
        axis.plot(places, after, "_", markersize=13, markeredgewidth=3, color=_AFTER, label="FairALM")
        axis.plot(
            places, 100 * rows["deo_by_chance_fairalm"].to_numpy(), "k.", markersize=3, label="equal rates, by chance"
        )
        for place, low, high in zip(places[~is_silent], after[~is_silent], before[~is_silent], strict=True):
            arrow = {"arrowstyle": "->", "color": _AFTER, "linewidth": 1.6}
            axis.annotate("", xy=(place, low), xytext=(place, high), arrowprops=arrow)
        changes = zip(rows["precision_unconstrained"], rows["precision_fairalm"], strict=True)
        for place, (first, second) in zip(places, changes, strict=True):
            text = f"{100 * first:.0f}→{100 * second:.0f}" if np.isfinite(second) else f"{100 * first:.0f}→none"
            axis.text(
                place,
                np.nanmax([before[place], after[place]]) + 0.02 * top,
                text,
                ha="center",
                va="bottom",
                fontsize=6,
                rotation=90,
            )
        labels = [target.replace("_", " ") for target in rows["target"]]
        axis.set_xticks(places, labels, rotation=90, fontsize=8)
        axis.set_ylim(bottom=0, top=top)
        axis.set_ylabel("test DEO, points")
        axis.set_title(f"protected: {name}", fontsize=10)
        if len(rows):
            axis.legend(fontsize=7)
        else:
            axis.text(0.5, 0.5, "no label selected", transform=axis.transAxes, ha="center")
    figure.suptitle("Labels selected on validation; above each bar the precision in %, before and after", fontsize=9)
    return figure


def search_identity(settings: Mapping[str, Any]) -> str:
    """Digest of a search's data and settings: its study in MLflow, and the name of its folder.

    >>> search_identity({"data": "d", "eta": 0.1}) == search_identity({"eta": 0.1, "data": "d"})
    True
    """
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:12]


def log_labels(
    client: "MlflowClient", experiment_id: str, found: pd.DataFrame, settings: Mapping[str, Any], study: str
) -> str:
    """One flat MLflow run a (protected attribute, target, method), and one summary run with table and plot.

    Args:
        client: of the store.
        experiment_id: takes the runs.
        found: of `find_unfair_labels`.
        settings: data and parameters of the search.
        study: tag of all these runs, `search_identity` of the settings.
    Returns:
        the summary run's id.
    """
    from mlflow.entities import Metric, Param

    for (protected, target, method), rows in found.groupby(["protected", "target", "method"], sort=False):
        metrics = {
            f"{'val' if row['section'] == 'validation' else 'test'}/{figure}": float(row[figure])
            for row in rows.to_dict("records")
            for figure in _FIGURES
            if np.isfinite(row[figure])
        }
        about = {"protected": protected, "target": target, "method": method, "selected": bool(rows["selected"].iloc[0])}
        tags = {"study": study, "fairpool.kind": "run"}
        run = client.create_run(experiment_id, run_name=f"{target}-{protected}-{method}", tags=tags)
        now = int(time.time() * 1000)
        client.log_batch(  # one call instead of two, for some eighty runs
            run.info.run_id,
            metrics=[Metric(name, value, now, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in {**settings, **about}.items()],
        )
        client.set_terminated(run.info.run_id, "FINISHED")
    tags = {"study": study, "fairpool.kind": "summary"}
    summary = client.create_run(experiment_id, run_name=f"summary-{study}", tags=tags).info.run_id
    log_params(client, summary, {**settings, "method": "summary"})
    table = unfair_labels_table(found)
    counts = {f"selected/{name}": float((table["protected"] == name).sum()) for name in found["protected"].unique()}
    log_metrics(client, summary, {**counts, **_means(table)})
    client.log_text(summary, found.to_csv(index=False), "labels.csv")
    client.log_text(summary, table.to_csv(index=False), "selected.csv")
    client.log_figure(summary, unfair_label_plot(found), "labels.png")
    client.set_terminated(summary, "FINISHED")
    return summary


def _means(table: pd.DataFrame) -> dict[str, float]:
    means = {}
    for protected, rows in table.groupby("protected", sort=False):
        for method in ("unconstrained", "fairalm"):
            for figure in ("precision", "deo"):
                value = float(rows[f"{figure}_{method}"].mean())
                if np.isfinite(value):
                    means[f"test/{figure}/{method}/{protected}"] = value
    return means


def as_json(found: pd.DataFrame, settings: Mapping[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """Settings, notes and every row, without NaN: what has no estimate is None."""
    rows = [
        {str(key): None if isinstance(value, float) and not np.isfinite(value) else value for key, value in row.items()}
        for row in found.to_dict("records")
    ]
    return {"settings": dict(settings), "notes": list(notes), "labels": rows}
