"""Records as the data items that MONAI's datasets take."""

from collections.abc import Hashable, Mapping
from typing import Any

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
    rows = items.drop(columns="section", errors="ignore").to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def name_row(item: Mapping[Hashable, Any]) -> str:
    """How a message about an item begins: with its row and site, where `as_items` made it.

    >>> name_row({"row": 41, "site_name": "bern"}), name_row({"image": "a.png"})
    ('row 41 (bern): ', '')
    """
    return f"row {item['row']} ({item['site_name']}): " if "row" in item and "site_name" in item else ""
