"""``fairpool evaluate``: score new images with a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from fairpool.commands.options import (
    Aliases,
    IgnoreLabel,
    Image,
    NormalizeSites,
    Patient,
    Positive,
    Site,
    UnknownSites,
    table_options,
)
from fairpool.commands.outcome import quieten, refuse_usage

__all__ = ["evaluate"]


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A run's model.pt.")],
    manifest: Annotated[Path, typer.Option("--manifest", help="Table of images: .csv, .tsv, .parquet or .json.")],
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the images; default: the manifest's.")] = None,
    image_column: Image = "image",
    label_column: Annotated[
        str | None, typer.Option("--label-column", help="Column of the labels; without it, only scores are written.")
    ] = None,
    positive: Positive = None,
    site_column: Site = "site",
    patient_column: Patient = None,
    normalize_sites: NormalizeSites = False,
    aliases: Aliases = None,
    ignore_label: IgnoreLabel = None,
    unknown_sites: UnknownSites = "name",
    output: Annotated[Path, typer.Option("--output", help="The scores, as .csv or .parquet.")] = Path("scores.csv"),
) -> None:
    """Score new images with a trained model, sites it never saw included, and report errors by site."""
    columns = table_options(locals())
    from fairpool.evaluation import evaluate_checkpoint
    from fairpool.terminal import Terminal

    if output.suffix not in (".csv", ".parquet"):
        refuse_usage(f'--output must end in .csv or .parquet, got "{output.name}".')
    if unknown_sites not in ("name", "keep", "raise"):
        refuse_usage(f"--unknown-sites must be name, keep or raise, got {unknown_sites!r}.")
    quieten()
    terminal = Terminal()
    with terminal:
        evaluation = evaluate_checkpoint(
            checkpoint,
            manifest,
            columns=columns,
            root_dir=data,
            unknown=unknown_sites,
            progress=terminal.images,
        )
        evaluation.write(output)
        for note in evaluation.notes:
            terminal.note(note)
    terminal.show_evaluation(evaluation, output)
