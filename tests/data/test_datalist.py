"""JSON lists of images: MONAI's own reader agrees, and what is no list is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairpool.data.datalist import parse_datalist
from fairpool.errors import DataError

DATALIST = {
    "name": "hospitals",
    "numTraining": 2,
    "labels": {"0": "normal"},
    "training": [{"image": "a.png", "label": 1, "site": "bern"}, {"image": "b.png", "label": 0, "site": "Genève"}],
    "validation": [{"image": "c.png", "label": 0, "site": "bern"}],
    "test": ["d.png"],
}


def parse(content):
    return parse_datalist(json.dumps(content, ensure_ascii=False), "list.json")


def refuse(text):
    with pytest.raises(DataError) as caught:
        parse_datalist(text if isinstance(text, str) else json.dumps(text), "list.json")
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_sections_become_a_split_column():
    assert parse(DATALIST).to_dict("list") == {
        "image": ["a.png", "b.png", "c.png", "d.png"],
        "label": ["1", "0", "0", ""],
        "site": ["bern", "Genève", "bern", ""],
        "split": ["training", "training", "validation", "test"],
    }


def test_a_list_called_training_alone_says_nothing_of_a_split():
    """So is a table without a split written; an image may say so itself."""
    assert list(parse({"training": [{"image": "a.png"}]})) == ["image"]
    with_split = parse({"training": [{"image": "a.png", "split": "training"}]})
    assert with_split.to_dict("list") == {"image": ["a.png"], "split": ["training"]}


def test_whole_numbers_that_pandas_made_floats_are_read_as_such():
    rows = [{"image": "a", "patient": 7.0, "age": 0.5, "mixed": 1.0}, {"image": "b", "age": 1.0, "mixed": "x"}]
    rows.append({"image": "c", "patient": 8, "age": None, "big": 1e300})
    assert parse(rows).to_dict("list") == {
        "image": ["a", "b", "c"],
        "patient": ["7", "", "8"],
        "age": ["0.5", "1.0", ""],
        "mixed": ["1.0", "x", ""],
        "big": ["", "", "1e+300"],
    }


def test_the_object_says_what_the_column_of_the_images_was_called():
    images = {"training": [{"image": "a.png"}]}
    assert list(parse({"image_column": "path"} | images)) == ["path"]
    assert list(parse({"image_column": "site"} | images)) == ["image"]
    with_both = {"image_column": "path", "training": [{"image": "a.png", "path": "b.png"}]}
    assert list(parse(with_both)) == ["image", "path"]


def test_monai_finds_the_same_images_in_each_section(tmp_path):
    from monai.data import load_decathlon_datalist

    content = {**DATALIST, "test": [{"image": "d.png", "label": 1}]}
    (tmp_path / "list.json").write_text(json.dumps(content))
    table = parse(content)
    for section in ("training", "validation", "test"):
        found = load_decathlon_datalist(tmp_path / "list.json", True, section, base_dir=tmp_path)
        expected = [str(tmp_path / image) for image in table["image"][table["split"] == section]]
        assert [item["image"] for item in found] == expected


def test_a_plain_list_of_objects_has_no_split_and_missing_values_are_empty():
    table = parse([{"image": "a.png", "age": 41.5}, {"image": "b.png", "site": None, "is_ill": True}])
    assert table.to_dict("list") == {
        "image": ["a.png", "b.png"],
        "age": ["41.5", ""],
        "site": ["", ""],
        "is_ill": ["", "True"],
    }
    assert parse_datalist('[{"image": "a.png", "age": NaN}]', "list.json")["age"].tolist() == [""]


def test_an_image_may_repeat_the_name_of_its_section_and_no_other():
    assert parse({"test": [{"image": "a.png", "split": "test"}]})["split"].tolist() == ["test"]
    assert "1 images name another split than their list (row 1)" in refuse(
        {"test": [{"image": "a", "split": "training"}]}
    )


@pytest.mark.parametrize(
    ("content", "gist"),
    [
        (
            {"train": [{"image": "a.png"}]},
            "has a list of images 'train'; its lists are named training, validation, test",
        ),
        ({"name": "x"}, "holds no list of images"),
        ({"training": {"image": "a.png"}}, "holds no list of images"),
        ("3", "holds no list of images"),
        ([["a.png", 1]], "1 images hold no object (row 1)"),
        ([{"image": ["a.nii", "b.nii"]}], '1 images hold a list or an object in "image", where one value'),
        ('{"training": [], "training": []}', "names the key 'training' twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"training": [', 'line 1: "list.json" is not well-formed JSON'),
    ],
)
def test_what_is_no_list_of_images_is_refused(content, gist):
    assert gist in refuse(content)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["training", "test", "image", "split", "x"]), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_any_json_is_a_table_of_text_or_a_refusal(content):
    try:
        table = parse(content)
    except DataError:
        return
    assert all(isinstance(cell, str) for cell in table.to_numpy().ravel())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"label": ' + "9" * 5000 + "}]", "more digits than any has"),
        ('[{"site": "\\ud800"}]', "half of a character"),
        ('[{"\\uDFFFsite": "a"}]', "half of a character"),
    ],
)
def test_what_python_cannot_read_or_write_is_refused_in_a_sentence(text, words):
    with pytest.raises(DataError, match=words):
        parse_datalist(text, "list.json")


def test_characters_in_two_halves_are_whole():
    assert parse_datalist('[{"site": "\\ud83c\\udfe5"}]', "list.json")["site"].tolist() == ["\U0001f3e5"]
