"""The benchmarks of metrics, images, manifests and a long training run, small, and write what the page reads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(tmp_path, name, *arguments):
    return measure(tmp_path, name, "--rounds", "1", *arguments, limit=120)


def measure(tmp_path, name, *arguments, limit):
    file = tmp_path / "results.json"
    command = [sys.executable, str(BENCHMARKS / name), *arguments, "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    assert {"machine", "versions", "command", "conditions", "rows"} <= set(found)
    assert str(tmp_path) not in file.read_text(encoding="utf-8")
    assert f"python benchmarks/{name} " in found["command"]
    return found["rows"]


@pytest.mark.slow
def test_the_metrics_are_timed_against_a_bincount_at_2_20_and_500_groups(tmp_path):
    rows = run(tmp_path, "metrics.py", "--samples", "20000")
    ours = [row for row in rows if row["contender"] == "fairpool, whole report"]
    assert [row["groups"] for row in ours] == [2, 20, 500]
    assert all(row["ratio_to_bincount"] > 0 for row in ours)
    peers = {name: any(name in row["contender"] for row in rows) for name in ("torchmetrics", "ignite", "fairlearn")}
    assert all(peers.values()), "a peer is timed, or said to be not installed"


def test_a_table_is_opened_split_and_sampled_in_a_process_of_its_own(tmp_path):
    rows = {row["step"]: row for row in run(tmp_path, "manifest_rows.py", "--rows", "3000")}
    assert 0 < rows["total"]["median"] < 60
    assert rows["peak"]["unit"] == "MiB"


@pytest.mark.slow
def test_images_are_read_by_each_reader_and_loaded_by_0_1_and_2_workers(tmp_path):
    rows = run(tmp_path, "images.py", "--width", "400", "--images", "4")
    assert len({row["reader"] for row in rows if "reader" in row}) == 4
    assert {row["workers"] for row in rows if row.get("loader") == "later reads"} == {0, 1, 2}


@pytest.mark.slow
def test_files_are_scanned_in_each_way(tmp_path):
    rows = run(tmp_path, "manifest.py", "--files", "8")
    assert len(rows) == 8
    assert all(0 < row["fastest_s"] <= row["median_s"] <= row["slowest_s"] for row in rows)


@pytest.mark.slow
def test_a_soak_counts_what_it_held_and_what_arrived(tmp_path):
    *epochs, summary = measure(tmp_path, "soak.py", "--epochs", "2", "--restart", "600", limit=300)
    assert [row["epoch"] for row in epochs] == [1, 2]
    assert all(row["resident_mib"] > 100 for row in epochs)
    assert summary["fewest_descriptors"] == min(row["descriptors"] for row in epochs)
    assert summary["most_descriptors"] == max(row["descriptors"] for row in epochs)
    assert (summary["restarts"], summary["status"], summary["metrics_of_each_epoch"]) == (0, "FINISHED", 4)
    assert (summary["metrics_with_a_gap"], summary["metrics_with_a_double"]) == (0, 0)
    assert summary["metrics"] > 4


def test_a_soak_with_other_settings_writes_no_results(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "soak.py"), "--set", "x=1", "--json", str(tmp_path / "soak.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "leave --set out, or --json" in done.stderr
    assert not list(tmp_path.iterdir())
