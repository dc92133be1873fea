"""States of a training on disk: whole or not at all, each with its checksum in its name, the last few kept."""

import hashlib
import io
import os
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from fairpool.whole_file import write_whole

__all__ = ["check_readable", "load_newest", "remove_states", "save_state"]

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
    """The newest state that is whole, and the names of damaged ones that were newer, which are removed.

    Args:
        folder: of `save_state`.
    Returns:
        the state, None where there is none; and the names.
    """
    damaged: list[str] = []
    for _, digest, path in _states(folder):
        try:
            content = path.read_bytes()
        except OSError:  # a bad sector
            content = b""
        if hashlib.sha256(content).hexdigest()[:16] == digest:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), damaged
        damaged.append(path.name)
        path.unlink(missing_ok=True)  # else it would count as the newest of those that are kept
    return None, damaged


def check_readable(parts: Mapping[str, Any]) -> None:
    """Refuse what `load_newest` could not read back, before anything depends on it.

    Args:
        parts: by name, what a state will hold.
    Raises:
        TypeError: one holds something other than tensors, plain numbers, text, lists and dictionaries; names it.
    """
    for name, part in parts.items():
        buffer = io.BytesIO()
        torch.save(part, buffer)
        buffer.seek(0)
        try:
            torch.load(buffer, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise TypeError(
                f'the state_dict of "{name}" holds more than tensors, plain numbers, text, lists and dictionaries, so '
                "it could not be read back: convert what it holds, or leave it out."
            ) from None


def remove_states(folder: Path) -> None:
    """Drop all states: a finished run does not need them."""
    for _, _, path in _states(folder):
        path.unlink(missing_ok=True)


def _states(folder: Path) -> Iterator[tuple[int, str, Path]]:
    """Epoch, digest and file, the newest first."""
    found = [(match, path) for path in folder.glob("state-*.pt") if (match := _NAME.fullmatch(path.name))]
    states = [(int(match[1]), match[2], path) for match, path in found]
    return iter(sorted(states, key=lambda state: (state[0], os.lstat(state[2]).st_mtime_ns), reverse=True))
