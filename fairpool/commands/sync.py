"""``fairpool sync``: send what was kept on disk while the tracking store was away."""

from typing import Annotated

import typer

from fairpool.commands.options import DEFAULT_OUTPUT, Output
from fairpool.commands.outcome import quieten

__all__ = ["sync"]


def sync(
    output: Output = DEFAULT_OUTPUT,
    tracking_uri: Annotated[
        str | None,
        typer.Option("--tracking-uri", help="MLflow store that takes everything; left out, the one each run was for."),
    ] = None,
) -> None:
    """Send the evidence that runs kept on disk while their MLflow store was away; nothing is sent twice."""
    from fairpool.tracking.sync import sync_folder

    quieten()
    done = sync_folder(output, tracking_uri)
    for sentence in done.notes:
        typer.echo(f"note: {sentence}", err=True)
    if done.runs:
        typer.echo(f"sent {done.entries} entries of {done.runs} run{'s' if done.runs > 1 else ''}.")
    if done.failure is not None:
        raise done.failure
    if not done.runs:
        typer.echo("nothing was waiting: the store has all evidence.")
