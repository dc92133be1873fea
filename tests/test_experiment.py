"""A whole study through the command line, and what it leaves in MLflow and on disk."""

import json
import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock
from mlflow import MlflowClient
from small_study import (
    SITES,
    SLUGS,
    TINY,
    assert_one_sentence,
    end_group,
    mlflow_server,
    run_cli,
    start_cli,
    wait_for,
    write_hospitals,
)
from study_evidence import assert_close, left_behind

NAMES = [f"{method}-seed{seed}" for seed in (0, 1) for method in ("unconstrained", "fairalm")]


def artifacts(study, run_id, path=None):
    """Local paths of all artifacts of a run by name."""
    found = {}
    for item in study.client.list_artifacts(run_id, path):
        if item.is_dir:
            found |= artifacts(study, run_id, item.path)
        else:
            found[item.path] = study.client.download_artifacts(run_id, item.path)
    return found


def test_a_study_is_one_flat_run_for_each_method_and_seed_and_one_summary(small_study):
    assert sorted(small_study.runs) == sorted(NAMES)
    assert len(small_study.summaries) == 1
    for run in [*small_study.runs.values(), *small_study.summaries]:
        assert run.info.status == "FINISHED"
        assert run.data.tags["study"] == small_study.study
        assert "mlflow.parentRunId" not in run.data.tags


