"""What a study looks like on the terminal: progress bars while it runs, a table at its end."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from fairpool.evaluation import can_be_evaluated
from fairpool.gaps import GAP_WORDS, gaps_of
from fairpool.method_comparison import comparison_parts
from fairpool.result_tables import counts_table, figures_table, wrong_of
from fairpool.trivial_gaps import trivial_gap

if TYPE_CHECKING:
    from fairpool.evaluation import Evaluation
    from fairpool.experiment import RunResult, Study

__all__ = ["Terminal"]


_QUIET = 30.0  # seconds between two lines of progress, where they go to a file
_WIDE = 120  # columns; in fewer a run's progress has no bar, and not the time that it took


class Terminal:
    """Progress bars and tables; a `fairpool.experiment.StudyObserver`. Used as a context while bars are wanted.

    Where the output goes to a file there are no bars, and a line of progress every half a minute.

    Args:
        constraint: a key of `CONSTRAINTS`, whose gap the progress lines show beside the error.
    """

    def __init__(self, constraint: str = "equal_opportunity") -> None:
        self.console = Console()
        self.constraint = constraint
        self._is_wide = self.console.width >= _WIDE or not self.console.is_interactive
        self.progress = Progress(
            TextColumn("{task.description}"),
            *([BarColumn()] if self._is_wide else []),
            MofNCompleteColumn(),
            *([TimeElapsedColumn()] if self._is_wide else []),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            console=self.console,
            disable=not self.console.is_interactive,
        )
        self._tasks: dict[str, TaskID] = {}
        self._run = ""
        self._epochs = 0
        self._last_line = time.monotonic()

    def __enter__(self) -> "Terminal":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def note(self, sentence: str) -> None:
        """Print a sentence above the bars."""
        self.console.print(f"note: {sentence}", highlight=False, markup=False)

    def images(self, done: int, total: int) -> None:
        """Images read."""
        self._advance("reading images", done, total)

    def drawn(self, done: int, total: int) -> None:
        """Synthetic images written."""
        self._advance("drawing synthetic images", done, total)

    def bytes(self, done: int, total: int | None) -> None:
        """Bytes downloaded."""
        self._advance("downloading (MiB)", done // 2**20, None if total is None else total // 2**20)

    def run_started(self, number: int, total: int, method: str, seed: int, epochs: int) -> None:
        """A run's bar."""
        self._run = f"{number}/{total} {method}, seed {seed}"
        self._epochs = epochs
        self._advance(self._run, 0, epochs)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Advance the run's bar, with its validation figures."""
        status = f"{'validation ' if self._is_wide else ''}{self._error_and_gap(metrics)}"
        self._advance(self._run, epoch, self._epochs, status)

    def run_finished(self, result: "RunResult", *, was_there: bool) -> None:
        """One line a run, which stays when the bars are gone."""
        self.remove_bar()
        state = "was finished" if was_there else f"{result.seconds:.0f} s"
        figures = self._error_and_gap(result.test)
        self.console.print(
            f"{result.method}, seed {result.seed}: test {figures} ({state})", highlight=False, markup=False
        )

    def remove_bar(self) -> None:
        """The current run's bar goes."""
        if self._run in self._tasks:
            self.progress.remove_task(self._tasks.pop(self._run))

    def show_results(self, study: "Study", results: "Sequence[RunResult]", summary_id: str) -> None:
        """The comparison of the methods, the counts behind the rates by site, and where to look next."""
        width = self.console.width
        self.console.print(figures_table(study, results, width=width))
        counts, hidden = counts_table(study, results, width=width)
        self.console.print(counts)
        if hidden:
            self.console.print(f"{hidden} more sites are in comparison.csv.")
        for result in results:
            if reason := trivial_gap(result.test):
                self.note(
                    f"{result.method}, seed {result.seed} {reason} of the test set: its gap of 0 between sites is no "
                    "fairness"
                )
        for part in comparison_parts(study, results):
            self.console.print(part, highlight=False, soft_wrap=isinstance(part, str), markup=False)
        folder = Path(results[0].output_dir).parent
        summary = f", summary run {summary_id}" if summary_id else "; the summary run waits in the output folder"
        self.console.print(
            f"Box plots, saliency maps and tables, with confidence intervals by site: {folder}\n"
            f"MLflow: {_ui_command(study)}   (experiment {study.experiment}{summary})",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )

        if can_be_evaluated(study.bundle):
            model = Path(results[-1].output_dir) / "model.pt"
            self.console.print(
                f"Score new images: fairpool evaluate {model} --manifest FILE",
                highlight=False,
                soft_wrap=True,
                markup=False,
            )

    def show_evaluation(self, evaluation: "Evaluation", output: Path) -> None:
        """Errors by site of a scored table."""
        if evaluation.report is not None:
            grid = Table(title="Errors by site: wrong of cases")
            for title in ("site", "error", "missed positives", "false alarms", "seen in training"):
                grid.add_column(title, justify="left" if title == "site" else "right")
            report = evaluation.report
            for number, site in enumerate(evaluation.sites):
                if int(report.samples[number]) == 0:
                    continue
                wrong = int(report.fnr_of[number, 0] + report.fpr_of[number, 0])
                cells = (part[number].tolist() for part in (report.fnr_of, report.fpr_of))
                seen = "yes" if number < evaluation.num_trained_sites else "no"
                grid.add_row(escape(site), wrong_of([wrong, int(report.samples[number])]), *map(wrong_of, cells), seen)
            self.console.print(grid)
            gaps = {"error": report.overall_error, "DEO": report.deo, "FPR gap": report.fpr_gap}
            self.console.print(
                ", ".join(
                    f"{word} {'no estimate' if value != value else f'{100 * value:.1f} %'}"
                    for word, value in gaps.items()
                ),
                highlight=False,
            )
        self.console.print(f"{len(evaluation.scores)} scores: {output}", highlight=False, soft_wrap=True, markup=False)

    def _error_and_gap(self, figures: Mapping[str, float]) -> str:
        shown = {"error": "error"} | {gap: GAP_WORDS[gap] for gap in gaps_of(self.constraint)}
        return ", ".join(f"{word} {100 * figures[name]:.1f}" for name, word in shown.items() if name in figures)

    def _advance(self, name: str, done: int, total: int | None, status: str = "") -> None:
        if name not in self._tasks:
            self._tasks[name] = self.progress.add_task(name, total=total, status=status)
        self.progress.update(self._tasks[name], completed=done, total=total, status=status)
        if done and self.progress.disable and time.monotonic() - self._last_line >= _QUIET:
            self._last_line = time.monotonic()
            line = f"{name}: {done}{'' if total is None else f' of {total}'}{status and f', {status}'}"
            self.console.print(line, highlight=False, soft_wrap=True, markup=False)


def _ui_command(study: "Study") -> str:
    from fairpool.tracking import default_tracking_uri, without_password

    if study.tracking_uri == default_tracking_uri(study.output_dir):
        return f"fairpool ui --output {study.output_dir}"
    return f"fairpool ui --tracking-uri {without_password(study.tracking_uri)}"
