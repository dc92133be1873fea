import math
import shutil
from pathlib import Path

import pytest
import torch
from monai.data import DataLoader

from fairpool.data import TuberculosisDataset, read_tuberculosis, synthesize_tuberculosis
from fairpool.errors import DataError

SECTIONS = ("training", "validation", "test")


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """Twelve synthetic images of each site."""
    root = tmp_path_factory.mktemp("tuberculosis")
    synthesize_tuberculosis(root, images_per_site={"montgomery": 12, "shenzhen": 12}, confounding=0.0, size=128)
    return root


@pytest.fixture
def empty_tree(tmp_path):
    """The publisher's layout without pixels; ``add(name, reading)`` adds an image."""

    def add(name, reading=""):
        folder = tmp_path / {"MCUCXR": "MontgomerySet", "CHNCXR": "ChinaSet_AllFiles"}[name[:6].upper()]
        for part in ("CXR_png", "ClinicalReadings"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "CXR_png" / f"{name}.png").touch()
        if reading:
            (folder / "ClinicalReadings" / f"{name}.txt").write_bytes(reading.encode("utf-8-sig"))

    add.root = tmp_path
    return add


def items_of(root, section, **options):
    return TuberculosisDataset(root, section, transform=lambda item: item, **options).data


# --- the tree


def test_names_and_readings_become_records(empty_tree):
    empty_tree("MCUCXR_0001_0", "Patient's Sex: F \nPatient's Age: 027Y\nnormal")
    empty_tree("MCUCXR_0104_1", "Patient's Sex: M \nPatient's Age: 049Y\nright PTB")
    empty_tree("CHNCXR_0001_0", "male 45yrs\nnormal")
    empty_tree("CHNCXR_0327_1", "")
    records = read_tuberculosis(empty_tree.root)
    assert records.drop(columns=["image", "age"]).to_dict("list") == {
        "label": [0, 1, 0, 1],
        "site": ["montgomery", "montgomery", "shenzhen", "shenzhen"],
        "patient": ["MCUCXR_0001", "MCUCXR_0104", "CHNCXR_0001", "CHNCXR_0327"],
        "sex": ["F", "M", "M", ""],
        "findings": ["normal", "right PTB", "normal", ""],
        "row": [1, 2, 3, 4],
    }
    assert records["age"].tolist()[:3] == [27, 49, 45]
    assert math.isnan(records["age"][4])
    assert records.index.tolist() == [1, 2, 3, 4]
    assert Path(records["image"][3]).is_file()


def test_files_of_other_names_are_passed_over(empty_tree):
    for name in ("MCUCXR_0001_0", "MCUCXR_0002_2", "MCUCXR_1_0", "MCUCXR_0003_1_mask"):
        empty_tree(name)
    (empty_tree.root / "MontgomerySet" / "CXR_png" / "Thumbs.db").touch()
    assert read_tuberculosis(empty_tree.root)["patient"].tolist() == ["MCUCXR_0001"]


@pytest.mark.parametrize("readings", [True, False])
def test_two_images_of_one_patient_are_one_patient(empty_tree, readings):
    empty_tree("MCUCXR_0113_1")
    empty_tree("MCUCXR_0117_1", "Patient's Sex: M\nPatient's Age: 049Y\n(same pt as MCUCXR_0113_1)" if readings else "")
    empty_tree("MCUCXR_0162_1")
    empty_tree("MCUCXR_0166_1", "Patient's Sex: M\nPatient's Age: 049Y\n(same pt as MCUCXR_0162_1)" if readings else "")
    empty_tree("MCUCXR_0167_1")
    first, second, third, fourth, other = read_tuberculosis(empty_tree.root)["patient"]
    assert first == second
    assert third == fourth
    assert len({first, third, other}) == 3


def test_images_that_name_each_other_or_a_chain_are_one_patient(empty_tree):
    empty_tree("MCUCXR_0002_1", "x\nsame pt as MCUCXR_0001_1")
    empty_tree("MCUCXR_0001_1", "x\nsame pt as MCUCXR_0002_1")
    empty_tree("CHNCXR_0007_1", "x\nsame pt as CHNCXR_0009_0")
    empty_tree("CHNCXR_0008_1", "x\nsame pt as CHNCXR_0007_1")
    empty_tree("CHNCXR_0009_0", "x\nsame pt as CHNCXR_0010_0")  # which is not in the tree
    patients = read_tuberculosis(empty_tree.root).groupby("site")["patient"].nunique()
    assert patients.to_dict() == {"montgomery": 1, "shenzhen": 1}


@pytest.mark.parametrize("folder", ["secret/gone", "secret/empty", "secret/file"])
def test_folder_without_images_is_refused_in_one_sentence(tmp_path, folder):
    (tmp_path / "secret" / "empty").mkdir(parents=True)
    (tmp_path / "secret" / "file").touch()
    with pytest.raises(
        DataError, match=r"no radiograph in .*expected MontgomerySet/CXR_png/MCUCXR_0001_0\.png"
    ) as caught:
        TuberculosisDataset(tmp_path / folder, "training")
    assert "fairpool download tuberculosis" in str(caught.value)
    assert "secret" not in str(caught.value)


