"""``fairpool run``: train and compare methods."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairpool.commands.options import (
    DEFAULT_OUTPUT,
    Aliases,
    IgnoreLabel,
    Image,
    NormalizeSites,
    Output,
    Patient,
    Positive,
    Site,
    SplitColumn,
    TrackingUri,
    Trust,
    table_options,
)
from fairpool.commands.outcome import make_output, method_names, quieten, refuse_usage
from fairpool.commands.study_data import overlays_and_places, study_of, with_synthetic_data
from fairpool.constraints import CONSTRAINTS
from fairpool.launching import check_sharing, launch
from fairpool.processes import from_first, is_first, is_worker, joined

if TYPE_CHECKING:
    from fairpool.experiment import Study

__all__ = ["run"]


def run(
    pipeline: Annotated[str, typer.Argument(help="A pipeline's name, such as tuberculosis, or a bundle's folder.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Configuration values.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="The data set's folder, or the manifest's images.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="Table of images: .csv, .tsv, .parquet or .json.")
    ] = None,
    test_manifest: Annotated[Path | None, typer.Option("--test-manifest", help="Separate table to test on.")] = None,
    image_column: Image = "image",
    label_column: Annotated[str, typer.Option("--label-column", help="Column of the labels.")] = "label",
    positive: Positive = None,
    site_column: Site = "site",
    patient_column: Patient = None,
    split_column: SplitColumn = None,
    normalize_sites: NormalizeSites = False,
    aliases: Aliases = None,
    ignore_label: IgnoreLabel = None,
    methods: Annotated[str, typer.Option("--methods", help="Methods, separated by commas.")] = "unconstrained,fairalm",
    constraint: Annotated[str, typer.Option("--constraint", help=", ".join(CONSTRAINTS))] = "equal_opportunity",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Number of seeds: new split, new initial weights.")] = 3,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs of each run.")] = None,
    tracking_uri: TrackingUri = None,
    output: Output = DEFAULT_OUTPUT,
    trust_config: Trust = False,
    nproc: Annotated[
        int | None, typer.Option("--nproc", min=1, help="Processes that train together here, one a GPU or core.")
    ] = None,
) -> None:
    """Train and compare methods over seeds; without --data or --manifest, on synthetic hospitals.

    The same command again continues what was interrupted; more seeds or methods extend it. It may also be started by
    torchrun, on one machine or several: torchrun ... -m fairpool run ...
    """
    columns = table_options(locals())
    with joined():
        overlays, places = overlays_and_places(data, manifest, test_manifest, columns)
        names = method_names("--methods", methods) or []
        try:
            study, _ = study_of(
                pipeline,
                names,
                settings=settings or (),
                epochs=epochs,
                overlays=overlays,
                places=places,
                constraint=constraint,
                seeds=seeds,
                tracking_uri=tracking_uri,
                output=output,
                trust_config=trust_config,
            )
            number = _processes(nproc)
            check_sharing(study, number)
        except ValueError as error:
            refuse_usage(str(error))
        make_output(output)
        if number > 1 and not is_worker():
            launch(number, sys.argv[1:])
            return
        _run(study, with_synthetic="synthetic" in overlays)


def _run(study: "Study", *, with_synthetic: bool) -> None:
    """The study in this process, or this process's part of it."""
    from fairpool.experiment import run_study
    from fairpool.terminal import Terminal

    quieten()
    terminal = Terminal(study.constraint)
    with terminal:
        if with_synthetic:
            study = from_first(lambda: with_synthetic_data(study, terminal))
        results, summary_id = run_study(study, terminal)
    if is_first():
        terminal.show_results(study, results, summary_id)


def _processes(nproc: int | None) -> int:
    """Number of processes that train together.

    Raises:
        ValueError: torchrun has started another number than ``--nproc`` says.
    """
    if not is_worker():
        return nproc or 1
    if nproc not in (None, int(os.environ["LOCAL_WORLD_SIZE"])):
        raise ValueError(f"torchrun has started {os.environ['LOCAL_WORLD_SIZE']} processes here: leave out --nproc.")
    return int(os.environ["WORLD_SIZE"])
