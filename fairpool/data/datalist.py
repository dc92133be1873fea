"""Read a JSON list of images: MONAI's (decathlon) datalist, or a plain list of objects."""

import json
import math
from typing import Any

import pandas as pd

from fairpool.data.checks import list_rows
from fairpool.data.splits import SECTIONS
from fairpool.errors import DataError

__all__ = ["parse_datalist"]


def parse_datalist(text: str, name: str) -> pd.DataFrame:
    """A datalist as a table of text, one row an image, in the order of the file.

    Args:
        text: ``{"training": [{"image": ..., "label": ...}], "validation": [...], "test": [...]}``, whose lists become
            the column ``split``; or ``[{"image": ...}, ...]``. An entry that is a text alone is an ``image``, as in the
            test lists of the decathlon. What else the object holds (its name, its licence...) is left out.
        name: of the file, for messages.
    Returns:
        one column for every key that an image has, in the order of their first mention; a missing or null value is
        empty text.
    Raises:
        DataError: no such list, one with another name, or a value that is a list or an object.

    >>> parse_datalist('{"training": [{"image": "a.png", "label": 1}], "test": ["b.png"]}', "list.json").to_dict("list")
    {'image': ['a.png', 'b.png'], 'label': ['1', ''], 'split': ['training', 'test']}
    """
    try:
        content = json.loads(text, object_pairs_hook=_without_repeats)
    except RecursionError:
        raise DataError(f'"{name}" is nested too deeply for a list of images.') from None
    except json.JSONDecodeError as error:
        raise DataError(f'line {error.lineno}: "{name}" is not well-formed JSON ({error.msg}).') from None
    except _RepeatedKeyError as error:
        raise DataError(f'"{name}" names the key {str(error)[:60]!r} twice in one object: which one counts?') from None
    if isinstance(content, dict):
        others = [key for key, value in content.items() if key not in SECTIONS and _holds_images(value)]
        if others:
            raise DataError(
                f'"{name}" has a list of images {others[0][:60]!r}; its lists are named {", ".join(SECTIONS)}.'
            )
        lists = {key: content[key] for key in SECTIONS if key in content}
    else:
        lists = {"": content}
    if not lists or not all(isinstance(entries, list) for entries in lists.values()):
        raise DataError(
            f'"{name}" holds no list of images. Expected {{"training": [{{"image": ...}}, ...]}}, or a list of objects.'
        )
    return _to_table(lists, name)


def _to_table(lists: dict[str, list[Any]], name: str) -> pd.DataFrame:
    rows: list[dict[str, str]] = []
    faults: dict[str, list[int]] = {}
    for section, entries in lists.items():
        for entry in entries:
            number = len(rows) + 1
            cells = {"image": entry} if isinstance(entry, str) else entry
            if not isinstance(cells, dict):
                faults.setdefault("hold no object", []).append(number)
                cells = {}
            row = {key: _to_text(value) for key, value in cells.items() if not isinstance(value, list | dict)}
            for key in cells.keys() - row.keys():
                faults.setdefault(f'hold a list or an object in "{key[:60]}", where one value is expected', []).append(
                    number
                )
            if section and row.setdefault("split", section) != section:
                faults.setdefault("name another split than their list", []).append(number)
            rows.append(row)
    if faults:
        found = "; ".join(f"{len(bad)} images {fault} ({list_rows(bad)})" for fault, bad in faults.items())
        raise DataError(f'"{name}": {found}. Give each image one text or number a key.')
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "split"))
    columns += ["split"] * any("split" in row for row in rows)
    return pd.DataFrame([[row.get(key, "") for key in columns] for row in rows], columns=columns, dtype=object)


def _to_text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value)


def _holds_images(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(entry, dict) and "image" in entry for entry in value)


class _RepeatedKeyError(Exception):
    pass


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _RepeatedKeyError(next(key for key in keys if keys.count(key) > 1))
    return found
