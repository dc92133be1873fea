"""Remember what a scan has read, so that an interrupted one goes on and a later one reads what changed alone."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from fairpool.data.scan.walking import FoundFile
from fairpool.whole_file import open_whole

__all__ = ["Journal"]

_FORMAT = 3  # raise it whenever a file is read into other values


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
        self._handle: BinaryIO | None = None

    def __enter__(self) -> "Journal":
        if self.file is None:
            return self
        first = {"fairpool scan": _FORMAT, "settings": self.settings}
        kept = self._read(first)
        # Written anew: whole lines alone, and the last word on each file.
        with open_whole(self.file, mode=0o600) as handle:
            handle.write(_as_line(first))
            handle.writelines(_as_line([path, *entry]) for path, entry in kept.items())
        self._handle = self.file.open("ab")
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
            self._handle.write(_as_line([file.path, file.size, file.changed, values]))
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


def _as_line(entry: Any) -> bytes:
    return json.dumps(entry).encode("ascii") + b"\n"
