import json

import pandas as pd
import pytest

from fairpool.data.imsitu import locate_images, read_imsitu
from fairpool.errors import DataError

MAN, BOY, WOMAN, GIRL, PERSON = "n10287213", "n10285313", "n10787470", "n10129825", "n00007846"


def entry(verb, *agents, role="agent"):
    return {"verb": verb, "frames": [{role: agent, "place": ""} for agent in agents]}


@pytest.fixture
def tree(tmp_path):
    """Writes the three files of the publisher; sections not given have one entry each."""

    def write(training=None, validation=None, test=None, nouns=None):
        given = {"train": training, "dev": validation, "test": test}
        for number, (name, entries) in enumerate(given.items()):
            entries = {f"waving_{number}.jpg": entry("waving", MAN)} if entries is None else entries
            text = entries if isinstance(entries, str) else json.dumps(entries)
            (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")
        if nouns is not None:
            (tmp_path / "imsitu_space.json").write_text(json.dumps({"nouns": nouns, "verbs": {}}), encoding="utf-8")
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("agents", "gender"),
    [
        ((MAN, MAN, MAN), "male"),
        ((BOY, PERSON, ""), "male"),
        ((WOMAN, WOMAN, WOMAN), "female"),
        (("", "", GIRL), "female"),
        ((MAN, WOMAN, MAN), "mixed"),
        ((BOY, GIRL, PERSON), "mixed"),
        ((PERSON, PERSON, PERSON), "none"),
        (("", "", ""), "none"),
    ],
)
def test_an_image_has_a_gender_if_its_agents_have_one_and_no_frame_the_other(tree, agents, gender):
    records = read_imsitu(tree({"cooking_1.jpg": entry("cooking", *agents)}))
    assert records["gender"].tolist()[0] == gender


def test_who_is_in_another_role_gives_no_gender(tree):
    records = read_imsitu(tree({"teaching_1.jpg": entry("teaching", WOMAN, WOMAN, WOMAN, role="teacher")}))
    assert records["gender"].tolist()[0] == "none"


def test_the_rule_of_the_glosses_is_the_word_man_or_woman(tree):
    nouns = {
        MAN: {"gloss": ["man", "adult male"]},
        BOY: {"gloss": ["male child", "boy"]},
        WOMAN: {"gloss": ["woman", "adult female"]},
        GIRL: {"gloss": ["girl", "young lady", "young woman"]},
        "n09882007": {"gloss": ["businessman", "man of affairs"]},
        "n10099375": {"gloss": ["fireman, firefighter"]},
    }
    agents = {"man": MAN, "boy": BOY, "woman": WOMAN, "girl": GIRL, "manager": "n09882007", "fireman": "n10099375"}
    root = tree({f"{name}_1.jpg": entry("cooking", agent) for name, agent in agents.items()}, nouns=nouns)
    records = read_imsitu(root, gender_rule="gloss_words").set_index("name")["gender"]
    found = {name: records[f"{name}_1.jpg"] for name in agents}
    assert found == {
        "man": "male",
        "boy": "none",
        "woman": "female",
        "girl": "female",
        "manager": "male",
        "fireman": "none",
    }


def test_rows_count_through_the_three_files_and_sections_are_the_publishers(tree):
    cooks = {f"cooking_{number}.jpg": entry("cooking", MAN) for number in range(3)}
    records = read_imsitu(tree(cooks, {"waving_7.jpg": entry("waving", MAN)}, {"waving_8.jpg": entry("waving", WOMAN)}))
    assert records["row"].tolist() == list(records.index) == [1, 2, 3, 4, 5]
    assert records["section"].tolist() == ["training"] * 3 + ["validation", "test"]


