"""Read a table of images: which file, which label, which site, which patient."""

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from fairpool.data.checks import check_sites, list_rows
from fairpool.errors import DataError

__all__ = ["read_manifest"]

_NO_LABEL = {"", "?", "-1", "na", "n/a", "nan", "none", "null", "unknown", "todo"}


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
        DataError: the table or a column is missing or malformed, or any row is bad; all bad rows are named at once.
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
    check_sites(table[site_column], column=site_column)

    records = pd.DataFrame({"row": table.index}, index=table.index)
    root = Path(root_dir) if root_dir is not None else manifest.parent
    records["image"] = _resolve_images(table[image_column], root, image_column)
    if label_column is not None:
        records["label"] = _encode_labels(table[label_column], positive, label_column)
    records["site"] = table[site_column].str.strip()
    if patient_column is None:
        records["patient"] = [f"image-{row}" for row in table.index]
    else:
        patients = table[patient_column].str.strip()
        if (patients == "").any():
            rows = list_rows(table.index[patients == ""])
            raise DataError(
                f'{int((patients == "").sum())} rows have an empty "{patient_column}" ({rows}). Fill them, '
                "or name no patient column: every image is then a patient of its own."
            )
        records["patient"] = patients
    return records


def _read_table(manifest: Path) -> pd.DataFrame:
    if not manifest.is_file():
        raise DataError(f'there is no manifest "{manifest.name}" at the place given.')
    if manifest.suffix == ".parquet":
        try:
            return pd.read_parquet(manifest).astype("string").fillna("").astype(object)
        except (OSError, ValueError) as error:
            raise DataError(f'"{manifest.name}" cannot be read as parquet.') from error
    delimiter = "\t" if manifest.suffix == ".tsv" else ","
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_checked_rows(file, delimiter))
    except UnicodeDecodeError as error:
        raise DataError(
            f'"{manifest.name}" is not UTF-8 (byte {error.start}). Save it as CSV UTF-8; site names would be garbled.'
        ) from None
    except csv.Error as error:
        raise DataError(f'"{manifest.name}" is not a well-formed table: {error}.') from None
    if not rows:
        raise DataError(f'"{manifest.name}" is empty.')
    return pd.DataFrame(rows[1:], columns=rows[0], dtype=object)


def _checked_rows(file: "Iterator[str]", delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        if header is None:
            header = [cell.strip() for cell in row]
            if len(header) == 1 and re.search(r"[;\t]", header[0]):
                raise DataError(
                    "line 1: the columns are not separated by commas (.csv) or tabs (.tsv): "
                    f"the header reads as one column, {header[0][:60]!r}."
                )
            twice = sorted({name for name in header if header.count(name) > 1})
            if twice:
                raise DataError(f"line 1: the header names {', '.join(map(repr, twice))} twice.")
            yield header
            continue
        if len(row) != len(header):
            raise DataError(f"line {reader.line_num}: {len(row)} cells where the header has {len(header)} columns.")
        yield row


def _encode_labels(values: pd.Series, positive: str | None, column: str) -> pd.Series:
    text = values.str.strip()
    unknown = text.str.lower().isin(_NO_LABEL)
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
    root = root.resolve()
    folders: dict[str, Path | None] = {}
    images, faults = [], []
    for row, text in paths.items():
        text = str(text).strip()
        folder, name = os.path.split(text.replace("\\", "/"))
        if folder not in folders:
            resolved = (root / folder).resolve()
            folders[folder] = resolved if resolved.is_relative_to(root) else None
        parent = folders[folder]
        image = None if parent is None else parent / name
        if not text:
            faults.append(f'row {row}: "{column}" is empty')
        elif os.path.isabs(text) or re.match(r"[A-Za-z]:", text) or name in ("", ".", "..") or image is None:
            faults.append(f"row {row}: path leaves the data folder or names no file")
        elif not image.is_file():
            faults.append(f"row {row}: no such file")
        elif image.is_symlink() and not image.resolve().is_relative_to(root):
            faults.append(f"row {row}: path leaves the data folder through a link")
        images.append(str(image))
    if faults:
        more = f"; and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise DataError(
            f"{len(faults)} of {len(paths)} images cannot be used: {'; '.join(faults[:10])}{more}. "
            "Paths are relative to the manifest's folder, or to --data."
        )
    return images
