"""What a pool of records must be before anything is trained on it, and what a reader of its results should know."""

import unicodedata

import pandas as pd

from fairpool.errors import DataError

__all__ = ["MAX_SITES", "check_pool", "check_sites", "describe_cells", "list_rows"]

MAX_SITES = 1000


def check_sites(sites: pd.Series, *, max_sites: int = MAX_SITES, column: str = "site") -> None:
    """Refuse a site column that is empty in places, spelt in several ways, or no site column at all.

    Args:
        sites: site name of each row, index 1 for the first row.
        max_sites: most distinct sites that are believed.
        column: what the user calls the column.
    Raises:
        DataError: naming the rows or the values.
    """
    empty = sites.isna() | (sites.astype(str).str.strip() == "")
    if empty.any():
        raise DataError(
            f'{int(empty.sum())} of {len(sites)} rows have an empty "{column}" ({list_rows(sites.index[empty])}). '
            "Fill the column or drop the rows."
        )
    counts = sites.value_counts()
    if len(counts) > max_sites:
        raise DataError(
            f'"{column}" has {len(counts):,} values over {len(sites):,} rows. Is it the right column? '
            f"At most {max_sites:,} sites are believed."
        )
    by_form: dict[str, list[str]] = {}
    for name in counts.index:
        by_form.setdefault(_form(name), []).append(name)
    alike = [names for names in by_form.values() if len(names) > 1]
    if alike:
        pairs = "; ".join(", ".join(f'"{name}" ({counts[name]})' for name in names) for names in alike[:10])
        raise DataError(
            f'"{column}" spells {len(alike)} site(s) in several ways: {pairs}. Give each site one spelling '
            "(case, spaces and accents count)."
        )


def check_pool(records: pd.DataFrame) -> None:
    """Refuse a pool on which no constraint between sites has a meaning.

    Args:
        records: columns ``site`` and ``label``.
    Raises:
        DataError: fewer than two sites, one label only, or no label that two sites have.
    """
    sites = records["site"].unique()
    if len(sites) < 2:
        found = f'found only "{sites[0]}" ({len(records)} rows)' if len(sites) else "found none"
        raise DataError(f"fairness across sites needs at least 2 sites; {found}.")
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
    cells = records.groupby(["site", "label"]).size().unstack(fill_value=0)
    words = {0: "negative", 1: "positive"}
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


def list_rows(rows: "pd.Index | list[int]", most: int = 10) -> str:
    """Row numbers for a message, at most ten of them.

    >>> list_rows([14]), list_rows([3, 5])
    ('row 14', 'rows 3, 5')
    """
    shown = ", ".join(str(row) for row in rows[:most])
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more}"


def _form(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", str(name))
    letters = "".join(c for c in decomposed if not unicodedata.combining(c))
    return " ".join(letters.casefold().split())
