"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DEFAULT_OUTPUT", "Image", "Output", "Patient", "Positive", "Site", "TrackingUri", "Trust"]

Output = Annotated[Path, typer.Option("--output", help="Folder for models, results, and the sqlite MLflow store.")]
TrackingUri = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow store or server; default: sqlite below --output.")
]
Image = Annotated[str, typer.Option("--image-column", help="Column of the image paths.")]
Site = Annotated[str, typer.Option("--site-column", help="Column of the sites.")]
Patient = Annotated[
    str | None, typer.Option("--patient-column", help="Column of the patients; images of one stay together.")
]
Positive = Annotated[str | None, typer.Option("--positive", help="Label value(s) that count as 1, separated by |.")]
Trust = Annotated[bool, typer.Option("--trust-config", help="Parse configurations that can run code.")]

DEFAULT_OUTPUT = Path("fairpool-runs")
