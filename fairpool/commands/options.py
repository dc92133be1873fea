"""Options that several commands share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "DEFAULT_OUTPUT",
    "Aliases",
    "IgnoreLabel",
    "Image",
    "MaxGroups",
    "NormalizeSites",
    "Output",
    "Patient",
    "Positive",
    "Site",
    "SplitColumn",
    "TrackingUri",
    "Trust",
    "UnknownSites",
    "table_options",
]

Output = Annotated[Path, typer.Option("--output", help="Folder for models, results, and the sqlite MLflow store.")]
TrackingUri = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow store or server; default: sqlite below --output.")
]
Image = Annotated[
    str,
    typer.Option("--image-column", help='Column of the image paths; where there is no "image", "path" is taken.'),
]
Site = Annotated[str, typer.Option("--site-column", help="Column of the sites.")]
Patient = Annotated[
    str | None,
    typer.Option(
        "--patient-column",
        help='Column of the patients; images of one stay together. Default: "patient" where there is one.',
    ),
]
SplitColumn = Annotated[
    str | None,
    typer.Option("--split-column", help="Column with training, validation or test for each image (`fairpool split`)."),
]
NormalizeSites = Annotated[
    bool,
    typer.Option("--normalize-sites", help="Join sites that differ in case, accents, spaces or punctuation."),
]
Aliases = Annotated[
    Path | None, typer.Option("--aliases", help="YAML table of other spellings of sites: name: [spelling, ...].")
]
IgnoreLabel = Annotated[
    str | None, typer.Option("--ignore-label", help="Label value(s) whose rows are left out, such as -1.")
]
MaxGroups = Annotated[int, typer.Option("--max-groups", min=2, help="Most sites that are believed.")]
UnknownSites = Annotated[
    str,
    typer.Option(
        "--unknown-sites",
        help='Sites that the training never saw: "name" reports each, "keep" counts them as unknown, "raise" refuses.',
    ),
]
Positive = Annotated[str | None, typer.Option("--positive", help="Label value(s) that count as 1, separated by |.")]
Trust = Annotated[bool, typer.Option("--trust-config", help="Parse configurations that can run code.")]

DEFAULT_OUTPUT = Path("fairpool-runs")

_OF_TABLES = {  # by the name of the option: what `read_manifest` and the pipelines' configurations call it
    "image_column": "image_column",
    "label_column": "label_column",
    "positive": "positive",
    "site_column": "site_column",
    "patient_column": "patient_column",
    "split_column": "split_column",
    "normalize_sites": "normalize",
    "aliases": "aliases",
    "ignore_label": "ignore_label",
    "max_groups": "max_groups",
}


def table_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a command's options that say how a table of images is read.

    Args:
        options: the command's arguments by name: ``locals()`` at its beginning.
    Returns:
        keyword arguments of `fairpool.data.manifest.read_manifest`; with ``split_column`` where the command has it.

    >>> table_options({"site_column": "hospital", "normalize_sites": True, "seed": 3})
    {'site_column': 'hospital', 'normalize': True}
    """
    return {key: options[name] for name, key in _OF_TABLES.items() if name in options}
