"""``fairpool synthesize``: write a synthetic data set in the layout of a published one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fairpool.commands.outcome import refuse_usage

__all__ = ["synthesize"]

_PIPELINES = ("tuberculosis", "celeba", "imsitu")


def synthesize(
    pipeline: Annotated[str, typer.Argument(help=", ".join(_PIPELINES))],
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder of the tree; new or empty. Default: the pipeline's name.")
    ] = None,
    confounding: Annotated[
        float | None,
        typer.Option(
            "--confounding",
            help="c: how strongly the label goes with the site, the gender or the age. tuberculosis (default 0.8): "
            "positives are 0.5 + c/2 at shenzhen, 0.5 - c/2 at montgomery; imsitu (0.8): men are (1 + c)/2 of the "
            "images of a verb that leans to men; celeba (0.4).",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images", min=2, help="Images: of each site (tuberculosis), in all (celeba), to train a verb (imsitu)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    published: Annotated[
        bool, typer.Option("--published", help="tuberculosis: the 800 published names and labels.")
    ] = False,
    first_number: Annotated[
        int, typer.Option("--first-number", min=1, help="tuberculosis: the first image's number.")
    ] = 1,
    full_size: Annotated[
        bool, typer.Option("--full-size", help="tuberculosis: the published sizes, up to 4892 x 4020.")
    ] = False,
) -> None:
    """Write synthetic images in the layout of a published data set: `fairpool synthesize celeba --output DIR`."""
    from fairpool.terminal import Terminal

    if pipeline not in _PIPELINES:
        refuse_usage(f'there is no synthetic data for "{pipeline}"; there is for {", ".join(_PIPELINES)}.')
    of_tuberculosis = {"--published": published, "--first-number": first_number != 1, "--full-size": full_size}
    if pipeline != "tuberculosis" and any(of_tuberculosis.values()):
        given = ", ".join(option for option, is_given in of_tuberculosis.items() if is_given)
        refuse_usage(f"{given} has a meaning for tuberculosis alone: leave it out.")
    settings: dict[str, Any] = {"seed": seed}
    if confounding is not None:
        settings["confounding"] = confounding
    if pipeline == "tuberculosis":
        settings |= {"published": published, "first_number": first_number, "full_size": full_size}
    if images is not None:
        settings |= _number_of_images(pipeline, images)
    terminal = Terminal()
    with terminal:
        folder = _drawing(pipeline)(output or Path(pipeline), progress=terminal.drawn, **settings)
    typer.echo(f"Synthetic images are in {folder}. Train on them: fairpool run {pipeline} --data {folder}")


def _number_of_images(pipeline: str, images: int) -> dict[str, Any]:
    if pipeline == "tuberculosis":
        return {"images_per_site": {"montgomery": images, "shenzhen": images}}
    return {"num_images": images} if pipeline == "celeba" else {"images_per_verb": images}


def _drawing(pipeline: str) -> Any:
    from fairpool import data

    return getattr(data, f"synthesize_{pipeline}")
