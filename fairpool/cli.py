"""The command line: reads arguments, calls the library, prints. Exit status 0 done, 1 failed, 2 wrong usage."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from fairpool.constraints import CONSTRAINTS

__all__ = ["app", "main"]

app = typer.Typer(
    name="fairpool",
    help="Pool medical images from many hospitals without letting the model learn the hospital.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

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

_DEFAULT_OUTPUT = Path("fairpool-runs")
# Two hospitals of the demo: a confounded pool to train on, a balanced set of other patients to test on.
_DEMO_POOL, _DEMO_TEST = {"montgomery": 600, "shenzhen": 600}, {"montgomery": 400, "shenzhen": 400}
_DEMO_CONFOUNDING = 0.8


@app.command()
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
    output: Output = _DEFAULT_OUTPUT,
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
        _refuse_usage("--test-manifest needs --manifest: the table that trains.")
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
                _refuse_usage(f'the column or value "{value}" would be evaluated by the configuration; rename it.')
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
        _refuse_usage(str(error))
    _quieten()
    with terminal:
        if is_synthetic:
            terminal.note("synthetic hospitals (no --data, no --manifest): the results say nothing about real patients")
            study = _with_synthetic_data(study, terminal)
        results, summary_id = run_study(study, terminal)
    terminal.show_results(study, results, summary_id)


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A run's model.pt.")],
    manifest: Annotated[Path, typer.Option("--manifest", help="Table of images: .csv, .tsv or .parquet.")],
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the images; default: the manifest's.")] = None,
    image_column: Image = "image",
    label_column: Annotated[
        str | None, typer.Option("--label-column", help="Column of the labels; without it, only scores are written.")
    ] = None,
    positive: Positive = None,
    site_column: Site = "site",
    patient_column: Patient = None,
    output: Annotated[Path, typer.Option("--output", help="The scores, as .csv or .parquet.")] = Path("scores.csv"),
) -> None:
    """Score new images with a trained model, sites it never saw included, and report errors by site."""
    from fairpool.evaluation import evaluate_checkpoint
    from fairpool.terminal import Terminal

    if output.suffix not in (".csv", ".parquet"):
        _refuse_usage(f'--output must end in .csv or .parquet, got "{output.name}".')
    _quieten()
    terminal = Terminal()
    with terminal:
        evaluation = evaluate_checkpoint(
            checkpoint,
            manifest,
            columns={
                "image_column": image_column,
                "label_column": label_column,
                "positive": positive,
                "site_column": site_column,
                "patient_column": patient_column,
            },
            root_dir=data,
            progress=terminal.images,
        )
        evaluation.write(output)
    terminal.show_evaluation(evaluation, output)


@app.command()
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
        _refuse_usage(f'there is no synthetic data for "{pipeline}"; there is for tuberculosis.')
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


@app.command()
def download(
    pipeline: Annotated[str, typer.Argument(help="tuberculosis")],
    output: Annotated[Path, typer.Option("--output", help="Folder of the tree.")] = Path("tuberculosis"),
    sha256: Annotated[
        list[str] | None, typer.Option("--sha256", metavar="SITE=DIGEST", help="Expected digest of an archive.")
    ] = None,
    base_url: Annotated[str | None, typer.Option("--base-url", help="A mirror of the publisher's archives.")] = None,
) -> None:
    """Fetch the publisher's archives: resumed, checked, safely unpacked."""
    from fairpool.data import download_tuberculosis
    from fairpool.terminal import Terminal

    if pipeline != "tuberculosis":
        _refuse_usage(f'there is no download for "{pipeline}"; there is for tuberculosis.')
    digests = dict(
        text.split("=", 1) if "=" in text else _refuse_usage(f'"{text}" is not SITE=DIGEST.') for text in sha256 or []
    )
    terminal = Terminal()
    try:
        with terminal:
            fetched = download_tuberculosis(output, sha256=digests, base_url=base_url, progress=terminal.bytes)
    except ValueError as error:
        if type(error) is ValueError:  # a DataError is no wrong usage
            _refuse_usage(str(error))
        raise
    for archive in fetched:
        state = "as expected" if archive.known else "recorded; later downloads are held to it"
        typer.echo(f"{archive.path.name}: SHA-256 {archive.digest} ({state})")
    typer.echo(f"The data are in {output}. Train on them: fairpool run tuberculosis --data {output}")


@app.command()
def ui(
    output: Output = _DEFAULT_OUTPUT,
    tracking_uri: TrackingUri = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 5000,
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
) -> None:
    """Open the MLflow UI on the store of earlier runs."""
    from fairpool.tracking import chart_paths, default_tracking_uri, without_password

    if tracking_uri is not None and tracking_uri.startswith(("http://", "https://")):
        typer.echo(f"The runs are at {without_password(tracking_uri)}: open it in a browser.")
        return
    uri = tracking_uri or default_tracking_uri(output)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        place = f'below "{output.name}"' if tracking_uri is None else "at the --tracking-uri given"
        _fail(f"there is no MLflow store {place}. Run `fairpool run` first, or give its --output.")
    _quieten()
    typer.echo("MLflow UI (Ctrl-C ends it); the runs' charts, once it has started:")
    for path in chart_paths(uri):
        typer.echo(f"  http://{host}:{port}/{path}")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
    os.execv(command[0], command)


def main() -> None:
    """Run the command line; a failure that fairpool names is one sentence and status 1, without a traceback."""
    try:
        # In this mode typer returns the status of an Exit, 130 for Ctrl-C, instead of raising it.
        status = app(standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):
        status = 130
    except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
        if os.environ.get("FAIRPOOL_TRACEBACK"):
            raise
        _fail(str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error))
    except Exception as error:
        _exit_on_click_error(error)
        raise
    if status == 130:
        typer.echo("Interrupted; the same command continues.", err=True)
    sys.exit(status)


def _with_synthetic_data(study: "Study", terminal: "Terminal") -> "Study":  # type: ignore[name-defined]  # noqa: F821
    from dataclasses import replace

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


def _quieten() -> None:
    """Leave the terminal to the progress bars: libraries' notices go, errors stay."""
    import logging
    import warnings

    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(monai|torch|mlflow)\b")
    for name in ("monai", "mlflow", "alembic", "monai.bundle.workflows"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("ignite").setLevel(logging.CRITICAL)  # it logs an exception once an engine, then raises it


def _fail(sentence: str) -> NoReturn:
    from fairpool.tracking import without_password

    # MLflow quotes the address that failed; some libraries' messages have several lines.
    typer.echo(f"fairpool: {without_password(' '.join(sentence.split()))}", err=True)
    sys.exit(1)


def _refuse_usage(sentence: str) -> NoReturn:
    typer.echo(f"fairpool: {sentence}", err=True)
    raise typer.Exit(2)


def _exit_on_click_error(error: Exception) -> None:
    """Typer's own usage errors: show them as it would and leave with their status."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if show is not None and code is not None:
        show()
        sys.exit(code)


if __name__ == "__main__":
    main()
