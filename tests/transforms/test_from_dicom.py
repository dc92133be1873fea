"""Sites and scanners from DICOM: files of six vendors that pydicom bundles, written ones, and all that is refused."""

import struct
from pathlib import Path

import pydicom
import pytest
from dicom_files import SYNTAXES, write_dicom
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader, Dataset, MetaTensor
from monai.transforms import LoadImaged
from pydicom.data import get_testdata_file
from site_items import check_leaves_the_item_alone, refuse

from fairpool.errors import DataError
from fairpool.transforms import SiteFromDicomd

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
SCANNER = ("Manufacturer", "ManufacturerModelName", "MagneticFieldStrength")
SCANNERS = {
    "CT_small.dcm": "GE MEDICAL SYSTEMS | RHAPSODE | ?",
    "MR_small.dcm": "TOSHIBA_MEC | MRT50H1 | ?",
    "MR_small_bigendian.dcm": "TOSHIBA_MEC | MRT50H1 | ?",
    "MR_small_implicit.dcm": "TOSHIBA_MEC | MRT50H1 | ?",
    "JPEG2000.dcm": "GE Medical Systems | MILLENNIUM MG | ?",
    "ExplVR_BigEnd.dcm": "G.E. Medical Systems | LOGIQ 700 | ?",
    "examples_overlay.dcm": "SIEMENS | Avanto | 1.4939999580383",
    "examples_palette.dcm": "Philips Medical Systems | CX50 | ?",
    "examples_ybr_color.dcm": "SonoSite, Inc. | Turbo | ?",
    "dicomdirtests/98892003/MR1/15820": "Philips Medical Systems, Inc. | Eclipse 1.5T | 1.5",
    "dicomdirtests/77654033/CR1/6154": "Agfa-Gevaert AG | ADC_5146 | ?",
    "J2K_pixelrep_mismatch.dcm": "? | Supria | ?",
}


@pytest.mark.parametrize("name", SCANNERS)
def test_scanner_of_a_bundled_file(name):
    attach = SiteFromDicomd(elements=SCANNER, site_key="scanner")
    check_leaves_the_item_alone(attach, {"image": str(BUNDLED / name), "row": 1}, SCANNERS[name])


@pytest.mark.parametrize(
    ("name", "institution"),
    [
        ("CT_small.dcm", "JFK IMAGING CENTER"),
        ("JPEG-lossy.dcm", "St. John's Memorial"),
        ("examples_overlay.dcm", "AKH - WIEN"),
        ("waveform_ecg.dcm", "E. O. Ospedali Galliera"),
    ],
)
def test_institution_is_the_default(name, institution):
    assert SiteFromDicomd()({"image": BUNDLED / name})["site"] == institution


def test_spellings_of_a_vendor_are_joined_by_folding_and_by_the_table():
    names = ["CT_small.dcm", "JPEG2000.dcm", "ExplVR_BigEnd.dcm"]
    folded = SiteFromDicomd(elements=["Manufacturer"], normalize=True)
    assert {folded({"image": BUNDLED / name})["site"] for name in names} == {"ge medical systems"}
    aliases = {"Siemens 1.5 T": ["Siemens | Avanto | 1.5"], "Siemens": ["SIEMENS"], "1.5": ["1.4939999580383"]}
    table = SiteFromDicomd(elements=SCANNER, aliases=aliases)
    assert table({"image": BUNDLED / "examples_overlay.dcm"})["site"] == "Siemens 1.5 T"


def test_empty_blank_and_missing_are_the_same(tmp_path):
    attach = SiteFromDicomd(elements=["StationName", "InstitutionName"], missing="unknown")
    for number, station in enumerate(["", "   ", "n/a", None]):
        path = write_dicom(
            tmp_path / f"{number}.dcm", vendor=None, **({} if station is None else {"StationName": station})
        )
        assert attach({"image": path})["site"] == "unknown"
    path = write_dicom(tmp_path / "a.dcm", vendor=None, StationName="CT 1")
    assert attach({"image": path})["site"] == "CT 1 | ?"


