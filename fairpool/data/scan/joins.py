"""Find a value of an image in another table: the site, the label, or the patient; by one rule for all three."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from fairpool.data.checks import is_missing, list_rows
from fairpool.data.path_names import strip_ending, tidy_path
from fairpool.data.pseudonyms import Pseudonyms
from fairpool.data.table_text import read_table
from fairpool.errors import DataError

__all__ = ["JOIN_ON", "TableJoin", "find_key", "find_values", "join_keys", "join_labels", "read_pairs"]

JOIN_ON = ("path", "file", "patient", "study")
"""What rows of another table may be found by."""

_PREFIXES = {"patient": "sub-", "study": "ses-"}


@dataclass(frozen=True)
class TableJoin:
    """Which column of which table is wanted, and how its rows are found.

    Attributes:
        file: CSV, TSV, parquet or JSON, see `read_table`.
        value_column: the column that is wanted.
        key_column: the column that names the image, patient or study.
        on: what ``key_column`` holds: "path" below the folder that is scanned, "file" (the name of the file, with or
            without its ending), "patient" (PatientID, "sub-01" or "01") or "study" (StudyInstanceUID, "ses-1" or "1");
            None is any other text, compared as it is.
    Raises:
        ValueError: ``on`` is none of these.
    """

    file: str | os.PathLike[str]
    value_column: str
    key_column: str
    on: str | None

    def __post_init__(self) -> None:
        if self.on is not None and self.on not in JOIN_ON:
            raise ValueError(f"a table is joined on {', '.join(JOIN_ON)}; got {self.on!r}.")


def join_keys(name: str, on: str | None) -> list[str]:
    """What a table may call an image, best first.

    Args:
        name: the path, file name, patient or study of the image.
        on: see `TableJoin`.

    >>> join_keys("./bern/a.png", "path"), join_keys("a.nii.gz", "file"), join_keys("sub-01", "patient")
    (['bern/a.png'], ['a.nii.gz', 'a'], ['sub-01', '01'])
    """
    name = name.strip()
    if on == "path":
        return [tidy_path(name)]
    bare = strip_ending(name) if on == "file" else name.removeprefix(_PREFIXES.get(on or "", ""))
    return [name, bare] if bare and bare != name else [name]


def find_key(keys: Mapping[str, Any], name: str, on: str | None) -> str | None:
    """The key by which a table names an image; None where it does not.

    >>> find_key({"a": "1"}, "a.nii.gz", "file"), find_key({"a": "1"}, "bern/a.nii.gz", "path")
    ('a', None)
    """
    return next((key for key in join_keys(name, on) if key in keys), None)


def read_pairs(
    join: TableJoin, what: str, spell: "Callable[[pd.Series[str]], pd.Series[str]] | None" = None
) -> dict[str, str]:
    """Value by key of a table; a missing value is empty.

    Args:
        join: the table and its columns.
        what: the table is of, for messages: "labels".
        spell: gives the values that are not missing their spelling; the message about a key of several values then
            names them.
    Raises:
        DataError: the table or a column is missing, a row has no key, or what `join_keys` takes for one key, such as
            "sub-01" and "01", has two values; keys are not named.
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
    if is_missing(keys).any():
        raise DataError(
            f'the table of {what} has {int(is_missing(keys).sum())} rows without "{join.key_column}" '
            f"({list_rows(table.index[is_missing(keys)])}). Fill the column or drop the rows."
        )
    keys = keys.map(lambda key: join_keys(key, join.on)[0])
    is_filled = ~is_missing(values)
    filled = values[is_filled] if spell is None else spell(values[is_filled])
    values = filled.reindex(values.index, fill_value="")
    pairs = dict(zip(keys, values, strict=True))
    variants = [(key, bare) for key in pairs for bare in join_keys(key, join.on)[1:] if bare in pairs]
    differing = {name for pair in variants if pairs[pair[0]] != pairs[pair[1]] for name in pair}
    unlike = (values.groupby(keys).transform("nunique") > 1) | keys.isin(differing)
    if unlike.any():
        named = ", ".join(f'"{value}"' for value in values[unlike].unique()[:5]) if spell is not None else ""
        raise DataError(
            f'the table of {what} gives one "{join.key_column}" several values of "{join.value_column}" '
            f"({list_rows(table.index[unlike])}{': ' if named else ''}{named}). "
            f"{_describe_variants(join.on) if differing else ''}Leave one of them, or join on the path."
        )
    return pairs


