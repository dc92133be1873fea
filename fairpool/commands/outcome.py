"""How a command leaves: a quiet terminal, one sentence where it fails, status 1 for a failure and 2 for wrong usage."""

import os
import sys
from typing import NoReturn

import typer

__all__ = ["fail", "quieten", "refuse_usage"]


def quieten() -> None:
    """Leave the terminal to the progress bars: libraries' notices go, errors stay."""
    import logging
    import warnings

    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(monai|torch|mlflow)\b")
    for name in ("monai", "mlflow", "alembic", "monai.bundle.workflows"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("ignite").setLevel(logging.CRITICAL)  # it logs an exception once an engine, then raises it


def fail(sentence: str) -> NoReturn:
    """Print the sentence and leave with status 1."""
    from fairpool.tracking import without_password

    # MLflow quotes the address that failed; some libraries' messages have several lines.
    typer.echo(f"fairpool: {without_password(' '.join(sentence.split()))}", err=True)
    sys.exit(1)


def refuse_usage(sentence: str) -> NoReturn:
    """Print the sentence and leave with status 2."""
    typer.echo(f"fairpool: {sentence}", err=True)
    raise typer.Exit(2)