def test_each_run_says_what_it_was(small_study):
    for name, run in small_study.runs.items():
        method, seed = name.split("-seed")
        params = run.data.params
        assert (params["method"], params["seed"]) == (method, seed)
        assert params["constraint"] == "equal_opportunity"
        assert (params["epochs"], params["image_size"], params["pipeline"]) == ("2", "32", "tuberculosis")
    assert len({run.data.params["data"] for run in small_study.runs.values()}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_each_epoch_has_one_point_of_every_validation_figure(small_study, name):
    run = small_study.runs[name]
    figures = [
        "val/error",
        "val/deo",
        "train/loss",
        *(f"val/{rate}/{s}" for rate in ("error", "fnr", "fpr") for s in SLUGS),
    ]
    multipliers = [f"multiplier/y1/{slug}" for slug in SLUGS]
    if name.startswith("fairalm"):
        figures += [*multipliers, "eta"]
    else:
        assert not any(key.startswith(("multiplier/", "eta")) for key in run.data.metrics)
    for figure in figures:
        history = small_study.client.get_metric_history(run.info.run_id, figure)
        assert [point.step for point in history] == [1, 2], figure
    if name.startswith("fairalm"):
        last = [run.data.metrics[multiplier] for multiplier in multipliers]
        assert any(last)
        assert sum(last) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_reported_figures_are_those_of_the_last_epochs_model_and_the_best_epoch_is_named(small_study, name):
    run = small_study.runs[name]
    result = json.loads((small_study.folder / name / "result.json").read_text(encoding="utf-8"))
    assert len(result["validation"]) > 5
    for figure, value in result["validation"].items():
        assert run.data.metrics[f"val/{figure}"] == pytest.approx(value), figure
    balanced = small_study.client.get_metric_history(run.info.run_id, "val/balanced_error")
    assert result["best_epoch"] == min(balanced, key=lambda point: (point.value, point.step)).step


@pytest.mark.parametrize("name", NAMES)
def test_counts_and_rates_follow_from_the_predictions(small_study, name):
    run = small_study.runs[name]
    files = artifacts(small_study, run.info.run_id)
    predictions = pd.read_parquet(files["predictions.parquet"])
    assert list(predictions.columns) == ["patient", "row", "site", "split", "label", "probability"]
    assert set(predictions["split"]) == {"validation", "test"}
    assert predictions["probability"].between(0, 1).all()
    assert not predictions["row"].duplicated().any()
    for split in ("validation", "test"):
        part = predictions[predictions["split"] == split]
        decided = part["probability"] >= 0.5
        table = pd.read_csv(files[f"confusion/{split}.csv"]).set_index("site")
        for site in SITES:
            here = part["site"] == site
            for column, label, decision in (
                ("true_negative", 0, False),
                ("false_positive", 0, True),
                ("false_negative", 1, False),
                ("true_positive", 1, True),
            ):
                assert table.loc[site, column] == (here & (part["label"] == label) & (decided == decision)).sum()
    test = predictions[predictions["split"] == "test"]
    is_wrong = (test["probability"] >= 0.5) != test["label"].astype(bool)
    assert run.data.metrics["test/error"] == pytest.approx(is_wrong.mean())
    fnr = is_wrong[test["label"] == 1].groupby(test["site"]).mean()
    assert run.data.metrics["test/deo"] == pytest.approx(fnr.max() - fnr.min())
    for site, slug in zip(SITES, SLUGS, strict=True):
        assert run.data.metrics[f"test/error/{slug}"] == pytest.approx(is_wrong[test["site"] == site].mean())
        assert run.data.metrics[f"test/fnr/{slug}"] == pytest.approx(fnr[site])


def test_sites_are_slugs_in_metrics_and_names_in_the_vocabulary(small_study):
    for run in small_study.runs.values():
        names = json.loads(Path(artifacts(small_study, run.info.run_id)["sites.json"]).read_text(encoding="utf-8"))
        assert dict(zip(names["slugs"], names["sites"], strict=True)) == dict(zip(SLUGS, SITES, strict=True))


def test_methods_of_a_seed_are_tested_on_the_same_images(small_study):
    rows = {
        name: frozenset(pd.read_parquet(small_study.folder / name / "predictions.parquet")["row"]) for name in NAMES
    }
    assert rows["unconstrained-seed0"] == rows["fairalm-seed0"]
    assert rows["unconstrained-seed0"] != rows["unconstrained-seed1"]


def test_no_place_of_this_machine_and_no_patient_is_in_the_evidence(small_study):
    forbidden = [
        "PATIENT",
        "mueller",
        "scans",
        str(small_study.manifest.parent),
        str(small_study.store.folder),
        os.getcwd(),
    ]
    texts = []
    for run in [*small_study.runs.values(), *small_study.summaries]:
        texts += [*run.data.params, *run.data.params.values(), *run.data.metrics]
        texts += [f"{key}={value}" for key, value in run.data.tags.items()]
        for path in artifacts(small_study, run.info.run_id).values():
            if path.endswith(".parquet"):
                texts.append(pd.read_parquet(path).to_csv())
            texts.append(Path(path).read_bytes().decode("latin-1"))
    assert len(texts) > 100
    for word in forbidden:
        assert not any(word in text for text in texts), word


def test_the_models_folder_keeps_no_optimizer_state(small_study):
    for name in NAMES:
        kept = {path.name for path in (small_study.folder / name).iterdir()}
        tracking = {"tracking.jsonl", "tracking-sent.json", "tracking.lock"}
        assert kept == {"best.pt", "model.pt", "predictions.parquet", "result.json"} | tracking


def test_a_second_command_on_a_study_that_is_being_trained_is_refused(small_study, monkeypatch):
    monkeypatch.setattr("fairpool.experiment._PATIENCE", 0.1)
    before = {path: path.read_bytes() for path in small_study.folder.rglob("*") if path.is_file()}
    with FileLock(small_study.folder / "study.lock"):
        done = run_cli(*small_study.arguments)
    assert_one_sentence(done, 1)
    assert "another command trains this study in" in done.err
    assert before == {path: path.read_bytes() for path in small_study.folder.rglob("*") if path.is_file()}
    assert run_cli(*small_study.arguments).status == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.pt", "predictions.parquet", "result.json"])
def test_a_run_whose_files_were_deleted_is_trained_again_as_the_same_run(tmp_path, name):
    """The evidence in MLflow is the same, and stands there once."""
    manifest, output = write_hospitals(tmp_path), tmp_path / "out"
    arguments = ["run", "tuberculosis", "--manifest", manifest, "--seeds", 1, "--epochs", 1, "--output", output, *TINY]
    assert run_cli(*arguments, "--methods", "unconstrained,fairalm").status == 0
    before = left_behind(output)
    next(output.glob(f"*/fairalm-seed0/{name}")).unlink()
    only = run_cli(*arguments, "--methods", "unconstrained")  # its summary leaves out what is not there
    assert only.status == 0, only.err
    done = run_cli(*arguments, "--methods", "unconstrained,fairalm")
    assert done.status == 0, done.err
    is_told = "fairalm-seed0: its result, model or predictions are gone" in " ".join(done.out.split())
    assert is_told == (name != "result.json")  # without it a run has not ended
    before["fairalm-seed0"]["seconds"] = 2  # each training took its own time
    assert_close(left_behind(output), before)


def test_more_seeds_of_one_method_extend_the_study_and_end_what_was_left_open(small_study):
    """On a study of its own, in the same store: others read the shared one."""
    client, experiment_id = small_study.client, small_study.experiment_id
    arguments = ["run", "tuberculosis", "--manifest", small_study.manifest, "--epochs", 1, "learning_rate=0.002"]
    arguments += ["--output", small_study.store.folder, *TINY]
    assert run_cli(*arguments, "--seeds", 1).status == 0
    found = client.search_runs([experiment_id], "params.learning_rate = '0.002'")
    study = found[0].data.tags["study"]
    assert study != small_study.study

    def runs_of(kind):
        found = client.search_runs([experiment_id], f"tags.study = '{study}'")
        return {run.info.run_name: run for run in found if run.data.tags["fairpool.kind"] == kind}

    first = runs_of("run")
    assert sorted(first) == ["fairalm-seed0", "unconstrained-seed0"]
    (summary,) = runs_of("summary").values()
    # Killed between its last file and the end of its MLflow run.
    finished = first["fairalm-seed0"].info.run_id
    client.update_run(finished, status="RUNNING")
    spool = small_study.store.folder / study / "fairalm-seed0" / "tracking.jsonl"
    *lines, last = spool.read_text().splitlines(keepends=True)
    assert "FINISHED" in last
    spool.write_text("".join(lines))

    done = run_cli(*arguments, "--seeds", 2, "--methods", "fairalm")
    assert done.status == 0, done.err
    assert done.out.count("was finished") == 1
    assert client.get_run(finished).info.status == "FINISHED"
    runs = runs_of("run")
    assert sorted(runs) == ["fairalm-seed0", "fairalm-seed1", "unconstrained-seed0"]
    assert all(runs[name].info.run_id == first[name].info.run_id for name in first)

    summaries = runs_of("summary")
    assert [run.info.run_id for run in summaries.values()] == [summary.info.run_id]
    (summary,) = summaries.values()
    for method in ("unconstrained", "fairalm"):  # the one not asked for this time stays in the comparison
        values = [run.data.metrics["test/error"] for name, run in runs.items() if name.startswith(method)]
        assert summary.data.metrics[f"test/error/{method}/mean"] == pytest.approx(pd.Series(values).mean())
        if method == "fairalm":
            assert summary.data.metrics["test/error/fairalm/std"] == pytest.approx(pd.Series(values).std())
    table = pd.read_csv(artifacts(small_study, summary.info.run_id)["comparison.csv"]).set_index(["method", "figure"])
    assert table.loc[("unconstrained", "error"), "seeds"] == 1
    assert table.loc[("fairalm", "error"), "seeds"] == 2


def test_a_run_that_fails_keeps_those_before_it(small_study):
    """Only fairalm has the key eta: the unconstrained run ends well, the next one's first loss is infinite."""
    arguments = ["run", "tuberculosis", "--manifest", small_study.manifest, "--seeds", 1, "--epochs", 1]
    done = run_cli(*arguments, "--output", small_study.store.folder, *TINY, "eta=1e38")
    assert_one_sentence(done, 1)
    assert "fairalm, seed 0" in done.err
    assert "epoch 1, iteration 1" in done.err
    found = small_study.client.search_runs([small_study.experiment_id], "params.eta = '1e+38'")
    study = found[0].data.tags["study"]
    found = small_study.client.search_runs([small_study.experiment_id], f"tags.study = '{study}'")
    states = {run.info.run_name: run.info.status for run in found}
    assert states == {"unconstrained-seed0": "FINISHED", "fairalm-seed0": "FAILED"}
    again = run_cli(*arguments, "--output", small_study.store.folder, *TINY, "eta=1e38")
    assert_one_sentence(again, 1)
    assert "unconstrained, seed 0: test error" in again.out
    assert "was finished" in again.out


def test_an_exploding_learning_rate_ends_the_run_naming_the_place(small_study):
    arguments = ["run", "tuberculosis", "--manifest", small_study.manifest, "--seeds", 1, "--epochs", 3]
    done = run_cli(*arguments, "--output", small_study.store.folder, *TINY, "learning_rate=1e30")
    assert_one_sentence(done, 1)
    assert "unconstrained, seed 0" in done.err
    assert "epoch 1, iteration 2" in done.err


def test_the_last_epochs_figures_are_logged_where_that_epoch_was_not_validated(small_study):
    arguments = ["run", "tuberculosis", "--manifest", small_study.manifest, "--seeds", 1, "--epochs", 1]
    arguments += ["--methods", "unconstrained", "--output", small_study.store.folder, *TINY, "val_interval=2"]
    assert run_cli(*arguments).status == 0
    (run,) = small_study.client.search_runs([small_study.experiment_id], "params.val_interval = '2'")
    assert "val/error" in run.data.metrics


def test_equalized_odds_moves_multipliers_of_both_labels(small_study):
    arguments = ["run", "tuberculosis", "--manifest", small_study.manifest, "--seeds", 1, "--methods", "fairalm"]
    nested = ["train#trainer#max_epochs=1", "--constraint", "equalized_odds"]
    done = run_cli(*arguments, "--output", small_study.store.folder, *TINY, *nested)
    assert done.status == 0, done.err
    found = small_study.client.search_runs([small_study.experiment_id], "params.constraint = 'equalized_odds'")
    (run,) = [run for run in found if run.data.tags["fairpool.kind"] == "run"]
    for event in ("y0", "y1"):
        for slug in SLUGS:
            history = small_study.client.get_metric_history(run.info.run_id, f"multiplier/{event}/{slug}")
            assert [point.step for point in history] == [1]  # the nested override: one epoch


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_study_continues_where_it_was(tmp_path, sign):
    from fairpool.tracking import default_tracking_uri, open_experiment

    manifest, output = write_hospitals(tmp_path / "data"), tmp_path / "out"
    arguments = ["run", "tuberculosis", "--manifest", manifest, "--seeds", 2, "--epochs", 60, "--output", output, *TINY]
    arguments += ["--methods", "unconstrained"]
    process = start_cli(*arguments)
    try:
        wait_for(lambda: list(output.glob("*/unconstrained-seed1/state-*.pt")), "epoch of the second run", 120)
        process.send_signal(sign)
        _, err = process.communicate(timeout=60)
    finally:
        end_group(process)
    assert not list(output.glob("*/unconstrained-seed1/result.json"))
    client, experiment_id = open_experiment(default_tracking_uri(output), "tuberculosis")

    def states():
        found = client.search_runs([experiment_id], "tags.\"fairpool.kind\" = 'run'")
        return sorted((run.info.run_name, run.info.status) for run in found)

    first = client.search_runs([experiment_id], "attributes.run_name = 'unconstrained-seed0'")[0]
    if sign == signal.SIGKILL:
        assert states() == [("unconstrained-seed0", "FINISHED"), ("unconstrained-seed1", "RUNNING")]
    else:
        # The shell shows 130 for both: Python ends itself by the signal if Ctrl-C came within an eval, as MONAI's here.
        assert process.returncode in (130, -signal.SIGINT)  # SIGTERM is taken as Ctrl-C
        assert err == "Interrupted; the same command continues.\n"
        assert states() == [("unconstrained-seed0", "FINISHED"), ("unconstrained-seed1", "KILLED")]

    done = run_cli(*arguments)
    assert done.status == 0, done.err
    assert done.out.count("was finished") == 1
    assert "unconstrained, seed 1: the training goes on after epoch" in done.out
    assert states() == [("unconstrained-seed0", "FINISHED"), ("unconstrained-seed1", "FINISHED")]
    again = client.get_run(first.info.run_id)
    assert again.data.metrics == first.data.metrics


@pytest.mark.slow
def test_a_study_survives_the_end_of_its_server_and_sends_its_evidence_later(tmp_path):
    manifest, output = write_hospitals(tmp_path / "data"), tmp_path / "out"
    arguments = ["run", "tuberculosis", "--manifest", manifest, "--output", output, "--methods", "unconstrained", *TINY]
    with mlflow_server(tmp_path) as server:
        address = server.uri.replace("://", "://user:secret@")
        short = run_cli(*arguments, "--tracking-uri", address, "--seeds", 1, "--epochs", 1)
        assert short.status == 0, short.err
        assert server.uri in short.out
        assert "secret" not in short.out
        process = start_cli(*arguments, "--tracking-uri", address, "--seeds", 1, "--epochs", 60)
        try:
            wait_for(lambda: list(output.glob("*/*/state-*.pt")), "epoch", 120)
            end_group(server.process)
            out, err = process.communicate(timeout=240)
        finally:
            end_group(process)
    assert process.returncode == 0, err
    assert "Training goes on" in out
    assert "entries of evidence wait in the output folder" in out
    assert "secret" not in out + err
    assert_one_sentence(run_cli("sync", "--output", output), 1)
    with mlflow_server(tmp_path, server.port):
        sent = run_cli("sync", "--output", output)
        assert sent.status == 0, sent.err
        client = MlflowClient(server.uri)
        experiment = client.get_experiment_by_name("tuberculosis").experiment_id
        (run,) = client.search_runs([experiment], "params.epochs = '60'")
        assert run.info.status == "FINISHED"
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "val/error")]
        assert steps == list(range(1, 61))
        assert "nothing was waiting" in run_cli("sync", "--output", output).out


