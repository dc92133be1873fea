"""All that a study leaves behind, on disk and in MLflow, and whether two studies left the same."""

import json

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient


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
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    for run in client.search_runs(experiments):
        history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        seconds = len(history.pop("seconds", ()))  # another time each time, but told once
        points = {name: [[point.step, point.value] for point in points] for name, points in history.items()}
        artifacts = sorted(file.path for file in client.list_artifacts(run.info.run_id))
        about = {
            "status": run.info.status,
            "history": points,
            "seconds": seconds,
            "artifacts": artifacts,
            "tags": run.data.tags,
        }
        if run.data.tags["fairpool.kind"] == "summary":
            assert "summary" not in found, "a study has one summary"
            found["summary"] = about
        else:
            assert "history" not in found[run.info.run_name], f"{run.info.run_name} is in MLflow twice"
            found[run.info.run_name] |= about | {"params": run.data.params}
    assert "summary" in found
    return found


def assert_close(one, other, tolerance=0.0, place="study"):
    """Equal but for the tags, which name the study; numbers within the tolerance, 0 for bit by bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for name in one:
            if name != "tags":
                assert_close(one[name], other[name], tolerance, f"{place}, {name}")
    elif isinstance(one, list):
        assert len(one) == len(other), place
        for number, (part, another) in enumerate(zip(one, other, strict=True)):
            assert_close(part, another, tolerance, f"{place}, {number}")
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=0, msg=lambda text: f"{place}: {text}")
    elif isinstance(one, pd.DataFrame):
        is_exact = tolerance == 0
        pd.testing.assert_frame_equal(one, other, check_exact=is_exact, atol=tolerance, rtol=0, obj=place)
    elif isinstance(one, float):
        assert one == (pytest.approx(other, rel=0, abs=tolerance) if tolerance else other), place
    else:
        assert one == other, place
