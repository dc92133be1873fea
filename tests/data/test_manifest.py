import json
import os
import re

import pandas as pd
import pytest

from fairpool.data import read_manifest
from fairpool.errors import DataError

HEADER = "image,label,site,patient"
ROWS = ["a.png,0,basel,meier-1", "b.png,1,bern,huber-2", "c.png,1,basel,meier-1"]


@pytest.fixture
def folder(tmp_path):
    """A folder, whose name must stay out of messages, with the images a.png to d.png."""
    folder = tmp_path / "secret-folder" / "data"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "b.png", "c.png", "sub/d.png"):
        (folder / name).touch()
    return folder


def write(folder, rows=ROWS, header=HEADER, name="table.csv", encoding="utf-8"):
    (folder / name).write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return folder / name


def refuse(path, **options):
    """The message of the refusal, after a search for the folder and for patients in it."""
    with pytest.raises(DataError) as caught:
        read_manifest(path, **{"patient_column": "patient", **options})
    message = str(caught.value)
    for secret in ("secret-folder", str(path.parent), "meier", "huber"):
        assert secret not in message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


# --- tables that are in order


def test_records_have_the_columns_of_a_pool(folder):
    records = read_manifest(write(folder), patient_column="patient")
    assert records.to_dict("list") == {
        "row": [1, 2, 3],
        "image": [str(folder.resolve() / name) for name in ("a.png", "b.png", "c.png")],
        "label": [0, 1, 1],
        "site": ["basel", "bern", "basel"],
        "patient": ["meier-1", "huber-2", "meier-1"],
    }
    assert records.index.tolist() == [1, 2, 3]
    assert records["label"].dtype == "int64"


def test_tsv_and_parquet_read_like_csv(folder):
    expected = read_manifest(write(folder), patient_column="patient")
    table = [line.split(",") for line in ROWS]
    tsv = write(folder, ["\t".join(row) for row in table], HEADER.replace(",", "\t"), "table.TSV")
    pd.testing.assert_frame_equal(read_manifest(tsv, patient_column="patient"), expected)
    parquet = pd.DataFrame(table, columns=HEADER.split(",")).astype({"label": "int64", "site": "category"})
    parquet.to_parquet(folder / "table.parquet")
    pd.testing.assert_frame_equal(read_manifest(folder / "table.parquet", patient_column="patient"), expected)


def test_missing_cells_of_a_parquet_table_are_refused_like_empty_ones(folder):
    table = pd.DataFrame({"image": ["a.png", "b.png", "c.png"], "label": [0, None, 1], "site": ["basel", "bern", None]})
    table.to_parquet(folder / "table.parquet")
    message = refuse(folder / "table.parquet", patient_column=None, positive="1.0")
    assert '1 of 3 rows have no label in "label" (row 2)' in message
    assert '1 of 3 rows have no "site" (row 3)' in message


def test_byte_order_mark_blank_lines_and_windows_line_ends_are_accepted(folder):
    content = "\r\n".join([HEADER, "", *ROWS, ",,,", ""]).encode("utf-8-sig")
    (folder / "table.csv").write_bytes(content)
    records = read_manifest(folder / "table.csv")
    assert records["site"].tolist() == ["basel", "bern", "basel"]


def test_quoted_cells_may_hold_commas_and_line_ends(folder):
    records = read_manifest(write(folder, ['a.png,0,"Bern, Insel",p', 'b.png,1,basel,"x\ny"', "c.png,1,zug,q"]))
    assert records["site"].tolist() == ["Bern, Insel", "basel", "zug"]


def test_awkward_site_names_are_kept_as_they_are(folder):
    records = read_manifest(write(folder, ["a.png,0,Hôpital A (2),p", "b.png,1,../../x,q"]))
    assert records["site"].tolist() == ["Hôpital A (2)", "../../x"]


def test_a_column_named_patient_is_used_without_being_asked_for(folder):
    assert read_manifest(write(folder))["patient"].tolist() == ["meier-1", "huber-2", "meier-1"]


