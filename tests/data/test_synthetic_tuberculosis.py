import csv
import hashlib
import json
import re
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from fairpool.data import synthetic_tuberculosis
from fairpool.data.synthetic_radiographs import expose_scene, render_scene
from fairpool.data.synthetic_tuberculosis import SITES, plan_tuberculosis, synthesize_tuberculosis
from fairpool.errors import DataError

SMALL = {"montgomery": 5, "shenzhen": 5}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree") / "synthetic"
    return synthesize_tuberculosis(root, images_per_site=SMALL, size=128, num_workers=1)


def _digests(root):
    paths = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_the_tree_is_the_publishers_layout_and_nothing_else(tree):
    names = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    # c = 0.8: round(5 * 0.1) = 1 (half up) of Montgomery's and round(5 * 0.9) = 5 (half up) of Shenzhen's are ill.
    montgomery = [f"MCUCXR_000{i}_{int(i == 5)}" for i in range(1, 6)]
    shenzhen = [f"CHNCXR_000{i}_1" for i in range(1, 6)]
    expected = {"synthetic.json"}
    for name in montgomery:
        expected |= {f"MontgomerySet/CXR_png/{name}.png", f"MontgomerySet/ClinicalReadings/{name}.txt"}
        expected |= {f"MontgomerySet/ManualMask/{side}Mask/{name}.png" for side in ("left", "right")}
    for name in shenzhen:
        expected |= {f"ChinaSet_AllFiles/CXR_png/{name}.png", f"ChinaSet_AllFiles/ClinicalReadings/{name}.txt"}
    assert names == expected


@pytest.mark.parametrize("confounding", [0, 0.8, -0.5, 1, -1])
def test_prevalence_by_site_is_the_asked_one_to_the_image(confounding):
    rows = plan_tuberculosis(images_per_site={"montgomery": 40, "shenzhen": 60}, confounding=confounding)
    ill = {site: sum(row.label for row in rows if row.site == site) for site in SITES}
    assert ill == {"montgomery": round(40 * (0.5 - confounding / 2)), "shenzhen": round(60 * (0.5 + confounding / 2))}
    assert all(row.name.endswith(f"_{row.label}") for row in rows)


def test_counts_default_to_the_published_ones_and_confounding_to_four_fifths():
    assert plan_tuberculosis() == plan_tuberculosis(
        images_per_site={"shenzhen": 662, "montgomery": 138}, confounding=0.8
    )


def test_a_site_left_out_has_no_images():
    assert {row.site for row in plan_tuberculosis(images_per_site={"shenzhen": 3})} == {"shenzhen"}


def test_first_number_gives_other_patients():
    first = plan_tuberculosis(images_per_site=SMALL, confounding=0)
    second = plan_tuberculosis(images_per_site=SMALL, confounding=0, first_number=3)
    assert {(row.site, row.number) for row in second} == {(site, n) for site in SITES for n in range(3, 8)}
    shared = {row.name: row for row in first}
    same = [row for row in second if row.name in shared]
    assert same
    assert all(shared[row.name] == row for row in same)


def test_bytes_do_not_depend_on_the_workers(tmp_path):
    settings = {"images_per_site": {"montgomery": 6, "shenzhen": 6}, "size": 64, "seed": 3}
    one = synthesize_tuberculosis(tmp_path / "one", num_workers=1, **settings)
    two = synthesize_tuberculosis(tmp_path / "two", num_workers=2, **settings)
    assert _digests(one) == _digests(two)


def test_an_image_depends_on_its_number_and_not_on_the_others(tmp_path):
    many = synthesize_tuberculosis(
        tmp_path / "many", images_per_site={"shenzhen": 4}, confounding=1, size=64, num_workers=1
    )
    one = synthesize_tuberculosis(
        tmp_path / "one", images_per_site={"shenzhen": 1}, confounding=1, size=64, first_number=3, num_workers=1
    )
    name = "ChinaSet_AllFiles/CXR_png/CHNCXR_0003_1.png"
    assert (many / name).read_bytes() == (one / name).read_bytes()


def test_another_seed_makes_other_images(tmp_path):
    digests = [
        _digests(synthesize_tuberculosis(tmp_path / str(seed), images_per_site={"shenzhen": 1}, size=64, seed=seed))
        for seed in (0, 1)
    ]
    assert not set(digests[0].values()) & set(digests[1].values())


