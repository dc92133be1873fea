"""No reader of an image says a word of its patient or its path, whatever is wrong with the file."""

import numpy as np
import pytest
from canaries import find_canaries, find_in_folder, write_canary
from overhearing import everything_of, overhear
from spoilt_files import FAULTS, spoil

from fairpool.data.image_cache import ImageCache
from fairpool.data.radiograph import read_radiograph
from fairpool.errors import DataError


def readers():
    """Everything of fairpool that opens an image, as functions of its path."""
    from fairpool.data.headers import read_dicom_header
    from fairpool.data.photograph import read_photograph
    from fairpool.data.scan.pixel_hashes import hash_pixels
    from fairpool.data.scan.reading import read_file
    from fairpool.transforms import LoadRadiographd, SiteFromDicomd

    def hash_file(path):
        with path.open("rb") as handle:
            return hash_pixels(handle, "dicom")

    item = {"row": 4, "site_name": "bern"}
    return {
        "radiograph": lambda path: read_radiograph(path, 16),
        "radiograph by range": lambda path: read_radiograph(path, 16, value_range=(0, 100), frame="middle", nan="fill"),
        "header": lambda path: read_dicom_header(path, ["InstitutionName", "Manufacturer", "0018,0087", "StationName"]),
        "photograph": lambda path: read_photograph(path, 16),
        "pixel hash": hash_file,
        "scan": lambda path: read_file(str(path), max_pixels=10**6, hash_pixels=True).fault,
        "transform": lambda path: LoadRadiographd("image", 16)({"image": str(path), **item}),
        "site transform": lambda path: SiteFromDicomd("image", elements=("DeviceSerialNumber", "KVP"))(
            {"image": str(path), **item}
        ),
    }


def listen(read, path):
    """All that a reader says; it may fail with a DataError alone."""
    with overhear() as texts:
        try:
            found = read(path)
            texts.append(found if isinstance(found, str) else "")
        except DataError as error:
            texts += everything_of(error)
    return "\n".join(texts)


def test_the_image_cache_holds_no_canary(tmp_path):
    cache = ImageCache(tmp_path / "cache", 16)
    paths = [write_canary(tmp_path / f"KANARI-{number}.dcm", number) for number in range(3)]
    cache.prepare(paths, describe=str, num_workers=2)
    assert len(list((tmp_path / "cache").iterdir())) == 3
    assert find_in_folder(tmp_path / "cache") == {}


@pytest.mark.parametrize("how", FAULTS)
def test_no_reader_says_a_word_of_a_spoilt_file(tmp_path, how):
    path = spoil(write_canary(tmp_path / "KANARI-Anna.dcm", 1, institution="Spital Bern"), how)
    for name, read in readers().items():
        said = listen(read, path)
        assert find_canaries(said) == set(), (name, said[-2000:])
        assert "Spital" not in said, name


def test_no_reader_names_a_file_that_is_missing_or_none(tmp_path):
    (tmp_path / "KANARI-folder").mkdir()
    for name, read in readers().items():
        for path in (tmp_path / "KANARI-missing.dcm", tmp_path / "KANARI-folder"):
            if name != "pixel hash":  # it takes an open file
                assert find_canaries(listen(read, path)) == set(), (name, path.name)


@pytest.mark.parametrize(
    "sidecar",
    [
        b'{"PatientName": "KANARI", "InstitutionName": "KANARI',
        b'{"PatientName": "KANARI", "InstitutionName": {"KANARI": 1}}',
        b'["KANARI"]',
        b'{"PatientName": "KANARI"}',
        b"KANARI \xff\xfe",
        b"[" * 5000 + b'"KANARI"',
    ],
)
def test_no_message_quotes_a_sidecar(tmp_path, sidecar):
    from fairpool.transforms import SiteFromSidecard

    image = tmp_path / "sub-KANARI" / "anat" / "sub-KANARI_T1w.nii.gz"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"")
    image.with_name("sub-KANARI_T1w.json").write_bytes(sidecar)
    (tmp_path / "participants.tsv").write_text("participant_id\tname\nsub-KANARI\tKANARI\n")
    (tmp_path / "dataset_description.json").write_text("{}")
    read = SiteFromSidecard("image")
    said = listen(lambda path: read({"image": str(path), "row": 4, "site_name": "bern"}), image)
    assert said
    assert find_canaries(said) == set()


def test_no_reader_says_a_word_of_flipped_bytes(tmp_path):
    path = write_canary(tmp_path / "KANARI-Anna.dcm", 1, institution="Spital Bern")
    content, random = path.read_bytes(), np.random.default_rng(0)
    for round_ in range(60):
        damaged = bytearray(content)
        reach = 2000 if round_ % 2 else len(content)  # every other time in the first elements
        for at in random.integers(128, reach, 4):
            damaged[at] = random.integers(256)
        path.write_bytes(damaged)
        for name in ("radiograph", "header", "scan"):
            said = listen(readers()[name], path)
            assert find_canaries(said) == set(), (name, round_, said[-2000:])
