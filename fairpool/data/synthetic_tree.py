"""The folder of a synthetic tree: whose it is, whether it is whole, and how its images are written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from fairpool.errors import DataError
from fairpool.whole_file import open_whole, write_json

__all__ = ["TREE_FILE", "claim_tree", "finish_tree", "save_image"]

TREE_FILE = "synthetic.json"
"""What made the tree, with every setting; it has the ending ``.partial`` until the tree is whole."""

_NOTE = "Drawn by a program. No image in this tree shows a real person."


def claim_tree(root: Path, generator: str, settings: Mapping[str, Any], *, version: int = 1, note: str = _NOTE) -> bool:
    """Whether the tree is there, whole; else the folder is made and marked as one that such a tree is written to.

    Args:
        root: the folder: new, empty, or of a tree with the same settings, whole or interrupted.
        generator: name of the function that draws.
        settings: everything on which the tree depends, as JSON would give it back.
        version: of the drawing; another one makes other bytes from the same settings.
        note: says that nothing in the tree is real.
    Raises:
        DataError: the folder holds something else, or a tree made otherwise. Nothing was changed.
    """
    if root.exists() and not root.is_dir():
        raise DataError(f'"{root.name}" is a file; name a folder for the synthetic tree.')
    found = [file for file in (root / TREE_FILE, _partial(root)) if file.is_file()]
    if not found and root.is_dir() and any(root.iterdir()):
        raise DataError(
            f'The folder "{root.name}" is not empty and holds no synthetic tree; name a new folder, as nothing is '
            "overwritten."
        )
    made = {"generator": generator, "format": version, "settings": dict(settings)}
    if found and (other := _differences(found[0], made)):
        raise DataError(
            f'The folder "{root.name}" holds a synthetic tree made otherwise ({"; ".join(other)}); name a new folder, '
            "or use the same settings."
        )
    if found and found[0].name == TREE_FILE:
        return True
    root.mkdir(parents=True, exist_ok=True)
    write_json(_partial(root), {"synthetic": True, "note": note, **made})
    return False


def finish_tree(root: Path) -> None:
    """Mark a claimed tree as whole."""
    _partial(root).replace(root / TREE_FILE)


def save_image(image: Image.Image, file: Path, **options: Any) -> None:
    """Write an image whole or not at all, so that an interrupted tree can be continued by the names that are there.

    Args:
        image: any that the format holds.
        file: its place.
        options: of `PIL.Image.Image.save`, with ``format``.
    """
    with open_whole(file) as handle:
        image.save(handle, **options)


def _partial(root: Path) -> Path:
    return root / f"{TREE_FILE}.partial"


def _differences(file: Path, made: Mapping[str, Any]) -> list[str]:
    """What a tree was made with instead; empty if it is the same."""
    try:
        earlier = json.loads(file.read_text(encoding="utf-8"))
        before = earlier["settings"]
        other = [
            f"{name} {before.get(name)!r}, not {value!r}"
            for name, value in made["settings"].items()
            if before.get(name) != value
        ]
    except (ValueError, OSError, LookupError, AttributeError, TypeError):
        return ["settings that cannot be read"]
    is_same_drawing = (earlier.get("generator"), earlier.get("format", 1)) == (made["generator"], made["format"])
    return other or ([] if is_same_drawing and before.keys() == made["settings"].keys() else ["another version"])
