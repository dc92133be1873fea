"""What a sweep looks like while it runs: validation figures alone, so that nobody chooses by the test set."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fairpool.terminal import Terminal

if TYPE_CHECKING:
    from fairpool.experiment import RunResult

__all__ = ["TrialLines", "TrialTerminal"]


class TrialTerminal(Terminal):
    """Progress bars of one process; a `fairpool.experiment.StudyObserver`."""

    def run_finished(self, result: "RunResult", *, was_there: bool) -> None:
        """The run's bar goes; its trial's validation figures are a note."""
        self.remove_bar()


class TrialLines:
    """Lines of one process among several, whose bars would overwrite each other; a `StudyObserver`."""

    def note(self, sentence: str) -> None:
        """Print a sentence."""
        print(f"note: {sentence}", flush=True)

    def images(self, done: int, total: int) -> None:
        """Images read: the first process has read them all."""

    def run_started(self, number: int, total: int, method: str, seed: int, epochs: int) -> None:
        """A run begins: its trial was announced."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch is validated: not shown."""

    def run_finished(self, result: "RunResult", *, was_there: bool) -> None:
        """A run ended: its trial's validation figures are a note."""
