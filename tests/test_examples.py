"""The example of volumes runs, and shows what its page says."""

import re
import runpy
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "how-to" / "volumes.md"


def run_example(**options):
    return runpy.run_path(str(ROOT / "examples" / "two_scanner_mri.py"))["main"](**options)


def test_the_example_of_volumes_runs_from_bids_to_a_report(capsys):
    reports = run_example(subjects=12, test_subjects=6, epochs=1)
    assert list(reports) == ["random batches", "cell batches", "FairALM"]
    for report in reports.values():
        assert report.samples.tolist() == [6, 6]
    printed = capsys.readouterr().out
    assert printed.startswith("synthetic; 24 subjects to train on, 12 to test")
    assert len(printed.splitlines()) == 5


@pytest.mark.slow
def test_the_constraint_lowers_the_gaps_of_random_batches_in_the_example():
    reports = run_example()
    assert reports["FairALM"].eodds_gap < reports["random batches"].eodds_gap
    assert reports["FairALM"].overall_error < reports["random batches"].overall_error


def test_python_of_the_page_on_volumes_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    assert capsys.readouterr().out.strip() == "torch.Size([1, 24, 28, 24])"
    assert {tuple(volume["image"].shape) for volume in names["data"]} == {(1, 24, 28, 24)}
    stored = {path.parent.name: path for path in (tmp_path / "mri").rglob("*.nii.gz")}
    assert stored
    cells = {(item["site"], item["label"]) for item in names["items"]}
    for batch in names["loader"]:
        assert set(zip(batch["site"].tolist(), batch["label"].tolist(), strict=True)) == cells
        assert torch.isfinite(names["loss"](torch.zeros(8, 2), batch["label"], batch["site"]))
