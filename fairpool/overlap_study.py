"""Do a study's networks look where a classifier of the protected attribute looks? The paper's Fig. 3, measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fairpool.saliency.overlap import map_overlap, overlap_summary
from fairpool.study import RunResult, Study, parse_config

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["OverlapResult", "measure_overlap", "reference_study"]

_PANEL_IMAGES = 8


@dataclass(frozen=True)
class OverlapResult:
    """Overlap of each method's maps with those of the classifier of the protected attribute.

    Attributes:
        table: one row an (image, method, seed): ``row``, ``site``, ``label`` and the figures of `MapOverlap`.
        summary: by method the figures of `overlap_summary` over all images, each its mean over the seeds, and for every
            method but the first ``iou_minus_<first>`` with its standard error over the images.
        figure: rows image, classifier of the protected attribute, each method; of the first seed.
    """

    table: pd.DataFrame
    summary: dict[str, dict[str, Any]]
    figure: "Figure"


def reference_study(study: Study) -> Study:
    """The study that trains an unconstrained classifier of the protected attribute on the same images.

    Its runs are in an MLflow experiment of their own, the pipeline's name and ``-overlap``: beside the study's runs
    they would pass for the baseline of its methods.

    Args:
        study: of a pipeline whose configuration has ``target`` and ``protected``.
    Raises:
        ValueError: the pipeline has none.
    """
    keys = study.bundle.keys(["unconstrained"], study.overlays)["unconstrained"]
    if not {"target", "protected"} <= keys.keys():
        raise ValueError(
            f'the pipeline "{study.bundle.name}" has no settings "target" and "protected", so there is no '
            "classifier of the protected attribute to compare with; celeba has."
        )
    protected = str(study.overrides.get("protected", keys["protected"]))
    kept = {key: value for key, value in study.overrides.items() if key in keys}
    # The attribute that is reported beside it has no part in an unconstrained training.
    other = "Young" if protected != "Young" else "Male"
    return replace(
        study,
        methods=("unconstrained",),
        overrides={**kept, "target": protected, "protected": other},
        own_experiment=f"{study.bundle.name}-overlap",
    )


def measure_overlap(
    study: Study,
    results: Sequence[RunResult],
    reference: Study,
    reference_results: Sequence[RunResult],
    *,
    images: int = 100,
    share: float = 0.2,
) -> OverlapResult:
    """Compare the evidence maps of a study's models with those of the reference's model of the same seed.

    Args:
        study: the study.
        results: its finished runs.
        reference: of `reference_study`.
        reference_results: its finished runs, one a seed.
        images: test images, evenly over the section; at most as many as there are.
        share: see `map_overlap`.
    Raises:
        ValueError: a seed has no reference run.
    """
    parsed = parse_config(study, results[0].method, results[0].seed)
    pool, transform = parsed("pool"), parsed("validate#preprocessing")
    section = pool.section("test")
    chosen = [section[i] for i in np.unique(np.linspace(0, len(section) - 1, min(images, len(section))).astype(int))]
    batch = torch.stack([torch.as_tensor(transform(item)["image"]) for item in chosen])
    by_seed = {result.seed: result for result in reference_results}
    references: dict[int, Tensor] = {}
    parts, maps_of_first = [], dict[str, Tensor]()
    for result in results:
        if result.seed not in by_seed:
            raise ValueError(f"the classifier of the protected attribute has no run of seed {result.seed}.")
        if result.seed not in references:
            references[result.seed] = _maps(reference, by_seed[result.seed], batch)
        maps = _maps(study, result, batch)
        found = map_overlap(maps, references[result.seed], share=share, seed=result.seed)
        if result.seed == results[0].seed:
            maps_of_first[result.method] = maps
        about = {
            "row": [item["row"] for item in chosen],
            "site": [item["site_name"] for item in chosen],
            "label": [item["label"] for item in chosen],
            "method": result.method,
            "seed": result.seed,
        }
        figures = {name: getattr(found, name).tolist() for name in _FIGURES}
        parts.append(pd.DataFrame({**about, **figures}))
    table = pd.concat(parts, ignore_index=True)
    protected = str(reference.overrides["target"])
    shown = {f"{protected} classifier": references[results[0].seed], **maps_of_first}
    figure = _panel(chosen, batch, shown, pool.label_names)
    return OverlapResult(table, _summary(table, share), figure)


_FIGURES = ("iou", "rank_correlation", "iou_other", "rank_correlation_other")


def _summary(table: pd.DataFrame, share: float) -> dict[str, dict[str, Any]]:
    """Over images, each with its mean over the seeds."""
    from fairpool.saliency.overlap import MapOverlap

    methods = list(dict.fromkeys(table["method"]))
    means = table.groupby(["method", "row"])[list(_FIGURES)].mean()
    summary = {}
    for method in methods:
        rows = means.loc[method]
        columns = {name: torch.from_numpy(rows[name].to_numpy(copy=True)) for name in _FIGURES}
        summary[method] = overlap_summary(MapOverlap(**columns, iou_independent=share / (2 - share)))
        if method != methods[0]:
            change = (rows["iou"] - means.loc[methods[0]]["iou"]).to_numpy()
            summary[method][f"iou_minus_{methods[0]}"] = float(change.mean())
            error = float(change.std(ddof=1) / len(change) ** 0.5)
            summary[method][f"iou_minus_{methods[0]}_standard_error"] = error
    return summary


def _maps(study: Study, result: RunResult, images: Tensor) -> Tensor:
    from fairpool.checkpoints import load_model
    from fairpool.saliency import evidence_maps

    network = parse_config(study, result.method, result.seed)("network_def")
    weights, _, _ = load_model(Path(result.output_dir) / "model.pt")
    network.load_state_dict(weights)
    return evidence_maps(network, images)


def _panel(
    chosen: Sequence[Mapping[str, Any]], images: Tensor, maps: Mapping[str, Tensor], label_names: Sequence[str]
) -> "Figure":
    """Some images of every (site, label) cell, in turn."""
    from fairpool.saliency import saliency_panel

    cells: dict[tuple[int, int], list[int]] = {}
    for number, item in enumerate(chosen):
        cells.setdefault((item["site"], item["label"]), []).append(number)
    each = max(_PANEL_IMAGES // max(len(cells), 1), 1)
    numbers = [number for cell in sorted(cells) for number in cells[cell][:each]]
    titles = [f"{chosen[number]['site_name']}\n{label_names[chosen[number]['label']]}" for number in numbers]
    return saliency_panel(images[numbers], {name: found[numbers] for name, found in maps.items()}, titles)
