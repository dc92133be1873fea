"""The CelebA bundle holds what MONAI asks of one, takes colour images, and streams them."""

import json
import re
import shutil

import pytest
import torch
from small_study import assert_one_sentence, run_cli

from fairpool.bundle import find_bundle
from fairpool.data.synthetic_celeba import synthesize_celeba

BUNDLE = find_bundle("celeba")
SMALL = {"image_size": 32, "block_inplanes": [4, 8, 8, 8], "epochs": 1, "batch_size": 8, "num_workers": 0}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return synthesize_celeba(tmp_path_factory.mktemp("celeba") / "tree", num_images=90)


def test_it_shares_the_methods_of_the_other_pipelines():
    assert BUNDLE.methods == find_bundle("tuberculosis").methods
    methods = {"fairalm", "fairalm_paper", "l2_penalty", "reweighted", "adversarial", "lagrangian", "proxy_lagrangian"}
    assert {*methods, "balanced_sampling"} <= set(BUNDLE.methods)


@pytest.mark.parametrize("method", BUNDLE.methods)
def test_every_method_has_every_property_that_monai_knows(tree, tmp_path, method):
    overrides = {**SMALL, "dataset_dir": str(tree), "output_dir": str(tmp_path)}
    workflow = BUNDLE.build(method, (), overrides, "equal_opportunity")
    assert workflow.check_properties() == []


def test_a_batch_holds_colour_images_and_the_protected_attribute(tree, tmp_path):
    overrides = {**SMALL, "dataset_dir": str(tree), "output_dir": str(tmp_path), "protected": "Young"}
    parsed = BUNDLE.build("fairalm", (), overrides, "equal_opportunity").parser.get_parsed_content
    batch = next(iter(parsed("train#dataloader")))
    assert batch["image"].shape == (8, 3, 32, 32)
    assert batch["image"].abs().max() <= 2.0
    assert batch["site"].dtype == torch.int64
    assert parsed("pool").vocabulary.names == ("old", "young")


def test_no_image_is_opened_before_it_is_asked_for(tree, tmp_path):
    overrides = {**SMALL, "dataset_dir": str(tree), "output_dir": str(tmp_path)}
    damaged = tree / "img_align_celeba" / "000001.jpg"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:500])
    try:
        parsed = BUNDLE.build("unconstrained", (), overrides, "equal_opportunity").parser.get_parsed_content
        assert parsed("prepare")(lambda done, total: None) == []
        dataset = parsed("train#dataset")
        dataset[1]
        with pytest.raises(RuntimeError) as caught:
            dataset[0]
        assert str(caught.value.__cause__).startswith("row 1 (")
        assert "000001" not in str(caught.value.__cause__)
    finally:
        damaged.write_bytes(whole)


@pytest.fixture
def damaged(tree, tmp_path):
    """A copy of the tree whose image 7, of the training section, ends early."""
    copy = shutil.copytree(tree, tmp_path / "mueller")
    image = copy / "img_align_celeba" / "000007.jpg"
    image.write_bytes(image.read_bytes()[:500])
    return copy


def run_on(data, tmp_path, *more):
    settings = [f"{key}={json.dumps(value)}" for key, value in {**SMALL, "num_workers": 1}.items() if key != "epochs"]
    return run_cli(
        "run", "celeba", "--data", data, "--output", tmp_path / "out", "--methods", "unconstrained", "--epochs", "1",
        *settings, *more,
    )  # fmt: skip


def test_a_damaged_image_that_a_worker_meets_is_one_sentence_with_its_row(damaged, tmp_path):
    done = run_on(damaged, tmp_path)
    assert_one_sentence(done, 1)
    assert re.search(r"row 7 \((fe)?male\): image ends early\. Fetch it again$", done.err.strip())
    assert "mueller" not in done.err
    assert "000007" not in done.err


def test_every_image_can_be_read_before_training_and_bad_ones_left_out(damaged, tmp_path):
    done = run_on(damaged, tmp_path, "check_images=true")
    assert_one_sentence(done, 1)
    assert re.search(r"1 of 90 images cannot be used: row 7 \((fe)?male\): image ends early", done.err)
    assert done.err.strip().endswith("Leave them out with exclude_rows=[1,2].")
    assert not list((tmp_path / "out").glob("*/unconstrained-seed0"))
    overrides = {**SMALL, "dataset_dir": str(damaged), "check_images": True, "exclude_rows": [7]}
    parsed = BUNDLE.build("unconstrained", (), overrides, "equal_opportunity").parser.get_parsed_content
    read = []
    parsed("prepare")(lambda done, total: read.append(total))
    assert read == [89] * 89
    assert len(parsed("pool").digests) == 89


def test_rows_to_leave_out_that_are_no_list_are_one_sentence(tree, tmp_path):
    done = run_on(tree, tmp_path, "exclude_rows=5")
    assert_one_sentence(done, 1)
    assert "exclude_rows must be a list of row numbers, such as exclude_rows=[7,41]; got 5." in done.err


def test_the_synthetic_overlay_sets_only_keys_of_the_training():
    keys = BUNDLE.keys(["unconstrained"])["unconstrained"]
    overlay = json.loads((BUNDLE.configs / "synthetic.json").read_text(encoding="utf-8"))
    assert overlay.keys() <= keys.keys()


def test_the_metadata_describe_the_network():
    metadata = json.loads((BUNDLE.configs / "metadata.json").read_text(encoding="utf-8"))
    config = json.loads((BUNDLE.configs / "train.json").read_text(encoding="utf-8"))
    image = metadata["network_data_format"]["inputs"]["image"]
    assert image["num_channels"] == config["network_def"]["n_input_channels"] == 3
    assert image["spatial_shape"] == [config["image_size"]] * 2
