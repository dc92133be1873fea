"""Trials of a sweep in an Optuna study on disk, shared by any number of processes and resumed after a kill."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import optuna

__all__ = ["SearchRange", "Trial", "TrialCounts", "TrialStore"]

_GIVE_UP_AFTER = 3  # failures before the first success
_FAILURE = "failure"  # attribute of a trial that failed by its settings, unlike one whose process was killed


@dataclass(frozen=True)
class SearchRange:
    """From where a setting is drawn.

    Args:
        low: smallest value.
        high: largest value.
        log: whether its logarithm is drawn.
        whole: whether it is a whole number.
    Raises:
        ValueError: the range is empty, or reaches zero where the logarithm is drawn.

    >>> 0.1 in SearchRange(0.01, 1, log=True)
    True
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high < float("inf"):
            raise ValueError(f"a range goes from a smaller to a larger number; got {self.low:g} to {self.high:g}.")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range starts above 0; got {self.low:g}.")

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Trial:
    """A trial that this process has to carry out.

    Attributes:
        number: from 0, in the order in which trials were made.
        settings: values by name.
    """

    number: int
    settings: dict[str, float]


@dataclass(frozen=True)
class TrialCounts:
    """How many trials have finished, have failed by their settings, and are being carried out by a living process."""

    finished: int
    failed: int
    running: int


class TrialStore:
    """Trials with two or more figures to make small, proposed by Optuna's multi-objective TPE.

    Every process that works on a sweep opens one. Asking and telling happen under one file lock, so the budget is kept
    exactly and sqlite has one writer at a time. Each trial in progress holds a lock of its own, which the operating
    system drops when its process dies: the trial is then given to the next process that asks, with the same settings.
    (Optuna's heartbeat would notice only after a grace period, and not with asking and telling.) The first trial has
    the settings ``first``, where they lie within the ranges. What is proposed depends on ``seed`` and on the trials
    before, not on which process asks. All processes run on one machine.

    Args:
        path: the sqlite file, made where it is not there yet.
        name: of the sweep in that file.
        space: the ranges by setting.
        first: the settings to begin with.
        seed: of the proposals.
        figures: names of what is made small.
    Raises:
        OSError: the file cannot be made.
        RuntimeError: the file is there and is no store of trials; also from any method, when it fails later.
    Source: Ozaki et al. 2022, JAIR, doi:10.1613/jair.1.13188, for the proposals.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        space: Mapping[str, SearchRange],
        first: Mapping[str, float],
        seed: int,
        figures: Sequence[str],
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._path, self._name, self._seed = path, name, seed
        self._space = {setting: _distribution(drawn) for setting, drawn in space.items()}
        self._folder = path.with_suffix("")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path.with_suffix(".lock"))
        self._held: dict[int, FileLock] = {}
        self._asked: dict[int, optuna.Trial] = {}
        with self._locked():  # of two processes that make the same tables at once, one fails
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": 60}}
            )
            self._study = optuna.create_study(
                storage=storage, study_name=name, directions=["minimize"] * len(figures), load_if_exists=True
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._study.set_metric_names(list(figures))
            if not self._study.trials and all(first.get(setting) in drawn for setting, drawn in space.items()):
                self._study.enqueue_trial({setting: first[setting] for setting in space})

    def ask(self, budget: int) -> Trial | None:
        """The next trial for this process; None where ``budget`` trials have ended or are being carried out.

        Raises:
            RuntimeError: the first three trials to end all failed; gives the last one's reason.
        """
        import optuna

        with self._locked():
            self._take_back_abandoned()
            counts = self._counts()
            if counts.failed >= _GIVE_UP_AFTER and not counts.finished:
                reasons = [trial.user_attrs[_FAILURE] for trial in self._study.trials if _FAILURE in trial.user_attrs]
                raise RuntimeError(f"{counts.failed} trials failed and none finished; the last: {reasons[-1]}")
            begun = counts.finished + counts.failed + counts.running
            if begun >= budget:
                return None
            # A seed of its own for each trial: with one for all, every process would begin with the same proposals.
            self._study.sampler = optuna.samplers.TPESampler(seed=self._seed + begun, constant_liar=True)
            asked = self._study.ask(self._space)
            lock = self._trial_lock(asked.number)
            lock.acquire(timeout=0)
            self._held[asked.number], self._asked[asked.number] = lock, asked
            return Trial(asked.number, dict(asked.params))

    def finish(self, trial: Trial, figures: Sequence[float]) -> None:
        """Tell the figures of a trial, finite, in the order of their names."""
        with self._locked():
            self._study.tell(self._asked[trial.number], list(figures))
            self._release(trial.number)

    def fail(self, trial: Trial, reason: str) -> None:
        """Tell that a trial failed by its settings: it counts, and is not carried out again."""
        with self._locked():
            self._asked[trial.number].set_user_attr(_FAILURE, reason)
            self._end_failed(trial.number)

    def give_back(self, trial: Trial) -> None:
        """Leave a trial to whoever asks next, such as when this process is interrupted."""
        with self._locked():
            self._end_failed(trial.number)
            self._study.enqueue_trial(trial.settings)

    def counts(self) -> TrialCounts:
        """How many trials there are; those of killed processes are in none of the numbers."""
        with self._locked():
            self._take_back_abandoned()
            return self._counts()

    def _counts(self) -> TrialCounts:
        trials = self._study.trials
        return TrialCounts(
            finished=sum(trial.state.name == "COMPLETE" for trial in trials),
            failed=sum(trial.state.name == "FAIL" and _FAILURE in trial.user_attrs for trial in trials),
            running=sum(trial.state.name == "RUNNING" for trial in trials),
        )

    def _take_back_abandoned(self) -> None:
        for trial in self._study.trials:
            if trial.state.name != "RUNNING" or trial.number in self._held:
                continue
            lock = self._trial_lock(trial.number)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue  # its process lives
            self._held[trial.number] = lock
            self._end_failed(trial.number)
            if set(trial.params) == set(self._space):  # else it was killed while its settings were drawn
                self._study.enqueue_trial(trial.params)

    def _end_failed(self, number: int) -> None:
        import optuna

        self._study.tell(number, state=optuna.trial.TrialState.FAIL)
        self._release(number)

    def _trial_lock(self, number: int) -> FileLock:
        return FileLock(self._folder / f"{self._name}-trial{number}.lock")

    def _release(self, number: int) -> None:
        lock = self._held.pop(number)
        self._asked.pop(number, None)
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)  # the trial has ended: nobody will ask for its lock

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError

        with self._lock:
            try:
                yield
            except (OptunaError, SQLAlchemyError) as error:
                lines = str(error).replace(str(self._path.resolve()), self._path.name).splitlines()
                raise RuntimeError(f'the store of trials "{self._path.name}" failed: {lines[0]}') from error


def _distribution(drawn: SearchRange) -> "optuna.distributions.BaseDistribution":
    import optuna

    if drawn.whole:
        return optuna.distributions.IntDistribution(int(drawn.low), int(drawn.high), log=drawn.log)
    return optuna.distributions.FloatDistribution(drawn.low, drawn.high, log=drawn.log)