# --- the dataset


def test_unknown_section_is_refused(tree):
    with pytest.raises(ValueError, match="one of training, validation, test; got 'train'"):
        TuberculosisDataset(tree, "train")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sections_are_disjoint_by_patient_and_hold_every_image_once(tree, seed):
    sections = {section: items_of(tree, section, seed=seed) for section in SECTIONS}
    assert {section: len(items) for section, items in sections.items()} == {"training": 16, "validation": 2, "test": 6}
    patients = [{item["patient"] for item in items} for items in sections.values()]
    assert sum(map(len, patients)) == len(set.union(*patients))
    assert sorted(item["row"] for items in sections.values() for item in items) == list(range(1, 25))


def test_seed_decides_the_split(tree):
    rows = [[item["row"] for item in items_of(tree, "test", seed=seed)] for seed in (0, 0, 1)]
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]


@pytest.mark.parametrize("seed", range(10))
def test_two_images_of_one_patient_share_a_section(empty_tree, seed):
    for number in (*range(1, 9), 113, 117, 162, 166):
        empty_tree(f"MCUCXR_{number:04d}_{number % 2}")
        empty_tree(f"CHNCXR_{number:04d}_{number % 2}")
    section_of = {
        Path(item["image"]).stem[:11]: section
        for section in SECTIONS
        for item in items_of(empty_tree.root, section, seed=seed)
    }
    assert section_of["MCUCXR_0113"] == section_of["MCUCXR_0117"]
    assert section_of["MCUCXR_0162"] == section_of["MCUCXR_0166"]


def test_items_have_the_keys_and_types_that_are_documented(tree):
    dataset = TuberculosisDataset(tree, "training", transform=lambda item: item)
    assert dataset.vocabulary.names == ("montgomery", "shenzhen")
    for item in dataset.data:
        types = {key: type(value) for key, value in item.items()}
        assert types == {
            "image": str,
            "label": int,
            "site": int,
            "patient": int,
            "sex": str,
            "age": float,
            "findings": str,
            "row": int,
            "site_name": str,
        }
        assert dataset.vocabulary.names[item["site"]] == item["site_name"]
        assert f"_{item['label']}.png" in item["image"]


def test_default_transform_gives_images_in_0_1_and_leaves_the_path_behind(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    item = TuberculosisDataset(tree, "validation")[0]
    assert type(item["image"]) is torch.Tensor
    assert (item["image"].shape, item["image"].dtype) == ((1, 512, 512), torch.float32)
    assert item["image"].min() >= 0
    assert item["image"].max() <= 1
    assert item["image"].std() > 0.01
    assert len(list((tmp_path / "fairpool").iterdir())) == 2  # kept for the next program


def test_batches_have_integer_sites_and_keep_a_missing_age(empty_tree):
    for number in range(1, 13):
        for prefix in ("MCUCXR", "CHNCXR"):
            empty_tree(f"{prefix}_{number:04d}_{number % 2}", "male 45yrs\nnormal" if number % 3 else "")
    dataset = TuberculosisDataset(empty_tree.root, "training", transform=lambda item: item)
    batch = next(iter(DataLoader(dataset, batch_size=len(dataset))))
    for key in ("site", "label", "patient", "row"):
        assert batch[key].dtype == torch.int64
        assert batch[key].shape == (len(dataset),)
    assert set(batch["site"].tolist()) == {0, 1}
    assert batch["age"].dtype == torch.float64
    assert set(batch["age"].nan_to_num(-1).tolist()) == {45, -1}
    assert batch["site_name"][0] == dataset.vocabulary.names[batch["site"][0]]


def test_tree_of_one_site_is_refused(tree, tmp_path):
    shutil.copytree(tree / "MontgomerySet", tmp_path / "MontgomerySet")
    with pytest.raises(DataError, match=r'needs at least 2 sites; found only "montgomery" \(12 rows\)'):
        TuberculosisDataset(tmp_path, "training")


def test_section_without_patients_is_refused(empty_tree):
    for name in ("MCUCXR_0001_0", "MCUCXR_0002_1", "CHNCXR_0001_0", "CHNCXR_0002_1"):
        empty_tree(name)
    with pytest.raises(DataError, match=r"the validation section is empty: 4 patients are too few for val_frac 0\.1"):
        TuberculosisDataset(empty_tree.root, "validation", transform=lambda item: item)


def test_download_is_asked_for_only_on_request(tree, monkeypatch):
    asked = []
    monkeypatch.setattr("fairpool.data.download.download_tuberculosis", asked.append)
    items_of(tree, "training")
    assert asked == []
    items_of(tree, "training", download=True)
    assert asked == [tree]