def test_the_same_settings_recognise_the_finished_tree(tree, monkeypatch):
    def refuse(*_):
        raise AssertionError("drawn again")

    monkeypatch.setattr(synthetic_tuberculosis, "_write_patient", refuse)
    assert synthesize_tuberculosis(tree, images_per_site=SMALL, size=128, confounding=0.8) == tree


def test_an_interrupted_tree_is_continued_to_the_same_bytes(tmp_path, monkeypatch):
    settings = {"images_per_site": {"montgomery": 2, "shenzhen": 2}, "size": 64, "num_workers": 1}
    whole = synthesize_tuberculosis(tmp_path / "whole", **settings)
    draw, drawn = synthetic_tuberculosis._write_patient, []

    def stop_after_two(*arguments):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(arguments)
        draw(*arguments)

    monkeypatch.setattr(synthetic_tuberculosis, "_write_patient", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        synthesize_tuberculosis(tmp_path / "cut", **settings)
    assert not (tmp_path / "cut" / "synthetic.json").exists()
    monkeypatch.setattr(synthetic_tuberculosis, "_write_patient", draw)
    calls = []
    cut = synthesize_tuberculosis(
        tmp_path / "cut", progress=lambda done, total: calls.append((done, total)), **settings
    )
    assert _digests(cut) == _digests(whole)
    assert calls == [(4, 4)]


def test_the_manifest_says_synthetic_and_every_setting(tree):
    manifest = json.loads((tree / "synthetic.json").read_text())
    assert manifest["synthetic"] is True
    assert manifest["settings"] == {
        "images_per_site": SMALL,
        "confounding": 0.8,
        "seed": 0,
        "size": 128,
        "full_size": False,
        "first_number": 1,
        "published": False,
    }


def test_images_are_eight_bit_grey_or_equal_channels(tmp_path):
    root = synthesize_tuberculosis(
        tmp_path / "t", images_per_site={"shenzhen": 16, "montgomery": 2}, size=64, num_workers=1
    )
    modes = []
    for path in sorted(root.glob("*/CXR_png/*.png")):
        with Image.open(path) as image:
            modes.append(image.mode)
            assert image.size == (64, 64)
            if image.mode == "RGB":
                pixels = np.asarray(image)
                assert (pixels == pixels[..., :1]).all()
    assert modes[-2:] == ["L", "L"]  # Montgomery sorts last and is always grey
    assert set(modes) == {"L", "RGB"}


def test_readings_have_the_form_each_site_writes(tmp_path):
    root = synthesize_tuberculosis(
        tmp_path / "t", images_per_site={"montgomery": 4, "shenzhen": 40}, confounding=0, size=64, num_workers=1
    )
    plan = {
        row.name: row for row in plan_tuberculosis(images_per_site={"montgomery": 4, "shenzhen": 40}, confounding=0)
    }
    for path in root.glob("MontgomerySet/ClinicalReadings/*.txt"):
        row = plan[path.stem]
        assert path.read_text() == f"Patient's Sex: {row.sex} \nPatient's Age: {row.age:03d}Y\n{row.findings}"
    for path in root.glob("ChinaSet_AllFiles/ClinicalReadings/*.txt"):
        row = plan[path.stem]
        first, last = path.read_text().split("\n")
        sex, age, unit = re.fullmatch(r"(male|femal|female)[ ,]*(\d+)(yrs|month|)\s*", first).groups()
        assert sex[0].upper() == row.sex
        assert (int(age) // 12 if unit == "month" else int(age)) == row.age
        assert last == row.findings
        assert (last == "normal") == (row.label == 0)


@pytest.mark.parametrize(
    ("age", "sex", "form"), [(1, "M", r"male (1[2-9]|2[0-3])month"), (2, "F", r"female \d\dmonth")]
)
def test_infants_are_given_in_months(age, sex, form):
    patient = synthetic_tuberculosis.SyntheticPatient("shenzhen", 1, 0, sex, age, "normal", 1)
    assert re.fullmatch(form + "\nnormal", synthetic_tuberculosis._reading(patient, np.random.default_rng(0)))


def test_masks_lie_in_the_image_and_left_is_the_patients_left(tree):
    for path in tree.glob("MontgomerySet/CXR_png/*.png"):
        masks = {}
        for side in ("left", "right"):
            with Image.open(tree / "MontgomerySet" / "ManualMask" / f"{side}Mask" / path.name) as image:
                masks[side] = np.asarray(image)
            assert set(np.unique(masks[side])) == {0, 255}
            assert 0.05 < (masks[side] > 0).mean() < 0.3
            rim = np.concatenate([masks[side][0], masks[side][-1], masks[side][:, 0], masks[side][:, -1]])
            assert not rim.any()
        assert not ((masks["left"] > 0) & (masks["right"] > 0)).any()
        assert np.nonzero(masks["left"])[1].mean() > 64 > np.nonzero(masks["right"])[1].mean()


@pytest.mark.parametrize("seed", range(8))
def test_lesions_lie_in_the_lungs_and_normals_have_none(seed):
    ill = render_scene(np.random.default_rng(seed), 1, shape=(128, 128))
    lungs = ill.left_lung | ill.right_lung
    assert ill.lesion_centres
    assert all(lungs[row, column] for row, column in ill.lesion_centres)
    assert ill.lesions[lungs].sum() > 0.9 * ill.lesions.sum() > 0
    well = render_scene(np.random.default_rng(seed), 0, shape=(128, 128))
    assert not well.lesion_centres
    assert not well.lesions.any()
    # Disease is all that the label changes.
    np.testing.assert_array_equal(well.left_lung, ill.left_lung)
    untouched = ill.lesions == 0
    np.testing.assert_allclose(well.density[untouched], ill.density[untouched], atol=1e-6)


@pytest.mark.parametrize(
    ("findings", "left", "upper"),
    [("PTB in the left upper field", True, True), ("PTB in the right lower field", False, False)],
)
def test_lesions_lie_where_the_reading_says(findings, left, upper):
    for seed in range(4):
        scene = render_scene(np.random.default_rng(seed), 1, shape=(128, 128), findings=findings)
        lung = scene.left_lung if left else scene.right_lung
        rows = np.nonzero(lung)[0]
        middle = (rows.min() + rows.max()) / 2
        assert all(lung[row, column] for row, column in scene.lesion_centres)
        assert all((row < middle) == upper for row, _ in scene.lesion_centres)


def test_a_lesion_is_equally_bright_at_every_site():
    ratios = []
    for seed in range(12):
        pair = [render_scene(np.random.default_rng(seed), label, shape=(128, 128)) for label in (0, 1)]
        region = pair[1].lesions > 0.04
        gain = {}
        for site in SITES:
            # Same generator, so that exposure, border and noise cancel in the difference.
            well, ill = (expose_scene(scene, site, np.random.default_rng(99)).astype(float) for scene in pair)
            gain[site] = (ill - well)[region].mean()
        ratios.append(gain["montgomery"] / gain["shenzhen"])
    # Montgomery's blur and Shenzhen's lower shoulder take a little each; neither site may win by more than a fifth.
    assert 0.8 < np.median(ratios) < 1.25


def test_the_frame_gives_the_site_away(tmp_path):
    root = synthesize_tuberculosis(tmp_path / "t", images_per_site=SMALL, confounding=0, size=128, num_workers=1)
    rim = {}
    for folder in ("MontgomerySet", "ChinaSet_AllFiles"):
        rim[folder] = []
        for path in (root / folder / "CXR_png").iterdir():
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("L"), float)
            rim[folder].append(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).mean())
    assert max(rim["MontgomerySet"]) < 5 < 30 < min(rim["ChinaSet_AllFiles"])


