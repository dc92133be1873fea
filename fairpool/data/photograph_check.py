"""Read every photograph of a pool once before anything is trained."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from fairpool.data.photograph import read_photograph
from fairpool.data.pool import Pool
from fairpool.errors import DataError

__all__ = ["prepare_photographs"]

_LISTED = 20
_PART = 2048


def prepare_photographs(
    pool: Pool,
    size: int | Sequence[int],
    *,
    fit: str = "crop",
    remedy: str = "",
    num_workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Find the images that cannot be used, those converted, and those that are equal, before a run is lost to them.

    Nothing is kept but a digest of each image, in ``pool.digests``.

    Args:
        pool: whose images are read.
        size: and ``fit`` as for `LoadPhotographd`.
        fit: see ``size``.
        remedy: how rows are left out here, to end the messages with.
        num_workers: threads.
        progress: called with (done, total).
    Returns:
        sentences for the report: how many images of each group were converted and how.
    Raises:
        DataError: images cannot be used, named by row and group; or equal images in two sections, or with two labels.
    """
    records = pool.records
    images, rows, sites = (records[column].tolist() for column in ("image", "row", "site"))

    def read(image: str) -> tuple[str, tuple[str, ...]] | str:
        try:
            photograph = read_photograph(image, size, fit=fit)
        except DataError as error:
            return str(error)
        return hashlib.sha256(photograph.levels.tobytes()).hexdigest(), photograph.notes

    digests, failures, converted = [], [], Counter[tuple[str, str]]()
    with ThreadPoolExecutor(max(1, num_workers)) as threads:
        # In parts: a waiting task takes more memory than its digest, and Ctrl-C waits for the part alone.
        parts = (threads.map(read, images[begin : begin + _PART]) for begin in range(0, len(images), _PART))
        for index, result in enumerate(chain.from_iterable(parts)):
            if isinstance(result, str):
                failures.append(f"row {rows[index]} ({sites[index]}): {result}")
                digests.append("")
            else:
                digest, notes = result
                # Blank images are listed as such; that they are alike says nothing of who is in them.
                digests.append(f"blank {index}" if "constant" in notes else digest)
                converted.update((note, sites[index]) for note in notes)
            if progress is not None:
                progress(index + 1, len(images))
    if failures:
        more = f" and {len(failures) - _LISTED} more" if len(failures) > _LISTED else ""
        raise DataError(
            f"{len(failures)} of {len(images)} images cannot be used: {'; '.join(failures[:_LISTED])}{more}. "
            f"Mend them or leave out their rows. {remedy}".rstrip()
        )
    pool.digests = digests
    sentences = [f'{count} images of "{site}": {note}' for (note, site), count in sorted(converted.items())]
    try:
        return sentences + pool.check_equal_images(digests)
    except DataError as error:
        raise DataError(f"{error} {remedy}".rstrip()) from None
