"""The synthetic tree has the published formats, the stated confounding, and a label that can be seen."""

import numpy as np
import pytest
from PIL import Image

from fairpool.data.celeba import CELEBA_ATTRIBUTES
from fairpool.data.synthetic_celeba import plan_celeba, synthesize_celeba
from fairpool.data.synthetic_faces import draw_face
from fairpool.errors import DataError


def test_the_files_are_of_the_published_formats(tmp_path):
    root = synthesize_celeba(tmp_path / "tree", num_images=33)
    lines = (root / "list_attr_celeba.txt").read_text().split("\n")
    assert lines[0] == "33"
    assert lines[1] == " ".join(CELEBA_ATTRIBUTES) + " "
    assert lines[2].startswith("000001.jpg ")
    assert {value for line in lines[2:-1] for value in line.split()[1:]} == {"-1", "1"}
    assert all(len(line.split()) == 41 for line in lines[2:-1])
    assert (root / "list_eval_partition.txt").read_text().splitlines()[0] == "000001.jpg 0"
    for name in ("000001.jpg", "000033.jpg"):
        with Image.open(root / "img_align_celeba" / name) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (178, 218))


def test_the_confounding_is_the_stated_one():
    plan = plan_celeba(30_000, seed=3, confounding=0.4)
    by_gender = plan.groupby("Male")["Attractive"].mean()
    assert by_gender[0] == pytest.approx(0.7, abs=0.015)
    assert by_gender[1] == pytest.approx(0.3, abs=0.015)
    balanced = plan_celeba(30_000, seed=3, confounding=0).groupby("Male")["Attractive"].mean()
    assert abs(balanced[0] - balanced[1]) < 0.03


def test_the_visible_mark_of_the_label_is_the_same_for_both_genders():
    plan = plan_celeba(30_000, seed=1)
    means = plan.groupby(["Attractive", "Male"])["blemishes"].mean()
    assert means[1, 0] == pytest.approx(0.85 * 1 + 0.15 * 8, abs=0.15)
    assert means[1, 1] == pytest.approx(means[1, 0], abs=0.2)
    assert means[0, 1] == pytest.approx(means[0, 0], abs=0.2)
    assert means[0, 0] > 3 * means[1, 0]


def test_no_person_is_in_two_sections_and_the_fractions_hold():
    plan = plan_celeba(3000, fractions=(0.6, 0.1, 0.3))
    assert (plan.groupby("identity")["section"].nunique() == 1).all()
    assert plan["section"].value_counts(normalize=True).sort_index().tolist() == pytest.approx(
        [0.6, 0.1, 0.3], abs=0.01
    )


def test_attributes_that_exclude_each_other_never_meet():
    plan = plan_celeba(5000)
    assert (plan[["Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Bald"]].sum(axis=1) <= 1).all()
    assert not (plan["Goatee"] & plan["No_Beard"]).any()
    assert not (plan["Mustache"] & (1 - plan["Male"])).any()


@pytest.mark.parametrize(
    "name", [name for name in CELEBA_ATTRIBUTES if name not in ("Attractive", "No_Beard", "Straight_Hair")]
)
def test_each_drawn_attribute_changes_the_picture(name):
    # Male with short or long hair alike, so that only what is asked for differs.
    base = {"Male": 0, "Young": 1, "Brown_Hair": 0}
    changed = {**base, name: 1 - base.get(name, 0)}
    first, second = (np.asarray(draw_face(traits, blemishes=0, seed=5), dtype=int) for traits in (base, changed))
    assert (np.abs(first - second).max(axis=2) > 12).sum() > 15


def test_the_same_settings_draw_the_same_bytes_and_continue(tmp_path):
    first = synthesize_celeba(tmp_path / "a", num_images=30, seed=2)
    second = synthesize_celeba(tmp_path / "b", num_images=30, seed=2)
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    contents = {file: (first / file).read_bytes() for file in files}
    assert contents == {file: (second / file).read_bytes() for file in files}
    (first / "img_align_celeba" / "000004.jpg").unlink()
    (first / "list_attr_celeba.txt").unlink()
    (first / "synthetic.json").rename(first / "synthetic.json.partial")  # as an interruption leaves it
    kept = (first / "img_align_celeba" / "000005.jpg").stat().st_mtime_ns
    synthesize_celeba(first, num_images=30, seed=2)
    assert {file: (first / file).read_bytes() for file in files} == contents
    assert (first / "img_align_celeba" / "000005.jpg").stat().st_mtime_ns == kept


def test_nothing_is_written_over_something_else(tmp_path):
    synthesize_celeba(tmp_path / "tree", num_images=30)
    with pytest.raises(DataError, match="made otherwise"):
        synthesize_celeba(tmp_path / "tree", num_images=31)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty and holds no synthetic tree"):
        synthesize_celeba(tmp_path / "own", num_images=30)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_images": 3}, "at least 30, got 3"),
        ({"num_images": 60, "confounding": 1.5}, "confounding must lie in"),
        ({"num_images": 60, "fractions": (0.5, 0.5, 0.5)}, "add up to 1"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        plan_celeba(**options)


def test_progress_ends_at_the_total(tmp_path):
    calls = []
    synthesize_celeba(tmp_path / "tree", num_images=60, progress=lambda *call: calls.append(call))
    assert calls == [(50, 60), (60, 60)]
