"""``fairpool ui``: open MLflow on the store of earlier runs."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from fairpool.commands.options import DEFAULT_OUTPUT, Output, TrackingUri
from fairpool.commands.outcome import fail, quieten

__all__ = ["ui"]


def ui(
    output: Output = DEFAULT_OUTPUT,
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
        fail(f"there is no MLflow store {place}. Run `fairpool run` first, or give its --output.")
    quieten()
    typer.echo("MLflow UI (Ctrl-C ends it); the runs' charts, once it has started:")
    for path in chart_paths(uri):
        typer.echo(f"  http://{host}:{port}/{path}")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
    os.execv(command[0], command)
