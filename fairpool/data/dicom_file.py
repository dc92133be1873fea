"""Hand a DICOM file to pydicom such that nothing of its header gets into a message, a warning or a log."""

import os
import re
from functools import cache
from typing import BinaryIO

from fairpool.data.pixels import DAMAGE
from fairpool.errors import DataError

__all__ = ["NamelessStream", "check_dicom_start", "list_dicom_damage"]

_IMPLICIT, _BIG_ENDIAN, _DEFLATED_SYNTAX = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"
# The names of PS3.3 C.12.1.1.2 and the misspellings that pydicom mends.
_CHARACTER_SET = re.compile(
    rb"ISO[-_ .]?IR[-_ .]?\d{1,3}|ISO[-_ .]?2022[-_ .]?(IR[-_ .]?)?(\d{1,3}|GBK)|GB18030|GBK|GB2312|"
    rb"(ISO[-_])?LATIN[-_]?1|US-?ASCII|ASCII|UTF[-_ ]?8|ISO[-_ ]?8859([-_ ]\d{1,2})?",
    re.IGNORECASE,
)


class NamelessStream:
    """What pydicom needs of an open file, without the file's name, which pydicom puts into warnings.

    Args:
        handle: the open file.
    """

    def __init__(self, handle: BinaryIO) -> None:
        self._handle, self._is_short = handle, False
        self.seek, self.tell = handle.seek, handle.tell

    def read(self, size: int = -1) -> bytes:
        """As the file's own ``read``."""
        data = self._handle.read(size)
        self._is_short = self._is_short or 0 < len(data) < size
        return data

    def ends_early(self) -> bool:
        """Whether a read came short, or a skip went beyond the end of the file."""
        at = self._handle.tell()
        return self._is_short or at > self._handle.seek(0, os.SEEK_END)


@cache
def list_dicom_damage() -> tuple[type[Exception], ...]:
    """What pydicom raises on a damaged file; their text may quote any element, so raise outside ``except``."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*DAMAGE, BytesLengthException, InvalidDicomError)


def check_dicom_start(head: bytes) -> None:
    """Refuse what pydicom would answer with a leak or a bomb, before pydicom sees it.

    Of a transfer syntax or character set that is no such thing pydicom quotes the value in a warning. Where a length is
    damaged, that value can be the rest of the file, patient included (found by flipping bytes).

    Args:
        head: the first bytes of the file, best up to its pixels: character sets are looked for in all of them.
    Raises:
        DataError: no valid transfer syntax, a deflated one, or a character set that is none.
    """
    at, syntax, readable = 132, None, True
    while head[at : at + 2] == b"\x02\0" and readable:
        kind, length, start = head[at + 4 : at + 6], int.from_bytes(head[at + 6 : at + 8], "little"), at + 8
        if kind in (b"OB", b"UN"):
            length, start = int.from_bytes(head[at + 8 : at + 12], "little"), at + 12
        # Of any other kind pydicom may take the length from elsewhere, and so arrive at another syntax.
        readable = kind in (b"OB", b"UN", b"AE", b"SH", b"UI", b"UL")
        if head[at + 2 : at + 4] == b"\x10\0":
            syntax, readable = head[start : start + length].rstrip(b"\0 "), kind == b"UI"
        at = start + length
    if not readable or syntax is None or not re.fullmatch(rb"[0-9.]{5,64}", syntax):
        raise DataError("DICOM names no valid transfer syntax (0002,0010), or the image ends early. Fetch it again")
    if syntax == _DEFLATED_SYNTAX:
        raise DataError("deflated DICOM is not read, for it can expand without limit. Convert it to plain DICOM")
    _check_character_sets(head, syntax)


def _check_character_sets(head: bytes, syntax: bytes) -> None:
    """Refuse a name that is no character set's, in the data set or in an item of a sequence: pydicom would quote it."""
    pattern = {_IMPLICIT: rb"\x08\0\x05\0(....)", _BIG_ENDIAN: rb"\0\x08\0\x05CS(..)"}.get(
        syntax, rb"\x08\0\x05\0CS(..)"
    )
    is_big = syntax == _BIG_ENDIAN
    header = head.split(b"\x7f\xe0\0\x10" if is_big else b"\xe0\x7f\x10\0")[0]
    for found in re.finditer(pattern, header, re.DOTALL):
        length = int.from_bytes(found[1], "big" if is_big else "little")
        values = header[found.end() : found.end() + length].strip(b" \0").split(b"\\")
        if not all(not value.strip() or _CHARACTER_SET.fullmatch(value.strip()) for value in values):
            raise DataError(
                "SpecificCharacterSet (0008,0005) is damaged, or names no character set. Correct the header"
            )