def _describe_variants(on: str | None) -> str:
    what = "a name with and without its ending" if on == "file" else f'"{_PREFIXES.get(on or "", "")}01" and "01"'
    return f"{what[0].upper()}{what[1:]} are one. "


def find_values(
    rows: Sequence[Mapping[str, Any]], pairs: Mapping[str, str], join: TableJoin, pseudonyms: Pseudonyms, what: str
) -> tuple[list[str | None], list[str]]:
    """The value of each row, None where the table does not name it; and a sentence where the table names others.

    Args:
        rows: ``path``, ``patient``, and the pseudonyms ``patient_name`` and ``study_name`` of what a table calls them.
        pairs: of `read_pairs`.
        join: the table.
        pseudonyms: those of the rows.
        what: the table is of, for messages: "labels".
    Raises:
        DataError: one key of the table means several files or patients; or it names none of the rows.
    """
    option = what.removesuffix("s")
    spellings = {key: [key] for key in pairs}
    if join.on in _PREFIXES:
        spellings = {key: [pseudonyms.of(name, join.on) for name in (key, _PREFIXES[join.on] + key)] for key in pairs}
        found_by = {spellings[key][1]: value for key, value in pairs.items()}  # "01" stands for "sub-01" as well
        pairs = found_by | {spellings[key][0]: value for key, value in pairs.items()}
        names = [str(row[f"{join.on}_name"]) for row in rows]
        found = [name if name in pairs else None for name in names]
        owners = [str(row["patient"]) for row in rows]
    else:
        owners = [str(row["path"]) for row in rows]
        names = [PurePosixPath(path).name if join.on == "file" else path for path in owners]
        found = [find_key(pairs, name, join.on) for name in names]
    if rows and all(key is None for key in found):
        raise DataError(
            f'no image is found in the table of {what} by "{join.key_column}" ({join.on}). Name another column with '
            f"--{option}-key, or what it holds with --{option}-on."
        )
    owner_of, shared = dict[str, str](), set[str]()
    for key, owner in zip(found, owners, strict=True):
        if key is not None and owner_of.setdefault(key, owner) != owner:
            shared.add(key)
    if shared:
        several = "patients of different issuers or data sets" if join.on in _PREFIXES else "files"
        raise DataError(
            f"{len(shared)} keys of the table of {what} mean several {several} each: which one is meant? Join on the "
            f"path (--{option}-on path)."
        )
    used = {key for name in names for key in join_keys(name, join.on)}
    unused = sum(used.isdisjoint(spelt) for spelt in spellings.values())
    notes = [f"{unused} of {len(spellings)} keys of the table of {what} fit no image that can be used"] * bool(unused)
    return [None if key is None else pairs[key] for key in found], notes


def join_labels(
    rows: Sequence[Mapping[str, Any]], join: TableJoin, pseudonyms: Pseudonyms
) -> tuple[list[str], list[str]]:
    """The label of each row, empty where the table has none, and what a reader should know.

    Args:
        rows: see `find_values`.
        join: the table of labels.
        pseudonyms: those of the rows.
    Raises:
        DataError: see `read_pairs` and `find_values`.
    """
    found, notes = find_values(rows, read_pairs(join, "labels"), join, pseudonyms, "labels")
    labels = [label or "" for label in found]
    if without := labels.count(""):
        notes.append(f"{without} of {len(rows)} images have no label in the table of labels")
    return labels, notes
