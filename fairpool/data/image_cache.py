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
from dataclasses import asdict
from pathlib import Path

import numpy as np

from fairpool.data.pixels import MAX_PIXELS, ReadingRule
from fairpool.data.radiograph import Radiograph, check_size, read_radiograph
from fairpool.errors import DataError

__all__ = ["ImageCache", "default_cache_dir", "list_faults"]

_FORMAT = 2  # raise it whenever read_radiograph turns the same file into other numbers
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
        value_range: and the rest as for `read_radiograph`.
        max_pixels: see ``value_range``.
        strict: see ``value_range``.
        nan: see ``value_range``.
        frame: see ``value_range``.
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
        strict: bool = False,
        nan: str = "raise",
        frame: int | str | None = None,
    ) -> None:
        check_size(size)
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.size = size
        self.rule = ReadingRule(value_range, max_pixels, strict, nan, frame)

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
        image = read_radiograph(path, self.size, **asdict(self.rule))
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
        """Read every image once, and refuse them all where some cannot be used, before training starts.

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
        notes, faults = self.read_all(paths, num_workers=num_workers, progress=progress)
        if faults:
            listed = list_faults([f"{describe(index)}: {text}" for index, text in faults.items()])
            raise DataError(
                f"{len(faults)} of {len(paths)} images cannot be used: {listed}. Mend them or drop their rows."
            )
        return notes

    def read_all(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        num_workers: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[dict[int, tuple[str, ...]], dict[int, str]]:
        """Read every image once, and say which can be used.

        Args:
            paths: the image files.
            num_workers: threads that decode at a time; 0 and 1 decode in the calling thread.
            progress: called with the number done and the number in all, after each image.
        Returns:
            by index in `paths` the notes of the images that can be used, and what is the matter with the others.
        Raises:
            OSError: the cache folder cannot be written.
        """
        notes: dict[int, tuple[str, ...]] = {}
        faults: dict[int, str] = {}

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
                    faults[index] = str(result)
                else:
                    notes[index] = result
                if progress is not None:
                    progress(index + 1, len(paths))
        finally:
            if pool:
                pool.shutdown(cancel_futures=True)
        return notes, faults

    def _find_entry(self, path: str | os.PathLike[str]) -> Path | None:
        """Where the image is kept; None without a folder, or where the file is missing, which reading it will tell."""
        if self.cache_dir is None:
            return None
        try:
            status = os.stat(path)
            place = os.path.realpath(path)
        except (OSError, ValueError):
            return None
        rule = [self.rule.value_range, self.rule.strict, self.rule.nan, self.rule.frame]
        key = json.dumps([_FORMAT, place, status.st_size, status.st_mtime_ns, self.size, *rule])
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


def list_faults(faults: Sequence[str]) -> str:
    """Sentences about bad images for one message, the first 20 in full."""
    more = f" and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
    return "; ".join(faults[:_LISTED]) + more


def default_cache_dir() -> str:
    """Folder for reduced images: ``fairpool`` in the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fairpool")
