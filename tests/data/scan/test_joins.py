import pytest

from fairpool.data.pseudonyms import Pseudonyms
from fairpool.data.scan.joins import TableJoin, join_labels, read_pairs
from fairpool.errors import DataError

NAMES = Pseudonyms(bytes(range(32)))


def row(path, patient="", name="", study=""):
    hidden = {"patient_name": name and NAMES.of(name), "study_name": study and NAMES.of(study, "study")}
    return {"path": path, "patient": NAMES.of(patient or path), **hidden}


@pytest.fixture
def table(tmp_path):
    def write(text, on, key="key", value="label"):
        (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
        return TableJoin(tmp_path / "labels.csv", value, key, on)

    return write


def test_labels_are_found_by_the_path(table):
    join = table("key,label\nb/1.png,ill\na/1.png,well\n", "path")
    assert join_labels([row("a/1.png"), row("b/1.png")], join, NAMES) == (["well", "ill"], [])


def test_labels_are_found_by_the_name_with_and_without_its_ending(table):
    join = table("key,label\n1.png,ill\n2,well\n3,odd\n", "file")
    labels, _ = join_labels([row("a/1.png"), row("a/2.png"), row("b/3.nii.gz")], join, NAMES)
    assert labels == ["ill", "well", "odd"]


def test_labels_are_found_by_patient_and_study_though_both_are_pseudonyms(table):
    rows = [row("1", "7^^^bern", "7", "1.2"), row("2", "7^^^bern", "7", "1.3"), row("3", "/sub-01", "sub-01", "ses-1")]
    assert join_labels(rows, table("key,label\n7,ill\nsub-01,well\n", "patient"), NAMES)[0] == ["ill", "ill", "well"]
    assert join_labels(rows, table("key,label\n7,ill\n01,well\n", "patient"), NAMES)[0] == ["ill", "ill", "well"]
    assert join_labels(rows, table("key,label\n1.2,a\n1.3,b\n1,c\n", "study"), NAMES)[0] == ["a", "b", "c"]


def test_one_number_of_two_patients_is_refused(table):
    rows = [row("1", "7^^^bern", "7"), row("2", "7^^^basel", "7")]
    with pytest.raises(DataError, match="1 keys of the table of labels mean several patients") as caught:
        join_labels(rows, table("key,label\n7,ill\n", "patient"), NAMES)
    assert "bern" not in str(caught.value)


def test_one_name_of_two_files_is_refused(table):
    with pytest.raises(DataError, match="mean several files each"):
        join_labels([row("a/1.png"), row("b/1.png")], table("key,label\n1.png,ill\n", "file"), NAMES)


def test_images_without_a_label_are_counted(table):
    labels, notes = join_labels(
        [row("a.png"), row("b.png"), row("c.png")], table("key,label\na.png,1\nb.png,NA\n", "path"), NAMES
    )
    assert labels == ["1", "", ""]
    assert notes == ["2 of 3 images have no label in the table of labels"]


def test_a_table_that_fits_no_image_is_refused(table):
    with pytest.raises(DataError, match='no image is found in the table of labels by "key" \\(path\\)'):
        join_labels([row("a.png")], table("key,label\nother.png,1\n", "path"), NAMES)


def test_one_key_with_two_labels_is_refused_by_its_rows_and_not_by_its_name(table):
    with pytest.raises(DataError, match="rows 1, 3") as caught:
        read_pairs(table("key,label\nMeier,1\nHuber,1\nMeier,0\nHuber,1\n", "patient"), "labels")
    assert "Meier" not in str(caught.value)


def test_rows_without_a_key_and_missing_columns_are_refused(table):
    with pytest.raises(DataError, match="row 2"):
        read_pairs(table("key,label\na,1\n,0\n", "path"), "labels")
    with pytest.raises(DataError, match='no column "Label"; it has key, label'):
        read_pairs(table("key,label\na,1\n", "path", value="Label"), "labels")


def test_a_join_on_something_else_is_refused():
    with pytest.raises(ValueError, match="got 'name'"):
        TableJoin("a.csv", "label", "key", "name")
