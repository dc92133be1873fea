"""The images and labels behind ``fairpool labels``."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from fairpool.terminal import Terminal
    from fairpool.unfair_labels import LabelData

__all__ = ["celeba_labels"]


def celeba_labels(
    data: Path | None, output: Path, pixels: int, terminal: "Terminal"
) -> tuple["LabelData", str, list[str]]:
    """CelebA, or synthetic faces where no folder is given, as rows of pixels with 40 labels each.

    Args:
        data: the data set's folder.
        output: takes the synthetic tree.
        pixels: side of the reduced image.
        terminal: shows the progress.
    Returns:
        images and labels, a digest of them, and what a reader of the results should know.
    Raises:
        DataError: see `read_celeba` and `read_pixel_array`.
    """
    from fairpool.data.celeba import CELEBA_ATTRIBUTES, read_celeba
    from fairpool.data.image_cache import default_cache_dir
    from fairpool.data.pixel_array import read_pixel_array
    from fairpool.data.synthetic_celeba import synthesize_celeba
    from fairpool.unfair_labels import LabelData

    notes = []
    if data is None:
        notes.append("synthetic images (no --data): the results say nothing about real people")
        terminal.note(notes[0])
        data = output / "synthetic-celeba"
        data.mkdir(parents=True, exist_ok=True)
        with FileLock(data.with_suffix(".lock")):  # several commands may begin on one output at once
            synthesize_celeba(data, progress=terminal.drawn)
    celeba = read_celeba(data)
    array = read_pixel_array(celeba.paths(), pixels, default_cache_dir(), progress=terminal.images)
    labels = celeba.table[list(CELEBA_ATTRIBUTES)].reset_index(drop=True)
    digest = hashlib.sha256(labels.to_numpy().tobytes())
    digest.update(array.tobytes() if array.nbytes < 1 << 28 else array[:: max(len(array) // 4096, 1)].tobytes())
    sections = celeba.table["section"].to_numpy()
    return LabelData(array, labels, sections), digest.hexdigest()[:12], notes
