"""Read what a scan wants of one file; many files in parallel processes."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from fairpool.data.scan.dicom_header import read_dicom_file_header
from fairpool.data.scan.formats import HEAD_BYTES, describe_ending, find_fault, tell_format
from fairpool.data.scan.header import Header, NoImageError, check_size
from fairpool.data.scan.nifti_header import read_nifti_header
from fairpool.data.scan.raster_header import read_raster_header
from fairpool.data.scan.walking import FoundFile
from fairpool.errors import DataError

__all__ = ["FileReading", "read_file", "read_files"]

_BATCH = 64


@dataclass(frozen=True)
class FileReading:
    """What was found in one file: an image's header, a fault, or something that is no image.

    Attributes:
        header: of an image.
        fault: why an image cannot be used.
        skipped: what kind of other file it is.
        digest: see `read_file`; of an image. It stays in memory, see `make_row`.
        pixel_hash: and ``perceptual_hash``: see `hash_pixels`; of an image, where they are wanted.
        perceptual_hash: see ``pixel_hash``.
    """

    header: Header | None = None
    fault: str = ""
    skipped: str = ""
    digest: str = ""
    pixel_hash: str = ""
    perceptual_hash: str = ""


def read_file(path: str, *, max_pixels: int, hash_pixels: bool = False, keywords: Sequence[str] = ()) -> FileReading:
    """Read the header of a file, whatever it is.

    Args:
        path: the file.
        max_pixels: an image that declares more in a plane is a fault.
        hash_pixels: whether its pixels are read as well.
        keywords: elements that are wanted of a DICOM file besides: see `read_dicom_file_header`.
    Returns:
        the reading. Its ``digest`` is SHA-256 of the size and the first 16 KiB, as 32 hexadecimal digits: it says that
        a file is the same, or a copy of the whole of it. Nothing is raised for what a file holds.
    """
    name, handle = os.path.basename(path), None
    try:
        # Not blocking: a pipe would wait for a writer. Nothing but a regular file gets here, unless it was replaced.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
        handle = os.fdopen(descriptor, "rb")
        with handle:
            return _read_handle(handle, name, max_pixels, hash_pixels, keywords)
    except OSError as error:
        return FileReading(fault=f"file cannot be read ({(error.strerror or 'damaged').lower()})")
    except DataError as error:
        return FileReading(fault=str(error))


def read_files(
    root: str,
    files: Sequence[FoundFile],
    *,
    max_pixels: int,
    hash_pixels: bool,
    workers: int,
    keywords: Sequence[str] = (),
) -> Iterator[tuple[FoundFile, FileReading]]:
    """Read many files; in the order in which batches of them are done.

    Args:
        root: folder of the files.
        files: as `walk` found them.
        max_pixels: and ``hash_pixels``: see `read_file`.
        hash_pixels: see ``max_pixels``.
        workers: processes. Not threads: most of the work is in Python, and pydicom can be silenced for a whole process
            alone.
        keywords: see ``max_pixels``.
    """
    options: dict[str, Any] = {"max_pixels": max_pixels, "hash_pixels": hash_pixels, "keywords": tuple(keywords)}
    batches = [files[start : start + _BATCH] for start in range(0, len(files), _BATCH)]
    if workers <= 1 or len(batches) < 2:
        for batch in batches:
            for file in batch:
                yield file, read_file(os.path.join(root, file.path), **options)
        return
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="2*n_jobs", batch_size=1)
    tasks = (delayed(_read_batch)(root, batch, options) for batch in batches)
    for readings in pool(tasks):
        yield from readings


def _read_batch(root: str, batch: Sequence[FoundFile], options: dict[str, Any]) -> list[tuple[FoundFile, FileReading]]:
    return [(file, read_file(os.path.join(root, file.path), **options)) for file in batch]


def _read_handle(
    handle: BinaryIO, name: str, max_pixels: int, hash_pixels: bool, keywords: Sequence[str]
) -> FileReading:
    status = os.fstat(handle.fileno())
    if not stat.S_ISREG(status.st_mode):
        return FileReading(fault="not a file but a pipe, socket or device. Remove it")
    head = handle.read(HEAD_BYTES)
    handle.seek(0)
    kind = tell_format(head)
    if kind is None:
        fault = find_fault(name, head, status.st_size)
        return FileReading(fault=fault) if fault else FileReading(skipped=describe_ending(name))
    try:
        if kind == "dicom":
            header = read_dicom_file_header(handle, max_pixels=max_pixels, keywords=keywords)
        elif kind == "nifti":
            header = read_nifti_header(handle, max_pixels=max_pixels)
        else:
            header = read_raster_header(handle, kind, max_pixels=max_pixels)
    except NoImageError:
        return FileReading(skipped="DICOM without an image")
    digest = hashlib.sha256(f"{status.st_size} ".encode() + head).hexdigest()[:32]
    hashes = ("", "")
    if hash_pixels:
        from fairpool.data.scan.pixel_hashes import MAX_HASHED
        from fairpool.data.scan.pixel_hashes import hash_pixels as hash_file

        check_size(tuple(map(int, header.shape.split("x"))), max_pixels, MAX_HASHED)
        handle.seek(0)
        hashes = hash_file(handle, kind)
    return FileReading(header, "", "", digest, *hashes)
