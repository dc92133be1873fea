"""Read a table as text: CSV, TSV, parquet, or a JSON datalist. The one reader of tables."""

import csv
import io
import os
import re
from pathlib import Path

import pandas as pd

from fairpool.csv_cells import text_cell
from fairpool.data.datalist import parse_datalist
from fairpool.errors import DataError

__all__ = ["parse_text", "read_table"]

_AT_ONCE = 500  # rows: fewer new lists than wake the garbage collector, which is three quarters of the time otherwise


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """A table of text, as it stands in the file: numbers, dates and empty cells are not interpreted.

    Args:
        path: UTF-8 text with a header line (``.csv``, ``.tsv``), ``.parquet``, or ``.json`` (see `parse_datalist`). Any
            other ending is read as CSV.
    Returns:
        columns of text; an empty cell is empty text; a parquet column of floats that are all whole numbers is read as
        such. The apostrophe that fairpool puts before what a spreadsheet would
        run as a formula is taken off again.
    Raises:
        DataError: there is no such file, or it is no such table: line, and what was expected.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f'there is no manifest "{path.name}" at the place given.')
    kind = path.suffix.lower()
    content = b""
    try:
        content = path.read_bytes()
        if kind == ".parquet":
            return _read_parquet(content, path.name)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        form = "JSON" if kind == ".json" else "CSV UTF-8"
        raise DataError(
            f'"{path.name}" is not UTF-8 (line {line}). Save it as {form}; site names would be garbled.'
        ) from None
    except OSError as error:
        raise DataError(f'"{path.name}" cannot be read ({error.strerror or "damaged"}).') from None
    if kind == ".json":
        return parse_datalist(text, path.name)
    return parse_text(text, "\t" if kind == ".tsv" else ",", path.name)


def _read_parquet(content: bytes, name: str) -> pd.DataFrame:
    try:
        table = pd.read_parquet(io.BytesIO(content)).apply(_whole)
        return _unnamed(table.astype("string").fillna("").astype(object))
    except Exception:  # noqa: BLE001  (of damaged metadata or text pyarrow and pandas raise a dozen types)
        raise DataError(f'"{name}" cannot be read as parquet; it is damaged or of another kind.') from None


def _whole(column: pd.Series) -> pd.Series:
    """Whole numbers that pandas has made floats because some are missing: 7 and not 7.0 is a patient's number."""
    if not pd.api.types.is_float_dtype(column.dtype):
        return column
    numbers = column.dropna()
    is_whole = ((numbers % 1 == 0) & (numbers.abs() < 2**53)).all()
    return column.astype("Int64") if is_whole else column


def parse_text(text: str, delimiter: str, name: str) -> pd.DataFrame:
    """The table in CSV or TSV text.

    Args:
        text: a header line, then the rows; lines without any content are left out.
        delimiter: between the cells.
        name: of the file, for messages.
    Raises:
        DataError: the text is empty, its quotation marks or separators do not fit, columns stand twice, or lines are of
            unlike length; the message names the lines.
    """
    header: list[str] = []
    columns: list[list[str]] = []
    rows: list[list[str]] = []
    ragged: list[tuple[int, int]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if not "".join(row).strip():
                continue
            if not header:
                first_line, header, columns = reader.line_num, row, [[] for _ in row]
            elif len(row) != len(header):
                ragged.append((reader.line_num, len(row)))
            else:
                rows.append(row)
                if len(rows) == _AT_ONCE:
                    _move(rows, columns)
    except csv.Error as error:
        raise DataError(
            f'line {reader.line_num}: "{name}" is not a well-formed table ({error}). Look for a quotation mark that is '
            "not closed."
        ) from None
    if not header:
        raise DataError(f'"{name}" is empty.')
    header = [_unprotected(cell.strip()) for cell in header]
    if len(header) == 1 and re.search(r"[;\t,]", header[0]):
        raise DataError(
            f"line {first_line}: the columns are not separated by commas (.csv) or tabs (.tsv): "
            f"the header reads as one column, {header[0][:60]!r}."
        )
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise DataError(f"line {first_line}: the header names {', '.join(map(repr, twice))} twice.")
    if ragged:
        listed = "; ".join(f"line {line}: {count} cells" for line, count in ragged[:10])
        more = f"; and {len(ragged) - 10} more" if len(ragged) > 10 else ""
        raise DataError(
            f"{len(ragged)} lines do not have the {len(header)} columns of the header ({', '.join(header)[:200]}): "
            f"{listed}{more}. Mend them; text that holds the separator needs quotation marks."
        )
    _move(rows, columns)
    return pd.DataFrame(dict(zip(header, columns, strict=True)), dtype=object)


def _move(rows: list[list[str]], columns: list[list[str]]) -> None:
    """Take rows of equal length apart: a million at a time would lie in memory twice, as rows and as columns."""
    for column, cells in zip(columns, zip(*rows, strict=True), strict=False):
        column += [_unprotected(cell) if cell[:1] == "'" else cell for cell in cells]
    rows.clear()


def _unprotected(cell: str) -> str:
    """The text that `text_cell` quoted: without its apostrophe, where it is one that `text_cell` put.

    >>> _unprotected("'=1+1"), _unprotected("'s-Hertogenbosch")
    ('=1+1', "'s-Hertogenbosch")
    """
    inner = cell[1:]
    return inner if inner and cell[0] == "'" and text_cell(inner) == cell else cell


def _unnamed(table: pd.DataFrame) -> pd.DataFrame:
    """Column names as text; the index, which a written frame may bring along, counts rows."""
    return table.set_axis([str(column) for column in table.columns], axis=1).reset_index(drop=True)
