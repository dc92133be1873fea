"""The evidence of one run on disk: lines that are only ever added, and how many of them MLflow has."""

import json
import os
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Any

from filelock import FileLock, Timeout

from fairpool.whole_file import keep_names, write_json

__all__ = ["SPOOL_NAME", "Spool"]

SPOOL_NAME = "tracking.jsonl"
"""The spool's file in a run's folder; ``tracking-sent.json`` beside it says how much of it MLflow has."""

_PATIENCE = 10.0  # seconds
_CONTENT = {  # what an entry must have
    "run": {"key", "time"},
    "params": {"values"},
    "tags": {"values"},
    "metrics": {"step", "time", "values"},
    "text": {"name", "text"},
    "file": {"path"},
    "status": {"status", "time"},
}


class Spool:
    """Evidence in the order in which it arose. One process at a time has a run's spool open.

    Each line is a JSON object with a ``kind``: "run" (the first line: name, tags, experiment, store), "params", "tags",
    "metrics" (``step``, ``time`` in ms, ``values``), "text" (``name``, ``text``), "file" (``path`` below the folder,
    ``place`` among the artifacts) or "status" (``status``, ``time``). A line that a power cut left half-written is
    dropped when the spool is opened again. If the disk is full, lines wait in memory and are written with the next one.

    Args:
        folder: of the run; made where it is not there.
        about: the first line of a new spool: ``name``, ``tags``, ``experiment``, ``store``. A training, which gives it,
            waits some seconds for another process that has the spool open, such as ``fairpool sync``.
    Attributes:
        store: that has the run, or is to take it.
        tags: of the run, as they were set last.
        holds_back: whether lines that are in memory alone are not offered: sent, then lost, they would come twice.
    Raises:
        ConnectionError: another process has it open.
        FileNotFoundError: there is none, or its first line is damaged, and ``about`` was not given.
    """

    holds_back = True

    def __init__(self, folder: str | os.PathLike[str], about: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self._file = self.folder / SPOOL_NAME
        self._state_file = self.folder / "tracking-sent.json"
        if about is None and not self._file.is_file():
            raise FileNotFoundError(f'the folder "{self.folder.name}" holds no evidence of a run.')
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / "tracking.lock", thread_local=False)  # another thread may close it
        try:
            self._lock.acquire(timeout=0 if about is None else _PATIENCE)
        except Timeout:
            raise ConnectionError(
                f'another process is at work on "{self.folder.name}"; wait for its end, or stop it.'
            ) from None
        for part in self.folder.glob(f"{self._state_file.name}.*.part"):  # of a process that was killed
            part.unlink(missing_ok=True)
        self._guard = RLock()
        self._unwritten: list[bytes] = []
        entries, self._size = _read(self._file)
        if entries and entries[0]["kind"] != "run":  # its beginning is damaged: nobody knows which run it was
            os.replace(self._file, self._file.with_suffix(".damaged"))
            entries, self._size = [], 0
        elif self._file.is_file():
            os.truncate(self._file, self._size)
        if not entries and about is None:
            self._lock.release()
            raise FileNotFoundError(f'the folder "{self.folder.name}" holds no evidence of a run that can be read.')
        self.sent, self.refused, self.run_id, store = _read_state(self._state_file, len(entries))
        if not entries:
            entries = [{"kind": "run", "key": uuid.uuid4().hex, "time": _now(), **(about or {})}]
            self._unwritten.append(_line(entries[0]))
        self.about = entries[0]
        self.store = store or self.about.get("store")
        self._waiting = deque(entries[self.sent :])
        self._logged: set[tuple[str, ...]] = set()
        self.tags: dict[str, str] = dict(self.about.get("tags", {}))
        self._status = "RUNNING"  # a run begins so
        for entry in entries:
            self._logged.update(_names(entry))
            self.tags.update(entry["values"] if entry["kind"] == "tags" else {})
            self._status = entry["status"] if entry["kind"] == "status" else self._status
        self._write()

    def add(self, kind: str, **content: Any) -> None:
        """Keep an entry; the same value of a metric's step, or of a tag in turn, and a parameter are kept once.

        A run that goes on from its last checkpoint repeats up to one epoch: its metrics must not come twice.
        """
        entry = {"kind": kind, **content}
        with self._guard:
            if kind == "tags":
                entry["values"] = {key: text for key, text in entry["values"].items() if self.tags.get(key) != text}
                if not entry["values"]:
                    return
                self.tags.update(entry["values"])
            elif "values" in entry:
                fresh = {name for _, name, *_ in set(_names(entry)) - self._logged}
                entry["values"] = {name: value for name, value in entry["values"].items() if str(name) in fresh}
                if not entry["values"]:
                    return
            if kind == "status":
                if self._status == entry["status"]:
                    return
                self._status = entry["status"]
            if kind in ("metrics", "status"):
                entry.setdefault("time", _now())
            line = _line(entry)
            self._logged.update(_names(entry))
            self._unwritten.append(line)
            self._waiting.append(entry)
            self._write()

    def waiting(self, most: int) -> list[dict[str, Any]]:
        """The first entries that MLflow does not have yet."""
        with self._guard:
            return [self._waiting[i] for i in range(min(most, self.num_waiting))]

    def confirm(self, number: int, *, refused: bool = False) -> None:
        """MLflow has the first ``number`` waiting entries, or will never take them."""
        with self._guard:
            for _ in range(number):
                self._waiting.popleft()
            self.sent += number
            self.refused += number if refused else 0
            self._write_state()

    def set_run_id(self, run_id: str) -> None:
        """The id that MLflow gave the run."""
        self.run_id = run_id
        self._write_state()

    def aim_at(self, store: str) -> None:
        """Say which store takes the evidence; another one than before takes all of it anew."""
        if store != self.store:
            self.store = store
            self.begin_anew()

    def begin_anew(self) -> None:
        """Nothing was sent: the store is another one, or has lost the run."""
        with self._guard:
            entries, _ = _read(self._file)
            self._waiting = deque([*entries, *map(json.loads, self._unwritten)])
            self.sent, self.refused, self.run_id = 0, 0, None
            self._write_state()

    @property
    def is_done(self) -> bool:
        """Whether MLflow has every entry, those in memory alone included."""
        with self._guard:
            return not self._waiting

    @property
    def num_waiting(self) -> int:
        """Number of entries that MLflow does not have yet, without those that are held back."""
        with self._guard:  # some of the unwritten ones may have been sent
            return max(len(self._waiting) - (len(self._unwritten) if self.holds_back else 0), 0)

    def close(self) -> None:
        """Let other processes have it."""
        with self._guard:
            self._write()
            self._lock.release()

    def _write(self) -> None:
        """Write what is not on disk yet; on a full disk it stays in memory, and nothing is left half-written."""
        if not self._unwritten:
            return
        content = b"".join(self._unwritten)
        is_new = self._size == 0
        try:
            with open(self._file, "ab") as file:
                file.truncate(self._size)  # what a write left that failed
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):  # a disk that became read-only
                os.truncate(self._file, self._size)
            return
        self._size += len(content)
        self._unwritten.clear()
        if is_new:
            keep_names(self.folder)
            keep_names(self.folder.parent)

    def _write_state(self) -> None:
        # Entries that are in memory alone are not counted: they would be taken for sent after a crash.
        written = self.sent + len(self._waiting) - len(self._unwritten)
        state = {"sent": min(self.sent, written), "refused": self.refused, "run_id": self.run_id, "store": self.store}
        try:
            write_json(self._state_file, state)
        except OSError:
            return  # the disk is full; sending twice does no harm


