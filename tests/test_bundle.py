"""The shipped bundle holds what MONAI asks of one, and nothing from outside runs unasked."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fairpool.bundle import Bundle, did_you_mean, find_bundle, parse_overrides
from fairpool.constraints import CONSTRAINTS

BUNDLE = find_bundle("tuberculosis")


def test_the_pipeline_has_its_methods():
    assert BUNDLE.methods == (
        "unconstrained",
        "adversarial",
        "balanced_sampling",
        "fairalm",
        "fairalm_balanced",
        "fairalm_paper",
        "fairalm_quadratic",
        "l2_penalty",
        "lagrangian",
        "proxy_lagrangian",
        "reweighted",
    )
    files = [
        Path(file).relative_to(BUNDLE.folder.parent).as_posix() for file in BUNDLE.config_files("fairalm", ["manifest"])
    ]
    own = ["tuberculosis/configs/train.json", "tuberculosis/configs/manifest.json"]
    assert files == [*own, "methods/fairalm.json"]


def test_the_shared_methods_are_no_pipeline():
    with pytest.raises(ValueError, match='there is no pipeline "methods"'):
        find_bundle("methods")


def test_a_pipelines_own_method_comes_before_the_shared_one(tmp_path, monkeypatch):
    for place in ("methods", "faces/configs/methods"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "fairalm.json").write_text(json.dumps({"eta": 0.5 if place == "methods" else 2.5}))
    (tmp_path / "methods" / "reweighted.json").write_text("{}")
    (tmp_path / "faces" / "configs" / "train.json").write_text(json.dumps({"epochs": 1}))
    monkeypatch.setattr("fairpool.bundle._pipeline_roots", lambda: [tmp_path])
    bundle = find_bundle("faces")
    assert bundle.methods == ("unconstrained", "fairalm", "reweighted")
    assert bundle.keys(["fairalm"])["fairalm"]["eta"] == 2.5
    assert bundle.config_files("reweighted")[-1] == str(tmp_path / "methods" / "reweighted.json")


def test_an_overlay_that_a_pipeline_lacks_is_refused_in_the_words_of_the_command_line(strange_bundle):
    bundle = find_bundle(str(strange_bundle), trust_config=True)
    with pytest.raises(
        ValueError, match=r'"bundle" cannot be used with a table \(--manifest\): it has no configs/manifest'
    ):
        bundle.config_files("unconstrained", ["manifest"])


def test_what_lies_beside_a_bundle_from_outside_is_not_its_own(strange_bundle):
    (strange_bundle.parent / "methods").mkdir()
    (strange_bundle.parent / "methods" / "fairalm.json").write_text("{}")
    assert find_bundle(str(strange_bundle), trust_config=True).methods == ("unconstrained",)


def test_an_unknown_method_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match=r'no method "fairal" \(did you mean "fairalm"\?\)'):
        BUNDLE.config_files("fairal")


def test_an_unknown_pipeline_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match=r'no pipeline "tubercolosis" \(did you mean "tuberculosis"\?\)'):
        find_bundle("tubercolosis")


@pytest.fixture
def strange_bundle(tmp_path):
    """A bundle that leaves a file if it is ever parsed."""
    (tmp_path / "bundle" / "configs" / "methods").mkdir(parents=True)
    config = {"imports": [f"$open({str(tmp_path / 'ran')!r}, 'w').close()"], "epochs": 1}
    (tmp_path / "bundle" / "configs" / "train.json").write_text(json.dumps(config))
    return tmp_path / "bundle"


def test_a_bundle_from_outside_is_not_parsed_unless_trusted(strange_bundle):
    with pytest.raises(ValueError, match=r"can run any code on this machine.*--trust-config"):
        find_bundle(str(strange_bundle))
    bundle = find_bundle(str(strange_bundle), trust_config=True)
    assert isinstance(bundle, Bundle)
    assert bundle.methods == ("unconstrained",)
    assert not (strange_bundle.parent / "ran").exists()


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a folder must hold configs/train\.json"):
        find_bundle(str(tmp_path), trust_config=True)


def test_keys_are_those_of_the_method_and_its_overlays():
    keys = BUNDLE.keys(BUNDLE.methods, ["manifest"])
    assert {"epochs", "train#trainer#max_epochs", "positive"} <= keys["unconstrained"].keys()
    assert "eta" not in keys["unconstrained"]
    assert {"eta", "train#handlers"} <= keys["fairalm"].keys()
    assert keys["fairalm"]["eta"] == 0.2
    assert "positive" not in BUNDLE.keys(["fairalm"])["fairalm"]


def parse(*texts, **options):
    return parse_overrides(texts, BUNDLE.keys(BUNDLE.methods, ["manifest"]), **options)


def test_values_are_json_where_they_parse_and_text_otherwise():
    texts = ("learning_rate=1e-3", "block_inplanes=[4,8,8,8]", "amp=true", "key_metric_name=deo", "value_range=null")
    expected = {"learning_rate": 1e-3, "block_inplanes": [4, 8, 8, 8], "amp": True, "key_metric_name": "deo"}
    assert parse(*texts) == {**expected, "value_range": None}
    assert parse("train#trainer#max_epochs=1", "eta=0.5") == {"train#trainer#max_epochs": 1, "eta": 0.5}
    assert parse("key_metric_name=a=b") == {"key_metric_name": "a=b"}
    assert parse("learning_rate=1", "epochs=@batch_size") == {"learning_rate": 1, "epochs": "@batch_size"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs", 'is not of the form "?key=value'),
        ("=3", "is not of the form"),
        ("epoch=3", r'no key "epoch" \(did you mean "epochs"\?\)'),
        ("train#trainer#max_epoch=3", r'did you mean "train#trainer#max_epochs"'),
        ("seed=3", "--seeds"),
        ("constraint=equalized_odds", "--constraint"),
        ("output_dir=elsewhere", "--output"),
        ("positive=1", "--positive"),
        ("site_column=hospital", "--site-column"),
        ("epochs=many", '"epochs" must be a whole number, such as 20; got "many"'),
        ("epochs=1.5", "whole number"),
        ("epochs=true", "whole number"),
        ("image_size=null", "whole number"),
        ("learning_rate=[1]", "must be a number"),
    ],
)
def test_what_is_no_setting_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_a_key_of_methods_that_do_not_run_is_refused_with_their_names():
    keys, others = BUNDLE.keys(["unconstrained"]), BUNDLE.keys(BUNDLE.methods)
    with pytest.raises(ValueError, match='"eta" is a setting of ') as caught:
        parse_overrides(["eta=0.5"], keys, others=others)
    owners = re.search(r"a setting of (.*) and would change nothing for unconstrained", str(caught.value))[1].split(
        ", "
    )
    configs = BUNDLE.folder.parent / "methods"
    assert owners == [
        file.stem for file in sorted(configs.glob("*.json")) if "eta" in json.loads(file.read_text(encoding="utf-8"))
    ]
    with pytest.raises(ValueError, match=r'no key "ettta" .did you mean'):
        parse_overrides(["ettta=0.5"], BUNDLE.keys(["fairalm"]), others=others)
    assert parse_overrides(["eta=0.5"], BUNDLE.keys(["unconstrained", "fairalm"]), others=others) == {"eta": 0.5}


@pytest.mark.parametrize(
    "text",
    [
        "epochs=$__import__('os').getpid()",
        "epochs= $1",
        'epochs="$1"',
        "epochs=%/etc/passwd",
        'block_inplanes=[4, "$1"]',
        'loss={"_target_": "os.getpid"}',
        'loss={"a": [{"_target_": "os.getpid"}]}',
        "network_def#_target_=os.getpid",
    ],
)
def test_a_value_that_runs_as_code_is_refused_unless_trusted(text):
    with pytest.raises(ValueError, match="would run as code; add --trust-config"):
        parse(text)
    assert len(parse(text, trust_config=True)) == 1


def test_did_you_mean_says_nothing_where_nothing_is_near():
    assert did_you_mean("xyz", ["epochs"]) == ""


def workflow(method, kind="train", **overrides):
    from monai.bundle import ConfigWorkflow

    files = BUNDLE.config_files(method) if kind == "train" else str(BUNDLE.configs / "inference.json")
    return ConfigWorkflow(
        workflow_type=kind,
        config_file=files,
        meta_file=str(BUNDLE.configs / "metadata.json"),
        logging_file=False,
        bundle_root=str(BUNDLE.folder),
        **overrides,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    from fairpool.data import synthesize_tuberculosis

    folder = tmp_path_factory.mktemp("tree")
    counts = {"montgomery": 12, "shenzhen": 12}
    return synthesize_tuberculosis(folder, images_per_site=counts, confounding=0, size=64, num_workers=1)


SMALL = {"image_size": 32, "block_inplanes": [4, 8, 8, 8], "epochs": 1, "batch_size": 8, "val_frac": 0.2}


@pytest.mark.parametrize("method", BUNDLE.methods)
def test_the_training_bundle_has_every_property_that_monai_knows(tree, tmp_path, method):
    trained = workflow(method, dataset_dir=str(tree), output_dir=str(tmp_path), **SMALL)
    trained.initialize()
    assert trained.check_properties() == []
    assert trained.trainer.network is trained.parser.get_parsed_content("network")


def test_the_inference_bundle_has_every_property_that_monai_knows(small_study):
    small = {"image_size": 32, "block_inplanes": [4, 8, 8, 8], "checkpoint": None}
    inference = workflow("", "infer", manifest=str(small_study.manifest), **small)
    inference.initialize()
    assert inference.check_properties() == []


def test_the_metadata_describe_the_network(small_study):
    import torch

    metadata = json.loads((BUNDLE.configs / "metadata.json").read_text(encoding="utf-8"))
    image = metadata["network_data_format"]["inputs"]["image"]
    pred = metadata["network_data_format"]["outputs"]["pred"]
    network = workflow("", "infer", checkpoint=None, device="cpu").parser.get_parsed_content("network_def")
    with torch.no_grad():
        output = network.eval()(torch.zeros(1, image["num_channels"], *image["spatial_shape"]))
    assert output.shape == (1, pred["num_channels"])
    config = json.loads((BUNDLE.configs / "train.json").read_text(encoding="utf-8"))
    assert image["spatial_shape"] == [config["image_size"]] * 2


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_workflow_is_built_with_the_constraint_asked_for(tree, tmp_path, constraint):
    overrides = {**SMALL, "dataset_dir": str(tree), "output_dir": str(tmp_path), "eta": 0.3}
    method = "fairalm_quadratic" if constraint == "demographic_parity" else "fairalm"
    loss = BUNDLE.build(method, (), overrides, constraint).parser.get_parsed_content("loss")
    assert type(loss.constraint) is CONSTRAINTS[constraint]
    assert float(loss.eta) == pytest.approx(0.3)


def test_an_override_that_a_method_lacks_is_left_to_the_others(tree, tmp_path):
    overrides = {**SMALL, "dataset_dir": str(tree), "output_dir": str(tmp_path), "eta": 0.3}
    parser = BUNDLE.build("unconstrained", (), overrides, "equal_opportunity").parser
    assert "eta" not in parser.get()


@pytest.mark.slow
def test_monai_alone_runs_the_bundle(tree, tmp_path):
    files = BUNDLE.config_files("fairalm")
    options = {**SMALL, "dataset_dir": tree, "output_dir": tmp_path / "models", "bundle_root": BUNDLE.folder}
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files)]
    command += ["--meta_file", str(BUNDLE.configs / "metadata.json")]
    command += [str(part) for key, value in options.items() for part in (f"--{key}", value)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models" / "best.pt").is_file()

    manifest = tmp_path / "manifest.csv"
    with manifest.open("w", newline="") as file:
        images = sorted(tree.glob("*/CXR_png/*.png"))
        csv.writer(file).writerows([("image", "site"), *((path.relative_to(tree), path.parts[-3]) for path in images)])
    options = {"manifest": manifest, "dataset_dir": tree, "checkpoint": tmp_path / "models" / "best.pt"}
    options |= {"image_size": 32, "block_inplanes": [4, 8, 8, 8]}
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(BUNDLE.configs / "inference.json")]
    command += [str(part) for key, value in options.items() for part in (f"--{key}", value)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("value", ["[" * 99_999, "9" * 9999])
def test_a_value_beyond_what_json_reads_is_refused_in_a_short_sentence(value):
    with pytest.raises(ValueError, match='"epochs" must be a whole number') as caught:
        parse(f"epochs={value}")
    assert len(str(caught.value)) < 200
