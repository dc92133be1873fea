"""Tell what a file is by its first bytes: DICOM, NIfTI, PNG, JPEG, or none of these."""

import re
import zlib

__all__ = ["HEAD_BYTES", "IMAGE_ENDINGS", "describe_ending", "find_fault", "inflate_head", "tell_format"]

HEAD_BYTES = 16_384
"""How much of a file is read to tell its format."""

IMAGE_ENDINGS = (".dcm", ".dicom", ".ima", ".nii", ".nii.gz", ".png", ".jpg", ".jpeg")
"""Ends of names, in small letters, that promise an image of a format that is read."""

_NIFTI_BYTES = 544  # header of NIfTI-2 and the four bytes that say whether extensions follow
_KNOWN = {
    *("bmp", "bval", "bvec", "csv", "doc", "docx", "gif", "gz", "h5", "hdr", "html", "img", "json", "log", "m", "mat"),
    *(
        "md",
        "mgz",
        "mha",
        "mhd",
        "npy",
        "npz",
        "nrrd",
        "parquet",
        "pdf",
        "pptx",
        "py",
        "raw",
        "rst",
        "svg",
        "tar",
        "tif",
    ),
    *("tiff", "tsv", "txt", "webp", "xls", "xlsx", "xml", "yaml", "yml", "zip"),
}


def tell_format(head: bytes) -> str | None:
    r"""Format of a file: "dicom", "nifti", "png", "jpeg"; None for anything else. Names do not count.

    Args:
        head: the first bytes, `HEAD_BYTES` of them where there are as many.

    >>> tell_format(bytes(128) + b"DICM"), tell_format(b"\xff\xd8\xff\xe0"), tell_format(b"<html>")
    ('dicom', 'jpeg', None)
    """
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    plain = inflate_head(head) if head.startswith(b"\x1f\x8b") else head
    if plain[344:348] == b"n+1\0" or plain[4:8] == b"n+2\0":
        return "nifti"
    return None


def inflate_head(head: bytes) -> bytes:
    """What a gzip file begins with, at most the header of a NIfTI; empty where it is damaged before that.

    >>> import gzip
    >>> inflate_head(gzip.compress(b"NIfTI"))
    b'NIfTI'
    """
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _NIFTI_BYTES)
    except zlib.error:
        return b""


def find_fault(name: str, head: bytes, size: int) -> str | None:
    """Why a file of no known format should be one, judging by its name or its first bytes; None: it need not be.

    Args:
        name: of the file.
        head: its first bytes.
        size: bytes of the file.

    >>> find_fault("a.png", b"<!DOCTYPE html>", 900)
    'not an image; the download was probably refused (the file is a web page). Fetch it again'
    >>> find_fault("notes.txt", b"Hello", 5)
    """
    name = name.lower()
    ending = name.rsplit(".", 1)[1] if "." in name else ""
    if not size:
        # DICOM files often have no ending, or a number's: the end of an identifier.
        is_expected = name.endswith(IMAGE_ENDINGS) or not ending or ending.isdigit()
        return "not an image (the file is empty). Fetch it again" if is_expected else None
    if head[344:348] == b"ni1\0" or head[4:8] == b"ni2\0":
        return "NIfTI in two files (.hdr and .img) is not read. Convert it to one .nii"
    if _looks_like_bare_dicom(head):
        return "DICOM without the first 132 bytes that mark it (PS3.10). Write it again with them"
    if not name.endswith(IMAGE_ENDINGS):
        return None
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "not an image; the download was probably refused (the file is a web page). Fetch it again"
    if re.match(rb"version https://git-lfs|\S*/annex/objects/", head):
        return "not the image but a pointer to it (git-lfs, git-annex). Fetch the image"
    return "content is not DICOM, NIfTI, PNG or JPEG, or is damaged at its start. Fetch or convert it"


def describe_ending(name: str) -> str:
    """How a file that is no image is counted: by its ending where that is a common one, which names nobody.

    >>> describe_ending("notes.TXT"), describe_ending("Meier.Anna"), describe_ending("README")
    ('.txt', 'others', 'others')
    """
    ending = name.lower().rsplit(".", 1)[-1]
    return f".{ending}" if "." in name and ending in _KNOWN else "others"


def _looks_like_bare_dicom(head: bytes) -> bool:
    """Whether a file begins with a DICOM element of group 2 or 8, as files do that lack the preamble."""
    group, element, kind, length = head[:2], head[2:4], head[4:6], int.from_bytes(head[4:8], "little")
    if group not in (b"\x02\0", b"\x08\0", b"\0\x08") or len(head) < 132:
        return False
    is_explicit = re.fullmatch(rb"AE|AS|CS|DA|DT|LO|LT|OB|OW|PN|SH|SQ|ST|TM|UI|UL|UN|US|UT", kind) is not None
    return is_explicit or (group[:1] in b"\x02\x08" and element[1] == 0 and 0 < length <= 64 and length % 2 == 0)
