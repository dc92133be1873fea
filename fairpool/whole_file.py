"""Files on disk, whole or not at all."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["keep_names", "open_whole", "write_json", "write_whole"]


@contextmanager
def open_whole(path: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write bytes into, which gets its name at the end of the context; after an error nothing is left of it.

    It is always a new file, first under a name that nobody can foresee: no link that lies there is followed, and no
    mode of a file that lies there is kept.

    Args:
        path: the file; its folder exists.
        mode: of the file, less what the umask takes away; 0o600 lets its owner alone read it.
    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())  # else a power cut could leave the name with nothing behind it
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    keep_names(path.parent)


def keep_names(folder: Path) -> None:
    """Have a folder's names outlast a power cut, where the file system can be told so."""
    if os.name != "posix":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_whole(path: Path, content: str | bytes, *, mode: int = 0o666) -> None:
    """Write a file so that no reader and no interruption sees a part of it.

    Args:
        path: the file; its folder exists.
        content: bytes, or text, which is written as UTF-8.
        mode: see `open_whole`.
    Raises:
        OSError: it cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder, "a.txt"), "Zürich")
    ...     Path(folder, "a.txt").read_text(encoding="utf-8"), os.listdir(folder)
    ('Zürich', ['a.txt'])
    """
    with open_whole(path, mode=mode) as handle:
        handle.write(content.encode("utf-8") if isinstance(content, str) else content)


def write_json(path: Path, content: Any, **options: Any) -> None:
    """`write_whole` of plain values as indented JSON.

    Args:
        path: the file.
        content: what `json.dumps` takes.
        options: of `json.dumps`, such as ``allow_nan=False``.
    """
    write_whole(path, json.dumps(content, indent=1, **options))
