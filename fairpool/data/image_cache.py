"""Keep reduced images on disk, so that a large radiograph is decoded once and not once per epoch.

The cache is by image alone: site and label are joined by the caller, so a corrected table decodes nothing again.
"""

import hashlib
import json
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fairpool.data.radiograph import MAX_PIXELS, Radiograph, check_reading, read_radiograph
from fairpool.errors import DataError

__all__ = ["ImageCache", "default_cache_dir"]

_FORMAT = 1  # raise it whenever read_radiograph turns the same file into other numbers
_LISTED = 20


class ImageCache:
    """Reads images through `read_radiograph` and keeps the reduced result in a private folder.

    An entry is found by the resolved path, the length and the modification time of the file, and by the settings below:
    a replaced file or a changed setting is read anew. Not noticed is a file replaced by one of equal length and time.
    An entry holds pixels and notes, no path. The folder is made with mode 0700, the entries with 0600. Damaged entries
    are made again; nothing in them is ever unpickled. Threads, DataLoader workers and programs may share a folder.

    Args:
        cache_dir: the folder, made when first needed; None keeps nothing and decodes every time.
        size: height and width of the images.
        value_range: see `read_radiograph`.
        max_pixels: see `read_radiograph`.
    Raises:
        ValueError: a setting makes no sense.
    """

    def __init__(
        self,
        cache_dir: str | os.PathLike[str] | None,
        size: int,
        *,
        value_range: tuple[float, float] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        check_reading(size, value_range, max_pixels)
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.size = size
        self.value_range = None if value_range is None else (float(value_range[0]), float(value_range[1]))
        self.max_pixels = max_pixels

    def load(self, path: str | os.PathLike[str]) -> Radiograph:
        """The reduced image of a file, from the folder where it is there already.

        Args:
            path: a PNG, JPEG or DICOM file.
        Returns:
            the same values whether they were decoded now or earlier.
        Raises:
            DataError: the file cannot be used.
            OSError: the cache folder cannot be written.
        """
        entry = self._find_entry(path)
        if entry is not None:
            cached = _read_entry(entry, self.size)
            if cached is not None:
                return cached
        image = read_radiograph(path, self.size, value_range=self.value_range, max_pixels=self.max_pixels)
        if entry is not None:
            _write_entry(entry, image)
        return image

    def prepare(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        describe: Callable[[int], str],
        num_workers: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[int, tuple[str, ...]]:
        """Read every image once, so that all bad ones are known before training starts.

        Args:
            paths: the image files.
            describe: names an image by its index in `paths`, such as "row 41 (bern)"; never by its path.
            num_workers: threads that decode at a time; 0 and 1 decode in the calling thread.
            progress: called with the number done and the number in all, after each image.
        Returns:
            the notes of every image, by index.
        Raises:
            DataError: some images cannot be used; lists them, the first 20 in full.
            OSError: the cache folder cannot be written.
        """
        notes: dict[int, tuple[str, ...]] = {}
        failures: dict[int, str] = {}

        def read(index: int) -> tuple[str, ...] | DataError:
            try:
                return self.load(paths[index]).notes
            except DataError as error:
                return error.with_traceback(None)

        pool = ThreadPoolExecutor(num_workers) if num_workers > 1 else None
        try:
            results = pool.map(read, range(len(paths))) if pool else map(read, range(len(paths)))
            for index, result in enumerate(results):
                if isinstance(result, DataError):
                    failures[index] = str(result)
                else:
                    notes[index] = result
                if progress is not None:
                    progress(index + 1, len(paths))
        finally:
            if pool:
                pool.shutdown(cancel_futures=True)
        if failures:
            listed = [f"{describe(index)}: {text}" for index, text in list(failures.items())[:_LISTED]]
            more = f" and {len(failures) - _LISTED} more" if len(failures) > _LISTED else ""
            raise DataError(
                f"{len(failures)} of {len(paths)} images cannot be used: {'; '.join(listed)}{more}. "
                "Mend them or drop their rows."
            )
        return notes

    def _find_entry(self, path: str | os.PathLike[str]) -> Path | None:
        """Where the image is kept; None without a folder, or where the file is missing, which reading it will tell."""
        if self.cache_dir is None:
            return None
        try:
            status = os.stat(path)
            place = os.path.realpath(path)
        except (OSError, ValueError):
            return None
        key = json.dumps([_FORMAT, place, status.st_size, status.st_mtime_ns, self.size, self.value_range])
        return self.cache_dir / f"{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()}.npz"


def _read_entry(entry: Path, size: int) -> Radiograph | None:
    # The zip format carries a checksum of each array, so a flipped bit is found as well as a cut.
    try:
        with np.load(entry, allow_pickle=False) as stored:
            levels, notes = stored["levels"], stored["notes"]
    except (
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        NotImplementedError,
        OSError,
        SyntaxError,
        TypeError,
        ValueError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
    ):
        return None
    if levels.shape != (size, size) or levels.dtype not in (np.uint8, np.uint16) or notes.dtype.kind != "U":
        return None
    return Radiograph(levels, tuple(notes.tolist()))


def _write_entry(entry: Path, image: Radiograph) -> None:
    temporary = None
    try:
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(suffix=".part", dir=entry.parent)  # made with mode 0600
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, levels=image.levels, notes=np.array(image.notes, dtype=np.str_))
        os.replace(temporary, entry)
        temporary = None
        return
    except OSError as error:
        number, reason = error.errno, error.strerror or type(error).__name__
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    # Outside `except`, for the first error holds the full path of the folder.
    raise OSError(number, f"the image cache cannot be written ({reason}). Free the folder, or pass cache_dir=None")


def default_cache_dir() -> str:
    """Folder for reduced images: ``fairpool`` in the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fairpool")
