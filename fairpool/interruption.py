"""Ctrl-C and a scheduler's SIGTERM end a run, also where Python swallows the exception that stands for them."""

import signal
import sys
from typing import Any, NoReturn

__all__ = ["INTERRUPTED", "check", "install"]

INTERRUPTED = "Interrupted; the same command continues."
"""What a command says that was told to end."""

_was_told = False


def install() -> None:
    """Take SIGTERM as Ctrl-C from now on; both raise KeyboardInterrupt in the main thread, and are remembered."""
    global _was_told
    _was_told = False
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, _interrupt)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _tell_others


def check() -> None:
    """Called at each step of what takes long.

    An exception that a signal raises is lost if it comes while a weak reference's callback or a finalizer runs, which
    imports and databases have by the thousand: Python goes on as if nothing had happened.

    Raises:
        KeyboardInterrupt: this process was told to end, and still runs.
    """
    if _was_told:
        raise KeyboardInterrupt


def _tell_others(unraisable: Any) -> None:
    """Python's own message about a swallowed exception, unless it is one that `check` raises again."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


def _interrupt(*_: object) -> NoReturn:
    global _was_told
    _was_told = True
    raise KeyboardInterrupt
