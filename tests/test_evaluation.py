"""Scores of new images are the network's own, and no file can run code."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_study import assert_one_sentence, read_rows, run_cli, write_hospitals, write_manifest

from fairpool import CheckpointError, DataError
from fairpool.checkpoints import load_model
from fairpool.evaluation import evaluate_checkpoint

FORMULA = "=HYPERLINK(1)"


@pytest.fixture(scope="module")
def model(small_study):
    return small_study.folder / "fairalm-seed0" / "model.pt"


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """New images of one site of the training, of one never seen, and of two whose names are code."""
    folder = tmp_path_factory.mktemp("ward")
    sites = ("bern", "[/new] ward", FORMULA, f"$open({str(folder / 'ran')!r}, 'w')")
    return write_hospitals(folder, sites=sites, per_cell=3, seed=1)


def direct_probabilities(model, images):
    """The pipeline's arithmetic by hand: Pillow, z-score, MONAI's ResNet, softmax."""
    from monai.networks.nets import ResNet
    from PIL import Image

    weights, _, _ = load_model(model)
    network = ResNet(
        "basic", [2, 2, 2, 2], [4, 8, 8, 8], spatial_dims=2, n_input_channels=1, num_classes=2, conv1_t_stride=2
    )
    network.load_state_dict(weights)
    network.eval()
    probabilities = []
    for image in images:
        grey = Image.open(image).resize((32, 32), Image.Resampling.BILINEAR, reducing_gap=2)
        pixels = np.asarray(grey, dtype=np.float32) / 255
        pixels = torch.from_numpy((pixels - pixels.mean()) / pixels.std())[None, None]
        with torch.no_grad():
            probabilities.append(float(network(pixels).softmax(dim=1)[0, 1]))
    return probabilities


def test_probabilities_are_those_of_a_direct_forward_pass(model, ward):
    scores = evaluate_checkpoint(model, ward, columns={"label_column": None}).scores
    expected = direct_probabilities(model, [ward.parent / row[0] for row in read_rows(ward)])
    np.testing.assert_allclose(scores["probability"], expected, atol=2e-3)  # the reader may keep 8 bits
    assert np.ptp(expected) > 0.01


def test_probabilities_of_the_test_section_are_those_of_the_study(small_study, model):
    kept = pd.read_parquet(small_study.folder / "fairalm-seed0" / "predictions.parquet").set_index("row")
    scores = evaluate_checkpoint(model, small_study.manifest, columns={}).scores.set_index("row")
    assert len(scores) == len(read_rows(small_study.manifest))
    np.testing.assert_allclose(scores.loc[kept.index, "probability"], kept["probability"], atol=1e-5)
    assert (scores.loc[kept.index, "label"] == kept["label"]).all()


def test_labels_give_a_report_by_site_that_names_the_unseen(model, ward, tmp_path):
    done = run_cli(
        "evaluate", model, "--manifest", ward, "--label-column", "label", "--output", tmp_path / "new" / "scores.csv"
    )
    assert (done.status, done.err) == (0, "")
    lines = {line.split("│")[1].strip(): line for line in done.out.splitlines() if line.count("│") > 3}
    assert lines["bern"].rstrip(" │").endswith("yes")
    assert lines["[/new] ward"].rstrip(" │").endswith("no")
    assert "Genève" not in lines  # no image of it here
    text = (tmp_path / "new" / "scores.csv").read_text(encoding="utf-8")
    assert f"'{FORMULA}" in text
    scores = pd.read_csv(tmp_path / "new" / "scores.csv")
    assert list(scores.columns) == ["row", "site", "label", "probability"]
    decided = scores["probability"] >= 0.5
    wrong = (decided != scores["label"].astype(bool))[scores["site"] == "[/new] ward"]
    assert f"{wrong.sum()} of 6" in lines["[/new] ward"]
    assert not (ward.parent / "ran").exists()


def test_without_labels_there_are_scores_alone(model, ward, tmp_path):
    done = run_cli("evaluate", model, "--manifest", ward, "--output", tmp_path / "scores.parquet")
    assert (done.status, done.err) == (0, "")
    assert "Errors by site" not in done.out
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert list(scores.columns) == ["row", "site", "probability"]
    assert FORMULA in set(scores["site"])  # no spreadsheet opens parquet
    assert scores["row"].tolist() == list(range(1, 25))
    assert not (ward.parent / "ran").exists()


def test_a_report_of_labels_without_a_positive_has_no_estimate(model, ward):
    negatives = [row for row in read_rows(ward) if row[1] == "0" and row[2] == "bern"]
    manifest = write_manifest(ward.parent / "negatives.csv", negatives)
    evaluation = evaluate_checkpoint(model, manifest, columns={})
    assert evaluation.sites == ("Genève", "bern")
    assert evaluation.report.samples.tolist() == [0, 3]
    done = run_cli(
        "evaluate", model, "--manifest", manifest, "--label-column", "label", "--output", ward.parent / "n.csv"
    )
    assert done.status == 0, done.err
    assert "DEO no estimate" in done.out
    assert "nan" not in done.out


def test_an_output_of_another_kind_is_wrong_usage(model, ward):
    assert_one_sentence(run_cli("evaluate", model, "--manifest", ward, "--output", "scores.xlsx"), 2)


def test_bad_images_are_named_by_row_and_site(model, ward):
    rows = read_rows(ward)[:4]
    (ward.parent / "scans" / "broken.png").write_bytes((ward.parent / rows[0][0]).read_bytes()[:200])
    rows[2][0] = "scans/broken.png"
    manifest = write_manifest(ward.parent / "broken.csv", rows)
    with pytest.raises(DataError, match=r"row 3 \(bern\)") as caught:
        evaluate_checkpoint(model, manifest, columns={})
    assert "broken.png" not in str(caught.value)


class RunsWhenLoaded:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("content", ["text", "pickle", "other", "empty"])
def test_a_file_that_is_no_model_is_one_sentence(ward, tmp_path, content):
    path = tmp_path / "model.pt"
    if content == "text":
        path.write_text("<html>not found</html>")
    elif content == "pickle":
        torch.save({"network": {}, "vocabulary": RunsWhenLoaded(tmp_path / "ran"), "settings": "{}"}, path)
    elif content == "other":
        torch.save({"state_dict": {"weight": torch.zeros(2)}}, path)
    done = run_cli("evaluate", path, "--manifest", ward, "--output", tmp_path / "scores.csv")
    assert_one_sentence(done, 1)
    assert "model.pt" in done.err
    assert str(tmp_path) not in done.err
    assert not (tmp_path / "scores.csv").exists()
    assert not (tmp_path / "ran").exists()


def changed(model, path, **settings):
    """The model with other settings; ``overrides`` are laid over the true ones."""
    content = torch.load(model, weights_only=True)
    held = json.loads(content["settings"])
    overrides = settings.pop("overrides", {})
    if isinstance(overrides, dict):
        overrides = {key: value for key, value in {**held["overrides"], **overrides}.items() if value is not ...}
    content["settings"] = json.dumps({**held, "overrides": overrides, **settings})
    torch.save(content, path)
    return path


def test_expressions_in_a_models_settings_do_not_run(model, ward, tmp_path):
    code = f"$open({str(tmp_path / 'ran')!r}, 'w')"
    target = {"_target_": "pathlib.Path.touch", "self": str(tmp_path / "ran")}
    overrides = {
        "value_range": target,
        "learning_rate": code,
        "device": code,
        "network_def": target,
        "checkpoint": code,
    }
    path = changed(model, tmp_path / "model.pt", overrides=overrides)
    evaluation = evaluate_checkpoint(path, ward, columns={"label_column": None})
    assert len(evaluation.scores) == 24
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overrides": {"block_inplanes": ["$1", 8, 8, 8]}}, "do not fit the network"),
        ({"overrides": {"block_inplanes": [4]}}, "do not fit the network"),
        ({"overrides": {"block_inplanes": [4, 8, 8, 16]}}, "do not fit the network"),
        ({"overrides": {"image_size": "$32"}}, "image_size"),
        ({"overrides": {"image_size": ...}}, "image_size"),
        ({"overrides": []}, "image_size"),
        ({"pipeline": "brain"}, 'the pipeline "brain", which this fairpool does not ship'),
        ({"pipeline": None}, "does not ship"),
    ],
)
def test_settings_that_describe_no_network_are_refused(model, ward, tmp_path, settings, message):
    path = changed(model, tmp_path / "model.pt", **settings)
    with pytest.raises(CheckpointError, match=message):
        evaluate_checkpoint(path, ward, columns={"label_column": None})


def test_a_model_does_not_lead_to_a_bundle_outside_the_package(model, ward, tmp_path):
    (tmp_path / "evil" / "configs").mkdir(parents=True)
    config = json.dumps({"imports": [f"$open({str(tmp_path / 'ran')!r}, 'w')"]})
    for name in ("train.json", "inference.json"):
        (tmp_path / "evil" / "configs" / name).write_text(config)
    path = changed(model, tmp_path / "model.pt", pipeline=str(tmp_path / "evil"))
    with pytest.raises(CheckpointError, match="does not ship"):
        evaluate_checkpoint(path, ward, columns={"label_column": None})
    assert not (tmp_path / "ran").exists()


# --- sites that the training never saw, and other spellings


def test_unseen_sites_may_be_counted_as_unknown(model, ward, tmp_path):
    output = tmp_path / "scores.csv"
    options = ["--label-column", "label", "--unknown-sites", "keep", "--output", output]
    done = run_cli("evaluate", model, "--manifest", ward, *options)
    assert (done.status, done.err) == (0, "")
    scores = pd.read_csv(output)
    assert scores["site"].value_counts().to_dict() == {"unknown": 18, "bern": 6}
    assert "18 images are of sites that the training never saw" in done.out
    named = evaluate_checkpoint(model, ward, columns={})
    np.testing.assert_allclose(scores["probability"], named.scores["probability"], atol=1e-6)
    kept = evaluate_checkpoint(model, ward, columns={}, unknown="keep")
    assert kept.sites == ("Genève", "bern")
    for rate in ("error", "fnr", "fpr"):
        np.testing.assert_equal(getattr(kept.report, rate).numpy(), getattr(named.report, rate)[:2].numpy())


def test_images_of_unknown_site_are_scored_and_in_no_rate(model, ward, tmp_path):
    rows = [
        [image, label, {"[/new] ward": "unknown"}.get(site, site), *rest]
        for image, label, site, *rest in read_rows(ward)
    ]
    manifest = write_manifest(ward.parent / "unknown.csv", rows)
    named = evaluate_checkpoint(model, manifest, columns={})
    assert (named.scores["site"] == "unknown").sum() == 6
    assert "unknown" not in named.sites
    assert '6 images are of site "unknown": in no rate' in named.notes
    kept = evaluate_checkpoint(model, manifest, columns={}, unknown="keep")
    assert any(note.startswith("12 images are of sites that the training never saw") for note in kept.notes)
    assert len(kept.notes) == 2


def test_unseen_sites_may_be_refused_with_row_and_vocabulary(model, ward):
    done = run_cli("evaluate", model, "--manifest", ward, "--unknown-sites", "raise")
    assert_one_sentence(done, 1)
    assert 'site "[/new] ward" in row 7 is not among the 2 sites seen in training (Genève, bern)' in done.err


def test_another_word_for_unknown_sites_is_wrong_usage(model, ward):
    assert_one_sentence(run_cli("evaluate", model, "--manifest", ward, "--unknown-sites", "drop"), 2)
    with pytest.raises(ValueError, match="unknown must be"):
        evaluate_checkpoint(model, ward, columns={}, unknown="drop")


def test_a_site_of_the_training_in_another_spelling_is_refused_or_joined(model, tmp_path):
    table = write_hospitals(tmp_path, sites=("Bern", "geneve"), per_cell=1, seed=2)
    done = run_cli("evaluate", model, "--manifest", table)
    assert_one_sentence(done, 1)
    assert "the table, beside the training, spells 2 site(s) in several ways" in done.err
    (tmp_path / "aliases.yaml").write_text("bern: [Bern]\nGenève: [geneve]\n", encoding="utf-8")
    options = ["--aliases", tmp_path / "aliases.yaml", "--output", tmp_path / "scores.csv"]
    done = run_cli("evaluate", model, "--manifest", table, *options)
    assert done.status == 0, done.err
    assert set(pd.read_csv(tmp_path / "scores.csv")["site"]) == {"bern", "Genève"}


def test_a_model_of_other_sites_than_wanted_is_refused(model, ward):
    from fairpool.data import SiteVocabulary

    with pytest.raises(CheckpointError, match='same 2 sites in another order: 0 is "Genève" there and "bern" here'):
        evaluate_checkpoint(model, ward, columns={}, vocabulary=SiteVocabulary(("bern", "Genève")))