def _names(entry: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """What of an entry must not come twice: a parameter; the same value of a metric's step."""
    kind = str(entry["kind"])
    for name, value in entry.get("values", {}).items() if kind != "tags" else ():
        yield (kind, str(name)) if kind == "params" else (kind, str(name), str(entry.get("step")), repr(value))


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _read(file: Path) -> tuple[list[dict[str, Any]], int]:
    """The entries of the file, one a line, and where its last whole line ends; a damaged line is one without use."""
    content = file.read_bytes() if file.is_file() else b""
    size = content.rfind(b"\n") + 1
    entries = []
    for line in content[:size].split(b"\n")[:-1]:
        found: dict[str, Any] = {"kind": "damaged"}
        with suppress(ValueError, RecursionError):
            entry = json.loads(line)
            found = entry if _is_whole(entry) else found
        entries.append(found)
    return entries, size


def _is_whole(entry: Any) -> bool:
    """Whether it has what its kind needs; a kind of a later version needs nothing."""
    if not isinstance(entry, dict) or "kind" not in entry or not isinstance(entry.get("values", {}), dict):
        return False
    return _CONTENT.get(str(entry["kind"]), set()) <= entry.keys()


def _read_state(file: Path, num_entries: int) -> tuple[int, int, str | None, str | None]:
    """How many entries were sent, how many refused, the run's id, and the store that has it."""
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        sent, refused = int(state["sent"]), int(state["refused"])
        run_id, store = (text if isinstance(text, str) else None for text in (state["run_id"], state.get("store")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return 0, 0, None, None  # sending again does no harm
    return min(max(sent, 0), num_entries), refused, run_id, store


def _now() -> int:
    return time.time_ns() // 1_000_000
