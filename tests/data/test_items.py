"""Data items hold what the records hold, as values of Python."""

import numpy as np
import pandas as pd
import pytest

from fairpool.data.items import as_items
from fairpool.data.vocabulary import SiteVocabulary


@pytest.fixture
def records():
    return pd.DataFrame(
        {
            "image": ["a.png", "b.png", "c.png"],
            "label": np.array([0, 1, 1], dtype=np.int8),
            "site": ["bern", "basel", "bern"],
            "patient": ["q", "p", "q"],
            "row": [1, 2, 4],
            "age": [41.5, np.nan, 7.0],
            "mixed": np.array([np.int64(3), "x", None], dtype=object),
            "is_external": [False, True, False],
            "section": ["training", "test", "training"],
        }
    )


def test_items_are_the_records_with_site_and_patient_numbered(records):
    items = as_items(records, records, SiteVocabulary(("basel", "bern")))
    assert [item["site"] for item in items] == [1, 0, 1]
    assert [item["site_name"] for item in items] == ["bern", "basel", "bern"]
    assert [item["patient"] for item in items] == [2, 1, 2]
    assert [item["row"] for item in items] == [1, 2, 4]
    assert all("section" not in item for item in items)


def test_values_of_items_are_pythons_own(records):
    items = as_items(records, records, SiteVocabulary(("basel", "bern")))
    kinds = {key: {type(item[key]) for item in items} for key in items[0]}
    assert kinds.pop("mixed") == {int, str, type(None)}
    assert kinds.pop("age") == {float}
    assert kinds.pop("is_external") == {bool}
    assert kinds == {
        **{key: {int} for key in ("label", "site", "patient", "row")},
        **{key: {str} for key in ("image", "site_name")},
    }


def test_no_records_are_no_items(records):
    assert as_items(records[:0], records, SiteVocabulary(("basel", "bern"))) == []
