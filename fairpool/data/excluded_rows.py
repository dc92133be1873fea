"""The rows that a user leaves out of a published data set, as its pipeline's setting names them."""

import operator
from collections.abc import Sequence

__all__ = ["as_setting", "check_excluded_rows"]


def check_excluded_rows(rows: Sequence[int], last: int, key: str = "exclude_rows") -> list[int]:
    """The rows in order, each once.

    Args:
        rows: numbers of rows, counted from 1.
        last: the last row there is.
        key: what the setting is called.
    Raises:
        ValueError: it is no list of whole numbers, or a row does not exist.

    >>> check_excluded_rows([41, 7, 7], 100)
    [7, 41]
    """
    wanted = f"{key} must be a list of row numbers, such as {key}=[7,41]"
    if isinstance(rows, str | bytes) or not isinstance(rows, Sequence):
        raise ValueError(f"{wanted}; got {rows!r}.")
    found = set()
    for row in rows:
        try:
            number = None if isinstance(row, bool) else operator.index(row)
        except TypeError:
            number = None
        if number is None:
            raise ValueError(f"{wanted}; got {row!r} among them.")
        if not 1 <= number <= last:
            raise ValueError(f"{key} names row {number}; there are rows 1 to {last}.")
        found.add(number)
    return sorted(found)


def as_setting(rows: Sequence[int], key: str = "exclude_rows", most: int = 20) -> str:
    """What a user writes to leave the rows out; of many rows the first.

    >>> as_setting([7, 41]), as_setting(range(1, 100), most=2)
    ('exclude_rows=[7,41]', 'exclude_rows=[1,2,...]')
    """
    named = [str(row) for row in rows[:most]] + ["..."] * (len(rows) > most)
    return f"{key}=[{','.join(named)}]"
