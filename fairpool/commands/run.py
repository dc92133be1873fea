"""``fairpool run``: train and compare methods."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairpool.commands.options import DEFAULT_OUTPUT, Image, Output, Patient, Positive, Site, TrackingUri, Trust
from fairpool.commands.outcome import quieten, refuse_usage
from fairpool.constraints import CONSTRAINTS

if TYPE_CHECKING:
    from fairpool.experiment import Study
    from fairpool.terminal import Terminal

__all__ = ["run"]

# Two hospitals of the demo: a confounded pool to train on, a balanced set of other patients to test on.
_DEMO_POOL, _DEMO_TEST = {"montgomery": 600, "shenzhen": 600}, {"montgomery": 400, "shenzhen": 400}
_DEMO_CONFOUNDING = 0.8


def run(
    pipeline: Annotated[str, typer.Argument(help="A pipeline's name, such as tuberculosis, or a bundle's folder.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Configuration values.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="The data set's folder, or the manifest's images.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="Table of images: .csv, .tsv or .parquet.")
    ] = None,
    test_manifest: Annotated[Path | None, typer.Option("--test-manifest", help="Separate table to test on.")] = None,
    image_column: Image = "image",
    label_column: Annotated[str, typer.Option("--label-column", help="Column of the labels.")] = "label",
    positive: Positive = None,
    site_column: Site = "site",
    patient_column: Patient = None,
    methods: Annotated[str, typer.Option("--methods", help="Methods, separated by commas.")] = "unconstrained,fairalm",
    constraint: Annotated[str, typer.Option("--constraint", help=", ".join(CONSTRAINTS))] = "equal_opportunity",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Number of seeds: new split, new initial weights.")] = 3,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs of each run.")] = None,
    tracking_uri: TrackingUri = None,
    output: Output = DEFAULT_OUTPUT,
    trust_config: Trust = False,
) -> None:
    """Train and compare methods over seeds; without --data or --manifest, on synthetic hospitals.

    The same command again continues what was interrupted; more seeds or methods extend it.
    """
    from fairpool.bundle import find_bundle, parse_overrides
    from fairpool.experiment import Study, run_study
    from fairpool.terminal import Terminal
    from fairpool.tracking import default_tracking_uri

    if test_manifest is not None and manifest is None:
        refuse_usage("--test-manifest needs --manifest: the table that trains.")
    names = tuple(name.strip() for name in methods.split(",") if name.strip())
    terminal = Terminal()
    overlays: tuple[str, ...] = ()
    places: dict[str, str] = {}
    if manifest is not None:
        overlays = ("manifest",)
        places["manifest"] = str(manifest.resolve())
        columns = {
            "image_column": image_column,
            "label_column": label_column,
            "positive": positive,
            "site_column": site_column,
            "patient_column": patient_column,
        }
        for value in filter(None, columns.values()):
            if value.startswith(("$", "%", "@")):
                refuse_usage(f'the column or value "{value}" would be evaluated by the configuration; rename it.')
        places |= {key: value for key, value in columns.items() if value is not None}
        if test_manifest is not None:
            places["test_manifest"] = str(test_manifest.resolve())
    if data is not None:
        places["dataset_dir"] = str(data.resolve())
    try:
        bundle = find_bundle(pipeline, trust_config=trust_config)
        is_synthetic = manifest is None and data is None
        if is_synthetic:
            overlays = ("synthetic",)
        given = list(settings or []) + ([f"epochs={epochs}"] if epochs is not None else [])
        overrides = parse_overrides(given, bundle.keys(names, overlays), trust_config=trust_config)
        study = Study(
            bundle=bundle,
            methods=names,
            seeds=seeds,
            constraint=constraint,
            overlays=overlays,
            overrides={**places, **overrides},
            output_dir=output,
            tracking_uri=tracking_uri or default_tracking_uri(output),
        )
    except ValueError as error:
        refuse_usage(str(error))
    quieten()
    with terminal:
        if is_synthetic:
            terminal.note("synthetic hospitals (no --data, no --manifest): the results say nothing about real patients")
            study = _with_synthetic_data(study, terminal)
        results, summary_id = run_study(study, terminal)
    terminal.show_results(study, results, summary_id)


def _with_synthetic_data(study: "Study", terminal: "Terminal") -> "Study":
    from fairpool.data import synthesize_tuberculosis

    folder = study.output_dir / "synthetic-tuberculosis"
    pool, test = folder / f"pool-confounding-{_DEMO_CONFOUNDING}", folder / "test-balanced"
    synthesize_tuberculosis(
        pool, images_per_site=_DEMO_POOL, confounding=_DEMO_CONFOUNDING, seed=0, progress=terminal.drawn
    )
    synthesize_tuberculosis(
        test, images_per_site=_DEMO_TEST, confounding=0.0, seed=1, first_number=5001, progress=terminal.drawn
    )
    places = {"dataset_dir": str(pool.resolve()), "test_dir": str(test.resolve())}
    return replace(study, overrides={**places, **study.overrides})