def test_without_any_patient_column_every_image_is_a_patient(folder):
    records = read_manifest(write(folder, header="image,label,site,person"))
    assert records["patient"].nunique() == 3
    assert not records.attrs["patients_named"]


def test_without_a_label_column_there_are_no_labels(folder):
    assert "label" not in read_manifest(write(folder), label_column=None)


def test_images_are_sought_below_the_root_that_is_given(folder, tmp_path):
    table = write(tmp_path)
    assert read_manifest(table, root_dir=folder)["image"].tolist()[0] == str(folder.resolve() / "a.png")
    assert "no such file" in refuse(table)


@pytest.mark.parametrize("path", ["sub/d.png", "sub\\d.png", "./sub/d.png", " sub/d.png ", "sub/../a.png"])
def test_path_below_the_root_may_be_written_in_any_way(folder, path):
    assert os.path.isfile(read_manifest(write(folder, [f"{path},0,bern,p"]))["image"][1])


# --- the table as a whole


@pytest.mark.parametrize(
    ("content", "gist"),
    [
        (b"", '"table.csv" is empty'),
        (b"\n ,\n", '"table.csv" is empty'),
        (b"image,label,site,patient\n", "has a header but no row"),
        (b"image;label;site;patient\na.png;0;basel;p\n", "line 1: the columns are not separated by commas"),
        (b"\nimage\tlabel\tsite\tpatient\n", "line 2: the columns are not separated by commas"),
        (b"image,label,site,site,label\n", "line 1: the header names 'label', 'site' twice"),
        (b"image,label,site,patient\na.png,0,Z\xfcrich,p\n", "is not UTF-8 (line 2). Save it as CSV UTF-8"),
        (b"image,label,site,patient\n" + b"a.png,0,bern,p\n" * 5000 + b"\xe9\n", "is not UTF-8 (line 5002)"),
        ("image,label,site,patient\n".encode("utf-16"), "is not UTF-8 (line 1)"),
        (
            b'image,label,site,patient\na.png,0,"bern,p\n',
            "is not a well-formed table (unexpected end of data). Look for a",
        ),
        (b'image,label,site,patient\na.png,0,"be"rn,p\n', "line 2: "),
        (b"image,label,site,patient\na.png,0," + b"x" * 200_000, "line 2: "),
    ],
)
def test_malformed_table_is_refused(folder, content, gist):
    (folder / "table.csv").write_bytes(content)
    assert gist in refuse(folder / "table.csv")


def test_ragged_lines_are_named_together_with_the_header(folder):
    message = refuse(write(folder, [ROWS[0], "b.png,1,bern", ROWS[1], "c.png,1,be,rn,p", ROWS[2]]))
    assert "2 lines do not have the 4 columns of the header (image, label, site, patient)" in message
    assert "line 3: 3 cells; line 5: 5 cells." in message


def test_tsv_with_commas_is_refused(folder):
    assert "the header reads as one column" in refuse(write(folder, name="table.tsv"))


def test_damaged_parquet_is_refused(folder):
    (folder / "table.parquet").write_bytes(b"PAR1 this is none")
    assert '"table.parquet" cannot be read as parquet' in refuse(folder / "table.parquet")


def test_manifest_that_is_no_file_is_refused(folder):
    assert 'there is no manifest "gone.csv"' in refuse(folder / "gone.csv")
    assert 'there is no manifest "sub"' in refuse(folder / "sub")


@pytest.mark.parametrize("option", ["image", "label", "site", "patient"])
def test_missing_column_is_refused_with_the_columns_there_are(folder, option):
    message = refuse(write(folder), **{f"{option}_column": "hospital"})
    assert 'no column "hospital"; it has image, label, site, patient.' in message
    assert f"--{option}-column" in message


def test_bad_rows_of_every_column_are_named_at_once(folder):
    rows = ["a.png,0,basel,p", "gone.png,1,bern,q", "b.png,,bern,r", "c.png,1,,", "../x.png,0,basel,t", ",7,Basel,u"]
    message = refuse(write(folder, rows))
    assert "row 2: no such file; row 5: path leaves the data folder" in message
    assert 'row 6: "image" is empty' in message
    assert '1 of 6 rows have no label in "label" (row 3)' in message
    assert '1 of 6 rows have no "site" (row 4)' in message
    assert '1 rows have no "patient" (row 4)' in message


