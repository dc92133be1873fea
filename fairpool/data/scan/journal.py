"""Remember what a scan has read, so that an interrupted one goes on and a later one reads what changed alone."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from fairpool.data.scan.walking import FoundFile

__all__ = ["Journal"]

_FORMAT = 1  # raise it whenever a file is read into other values


class Journal:
    """A file with one line a file read: its path, size and time, and what the manifest is to say of it.

    Lines are flushed as they are written, and a line that was cut off is read again. The values are those of the
    manifest, so patients are pseudonyms. Use it as a context.

    Args:
        file: made with mode 0600; None keeps nothing.
        settings: what values depend on besides the files; a journal of other settings is not used.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image = FoundFile("a.png", 9, 1)
    ...     with Journal(Path(folder, "list.jsonl"), "x") as journal:
    ...         journal.add(image, {"format": "png"})
    ...     with Journal(Path(folder, "list.jsonl"), "x") as journal:
    ...         journal.find(image), journal.find(FoundFile("a.png", 9, 2))
    ({'format': 'png'}, None)
    """

    def __init__(self, file: Path | None, settings: str) -> None:
        self.file = file
        self.settings = settings
        self._known: dict[str, tuple[int, int, dict[str, Any]]] = {}
        self._handle: TextIO | None = None

    def __enter__(self) -> "Journal":
        if self.file is None:
            return self
        first = {"fairpool scan": _FORMAT, "settings": self.settings}
        kept = self._read(first)
        part = self.file.with_name(self.file.name + ".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        # Written anew: whole lines alone, and the last word on each file.
        self._handle = os.fdopen(descriptor, "w", encoding="ascii")
        self._handle.write(json.dumps(first) + "\n")
        for path, (size, changed, values) in kept.items():
            self._handle.write(json.dumps([path, size, changed, values]) + "\n")
        self._handle.flush()
        os.replace(part, self.file)
        self._known = kept
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def find(self, file: FoundFile) -> dict[str, Any] | None:
        """What was written of a file, if neither its size nor its time has changed since."""
        size, changed, values = self._known.get(file.path, (-1, -1, {}))
        return values if (size, changed) == (file.size, file.changed) else None

    def add(self, file: FoundFile, values: dict[str, Any]) -> None:
        """Write what a file holds.

        Args:
            file: as it was found.
            values: plain values for JSON.
        """
        if self._handle is not None:
            self._handle.write(json.dumps([file.path, file.size, file.changed, values]) + "\n")
            self._handle.flush()

    def _read(self, first: dict[str, Any]) -> dict[str, tuple[int, int, dict[str, Any]]]:
        """The lines of an earlier scan with the same settings; the last of a path counts."""
        assert self.file is not None
        found: dict[str, tuple[int, int, dict[str, Any]]] = {}
        try:
            lines = self.file.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            return found
        for number, line in enumerate(lines):
            try:
                entry = json.loads(line)
                if number == 0 and entry != first:
                    return found
                if number:
                    path, size, changed, values = entry
                    found[str(path)] = (int(size), int(changed), dict(values))
            except (ValueError, TypeError, RecursionError):
                if number == 0:
                    return found
        return found
