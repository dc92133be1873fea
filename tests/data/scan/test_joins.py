import pytest

from fairpool.data.pseudonyms import Pseudonyms
from fairpool.data.scan import PatientSource, SiteSource, build_manifest
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


def test_keys_that_fit_no_image_are_counted(table):
    text = "key,label\n01,ill\n99,well\nsub-02,well\n"
    rows = [row("1", "/sub-01", "sub-01"), row("2", "/sub-02", "sub-02")]
    notes = ["1 of 3 keys of the table of labels fit no image that can be used"]
    assert join_labels(rows, table(text, "patient"), NAMES)[1] == notes
    paths = table("key,label\n./a.png,ill\nb.png,well\n", "path")
    assert join_labels([row("a.png")], paths, NAMES)[1][0].startswith("1 of 2 keys of the table of labels fit no")
    names = table("key,label\na,ill\na.nii.gz,ill\n", "file")
    assert join_labels([row("x/a.nii.gz")], names, NAMES)[1] == []


@pytest.mark.parametrize(("on", "keys"), [("path", "a.png,b.png"), ("file", "a,b"), ("patient", "7,8")])
def test_a_table_of_sites_that_fits_no_image_is_refused_and_else_its_other_keys_are_counted(tmp_path, table, on, keys):
    def check(*names):
        join = table("key,label\n" + "".join(f"{name},bern\n" for name in names), on)
        options = {"root": tmp_path, "column": "label", "key": "key", "on": on, "missing": "unknown"}
        return SiteSource(f"table:{join.file}", **options).check(
            [row("a.png", "7", "7"), row("b.png", "8", "8")], NAMES
        )

    with pytest.raises(DataError, match=rf'no image is found in the table of sites by "key" \({on}\).*--site-key'):
        check("7.0", "8.0")
    assert check(*keys.split(",")) == []
    assert check(*keys.split(","), "9") == ["1 of 3 keys of the table of sites fit no image that can be used"]


def test_keys_of_a_table_of_patients_that_fit_no_image_are_counted(table):
    source = PatientSource(table=table("key,label\na.png,p\nb.png,q\n", "path"))
    notes = ["1 of 2 keys of the table of patients fit no image that can be used"]
    assert source.check([row("a.png")], NAMES) == notes


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


@pytest.fixture
def build(tmp_path, write_png, write_nifti):
    """Builds a manifest of a folder, with one column from a table by each of the three ways to join one."""
    root = tmp_path / "data"

    def column(what, text, on, images):
        for number, path in enumerate(images):
            if path.endswith(".nii"):
                write_nifti(root / path)
            else:
                write_png(root / path, seed=number)
        (tmp_path / "t.csv").write_text(text, encoding="utf-8")
        file = tmp_path / "t.csv"
        if what == "site":
            source = {"site": SiteSource(f"table:{file}", root=root, column="value", key="key", on=on)}
        elif what == "label":
            source = {"labels": TableJoin(file, "value", "key", on)}
        else:
            source = {"patient": PatientSource(table=TableJoin(file, "value", "key", on))}
        built = build_manifest(root, NAMES, **source)
        assert not len(built.unreadable)
        return built.table[what].tolist()

    return column


def expected(what, values):
    return [NAMES.of(value) for value in values] if what == "patient" else values


@pytest.mark.parametrize("what", ["site", "label", "patient"])
@pytest.mark.parametrize("spelt", ["./{}", ".\\{}", "{}", " {} ", "x/../{}"])
def test_a_path_may_be_written_in_any_way_for_sites_labels_and_patients(build, what, spelt):
    images = ["basel/0.png", "bern/0.png"]
    table = "key,value\n" + "".join(f"{spelt.format(path)},{path[0:2]}\n" for path in images)
    assert build(what, table, "path", images) == expected(what, ["ba", "be"])


@pytest.mark.parametrize("what", ["site", "label"])
def test_a_bare_number_stands_for_the_subject_for_sites_and_labels(build, what):
    images = [f"sub-0{number}/anat/sub-0{number}_T1w.nii" for number in (1, 2)]
    assert build(what, "key,value\n01,x\nsub-02,y\n", "patient", images) == ["x", "y"]


@pytest.mark.parametrize("what", ["site", "label"])
def test_a_subject_with_and_without_its_prefix_and_two_values_is_refused(build, what):
    images = ["sub-01/anat/sub-01_T1w.nii", "sub-02/anat/sub-02_T1w.nii"]
    with pytest.raises(DataError, match=r'several values of "value" \(rows 1, 2.*"sub-01" and "01" are one'):
        build(what, "key,value\nsub-01,x\n01,y\nsub-02,y\n", "patient", images)
    assert build(what, "key,value\nsub-01,x\n01,x\nsub-02,y\n", "patient", images) == ["x", "y"]


@pytest.mark.parametrize("what", ["site", "label", "patient"])
def test_a_name_that_two_files_have_is_refused_for_sites_labels_and_patients(build, what):
    images = ["basel/0.png", "bern/0.png", "bern/1.png"]
    with pytest.raises(DataError, match=rf"1 keys of the table of {what}s mean several files.*--{what}-on path"):
        build(what, "key,value\n0.png,x\n1.png,y\n", "file", images)


@pytest.mark.parametrize("what", ["site", "label", "patient"])
def test_a_name_with_and_without_its_ending_and_two_values_is_refused(build, what):
    with pytest.raises(DataError, match=r"\(rows 1, 3.*A name with and without its ending are one"):
        build(what, "key,value\n0.png,x\n1,y\n0,z\n", "file", ["0.png", "1.png"])


def test_names_of_other_endings_and_dotted_identifiers_are_told_apart(table):
    join = table("key,label\nscan.png,a\nscan.jpg,b\n1.2.3,c\n1.2,d\n", "file")
    rows = [row(path) for path in ("scan.png", "scan.jpg", "1.2.3", "x/1.2.dcm", "1.2.4")]
    assert join_labels(rows, join, NAMES)[0] == ["a", "b", "c", "d", ""]


def test_the_site_of_a_number_that_two_patients_have_is_refused(tmp_path, write_dicom):
    for issuer in ("bern", "basel"):
        write_dicom(tmp_path / "data" / issuer, PatientID="7", IssuerOfPatientID=issuer)
    (tmp_path / "t.csv").write_text("key,value\n7,x\n")
    source = SiteSource(f"table:{tmp_path}/t.csv", root=tmp_path / "data", column="value", key="key", on="patient")
    with pytest.raises(DataError, match="1 keys of the table of sites mean several patients"):
        build_manifest(tmp_path / "data", NAMES, site=source)


def test_a_join_on_something_else_is_refused():
    with pytest.raises(ValueError, match="got 'name'"):
        TableJoin("a.csv", "label", "key", "name")
