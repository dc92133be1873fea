"""Take a column of another table into the manifest: the label, or the patient."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fairpool.data.checks import is_missing, list_rows
from fairpool.data.pseudonyms import Pseudonyms
from fairpool.data.table_text import read_table
from fairpool.errors import DataError

__all__ = ["JOIN_ON", "TableJoin", "find_by_path", "join_labels", "read_pairs"]

JOIN_ON = ("path", "file", "patient", "study")
"""What rows of another table may be found by."""


@dataclass(frozen=True)
class TableJoin:
    """Which column of which table is wanted, and how its rows are found.

    Attributes:
        file: CSV, TSV, parquet or JSON, see `read_table`.
        value_column: the column that is wanted.
        key_column: the column that names the image, patient or study.
        on: what ``key_column`` holds: "path" below the folder that is scanned, "file" (the name of the file, with or
            without its ending), "patient" (PatientID, "sub-01" or "01") or "study" (StudyInstanceUID, "ses-1" or "1").
    Raises:
        ValueError: ``on`` is none of these.
    """

    file: str | os.PathLike[str]
    value_column: str
    key_column: str
    on: str

    def __post_init__(self) -> None:
        if self.on not in JOIN_ON:
            raise ValueError(f"a table is joined on {', '.join(JOIN_ON)}; got {self.on!r}.")


def read_pairs(join: TableJoin, what: str) -> dict[str, str]:
    """Value by key of a table; a missing value is empty.

    Args:
        join: the table and its columns.
        what: the table is of, for messages: "labels".
    Raises:
        DataError: the table or a column is missing, a row has no key, or one key has two values; keys are not named.
    """
    table = read_table(join.file)
    table.index = pd.RangeIndex(1, len(table) + 1)
    for column in (join.key_column, join.value_column):
        if column not in table:
            raise DataError(
                f'the table of {what} has no column "{column}"; it has {", ".join(map(str, table.columns))}. Name the '
                f"right one."
            )
    keys, values = table[join.key_column].str.strip(), table[join.value_column].str.strip()
    values = values.where(~is_missing(values), "")
    if is_missing(keys).any():
        raise DataError(
            f'the table of {what} has {int(is_missing(keys).sum())} rows without "{join.key_column}" '
            f"({list_rows(table.index[is_missing(keys)])}). Fill the column or drop the rows."
        )
    unlike = values.groupby(keys).transform("nunique") > 1
    if unlike.any():
        raise DataError(
            f'the table of {what} gives one "{join.key_column}" several values of "{join.value_column}" '
            f"({list_rows(table.index[unlike])}). Leave one of them, or join on the path."
        )
    return dict(zip(keys, values, strict=True))


def find_by_path(pairs: Mapping[str, str], path: str, on: str) -> str | None:
    """The value of a file by its path or its name; None where the table has none.

    >>> find_by_path({"a": "1"}, "bern/a.nii.gz", "file"), find_by_path({"a": "1"}, "bern/a.nii.gz", "path")
    ('1', None)
    """
    return next((pairs[key] for key in _path_keys(path, on) if key in pairs), None)


def join_labels(
    rows: Sequence[Mapping[str, Any]], join: TableJoin, pseudonyms: Pseudonyms
) -> tuple[list[str], list[str]]:
    """The label of each row, empty where the table has none, and what a reader should know.

    Args:
        rows: ``path``, ``patient``, and the pseudonyms ``patient_name`` and ``study_name`` of what a table calls them.
        join: the table of labels.
        pseudonyms: those of the rows.
    Raises:
        DataError: see `read_pairs`; one key of the table means several files or patients; no row is found.
    """
    pairs = read_pairs(join, "labels")
    if join.on in ("patient", "study"):
        pairs = _as_pseudonyms(pairs, join.on, pseudonyms)
        keys = [[str(row[f"{join.on}_name"])] for row in rows]
        owners = [str(row["patient"]) for row in rows]
    else:
        keys = [_path_keys(str(row["path"]), join.on) for row in rows]
        owners = [str(row["path"]) for row in rows]
    labels, owner_of, shared = [], dict[str, str](), set[str]()
    for found, owner in zip(keys, owners, strict=True):
        key = next((key for key in found if key in pairs), None)
        labels.append(pairs[key] if key is not None else "")
        if key is not None and owner_of.setdefault(key, owner) != owner:
            shared.add(key)
    if shared:
        several = "patients of different issuers or data sets" if join.on in ("patient", "study") else "files"
        raise DataError(
            f"{len(shared)} keys of the table of labels mean several {several} each: which one is meant? Join on the "
            "path (--label-on path)."
        )
    if rows and not owner_of:
        raise DataError(
            f'no image is found in the table of labels by "{join.key_column}" ({join.on}). Name another column with '
            "--label-key, or what it holds with --label-on."
        )
    notes = []
    if without := labels.count(""):
        notes.append(f"{without} of {len(rows)} images have no label in the table of labels")
    return labels, notes


def _as_pseudonyms(pairs: Mapping[str, str], kind: str, pseudonyms: Pseudonyms) -> dict[str, str]:
    """The pairs by pseudonym; "01" stands for "sub-01" as well, as in BIDS tables."""
    prefix = "sub-" if kind == "patient" else "ses-"
    found = {pseudonyms.of(key, kind): value for key, value in pairs.items()}
    for key, value in pairs.items():
        found.setdefault(pseudonyms.of(f"{prefix}{key}", kind), value)
    return found


def _path_keys(path: str, on: str) -> list[str]:
    if on == "path":
        return [path]
    name = Path(path).name
    stem = name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else Path(name).stem
    return [name, stem]
