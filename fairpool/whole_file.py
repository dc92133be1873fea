"""Text on disk, whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["write_json", "write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Write UTF-8 text beside the file and rename it, so that no reader and no interruption sees a part."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def write_json(path: Path, content: Any, **options: Any) -> None:
    """`write_whole` of plain values as indented JSON.

    Args:
        path: the file.
        content: what `json.dumps` takes.
        options: of `json.dumps`, such as ``allow_nan=False``.
    """
    write_whole(path, json.dumps(content, indent=1, **options))
