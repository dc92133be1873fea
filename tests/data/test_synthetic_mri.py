"""The synthetic MRI tree is BIDS, seeded, confounded as said, and reads the same whatever the scanner's orientation."""

import json
import re
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from fairpool.data.synthetic_heads import MRI_SCANNERS
from fairpool.data.synthetic_mri import plan_mri, synthesize_mri
from fairpool.errors import DataError
from fairpool.transforms import SiteFromSidecard

FEW = {"alpine": 4, "bayside": 4}
# What dcm2niix and the BIDS specification call these fields, and the type that it asks of each.
FIELDS = {
    "InstitutionName": str,
    "Manufacturer": str,
    "ManufacturersModelName": str,
    "StationName": str,
    "DeviceSerialNumber": str,
    "MagneticFieldStrength": (int, float),
    "RepetitionTime": (int, float),
    "EchoTime": (int, float),
    "InversionTime": (int, float),
    "FlipAngle": (int, float),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return synthesize_mri(tmp_path_factory.mktemp("bids") / "tree", subjects_per_site=FEW)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def files_of(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def image_of(root, subject):
    return nib.load(root / subject / "anat" / f"{subject}_T1w.nii.gz")


# BIDS 1.10: what the specification requires of such a data set.


def test_every_file_has_a_name_that_bids_allows_or_is_ignored(root):
    allowed = [
        r"dataset_description\.json",
        r"README\.md",
        r"participants\.(tsv|json)",
        r"T1w\.json",
        r"\.bidsignore",
        r"(sub-[0-9]+)/anat/\1_T1w\.(nii\.gz|json)",
    ]
    ignored = (root / ".bidsignore").read_text().split()
    assert "synthetic.json*" in ignored
    for name in files_of(root):
        assert any(re.fullmatch(pattern, name) for pattern in allowed) or name == "synthetic.json", name


def test_the_description_has_its_required_fields(root):
    description = read_json(root / "dataset_description.json")
    assert description["Name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", description["BIDSVersion"])
    assert description["DatasetType"] == "raw"
    assert all(tool["Name"] for tool in description["GeneratedBy"])
    assert "synthetic" in description["Name"].lower()


def test_participants_are_the_subject_folders_and_each_column_is_described(root):
    raw = (root / "participants.tsv").read_bytes()
    assert b"\r" not in raw
    table = pd.read_csv(root / "participants.tsv", sep="\t", dtype=str, keep_default_na=False)
    assert table.columns[0] == "participant_id"
    assert sorted(table["participant_id"]) == sorted(path.name for path in root.glob("sub-*"))
    assert table["participant_id"].is_unique
    described = read_json(root / "participants.json")
    assert list(described) == list(table.columns[1:])
    for column, text in described.items():
        assert text["Description"]
        if "Levels" in text:
            assert set(table[column]) <= set(text["Levels"])
    assert not (table == "").any(axis=None)


def test_sidecars_hold_each_field_once_with_its_type_and_in_seconds(root):
    shared = read_json(root / "T1w.json")
    for file in root.glob("sub-*/anat/*.json"):
        own = read_json(file)
        assert not set(own) & set(shared)
        assert set(own) == set(FIELDS)
        for field, kind in FIELDS.items():
            assert isinstance(own[field], kind), field
        assert own["EchoTime"] < own["RepetitionTime"] < 10
        assert "synthetic" in own["InstitutionName"]
    assert shared["MRAcquisitionType"] == "3D"


def test_headers_say_where_the_head_lies_and_in_which_units(root):
    plan = plan_mri(subjects_per_site=FEW).set_index("participant_id")
    for subject, row in plan.iterrows():
        image = image_of(root, subject)
        assert image.header.get_data_dtype() == np.int16
        assert image.header.get_xyzt_units() == ("mm", "sec")
        assert image.header.get_zooms() == (7.0, 7.0, 7.0)
        assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 1
        np.testing.assert_allclose(image.get_sform(), image.get_qform(), atol=1e-4)
        assert "".join(nib.aff2axcodes(image.affine)) == MRI_SCANNERS[row["site"]].orientation
        shape = np.array(image.shape)
        np.testing.assert_allclose(image.affine @ [*((shape - 1) / 2), 1], [0, 0, 0, 1], atol=1e-4)  # centred
        canonical = nib.as_closest_canonical(image)
        assert canonical.shape == (24, 28, 24)
        # The front is longer than the sides and the head is in the middle, so no axis was mixed up.
        values = np.asarray(canonical.dataobj, float)
        bright = np.argwhere(values > 0.35 * np.percentile(values, 99))
        extent = bright.max(axis=0) - bright.min(axis=0)
        assert extent[1] > max(extent[0], extent[2])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bids-validator-deno") is None, reason="the BIDS validator is not installed")
def test_the_validator_of_bids_finds_no_error(root):
    result = subprocess.run(["bids-validator-deno", "--json", str(root)], capture_output=True, text=True, timeout=120)
    issues = json.loads(result.stdout)["issues"]["issues"]
    assert not [issue["code"] for issue in issues if issue["severity"] == "error"]


# What is in it


def test_sites_come_from_the_sidecars_and_the_shared_fields_are_inherited(root):
    plan = plan_mri(subjects_per_site=FEW).set_index("participant_id")
    attach = SiteFromSidecard(fields=["InstitutionName"])
    scanner = SiteFromSidecard(fields=["Manufacturer", "MagneticFieldStrength"], site_key="scanner")
    sequence = SiteFromSidecard(fields=["MRAcquisitionType"], site_key="kind")
    for subject, row in plan.iterrows():
        item = {"image": str(root / subject / "anat" / f"{subject}_T1w.nii.gz")}
        expected = MRI_SCANNERS[row["site"]].sidecar
        item = sequence(scanner(attach(item)))
        assert item["site"] == expected["InstitutionName"]
        assert item["scanner"] == f"{expected['Manufacturer']} | {expected['MagneticFieldStrength']:g}"
        assert item["kind"] == "3D"


def test_monai_reads_both_orientations_as_one(root):
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd

    read = Compose(
        [LoadImaged("image"), EnsureChannelFirstd("image"), Orientationd("image", axcodes="RAS", labels=None)]
    )
    for subject in ("sub-001", "sub-002", "sub-003", "sub-004"):
        path = root / subject / "anat" / f"{subject}_T1w.nii.gz"
        volume = read({"image": str(path)})["image"]
        assert volume.shape == (1, 24, 28, 24)
        expected = np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj, np.float32)
        np.testing.assert_array_equal(volume[0].numpy(), expected)


@pytest.mark.parametrize(("confounding", "ill"), [(0.8, (3, 27)), (0.0, (15, 15)), (-1.0, (30, 0)), (1, (0, 30))])
def test_the_plan_has_the_stated_prevalence_at_each_site(confounding, ill):
    plan = plan_mri(confounding=confounding)
    assert tuple(plan.groupby("site")["label"].sum()) == ill
    assert len(plan) == 60


def test_numbers_tell_neither_site_nor_diagnosis():
    plan = plan_mri(subjects_per_site={"alpine": 200, "bayside": 200}, confounding=0.5, seed=3)
    for column in (
        plan["label"],
        (plan["site"] == "bayside").astype(int),
        plan["age"],
        (plan["sex"] == "M").astype(int),
    ):
        assert abs(np.corrcoef(plan["number"], column)[0, 1]) < 0.15
    assert set(plan["age"]) <= set(range(55, 86))


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(root, tmp_path):
    again = synthesize_mri(tmp_path / "again", subjects_per_site=FEW)
    assert files_of(again) == files_of(root)
    other = synthesize_mri(tmp_path / "other", subjects_per_site=FEW, seed=1)
    assert not np.array_equal(image_of(other, "sub-001").dataobj, image_of(root, "sub-001").dataobj)


def test_a_tree_of_other_numbers_shows_other_people(root, tmp_path):
    later = synthesize_mri(tmp_path / "later", subjects_per_site=FEW, first_number=101)
    assert (later / "sub-101").is_dir()
    heads = [nib.as_closest_canonical(image_of(tree, name)) for tree, name in ((root, "sub-001"), (later, "sub-101"))]
    assert not np.array_equal(heads[0].dataobj, heads[1].dataobj)


def test_an_interrupted_tree_is_continued_to_the_same_bytes(root, tmp_path):
    def stop(done, total):
        assert total == 8
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize_mri(tmp_path / "tree", subjects_per_site=FEW, progress=stop)
    assert not (tmp_path / "tree" / "synthetic.json").exists()
    synthesize_mri(tmp_path / "tree", subjects_per_site=FEW)
    assert files_of(tmp_path / "tree") == files_of(root)


# What is refused


def test_a_folder_with_other_content_or_settings_is_left_alone(root, tmp_path):
    with pytest.raises(DataError, match=r"made otherwise \(seed 0, not 7\); name a new folder"):
        synthesize_mri(root, subjects_per_site=FEW, seed=7)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty and holds no synthetic tree"):
        synthesize_mri(tmp_path)
    with pytest.raises(DataError, match="is a file; name a folder"):
        synthesize_mri(tmp_path / "notes.txt")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "synthetic.json").write_text("[]")
    with pytest.raises(DataError, match="settings that cannot be read"):
        synthesize_mri(tmp_path / "odd")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"subjects_per_site": {"x": 3}}, 'site "x" has no synthetic scanner; expected alpine or bayside'),
        ({"subjects_per_site": {"alpine": -1}}, 'subjects of "alpine" must be a whole number from 0 on, got -1'),
        ({"subjects_per_site": {"alpine": 0}}, "asks for no subject at all"),
        ({"confounding": 1.5}, r"confounding must lie in \[-1, 1\]"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"first_number": 0}, "first_number must be a whole number from 1 on"),
        ({"shape": (24, 28)}, "three numbers of voxels"),
        ({"shape": (24, 28, 2)}, "a length of shape must be a whole number from 4 on, got 2"),
        ({"voxel_size": 0}, "voxel_size must be a positive number, got 0"),
        ({"atrophy": float("nan")}, "atrophy must be a positive number, got nan"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_written(options, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        synthesize_mri(tmp_path / "tree", **options)
    assert not (tmp_path / "tree").exists()
