"""``fairpool sweep``: try a method's settings, and choose among the trials."""

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
from fairpool.commands.outcome import check_within, make_output, quieten, refuse_usage
from fairpool.commands.select import show_choices
from fairpool.commands.study_data import overlays_and_places, study_of, with_synthetic_data
from fairpool.commands.sweep_workers import run_in_processes
from fairpool.constraints import CONSTRAINTS

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from fairpool.sweep import Sweep

__all__ = ["sweep"]

_CONSTRAINT = "equal_opportunity"  # what `fairpool run` takes by default as well


def sweep(
    pipeline: Annotated[str, typer.Argument(help="A pipeline's name, such as tuberculosis, or a bundle's folder.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Configuration values that are not tried.")
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
    method: Annotated[str, typer.Option("--method", help="The method whose settings are tried.")] = "fairalm",
    trials: Annotated[int, typer.Option("--trials", min=1, help="Trials in all, earlier calls' included.")] = 20,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--range", metavar="KEY=LOW:HIGH[:log]", help="Another range; may be given several times."),
    ] = None,
    constraint: Annotated[str, typer.Option("--constraint", help=", ".join(CONSTRAINTS))] = _CONSTRAINT,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs of each trial; their mean counts.")] = 1,
    first_seed: Annotated[
        int, typer.Option("--first-seed", min=0, help="Choose seeds that the final comparison will not use.")
    ] = 0,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs of each run.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes that carry out trials.")] = 1,
    within: Annotated[float, typer.Option("--within", help="Share of the best accuracy that a trial needs.")] = 0.9,
    tracking_uri: TrackingUri = None,
    output: Output = DEFAULT_OUTPUT,
    trust_config: Trust = False,
) -> None:
    """Try a method's eta, learning rate and growth of eta, and choose a trial as `fairpool select` does.

    Optuna proposes settings with a small validation error and a small validation gap (the one that the constraint makes
    small); the first trial has the pipeline's own. What is given as KEY=VALUE is not tried. Trials are kept in sweep.db
    below --output: the same command again continues, more --trials extend it, and several may run at the same time.
    """
    columns = table_options(locals())
    from fairpool.experiment import prepare_data, without_excluded
    from fairpool.finished_runs import open_store
    from fairpool.sweep import Sweep, run_trials, search_space
    from fairpool.sweep_progress import TrialTerminal
    from fairpool.tracking import SpoolingClient

    check_within(within)
    overlays, places = overlays_and_places(data, manifest, test_manifest, columns)
    try:
        study, fixed = study_of(
            pipeline,
            (method,),
            settings=settings or (),
            epochs=epochs,
            overlays=overlays,
            places=places,
            constraint=constraint,
            seeds=seeds,
            first_seed=first_seed,
            tracking_uri=tracking_uri,
            output=output,
            trust_config=trust_config,
        )
        space = search_space(study.bundle, method, overlays, fixed=fixed, ranges=ranges or [])
        tried = Sweep(study, space, CONSTRAINTS[constraint].gap)
    except ValueError as error:
        refuse_usage(str(error))
    make_output(output)
    quieten()
    terminal = TrialTerminal(constraint)
    with terminal:
        if "synthetic" in overlays:
            tried = Sweep(with_synthetic_data(study, terminal), space, tried.gap)
        with SpoolingClient(study.tracking_uri, study.bundle.name, terminal.note) as client:
            pool, _ = prepare_data(tried.study, terminal)
            client.await_store()
            tried, fingerprint = Sweep(without_excluded(tried.study, pool), space, tried.gap), pool.fingerprint()
            if jobs == 1:
                run_trials(tried, fingerprint, trials, client, terminal)
    if jobs > 1:
        run_in_processes(tried, fingerprint, trials, jobs)
    _show(tried, fingerprint, open_store(study.tracking_uri), within)


def _show(tried: "Sweep", fingerprint: str, client: "MlflowClient", within: float) -> None:
    """The choice, once no trial is running: an earlier look would read the test figures of a choice that may change."""
    from fairpool.finished_runs import runs_of
    from fairpool.selection import choose_runs

    study, identity, gap = tried.study, tried.identity(fingerprint), f"val/{tried.gap}"
    counts = tried.store(fingerprint).counts()
    typer.echo(f"Sweep {identity}: {counts.finished} trials finished, {counts.failed} failed.")
    if counts.running:
        typer.echo(f"{counts.running} more are running in other processes; the one that ends last shows the choice.")
        return
    if not counts.finished:
        raise RuntimeError("no trial of the sweep finished, so there is nothing to choose from.")
    runs = runs_of(client, study.bundle.name, sweep=identity)
    choices = choose_runs(client, runs, gap=gap, within=within, over_seeds=study.seeds > 1)
    show_choices(choices, runs, error="val/error", gap=gap, within=within)
    chosen = choices[0].selection.chosen
    values = " ".join(
        f'"{key}={float(chosen[f"params/{key}"]):.4g}"' for key in tried.space if f"params/{key}" in chosen
    )
    typer.echo(
        f"Compare it on other seeds: fairpool run {study.bundle.name} ... --methods {study.methods[0]}"
        + (f" --constraint {study.constraint}" if study.constraint != _CONSTRAINT else "")
        + f" {values}\n"
        + f"See the choice again: fairpool select {study.bundle.name} --output {study.output_dir} --sweep {identity}"
        + (f" --within {within:g}" if within != 0.9 else "")
        + (" --over-seeds" if study.seeds > 1 else "")
    )
