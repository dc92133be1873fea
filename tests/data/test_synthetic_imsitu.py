import hashlib
import json

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from fairpool.data.imsitu import read_imsitu
from fairpool.data.synthetic_imsitu import synthesize_imsitu
from fairpool.errors import DataError

COUNTS = {"training": 60, "validation": 10, "test": 40}
MEN = ("driving", "shaving", "saluting", "assembling")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic") / "tree"
    return synthesize_imsitu(root, images_per_verb=COUNTS, confounding=0.6, test_confounding=0.0, seed=5)


def digests(root):
    files = sorted(file for file in root.rglob("*") if file.is_file())
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_files_are_of_the_published_formats(tree):
    space = json.loads((tree / "imsitu_space.json").read_text())
    names = set()
    for file, section in (("train", "training"), ("dev", "validation"), ("test", "test")):
        entries = json.loads((tree / f"{file}.json").read_text())
        assert len(entries) == 10 * COUNTS[section]
        for name, entry in entries.items():
            assert set(entry) == {"frames", "verb"}
            assert name.rsplit("_", 1)[0] == entry["verb"]
            about = space["verbs"][entry["verb"]]
            assert set(about) == {"framenet", "abstract", "def", "order", "roles"}
            assert len(entry["frames"]) == 3
            for frame in entry["frames"]:
                assert set(frame) == set(about["order"]) == set(about["roles"])
                assert all(noun == "" or noun in space["nouns"] for noun in frame.values())
        names |= set(entries)
    assert all(set(about) == {"gloss", "def"} for about in space["nouns"].values())
    images = {file.name for file in (tree / "of500_images_resized").iterdir()}
    assert images == names
    with Image.open(tree / "of500_images_resized" / "cooking_1.jpg") as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (256, 256), "RGB")


def test_gender_and_verb_are_confounded_as_stated(tree):
    records = read_imsitu(tree)
    table = records.groupby(["section", "verb", "gender"]).size().unstack(fill_value=0)
    for (section, verb), row in table.iterrows():
        if verb in ("teaching", "raining"):
            assert row["none"] == COUNTS[section]
            continue
        single = row["male"] + row["female"]
        share = {"test": 0.5}.get(section, 0.8 if verb in MEN else 0.2)
        assert abs(row["male"] - share * single) <= 1
    assert table["mixed"].sum() > 0


def test_the_gender_can_be_seen(tree):
    """A linear classifier of edges, whatever the colours, tells women from men in pictures that it has not seen."""
    records = read_imsitu(tree)
    chosen = records[records["gender"].isin(["male", "female"]) & (records["section"] == "test")]
    images = [tree / "of500_images_resized" / name for name in chosen["name"]]
    pixels = np.array([np.asarray(Image.open(file).convert("L").resize((24, 24)), float).ravel() for file in images])
    gradients = np.abs(np.diff(pixels.reshape(-1, 24, 24), axis=2)).reshape(len(images), -1)
    scores = cross_val_score(
        LogisticRegression(C=1e-4, max_iter=500), gradients, chosen["gender"], cv=3, scoring="roc_auc"
    )
    assert scores.mean() > 0.7


def test_the_same_settings_make_the_same_bytes_and_leave_a_whole_tree_alone(tree, tmp_path):
    other = synthesize_imsitu(tmp_path / "a", images_per_verb=3, seed=1)
    again = synthesize_imsitu(tmp_path / "b", images_per_verb=3, seed=1)
    assert digests(other) == digests(again)
    drawn = []
    synthesize_imsitu(other, images_per_verb=3, seed=1, progress=lambda *numbers: drawn.append(numbers))
    assert drawn == []


def test_an_interrupted_tree_is_finished(tmp_path):
    whole = digests(synthesize_imsitu(tmp_path / "whole", images_per_verb=3))

    def stop(done, _):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize_imsitu(tmp_path / "part", images_per_verb=3, progress=stop)
    assert not (tmp_path / "part" / "synthetic.json").exists()
    assert digests(synthesize_imsitu(tmp_path / "part", images_per_verb=3)) == whole


def test_nothing_that_is_there_is_overwritten(tree, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match="is not empty and holds no synthetic tree"):
        synthesize_imsitu(tmp_path, images_per_verb=3)
    with pytest.raises(DataError, match="made otherwise"):
        synthesize_imsitu(tree, images_per_verb=COUNTS, confounding=0.5, test_confounding=0.0, seed=5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"images_per_verb": 0},
        {"images_per_verb": {"training": 3}},
        {"confounding": 1.5},
        {"visible": -0.1},
        {"images_per_verb": True},
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"images_per_verb must|must lie in|is a share"):
        synthesize_imsitu(tmp_path / "tree", **wrong)
    assert not (tmp_path / "tree").exists()
