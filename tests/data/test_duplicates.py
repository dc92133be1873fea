"""Copies are found across sites, splits and labels; what is reported names rows, and no file or patient."""

import json

import pandas as pd
import pytest

from fairpool.data.duplicates import find_duplicates, parse_hashes
from fairpool.errors import DataError

FAR = "00ff00ff00ff00ff"


def make_records(rows):
    """Records of (site, label, split, pixel hash, perceptual hash); every image a patient of its own."""
    records = pd.DataFrame(rows, columns=["site", "label", "split", "pixel_hash", "perceptual_hash"], dtype=object)
    records["row"] = range(1, len(rows) + 1)
    records["patient"] = [f"MUELLER-{row}" for row in records["row"]]
    records["image"] = "/secret/mueller.png"
    return records


def find(rows, **options):
    return find_duplicates(make_records(rows), split_columns=["split"], **options)


def test_groups_of_equal_pixels_say_what_they_cross():
    found = find(
        [
            ("bern", "0", "training", "p", ""),
            ("bern", "0", "training", "p", ""),
            ("bern", "1", "training", "q", ""),
            ("zug", "1", "training", "q", ""),
            ("zug", "0", "training", "r", ""),
            ("zug", "1", "test", "r", ""),
            ("zug", "1", "test", "lonely", ""),
        ]
    )
    groups = found.equal.groupby("group")
    assert [group["row"].tolist() for _, group in groups] == [[1, 2], [3, 4], [5, 6]]
    flags = groups[["across_sites", "across_splits", "across_labels"]].first().to_numpy().tolist()
    assert flags == [[False, False, False], [True, False, False], [False, True, True]]
    assert found.counts()["same_pixels"] == {
        "all": 3,
        "across_sites": 1,
        "across_splits": 1,
        "across_labels": 1,
        "images": 6,
    }
    assert found.faults() == [
        "1 image occurs in two splits with the same pixels",
        "1 image occurs with two labels with the same pixels",
    ]


def test_copies_at_two_sites_alone_are_no_fault():
    found = find([("bern", "0", "test", "p", ""), ("zug", "0", "test", "p", "")])
    assert found.equal["across_sites"].all()
    assert found.faults() == []


def test_an_empty_split_or_label_is_no_other_one():
    found = find([("bern", "", "", "p", ""), ("bern", "1", "test", "p", ""), ("bern", "1", "test", "p", "")])
    assert len(found.equal) == 3
    assert found.faults() == []


def test_every_split_column_counts():
    records = make_records([("bern", "0", "test", "p", ""), ("bern", "0", "test", "p", "")])
    records["split_bern"] = ["training", "test"]
    assert find_duplicates(records, split_columns=["split"]).faults() == []
    assert len(find_duplicates(records, split_columns=["split", "split_bern"]).faults()) == 1


def test_near_pairs_are_sorted_by_distance_and_leave_out_equal_pixels():
    rows = [
        ("bern", "0", "training", "p", "00ff00ff00ff00ff"),
        ("bern", "0", "training", "p", "00ff00ff00ff00ff"),
        ("zug", "1", "test", "q", "00ff00ff00ff00f0"),
        ("zug", "1", "test", "r", "00ff00ff00ff00f1"),
        ("zug", "1", "test", "s", "ffff00000000ffff"),
    ]
    found = find(rows, distance=4)
    assert found.near[["row", "other_row", "distance"]].to_numpy().tolist() == [
        [3, 4, 1],
        [1, 4, 3],
        [2, 4, 3],
        [1, 3, 4],
        [2, 3, 4],
    ]
    assert found.near["across_sites"].tolist() == [False, True, True, True, True]
    assert found.near["across_splits"].tolist() == [False, True, True, True, True]
    assert find(rows, distance=0).near.empty


def test_images_without_a_hash_and_blank_ones_are_compared_with_nothing():
    rows = [
        ("bern", "0", "training", "", ""),
        ("zug", "1", "test", "", ""),
        ("bern", "0", "training", "black", "0000000000000000"),
        ("zug", "1", "test", "black", "0000000000000000"),
        ("zug", "1", "test", "grey", "8000000000000000"),
        ("bern", "0", "training", "", FAR),
        ("zug", "0", "training", "", FAR),
    ]
    found = find(rows)
    assert found.equal.empty
    assert found.near[["row", "other_row"]].to_numpy().tolist() == [[6, 7]]
    assert (found.num_images, found.num_hashed, found.num_blank) == (7, 3, 3)


def test_pairs_of_one_patient_are_marked():
    records = make_records(
        [("bern", "0", "test", "p", FAR), ("bern", "0", "test", "q", FAR), ("bern", "0", "test", "r", FAR)]
    )
    records["patient"] = ["a", "a", "b"]
    assert find_duplicates(records).near["same_patient"].tolist() == [True, False, False]


def test_json_has_plain_values_and_names_no_file_and_no_patient():
    found = find([("bern", "0", "training", "p", FAR), ("zug", "1", "test", "p", FAR), ("zug", "1", "test", "q", FAR)])
    text = json.dumps(found.to_json(), allow_nan=False)
    assert "mueller" not in text.lower()
    assert "secret" not in text
    content = json.loads(text)
    assert content["counts"]["near"]["all"] == 2
    assert content["same_pixels"][0] == {
        "group": 1,
        "row": 1,
        "site": "bern",
        "label": "0",
        "split": "training",
        "across_sites": True,
        "across_labels": True,
        "across_splits": True,
    }
    assert len(found.to_json(most=1)["near"]) == 1


def test_a_table_without_copies_has_empty_findings():
    found = find([("bern", "0", "test", "p", FAR)])
    assert found.to_json()["near"] == found.to_json()["same_pixels"] == found.faults() == []
    assert find([]).num_images == 0


@pytest.mark.parametrize("bad", ["xyz", "0" * 15, "0" * 17, "0x" + "0" * 14, "-" + "0" * 15])
def test_a_hash_of_another_form_is_refused_by_row(bad):
    with pytest.raises(DataError, match=r'1 row has another "perceptual_hash" than 16 hexadecimal digits \(row 2\)'):
        parse_hashes(pd.Series([FAR, bad, ""], dtype=object), pd.Series([1, 2, 3]))


def test_hashes_are_the_numbers_that_their_digits_say():
    numbers, is_there = parse_hashes(pd.Series(["00000000000000FF", "", FAR], dtype=object), pd.Series([1, 2, 3]))
    assert numbers.tolist() == [255, 0, int(FAR, 16)]
    assert is_there.tolist() == [True, False, True]
