"""Read a table of images: which file, which label, which site, which patient."""

import csv
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from fairpool.data.checks import check_sites, is_missing, list_rows
from fairpool.errors import DataError

__all__ = ["read_manifest"]

_NO_LABEL = {"-1", "unknown", "todo"}


def read_manifest(
    manifest: str | os.PathLike[str],
    *,
    image_column: str = "image",
    label_column: str | None = "label",
    positive: str | None = None,
    site_column: str = "site",
    patient_column: str | None = None,
    root_dir: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """Records of a CSV, TSV or parquet table, one row an image.

    Args:
        manifest: UTF-8 text with a header line (``.csv``, ``.tsv``), or ``.parquet``.
        image_column: path of each image, relative to ``root_dir``.
        label_column: label of each image; None where there is none (the records then have no ``label``).
        positive: the label value that counts as 1, any other as 0; several separated by ``|``. None: labels are 0 or 1.
        site_column: site of each image.
        patient_column: patient of each image; None makes every image a patient of its own.
        root_dir: folder of the images; None is the manifest's own.
    Returns:
        columns ``image`` (path), ``label`` (0 or 1), ``site``, ``patient``, ``row``; the index is the row, from 1.
    Raises:
        DataError: the table or a column is missing or malformed, or rows are bad: of every column at once, ten in full.
    """
    manifest = Path(manifest)
    table = _read_table(manifest)
    columns = {"image": image_column, "label": label_column, "site": site_column, "patient": patient_column}
    for option, column in columns.items():
        if column is not None and column not in table.columns:
            raise DataError(
                f'the manifest has no column "{column}"; it has {", ".join(map(str, table.columns))}. '
                f"Name the right one with --{option}-column."
            )
    if table.empty:
        raise DataError("the manifest has a header but no row.")
    table.index = pd.RangeIndex(1, len(table) + 1)
    root = Path(root_dir) if root_dir is not None else manifest.parent
    faults: list[str] = []

    def collect(read: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return read(*arguments)
        except DataError as error:
            faults.append(str(error))

    records = pd.DataFrame({"row": table.index}, index=table.index)
    records["image"] = collect(_resolve_images, table[image_column], root, image_column)
    if label_column is not None:
        records["label"] = collect(_encode_labels, table[label_column], positive, label_column)
    records["site"] = collect(_read_sites, table[site_column], site_column)
    if patient_column is None:
        records["patient"] = [f"image-{row}" for row in table.index]
    else:
        records["patient"] = collect(_read_patients, table[patient_column], patient_column)
    if faults:
        raise DataError(" ".join(faults))
    return records


def _read_table(manifest: Path) -> pd.DataFrame:
    if not manifest.is_file():
        raise DataError(f'there is no manifest "{manifest.name}" at the place given.')
    kind = manifest.suffix.lower()
    try:
        content = manifest.read_bytes()
        if kind == ".parquet":
            return pd.read_parquet(io.BytesIO(content)).astype("string").fillna("").astype(object)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f'"{manifest.name}" is not UTF-8 (line {line}). Save it as CSV UTF-8; site names would be garbled.'
        ) from None
    except OSError as error:
        raise DataError(f'"{manifest.name}" cannot be read ({error.strerror or "damaged"}).') from None
    except ValueError:
        raise DataError(f'"{manifest.name}" cannot be read as parquet; it is damaged or of another kind.') from None
    return _parse_text(text, "\t" if kind == ".tsv" else ",", manifest.name)


def _parse_text(text: str, delimiter: str, name: str) -> pd.DataFrame:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(
            f'line {reader.line_num}: "{name}" is not a well-formed table ({error}). Look for a quotation mark that is '
            "not closed."
        ) from None
    if not rows:
        raise DataError(f'"{name}" is empty.')
    first_line, header = rows[0][0], [cell.strip() for cell in rows[0][1]]
    if len(header) == 1 and re.search(r"[;\t,]", header[0]):
        raise DataError(
            f"line {first_line}: the columns are not separated by commas (.csv) or tabs (.tsv): "
            f"the header reads as one column, {header[0][:60]!r}."
        )
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise DataError(f"line {first_line}: the header names {', '.join(map(repr, twice))} twice.")
    ragged = [(line, len(row)) for line, row in rows[1:] if len(row) != len(header)]
    if ragged:
        listed = "; ".join(f"line {line}: {count} cells" for line, count in ragged[:10])
        more = f"; and {len(ragged) - 10} more" if len(ragged) > 10 else ""
        raise DataError(
            f"{len(ragged)} lines do not have the {len(header)} columns of the header ({', '.join(header)[:200]}): "
            f"{listed}{more}. Mend them; text that holds the separator needs quotation marks."
        )
    return pd.DataFrame([row for _, row in rows[1:]], columns=header, dtype=object)


def _read_sites(values: pd.Series, column: str) -> pd.Series:
    check_sites(values, column=column)
    return values.str.strip()


def _read_patients(values: pd.Series, column: str) -> pd.Series:
    missing = is_missing(values)
    if missing.any():
        raise DataError(
            f'{int(missing.sum())} rows have no "{column}" ({list_rows(values.index[missing])}): empty, or NA. Fill '
            "them, or name no patient column: every image is then a patient of its own."
        )
    return values.str.strip()


def _encode_labels(values: pd.Series, positive: str | None, column: str) -> pd.Series:
    text = values.str.strip()
    unknown = is_missing(text) | text.str.lower().isin(_NO_LABEL)
    if unknown.any():
        raise DataError(
            f'{int(unknown.sum())} of {len(text)} rows have no label in "{column}" '
            f"({list_rows(text.index[unknown])}). Drop them or give them one."
        )
    if positive is None:
        bad = ~text.isin(["0", "1"])
        if bad.any():
            found = ", ".join(repr(value) for value in text[bad].unique()[:5])
            raise DataError(
                f'"{column}" must hold 0 and 1; found {found} ({list_rows(text.index[bad])}). '
                "Say which value is the positive one with --positive."
            )
        return (text == "1").astype("int64")
    wanted = [value.strip() for value in positive.split("|")]
    absent = [value for value in wanted if not (text == value).any()]
    if absent:
        found = ", ".join(repr(value) for value in text.unique()[:10])
        raise DataError(f'no row has the positive label {absent[0]!r} in "{column}"; it holds {found}.')
    return text.isin(wanted).astype("int64")


def _resolve_images(paths: pd.Series, root: Path, column: str) -> list[str]:
    """Absolute paths below the root, each directory resolved once; all bad rows are named together."""
    top = os.path.realpath(root)
    folders: dict[str, str | None] = {}
    images, faults = [], []
    for row, cell in paths.items():
        text = str(cell).strip()
        # Unlike pathlib, realpath and isfile raise nothing for loops of links, long names, locked folders; but for \0.
        folder, name = os.path.split(text.replace("\\", "/")) if "\0" not in text else ("", "")
        if folder not in folders:
            resolved = os.path.realpath(os.path.join(top, folder))
            folders[folder] = resolved if Path(resolved).is_relative_to(top) else None
        parent = folders[folder]
        image = os.path.join(parent or top, name)
        if not text:
            faults.append(f'row {row}: "{column}" is empty')
        elif parent is None or os.path.isabs(text) or re.match(r"[A-Za-z]:", text) or name in ("", ".", ".."):
            faults.append(f"row {row}: path leaves the data folder or names no file")
        elif os.path.islink(image) and not Path(os.path.realpath(image)).is_relative_to(top):
            faults.append(f"row {row}: path leaves the data folder through a link")
        elif not os.path.isfile(image):
            faults.append(f"row {row}: no such file")
        images.append(image)
    if faults:
        more = f"; and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise DataError(
            f"{len(faults)} of {len(paths)} images cannot be used: {'; '.join(faults[:10])}{more}. "
            "Paths are relative to the manifest's folder, or to --data."
        )
    return images
