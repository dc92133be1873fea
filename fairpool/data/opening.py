"""Open an image file, and say what is the matter with one that is none, without its path in any message."""

import os
import stat
from typing import BinaryIO

from fairpool.errors import DataError

__all__ = ["describe_damage", "describe_foreign", "open_file"]

_FORMATS = {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"GIF8": "GIF", b"BM": "BMP", b"\x1f\x8b": "gzip or NIfTI"}


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """A file, opened to be read.

    Raises:
        DataError: it is missing, locked, or no file; without its path, and without a cause that has it.

    >>> open_file("Meier.png")
    Traceback (most recent call last):
    fairpool.errors.DataError: file not found. Check the path column and the data folder
    """
    # The error is raised outside `except`: Python would otherwise keep the OSError, and with it the path, as context.
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            return open(path, "rb")
        reason = "not a file but a folder or device"
    except FileNotFoundError:
        reason = "file not found. Check the path column and the data folder"
    except PermissionError:
        reason = "file may not be read (permission denied)"
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or "the path is not valid"
        reason = f"file cannot be opened ({text})"
    raise DataError(reason)


def describe_foreign(head: bytes) -> str:
    """Why a file is not read that is neither PNG, JPEG nor DICOM.

    Args:
        head: its first bytes.

    >>> describe_foreign(b"GIF89a")
    'unsupported format (GIF); expected PNG, JPEG or DICOM. Convert the file'
    """
    if not head:
        return "not an image; the download was probably refused (the file is empty). Fetch it again"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "not an image; the download was probably refused (the file is a web page). Fetch it again"
    name = next((name for magic, name in _FORMATS.items() if head.startswith(magic)), "unknown")
    return f"unsupported format ({name}); expected PNG, JPEG or DICOM. Convert the file"


def describe_damage(error: BaseException) -> str:
    """What an error of Pillow's means, without its words.

    >>> describe_damage(OSError("image file is truncated (3 bytes not processed)"))
    'image ends early. Fetch it again'
    """
    text = str(error).lower()
    if isinstance(error, EOFError) or "truncated" in text or "unexpected end" in text:
        return "image ends early. Fetch it again"
    return "image data are damaged. Fetch it again"
