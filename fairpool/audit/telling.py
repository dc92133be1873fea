"""From what the site and the label can be told: metadata, image statistics, thumbnails; and the label from the site."""

from collections.abc import Callable

import pandas as pd

from fairpool.audit.image_pass import THUMBNAIL_SIZE, ImagePass
from fairpool.audit.image_statistics import reduce_blocks
from fairpool.audit.separability import Separability, measure_separability

__all__ = ["tell_site_and_label"]

Progress = Callable[[int, int], None]


def tell_site_and_label(
    records: pd.DataFrame,
    metadata: pd.DataFrame | None,
    images: ImagePass | None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[list[Separability], dict[str, float | None]]:
    """Measure how well site and label are told.

    Args:
        records: columns ``site``, ``label``, ``patient``, one row an image.
        metadata: features of `metadata_features`, in the same order; None or without a column: not measured.
        images: of the same images; None: not measured. Unreadable images take no part, also where their row would.
        seed: of folds and classifiers.
        progress: called with (done, total) measurements.
    Returns:
        the measurements; and the AUC of the site from each metadata column alone, None where it was not measured.
    """
    readable = ~pd.Series(range(len(records))).isin(images.faults if images else {}).to_numpy()
    records = records[readable]
    metadata = None if metadata is None else metadata[readable]
    feature_sets: list[tuple[str, str, pd.DataFrame]] = []
    if metadata is not None and len(metadata.columns):
        feature_sets.append(("metadata", "forest", metadata))
    if images is not None and readable.any():
        pixels = [reduce_blocks(image, THUMBNAIL_SIZE).ravel() for image in images.thumbnails[readable]]
        thumbnails = pd.DataFrame(pixels).set_axis([f"pixel {n}" for n in range(THUMBNAIL_SIZE**2)], axis=1)
        feature_sets.append(("image statistics", "forest", images.statistics[readable]))
        feature_sets.append(("thumbnails", "linear", thumbnails))
    targets = {"site": "label", "label": "site"}
    columns = _by_column(metadata) if metadata is not None else {}
    total, done = 1 + 2 * len(feature_sets) + len(columns), 0
    found = []

    def measure(target: str, name: str, kind: str, features: pd.DataFrame) -> Separability:
        nonlocal done
        result = measure_separability(
            features,
            records[target].tolist(),
            records["patient"].tolist(),
            records[targets[target]].tolist(),
            names=(target, name),
            kind=kind,
            seed=seed,
        )
        done += 1
        if progress is not None:
            progress(done, total)
        return result

    for target in targets:
        for name, kind, features in feature_sets:
            found.append(measure(target, name, kind, features))
    site = pd.DataFrame({"site": records["site"].to_numpy(object)})
    found.append(measure("label", "site", "table", site))
    alone = {name: measure("site", name, "forest", features).auc for name, features in columns.items()}
    return found, alone


def _by_column(metadata: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The features of each column: those of shape and spacing, several numbers each, together."""
    columns: dict[str, list[str]] = {}
    for name in metadata:
        stem = str(name).rsplit(" ", 1)[0]
        columns.setdefault(stem if stem in ("shape", "spacing") else str(name), []).append(str(name))
    return {name: metadata[features] for name, features in columns.items()}
