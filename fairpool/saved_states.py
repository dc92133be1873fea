"""States of a training on disk: whole or not at all, each with its checksum in its name, the last few kept."""

import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from fairpool.whole_file import write_whole

__all__ = ["load_newest", "remove_states", "save_state"]

_NAME = re.compile(r"state-(\d{6})-([0-9a-f]{16})\.pt")


def save_state(folder: Path, state: Mapping[str, Any], epoch: int, *, n_saved: int = 2) -> Path:
    """Write a state of plain tensors, numbers, text, lists and dictionaries, then drop the oldest beyond ``n_saved``.

    The file is named for its epoch and the first 16 hex digits of its SHA-256, and is on the disk when this returns.

    Raises:
        OSError: it cannot be written; the states before it are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getvalue()
    file = folder / f"state-{epoch:06d}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    write_whole(file, content)
    for old in [path for _, _, path in _states(folder)][n_saved:]:
        old.unlink(missing_ok=True)
    return file


def load_newest(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest state that is whole, and the names of damaged ones that are newer.

    Args:
        folder: of `save_state`.
    Returns:
        the state, None where there is none; and the names.
    """
    damaged: list[str] = []
    for _, digest, path in _states(folder):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest()[:16] == digest:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), damaged
        damaged.append(path.name)
    return None, damaged


def remove_states(folder: Path) -> None:
    """Drop all states: a finished run does not need them."""
    for _, _, path in _states(folder):
        path.unlink(missing_ok=True)


def _states(folder: Path) -> Iterator[tuple[int, str, Path]]:
    """Epoch, digest and file, the newest first."""
    found = [(match, path) for path in folder.glob("state-*.pt") if (match := _NAME.fullmatch(path.name))]
    states = [(int(match[1]), match[2], path) for match, path in found]
    return iter(sorted(states, key=lambda state: (state[0], os.stat(state[2]).st_mtime_ns), reverse=True))
