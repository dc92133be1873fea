import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from fairpool.data.imsitu import read_imsitu
from fairpool.data.imsitu_pool import TABLE_1_PAIRS, pool_imsitu
from fairpool.data.photograph_check import prepare_photographs
from fairpool.data.synthetic_imsitu import synthesize_imsitu
from fairpool.errors import DataError


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return synthesize_imsitu(tmp_path_factory.mktemp("imsitu") / "tree", images_per_verb=30, confounding=0.5, seed=3)


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "copy")


@pytest.mark.parametrize(("positive", "negative"), TABLE_1_PAIRS)
def test_a_pool_holds_two_verbs_and_two_genders_in_the_published_split(tree, positive, negative):
    pool = pool_imsitu(tree, positive, negative)
    expected = Counter()
    for section, file in (("training", "train"), ("validation", "dev"), ("test", "test")):
        for entry in json.loads((tree / f"{file}.json").read_text()).values():
            agents = {frame.get("agent") for frame in entry["frames"]}
            male, female = agents & {"n10287213", "n10285313"}, agents & {"n10787470", "n10129825"}
            if entry["verb"] in (positive, negative) and bool(male) != bool(female):
                expected[section, int(entry["verb"] == positive), "male" if male else "female"] += 1
    found = Counter(zip(pool.records["section"], pool.records["label"], pool.records["site"], strict=True))
    assert found == expected
    assert pool.vocabulary.names == ("female", "male")
    assert pool.label_names == (negative, positive)


def test_the_notes_say_what_is_left_out_and_how_few_test(tree):
    pool = pool_imsitu(tree, "cooking", "driving")
    records = read_imsitu(tree)
    records = records[records["verb"].isin(["cooking", "driving"])]
    mixed, none = ((records["gender"] == gender).sum() for gender in ("mixed", "none"))
    notes = " | ".join(pool.notes())
    assert (
        f"{mixed + none} of {len(records)} images are left out: {mixed} with agents of both genders, {none} with"
        in notes
    )
    test = pool.records[pool.records["section"] == "test"]
    fewest = test[test["label"] == 1]["site"].value_counts().min()
    assert f"test: {len(test)} images (cooking female" in notes
    assert f"by {100 / fewest:.1f} points on this test set" in notes


def test_verbs_that_are_unknown_or_have_no_agent_are_refused(tree):
    with pytest.raises(ValueError, match=r'no verb "cokking" \(did you mean "cooking"\?\): 10 verbs are annotated'):
        pool_imsitu(tree, "cokking", "driving")
    with pytest.raises(ValueError, match='positive_verb and negative_verb are both "driving"'):
        pool_imsitu(tree, "driving", "driving")
    with pytest.raises(DataError, match=r'none of the 47 images of "teaching" has an agent of one gender'):
        pool_imsitu(tree, "cooking", "teaching")


def test_every_image_is_read_before_training_and_bad_ones_are_named_together(copy):
    pool = pool_imsitu(copy)
    done = []
    assert prepare_photographs(pool, 32, progress=lambda *numbers: done.append(numbers)) == []
    assert done[-1] == (len(pool.records), len(pool.records))
    assert len(set(pool.digests)) == len(pool.records)
    bad = pool.records.iloc[[0, 3]]
    for image in bad["image"]:
        (copy / image).write_bytes(b"<html>")
    with pytest.raises(DataError, match=rf"^2 of {len(pool.records)} images cannot be used") as caught:
        prepare_photographs(pool, 32, remedy="Use exclude_rows.")
    for row, site in zip(bad["row"], bad["site"], strict=True):
        assert f"row {row} ({site}): not an image" in str(caught.value)
    assert str(caught.value).endswith("Use exclude_rows.")
    assert "_1.jpg" not in str(caught.value)
    mended = pool_imsitu(copy, exclude_rows=bad["row"].tolist())
    prepare_photographs(mended, 32)
    assert "exclude_rows leaves out 2 rows" in mended.notes()


