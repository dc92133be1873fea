"""Each benchmark of the training step runs, proves its contenders first, and its results become the page."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
PACKAGES = {
    "cooper": "cooper-optim",
    "humancompatible": "humancompatible-train",
    "fairret": "fairret",
    "fairtorch": "fairtorch",
}


@pytest.fixture(autouse=True)
def from_the_folder(monkeypatch):
    """As where a script runs: its folder comes first. Modules are left behind, as their classes may be."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture(scope="module")
def step_results(tmp_path_factory):
    """A run of two rounds, in its own process."""
    file = tmp_path_factory.mktemp("step") / "step.json"
    command = [sys.executable, str(BENCHMARKS / "step.py"), "--rounds", "2", "--json", str(file)]
    output = subprocess.run(command, check=True, timeout=280, capture_output=True, text=True).stdout
    return json.loads(file.read_text(encoding="utf-8")), output


@pytest.mark.slow
def test_every_contender_of_the_step_has_figures_or_is_said_to_be_missing(step_results):
    results, output = step_results
    for library, package in PACKAGES.items():
        is_missing = results["versions"][package] == "not installed"
        rows = [row for row in results["rows"] if row["contender"].startswith(library)]
        assert len(rows) == 5
        assert all(row.get("note") == "not installed" if is_missing else row["ratio"] > 0 for row in rows)
        assert len(re.findall(rf"^  {library}, K=2 +not installed$", output, re.MULTILINE)) == 5 * is_missing
    own = [row for row in results["rows"] if row["contender"].startswith("fairpool")]
    assert len(own) == 15
    assert all(row["ratio_lower_quartile"] <= row["ratio"] <= row["ratio_upper_quartile"] for row in own)
    assert all(row["ratio"] == 1 for row in results["rows"] if row["contender"] == "cross-entropy")


@pytest.mark.slow
def test_the_results_of_a_step_become_a_page(step_results, tmp_path):
    results, _ = step_results
    (tmp_path / "step.json").write_text(json.dumps(results), encoding="utf-8")
    page = tmp_path / "performance.md"
    command = [sys.executable, str(BENCHMARKS / "performance_page.py"), "--results", str(tmp_path), "--page", str(page)]
    subprocess.run(command, check=True, timeout=60)
    text = page.read_text(encoding="utf-8")
    assert f"    {results['command']} --json benchmarks/results/step.json" in text
    assert f"Machine: {results['machine']}." in text
    row = next(row for row in results["rows"] if row["contender"] == "fairpool, K=100")
    assert f"| fairpool, K=100 | {row['ratio']:.2f} (" in text
    assert "Not measured in their present form: `benchmarks/metrics.py`" in text


@pytest.mark.parametrize("library", ["fairpool", *PACKAGES])
def test_a_contender_holds_the_constraint_that_numpy_finds(library):
    if library != "fairpool" and not find_spec(library):
        pytest.skip(f"{library} is not installed; it is optional, see benchmarks/requirements.txt")
    import step
    from step_peers.task import true_positive_rates

    for workload in step.WORKLOADS:
        task = step.make_task(workload, 2)
        rates = true_positive_rates(task)
        step.prove(library, step.load(library)(task), rates)


@pytest.mark.parametrize("num_groups", [2, 100, 1000])
def test_fairpool_holds_the_gaps_that_numpy_finds_of_any_number_of_groups(num_groups):
    import step
    from step_peers.task import true_positive_rates

    task = step.make_task("loss alone, batch 1024", num_groups)
    rates = true_positive_rates(task)
    assert (rates[0] > 0).sum() > num_groups / 5
    step.prove("fairpool", step.load("fairpool")(task), rates)


def test_a_contender_that_computes_something_else_is_refused():
    import step
    from step_peers.task import Contender, error_gap, true_positive_rates

    task = step.make_task("loss alone, batch 32", 2)
    entropies = torch.nn.functional.cross_entropy(task.inputs, task.labels, reduction="none")
    right = float(error_gap(entropies, task.labels, task.groups).detach())

    def claim(value):
        return Contender(lambda: None, lambda: value, lambda rates, _: float(rates[1] - rates[0]))

    step.prove("right", claim(right), true_positive_rates(task))
    with pytest.raises(AssertionError, match="wrong"):
        step.prove("wrong", claim(1.01 * right), true_positive_rates(task))


