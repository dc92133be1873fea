"""Sites from BIDS metadata, beside volumes that nibabel wrote and bundles."""

import json
import pickle
import shutil

import nibabel
import numpy as np
import pytest
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import LoadImaged
from nibabel.testing import data_path
from site_items import check_leaves_the_item_alone, refuse

from fairpool.errors import DataError
from fairpool.transforms import SiteFromSidecard

SCANNER = ("Manufacturer", "ManufacturersModelName", "MagneticFieldStrength")


@pytest.fixture
def dataset(tmp_path):
    """Two subjects of two scanners, one field inherited; a third that nobody describes."""
    (tmp_path / "dataset_description.json").write_text('{"Name": "two scanners", "BIDSVersion": "1.10.0"}')
    (tmp_path / "T1w.json").write_text('{"MagneticFieldStrength": 3.0}')
    (tmp_path / "participants.tsv").write_text("participant_id\tcentre\nsub-01\tBern\nsub-02\tBasel\nsub-meier\tn/a\n")
    sidecars = {
        "01": {"Manufacturer": "Siemens", "ManufacturersModelName": "Prisma", "InstitutionName": "Insel"},
        "02": {"Manufacturer": "GE", "MagneticFieldStrength": "1.5T", "InstitutionName": "insel "},
    }
    for subject in ("01", "02", "meier"):
        folder = tmp_path / f"sub-{subject}" / "anat"
        folder.mkdir(parents=True)
        image = nibabel.Nifti1Image(np.ones((4, 5, 6), dtype=np.float32), np.eye(4))
        nibabel.save(image, folder / f"sub-{subject}_T1w.nii.gz")
        if subject in sidecars:
            (folder / f"sub-{subject}_T1w.json").write_text(json.dumps(sidecars[subject]))
    return tmp_path


def volume(dataset, subject):
    return str(dataset / f"sub-{subject}" / "anat" / f"sub-{subject}_T1w.nii.gz")


def test_scanner_is_combined_as_from_dicom(dataset):
    attach = SiteFromSidecard(fields=SCANNER, site_key="scanner", missing="unknown")
    check_leaves_the_item_alone(attach, {"image": volume(dataset, "01")}, "Siemens | Prisma | 3")
    check_leaves_the_item_alone(attach, {"image": volume(dataset, "02")}, "GE | ? | 1.5")
    check_leaves_the_item_alone(attach, {"image": volume(dataset, "meier")}, "? | ? | 3")


def test_spellings_are_joined_and_participants_read(dataset):
    attach = SiteFromSidecard(normalize=True)
    assert {attach({"image": volume(dataset, subject)})["site"] for subject in ("01", "02")} == {"insel"}
    centre = SiteFromSidecard(fields=["centre"], missing="unknown")
    assert [centre({"image": volume(dataset, each)})["site"] for each in ("01", "02", "meier")] == [
        "Bern",
        "Basel",
        "unknown",
    ]


def test_volume_tells_its_site_before_and_after_loading(dataset):
    attach, load = SiteFromSidecard(), LoadImaged("image")
    after = attach(load({"image": volume(dataset, "01")}))
    before = load(attach({"image": volume(dataset, "01")}))
    assert after["site"] == before["site"] == "Insel"
    assert isinstance(after["image"], MetaTensor)
    assert after["image"].shape == (4, 5, 6)
    assert set(after["image"].meta) == set(before["image"].meta)


@pytest.mark.parametrize("name", ["example4d.nii.gz", "anatomical.nii", "standard.nii.gz"])
def test_volumes_that_nibabel_bundles_beside_a_plain_sidecar(tmp_path, name):
    shutil.copy(f"{data_path}/{name}", tmp_path / name)
    (tmp_path / f"{name.split('.')[0]}.json").write_text('{"InstitutionName": "Cambridge"}')
    item = SiteFromSidecard()(LoadImaged("image")({"image": tmp_path / name}))
    assert item["site"] == "Cambridge"


def test_missing_site_names_the_fields_and_no_subject(dataset):
    message = refuse(SiteFromSidecard(), {"image": volume(dataset, "meier"), "row": 9})
    assert message.startswith(
        "row 9: the image has no site: neither its sidecars nor participants.tsv have InstitutionName."
    )
    (dataset / "sub-meier" / "anat" / "sub-meier_T1w.json").write_text('{"InstitutionName": ')
    assert "cannot be read (no JSON, line 1)" in refuse(SiteFromSidecard(), {"image": volume(dataset, "meier")})


@pytest.mark.parametrize(
    "field", ["participant_id", "PatientName", "AcquisitionTime", "InstitutionAddress", "Subject_ID"]
)
def test_field_that_can_name_a_person_is_no_site(field):
    with pytest.raises(DataError, match=f"{field} can name a patient"):
        SiteFromSidecard(fields=[field])


def test_fields_are_a_list():
    with pytest.raises(ValueError, match="fields must be a list of names"):
        SiteFromSidecard(fields="InstitutionName")


def test_bundle_config_and_worker_processes_give_the_same_sites(dataset):
    config = {"site": {"_target_": "fairpool.transforms.SiteFromSidecard", "fields": list(SCANNER), "missing": "?"}}
    attach = ConfigParser(config).get_parsed_content("site")
    items = [{"image": volume(dataset, subject)} for subject in ("01", "02")] * 3
    attach(items[0])
    assert b"Prisma" not in pickle.dumps(attach)
    (batch,) = DataLoader(Dataset(items, attach), batch_size=6, num_workers=2)
    assert batch["site"] == ["Siemens | Prisma | 3", "GE | ? | 1.5"] * 3
