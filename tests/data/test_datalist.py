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