def test_only_ten_bad_images_are_listed(folder):
    message = refuse(write(folder, [f"{i}.png,0,bern,p" for i in range(25)]))
    assert "25 of 25 images cannot be used: row 1: no such file" in message
    assert "row 10: no such file; and 15 more" in message
    assert "row 11" not in message


# --- sites


@pytest.mark.parametrize("empty", ["", "  ", "NA", "nan", "None", '""'])
def test_empty_site_is_refused_by_row(folder, empty):
    assert '1 of 3 rows have no "site" (row 2)' in refuse(write(folder, [ROWS[0], f"b.png,1,{empty},p", ROWS[2]]))


@pytest.mark.parametrize("other", ["Basel", '" basel"', "bäsel"])
def test_look_alike_sites_are_refused_with_their_counts(folder, other):
    message = refuse(write(folder, [ROWS[0], f"b.png,1,{other},p", ROWS[2]]))
    assert '"basel" (2)' in message
    assert "one spelling" in message


def test_identifier_column_given_as_site_is_refused(folder):
    rows = [f"a.png,0,bern,p{i}" for i in range(1001)]
    message = refuse(write(folder, rows), site_column="patient", patient_column=None)
    assert '"patient" has 1,001 values over 1,001 rows. Is it the right column?' in message


# --- labels


@pytest.mark.parametrize("label", ["2", "-0", "1.0", "yes", "TB"])
def test_label_other_than_0_and_1_is_refused_with_value_and_row(folder, label):
    message = refuse(write(folder, [ROWS[0], f"b.png,{label},bern,p"]))
    assert f"\"label\" must hold 0 and 1; found '{label}' (row 2)" in message
    assert "--positive" in message


@pytest.mark.parametrize("label", ["", "-1", "?", "unknown", "NaN", "TODO", "<NA>"])
@pytest.mark.parametrize("positive", [None, "1"])
def test_unknown_label_is_refused_and_never_taken_for_negative(folder, label, positive):
    message = refuse(write(folder, [*ROWS, f"b.png,{label},bern,p"]), positive=positive)
    assert '1 of 4 rows have no label in "label" (row 4). Drop them or give them one' in message
    assert ("--ignore-label" in message) == bool(label)


def test_positive_value_counts_as_1_and_any_other_as_0(folder):
    table = write(folder, ["a.png,active TB,basel,p", "b.png,normal,bern,q", "c.png, latent TB ,basel,r"])
    assert read_manifest(table, positive="active TB")["label"].tolist() == [1, 0, 0]
    assert read_manifest(table, positive="active TB|latent TB")["label"].tolist() == [1, 0, 1]


@pytest.mark.parametrize("positive", ["tb", "TB|flu", ""])
def test_positive_value_that_no_row_has_is_refused(folder, positive):
    message = refuse(write(folder, ["a.png,TB,basel,p", "b.png,normal,bern,q"]), positive=positive)
    assert "no row has the positive label" in message
    assert "it holds 'TB', 'normal'" in message


# --- patients


@pytest.mark.parametrize("empty", ["", " ", "NA", "nan"])
def test_empty_patient_is_refused_for_all_such_would_be_one_person(folder, empty):
    assert '1 rows have no "patient" (row 2)' in refuse(write(folder, [ROWS[0], f"b.png,1,bern,{empty}"]))


# --- paths


@pytest.mark.parametrize(
    "path",
    [
        "../outside.png",
        "sub/../../outside.png",
        "..\\outside.png",
        "/etc/passwd",
        "//server/share/x.png",
        "\\\\server\\share\\x.png",
        "C:\\x.png",
        "c:a.png",
        "..",
        "sub/..",
        "sub/",
        "~/../../../x.png",
    ],
)
def test_path_that_leaves_the_root_or_names_no_file_is_refused(folder, path):
    (folder.parent / "outside.png").touch()
    assert "row 1: path leaves the data folder or names no file" in refuse(write(folder, [f"{path},0,bern,p"]))


