"""``fairpool overlap``: does a network look where a classifier of the protected attribute looks?"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairpool.commands.options import DEFAULT_OUTPUT, Output, TrackingUri, Trust
from fairpool.commands.outcome import make_output, method_names, quieten, refuse_usage
from fairpool.commands.study_data import overlays_and_places, study_of, with_synthetic_data

if TYPE_CHECKING:
    from fairpool.overlap_study import OverlapResult

__all__ = ["overlap"]


def overlap(
    pipeline: Annotated[str, typer.Argument(help="A pipeline with a target and a protected attribute: celeba.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Configuration values.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The data set's folder; default: synthetic.")] = None,
    methods: Annotated[str, typer.Option("--methods", help="Methods, separated by commas.")] = "unconstrained,fairalm",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Number of seeds.")] = 1,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs of each run.")] = None,
    images: Annotated[int, typer.Option("--images", min=2, help="Test images whose maps are compared.")] = 100,
    share: Annotated[float, typer.Option("--share", help="Part of the image that is called a region.")] = 0.2,
    tracking_uri: TrackingUri = None,
    output: Output = DEFAULT_OUTPUT,
    trust_config: Trust = False,
) -> None:
    """Train methods and a classifier of the protected attribute; measure how far their evidence maps overlap.

    The paper's figure 3 as numbers: intersection over union of the regions of strongest evidence and rank correlation,
    beside the overlap with the maps of other images. Runs that are finished are not trained again; those of the
    classifier are in the MLflow experiment celeba-overlap. Writes overlap.csv, overlap.json and overlap.png beside the
    study's models.
    """
    from fairpool.experiment import run_study
    from fairpool.overlap_study import measure_overlap, reference_study
    from fairpool.study import parse_config
    from fairpool.terminal import Terminal
    from fairpool.whole_file import write_json, write_whole

    if not 0 < share < 1:
        refuse_usage(f"--share is a part of the image, in (0, 1); got {share}.")
    overlays, places = overlays_and_places(data, None, None, {})
    terminal = Terminal()
    try:
        study, _ = study_of(
            pipeline,
            method_names("--methods", methods) or [],
            settings=settings or (),
            epochs=epochs,
            overlays=overlays,
            places=places,
            constraint="equal_opportunity",
            seeds=seeds,
            tracking_uri=tracking_uri,
            output=output,
            trust_config=trust_config,
        )
        reference_study(study)
    except ValueError as error:
        refuse_usage(str(error))
    make_output(output)
    quieten()
    with terminal:
        if "synthetic" in overlays:
            study = with_synthetic_data(study, terminal)
        reference = reference_study(study)
        for one in (study, reference):  # what is wrong with either is said before anything is trained
            parse_config(one, one.methods[0], one.first_seed)("pool")
        reference_results, _ = run_study(reference, terminal)
        results, _ = run_study(study, terminal)
    found = measure_overlap(study, results, reference, reference_results, images=images, share=share)
    folder = Path(results[0].output_dir).parent
    write_whole(folder / "overlap.csv", found.table.to_csv(index=False))
    about = {"target_of_the_classifier": reference.overrides["target"], "share": share, "seeds": seeds}
    write_json(folder / "overlap.json", {**about, "methods": found.summary}, allow_nan=False)
    found.figure.savefig(folder / "overlap.png", dpi=150)
    _show(found, str(reference.overrides["target"]))
    typer.echo(f"Maps, figures by image and summary: {folder}/overlap.png, .csv, .json")


def _show(found: "OverlapResult", protected: str) -> None:
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=f"Overlap with the evidence maps of a classifier of {protected}: mean ± sd over images")
    for number, title in enumerate(("method", "IoU", "IoU, other images", "rank corr.", "rank corr., other images")):
        grid.add_column(title, justify="right" if number else "left")
    for method, row in found.summary.items():
        names = ("iou", "iou_other", "rank_correlation", "rank_correlation_other")
        grid.add_row(method, *(f"{row[f'{name}_mean']:.2f} ± {row[f'{name}_std']:.2f}" for name in names))
    console = Console(file=sys.stdout)
    console.print(grid)
    first, *others = found.summary
    console.print(
        f"{found.summary[first]['images']} test images; two regions laid independently would have an IoU of "
        f"{found.summary[first]['iou_independent']:.2f}",
        highlight=False,
    )
    for method in others:
        change = found.summary[method][f"iou_minus_{first}"]
        error = found.summary[method][f"iou_minus_{first}_standard_error"]
        console.print(f"{method} minus {first}: IoU {change:+.3f} (standard error {error:.3f})", highlight=False)
