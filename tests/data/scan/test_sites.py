import json
import subprocess
import sys

import pytest

from fairpool.data.scan.persons import find_person
from fairpool.data.scan.sites import SidecarScanner, SiteSource
from fairpool.errors import DataError


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("column:x", {}, "got 'column:x'"),
        ("bern", {}, "got 'bern'"),
        ("dicom:", {}, "got 'dicom:'"),
        ("level:two", {}, "level:N takes the number of a folder in the path, got 'two'"),
        ("table:t.csv", {}, "needs the column of the site"),
        (
            "table:t.csv",
            {"column": "site", "key": "k", "on": "name"},
            "patient, study; got 'name'",
        ),
    ],
)
def test_a_source_without_a_meaning_is_refused_before_anything_is_read(tmp_path, text, options, words):
    with pytest.raises(ValueError, match=words):
        SiteSource(text, root=tmp_path, **options)


def test_a_fault_of_the_table_is_told_before_any_file_is_read(tmp_path):
    (tmp_path / "t.csv").write_text("path,hospital\na/1.png,Bern\na/1.png,Basel\n")
    options = {"root": tmp_path, "key": "path", "on": "path"}
    with pytest.raises(DataError, match=r"several values of .hospital. \(rows 1, 2"):
        SiteSource(f"table:{tmp_path}/t.csv", column="hospital", **options)
    with pytest.raises(DataError, match='no column "site"'):
        SiteSource(f"table:{tmp_path}/t.csv", column="site", **options)


def test_an_element_that_can_name_a_patient_is_refused_before_any_file_is_read(tmp_path):
    with pytest.raises(DataError, match="PatientName"):
        SiteSource("dicom:PatientName", root=tmp_path)
    with pytest.raises(ValueError, match='no keyword "Hospital"'):
        SiteSource("dicom:Hospital", root=tmp_path)


def test_the_description_changes_with_the_spellings_and_with_the_table(tmp_path):
    (tmp_path / "a.yaml").write_text("Bern: [BE]\n")
    (tmp_path / "t.csv").write_text("path,site\na/1.png,Bern\n")

    def describe():
        table = SiteSource(f"table:{tmp_path}/t.csv", root=tmp_path, column="site", key="path")
        return SiteSource("level:0", root=tmp_path, aliases=tmp_path / "a.yaml").describe(), table.describe()

    before = describe()
    assert describe() == before
    (tmp_path / "a.yaml").write_text("Bern: [BE, Berne]\n")
    (tmp_path / "t.csv").write_text("path,site\na/1.png,Basel\n")
    assert not set(describe()) & set(before)


def test_a_missing_site_is_refused_or_gets_its_name(tmp_path, write_png):
    path = str(write_png(tmp_path / "a.png"))
    person = find_person("a.png", {})
    with pytest.raises(DataError, match="has no site") as caught:
        SiteSource("level:0", root=tmp_path)(path, person)
    assert "a.png" not in str(caught.value)
    assert SiteSource("level:0", root=tmp_path, missing="unknown")(path, person) == "unknown"


def test_a_scanner_without_a_sidecar_or_with_a_damaged_one_is_empty(tmp_path, write_nifti):
    path = write_nifti(tmp_path / "a.nii.gz")
    assert SidecarScanner()(str(path)) == ""
    (tmp_path / "a.json").write_text("[")
    assert SidecarScanner()(str(path)) == ""


@pytest.mark.parametrize(
    ("fields", "scanner"),
    [
        ({"Manufacturer": "Siemens", "ManufacturersModelName": "Avanto"}, "Siemens | Avanto"),
        ({"Manufacturer": "GE", "MagneticFieldStrength": 1.50}, "GE | ? | 1.5"),
        ({"Manufacturer": "GE", "ManufacturersModelName": "Signa", "MagneticFieldStrength": "3 T"}, "GE | Signa | 3"),
        ({"Modality": "MR"}, ""),
    ],
)
def test_the_scanner_of_a_volume_is_spelt_as_that_of_a_dicom_file(tmp_path, write_nifti, fields, scanner):
    path = write_nifti(tmp_path / "a.nii.gz")
    (tmp_path / "a.json").write_text(json.dumps(fields))
    assert SidecarScanner()(str(path)) == scanner


def test_sites_are_found_without_monai(tmp_path):
    (tmp_path / "t.csv").write_text("path,site\na.png,Bern\n")
    script = (
        "import sys; from fairpool.data.scan.sites import SiteSource; root = sys.argv[1]; "
        "[SiteSource(text, root=root, column='site', key='path') for text in "
        "('level:0', 'path:(?P<site>x)', 'dicom:InstitutionName', 'sidecar:InstitutionName', f'table:{root}/t.csv')]; "
        "print('monai' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
