"""The command line: gathers the commands. Exit status 0 done, 1 failed, 2 wrong usage."""

import os
import sys

import typer

from fairpool import interruption
from fairpool.commands.audit import audit
from fairpool.commands.download import download
from fairpool.commands.duplicates import duplicates
from fairpool.commands.evaluate import evaluate
from fairpool.commands.labels import labels
from fairpool.commands.manifest import manifest
from fairpool.commands.mixture import mixture
from fairpool.commands.outcome import fail
from fairpool.commands.overlap import overlap
from fairpool.commands.postprocess import postprocess
from fairpool.commands.profiles import profiles
from fairpool.commands.run import run
from fairpool.commands.select import select
from fairpool.commands.split import split
from fairpool.commands.sweep import sweep
from fairpool.commands.sync import sync
from fairpool.commands.synthesize import synthesize
from fairpool.commands.table import table
from fairpool.commands.ui import ui
from fairpool.commands.verbs import verbs
from fairpool.errors import NAMED, text_of

__all__ = ["app", "main"]

app = typer.Typer(
    name="fairpool",
    help="Pool medical images from many hospitals without letting the model learn the hospital.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

_COMMANDS = (
    run,
    sweep,
    select,
    mixture,
    postprocess,
    evaluate,
    profiles,
    table,
    labels,
    overlap,
    verbs,
    audit,
    split,
    duplicates,
    synthesize,
    download,
    sync,
    ui,
)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(manifest)


def main() -> None:
    """Run the command line; a failure that fairpool names is one sentence and status 1, without a traceback.

    A scheduler's SIGTERM is taken as Ctrl-C: runs are marked as killed, and the same command continues.
    """
    interruption.install()
    try:
        # In this mode typer returns the status of an Exit, 130 for Ctrl-C, instead of raising it.
        status = app(standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):
        status = 130
    except NAMED as error:
        if os.environ.get("FAIRPOOL_TRACEBACK"):
            raise
        fail(text_of(error))
    except Exception as error:
        _exit_on_click_error(error)
        raise
    if status == 130:
        typer.echo(interruption.INTERRUPTED, err=True)
    sys.exit(status)


def _exit_on_click_error(error: Exception) -> None:
    """Typer's own usage errors: show them as it would and leave with their status."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if show is not None and code is not None:
        show()
        sys.exit(code)


if __name__ == "__main__":
    main()
