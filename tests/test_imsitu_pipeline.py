"""The imsitu bundle holds what MONAI asks of one, trains every method on colour, and fills the paper's table."""

import csv
import hashlib
import json

import pytest
import torch
from small_study import assert_one_sentence, run_cli

from fairpool.bundle import constraint_config, find_bundle
from fairpool.data.synthetic_imsitu import synthesize_imsitu
from fairpool.finished_runs import open_store, runs_of
from fairpool.tracking import default_tracking_uri

BUNDLE = find_bundle("imsitu")
SMALL = {"image_size": 32, "block_inplanes": [4, 8, 8, 8], "epochs": 1, "batch_size": 8}
TINY = [f"{key}={json.dumps(value)}" for key, value in SMALL.items()]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imsitu") / "tree"
    return synthesize_imsitu(folder, images_per_verb={"training": 20, "validation": 12, "test": 12}, confounding=0.4)


@pytest.mark.parametrize("method", ["unconstrained", "fairalm"])
def test_the_training_bundle_has_every_property_that_monai_knows(tree, tmp_path, method):
    overrides = {"dataset_dir": str(tree), "output_dir": str(tmp_path), **SMALL}
    workflow = BUNDLE.build(method, (), overrides, "equal_opportunity")
    assert workflow.check_properties() == []
    batch = next(iter(workflow.parser.get_parsed_content("train#dataloader")))
    assert batch["image"].shape == (8, 3, 32, 32)
    assert batch["site"].dtype == torch.int64
    # Normalised by the means and deviations of ImageNet, not by each image: colours keep their meaning.
    plain = workflow.parser.get_parsed_content("validate#dataset")[0]["image"]
    levels = plain * torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1) + torch.tensor([0.485, 0.456, 0.406]).reshape(
        3, 1, 1
    )
    assert -1e-5 <= float(levels.min()) < float(levels.max()) <= 1 + 1e-5


def test_weights_are_loaded_where_a_file_is_named(tree, tmp_path):
    overrides = {"dataset_dir": str(tree), "output_dir": str(tmp_path), **SMALL}
    network = BUNDLE.build("unconstrained", (), overrides, "equal_opportunity").parser.get_parsed_content("network_def")
    state = {name: torch.full_like(value, 0.25) for name, value in network.state_dict().items()}
    torch.save(state, tmp_path / "weights.pth")
    digest = hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()
    named = {**overrides, "weights": str(tmp_path / "weights.pth"), "weights_sha256": digest}
    loaded = BUNDLE.build("unconstrained", (), named, "equal_opportunity").parser.get_parsed_content("network")
    assert float(loaded.conv1.weight.detach().mean()) == 0.25
    assert float(loaded.fc.weight.detach().mean()) != 0.25


def test_the_inference_bundle_scores_a_table_of_photographs(tree, tmp_path):
    names = sorted(file.name for file in (tree / "of500_images_resized").glob("cooking_*.jpg"))[:6]
    lines = [f"{name},female" for name in names]
    (tmp_path / "table.csv").write_text("\n".join(["image,site", *lines]), encoding="utf-8")
    overrides = {"manifest": str(tmp_path / "table.csv"), "dataset_dir": str(tree / "of500_images_resized")}
    overrides |= {
        "checkpoint": None,
        "scores": str(tmp_path / "scores.csv"),
        "image_size": 32,
        "block_inplanes": [4, 8, 8, 8],
    }
    workflow = BUNDLE.workflow("infer", [str(BUNDLE.configs / "inference.json")], overrides)
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 6


def test_an_unknown_verb_is_refused_in_one_sentence_before_anything_is_trained(tree, tmp_path):
    done = run_cli("run", "imsitu", "--data", tree, "--output", tmp_path, "positive_verb=cokking", *TINY)
    assert_one_sentence(done, 1)
    assert 'no verb "cokking" (did you mean "cooking"?)' in done.err


@pytest.mark.slow
def test_two_pairs_of_verbs_and_all_methods_fill_the_papers_table(tree, tmp_path):
    methods = {("cooking", "driving"): BUNDLE.methods, ("shaving", "moisturizing"): ("unconstrained", "fairalm")}
    for number, ((positive, negative), some) in enumerate(methods.items(), start=1):
        verbs = (f"positive_verb={positive}", f"negative_verb={negative}")
        arguments = ("--data", tree, "--output", tmp_path, "--methods", ",".join(some), "--seeds", number)
        done = run_cli("run", "imsitu", *arguments, *verbs, *TINY)
        assert done.status == 0, done.err
        assert str(tree) not in done.out
    client = open_store(default_tracking_uri(tmp_path))
    runs = runs_of(client, "imsitu").rows
    assert {(run["params/positive_verb"], run["params/negative_verb"]) for run in runs} == set(methods)
    assert not [key for run in runs for key, value in run.items() if str(tree) in str(value)]
    files = [tmp_path / f"table{ending}" for ending in (".md", ".tex", ".csv", ".json")]
    done = run_cli("table", "imsitu", "--output", tmp_path, *[part for file in files for part in ("--write", file)])
    assert (done.status, done.err) == (0, "")
    assert {"Cooking(+)", "Driving(-)", "Moisturizing(-)"} <= set(done.out.split())
    with files[2].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["task"], row["method"]): int(row["runs"]) for row in rows}
    expected = {("Cooking(+) Driving(-)", method): 1 for method in BUNDLE.methods}
    expected |= {("Shaving(+) Moisturizing(-)", method): 2 for method in ("unconstrained", "fairalm")}
    assert found == expected


def test_every_method_can_be_built_for_equal_opportunity():
    assert set(BUNDLE.methods) >= {
        "unconstrained",
        "l2_penalty",
        "reweighted",
        "adversarial",
        "lagrangian",
        "proxy_lagrangian",
        "fairalm",
        "fairalm_paper",
    }
    for method in BUNDLE.methods:
        keys = BUNDLE.keys([method], ["synthetic"])[method]
        assert {"positive_verb", "negative_verb", "weights"} <= keys.keys()
    assert constraint_config("equal_opportunity") == {"_target_": "fairpool.EqualOpportunity"}
