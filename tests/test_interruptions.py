"""A study killed at any moment and started again ends as if nothing had happened, on disk and in MLflow."""

import json
import os
import random
import signal
import subprocess
import time

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from small_study import FAIRPOOL, TINY, end_group, write_hospitals

EPOCHS = 12
METHODS = ("unconstrained", "fairalm")


def command(manifest, output):
    settings = ["--methods", ",".join(METHODS), "--seeds", 1, "--epochs", EPOCHS, *TINY, "weight_averaging=0.3"]
    data = ["--manifest", manifest, "--patient-column", "patient", "--output", output]
    return [*FAIRPOOL, "run", "tuberculosis", *data, *settings]


def start(arguments, cwd):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(cwd / "cache")}
    return subprocess.Popen(
        list(map(str, arguments)),
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(arguments, cwd):
    process = start(arguments, cwd)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    return out


def left_behind(output):
    """By run: weights, predictions, figures; and from MLflow status, parameters, every point of each metric."""
    found = {}
    for file in output.glob("*/*/result.json"):
        folder = file.parent
        result = json.loads(file.read_text())
        for name in ("run_id", "seconds", "output_dir"):
            result.pop(name, None)
        found[folder.name] = {
            "model": torch.load(folder / "model.pt", weights_only=True),
            "best": torch.load(folder / "best.pt", weights_only=True),
            "predictions": pd.read_parquet(folder / "predictions.parquet"),
            "result": result,
            "files": sorted(path.name for path in folder.iterdir()),
        }
    client = MlflowClient(f"sqlite:///{output / 'mlruns.db'}")
    experiment = client.get_experiment_by_name("tuberculosis")
    runs = client.search_runs([experiment.experiment_id])
    summaries = 0
    for run in runs:
        history = {
            name: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        history["seconds"] = len(history.get("seconds", ()))  # another time each time, but told once
        artifacts = sorted(file.path for file in client.list_artifacts(run.info.run_id))
        about = {"status": run.info.status, "params": run.data.params, "history": history, "artifacts": artifacts}
        if run.data.tags["fairpool.kind"] == "summary":
            summaries += 1
            found["summary"] = {"status": run.info.status, "history": history, "artifacts": artifacts}
        else:
            assert "history" not in found[run.info.run_name], f"{run.info.run_name} is in MLflow twice"
            found[run.info.run_name] |= about
    assert summaries == 1
    return found


def assert_same(one, other, place="study"):
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for name in one:
            assert_same(one[name], other[name], f"{place}, {name}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), place
    elif isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True, obj=place)
    else:
        assert one == other, place


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    manifest = write_hospitals(folder)
    begin = time.monotonic()
    finish(command(manifest, folder / "out"), folder)
    return left_behind(folder / "out"), time.monotonic() - begin


def kill_at(moments, folder, sign):
    """Start the study, kill it at each of these moments of its own time, and let it end; returns its last output."""
    manifest = write_hospitals(folder)
    arguments = command(manifest, folder / "out")
    killed = 0
    for moment in moments:
        process = start(arguments, folder)
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            killed += 1
            if sign == signal.SIGKILL:
                end_group(process)
            else:
                os.killpg(process.pid, sign)
        process.communicate(timeout=120)
    return finish(arguments, folder), killed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_study_killed_at_random_moments_ends_bit_identical(uninterrupted, tmp_path, seed):
    """Five moments a study, from its imports on: twenty in all, of SIGKILL and SIGTERM; later ones find it further."""
    whole, seconds = uninterrupted
    chance = random.Random(seed)
    moments = [chance.uniform(0.05, 0.6) * seconds for _ in range(5)]
    out, killed = kill_at(moments, tmp_path, signal.SIGKILL if seed % 2 else signal.SIGTERM)
    assert killed >= 4, (moments, out)
    assert_same(left_behind(tmp_path / "out"), whole)
