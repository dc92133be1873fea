"""``fairpool synthesize``: write a synthetic data set."""

from pathlib import Path
from typing import Annotated

import typer

from fairpool.commands.outcome import refuse_usage

__all__ = ["synthesize"]


def synthesize(
    pipeline: Annotated[str, typer.Argument(help="tuberculosis")],
    output: Annotated[Path, typer.Option("--output", help="Folder of the tree; new or empty.")] = Path("tuberculosis"),
    confounding: Annotated[
        float | None,
        typer.Option(
            "--confounding", help="c: positives are 0.5 + c/2 at shenzhen, 0.5 - c/2 at montgomery; default 0.8."
        ),
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="The 800 published names and labels.")] = False,
    images: Annotated[int | None, typer.Option("--images", min=2, help="Images of each site.")] = None,
    first_number: Annotated[int, typer.Option("--first-number", min=1, help="First image's number.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    full_size: Annotated[bool, typer.Option("--full-size", help="The published sizes, up to 4892 x 4020.")] = False,
) -> None:
    """Write synthetic radiographs of two hospitals in the layout of the real data set."""
    from fairpool.data import synthesize_tuberculosis
    from fairpool.terminal import Terminal

    if pipeline != "tuberculosis":
        refuse_usage(f'there is no synthetic data for "{pipeline}"; there is for tuberculosis.')
    terminal = Terminal()
    options = {} if images is None else {"images_per_site": {"montgomery": images, "shenzhen": images}}
    with terminal:
        folder = synthesize_tuberculosis(
            output,
            confounding=confounding,
            published=published,
            first_number=first_number,
            seed=seed,
            full_size=full_size,
            progress=terminal.drawn,
            **options,
        )
    typer.echo(f"Synthetic radiographs are in {folder}. Train on them: fairpool run tuberculosis --data {folder}")
