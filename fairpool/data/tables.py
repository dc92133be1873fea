"""Write a table of images: CSV, TSV, parquet, or MONAI's (decathlon) datalist. Its reader is `read_table`."""

import csv
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fairpool.csv_cells import text_cell
from fairpool.data.checks import list_rows
from fairpool.data.datalist import IMAGE_COLUMN
from fairpool.data.splits import SECTIONS
from fairpool.errors import DataError
from fairpool.whole_file import open_whole, write_whole

__all__ = ["TABLE_ENDINGS", "to_datalist", "write_table"]

TABLE_ENDINGS = (".csv", ".tsv", ".parquet", ".json")
"""What the name of a table ends in."""

_NO_TEXT = re.compile("[\ud800-\udfff]")
_LOOKS_PROTECTED = re.compile(r"\A'[=+\-@\t\r\n]")


def write_table(frame: pd.DataFrame, file: str | os.PathLike[str]) -> None:
    """Write a table, whole or not at all; `read_table` gives the same text back.

    Args:
        frame: one row an image; the index is not written. A missing value becomes an empty cell.
        file: ends in ``.csv`` or ``.tsv`` (UTF-8; text that a spreadsheet would run as a formula is quoted with an
            apostrophe), ``.parquet``, or ``.json`` (see `to_datalist`; where ``path`` becomes ``image`` there, the file
            says so, and is read back as it was).
    Raises:
        DataError: a cell cannot be written in this form, or a row has no split and the file is a datalist; names the
            rows and the column.
        ValueError: the name ends in something else, or two columns have one name.
        OSError: the file cannot be written.

    >>> import tempfile
    >>> from fairpool.data.manifest import read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_table(pd.DataFrame({"path": ["a.png"], "site": ["=bern"], "age": [41]}), f"{folder}/list.csv")
    ...     print(Path(folder, "list.csv").read_text(), read_table(f"{folder}/list.csv").iloc[0].tolist())
    path,site,age
    a.png,'=bern,41
     ['a.png', '=bern', '41']
    """
    file = Path(file)
    kind = file.suffix.lower()
    if kind not in TABLE_ENDINGS:
        raise ValueError(f"a table must end in {', '.join(TABLE_ENDINGS)}; got {kind!r}.")
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1).reset_index(drop=True)
    if frame.columns.has_duplicates:
        twice = ", ".join(map(repr, frame.columns[frame.columns.duplicated()].unique()))
        raise ValueError(f"the table names {twice} twice. Rename one of the columns.")
    frame = pd.DataFrame({name: _as_text(frame[name]) for name in frame})
    _check_text(frame, spreadsheet=kind in (".csv", ".tsv"))
    if kind == ".json":
        about = {IMAGE_COLUMN: "path"} if "image" not in frame and "path" in frame else {}
        write_whole(file, json.dumps(about | to_datalist(frame), indent=1, allow_nan=False) + "\n")
    elif kind == ".parquet":
        with open_whole(file) as handle:
            frame.to_parquet(handle, index=False)
    else:
        cells = {name: _protect(frame[name]) for name in frame}
        protected = pd.DataFrame(cells).set_axis([text_cell(str(name)) if name else name for name in frame], axis=1)
        options: dict[str, Any] = {"sep": "," if kind == ".csv" else "\t", "lineterminator": "\n"}
        # Python's writer quotes a line feed, and leaves a carriage return bare, which breaks the line as well.
        has_return = any("\r" in str(text) for name in cells for text in (name, *cells[name]))
        options["quoting"] = csv.QUOTE_NONNUMERIC if has_return else csv.QUOTE_MINIMAL
        write_whole(file, protected.to_csv(index=False, **options))


def to_datalist(frame: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """A table in the form that `monai.data.load_decathlon_datalist` reads.

    Args:
        frame: the column ``split`` says to which list a row belongs; without it every row is "training", and reads back
            without a split. Where all rows are of the split "training", each says so, or it would be lost. Where there
            is no column ``image``, ``path`` is written under that name. Labels that are whole numbers are written as
            numbers; an empty cell is left out.
    Returns:
        ``{"training": [{"image": ..., "label": ...}, ...], ...}``, with the lists that have a row.
    Raises:
        DataError: a row is in no split.

    MONAI's reader turns any text that is also the name of a file or folder beside the list into its path: a site "bern"
    beside a folder "bern" comes out as ".../bern". `read_table` leaves it alone.

    >>> to_datalist(pd.DataFrame({"path": ["a.png", "b.png"], "label": ["1", "0"], "split": ["training", "test"]}))
    {'training': [{'image': 'a.png', 'label': 1}], 'test': [{'image': 'b.png', 'label': 0}]}
    """
    if "image" not in frame and "path" in frame:
        frame = frame.rename(columns={"path": "image"})
    sections = frame["split"].astype(str).str.strip() if "split" in frame else pd.Series("training", index=frame.index)
    outside = ~sections.isin(SECTIONS)
    if outside.any():
        raise DataError(
            f"{int(outside.sum())} rows are in no split ({list_rows((np.flatnonzero(outside) + 1).tolist())}), and a "
            f"datalist has a list for {', '.join(SECTIONS)} alone. Drop them, or write a table ({TABLE_ENDINGS[0]})."
        )
    says_split = "split" in frame and set(sections) == {"training"}
    rows = frame.drop(columns=[] if says_split else "split", errors="ignore").to_dict("records")
    items = [{str(key): _to_json(value, str(key)) for key, value in row.items()} for row in rows]
    found: dict[str, list[dict[str, Any]]] = {section: [] for section in SECTIONS}
    for section, item in zip(sections, items, strict=True):
        found[section].append({key: value for key, value in item.items() if value is not None and value != ""})
    return {section: entries for section, entries in found.items() if entries}


def _to_json(value: Any, column: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if column == "label" and isinstance(value, str) and re.fullmatch(r"0|-?[1-9][0-9]{0,15}", value.strip()):
        return int(value)
    return value if isinstance(value, bool | int | float | str) else str(value)


def _as_text(values: pd.Series) -> pd.Series:
    """A column of text, empty where a value is missing; numbers and truth values stay what they are."""
    if pd.api.types.is_numeric_dtype(values):
        return values
    # Not by `map`: pandas would make strings of its own of the result, which hold no bytes that are no text.
    text = ["" if is_missing else str(value) for value, is_missing in zip(values, values.isna(), strict=True)]
    return pd.Series(text, index=values.index, dtype=object)


def _protect(values: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(values):
        return values
    return values.map(lambda text: text_cell(text) if text else "")


def _check_text(frame: pd.DataFrame, *, spreadsheet: bool) -> None:
    """Refuse what UTF-8 cannot hold and, in a spreadsheet, what the reader would take for a protected cell."""
    rules = [(_NO_TEXT, "holds bytes that are no text")]
    if spreadsheet:
        rules.append((_LOOKS_PROTECTED, "begins with an apostrophe and a formula sign, which .parquet and .json hold"))
    for name in frame:
        if pd.api.types.is_numeric_dtype(frame[name]):
            continue
        for pattern, reason in rules:
            bad = frame[name].map(lambda text, pattern=pattern: pattern.search(text) is not None)
            if bad.any():
                rows = (np.flatnonzero(bad) + 1).tolist()
                raise DataError(f'"{name}" {reason} ({list_rows(rows)}). Rename what is meant, or drop the rows.')