def test_element_of_several_values_is_joined_in_its_order(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", ImageType=["ORIGINAL", "", "PRIMARY"], SoftwareVersions=["2", "10"])
    attach = SiteFromDicomd(elements=["ImageType", "SoftwareVersions"])
    assert attach({"image": path})["site"] == "ORIGINAL+PRIMARY | 2+10"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_transfer_syntax_gives_the_same_site(tmp_path, syntax):
    path = write_dicom(
        tmp_path / "a.dcm", transfer_syntax=syntax, bits=8, InstitutionName="Hôpital Zürich", KVP="120.00"
    )
    assert SiteFromDicomd(elements=["InstitutionName", "KVP"])({"image": path})["site"] == "Hôpital Zürich | 120"


def test_order_of_the_elements_is_the_order_of_the_name(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", vendor="Canon")
    assert SiteFromDicomd(elements=["StationName", "0008,0070"])({"image": path})["site"] == "CXDI | Canon Inc."
    assert SiteFromDicomd(elements=["0008,0070", "StationName"])({"image": path})["site"] == "Canon Inc. | CXDI"


def test_image_that_monai_loaded_tells_its_own_file():
    item = LoadImaged("image", reader="PydicomReader")({"image": get_testdata_file("CT_small.dcm")})
    assert isinstance(item["image"], MetaTensor)
    keys = set(item["image"].meta)
    result = SiteFromDicomd()(item)
    assert result["site"] == "JFK IMAGING CENTER"
    assert set(result["image"].meta) == keys


def test_folder_of_a_series_is_told_by_its_first_dicom_file(tmp_path):
    series = tmp_path / "meier"
    for number in (2, 1):
        write_dicom(series / f"{number}.dcm", InstitutionName=f"Hospital {number}")
    (series / "0.txt").write_text("notes")
    (series / "DICOMDIR").write_bytes((BUNDLED / "dicomdirtests" / "DICOMDIR").read_bytes())
    assert SiteFromDicomd()({"image": series})["site"] == "Hospital 1"
    for path in series.iterdir():
        path.unlink()
    assert "the folder holds no DICOM file" in refuse(SiteFromDicomd(), {"image": series, "row": 3})


@pytest.mark.parametrize(
    "element",
    [
        *("PatientID", "PatientName", "PatientBirthDate", "AccessionNumber", "StudyDate", "StudyInstanceUID"),
        *("SOPInstanceUID", "InstitutionAddress", "OtherPatientIDs", "ReferringPhysicianName", "StudyID", "0010,0020"),
        *(
            "AcquisitionTime",
            "AcquisitionDateTime",
            "PatientComments",
            "FrameOfReferenceUID",
            "PatientTelephoneNumbers",
        ),
    ],
)
def test_element_that_can_name_a_patient_is_no_site(element):
    with pytest.raises(DataError, match=f"{element} can name a patient") as caught:
        SiteFromDicomd(elements=["InstitutionName", element])
    assert "such as InstitutionName" in str(caught.value)


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ([], "one name or several"),
        (["KVP", "KVP"], "one name or several"),
        ("InstitutionName", "a list of names"),
        ([1], "a list of names"),
        (["InstitutionNam"], 'Did you mean "InstitutionName"'),
    ],
)
def test_elements_without_a_meaning_are_refused(elements, words):
    with pytest.raises(ValueError, match=words):
        SiteFromDicomd(elements=elements)


def test_damaged_files_name_the_row_and_never_the_file_or_its_patient(tmp_path):
    content = write_dicom(tmp_path / "a.dcm", InstitutionName="Bern", PatientName="MEIER^ANNA").read_bytes()
    nested = struct.pack("<HH2sHI", 0x0008, 0x0006, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    at = content.index(b"\x08\0\x16\0")
    for damaged, words in {
        b"": "the file is empty",
        content[:200]: "ends early",
        content[: content.index(b"\x08\0\x80\0") + 9]: "header ends early",
        content[132:]: "DICM",
        content[:at] + nested * 3000 + content[at:]: "nested too deeply",
    }.items():
        (tmp_path / "meier.dcm").write_bytes(damaged)
        message = refuse(SiteFromDicomd(), {"image": tmp_path / "meier.dcm", "row": 41, "site_name": "bern"})
        assert message.startswith("row 41 (bern): ")
        assert words in message
    assert "file not found" in refuse(SiteFromDicomd(), {"image": tmp_path / "meier" / "x.dcm"})


def test_missing_site_names_the_elements_and_no_value(tmp_path):
    path = write_dicom(tmp_path / "meier.dcm", vendor=None, PatientName="MEIER")
    message = refuse(SiteFromDicomd(elements=["StationName", "InstitutionName"]), {"image": path, "row": 2})
    assert message.startswith("row 2: the image has no site: its header has no StationName and no InstitutionName.")


def test_bundle_config_cache_and_worker_processes_give_the_same_sites(tmp_path):
    config = {
        "site": {"_target_": "fairpool.transforms.SiteFromDicomd", "elements": ["Manufacturer"], "normalize": True}
    }
    attach = ConfigParser(config).get_parsed_content("site")
    names = [name for name in SCANNERS if name != "J2K_pixelrep_mismatch.dcm"]
    items = [{"image": str(BUNDLED / name)} for name in names]
    expected = [attach(item)["site"] for item in items]
    for dataset in (Dataset(items, attach), CacheDataset(items, attach, num_workers=2, progress=False)):
        (batch,) = DataLoader(dataset, batch_size=len(items), num_workers=2)
        assert batch["site"] == expected
