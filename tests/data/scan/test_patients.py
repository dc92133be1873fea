import pytest

from fairpool.data.scan.joins import TableJoin
from fairpool.data.scan.patients import PatientSource
from fairpool.errors import DataError


def test_a_pattern_finds_the_patient_anywhere_in_the_path():
    source = PatientSource(pattern=r"/(?P<patient>P\d+)_")
    assert source("bern/P12_ap.png") == "P12"


def test_a_path_that_does_not_fit_is_refused_without_it():
    with pytest.raises(DataError, match="does not fit the path") as caught:
        PatientSource(pattern=r"(?P<patient>P\d+)")("Meier/a.png")
    assert "Meier" not in str(caught.value)


def test_a_table_gives_the_patient_by_path(tmp_path):
    (tmp_path / "t.csv").write_text("path,who\na/1.png,x\na/2.png,\n")
    source = PatientSource(table=TableJoin(tmp_path / "t.csv", "who", "path", "path"))
    assert source("a/1.png") == "x"
    for path in ("a/2.png", "a/3.png"):
        with pytest.raises(DataError, match="table of patients does not name"):
            source(path)


@pytest.mark.parametrize("pattern", ["(", "(?P<site>x)", ""])
def test_a_pattern_that_is_none_or_lacks_the_group_is_refused(pattern):
    with pytest.raises(ValueError, match="the pattern of the patient"):
        PatientSource(pattern=pattern)


def test_neither_and_both_and_a_table_of_patients_by_patient_are_refused(tmp_path):
    join = TableJoin(tmp_path / "t.csv", "who", "key", "patient")
    for options in ({}, {"pattern": "(?P<patient>x)", "table": join}, {"table": join}):
        with pytest.raises(ValueError, match="patient"):
            PatientSource(**options)


def test_the_description_changes_with_the_table(tmp_path):
    join = TableJoin(tmp_path / "t.csv", "who", "path", "path")
    descriptions = []
    for who in "xy":
        (tmp_path / "t.csv").write_text(f"path,who\na,{who}\n")
        descriptions.append(PatientSource(table=join).describe())
    assert descriptions[0] != descriptions[1]
