"""``fairpool profiles``: error and gap against the epoch, by method."""

from pathlib import Path
from typing import Annotated

import typer

from fairpool.commands.options import DEFAULT_OUTPUT, Output, TrackingUri
from fairpool.commands.outcome import check_target, method_names, quieten

__all__ = ["profiles"]

_ENDINGS = (".png", ".pdf", ".svg")


def profiles(
    experiment: Annotated[str, typer.Argument(help="An MLflow experiment; `fairpool run` takes the pipeline's name.")],
    image: Annotated[Path, typer.Option("--image", help="The plot, as .png, .pdf or .svg.")] = Path("profiles.png"),
    output: Output = DEFAULT_OUTPUT,
    tracking_uri: TrackingUri = None,
    study: Annotated[str | None, typer.Option("--study", help="Only runs of this study.")] = None,
    methods: Annotated[str | None, typer.Option("--methods", help="Only these methods, separated by commas.")] = None,
    table: Annotated[Path | None, typer.Option("--table", help="Also write the plotted values here, as .csv.")] = None,
) -> None:
    """Plot validation DEO and error against the epoch: a line for each method, a band from its smallest to largest run.

    The paper's training profiles (its figures 2 and 5), with every finished run of the experiment behind each line.
    """
    from fairpool.finished_runs import open_store, runs_of
    from fairpool.profiles import profile_plot, training_profiles
    from fairpool.tracking import default_tracking_uri

    check_target("--image", image, _ENDINGS)
    check_target("--table", table, (".csv",))
    names = method_names("--methods", methods)
    quieten()
    client = open_store(tracking_uri or default_tracking_uri(output))
    found = training_profiles(client, runs_of(client, experiment, study=study, methods=names))
    profile_plot(found).savefig(image, dpi=150)
    typer.echo(f"Training profiles of {', '.join(dict.fromkeys(found['line']))}: {image}")
    if table is not None:
        found.to_csv(table, index=False)
        typer.echo(f"The plotted values: {table}")