def test_images_of_unknown_site_are_trained_on_and_reported_apart(tmp_path, store):
    manifest = write_hospitals(tmp_path, sites=(*SITES, "unknown"))
    done = run_cli(
        "run",
        "tuberculosis",
        "--manifest",
        manifest,
        "--epochs",
        1,
        "--seeds",
        1,
        *TINY,
        "--methods",
        "fairalm,balanced_sampling",
        "--output",
        store.folder,
    )
    assert done.status == 0, done.err
    assert 'images are of site "unknown": in no rate and no constraint' in done.out
    assert "error at unknown" not in done.out
    file = max(store.folder.glob("*/fairalm-seed0/predictions.parquet"), key=lambda path: path.stat().st_mtime)
    predictions = pd.read_parquet(file)
    assert "unknown" in set(predictions["site"])
    result = json.loads((file.parent / "result.json").read_text(encoding="utf-8"))
    assert result["sites"] == sorted(SITES)
    known = predictions[(predictions["site"] != "unknown") & (predictions["split"] == "test")]
    assert sum(sum(map(sum, site)) for site in result["test_counts"]) == len(known)
    missed = (known["probability"] <= 0.5)[known["label"] == 1].groupby(known["site"]).mean()
    assert result["test"]["deo"] == pytest.approx(missed.max() - missed.min(), abs=1e-6)
    assert result["test"]["error"] == pytest.approx(((known["probability"] > 0.5) != known["label"]).mean(), abs=1e-6)