@pytest.mark.parametrize(
    ("training", "sentence"),
    [
        ("{", r"train\.json is no JSON \(line 1"),
        ("[]", r"train\.json must hold one object"),
        ("{}", r"train\.json must hold one object"),
        ("[" * 100_000, r"train\.json is no JSON"),
        ('{"a_1.jpg": 1, "a_1.jpg": 2}', r"train\.json: 1 keys occur twice"),
        ({"a_1.jpg": entry("a", MAN), "b_1.jpg": {"verb": "b"}}, r"train\.json, entry 2 has no frames"),
        ({"b_1.jpg": {"verb": "b", "frames": []}}, r"train\.json, entry 1 has no frames"),
        ({"b_1.jpg": {"frames": [{}]}}, r'entry 1: "verb" must be a word'),
        ({"b_1.jpg": {"verb": "../b", "frames": [{}]}}, r'entry 1: "verb" must be a word'),
        ({"b_1.jpg": "cooking"}, r'entry 1: "verb" must be a word'),
        ({"b_1.jpg": {"verb": "b", "frames": [{}, {"agent": 5}]}}, r"entry 1, frame 2: a frame gives a noun id"),
        ({"../b_1.jpg": entry("b", MAN)}, r"entry 1: the image's name must be a plain file name"),
        ({"/secret/b_1.jpg": entry("b", MAN)}, r"entry 1: the image's name must be a plain file name"),
    ],
)
def test_malformed_annotations_are_refused_by_file_and_entry(tree, training, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        read_imsitu(tree(training))
    assert "secret" not in str(caught.value)
    assert str(tree()) not in str(caught.value)


def test_other_text_than_utf8_is_refused(tree):
    root = tree()
    (root / "dev.json").write_bytes(b'{"caf\xe9_1.jpg": {}}')
    with pytest.raises(DataError, match=r"dev\.json is no JSON of plain entries in UTF-8"):
        read_imsitu(root)


def test_an_image_of_two_sections_is_refused(tree):
    same = {"rowing_1.jpg": entry("rowing", MAN)}
    with pytest.raises(DataError, match=r"1 images are in two of train\.json, dev\.json, test\.json \(entries 1, 3,"):
        read_imsitu(tree(same, None, same))


def test_missing_files_are_named(tree):
    root = tree()
    (root / "dev.json").unlink()
    with pytest.raises(DataError, match=r"has no dev\.json: expected train\.json, dev\.json and test\.json"):
        read_imsitu(root)
    with pytest.raises(DataError, match=r"has no imsitu_space\.json, whose glosses"):
        read_imsitu(tree(), gender_rule="gloss_words")
    with pytest.raises(ValueError, match="gender_rule must be one of nouns, gloss_words; got 'names'"):
        read_imsitu(root, gender_rule="names")


RECORDS = pd.DataFrame(
    {"name": ["a_1.jpg", "b_2.jpg"], "verb": ["a", "b"], "row": [4, 9], "section": ["training", "test"]}, index=[4, 9]
)


@pytest.mark.parametrize("folder", ["of500_images_resized", "resized_256", "of500_images", "."])
@pytest.mark.parametrize("nested", [False, True])
def test_images_are_found_flat_and_in_a_folder_for_each_verb(tmp_path, folder, nested):
    (tmp_path / "of500_images_resized").mkdir()  # an empty one, before the archive of another size is unpacked
    for name, verb in zip(RECORDS["name"], RECORDS["verb"], strict=True):
        place = tmp_path / folder / (verb if nested else "")
        place.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    found = locate_images(tmp_path, RECORDS)
    assert found.index.tolist() == [4, 9]
    for path, name in zip(found, RECORDS["name"], strict=True):
        assert path.endswith(name)
        assert (tmp_path / path).is_file()


@pytest.mark.parametrize("link", ["of500_images_resized", "of500_images_resized/a"])
def test_a_folder_that_is_a_link_is_followed_only_inside_the_data_folder(tmp_path, link):
    root, elsewhere, inside = tmp_path / "root", tmp_path / "mueller", tmp_path / "root" / "more"
    (root / link).parent.mkdir(parents=True)
    for folder in (elsewhere, inside):
        folder.mkdir()
        (folder / "a_1.jpg").touch()
    records = RECORDS.iloc[:1]
    (root / link).symlink_to(inside)
    assert locate_images(root, records).tolist() == [str(root / link / "a_1.jpg")]
    (root / link).unlink()
    (root / link).symlink_to(elsewhere)
    with pytest.raises(DataError, match=r"^1 of 1 images cannot be used: row 4: path leaves the data folder") as caught:
        locate_images(root, records)
    assert "mueller" not in str(caught.value)


def test_missing_images_are_named_by_row_and_section_and_not_by_name(tmp_path):
    (tmp_path / "a_1.jpg").touch()
    with pytest.raises(
        DataError, match=r"1 of 2 images are not in of500_images_resized or .*: rows 9 \(test\)"
    ) as caught:
        locate_images(tmp_path, RECORDS)
    assert "b_2" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
