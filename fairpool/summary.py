"""The comparison of a study's methods: tables, box plots, saliency panel, and the summary run that holds them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from fairpool.gaps import GAPS, gaps_of
from fairpool.handlers.site_report import FIGURES
from fairpool.metrics import GroupReport, group_report
from fairpool.saliency.outside import outside_notes
from fairpool.study import RunResult, Study, parse_config
from fairpool.tracking import log_metrics, log_params
from fairpool.uncertainty import gap_table, interval_table, paired_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fairpool.tracking import SpoolingClient

__all__ = ["box_plots", "comparison", "pooled_reports", "write_summary"]

_IMAGES_PER_CELL = 2
_RATE_WORDS = {"fnr": "FNR", "fpr": "FPR", "error": "error", "selection_rate": "selection rate"}
_RATE_WORDS |= {"fdr": "false discovery rate"}


def comparison(results: Sequence[RunResult], section: str = "test") -> pd.DataFrame:
    """Mean and standard deviation (ddof 1) over seeds of every figure, by method.

    Args:
        results: finished runs.
        section: "test" or "validation".
    Returns:
        one row a (method, figure), in the order of the methods; columns ``mean``, ``std``, ``min``, ``max``, ``seeds``.
        A figure that some seed could not estimate is over the seeds that could; ``std`` is NaN for a single seed.
    """
    rows = [
        {"method": result.method, "seed": result.seed, "figure": name, "value": value}
        for result in results
        for name, value in getattr(result, section).items()
    ]
    table = pd.DataFrame(rows, columns=["method", "seed", "figure", "value"])
    table = table[np.isfinite(table["value"])]
    grouped = table.groupby(["method", "figure"], sort=False)["value"]
    return grouped.agg(mean="mean", std="std", min="min", max="max", seeds="count")


def pooled_reports(results: Sequence[RunResult]) -> dict[str, GroupReport]:
    """Report by method over the test counts of all its seeds added up.

    With cross-validation folds every image is tested once per round, so the pooled counts are the honest ones for small
    sites; with one random split a seed, an image can count several times.
    """
    pooled: dict[str, torch.Tensor] = {}
    for result in results:
        counts = torch.tensor(result.test_counts)
        pooled[result.method] = pooled[result.method] + counts if result.method in pooled else counts
    return {method: group_report(counts) for method, counts in pooled.items()}


def box_plots(results: Sequence[RunResult], constraint: str = "equal_opportunity") -> "Figure":
    """Test error and constrained gap by method, one point a seed: the right of the paper's Fig. 6, over seeds.

    Args:
        results: finished runs.
        constraint: a key of `CONSTRAINTS`; equalized odds has a panel for each of its two gaps.
    """
    from matplotlib.figure import Figure

    methods = list(dict.fromkeys(result.method for result in results))
    gaps = gaps_of(constraint)
    titles = {"error": "test error"}
    for gap in gaps:
        titles[gap] = f"largest {_RATE_WORDS[GAPS[gap]]} difference between sites"
    if "deo" in titles:
        titles["deo"] = f"test DEO ({titles['deo']})"
    figure = Figure(figsize=(len(titles) * max(4.2, 0.8 * len(methods)), 3.6), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(titles)), titles, strict=True):
        values = [
            [100 * result.test[name] for result in results if result.method == method and name in result.test]
            for method in methods
        ]
        axis.boxplot(values, widths=0.5, medianprops={"color": "black"}, showfliers=False)
        for position, points in enumerate(values, start=1):
            axis.plot(np.full(len(points), position), points, "o", alpha=0.6, markersize=5)
        labels: dict[str, Any] = {"rotation": 30, "ha": "right"} if len(methods) > 3 else {}
        axis.set_xticks(range(1, len(methods) + 1), methods, **labels)
        axis.set_ylim(bottom=0)
        axis.set_ylabel("percent" if name == "error" else "points")
        axis.set_title(titles[name], fontsize=10)
    seeds = len({result.seed for result in results})
    figure.suptitle(
        f"{seeds} seed{'s' if seeds > 1 else ''}, each with its own training patients and initial weights", fontsize=10
    )
    return figure


def write_summary(
    client: "SpoolingClient", study: Study, identity: str, results: Sequence[RunResult], notes: Sequence[str]
) -> str:
    """Fill the study's one summary run, made at the first call, and its folder; returns the client's id of the run."""
    folder = study.output_dir / identity
    run_id = client.open_run(folder, f"summary-{identity}", {"study": identity, "fairpool.kind": "summary"})
    log_params(client, run_id, {"constraint": study.constraint, "pipeline": study.bundle.name, "method": "summary"})

    table = comparison(results)
    metrics = {}
    for row in table.reset_index().to_dict("records"):
        name = f"test/{row['figure']}/{row['method']}"
        metrics[f"{name}/mean"] = row["mean"]
        if np.isfinite(row["std"]):
            metrics[f"{name}/std"] = row["std"]
    seeds = len({result.seed for result in results})
    log_metrics(client, run_id, metrics, step=seeds)

    num_folds = int(study.overrides.get("num_folds") or 0)
    panel, outside = _saliency(study, results)
    tables = {
        "comparison": table.reset_index(),
        "intervals": interval_table(results, num_folds),
        "gaps": gap_table(results),
        "paired": paired_table(results),
        "saliency": outside,
    }
    for name, content in tables.items():
        client.log_text(run_id, content.to_csv(index=False), f"{name}.csv")
        content.to_csv(folder / f"{name}.csv", index=False)
    sentences = [*notes, *outside_notes(outside)]
    client.log_text(run_id, json.dumps(sentences, ensure_ascii=False, indent=1), "notes.json")
    client.log_text(run_id, _per_seed(results).to_csv(index=False), "seeds.csv")
    for name, figure in (("box_plots", box_plots(results, study.constraint)), ("saliency", panel)):
        figure.savefig(folder / f"{name}.png", dpi=120)
        client.log_artifact(run_id, str(folder / f"{name}.png"))
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _per_seed(results: Sequence[RunResult]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": result.method, "seed": result.seed, "run_id": result.run_id, "best_epoch": result.best_epoch}
            | {f"test/{name}": result.test.get(name) for name in FIGURES}
            | {f"val/{name}": result.validation.get(name) for name in FIGURES}
            for result in results
        ]
    )


def _saliency(study: Study, results: Sequence[RunResult]) -> tuple["Figure", pd.DataFrame]:
    """Maps of the first seed's models over the same test images, some of each (site, label) cell; what lies outside."""
    from fairpool.checkpoints import load_model
    from fairpool.saliency import evidence_maps, outside_table, saliency_panel

    first = [result for result in results if result.seed == results[0].seed]
    parsed = parse_config(study, first[0].method, first[0].seed)
    pool, transform = parsed("pool"), parsed("validate#preprocessing")
    chosen, taken = [], dict[tuple[int, int], int]()
    for item in pool.section("test"):
        cell = (item["site"], item["label"])
        if cell[0] < 4 and taken.get(cell, 0) < _IMAGES_PER_CELL:
            taken[cell] = taken.get(cell, 0) + 1
            chosen.append(item)
    chosen.sort(key=lambda item: (item["site"], item["label"]))
    images = torch.stack([torch.as_tensor(transform(item)["image"]) for item in chosen])
    network = parsed("network_def")
    maps = {}
    for result in first:
        weights, _, _ = load_model(Path(result.output_dir) / "model.pt")
        network.load_state_dict(weights)
        maps[result.method] = evidence_maps(network, images)
    titles = [f"{item['site_name']}\n{pool.label_names[item['label']]}" for item in chosen]
    return saliency_panel(images, maps, titles), outside_table(images, maps)
