"""Metadata columns as features: numbers, text, shapes, and what is left out."""

import numpy as np
import pandas as pd
import pytest

from fairpool.audit.metadata import metadata_features
from fairpool.errors import DataError


def test_shapes_and_spacings_become_numbers():
    table = pd.DataFrame({"shape": ["64x48", "64x64x32", ""], "spacing": ["0.5x0.5", "", "1x1x2.5"]})
    found, notes = metadata_features(table, ["shape", "spacing"])
    assert found["shape 3"].tolist()[1] == 32
    assert np.isnan(found["shape 1"][2])
    assert found["spacing 3"].tolist()[2] == 2.5
    assert notes == []


def test_numbers_are_numbers_although_some_cells_are_not():
    ages = [str(n % 60) for n in range(95)] + ["", "NA", "inf", "?", "089Y"]
    found, _ = metadata_features(pd.DataFrame({"age": ages}), ["age"])
    assert found["age"].dtype == float
    assert int(found["age"].isna().sum()) == 5


def test_text_stays_text_and_empty_is_none():
    found, _ = metadata_features(pd.DataFrame({"sex": ["F", "M", " "]}), ["sex"])
    assert found["sex"].tolist() == ["F", "M", None]


def test_a_column_that_names_the_rows_is_left_out_and_said():
    table = pd.DataFrame({"image": [f"x{n}" for n in range(50)], "empty": [""] * 50})
    found, notes = metadata_features(table, ["image", "empty"])
    assert found.shape == (50, 0)
    assert notes == [
        'the metadata column "image" is left out: its 50 values name the rows',
        'the metadata column "empty" is empty',
    ]


def test_whole_numbers_that_number_the_rows_are_left_out_and_said():
    numbers = range(100)
    table = pd.DataFrame(
        {
            "accession": [str(700 + n) for n in numbers],
            "dose": [str(n + 0.5) for n in numbers],
            "age": [str(n % 80) for n in numbers],
        }
    )
    found, notes = metadata_features(table, list(table))
    assert list(found) == ["dose", "age"]
    assert notes == ['the metadata column "accession" is left out: its 100 whole numbers number the rows']
    assert list(metadata_features(table[:20], ["accession"])[0]) == ["accession"]  # so few may be ages


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(DataError, match='no column "age"; it has sex'):
        metadata_features(pd.DataFrame({"sex": ["F"]}), ["age"])
