"""Score a table of new images with a trained model."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpool.csv_cells import text_cell
from fairpool.data.counted import counted
from fairpool.data.vocabulary import UNKNOWN_NAME
from fairpool.errors import CheckpointError

if TYPE_CHECKING:
    import pandas as pd

    from fairpool.bundle import Bundle
    from fairpool.data.vocabulary import SiteVocabulary
    from fairpool.metrics import GroupReport

__all__ = ["Evaluation", "can_be_evaluated", "evaluate_checkpoint"]

_ARCHITECTURE = ("image_size", "value_range", "block_inplanes", "frame")
_WORDS = {"nan": ("raise", "fill"), "frame": ("middle",)}


@dataclass(frozen=True)
class Evaluation:
    """Scores and, where labels were given, the errors by site.

    Attributes:
        scores: ``row`` of the manifest, ``site`` ("unknown" for those counted so), ``probability``, and ``label`` where
            given.
        sites: names by id of the report: the training's sites, then those it never saw.
        num_trained_sites: how many of them were seen in training.
        report: None without labels.
        notes: what the user should know of the table.
    """

    scores: "pd.DataFrame"
    sites: tuple[str, ...]
    num_trained_sites: int
    report: "GroupReport | None"
    notes: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write the scores as .csv (text cells that look like formulas are quoted) or .parquet; makes the folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            self.scores.to_parquet(path, index=False)
            return
        table = self.scores.copy()
        table["site"] = table["site"].map(text_cell)
        table.to_csv(path, index=False)


def evaluate_checkpoint(
    checkpoint: str | os.PathLike[str],
    manifest: str | os.PathLike[str],
    *,
    columns: Mapping[str, Any],
    root_dir: str | os.PathLike[str] | None = None,
    unknown: str = "name",
    vocabulary: "SiteVocabulary | None" = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Run a pipeline's ``inference.json`` with the weights of a checkpoint over a manifest.

    Args:
        checkpoint: a run's ``model.pt``.
        manifest: see `read_manifest`.
        root_dir: see `read_manifest`.
        columns: the column options of `read_manifest`; ``label_column`` None scores without a report.
        unknown: what becomes of sites that the training never saw: "name" reports each after the training's own,
            "keep" counts them as unknown, in no rate, "raise" refuses them.
        vocabulary: the sites that the model must have been trained with; None takes those that it has.
        progress: called with (images read, images in all).
    Raises:
        CheckpointError: the file is not one of fairpool's models, or has another vocabulary.
        DataError: the manifest or an image cannot be used, or spells a site of the training in another way.
        ValueError: ``unknown`` is another word, or "raise" and the training never saw a site.
    """
    from fairpool.bundle import find_bundle
    from fairpool.checkpoints import load_model
    from fairpool.data.checks import check_spellings
    from fairpool.data.image_cache import ImageCache, default_cache_dir
    from fairpool.data.items import as_items
    from fairpool.data.manifest import read_manifest

    if unknown not in ("name", "keep", "raise"):
        raise ValueError(f'unknown must be "name", "keep" or "raise", got {unknown!r}.')
    weights, vocabulary, settings = load_model(checkpoint, vocabulary=vocabulary)
    overrides = settings.get("overrides") if isinstance(settings, dict) else None
    if not isinstance(overrides, dict) or not isinstance(overrides.get("image_size"), int):
        raise CheckpointError("the checkpoint's settings name no image_size: give the model.pt of a run.")
    # Only numbers and known words enter the configuration: text from a file could be an expression.
    wanted = {key: overrides[key] for key in _ARCHITECTURE if _is_numeric(overrides.get(key))}
    wanted |= {key: overrides[key] for key, words in _WORDS.items() if overrides.get(key) in words}
    try:
        bundle = find_bundle(str(settings.get("pipeline")))
    except ValueError:
        raise CheckpointError(
            f'the checkpoint names the pipeline "{settings.get("pipeline")}", which this fairpool does not ship.'
        ) from None
    if not can_be_evaluated(bundle):
        raise CheckpointError(
            f'models of the pipeline "{bundle.name}" cannot score a table: it has no inference configuration. Their '
            "test figures are in the run's results."
        )
    records = read_manifest(manifest, root_dir=root_dir, **columns)
    names = records["site"].tolist()
    check_spellings([*vocabulary.names, *names], "the table, beside the training,")
    if unknown == "raise":
        vocabulary.encode(names, rows=records["row"].tolist())
    sites = vocabulary.extended(names) if unknown == "name" else vocabulary
    reading = {key: wanted[key] for key in ("value_range", "nan", "frame") if key in wanted}
    cache = ImageCache(default_cache_dir(), wanted["image_size"], **reading)
    rows = records["row"].tolist()
    cache.prepare(
        records["image"].tolist(), describe=lambda i: f"row {rows[i]} ({names[i]})", num_workers=2, progress=progress
    )
    workflow = bundle.workflow(
        "infer", [str(bundle.configs / "inference.json")], {**wanted, "checkpoint": None, "scores": None}
    )
    # A tuple, which MONAI takes as it is: in a list it would run a site named "$..." as an expression.
    workflow.parser["items"] = tuple(as_items(records, records, sites, unknown="keep"))
    workflow.parser["sites"] = list(sites.slugs())
    workflow.initialize()
    try:
        network = workflow.parser.get_parsed_content("network")
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError):
        raise CheckpointError("the checkpoint's weights do not fit the network that its settings describe.") from None
    workflow.run()
    report = workflow.parser.get_parsed_content("site_report")
    scores = report.predictions()
    scores["site"] = [sites.names[number] if number >= 0 else UNKNOWN_NAME for number in scores["site"]]
    notes = [*records.attrs["notes"]]
    if without := names.count(UNKNOWN_NAME) if UNKNOWN_NAME not in vocabulary.names else 0:
        notes.append(f'{counted(without, "image is", "images are")} of site "{UNKNOWN_NAME}": in no rate')
    if number := int((scores["site"] == UNKNOWN_NAME).sum()) - without if unknown == "keep" else 0:
        unseen = ", ".join(sorted(set(names) - {*vocabulary.names, UNKNOWN_NAME}))
        notes.append(f"{number} images are of sites that the training never saw ({unseen}): unknown, in no rate")
    has_labels = "label" in records
    kept = ["row", "site", *(["label"] if has_labels else []), "probability"]
    return Evaluation(scores[kept], sites.names, len(vocabulary), report.report if has_labels else None, tuple(notes))


def can_be_evaluated(bundle: "Bundle") -> bool:
    """Whether `evaluate_checkpoint` takes models of this pipeline: fairpool ships it, with an ``inference.json``."""
    from fairpool.bundle import find_bundle

    try:
        shipped = find_bundle(bundle.name)
    except ValueError:
        return False
    return shipped.folder == bundle.folder and (bundle.configs / "inference.json").is_file()


def _is_numeric(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_numeric(part) for part in value)
    return isinstance(value, int | float) and not isinstance(value, bool)
