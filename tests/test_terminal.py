"""Progress lines of the terminal follow the constraint."""

import io

import pytest
from rich.console import Console
from written_runs import run

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
def test_an_epoch_and_a_finished_run_show_the_error_and_the_constrained_gap(constraint, words):
    terminal = Terminal(constraint)
    terminal.console = Console(file=io.StringIO(), width=120)
    terminal.run_started(1, 1, "fairalm", 0, 5)
    terminal.epoch(2, FIGURES)
    assert terminal.progress.tasks[0].fields["status"] == f"validation error 10.0, {words}"
    terminal.run_finished(run("fairalm", 0, FIGURES), was_there=False)
    assert terminal.console.file.getvalue() == f"fairalm, seed 0: test error 10.0, {words} (1 s)\n"


def test_a_gap_without_an_estimate_is_left_out_of_the_line():
    terminal = Terminal("predictive_parity")
    terminal.console = Console(file=io.StringIO(), width=120)
    terminal.run_finished(run("fairalm", 3, {"error": 0.1, "deo": 0.2}), was_there=True)
    assert terminal.console.file.getvalue() == "fairalm, seed 3: test error 10.0 (was finished)\n"