def test_equal_images_in_two_sections_are_refused_until_one_is_left_out(copy):
    records = pool_imsitu(copy).records
    first = records[(records["section"] == "training") & (records["label"] == 1)].iloc[0]
    second = records[(records["section"] == "test") & (records["label"] == 1)].iloc[0]
    shutil.copyfile(first["image"], second["image"])
    with pytest.raises(
        DataError, match=rf"1 image occurs in two sections .*{first['row']}, {second['row']}.*exclude_rows"
    ):
        prepare_photographs(pool_imsitu(copy), 32, remedy="exclude_rows=[...]")
    prepare_photographs(pool_imsitu(copy, exclude_rows=[int(first["row"])]), 32)


def test_conversions_are_counted_by_group(copy):
    pool = pool_imsitu(copy)
    chosen = pool.records[pool.records["site"] == "male"].iloc[0]
    with Image.open(chosen["image"]) as image:
        grey = image.convert("L")
    grey.save(chosen["image"])
    assert prepare_photographs(pool, 32) == ['1 images of "male": grey']


def test_excluded_rows_must_exist(tree):
    with pytest.raises(ValueError, match="exclude_rows names row 0; there are rows 1 to 470"):
        pool_imsitu(tree, exclude_rows=[0])
    with pytest.raises(ValueError, match=r"exclude_rows must be a list of row numbers, such as .*; got 5\.$"):
        pool_imsitu(tree, exclude_rows=5)


def test_only_rows_of_the_two_verbs_count_as_left_out(tree):
    records = read_imsitu(tree)
    other, own = (records[records["verb"] == verb]["row"].iloc[0] for verb in ("shaving", "cooking"))
    assert "exclude_rows leaves out 1 rows" in pool_imsitu(tree, exclude_rows=[int(other), int(own)]).notes()


@pytest.mark.parametrize("verb", ["cooking", "driving"])
@pytest.mark.parametrize("file", ["train", "dev", "test"])
def test_a_section_without_images_of_a_verb_is_refused(copy, file, verb):
    annotations = copy / f"{file}.json"
    entries = json.loads(annotations.read_text())
    kept = {name: entry for name, entry in entries.items() if entry["verb"] != verb}
    annotations.write_text(json.dumps(kept))
    section = {"train": "training", "dev": "validation"}.get(file, file)
    with pytest.raises(DataError, match=rf'^the {section} section has no image of "{verb}" .* \(0 of 0\): choose'):
        pool_imsitu(copy)
    pool_imsitu(copy, "shaving", "washing")


def test_a_section_whose_images_of_a_verb_are_left_out_is_refused_with_their_number(tree):
    records = read_imsitu(tree)
    rows = records[(records["verb"] == "driving") & (records["section"] == "test")]["row"].tolist()
    with pytest.raises(DataError, match=rf'the test section has no image of "driving" .* \(0 of {len(rows)}\)'):
        pool_imsitu(tree, exclude_rows=rows)


def test_a_photograph_that_is_a_link_out_of_the_data_folder_is_refused_by_row_and_can_be_left_out(copy, tmp_path):
    chosen = pool_imsitu(copy).records.iloc[2]
    secret = tmp_path / "mueller.jpg"
    Path(chosen["image"]).rename(secret)
    Path(chosen["image"]).symlink_to(secret)
    message = rf"^1 of \d+ images cannot be used: row {chosen['row']}: path leaves the data folder through a link\. "
    with pytest.raises(DataError, match=message) as caught:
        pool_imsitu(copy)
    assert str(caught.value).endswith(f"leave them out: exclude_rows=[{chosen['row']}].")
    assert "mueller" not in str(caught.value)
    assert chosen["row"] not in pool_imsitu(copy, exclude_rows=[int(chosen["row"])]).records["row"].tolist()


def test_the_digests_stand_in_the_order_of_the_images_whatever_the_parts(tree, monkeypatch):
    pool = pool_imsitu(tree)
    prepare_photographs(pool, 16)
    whole = pool.digests
    monkeypatch.setattr("fairpool.data.photograph_check._PART", 7)
    done = []
    prepare_photographs(pool, 16, progress=lambda *numbers: done.append(numbers))
    assert pool.digests == whole
    assert done == [(number, len(whole)) for number in range(1, len(whole) + 1)]
