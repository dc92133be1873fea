"""What a pool of records must be before anything is trained on it, and what a reader of its results should know."""

import unicodedata
from collections import Counter
from collections.abc import Iterable

import pandas as pd

from fairpool.data.vocabulary import UNKNOWN_NAME
from fairpool.errors import DataError

__all__ = [
    "MAX_SITES",
    "check_pool",
    "check_records",
    "check_sites",
    "check_spellings",
    "describe_cells",
    "is_empty",
    "is_missing",
    "list_rows",
]

MAX_SITES = 1000

_MISSING = {"", "?", "na", "n/a", "<na>", "nan", "nat", "none", "null"}
_FEWEST_ROWS = 20  # below, a site may well have one image


def is_missing(values: pd.Series) -> pd.Series:
    """Where a cell holds nothing, or what R, pandas and spreadsheets write for nothing.

    >>> is_missing(pd.Series(["bern", " ", None, "NA"])).tolist()
    [False, True, True, True]
    """
    return values.isna() | values.astype(str).str.strip().str.lower().isin(_MISSING)


def is_empty(text: str | None) -> bool:
    """`is_missing` of one text.

    >>> is_empty(None), is_empty(" n/a "), is_empty("bern")
    (True, True, False)
    """
    return text is None or text.strip().lower() in _MISSING


def check_sites(sites: pd.Series, *, max_groups: int = MAX_SITES, column: str = "site") -> None:
    """Refuse a site column that is empty in places, spelt in several ways, or no site column at all.

    Args:
        sites: site name of each row, index 1 for the first row.
        max_groups: most distinct sites that are believed.
        column: what the user calls the column.
    Raises:
        DataError: naming the rows or the values.
        ValueError: ``max_groups`` is no number of groups.
    """
    if isinstance(max_groups, bool) or not isinstance(max_groups, int) or max_groups < 2:
        raise ValueError(f"max_groups must be a whole number of at least 2, got {max_groups!r}.")
    empty = is_missing(sites)
    if empty.any():
        raise DataError(
            f'{int(empty.sum())} of {len(sites)} rows have no "{column}" ({list_rows(sites.index[empty])}): empty, or '
            "NA. Fill the column or drop the rows."
        )
    counts = sites.value_counts()
    if len(counts) > max_groups:
        raise DataError(
            f'"{column}" has {len(counts):,} values over {len(sites):,} rows. Is it the right column? '
            f"At most {max_groups:,} sites are believed; if it is, raise max_groups."
        )
    check_spellings(sites, f'"{column}"')


def check_spellings(sites: Iterable[str], place: str) -> None:
    """Refuse names of one site that differ in case, accents or spaces alone.

    Args:
        sites: a name for each row.
        place: where the names stand, to begin the message with.
    Raises:
        DataError: listing the look-alikes and their counts.
    """
    counts = Counter(sites)
    by_form: dict[str, list[str]] = {}
    for name, _ in counts.most_common():
        by_form.setdefault(_form(name), []).append(name)
    alike = [names for names in by_form.values() if len(names) > 1]
    if alike:
        pairs = "; ".join(", ".join(f'"{name}" ({counts[name]})' for name in names) for names in alike[:10])
        raise DataError(
            f"{place} spells {len(alike)} site(s) in several ways: {pairs}. Give each site one spelling "
            "(case, spaces and accents count), or join them: normalize=True, --normalize-sites."
        )


def check_records(records: pd.DataFrame, *, max_groups: int = MAX_SITES) -> None:
    """Refuse records with an empty, doubtful or foreign cell.

    Args:
        records: columns ``site`` and ``label``; index 1 for the first row.
        max_groups: see `check_sites`.
    Raises:
        DataError: see `check_sites`; or a label is neither 0 nor 1.
    """
    check_sites(records["site"], max_groups=max_groups)
    bad = ~records["label"].isin([0, 1])
    if bad.any():
        found = ", ".join(map(str, records["label"][bad].unique()[:5]))
        raise DataError(
            f"{int(bad.sum())} of {len(records)} rows have a label other than 0 and 1 "
            f"({list_rows(records.index[bad])}): {found}. Encode the labels, and drop what has none (ignore_label)."
        )


def check_pool(records: pd.DataFrame, *, max_groups: int = MAX_SITES) -> None:
    """Refuse a pool on which no constraint between sites has a meaning.

    Args:
        records: columns ``site`` and ``label``; index 1 for the first row.
        max_groups: see `check_sites`; above the default, sites with about one image each are believed as well.
    Raises:
        DataError: as `check_records`; fewer than two sites, about as many sites as rows, one label only, or no label
            that two sites have.
    """
    check_records(records, max_groups=max_groups)
    records = records[records["site"] != UNKNOWN_NAME]
    sites = records["site"].unique()
    if len(sites) < 2:
        found = f'found only "{sites[0]}" ({len(records)} rows)' if len(sites) else "found none"
        raise DataError(f"fairness across sites needs at least 2 sites; {found}.")
    if max_groups <= MAX_SITES and len(records) >= _FEWEST_ROWS and 2 * len(sites) > len(records):
        raise DataError(
            f'"site" has {len(sites):,} values over {len(records):,} rows. Is it the right column? Sites need several '
            "images each to be compared."
        )
    labels = sorted(records["label"].unique())
    if len(labels) < 2:
        raise DataError(
            f"every one of the {len(records)} rows has label {labels[0]}: there is nothing to tell apart. Check the "
            "label column and which value is positive."
        )
    cells = records.groupby(["label", "site"]).size().unstack(fill_value=0)
    if ((cells > 0).sum(axis=1) < 2).all():
        raise DataError(
            "no label occurs at two sites, so no error can be compared between sites: "
            + "; ".join(describe_cells(records))
            + ". Such data cannot tell the site from the disease."
        )


def describe_cells(records: pd.DataFrame) -> list[str]:
    """One sentence for each site that lacks a label: it takes no part in that event."""
    records = records[records["site"] != UNKNOWN_NAME]
    cells = records.groupby(["site", "label"]).size().unstack(fill_value=0)
    words: dict[object, str] = {0: "negative", 1: "positive"}
    sentences = []
    for site, row in cells.iterrows():
        missing = [label for label in cells.columns if row[label] == 0]
        present = [label for label in cells.columns if row[label] > 0]
        if missing and len(present) == 1:
            word = words.get(present[0], f"of label {present[0]}")
            sentences.append(
                f'at site "{site}" every case is {word} ({row.sum()} of {row.sum()}): errors of the other '
                "label cannot be compared there"
            )
        elif missing:
            sentences.append(f'site "{site}" has no case of label {", ".join(map(str, missing))} (0 of {row.sum()})')
    return sentences


def list_rows(rows: "pd.Index | list[int] | list[str]", most: int = 10) -> str:
    """Row numbers for a message, at most ten of them.

    >>> list_rows([14]), list_rows([3, 5])
    ('row 14', 'rows 3, 5')
    """
    shown = ", ".join(str(row) for row in rows[:most])
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more}"


def _form(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", str(name))
    # Cf: characters without a shape, such as a zero-width space.
    letters = "".join(c for c in decomposed if not unicodedata.combining(c) and unicodedata.category(c) != "Cf")
    return " ".join(letters.casefold().split())