def test_published_is_exactly_the_published_names():
    plan = plan_tuberculosis(published=True)
    for site, count in SITES.items():
        table = files("fairpool.data").joinpath("facts", f"{site}.csv").read_text(encoding="utf-8")
        facts = list(csv.DictReader(table.splitlines()))
        rows = [row for row in plan if row.site == site]
        assert [row.name for row in rows] == [fact["name"] for fact in facts]
        assert len(rows) == count
        for row, fact in zip(rows, facts, strict=True):
            assert str(row.label) == fact["label"] == row.name[-1]
            for column in ("sex", "age", "findings"):
                assert fact[column] in ("", str(getattr(row, column)))
    # The counts of the paper: 80 + 58 and 326 + 336.
    cells = [sum(row.site == site and row.label == label for row in plan) for site in SITES for label in (0, 1)]
    assert cells == [80, 58, 326, 336]


def test_published_patients_with_two_images_are_one_patient():
    rows = {row.name: row for row in plan_tuberculosis(published=True)}
    twice = {name: row.portrayed for name, row in rows.items() if row.portrayed != row.number}
    assert twice == {"MCUCXR_0117_1": 113, "MCUCXR_0166_1": 162}
    assert rows["MCUCXR_0166_1"].findings == "NO REPORT (same pt as MCUCXR_0162_1)"
    assert rows["MCUCXR_0113_1"].sex == rows["MCUCXR_0117_1"].sex