def test_absolute_path_is_refused_even_into_the_root(folder):
    with pytest.raises(DataError, match="row 1: path leaves the data folder"):
        read_manifest(write(folder, [f"{folder / 'a.png'},0,bern,p"]))


def test_links_that_leave_the_root_are_refused_and_those_that_stay_are_followed(folder):
    (folder.parent / "outside.png").touch()
    (folder / "out.png").symlink_to(folder.parent / "outside.png")
    (folder / "up").symlink_to(folder.parent)
    (folder / "in.png").symlink_to(folder / "a.png")
    message = refuse(write(folder, ["out.png,0,bern,p", "up/outside.png,0,bern,q", "in.png,1,basel,r"]))
    assert "2 of 3 images cannot be used" in message
    assert "row 1: path leaves the data folder through a link; row 2: path leaves the data folder" in message


@pytest.mark.parametrize(
    "path", ["gone.png", "sub", "a.png/b.png", "loop/x.png", "loop", "x" * 300, "y" * 300 + "/a.png", "nul\0l.png"]
)
def test_path_without_a_file_is_refused_whatever_the_cell_holds(folder, path):
    (folder / "loop").symlink_to(folder / "loop")
    assert re.search(r"row 1: (no such file|path leaves)", refuse(write(folder, [f"{path},0,bern,p"])))


def test_root_may_itself_be_reached_through_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    write(folder)
    assert read_manifest(tmp_path / "link" / "table.csv")["image"][1] == str(folder.resolve() / "a.png")


# --- spellings, ignored labels, many sites, a split


def test_misspelt_sites_are_joined_on_request_and_counted(folder):
    table = write(folder, [ROWS[0], "b.png,1,Basel ,p", "c.png,1,Bâle,q", "sub/d.png,0,BERN,r"])
    records = read_manifest(table, normalize=True, aliases={"basel": ["Bâle"]})
    assert records["site"].tolist() == ["basel", "basel", "basel", "bern"]
    assert records.attrs["notes"] == ['"basel" joins "Basel " (1), "Bâle" (1), "basel" (1)']
    assert read_manifest(write(folder), normalize=True).attrs["notes"] == []


def test_aliases_come_from_a_yaml_file_and_join_nothing_else(folder):
    (folder / "aliases.yaml").write_text("Universitätsspital Basel: [basel, USB]\n", encoding="utf-8")
    records = read_manifest(write(folder), aliases=folder / "aliases.yaml")
    assert records["site"].tolist() == ["Universitätsspital Basel", "bern", "Universitätsspital Basel"]
    rows = [ROWS[0], "b.png,1,USB,p", "c.png,1,Bern,q", "sub/d.png,0,bern,r"]
    assert '"Bern" (1), "bern" (1)' in refuse(write(folder, rows), aliases=folder / "aliases.yaml")


@pytest.mark.parametrize("normalize", [True, False])
def test_an_empty_site_is_no_spelling(folder, normalize):
    table = write(folder, [ROWS[0], "b.png,1,NA,p", ROWS[2]])
    assert '1 of 3 rows have no "site" (row 2)' in refuse(table, normalize=normalize, aliases={"x": ["NA"]})


def test_a_broken_alias_table_is_named_beside_other_faults(folder):
    message = refuse(write(folder, ["gone.png,0,bern,p"]), aliases=folder / "none.yaml")
    assert "no such file" in message
    assert "the alias table cannot be read" in message


@pytest.mark.parametrize("ignored", ["-1", -1, "-1|todo"])
def test_rows_of_an_ignored_label_are_left_out_and_counted_by_site(folder, ignored):
    rows = [ROWS[0], "gone.png,-1,bern,p", ROWS[1], ROWS[2], "gone.png,-1,,q", " ,-1,basel,r"]
    records = read_manifest(write(folder, rows), ignore_label=ignored)
    assert records["row"].tolist() == records.index.tolist() == [1, 3, 4]
    assert records.attrs["notes"] == [f'3 of 6 rows are left out for the label {ignored} in "label" (basel 1, bern 1)']


