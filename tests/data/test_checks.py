import pandas as pd
import pytest

from fairpool.data.checks import (
    check_pool,
    check_records,
    check_sites,
    check_spellings,
    describe_cells,
    list_rows,
)
from fairpool.errors import DataError


def make_records(cells):
    """Records from {(site, label): number}; index from 1."""
    rows = [{"site": site, "label": label} for (site, label), number in cells.items() for _ in range(number)]
    return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1))


def column(values):
    return pd.Series(values, index=pd.RangeIndex(1, len(values) + 1), dtype=object)


# --- the site column


def test_ordinary_sites_pass():
    check_sites(column(["basel", "bern", "basel", "Hôpital A (2)", "../../x"]))


@pytest.mark.parametrize("empty", [None, float("nan"), pd.NA, "", "  ", "NA", "nan", "None", "N/A", "<NA>", "?"])
def test_missing_site_is_refused_by_row(empty):
    with pytest.raises(DataError, match=r'2 of 4 rows have no "hospital" \(rows 2, 4\).*Fill the column or drop'):
        check_sites(column(["bern", empty, "basel", empty]), column="hospital")


@pytest.mark.parametrize(
    "other", ["Basel", " basel", "basel ", "bäsel", "ba\u0308sel", "BASEL", "ｂasel", "ba\u200bsel", "\u00a0basel"]
)
def test_names_that_look_alike_are_refused_with_their_counts(other):
    with pytest.raises(DataError, match="spells 1 site") as caught:
        check_sites(column(["basel", "basel", other, "bern"]))
    assert '"basel" (2)' in str(caught.value)
    assert f'"{other}" (1)' in str(caught.value)
    assert "bern" not in str(caught.value)


def test_inner_spaces_and_sharp_s_look_alike_too():
    with pytest.raises(DataError, match="spells 2 site"):
        check_sites(column(["St.  Gallen", "St. Gallen", "Strasse", "Straße"]))


def test_identifier_column_is_not_believed_to_be_the_site():
    with pytest.raises(DataError, match=r'"patient_id" has 1,001 values over 1,001 rows\. Is it the right column\?'):
        check_sites(column([f"p{i}" for i in range(1001)]), column="patient_id")
    check_sites(column([f"p{i}" for i in range(1000)]))
    check_sites(column([f"p{i}" for i in range(1001)]), max_groups=1001)


def test_pool_with_about_as_many_sites_as_images_is_refused():
    records = make_records({(f"p{i}", i % 2): 1 for i in range(30)})
    with pytest.raises(DataError, match=r'"site" has 30 values over 30 rows\. Is it the right column\?'):
        check_pool(records)


# --- the labels


@pytest.mark.parametrize("label", [-1, 2, 0.5, float("nan"), None])
def test_label_other_than_0_and_1_is_refused_by_row(label):
    records = pd.DataFrame({"site": ["a", "b", "a"], "label": [0, 1, label]}, index=[1, 2, 3])
    with pytest.raises(DataError, match=r"1 of 3 rows have a label other than 0 and 1 \(row 3\)"):
        check_records(records)


# --- the pool


def test_pool_of_two_sites_with_both_labels_passes():
    check_pool(make_records({("a", 0): 2, ("a", 1): 1, ("b", 0): 1, ("b", 1): 2}))


def test_single_site_is_refused_with_its_name_and_count():
    with pytest.raises(DataError, match=r'needs at least 2 sites; found only "basel" \(5 rows\)\.'):
        check_pool(make_records({("basel", 0): 3, ("basel", 1): 2}))


def test_no_records_are_refused():
    with pytest.raises(DataError, match="found none"):
        check_pool(pd.DataFrame({"site": [], "label": []}))


def test_single_class_is_refused():
    with pytest.raises(DataError, match="every one of the 4 rows has label 1: there is nothing to tell apart"):
        check_pool(make_records({("a", 1): 2, ("b", 1): 2}))


def test_perfect_confounding_is_refused_naming_each_site():
    with pytest.raises(DataError, match="no label occurs at two sites") as caught:
        check_pool(make_records({("basel", 0): 3, ("bern", 1): 2}))
    assert 'at site "bern" every case is positive (2 of 2)' in str(caught.value)
    assert 'at site "basel" every case is negative (3 of 3)' in str(caught.value)


def test_one_label_at_two_sites_is_enough_to_go_on():
    check_pool(make_records({("basel", 0): 3, ("basel", 1): 3, ("bern", 1): 2}))


def test_site_that_lacks_a_label_is_described_and_no_other():
    cells = {("a", 0): 2, ("a", 1): 1, ("b", 1): 4, ("c", 0): 5}
    assert describe_cells(make_records(cells)) == [
        'at site "b" every case is positive (4 of 4): errors of the other label cannot be compared there',
        'at site "c" every case is negative (5 of 5): errors of the other label cannot be compared there',
    ]


def test_list_of_rows_stops_at_ten():
    assert list_rows([7]) == "row 7"
    assert list_rows(list(range(1, 11))) == "rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"
    assert list_rows(list(range(1, 31))) == "rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 20 more"


def test_sites_of_about_one_image_each_are_believed_only_with_more_groups():
    records = make_records({(f"site-{i:03d}", i % 2): 1 for i in range(30)} | {("big", 0): 3, ("big", 1): 3})
    with pytest.raises(DataError, match=r'"site" has 31 values over 36 rows\. Is it the right column\?'):
        check_pool(records)
    check_pool(records, max_groups=1001)


def test_look_alikes_are_told_with_the_remedy_and_their_place():
    with pytest.raises(DataError, match=r'the pair spells 1 site\(s\).*"bern" \(2\), "Bern" \(1\).*--normalize-sites'):
        check_spellings(["bern", "Bern", "basel", "bern"], "the pair")
