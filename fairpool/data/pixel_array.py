"""Every image of a set reduced once to a few pixels, in one array on disk: what many small networks train on."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tokenize import TokenError

import numpy as np

from fairpool.data.checks import list_rows
from fairpool.data.photograph import read_photograph
from fairpool.errors import DataError

__all__ = ["read_pixel_array"]

_AT_ONCE = 512
# What numpy raises on a header with flipped bytes, found by flipping them; RecursionError is a RuntimeError.
_DAMAGE = (EOFError, MemoryError, OSError, RuntimeError, SyntaxError, TokenError, TypeError, ValueError)


def read_pixel_array(
    paths: Sequence[str],
    size: int,
    cache_dir: str | os.PathLike[str],
    *,
    num_workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Red, green and blue of every image, as rows; decoded at the first call and mapped from disk afterwards.

    Args:
        paths: the images.
        size: side of the reduced square, in pixels.
        cache_dir: takes the array; it is found again by the files' names, sizes and times. One that is damaged or has
            another shape is made again; nothing in it is ever unpickled.
        num_workers: threads that decode.
        progress: called with (done, total).
    Returns:
        uint8, (N, 3 * size * size), read only.
    Raises:
        DataError: images cannot be used; all are counted, the first ones named by row.
        OSError: the folder cannot be written.
    """
    target = Path(cache_dir) / f"pixels-{_digest(paths, size)}.npy"
    shape = (len(paths), 3 * size * size)
    found = _map(target, shape)
    if found is not None:
        return found
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, part = tempfile.mkstemp(suffix=".part", dir=target.parent)  # made with mode 0600
    os.close(descriptor)
    try:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        _fill(array, paths, size, num_workers, progress)
        array.flush()
        os.replace(part, target)
    finally:
        Path(part).unlink(missing_ok=True)
    return np.lib.format.open_memmap(target, mode="r")


def _map(target: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """What was kept; None where there is nothing, or something that cannot be it."""
    try:
        found = np.lib.format.open_memmap(target, mode="r")  # unlike numpy.load it takes this one format alone
    except _DAMAGE:
        return None
    return found if found.dtype == np.uint8 and found.shape == shape else None


def _fill(
    array: np.ndarray,
    paths: Sequence[str],
    size: int,
    num_workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    failed: dict[int, str] = {}

    def read(number: int) -> None:
        try:
            array[number] = read_photograph(paths[number], (size, size)).levels.reshape(-1)
        except DataError as error:
            failed[number + 1] = str(error)

    with ThreadPoolExecutor(num_workers) as pool:
        for start in range(0, len(paths), _AT_ONCE):
            end = min(start + _AT_ONCE, len(paths))
            list(pool.map(read, range(start, end)))
            if progress is not None:
                progress(end, len(paths))
    if failed:
        rows = sorted(failed)
        raise DataError(f"{len(rows)} of {len(paths)} images cannot be used ({list_rows(rows)}): {failed[rows[0]]}")


def _digest(paths: Sequence[str], size: int) -> str:
    digest = hashlib.sha256(f"1 {size}".encode())
    for path in paths:
        status = os.stat(path)
        digest.update(json.dumps([path, status.st_size, status.st_mtime_ns]).encode())
    return digest.hexdigest()[:16]