def test_rows_after_an_ignored_one_keep_their_numbers_in_messages(folder):
    assert "row 3: no such file" in refuse(
        write(folder, ["a.png,-1,bern,p", ROWS[0], "gone.png,1,bern,q"]), ignore_label=-1
    )


def test_a_table_of_ignored_labels_alone_is_refused(folder):
    assert "no row is left: each of the 2 has the ignored label -1" in refuse(
        write(folder, ["a.png,-1,bern,p", "b.png,-1,basel,q"]), ignore_label=-1
    )


def test_more_sites_are_believed_on_request(folder):
    table = write(folder, [f"a.png,0,bern,p{i}" for i in range(1001)])
    options = {"site_column": "patient", "patient_column": "site"}
    assert "At most 1,000 sites are believed; if it is, raise max_groups" in refuse(table, **options)
    assert read_manifest(table, max_groups=1001, **options)["site"].nunique() == 1001


@pytest.mark.parametrize("number", [1, 2.0, True, "9"])
def test_a_number_of_groups_that_is_none_is_refused(folder, number):
    with pytest.raises(ValueError, match="max_groups must be a whole number of at least 2"):
        read_manifest(write(folder), max_groups=number)


def test_a_split_column_becomes_sections(folder):
    rows = [f"{row},{word}" for row, word in zip(ROWS, ["train", " Val ", "TEST"], strict=True)]
    records = read_manifest(write(folder, rows, HEADER + ",fold"), split_column="fold")
    assert records["section"].tolist() == ["training", "validation", "test"]
    assert "section" not in read_manifest(write(folder, rows, HEADER + ",fold"))


@pytest.mark.parametrize("word", ["", "NA", "dev", "0"])
def test_a_row_in_no_section_is_refused(folder, word):
    rows = [f"{ROWS[0]},train", f"{ROWS[1]},{word}"]
    message = refuse(write(folder, rows, HEADER + ",fold"), split_column="fold")
    assert (
        f'1 of 2 rows are in no section (row 2): "fold" must hold training, validation, test; found {word!r}' in message
    )
    assert "--split-column" in refuse(write(folder), split_column="fold")


def test_a_datalist_is_a_manifest_with_a_split(folder):
    entries = [dict(zip(HEADER.split(","), row.split(","), strict=True)) for row in ROWS]
    (folder / "list.json").write_text(json.dumps({"training": entries[:2], "test": entries[2:]}))
    records = read_manifest(folder / "list.json", split_column="split")
    assert records["section"].tolist() == ["training", "training", "test"]
    assert records["label"].tolist() == [0, 1, 1]


def test_the_column_path_serves_where_there_is_no_image(folder):
    table = write(folder, header=HEADER.replace("image", "path"))
    assert read_manifest(table)["image"].tolist()[0] == str(folder.resolve() / "a.png")
    assert 'no column "scan"' in refuse(table, image_column="scan")
    both = write(folder, [f"gone.png,{row}" for row in ROWS], "path," + HEADER)
    assert read_manifest(both)["image"].tolist()[0] == str(folder.resolve() / "a.png")


def test_a_table_without_images_is_read_where_none_are_wanted(folder):
    table = write(folder, ["0,basel,p", "1,bern,q"], "label,site,patient")
    assert list(read_manifest(table, image_column=None)) == ["row", "label", "site", "patient"]
    gone = write(folder, ["gone.png,0,basel,p", "../x.png,1,bern,q"])
    message = refuse(gone, check_images=False)
    assert "no such file" not in message
    assert "row 2: path leaves the data folder" in message


def test_labels_of_any_value_stay_text_on_request_and_empty_ones_are_refused(folder):
    table = write(folder, ["a.png, TB ,basel,p", "b.png,normal,bern,q"])
    assert read_manifest(table, any_label=True)["label"].tolist() == ["TB", "normal"]
    assert "(row 2)" in refuse(write(folder, [ROWS[0], "b.png,,bern,q"]), any_label=True)
