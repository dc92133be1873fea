"""Read one column of a table of images: labels, sites, patients, the split. Each names all its bad rows at once."""

import os
from collections.abc import Mapping, Sequence

import pandas as pd

from fairpool.data.checks import check_sites, is_missing, list_rows
from fairpool.data.splits import SECTIONS
from fairpool.errors import DataError

__all__ = ["find_ignored", "read_labels", "read_patients", "read_sites", "read_split"]

_NO_LABEL = {"-1", "unknown", "todo"}
_SPLIT_WORDS = {"train": "training", "val": "validation", **{section: section for section in SECTIONS}}


def find_ignored(labels: pd.Series, ignore_label: str | int) -> pd.Series:
    """Where a row is to be left out for its label; several values are separated by ``|``.

    >>> find_ignored(pd.Series(["0", " -1", "1", "todo"]), "-1|todo").tolist()
    [False, True, False, True]
    """
    return labels.str.strip().isin([value.strip() for value in str(ignore_label).split("|")])


def read_labels(values: pd.Series, positive: str | None, column: str, *, any_label: bool = False) -> pd.Series:
    """Labels 0 and 1 of a column of text, int64.

    Args:
        values: as they stand in the table; index 1 for the first row.
        positive: the values that count as 1, separated by ``|``, any other as 0; None: the column holds 0 and 1.
        column: its name.
        any_label: give the column's own text, whatever it is.
    Raises:
        DataError: rows without a label, with another than 0 and 1, or no row with the positive value.
    """
    text = values.str.strip()
    unknown = is_missing(text) | text.str.lower().isin(_NO_LABEL)
    if unknown.any():
        written = sorted(set(text[unknown]) - {""})
        hint = f", or leave them out with --ignore-label {written[0]}" if len(written) == 1 else ""
        raise DataError(
            f'{int(unknown.sum())} of {len(text)} rows have no label in "{column}" '
            f"({list_rows(text.index[unknown])}). Drop them or give them one{hint}."
        )
    if any_label:
        return text
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


def read_sites(
    values: pd.Series,
    column: str,
    *,
    normalize: bool,
    aliases: Mapping[str, Sequence[str]] | str | os.PathLike[str] | None,
    max_groups: int,
) -> tuple[pd.Series, list[str]]:
    """Site of each row in the one spelling that counts, and which spellings were joined.

    Args:
        values: as they stand in the table; index 1 for the first row.
        column: its name.
        normalize: and ``aliases``: see `fairpool.data.spelling.SiteSpelling`.
        aliases: see ``normalize``.
        max_groups: see `check_sites`.
    Raises:
        DataError: see `check_sites`.
    """
    if not normalize and aliases is None:
        check_sites(values, max_groups=max_groups, column=column)
        return values.str.strip(), []
    from fairpool.data.spelling import SiteSpelling

    spelling = SiteSpelling(normalize=normalize, aliases=aliases)
    written = values.where(~is_missing(values), "")
    counts = written[written != ""].value_counts()
    names = {name: spelling(name) for name in counts.index}
    sites = written.map(names).fillna("")
    check_sites(sites, max_groups=max_groups, column=column)
    joined: dict[str, list[str]] = {}
    for name in sorted(names):
        joined.setdefault(names[name], []).append(f'"{name}" ({counts[name]})')
    return sites, [f'"{site}" joins {", ".join(forms)}' for site, forms in joined.items() if len(forms) > 1]


def read_patients(values: pd.Series, column: str) -> pd.Series:
    """Patient of each row.

    Raises:
        DataError: naming the rows without one: taken together, these would be one person.
    """
    missing = is_missing(values)
    if missing.any():
        raise DataError(
            f'{int(missing.sum())} rows have no "{column}" ({list_rows(values.index[missing])}): empty, or NA. Fill '
            "them: a patient of unknown identity may stand in two sections."
        )
    return values.str.strip()


def read_split(values: pd.Series, column: str) -> pd.Series:
    """Section of each row: "training", "validation" or "test"; "train" and "val" are understood.

    Raises:
        DataError: a row says something else, or nothing.

    >>> read_split(pd.Series(["train", "Test "]), "split").tolist()
    ['training', 'test']
    """
    words = values.str.strip().str.lower()
    bad = ~words.isin(list(_SPLIT_WORDS))
    if bad.any():
        found = ", ".join(repr(value) for value in values[bad].unique()[:5])
        raise DataError(
            f"{int(bad.sum())} of {len(values)} rows are in no section ({list_rows(values.index[bad])}): "
            f'"{column}" must hold {", ".join(SECTIONS)}; found {found}.'
        )
    return words.map(_SPLIT_WORDS)
