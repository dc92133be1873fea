"""Splits as columns: folds test everybody once, and no patient of a left-out site is trained on."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairpool.data.folds import fold_columns, leave_one_site_out
from fairpool.data.splits import SECTIONS
from fairpool.errors import DataError


def make_records(rows):
    """Records of (patient, site, label)."""
    return pd.DataFrame(rows, columns=["patient", "site", "label"], index=pd.RangeIndex(1, len(rows) + 1))


ORDINARY = make_records([(f"{site}{i}", site, i % 2) for site in ("bern", "Genève", "zug") for i in range(20)])

records_of_visits = st.lists(
    st.tuples(st.integers(0, 25).map(str), st.sampled_from(["a", "b", "c"]), st.integers(0, 1)),
    min_size=20,
    max_size=60,
).map(make_records)


def test_one_split_is_one_column_with_its_shares_of_every_site_and_label():
    columns = fold_columns(ORDINARY, seed=3, val_frac=0.2, test_frac=0.2)
    assert list(columns) == ["split"]
    counts = pd.crosstab([ORDINARY["site"], ORDINARY["label"]], columns["split"])
    assert counts["test"].tolist() == [2] * 6
    assert counts["validation"].tolist() == [2] * 6


def test_each_fold_tests_others_and_together_they_test_everybody_once():
    columns = fold_columns(ORDINARY, num_folds=4, seed=1)
    assert list(columns) == [f"split_{i}" for i in range(4)]
    assert ((columns == "test").sum(axis=1) == 1).all()
    assert not columns.equals(fold_columns(ORDINARY, num_folds=4, seed=2))
    assert columns.equals(fold_columns(ORDINARY, num_folds=4, seed=1))


def test_a_site_tests_in_its_own_column_and_nowhere_else():
    columns, notes = leave_one_site_out(ORDINARY, val_frac=0.25)
    assert list(columns) == ["split_geneve", "split_bern", "split_zug"]
    for site, name in (("Genève", "split_geneve"), ("bern", "split_bern"), ("zug", "split_zug")):
        assert ((columns[name] == "test") == (ORDINARY["site"] == site)).all()
        rest = columns[name][ORDINARY["site"] != site].value_counts()
        assert rest.to_dict() == {"training": 30, "validation": 10}
    assert notes == []


def test_a_patient_of_several_sites_goes_with_the_one_left_out():
    records = pd.concat([ORDINARY, make_records([("bern0", "zug", 1)])], ignore_index=True)
    columns, notes = leave_one_site_out(records)
    moved = records.index[-1]
    assert columns["split_bern"][moved] == columns["split_zug"][moved] == "test"
    assert columns["split_zug"][0] == "test"  # bern0 at bern
    assert columns["split_geneve"][moved] != "test"
    assert len(notes) == 1
    assert "1 patient was seen at several sites" in notes[0]
    assert "1 with bern, 1 with zug" in notes[0]
    assert "bern0" not in notes[0]


@settings(max_examples=60, deadline=None)
@given(records_of_visits, st.integers(0, 5))
def test_no_patient_stands_in_two_sections_of_any_column(records, seed):
    for make in (
        lambda: leave_one_site_out(records, seed=seed, val_frac=0.2)[0],
        lambda: fold_columns(records, num_folds=3, seed=seed, val_frac=0.2),
    ):
        try:
            columns = make()
        except ValueError:  # too few patients; DataError is one
            continue
        assert columns.index.equals(records.index)
        for name in columns:
            assert set(columns[name]) == set(SECTIONS)
            assert (columns[name].groupby(records["patient"]).nunique() == 1).all()


def test_two_sites_leave_one_to_train_on_and_that_is_said():
    _, notes = leave_one_site_out(ORDINARY[ORDINARY["site"] != "zug"])
    assert notes == [
        "with 2 sites one is left to train on: no constraint between sites can be trained so, only a plain model"
    ]


def test_a_single_site_cannot_be_left_out():
    with pytest.raises(DataError, match=r'there must be at least 2; found only "bern" \(20 rows\)'):
        leave_one_site_out(ORDINARY[ORDINARY["site"] == "bern"])


def test_sites_of_one_slug_keep_columns_of_their_own():
    records = ORDINARY.assign(site=ORDINARY["site"].replace({"bern": "a+", "zug": "a-", "Genève": "a"}))
    columns, _ = leave_one_site_out(records)
    assert len(set(columns)) == 3
    assert ((columns == "test").sum(axis=1) == 1).all()


def test_an_empty_section_is_refused_by_its_column():
    few = make_records([("p", "a", 0), ("q", "b", 0), ("r", "b", 1)])
    with pytest.raises(DataError, match=r'the validation section of "split_a" would be empty: 3 patients are too few'):
        leave_one_site_out(few)
    with pytest.raises(DataError, match=r'the validation and the test section of "split" would be empty'):
        fold_columns(few, val_frac=0.01, test_frac=0.01)


def test_images_of_unknown_site_are_left_out_by_no_fold():
    records = pd.DataFrame(
        {"patient": [str(i) for i in range(24)], "site": ["a", "b", "unknown"] * 8, "label": [0, 0, 0, 1, 1, 1] * 4}
    )
    columns, notes = leave_one_site_out(records, val_frac=0.25)
    assert list(columns) == ["split_a", "split_b"]
    assert notes[0] == 'no column leaves out the site "unknown" (8 images)'
    assert set(columns["split_a"][records["site"] == "unknown"]) <= {"training", "validation"}
