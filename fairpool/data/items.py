"""Records as the data items that MONAI's datasets take."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from fairpool.data.vocabulary import SiteVocabulary

__all__ = ["as_items", "name_row"]


def as_items(
    records: pd.DataFrame, pool: pd.DataFrame, vocabulary: SiteVocabulary, *, unknown: str = "raise"
) -> list[dict[str, Any]]:
    """Records as MONAI data items: the site encoded, the patient as a running number over the whole pool.

    Args:
        records: columns ``site``, ``patient``, ``row`` and what else the items are to have.
        pool: all records, whose patients are numbered.
        vocabulary: the ids of the sites.
        unknown: what becomes of a site without an id: see `SiteVocabulary.encode`.
    Raises:
        ValueError: a site has no id.
    """
    numbers = {patient: number for number, patient in enumerate(sorted(pool["patient"].unique()), start=1)}
    items = records.assign(
        site_name=records["site"],
        site=vocabulary.encode(list(records["site"]), unknown, rows=list(records["row"])),
        patient=records["patient"].map(numbers),
    )
    items = items.drop(columns="section", errors="ignore")
    names = [str(name) for name in items.columns]
    columns = [_plain(items.iloc[:, place]) for place in range(len(names))]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain(column: pd.Series) -> list[Any]:
    """The values of a column as Python's own: `DataFrame.to_dict` goes through them row by row."""
    values = column.tolist()
    if column.dtype == object:
        return [value.item() if isinstance(value, np.generic) else value for value in values]
    return values


def name_row(item: Mapping[Hashable, Any]) -> str:
    """How a message about an item begins: with its row and site, where `as_items` made it.

    >>> name_row({"row": 41, "site_name": "bern"}), name_row({"image": "a.png"})
    ('row 41 (bern): ', '')
    """
    return f"row {item['row']} ({item['site_name']}): " if "row" in item and "site_name" in item else ""
