"""What the libraries that read files say and raise: the one is kept from every log, the other caught."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from fairpool.data.pixels import DAMAGE

__all__ = ["library_errors", "quiet_libraries"]

_LOGGERS = ("pydicom", "pylibjpeg", "nibabel", "nibabel.global", "PIL")
_NOTHING = logging.CRITICAL + 1


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Within, the readers write no log and no warning: they quote values of headers, and names of files.

    Warnings are silenced for the whole process, so let no other thread run meanwhile whose warnings matter.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(_NOTHING)  # unlike `disabled`, it holds for the loggers below as well
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@cache
def library_errors() -> tuple[type[Exception], ...]:
    """What pydicom, nibabel and Pillow raise on a damaged file; RecursionError is among them, MemoryError is not."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError
    from pydicom.errors import BytesLengthException, InvalidDicomError

    of_libraries = (BytesLengthException, InvalidDicomError, HeaderDataError, ImageFileError, WrapStructError)
    return (*DAMAGE, StopIteration, *of_libraries)  # pydicom lets the end of its frames through
