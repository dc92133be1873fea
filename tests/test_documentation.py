"""The example, the README's code and the documented commands are run, and the links lead somewhere."""

import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from fairpool.bundle import constraint_config, find_bundle
from fairpool.cli import app
from fairpool.constraints import CONSTRAINTS
from fairpool.postprocessing import SiteThresholds
from fairpool.postprocessing.thresholds import Threshold

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "pipelines").rglob("*.md"))]


def test_two_lines_lower_the_gap_and_the_error_of_an_ordinary_script():
    results = runpy.run_path(str(ROOT / "examples" / "two_lines.py"))["main"](epochs=3)
    assert results["two lines"]["deo"] < 0.6 * results["ordinary"]["deo"]
    assert results["two lines"]["error"] < results["ordinary"]["error"]


def test_the_two_training_functions_of_the_example_differ_in_two_lines():
    source = (ROOT / "examples" / "two_lines.py").read_text(encoding="utf-8")
    ordinary, fair = (source.split(f"def train_{name}")[1].split("return model")[0] for name in ("ordinary", "fair"))
    added = set(fair.splitlines()) - set(ordinary.splitlines())
    marked = [line for line in added if "# line" in line]
    assert len(marked) == 2
    # Besides the two lines: the docstring, the signature's rest, and the loss's name in the trainer.
    assert len(added) <= 5


def test_python_of_the_readme_runs():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    torch.manual_seed(0)
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)


def test_python_of_the_page_on_other_methods_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    page = ROOT / "docs" / "how-to" / "other-fairness-methods.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 7
    rules = {"montgomery": (Threshold(0.4, 1.0),), "shenzhen": (Threshold(0.7, 1.0),)}
    (tmp_path / "thresholds.json").write_text(SiteThresholds("equal_opportunity", rules).to_json(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict = {}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)
    shape, decisions, chosen, exact, _ = capsys.readouterr().out.splitlines()
    assert shape == "torch.Size([3, 2])"
    assert decisions == "[1, 0]"
    assert chosen == "fair"
    assert exact.startswith("[0.25 0.75 0.  ] 0.175")
    assert names["played"].error == pytest.approx(0.175, abs=0.002)
    assert names["loss"].multipliers.shape == (2, 2)  # an event each of two attributes


def test_each_method_takes_the_constraints_that_the_page_says():
    page = (ROOT / "docs" / "how-to" / "own-data.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`[^|]*\|[^|]*\|([^|]*)\|$", page, re.MULTILINE)
    refused = {constraint: set(re.findall(r"`(\w+)`", cell)) for constraint, cell in rows}
    assert list(refused) == list(CONSTRAINTS)
    without = re.search(r"(`\w+`, `\w+` and `\w+`) take no constraint", page)[1]
    bundle = find_bundle("tuberculosis")
    keys = bundle.keys(bundle.methods)
    assert {method for method in bundle.methods if "constraint" not in keys[method]} == set(
        re.findall(r"`(\w+)`", without)
    )
    for constraint, methods in refused.items():
        assert {method for method in bundle.methods if is_refused(bundle, method, constraint)} == methods, constraint


def is_refused(bundle, method, constraint):
    """Whether a pipeline's loss cannot be built with a constraint."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(bundle.config_files(method))
    if "constraint" in bundle.keys([method])[method]:
        parser.set(constraint_config(constraint), "constraint")
    counts = torch.tensor([[30, 10], [10, 30]])
    parser.set(SimpleNamespace(vocabulary=["a", "b"], cell_counts=lambda: counts), "pool")
    parser.parse()
    try:
        parser.get_parsed_content("loss")
    except RuntimeError:
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_a_page_lead_to_files(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_page_holds_a_placeholder(page):
    assert not re.search(r"[A-Z]+_RESULT|TODO|FIXME", page.read_text(encoding="utf-8"))


def documented_commands():
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            if line.startswith("    fairpool "):
                yield pytest.param(line.split("#")[0].strip(), id=f"{page.name}: {line.strip()[:60]}")


@pytest.mark.parametrize("command", documented_commands())
def test_options_of_documented_commands_exist(command):
    words = [word for word in shlex.split(command)[1:] if word != "..."]
    group = words[:2] if words[0] == "manifest" else words[:1]
    known = CliRunner().invoke(app, [*group, "--help"], env={"COLUMNS": "200"}).output
    pipeline = words[1] if words[0] == "run" and words[1] in ("celeba", "imsitu") else "tuberculosis"
    overlays = ("manifest",) if pipeline == "tuberculosis" else ()
    keys = set().union(*find_bundle(pipeline).keys(("unconstrained", "fairalm"), overlays).values())
    for word in words[1:]:
        if word.startswith("--"):
            assert word in known, word
        elif re.fullmatch(r"\w+=.*", word) and words[0] == "run":
            assert word.split("=")[0] in keys, word


# These take a size, and are tried with a small one in test_evidence_benchmarks.py; the last two are none themselves.
SIZED = {"images.py", "manifest.py", "manifest_rows.py", "metrics.py", "soak.py", "written_results.py"}
SIZED |= {"performance_page.py"}
SCRIPTS = sorted(script for script in (ROOT / "benchmarks").glob("*.py") if script.name not in SIZED)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_benchmark_writes_its_results_as_json(script, tmp_path):
    result = tmp_path / "result.json"
    subprocess.run([sys.executable, str(script), "--rounds", "2", "--json", str(result)], check=True, timeout=300)
    written = json.loads(result.read_text(encoding="utf-8"))
    assert written.get("results") or written["rows"]


def test_python_of_the_page_on_sites_runs_and_prints_what_it_says(capsys):
    page = ROOT / "docs" / "how-to" / "sites-from-your-data.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)
    assert capsys.readouterr().out.splitlines() == [
        "JFK IMAGING CENTER",
        "GE MEDICAL SYSTEMS | RHAPSODE | 120",
        "Bern",
        "Siemens | 3",
        "bern",
        "basel",
        "USB",
        "['Bern', 'GE', 'geneve']",
        "('basel', 'bern', 'other') {'site': 2, 'site_name': 'zug'}",
        "[1, 2, -1]",
        "True",
    ]
