"""Read a JSON list of images: MONAI's (decathlon) datalist, or a plain list of objects."""

import json
import math
import re
from typing import Any

import pandas as pd

from fairpool.data.checks import list_rows
from fairpool.data.splits import SECTIONS
from fairpool.errors import DataError

__all__ = ["IMAGE_COLUMN", "parse_datalist"]

IMAGE_COLUMN = "image_column"
"""Key of the object that says what a table called the column that MONAI calls ``image``."""

_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def parse_datalist(text: str, name: str) -> pd.DataFrame:
    """A datalist as a table of text, one row an image, in the order of the file.

    Args:
        text: ``{"training": [{"image": ..., "label": ...}], "validation": [...], "test": [...]}``, whose lists become
            the column ``split``; or ``[{"image": ...}, ...]``. An entry that is a text alone is an ``image``, as in the
            test lists of the decathlon. What else the object holds (its name, its licence...) is left out.
        name: of the file, for messages.
    Returns:
        one column for every key that an image has, in the order of their first mention, the split last; a missing or
        null value is empty text, and a column of numbers that are all whole is read as such. Where the object says
        ``"image_column": "path"``, as `write_table` does, the column ``image`` is called so.
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
    except ValueError:  # Python's limit to the digits of a whole number
        raise DataError(f'"{name}" holds a number of more digits than any has. Put it in quotation marks.') from None
    if _HALF.search(text) and not _is_text(content):
        raise DataError(f'"{name}" holds half of a character (\\ud800 to \\udfff alone). Write the text as UTF-8.')
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
    table = _to_table(lists, name)
    if isinstance(content, dict) and content.get(IMAGE_COLUMN) == "path" and "path" not in table:
        table = table.rename(columns={"image": "path"})
    return table


def _to_table(lists: dict[str, list[Any]], name: str) -> pd.DataFrame:
    # A table without a split is written as a list "training", so such a list alone says nothing of a split.
    is_split = set(lists) != {"training"}
    rows: list[dict[str, Any]] = []
    faults: dict[str, list[int]] = {}
    for section, entries in lists.items():
        for entry in entries:
            number = len(rows) + 1
            cells = {"image": entry} if isinstance(entry, str) else entry
            if not isinstance(cells, dict):
                faults.setdefault("hold no object", []).append(number)
                cells = {}
            row = {key: value for key, value in cells.items() if not isinstance(value, list | dict)}
            if "split" in row:
                row["split"] = _to_text(row["split"])
            for key in cells.keys() - row.keys():
                faults.setdefault(f'hold a list or an object in "{key[:60]}", where one value is expected', []).append(
                    number
                )
            if is_split and section:
                row.setdefault("split", section)
            if section and row.get("split", section) != section:
                faults.setdefault("name another split than their list", []).append(number)
            rows.append(row)
    if faults:
        found = "; ".join(f"{len(bad)} images {fault} ({list_rows(bad)})" for fault, bad in faults.items())
        raise DataError(f'"{name}": {found}. Give each image one text or number a key.')
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "split"))
    columns += ["split"] * any("split" in row for row in rows)
    texts = {key: _to_texts([row.get(key) for row in rows]) for key in columns}
    return pd.DataFrame(texts, index=range(len(rows)), columns=columns, dtype=object)


def _to_texts(values: list[Any]) -> list[str]:
    """A column; 7.0 is 7 where pandas has made floats of whole numbers because some are missing."""
    numbers = [value for value in values if _to_text(value)]
    if any(isinstance(value, float) for value in numbers) and all(_is_whole(value) for value in numbers):
        values = [int(value) if _to_text(value) else "" for value in values]
    return [_to_text(value) for value in values]


def _is_whole(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < 2**53 and value == int(value)


def _is_text(content: Any) -> bool:
    """Whether all text can be written: an escape may stand for half of a character."""
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


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
