import pandas as pd
import pytest

from fairpool.data.manifest_schema import manifest_schema, validate_manifest
from fairpool.errors import DataError

SOUND = {
    "path": ["bern/1.png", "bern/2.dcm", "basel/3.nii.gz", "basel/4.jpg"],
    "site": ["bern", "bern", "basel", "basel"],
    "patient": ["p1", "p2", "p3", "p3"],
    "label": ["0", "1", "0", "1"],
    "format": ["png", "dicom", "nifti", "jpeg"],
    "shape": ["512x512", "64x64x32", "64x64x32x9", "20x3"],
    "spacing": ["", "0.5x0.5", "1x1x1.25", "1e-05x2"],
    "split": ["training", "validation", "test", "test"],
    "pixel_hash": ["", "a" * 64, "0" * 64, "F" * 64],
    "perceptual_hash": ["", "0" * 16, "f" * 16, "0123456789abcdef"],
}


def table(**columns):
    return pd.DataFrame(SOUND | columns, dtype=object)


def test_a_sound_table_has_no_fault_and_no_warning():
    assert validate_manifest(table()) == []


def test_the_schema_is_one_of_pandera_that_others_may_use():
    import pandera.pandas as pa

    schema = manifest_schema(list(SOUND))
    assert isinstance(schema, pa.DataFrameSchema)
    assert len(schema.validate(table())) == 4


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("path", ["a", "b", "a", "c"], r'"path" names one file more than once \(rows 1 \(bern\), 3 \(basel\)\)'),
        ("path", ["a", " ", "c", "d"], r'"path" is empty \(row 2 \(bern\)\)'),
        ("site", ["bern", "", "NA", "basel"], r'"site" is empty \(rows 2, 3 \(NA\)\)'),
        ("site", ["bern", "Bern", "basel", "basel"], '"site" spells 1 site'),
        ("patient", ["p1", "?", "p3", "p3"], r'"patient" is empty \(row 2 \(bern\)\)'),
        ("label", ["0", "", "1", "1"], r'"label" is empty \(row 2 \(bern\)\)'),
        ("format", ["png", "tiff", "png", "png"], r'"format" is not one of dicom, nifti, png, jpeg: \'tiff\' \(row 2'),
        ("shape", ["512", "0x5", "5x5", "5x5x"], r"'512', '0x5', '5x5x' \(rows 1 \(bern\), 2 \(bern\), 4 \(basel\)\)"),
        ("spacing", ["1x1", "0.5mm", "x", "1"], r"'0.5mm', 'x' \(rows 2 \(bern\), 3 \(basel\)\)"),
        ("split", ["training", "dev", "test", "test"], r'"split" is not one of training, validation, test: \'dev\''),
        (
            "split",
            ["training", "training", "training", "test"],
            r'"split" has 1 patient in more than one section \(rows 3',
        ),
        ("split_bern", ["train", "val", "val", "test"], r'"split_bern" has 1 patient in more than one section'),
        ("pixel_hash", ["a", "", "", ""], r'"pixel_hash" is no SHA-256 of 64 hexadecimal digits \(row 1'),
        ("perceptual_hash", ["g" * 16, "", "", ""], r'"perceptual_hash" is not 64 bits'),
    ],
)
def test_each_fault_is_named_with_its_rows_and_sites(column, values, words):
    with pytest.raises(DataError, match=words) as caught:
        validate_manifest(table(**{column: values}))
    assert str(caught.value).startswith("the manifest has a fault: ")


def test_train_and_training_are_one_section():
    assert validate_manifest(table(split=["train", "val", "training", "train"])) == []


def test_all_faults_are_named_at_once():
    bad = table(path=["a", "a", "b", "c"], shape=["1", "2x2", "2x2", "2x2"], site=["bern", "", "basel", "basel"])
    with pytest.raises(DataError, match="has 3 faults") as caught:
        validate_manifest(bad)
    for words in ('"path"', '"shape"', '"site"'):
        assert words in str(caught.value)


def test_no_path_patient_or_hash_is_in_a_message():
    columns = {"path": ["/Meier/a"] * 2 + ["b", "c"], "patient": ["Meier", "", "p", "p"]}
    with pytest.raises(DataError) as caught:
        validate_manifest(table(**columns, pixel_hash=["Meier", "", "", ""]), root_dir=".")
    error = caught.value
    while error is not None:
        assert "Meier" not in str(error)
        error = error.__cause__ or error.__context__


def test_labels_may_be_limited():
    assert validate_manifest(table(), labels=["0", "1"]) == []
    with pytest.raises(DataError, match=r'"label" is not one of 0, 2: \'1\' \(rows 2 \(bern\), 4 \(basel\)\)'):
        validate_manifest(table(), labels=["0", "2"])


@pytest.mark.parametrize("path", ["../a.png", "/etc/passwd", "C:/a.png", "link/a.png"])
def test_a_path_that_leaves_the_folder_is_a_fault(tmp_path, path):
    (tmp_path / "data").mkdir()
    (tmp_path / "a.png").write_bytes(b"1")
    (tmp_path / "data" / "link").symlink_to("..")
    rows = {name: values[:2] for name, values in SOUND.items()} | {"path": [path, "b.png"], "site": ["x", "y"]}
    bad = pd.DataFrame(rows, dtype=object)
    with pytest.raises(DataError, match="row 1: path leaves the data folder"):
        validate_manifest(bad, root_dir=tmp_path / "data", check_files=False)


def test_an_image_that_is_not_there_is_a_fault_unless_nobody_looks(tmp_path):
    with pytest.raises(DataError, match="row 1: no such file"):
        validate_manifest(table(), root_dir=tmp_path)
    assert validate_manifest(table(), root_dir=tmp_path, check_files=False) == []


def test_what_is_seldom_meant_is_a_warning():
    one = validate_manifest(table(site=["bern"] * 4))
    assert one == ['only one site, "bern" (4 rows): a fairness constraint needs at least 2']
    assert validate_manifest(
        table(site=["bern", "unknown", "unknown", "bern"], patient=["p", "q", "p", "r"], split=["test"] * 4)
    ) == [
        'only one site, "bern" (2 rows): a fairness constraint needs at least 2',
        '2 images are of site "unknown": no constraint reaches them',
    ]
    assert validate_manifest(table(site=["unknown"] * 4))[0] == (
        "no site is known: a fairness constraint needs at least 2"
    )
    assert validate_manifest(table(label=["1"] * 4)) == ['every row has the label "1": there is nothing to tell apart']
    assert validate_manifest(table(patient=["p", "q", "q", "r"], split=["test"] * 4)) == [
        "1 patient has images at several sites"
    ]
    assert "no column" in validate_manifest(table().drop(columns="patient"))[0]


def test_a_table_without_its_columns_or_rows_is_refused():
    with pytest.raises(DataError, match='no column "path"; it has site'):
        validate_manifest(pd.DataFrame({"site": ["x"]}))
    with pytest.raises(DataError, match='no column "site"; it has image'):
        validate_manifest(pd.DataFrame({"image": ["x"]}))
    with pytest.raises(DataError, match="no row"):
        validate_manifest(table().iloc[:0])


def test_a_datalist_names_its_images_image():
    assert validate_manifest(table().rename(columns={"path": "image"})) == []
