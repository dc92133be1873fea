"""Tables of every kind become text, or are refused in a sentence; formulas come back as they were written."""

import csv
import io
import json

import pandas as pd
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairpool.csv_cells import text_cell
from fairpool.data import table_text
from fairpool.data.table_text import parse_text, read_table
from fairpool.errors import DataError


def test_a_table_of_every_kind_is_the_same_text(tmp_path):
    table = pd.DataFrame({"path": ["a.png", "b.png"], "age": ["41", ""], "site": ["Genève", "bern"]}, dtype=object)
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_csv(tmp_path / "t.TSV", index=False, sep="\t")
    table.to_parquet(tmp_path / "t.parquet")
    table.to_json(tmp_path / "t.json", orient="records")
    for name in ("t.csv", "t.TSV", "t.parquet", "t.json"):
        pd.testing.assert_frame_equal(read_table(tmp_path / name), table)


def test_numbers_and_missing_cells_of_parquet_are_text(tmp_path):
    pd.DataFrame({"n": [1, 2], "x": [0.5, None], "s": ["a", None]}, index=[7, 9]).to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.to_dict("list") == {"n": ["1", "2"], "x": ["0.5", ""], "s": ["a", ""]}
    assert table.index.tolist() == [0, 1]


@pytest.mark.parametrize("text", ["=1+1", "+41 31", "-1", "@a", "\tx", "\rx", "\nx"])
def test_the_apostrophe_before_a_formula_is_taken_off_in_cells_and_header(tmp_path, text):
    table = pd.DataFrame([[text_cell(text), "0"]], columns=[text_cell("=site"), "label"])
    table.to_csv(tmp_path / "t.csv", index=False, quoting=csv.QUOTE_ALL)
    assert read_table(tmp_path / "t.csv").to_dict("list") == {"=site": [text], "label": ["0"]}


@pytest.mark.parametrize("text", ["'s-Hertogenbosch", "'", "''=1", "' =1", "'1"])
def test_any_other_apostrophe_stays(text):
    assert parse_text(f'site\n"{text}"\n', ",", "t.csv")["site"].tolist() == [text]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(alphabet="=+-@'a ,\"\t\n", min_size=1, max_size=6), min_size=1, max_size=5))
def test_protected_text_is_read_as_it_was_written(cells):
    written = [[cell, "x"] for cell in cells if not (cell[0] == "'" and cell[1:2] in tuple("=+-@\t\n"))]
    frame = pd.DataFrame([[text_cell(cell), x] for cell, x in written], columns=["site", "x"])
    assert parse_text(frame.to_csv(index=False), ",", "t.csv")["site"].tolist() == [cell for cell, _ in written]


@pytest.mark.parametrize(
    ("content", "gist"),
    [
        (b'[{"site": "Z\xfcrich"}]', '"t.json" is not UTF-8 (line 1). Save it as JSON'),
        (b"", "line 1:"),
        (b"image,site\na.png,bern\n", "line 1:"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path, content, gist):
    (tmp_path / "t.json").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / "t.json")
    assert gist in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_lines_of_mixed_separators_are_refused_by_line(separator):
    lines = ["image,site", "a.png,bern", f"b.png{separator}bern"]
    with pytest.raises(DataError, match=r"1 lines do not have the 2 columns of the header \(image, site\): line 3"):
        parse_text("\n".join(lines), ",", "t.csv")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab,;\t\n\r\"\0\ufeffé'"), max_size=40))
def test_any_text_is_a_table_or_a_refusal(text):
    try:
        table = parse_text(text, ",", "table.csv")
    except DataError:
        return
    assert table.columns.is_unique


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["", " ", "a", "'=1", "x\ny"]), min_size=2, max_size=2), max_size=12),
    st.integers(1, 5),
)
def test_rows_are_those_of_the_csv_module_in_parts_of_any_length(rows, at_once):
    text = io.StringIO()
    csv.writer(text).writerows([["p", "q"], *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_text, "_AT_ONCE", at_once)
        table = parse_text(text.getvalue(), ",", "t.csv")
    expected = [[cell.removeprefix("'") for cell in row] for row in rows if any(cell.strip() for cell in row)]
    assert table.to_numpy().tolist() == expected
    assert list(table.columns) == ["p", "q"]


def test_ragged_lines_far_down_are_named_by_their_line():
    text = "p,q\n" + "a,b\n" * 1200 + "\na\n" + "a,b\n" * 1200 + "a,b,c\n"
    with pytest.raises(
        DataError, match=r"^2 lines do not have the 2 columns .*: line 1203: 1 cells; line 2404: 3 cells"
    ):
        parse_text(text, ",", "t.csv")


def test_whole_numbers_that_pandas_made_floats_are_read_as_such(tmp_path):
    table = pd.DataFrame({"patient": [7.0, None, 8.0], "age": [0.5, 1.0, None], "big": [1e300, 1.0, 2.0]})
    table.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").to_dict("list") == {
        "patient": ["7", "", "8"],
        "age": ["0.5", "1.0", ""],
        "big": ["1e+300", "1.0", "2.0"],
    }


@pytest.mark.parametrize("missing", ["name", "numpy_type", "pandas_type"])
def test_parquet_of_damaged_metadata_is_refused(tmp_path, missing):
    table = pyarrow.Table.from_pandas(pd.DataFrame({"n": [1, 2], "site": ["a", "b"]}))
    about = json.loads(table.schema.metadata[b"pandas"])
    for column in about["columns"]:
        del column[missing]
    written = table.replace_schema_metadata({b"pandas": json.dumps(about).encode()})
    pyarrow.parquet.write_table(written, tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r'"t\.parquet" cannot be read as parquet; it is damaged'):
        read_table(tmp_path / "t.parquet")


def test_parquet_text_that_is_no_utf_8_is_refused(tmp_path):
    pd.DataFrame({"site": ["Zuerich", "Bern"]}).to_parquet(tmp_path / "t.parquet", compression=None)
    content = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(content.replace(b"Zuerich", b"Z\xfcerich"[:7]))
    with pytest.raises(DataError, match=r'"t\.parquet" cannot be read as parquet'):
        read_table(tmp_path / "t.parquet")
