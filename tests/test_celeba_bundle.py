"""The CelebA bundle holds what MONAI asks of one, takes colour images, and streams them."""

import json

import pytest
import torch

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
