"""``fairpool download``: fetch a public data set."""

from pathlib import Path
from typing import Annotated

import typer

from fairpool.commands.outcome import refuse_usage

__all__ = ["download"]


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
        refuse_usage(f'there is no download for "{pipeline}"; there is for tuberculosis.')
    digests = dict(
        text.split("=", 1) if "=" in text else refuse_usage(f'"{text}" is not SITE=DIGEST.') for text in sha256 or []
    )
    terminal = Terminal()
    try:
        with terminal:
            fetched = download_tuberculosis(output, sha256=digests, base_url=base_url, progress=terminal.bytes)
    except ValueError as error:
        if type(error) is ValueError:  # a DataError is no wrong usage
            refuse_usage(str(error))
        raise
    for archive in fetched:
        state = "as expected" if archive.known else "recorded; later downloads are held to it"
        typer.echo(f"{archive.path.name}: SHA-256 {archive.digest} ({state})")
    typer.echo(f"The data are in {output}. Train on them: fairpool run tuberculosis --data {output}")
