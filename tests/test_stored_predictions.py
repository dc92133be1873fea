"""Stored predictions: what a run leaves is read back, any other file is refused, nothing is unpickled."""

import pickle

import numpy as np
import pandas as pd
import pytest

from fairpool.errors import DataError
from fairpool.stored_predictions import read_predictions


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "patient": [1, 2, 3, 4],
            "row": [5, 6, 7, 8],
            "site": ["Genève", "bern", "bern", "Genève"],
            "split": ["validation", "test", "validation", "test"],
            "label": [0, 1, 1, 0],
            "probability": np.array([0.1, 0.75, 1.0, 0.0], dtype=np.float32),
        }
    )


@pytest.fixture
def write(tmp_path):
    def write(table):
        (tmp_path / "run").mkdir(exist_ok=True)
        table.to_parquet(tmp_path / "run" / "predictions.parquet", index=False)
        return tmp_path / "run"

    return write


def test_a_folder_and_its_file_give_the_same_columns(table, write):
    folder = write(table)
    found = read_predictions(folder)
    assert list(found.columns) == ["site", "split", "label", "probability"]
    assert found["label"].dtype == np.int64
    assert found["probability"].dtype == np.float64
    pd.testing.assert_frame_equal(found, table[list(found.columns)].astype({"probability": float}), check_dtype=False)
    pd.testing.assert_frame_equal(read_predictions(folder / "predictions.parquet"), found)
    pd.testing.assert_frame_equal(read_predictions(str(folder)), found)


def test_a_folder_named_like_a_partition_adds_no_column(table, tmp_path):
    folder = tmp_path / "site=zug"
    folder.mkdir()
    table.to_parquet(folder / "predictions.parquet", index=False)
    assert set(read_predictions(folder)["site"]) == {"Genève", "bern"}


@pytest.mark.parametrize("label", [bool, float, str, "category"])
def test_labels_in_other_types_are_read(table, write, label):
    assert read_predictions(write(table.assign(label=table["label"].astype(label))))["label"].tolist() == [0, 1, 1, 0]


def test_sites_that_are_numbers_become_text(table, write):
    assert read_predictions(write(table.assign(site=[3, 4, 4, 3])))["site"].tolist() == ["3", "4", "4", "3"]


def test_what_a_finished_run_left_is_read(small_study):
    folder = small_study.folder / "fairalm-seed0"
    found = read_predictions(folder)
    assert set(found["split"]) == {"validation", "test"}
    assert set(found["site"]) == {"Genève", "bern"}
    assert found["probability"].between(0, 1).all()


def test_a_missing_file_is_named_without_its_folder(tmp_path):
    with pytest.raises(DataError, match='there is no file "nowhere"') as caught:
        read_predictions(tmp_path / "nowhere")
    assert str(tmp_path) not in str(caught.value)


def test_a_folder_without_predictions_is_refused(tmp_path):
    (tmp_path / "unfinished-seed0").mkdir()
    with pytest.raises(DataError, match=r'no predictions\.parquet in the folder "unfinished-seed0"; a run leaves it'):
        read_predictions(tmp_path / "unfinished-seed0")


class Trap:
    """Leaves a file if it is ever unpickled."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return open, (self.place, "w")


@pytest.mark.parametrize("kind", ["pickle", "text", "empty", "cut short"])
def test_a_file_that_is_no_parquet_is_refused_and_never_unpickled(table, write, tmp_path, kind):
    file = write(table) / "predictions.parquet"
    content = {
        "pickle": pickle.dumps(Trap(tmp_path / "ran")),
        "text": b"site,label\nbern,1\n",
        "empty": b"",
        "cut short": file.read_bytes()[:-200],
    }
    file.write_bytes(content[kind])
    with pytest.raises(DataError, match=r'"predictions\.parquet" is not a parquet file, or is damaged'):
        read_predictions(file)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="probability"), "has no column probability; it has patient, row, site, split, label"),
        (lambda t: t[["patient"]], "has no column site, split, label, probability; it has patient. Needed are site"),
        (lambda t: t.assign(probability=[0.1, np.nan, np.nan, 0.2]), "2 of 4 rows have no probability .*first row 2"),
        (
            lambda t: t.assign(probability=[0.1, 0.2, np.inf, 0.2]),
            "1 of 4 rows have a probability outside 0..1, first row 3",
        ),
        (lambda t: t.assign(probability=[-3.0, 0.2, 0.1, 4.0]), "2 of 4 rows have a probability outside .*not logits"),
        (lambda t: t.assign(probability=["high", "0.2", "0.3", "0.4"]), "1 of 4 rows have no probability"),
        (lambda t: t.assign(label=[0, 1, 2, 0]), "1 of 4 rows have a label other than 0 and 1, first row 3"),
        (lambda t: t.assign(label=[0, 1, None, 0]), "1 of 4 rows have a label other than 0 and 1, first row 3"),
        (lambda t: t.assign(site=["bern", None, "bern", "bern"]), "1 of 4 rows have no site, first row 2"),
        (lambda t: t.assign(split=["test", "test", "test", None]), "1 of 4 rows have no split, first row 4"),
    ],
)
def test_cells_that_cannot_be_used_are_refused(table, write, change, message):
    with pytest.raises(DataError, match=message) as caught:
        read_predictions(write(change(table)))
    assert str(caught.value).startswith('"predictions.parquet"')
    assert "\n" not in str(caught.value)
