"""All that a piece of code says: logs at their most talkative, warnings, and errors with all that they keep."""

import io
import logging
import traceback
import warnings
from contextlib import contextmanager


@contextmanager
def overhear():
    """Within, everything is listened to; the list that it gives holds the texts once it has ended."""
    said, handler, texts = io.StringIO(), logging.StreamHandler(), []
    handler.setStream(said)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(pathname)s %(exc_text)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield texts
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        texts += [said.getvalue(), *(f"{warning.message} {warning.source}" for warning in warned)]


def everything_of(error):
    """Messages, arguments and tracebacks of an error, of its causes and of what Python only keeps as context."""
    pending, seen = [error], set()
    while pending:
        error = pending.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield f"{error} {error.args!r} {getattr(error, 'filename', '')}"
        yield "".join(traceback.format_exception(error))
        pending += [link for link in (error.__cause__, error.__context__) if link is not None]
