"""BIDS sidecars: the specification's own examples of inheritance, and every file that breaks its rules."""

import json

import pytest

from fairpool.data.sidecars import Sidecars, split_name
from fairpool.errors import DataError


def lay(root, **files):
    """Files by path, where "__" stands for "/": an object becomes JSON, text stays."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return root


def find(root, image, *fields, **options):
    return Sidecars(fields, **options).find(root / image)


def test_example_1_of_the_specification(tmp_path):
    lay(
        tmp_path,
        **{
            "dataset_description.json": {"Name": "x", "BIDSVersion": "1.10.0"},
            "task-rest_bold.json": {"EchoTime": 0.040, "RepetitionTime": 1.0},
            "sub-01/func/sub-01_task-rest_acq-longtr_bold.json": {"RepetitionTime": 3.0},
        },
    )
    folder = "sub-01/func/sub-01_task-rest_acq-"
    fields = ("EchoTime", "RepetitionTime")
    assert find(tmp_path, f"{folder}default_bold.nii.gz", *fields) == {"EchoTime": "0.04", "RepetitionTime": "1"}
    assert find(tmp_path, f"{folder}longtr_bold.nii.gz", *fields) == {"EchoTime": "0.04", "RepetitionTime": "3"}
    assert find(tmp_path, "sub-01/func/sub-01_task-nback_bold.nii.gz", *fields) == dict.fromkeys(fields)
    assert find(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", *fields) == dict.fromkeys(fields)


def test_example_3_applies_the_session_file_to_both_runs(tmp_path):
    lay(
        tmp_path,
        **{
            "sub-01/ses-test/sub-01_ses-test_task-verbs_bold.json": {"InstitutionName": "Bern", "StationName": "A"},
            "sub-01/ses-test/func/sub-01_ses-test_task-verbs_run-2_bold.json": {"StationName": "B"},
        },
    )
    image = "sub-01/ses-test/func/sub-01_ses-test_task-verbs_run-{}_bold.nii"
    fields = ("InstitutionName", "StationName")
    assert find(tmp_path, image.format(1), *fields) == {"InstitutionName": "Bern", "StationName": "A"}
    assert find(tmp_path, image.format(2), *fields) == {"InstitutionName": "Bern", "StationName": "B"}


@pytest.mark.parametrize("nothing", [None, "", [], "n/a", "None", "null", "?", "<NA>", "NaT", ["None"], "NaN"])
def test_null_and_what_is_written_for_it_do_not_unset_what_is_inherited(tmp_path, nothing):
    lay(tmp_path, **{"T1w.json": {"InstitutionName": "Bern"}, "sub-01/sub-01_T1w.json": {"InstitutionName": nothing}})
    assert find(tmp_path, "sub-01/sub-01_T1w.nii.gz", "InstitutionName") == {"InstitutionName": "Bern"}


def test_nothing_above_the_root_applies(tmp_path):
    lay(
        tmp_path,
        **{
            "T1w.json": {"InstitutionName": "outside"},
            "data/dataset_description.json": {},
            "data/sub-01/anat/sub-01_T1w.nii": "",
        },
    )
    image = "data/sub-01/anat/sub-01_T1w.nii"
    assert find(tmp_path, image, "InstitutionName") == {"InstitutionName": None}
    assert find(tmp_path, image, "InstitutionName", root_dir=tmp_path) == {"InstitutionName": "outside"}
    (tmp_path / "data" / "dataset_description.json").unlink()
    assert find(tmp_path, image, "InstitutionName") == {"InstitutionName": None}


def test_two_files_of_one_level_may_agree_and_must_not_differ(tmp_path):
    """Example 2 of the specification is what it forbids."""
    names = ["sub-01/sub-01_task-x_bold.json", "sub-01/sub-01_task-x_run-2_bold.json"]
    lay(tmp_path, **{name: {"InstitutionName": "Bern", "StationName": name} for name in names})
    image = "sub-01/sub-01_task-x_run-2_bold.nii.gz"
    assert find(tmp_path, image, "InstitutionName") == {"InstitutionName": "Bern"}
    with pytest.raises(DataError, match="two sidecars in one folder apply to the image and differ in StationName"):
        find(tmp_path, image, "StationName")


def test_participants_fill_what_no_sidecar_says(tmp_path):
    lay(
        tmp_path,
        **{
            "participants.tsv": "participant_id\tsite\tInstitutionName\nsub-01\tbern\tU\nsub-02\tn/a\tU\n03\tzug\t\n",
            "sub-01/sub-01_T1w.json": {"InstitutionName": "Insel"},
        },
    )
    fields = ("site", "InstitutionName")
    assert find(tmp_path, "sub-01/sub-01_T1w.nii", *fields) == {"site": "bern", "InstitutionName": "Insel"}
    assert find(tmp_path, "sub-02/sub-02_T1w.nii", *fields) == {"site": None, "InstitutionName": "U"}
    assert find(tmp_path, "sub-03/anat/T1w.nii", *fields) == {"site": "zug", "InstitutionName": None}
    assert find(tmp_path, "sub-04/sub-04_T1w.nii", *fields) == dict.fromkeys(fields)


def test_participant_with_two_sites_is_refused_by_its_rows(tmp_path):
    lay(tmp_path, **{"participants.tsv": "participant_id\tsite\nsub-meier\ta\nsub-x\ta\nsub-meier\tb\n"})
    with pytest.raises(DataError, match=r"several values of site \(rows 1, 3\)") as caught:
        find(tmp_path, "sub-x/sub-x_T1w.nii", "site")
    assert "meier" not in str(caught.value)
    lay(tmp_path, **{"participants.tsv": "id\tsite\nsub-meier\ta\n"})
    with pytest.raises(DataError, match="no column participant_id"):
        find(tmp_path, "sub-x/sub-x_T1w.nii", "site")


@pytest.mark.parametrize("image", ["scan.nii.gz", "scan.nii", "scan.dcm"])
def test_plain_file_beside_an_image_is_its_sidecar(tmp_path, image):
    lay(tmp_path, **{"scan.json": {"InstitutionName": "Bern"}, "scan2.json": {"InstitutionName": "Basel"}})
    assert find(tmp_path, image, "InstitutionName") == {"InstitutionName": "Bern"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (3.0, "3"),
        (1.4939999580383, "1.4939999580383"),
        (["a", 1, None], "a+1"),
        ("  A   B ", "A B"),
        ("n/a", None),
        (True, "True"),
        ([], None),
        (1e300, "1e+300"),
    ],
)
def test_values_become_text(tmp_path, value, text):
    lay(tmp_path, **{"scan.json": {"Field": value}})
    assert find(tmp_path, "scan.nii", "Field") == {"Field": text}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"InstitutionName": "Meier"', "no JSON, line 1"),
        ("[1]", "no JSON object"),
        ("", "no JSON, line 1"),
        ('{"InstitutionName": {"Meier": 1}}', "InstitutionName of a sidecar holds an object"),
        ('{"InstitutionName": [["Meier"]]}', "holds an object"),
        ("[" * 100_000, "nested too deeply|no JSON"),
    ],
)
def test_sidecar_that_is_none_is_refused_without_its_words(tmp_path, content, words):
    lay(tmp_path, **{"meier.json": content})
    with pytest.raises(DataError, match=words) as caught:
        find(tmp_path, "meier.nii.gz", "InstitutionName")
    assert "meier" not in (str(caught.value) + str(caught.value.__context__)).lower()


def test_sidecar_that_is_no_utf_8_is_refused(tmp_path):
    (tmp_path / "scan.json").write_bytes(b'{"InstitutionName": "H\xf4pital"}')
    with pytest.raises(DataError, match="not UTF-8"):
        find(tmp_path, "scan.nii", "InstitutionName")


def test_each_sidecar_is_read_once(tmp_path, monkeypatch):
    lay(tmp_path, **{"T1w.json": {"site": "bern"}, "dataset_description.json": {}})
    sidecars, reads = Sidecars(["site"]), []
    monkeypatch.setattr("fairpool.data.sidecars._read_json", lambda file: reads.append(file) or {"site": "bern"})
    for number in range(20):
        assert sidecars.find(tmp_path / f"sub-{number:02d}" / f"sub-{number:02d}_T1w.nii.gz") == {"site": "bern"}
    assert len(reads) == 1


def test_image_outside_the_root_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not lie below root_dir"):
        find(tmp_path, "../x.nii", "site", root_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "entities", "suffix"),
    [
        ("sub-01_T1w.nii.gz", {"sub-01"}, "T1w"),
        ("T1w.json", set(), "T1w"),
        ("sub-01.nii", {"sub-01"}, ""),
        ("sub-01_ses-1_run-2_bold.json", {"sub-01", "ses-1", "run-2"}, "bold"),
        ("1.2.840.113.nii", set(), "1.2.840.113"),
    ],
)
def test_names_are_taken_apart(name, entities, suffix):
    assert split_name(name) == (frozenset(entities), suffix)


def test_half_of_a_character_is_refused(tmp_path):
    lay(tmp_path, **{"dataset_description.json": {}, "scan.json": '{"site": "Z\\ud800rich"}'})
    with pytest.raises(DataError, match="site of a sidecar holds half of a character"):
        find(tmp_path, "scan.nii.gz", "site")
