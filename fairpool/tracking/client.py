"""A client with `MlflowClient`'s writing calls that never waits for the store and loses nothing while it is away."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any

from fairpool.tracking.delivery import deliver
from fairpool.tracking.spool import Spool
from fairpool.tracking.store import StoreAwayError, check_address, open_experiment, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["SpoolingClient"]

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between two attempts to reach a store that is away


class SpoolingClient:
    """Keeps evidence on disk and sends it from a thread of its own.

    Its methods are those of `mlflow.MlflowClient`, so that `EvidenceLogger` takes either; a run's id here is that of
    its spool. Evidence that could not be sent stays in the run's folder: a later `open_run` of that folder sends it, as
    does ``fairpool sync``.

    Args:
        tracking_uri: of the store; no user name and password of it are written to disk.
        experiment: its name; made at the first delivery.
        note: takes one sentence when the store is found away, when it is back, and for evidence that it refuses.
    Raises:
        ConnectionError: the address cannot be one of a store.
    """

    def __init__(self, tracking_uri: str, experiment: str, note: Callable[[str], None] = lambda _: None) -> None:
        import mlflow  # noqa: F401  (two threads that import it at once see half of it)

        check_address(tracking_uri)
        self.tracking_uri, self.experiment, self._note = tracking_uri, experiment, note
        self._changed = Condition()  # guards what follows; notified when there is something to do and when it is done
        self._spools: dict[str, Spool] = {}
        self._mlflow_ids: dict[str, str | None] = {}
        self._ended: set[str] = set()
        self._num_begun = self._num_attempts = self._last_failed = 0  # attempts to deliver
        self._failure: Exception | None = None
        self._is_hurried = self._is_closing = False
        self._opened: tuple[MlflowClient, str] | None = None
        self._thread = Thread(target=self._work, name="fairpool-tracking", daemon=True)
        self._thread.start()

    def __enter__(self) -> "SpoolingClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_run(self, folder: str | os.PathLike[str], run_name: str, tags: Mapping[str, str]) -> str:
        """The id of the folder's run: it goes on if there is one, gets the tags that it lacks, and begins if not.

        Raises:
            ConnectionError: another process is at work on it.
        """
        address = without_password(self.tracking_uri)
        about = {"name": run_name, "tags": dict(tags), "experiment": self.experiment, "store": address}
        with self._changed:  # one that ended and still waits is open
            open_ones = [spool for spool in self._spools.values() if spool.folder.resolve() == Path(folder).resolve()]
            self._ended -= {str(spool.about["key"]) for spool in open_ones}
        spool = open_ones[0] if open_ones else Spool(folder, about)
        spool.aim_at(address)
        run_id = str(spool.about["key"])
        spool.add("tags", values=dict(tags))
        with self._changed:
            self._ended.discard(run_id)
            self._spools[run_id], self._mlflow_ids[run_id] = spool, spool.run_id
            self._changed.notify_all()
        return run_id

    def log_batch(
        self, run_id: str, metrics: Sequence[Any] = (), params: Sequence[Any] = (), tags: Sequence[Any] = ()
    ) -> None:
        """As `MlflowClient.log_batch`; the same value of a metric's step, and a parameter, are logged once."""
        by_step: dict[tuple[int, int], dict[str, float]] = {}
        for metric in metrics:
            by_step.setdefault((metric.step, metric.timestamp), {})[metric.key] = float(metric.value)
        for (step, moment), values in by_step.items():
            self._add(run_id, "metrics", step=step, time=moment, values=values)
        self._add(run_id, "params", values={param.key: param.value for param in params})
        self._add(run_id, "tags", values={tag.key: tag.value for tag in tags})

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """As `MlflowClient.set_tag`."""
        self._add(run_id, "tags", values={key: value})

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """As `MlflowClient.log_text`."""
        self._add(run_id, "text", text=text, name=artifact_file)

    def log_artifact(self, run_id: str, local_path: str) -> None:
        """As `MlflowClient.log_artifact`, of a file in the run's folder, which is read when it is sent.

        Raises:
            ValueError: the file lies elsewhere.
        """
        path = Path(local_path).resolve().relative_to(self._spools[run_id].folder.resolve())
        self._add(run_id, "file", path=path.as_posix())

    def set_status(self, run_id: str, status: str) -> None:
        """As `MlflowClient.update_run`: "RUNNING" for a run that goes on; the status that it has already stays."""
        self._add(run_id, "status", status=status)

    def set_terminated(self, run_id: str, status: str = "FINISHED") -> None:
        """As `MlflowClient.set_terminated`; nothing can be logged to the run then, unless it is opened again."""
        self.set_status(run_id, status)
        with self._changed:
            self._ended.add(run_id)
            self._drop_ended()
            self._changed.notify_all()

    def mlflow_run_id(self, run_id: str) -> str | None:
        """The id that MLflow gave the run, None as long as it was not reached."""
        with self._changed:
            return self._mlflow_ids[run_id]

    def await_store(self, seconds: float = 5.0) -> None:
        """Wait until the store was reached or found away, but not longer than so many seconds.

        Raises:
            ConnectionError: it is there and cannot be used, such as an experiment that was deleted.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._num_attempts > 0, seconds)
            failure = self._failure
        if isinstance(failure, ConnectionError) and not isinstance(failure, StoreAwayError):
            self.close(0)
            raise failure

    def flush(self, seconds: float = 5.0) -> int:
        """Send now what waits, and wait for it as long as something arrives every few seconds, six times that at most.

        Returns:
            number of entries that still wait.
        """
        end = time.monotonic() + 6 * seconds
        with self._changed:
            begun = self._num_begun
            while waiting := self._num_waiting():
                self._is_hurried = True
                self._changed.notify_all()
                self._changed.wait_for(partial(self._has_news, waiting, begun), seconds)
                if self._num_waiting() >= waiting or time.monotonic() > end:
                    break
            return self._num_waiting()

    def close(self, seconds: float = 5.0) -> int:
        """`flush`, and end; returns how many entries wait for ``fairpool sync``."""
        for spool in list(self._spools.values()):
            spool.holds_back = False  # what is in memory alone would be lost now
        self.flush(seconds)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(_FIRST_PAUSE)
        with self._changed:
            waiting = 0
            for spool in self._spools.values():
                spool.holds_back = True
                if not self._thread.is_alive():  # else it is at work on one, and its lock lasts as long as the process
                    spool.close()
                waiting += spool.num_waiting
            self._spools.clear()
        return waiting

    def _add(self, run_id: str, kind: str, **content: Any) -> None:
        self._spools[run_id].add(kind, **content)
        with self._changed:
            self._changed.notify_all()

    def _has_news(self, waiting: int, begun: int) -> bool:
        """Whether something arrived, or an attempt failed that began after the first ``begun`` ones."""
        return self._num_waiting() < waiting or self._last_failed > begun

    def _num_waiting(self) -> int:
        return sum(spool.num_waiting for spool in self._spools.values())

    def _work(self) -> None:
        """Deliver whatever arises; after a failure try again, at growing intervals."""
        pause = _FIRST_PAUSE
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closing or self._num_waiting() or not self._num_attempts)
                if self._is_closing:
                    return
                spools = dict(self._spools)
                self._is_hurried = False
                self._num_begun += 1
            failure = self._attempt(spools)
            with self._changed:
                self._num_attempts += 1
                self._failure = failure
                self._last_failed = self._last_failed if failure is None else self._num_begun
                self._drop_ended()
                self._changed.notify_all()
                if failure is None:
                    pause = _FIRST_PAUSE
                else:
                    self._changed.wait_for(lambda: self._is_closing or self._is_hurried, pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)

    def _attempt(self, spools: Mapping[str, Spool]) -> Exception | None:
        """Send what each spool has; the first failure, of a store or of a single run, which holds up no other."""
        was_away, failure = self._failure is not None, None
        try:
            opened = self._opened = self._opened or open_experiment(self.tracking_uri, self.experiment)
            for run_id, spool in spools.items():
                try:
                    for sentence in deliver(spool, *opened, is_over=lambda: self._is_closing):
                        self._tell(sentence)
                except Exception as error:  # noqa: BLE001  (whatever a store raises, training goes on)
                    failure, self._opened = failure or error, None
                    opened = self._opened = open_experiment(self.tracking_uri, self.experiment)  # if it still answers
                finally:
                    self._mlflow_ids[run_id] = spool.run_id
        except Exception as error:  # noqa: BLE001  (the store is away: no other run can be sent)
            failure = failure or error
        if failure is not None and not was_away:
            self._tell(
                f"{_sentence(failure)} Training goes on: the evidence is kept in the output folder and is sent when "
                "the store answers again, or by `fairpool sync`."
            )
        is_cut_off = self._is_closing and any(spool.num_waiting for spool in spools.values())
        if failure is None and was_away and not is_cut_off:
            self._tell("the tracking store is back, and has all evidence so far.")
        return failure

    def _tell(self, sentence: str) -> None:
        with suppress(Exception):  # a terminal that is gone must not end the thread
            self._note(sentence)

    def _drop_ended(self) -> None:
        for run_id in list(self._ended & self._spools.keys()):
            if self._spools[run_id].is_done:
                self._spools.pop(run_id).close()


def _sentence(error: Exception) -> str:
    if isinstance(error, ConnectionError):
        return without_password(str(error))
    if str(error).startswith("API request to"):  # MLflow goes on with addresses, pools and retries
        return "The tracking server does not answer."
    reason = (without_password(str(error)).strip().splitlines() or [type(error).__name__])[0]
    return f"The tracking store failed: {reason.rstrip('.')}."
