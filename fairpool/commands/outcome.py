"""How a command leaves: a quiet terminal, one sentence where it fails, status 1 for a failure and 2 for wrong usage.

What cannot be written is refused before anything is read.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer

__all__ = ["check_target", "check_within", "fail", "make_output", "method_names", "quieten", "refuse_usage"]


def quieten() -> None:
    """Leave the terminal to the progress bars: libraries' notices go, errors stay."""
    import logging
    import warnings

    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(joblib|monai|mlflow|pydicom|torch)\b")
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
    typer.echo(f"fairpool: {' '.join(sentence.split())}", err=True)
    raise typer.Exit(2)


def check_target(option: str, file: Path | None, endings: Sequence[str] = ()) -> None:
    """Leave with status 2 if a file could not be written; makes nothing.

    Args:
        option: that named the file, such as ``--json``.
        file: the file; None is not checked.
        endings: what its name must end in, in small letters; empty for anything.
    """
    if file is None:
        return
    if endings and file.suffix.lower() not in endings:
        refuse_usage(f'{option} must end in {", ".join(endings)}; got "{file.name}".')
    folder = file.resolve().parent
    if not folder.is_dir():
        refuse_usage(f'the folder of {option}, "{file.parent}", does not exist.')
    if file.is_dir():
        refuse_usage(f'{option} "{file}" is a folder: name a file in it.')
    if not os.access(folder, os.W_OK) or (file.exists() and not os.access(file, os.W_OK)):
        refuse_usage(f'{option} "{file}" cannot be written: permission denied.')


def check_within(within: float) -> None:
    """Leave with status 2 if ``--within`` is no share of the best accuracy."""
    if not 0 < within <= 1:
        refuse_usage(f"--within is a share of the best accuracy, in (0, 1]; got {within}.")


def make_output(output: Path) -> None:
    """Make the folder of ``--output``, or leave with status 2 where it cannot be made."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        refuse_usage(f'--output "{output}" must be a folder, and there is a file of that name or of one above it.')
    except OSError as error:
        refuse_usage(f'the folder of --output, "{output}", cannot be made: {error.strerror}.')
    if not os.access(output, os.W_OK):
        refuse_usage(f'the folder of --output, "{output}", cannot be written to: permission denied.')


def method_names(option: str, text: str | None, kind: str = "method") -> list[str] | None:
    """Methods, or names of another kind, separated by commas on the command line; None without the option."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        refuse_usage(f'{option} names no {kind}, got "{text}": name each {kind} once, separated by commas.')
    return names