def test_a_missing_library_has_no_contender():
    import step

    assert step.load("no_such_library") is None


def test_the_page_names_what_is_not_measured_and_passes_no_old_form(tmp_path):
    import performance_page

    (tmp_path / "step.json").write_text('{"about": {}, "results": {}}', encoding="utf-8")
    assert performance_page.make_page(tmp_path).endswith(
        "Not measured in their present form: `benchmarks/step.py`, `benchmarks/metrics.py`, `benchmarks/images.py`, "
        "`benchmarks/manifest_rows.py`, `benchmarks/manifest.py`, `benchmarks/soak.py`.\n"
    )


def test_the_page_holds_a_figure_for_each_contender_and_column(tmp_path):
    import performance_page

    row = {"contender": "fairpool, K=2", "ratio": 1.234, "ratio_lower_quartile": 1.2, "ratio_upper_quartile": 1.3}
    rows = [
        row | {"workload": "MLP"},
        {"contender": "fairret, K=2", "workload": "MLP", "note": "not installed"},
        row | {"workload": "loss alone, batch 32", "extra_us": 99.6},
    ]
    content = {"machine": "M", "versions": {"torch": "9"}, "command": "python x.py", "conditions": "c", "rows": rows}
    (tmp_path / "step.json").write_text(json.dumps(content), encoding="utf-8")
    lines = performance_page.make_page(tmp_path).splitlines()
    assert "| fairpool, K=2 | 1.23 (1.20 to 1.30) |" in lines
    assert "| fairret, K=2 | not installed |" in lines
    assert "| fairpool, K=2 | 100 |" in lines


def test_the_page_tells_how_long_a_scan_of_files_takes(tmp_path):
    import performance_page

    rows = [{"contender": "two processes", "median_s": 5.378, "fastest_s": 5.32, "slowest_s": 7.066, "ms_a_file": 0.54}]
    content = {"machine": "M", "versions": {"pydicom": "9"}, "command": "python x.py", "conditions": "c", "rows": rows}
    (tmp_path / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    lines = performance_page.make_page(tmp_path).splitlines()
    assert "| two processes | 5.38 s | 5.32 to 7.07 |" in lines
    assert "    python x.py --json benchmarks/results/manifest.json" in lines


def test_the_page_tells_what_a_soak_held_and_lost(tmp_path):
    import performance_page

    summary = {
        "seconds": 4321,
        "restarts": 20,
        "growth_percent": 1.14,
        "fewest_descriptors": 8,
        "most_descriptors": 11,
        "entries_sent_at_the_end": 0,
        "status": "FINISHED",
        "metrics": 44,
        "metrics_of_each_epoch": 4,
        "metrics_with_a_gap": 1,
        "metrics_with_a_double": 2,
    }
    rows = [{"epoch": 150, "resident_mib": 898.75, "descriptors": 9, "threads": 3}, summary]
    content = {"machine": "M", "versions": {"mlflow": "9"}, "command": "python x.py", "conditions": "c", "rows": rows}
    (tmp_path / "soak.json").write_text(json.dumps(content), encoding="utf-8")
    text = performance_page.make_page(tmp_path)
    assert "| 150 | 899 | 9 |" in text.splitlines()
    assert "grew by 1.1 %; 8 to 11 descriptors were open. In 4,321 s the server was killed 20 times." in text
    assert "Of the 4 metrics of every epoch 1 lack a point, of all 44 metrics 2 have one twice." in text


def test_the_committed_page_is_that_of_the_committed_results():
    import performance_page

    page = ROOT / "docs" / "performance.md"
    if not page.exists():
        pytest.skip("docs/performance.md is not written yet: python benchmarks/performance_page.py")
    assert page.read_text(encoding="utf-8") == performance_page.make_page(BENCHMARKS / "results")


def test_every_peer_of_the_step_is_pinned():
    pins = re.findall(
        r"^([\w-]+)==[\d.]+$", (BENCHMARKS / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(PACKAGES.values()) <= set(pins)


def test_the_page_that_is_kept_is_that_of_the_results():
    import performance_page

    page = performance_page.make_page(BENCHMARKS / "results")
    assert (ROOT / "docs" / "performance.md").read_text(encoding="utf-8") == page
    assert "Not measured in their present form" not in page