def test_full_size_has_the_publishers_sizes(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {synthetic_tuberculosis._output_shape(rng, "montgomery", 512, True) for _ in range(20)}
    assert shapes == {(4020, 4892), (4892, 4020)}
    shapes = [synthetic_tuberculosis._output_shape(rng, "shenzhen", 512, True) for _ in range(20)]
    assert all(2900 <= side <= 3001 for shape in shapes for side in shape)
    # One small case through the enlarging path.
    scene = render_scene(rng, 1, shape=(64, 78))
    assert expose_scene(scene, "montgomery", rng, output_shape=(320, 390)).shape == (320, 390)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images_per_site": {"geneva": 3}}, r'Site "geneva" is not among .*montgomery, shenzhen'),
        ({"images_per_site": {"shenzhen": -1}}, r'site "shenzhen" is -1; expected a whole number'),
        ({"images_per_site": {"shenzhen": 2.5}}, r'site "shenzhen" is 2.5; expected a whole number'),
        ({"images_per_site": {}}, "no image at all"),
        ({"confounding": 1.2}, r"confounding is 1.2; expected a number from -1 to 1"),
        ({"confounding": float("nan")}, r"confounding is nan"),
        ({"confounding": "high"}, r"confounding is 'high'"),
        ({"seed": -1}, r"seed is -1; expected"),
        ({"first_number": 0}, r"first number is 0; expected"),
        ({"size": 16}, r"size is 16; expected"),
        ({"num_workers": 0}, r"workers is 0; expected"),
        ({"published": True, "confounding": 0.8}, r"leave out images_per_site, confounding"),
        ({"published": True, "images_per_site": SMALL}, r"leave out images_per_site, confounding"),
    ],
)
def test_a_bad_argument_is_refused_in_a_sentence_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        synthesize_tuberculosis(tmp_path / "t", **arguments)
    assert str(caught.value).endswith(".")
    assert not (tmp_path / "t").exists()


def test_a_folder_of_other_content_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="is not empty and holds no synthetic tree") as caught:
        synthesize_tuberculosis(tmp_path, images_per_site=SMALL)
    assert str(tmp_path.parent) not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_tree_of_other_settings_is_refused_by_naming_the_setting(tree):
    with pytest.raises(DataError, match=r"seed 0, not 1"):
        synthesize_tuberculosis(tree, images_per_site=SMALL, size=128, seed=1)


def test_a_damaged_manifest_is_refused(tmp_path):
    (tmp_path / "synthetic.json").write_text("{")
    with pytest.raises(DataError, match="made otherwise"):
        synthesize_tuberculosis(tmp_path, images_per_site=SMALL)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        synthesize_tuberculosis(tmp_path / "file", images_per_site=SMALL)


@pytest.mark.parametrize(("label", "shape", "message"), [(2, (64, 64), "label is 2"), (1, (16, 64), "16 x 64 pixels")])
def test_a_scene_refuses_bad_arguments(label, shape, message):
    with pytest.raises(ValueError, match=message):
        render_scene(np.random.default_rng(0), label, shape=shape)


def test_an_unknown_scanner_is_refused():
    scene = render_scene(np.random.default_rng(0), 0, shape=(32, 32))
    with pytest.raises(ValueError, match='Site "geneva" has no synthetic scanner'):
        expose_scene(scene, "geneva", np.random.default_rng(0))
