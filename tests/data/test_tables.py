import json
import string

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairpool.data.manifest import read_manifest, read_table
from fairpool.data.tables import to_datalist, write_table
from fairpool.errors import DataError

TABLE = pd.DataFrame(
    {
        "path": ["bern/1.png", "basel/2.png", "bern/3.png"],
        "site": ["=bern", 'Zürich, "USZ"', "+41"],
        "label": ["1", "0", "007"],
        "note": ["two\nlines", "", "tab\there"],
        "split": ["training", "test", "training"],
    },
    dtype=object,
)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "json"])
def test_what_is_written_is_read_again(tmp_path, ending):
    write_table(TABLE, tmp_path / f"t.{ending}")
    found = read_table(tmp_path / f"t.{ending}")
    expected = TABLE
    if ending == "json":  # a list a split, in their order
        expected = TABLE.iloc[[0, 2, 1]].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected)
    assert [file.name for file in tmp_path.iterdir()] == [f"t.{ending}"]


# No cell that begins with an apostrophe before a formula: it is refused, see below.
CELLS = st.text(st.sampled_from(string.printable + "é€\u2028'=+-@"), max_size=8).filter(
    lambda text: not (text[:1] == "'" and text[1:2] in tuple("=+-@\t\r\n"))
)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "json"])
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_text_is_read_again(tmp_path_factory, ending, rows):
    file = tmp_path_factory.mktemp("t") / f"t.{ending}"
    table = pd.DataFrame([["x", *row] for row in rows], columns=["image", "a", "=b"], dtype=object)
    write_table(table, file)
    found = read_table(file).reindex(columns=table.columns, fill_value="")
    assert found.to_numpy().tolist() == table.to_numpy().tolist()


def test_a_spreadsheet_runs_no_cell_and_numbers_stay_numbers(tmp_path):
    table = pd.DataFrame({"site": ["=1+1", "@x", "\tx", "x"], "shift": [-1.5, 2, np.nan, 0]})
    write_table(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "site,shift\n'=1+1,-1.5\n'@x,2.0\n'\tx,\nx,0.0\n"


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_cell_that_would_come_back_as_another_is_refused(tmp_path, ending):
    table = pd.DataFrame({"path": ["a.png", "'=b.png"]})
    with pytest.raises(DataError, match=r'"path" begins with an apostrophe and a formula sign.*row 2'):
        write_table(table, tmp_path / f"t.{ending}")
    write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")["path"].tolist() == ["a.png", "'=b.png"]


def test_bytes_that_are_no_text_are_refused_by_their_row(tmp_path):
    for ending in ("csv", "parquet", "json"):
        with pytest.raises(DataError, match=r'"path" holds bytes that are no text \(row 1\)') as caught:
            write_table(pd.DataFrame({"path": ["M\udcfcller"]}, dtype=object), tmp_path / f"t.{ending}")
        assert "ller" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_another_ending_and_two_columns_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in .csv, .tsv, .parquet, .json; got '.xlsx'"):
        write_table(TABLE, tmp_path / "t.xlsx")
    with pytest.raises(ValueError, match="'a' twice"):
        write_table(pd.DataFrame([[1, 2]], columns=["a", "a"]), tmp_path / "t.csv")


def test_missing_values_become_empty_cells_and_are_left_out_of_a_datalist(tmp_path):
    table = pd.DataFrame({"image": ["a", "b"], "site": ["x", None], "age": [np.nan, 41.0]})
    write_table(table, tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv")["site"].tolist() == ["x", ""]
    assert to_datalist(table) == {"training": [{"image": "a", "site": "x"}, {"image": "b", "age": 41.0}]}


@pytest.mark.parametrize("sections", [["training"] * 2, ["training", "test"], ["test"] * 2, None])
def test_a_datalist_gives_back_the_split_that_the_table_had_and_invents_none(tmp_path, sections):
    table = pd.DataFrame({"path": ["a.png", "b.png"], "site": ["x", "y"]}, dtype=object)
    table = table if sections is None else table.assign(split=sections)
    write_table(table, tmp_path / "t.json")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.json"), table, check_dtype=False)


@pytest.mark.parametrize("section", ["training", "test"])
def test_monai_reads_the_datalist(tmp_path, section):
    from monai.data import load_decathlon_datalist

    write_table(TABLE, tmp_path / "list.json")
    items = load_decathlon_datalist(tmp_path / "list.json", is_segmentation=False, data_list_key=section)
    rows = TABLE[TABLE["split"] == section]
    assert [item["image"] for item in items] == [str(tmp_path / path) for path in rows["path"]]
    assert [item["site"] for item in items] == rows["site"].tolist()
    assert [str(item["label"]) for item in items] == rows["label"].tolist()
    assert {type(item["label"]) for item in items if item["label"] != "007"} == {int}


def test_a_datalist_of_monai_is_read_converted_and_read_by_monai_again(tmp_path):
    from monai.data import load_decathlon_datalist

    content = {
        "name": "Task01",
        "training": [{"image": "a.nii", "label": 1}, {"image": "b.nii", "label": 0}],
        "test": ["c.nii"],
    }
    (tmp_path / "one.json").write_text(json.dumps(content))
    write_table(read_table(tmp_path / "one.json"), tmp_path / "two.csv")
    write_table(read_table(tmp_path / "two.csv"), tmp_path / "three.json")
    for section in ("training", "test"):
        one, three = (
            load_decathlon_datalist(tmp_path / name, is_segmentation=False, data_list_key=section)
            for name in ("one.json", "three.json")
        )
        assert one == three


def test_monai_takes_a_site_for_a_folder_of_that_name_and_we_do_not(tmp_path):
    from monai.data import load_decathlon_datalist

    (tmp_path / "bern").mkdir()
    write_table(pd.DataFrame({"path": ["bern/1.png"], "site": ["bern"]}), tmp_path / "list.json")
    assert load_decathlon_datalist(tmp_path / "list.json")[0]["site"] == str(tmp_path / "bern")
    assert read_table(tmp_path / "list.json")["site"].tolist() == ["bern"]


def test_a_row_in_no_split_is_refused_in_a_datalist_alone(tmp_path):
    table = TABLE.assign(split=["training", "", "test"])
    with pytest.raises(DataError, match=r"1 rows are in no split \(row 2\)"):
        write_table(table, tmp_path / "list.json")
    write_table(table, tmp_path / "list.csv")
    assert read_table(tmp_path / "list.csv")["split"].tolist() == ["training", "", "test"]


def test_a_file_that_is_there_stays_whole_when_the_new_one_cannot_be_written(tmp_path):
    write_table(TABLE, tmp_path / "t.csv")
    before = (tmp_path / "t.csv").read_bytes()
    with pytest.raises(DataError):
        write_table(pd.DataFrame({"path": ["\udcff"]}, dtype=object), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == before


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "json"])
def test_the_reader_of_manifests_takes_every_kind(tmp_path, ending):
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(b"1")
    table = pd.DataFrame({"path": ["1.png", "2.png"], "site": ["a", "b"], "label": [0, 1], "patient": ["p", "q"]})
    write_table(table, tmp_path / f"t.{ending}")
    records = read_manifest(tmp_path / f"t.{ending}")
    assert records["label"].tolist() == [0, 1]
    assert records["patient"].tolist() == ["p", "q"]
