"""What counts as an integer id in a data item."""

import operator
from typing import Any

__all__ = ["as_integer"]


def as_integer(value: Any) -> int | None:
    """A Python int for one integer of Python, numpy or torch, None for anything else.

    Truth values are no ids, and neither is an array that merely has one element.

    >>> as_integer(2), as_integer(True), as_integer(2.0), as_integer("2"), as_integer(None)
    (2, None, None, None, None)
    """
    if isinstance(value, bool) or getattr(value, "ndim", 0) != 0 or "bool" in str(getattr(value, "dtype", "")):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
