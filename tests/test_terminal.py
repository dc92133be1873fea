"""Progress lines of the terminal follow the constraint."""

import io

import pytest
from rich.console import Console
from written_runs import run

from fairpool.bundle import find_bundle
from fairpool.study import Study
from fairpool.terminal import Terminal

FIGURES = {"error": 0.1, "deo": 0.21, "fpr_gap": 0.32, "eodds_gap": 0.32}
FIGURES |= {"ddp": 0.43, "selection_gap": 0.54, "fdr_gap": 0.65}


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        ("equal_opportunity", "DEO 21.0"),
        ("predictive_equality", "FPR gap 32.0"),
        ("equalized_odds", "DEO 21.0, FPR gap 32.0"),
        ("error_rate_parity", "error gap 43.0"),
        ("demographic_parity", "selection rate gap 54.0"),
        ("predictive_parity", "false discovery gap 65.0"),
    ],
)
def test_an_epoch_and_a_finished_run_show_the_error_and_the_constrained_gap(constraint, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal(constraint)
    terminal.console = Console(file=io.StringIO(), width=120)
    terminal.run_started(1, 1, "fairalm", 0, 5)
    terminal.epoch(2, FIGURES)
    assert terminal.progress.tasks[0].fields["status"] == f"validation error 10.0, {words}"
    terminal.run_finished(run("fairalm", 0, FIGURES), was_there=False)
    assert terminal.console.file.getvalue() == f"fairalm, seed 0: test error 10.0, {words} (1 s)\n"


def test_a_line_of_progress_fits_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal("equalized_odds")
    terminal.run_started(1, 6, "fairalm_balanced", 0, 50)
    terminal.epoch(50, FIGURES)
    shown = Console(file=io.StringIO(), width=80, color_system=None)
    shown.print(terminal.progress.get_renderable())
    (line,) = shown.file.getvalue().splitlines()
    assert line.startswith("1/6 fairalm_balanced, seed 0 50/50 ")
    assert line.rstrip().endswith(" error 10.0, DEO 21.0, FPR gap 32.0")


def test_in_a_file_there_is_a_line_of_progress_every_half_a_minute(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("fairpool.terminal.time.monotonic", lambda: now[0])
    terminal = Terminal()
    terminal.console = Console(file=io.StringIO(), width=80)
    with terminal:
        terminal.run_started(1, 6, "fairalm", 0, 6)
        for epoch in range(1, 7):
            now[0] += 12
            terminal.epoch(epoch, FIGURES)
            terminal.bytes(epoch * 2**20, None)
    assert terminal.console.file.getvalue().splitlines() == [
        f"1/6 fairalm, seed 0: {epoch} of 6, validation error 10.0, DEO 21.0" for epoch in (3, 6)
    ]


def test_a_summary_that_waits_has_no_id_to_show(tmp_path):
    assert "summary run 0)" in shown(tmp_path, "tuberculosis", [0.2, 0.4])
    assert "the summary run waits in the output folder)" in shown(tmp_path, "tuberculosis", [0.2, 0.4], "")


@pytest.mark.parametrize(("pipeline", "is_advised"), [("tuberculosis", True), ("celeba", False)])
def test_scoring_new_images_is_advised_where_it_can_be_done(tmp_path, pipeline, is_advised):
    assert ("Score new images: fairpool evaluate" in shown(tmp_path, pipeline, [0.2, 0.4])) == is_advised


def test_a_network_that_finds_no_positive_is_named_with_method_and_seed(tmp_path):
    text = shown(tmp_path, "tuberculosis", [1.0, 1.0])
    assert (
        "note: fairalm, seed 3 misses every positive at every site of the test set: its gap of 0 between sites is no "
        "fairness"
    ) in text
    assert "misses every positive" not in shown(tmp_path, "tuberculosis", [1.0, 0.9])


def shown(folder, pipeline, fnr, summary_id="0"):
    """What the terminal says of a study of one run with these false negative rates."""
    place = folder / "fairalm-seed3"
    figures = {"error": 0.1, "deo": abs(fnr[0] - fnr[1])} | {f"fnr/site{i}": rate for i, rate in enumerate(fnr)}
    terminal = Terminal()
    terminal.console = Console(file=io.StringIO(), width=200)
    study = Study(
        find_bundle(pipeline), ("fairalm",), 1, "equal_opportunity", (), {}, folder, f"sqlite:///{folder}/mlruns.db"
    )
    terminal.show_results(study, [run("fairalm", 3, figures, str(place))], summary_id)
    return terminal.console.file.getvalue()


def test_a_gap_without_an_estimate_is_left_out_of_the_line():
    terminal = Terminal("predictive_parity")
    terminal.console = Console(file=io.StringIO(), width=120)
    terminal.run_finished(run("fairalm", 3, {"error": 0.1, "deo": 0.2}), was_there=True)
    assert terminal.console.file.getvalue() == "fairalm, seed 3: test error 10.0 (was finished)\n"
