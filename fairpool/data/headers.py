"""Read elements of a DICOM header, without a word of it in any message, warning or log."""

import os
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, BinaryIO

from fairpool.data.dicom_file import NamelessStream, check_dicom_start, list_dicom_damage
from fairpool.data.opening import open_file
from fairpool.errors import DataError

__all__ = ["element_text", "find_tag", "parse_elements", "read_dicom_header"]

_HEAD = 1_000_000
_PART = 65_536
_PIXEL_TAG = 0x7FE00010
_CHARACTER_SET_TAG = 0x00080005
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # a terminal would obey them
_TEXT = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
_CODED_TEXT = {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}  # in the file's character set; the others are ASCII
_ONE_VALUE = {"LT", "ST", "UR", "UT"}  # a backslash is part of the text
_NUMBERS = {"FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"}


def read_dicom_header(path: str | os.PathLike[str] | BinaryIO, keywords: Sequence[str]) -> dict[str, str | None]:
    """Elements of one file's header as text; pixels are not read.

    Args:
        path: the file, or an open binary stream at its start.
        keywords: DICOM keywords ("InstitutionName") or tags ("0008,0080"), of the top level of the file.
    Returns:
        for each keyword as it was given its text, without outer spaces; several values are joined by a backslash, as in
        the file. None where the element is absent, empty or blank. Characters that do not belong to the declared
        character set become U+FFFD.
    Raises:
        DataError: no DICOM file, damaged, cut off before the last of the elements, deflated, nested too deeply, or an
            element holds a sequence or bytes. The message holds neither the path nor a value.
        ValueError: a keyword or tag that DICOM does not know.
    Source: DICOM PS3.5 sections 6.1 and 7; PS3.10 section 7.

    >>> from pydicom.data import get_testdata_file
    >>> read_dicom_header(get_testdata_file("CT_small.dcm"), ["Manufacturer", "0018,0060", "DeviceSerialNumber"])
    {'Manufacturer': 'GE MEDICAL SYSTEMS', '0018,0060': '120', 'DeviceSerialNumber': None}
    """
    tags = {keyword: find_tag(keyword) for keyword in keywords}
    if isinstance(path, str | os.PathLike):
        with open_file(path) as handle:
            return _read_elements(handle, tags)
    return _read_elements(path, tags)


@lru_cache(maxsize=1024)
def find_tag(keyword: str) -> int:
    """The tag of a DICOM keyword, or of a tag written as "gggg,eeee", with or without brackets.

    Raises:
        ValueError: DICOM does not know it.

    >>> hex(find_tag("StationName")), find_tag("(0008,1010)") == find_tag("StationName")
    ('0x81010', True)
    """
    from pydicom.datadict import keyword_dict, tag_for_keyword

    digits = re.fullmatch(r"\(?([0-9A-Fa-f]{4}),? ?([0-9A-Fa-f]{4})\)?", keyword.strip())
    if digits:
        return int(digits[1] + digits[2], 16)
    tag = tag_for_keyword(keyword)
    if tag is None:
        near = get_close_matches(keyword, keyword_dict, n=1)
        hint = f' Did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'DICOM has no keyword "{keyword}".{hint} A tag is written as "0008,1010".')
    return int(tag)


def parse_elements(handle: BinaryIO, tags: Sequence[int], *, stop: Callable[[int], bool]) -> tuple[Any, NamelessStream]:
    """The elements of a file's header, as pydicom reads them: most of them are bytes still, see `element_text`.

    Args:
        handle: the open file. Its start has been through `check_dicom_start`.
        tags: of the elements, of the top level. SpecificCharacterSet is always among them.
        stop: says of a tag whether the reading ends before it; the file then stands at the start of that element.
    Returns:
        pydicom's data set, and the stream that it was read from.
    Raises:
        DataError: the header is damaged, ends early, or is nested too deeply; no value of it is in the message.
    """
    # Errors of the parser are raised outside `except` and without a cause: their text may quote any element.
    from pydicom.filereader import read_partial
    from pydicom.tag import BaseTag

    handle.seek(0)
    stream = NamelessStream(handle)
    try:
        dataset = read_partial(
            stream,  # type: ignore[arg-type]
            stop_when=lambda tag, kind, length: stop(tag),
            specific_tags=[BaseTag(tag) for tag in sorted({*tags, _CHARACTER_SET_TAG})],
        )
        return dataset, stream
    except RecursionError:
        reason = "DICOM sequences are nested too deeply. Do not use the file"
    except list_dicom_damage() as error:
        early = isinstance(error, EOFError)
        reason = "DICOM header ends early. Fetch it again" if early else "DICOM header is damaged. Fetch it again"
    raise DataError(reason)


def element_text(dataset: Any, keyword: str) -> str | None:
    """One element as text, as `read_dicom_header` gives it: clean of control characters, values joined by a backslash.

    Args:
        dataset: what `parse_elements` returned, or an item of a sequence in it.
        keyword: DICOM keyword or tag.
    Returns:
        None where the element is absent, empty or blank.
    Raises:
        DataError: the element holds a sequence or bytes, or has a wrong length. No value of it is in the message.
    """
    element = _find_element(dataset, find_tag(keyword))
    if element is None or element.value is None or (isinstance(element.value, bytes) and not element.value):
        return None
    kind = _kind(element)
    if isinstance(element.value, bytes) and kind in _TEXT:
        is_coded = kind in _CODED_TEXT
        text = _decode(element.value, _encodings(dataset)) if is_coded else element.value.decode("latin-1")
        values = [_clean(value) for value in ([text] if kind in _ONE_VALUE else text.split("\\"))]
    elif isinstance(element.value, bytes) and kind in _NUMBERS:
        values = _numbers(element, kind)
    elif isinstance(element.value, str):  # an identifier that pydicom has converted, in the file's own group
        values = [_clean(element.value)]
    else:
        raise DataError(f"{_name(keyword)} holds no text or number. Name another element")
    return "\\".join(values) if any(values) else None


def _read_elements(handle: BinaryIO, tags: dict[str, int]) -> dict[str, str | None]:
    head = _read_head(handle)
    if head[128:132] != b"DICM":
        empty = "the file is empty" if not head else 'it has no "DICM" at byte 128'
        raise DataError(f"not a DICOM file ({empty}). Fetch it again, or convert it to a DICOM part 10 file")
    check_dicom_start(head)
    last = min(max([*tags.values(), _CHARACTER_SET_TAG]), _PIXEL_TAG - 1)
    # Elements stand in the order of their tags: nothing behind the last is read, no sequence parsed there.
    dataset, stream = parse_elements(handle, list(tags.values()), stop=lambda tag: tag > last)
    if stream.ends_early() or any(_is_cut(_find_element(dataset, tag)) for tag in tags.values()):
        raise DataError("DICOM header ends early. Fetch it again")
    return {keyword: element_text(dataset, keyword) for keyword in tags}


def _read_head(handle: BinaryIO) -> bytes:
    """The start of the file, up to its pixels or the first million bytes."""
    head = part = handle.read(_PART)
    while part and len(head) < _HEAD and not (b"\xe0\x7f\x10\0" in head or b"\x7f\xe0\0\x10" in head):
        part = handle.read(_PART)
        head += part
    return head


def _find_element(dataset: Any, tag: int) -> Any:
    part = dataset.file_meta if tag >> 16 == 2 else dataset
    return part.get_item(tag) if tag in part else None


def _is_cut(element: Any) -> bool:
    value, length = getattr(element, "value", None), getattr(element, "length", 0)
    return isinstance(value, bytes) and length != 0xFFFFFFFF and len(value) < length


def _clean(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text).split())


def _encodings(dataset: Any) -> list[str]:
    # pydicom has converted this one element: text, or a list of several.
    value = dataset.get_item(_CHARACTER_SET_TAG).value if _CHARACTER_SET_TAG in dataset else None
    names = [value] if isinstance(value, str) else list(value or [""])
    return _convert_encodings(tuple(str(name).strip(" \0") for name in names))


@lru_cache(maxsize=64)
def _convert_encodings(names: tuple[str, ...]) -> list[str]:
    from pydicom.charset import convert_encodings

    try:
        return convert_encodings(list(names))
    except list_dicom_damage():
        return ["iso8859"]


def _kind(element: Any) -> str:
    """The kind of value; `UN` and implicit elements are looked up, private text is what an implicit file leaves it."""
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    kind = str(element.VR or "UN")
    if kind == "UN" and dictionary_has_tag(element.tag):
        kind = dictionary_VR(element.tag)
    elif kind == "UN" and element.tag.is_private:
        kind = "LO"
    return "US" if kind == "US or SS" else kind


def _decode(value: bytes, encodings: list[str]) -> str:
    from pydicom.charset import decode_bytes

    try:
        if b"\x1b" not in value:
            return value.decode(encodings[0], errors="replace")
        return decode_bytes(value, encodings, {0x09, 0x0A, 0x0C, 0x0D, 0x3D, 0x5C, 0x5E})
    except list_dicom_damage():
        return value.decode("ascii", errors="replace")


def _numbers(element: Any, kind: str) -> list[str]:
    from pydicom.values import convert_value

    try:
        value = convert_value(kind, element)
    except list_dicom_damage():
        value = None
    if value is None:
        raise DataError(f"{_name(element.tag)} has a wrong length. Correct the header")
    numbers = [value] if isinstance(value, int | float) else list(value)
    digits = 7 if kind == "FL" else 15  # what the kind can hold
    return [f"{number:.{digits}g}" if isinstance(number, float) else str(number) for number in numbers]


def _name(keyword: str | int) -> str:
    from pydicom.datadict import dictionary_has_tag, dictionary_keyword

    tag = find_tag(keyword) if isinstance(keyword, str) else int(keyword)
    number = f"({tag >> 16:04x},{tag & 0xFFFF:04x})"
    return f"{dictionary_keyword(tag)} {number}" if dictionary_has_tag(tag) else f"element {number}"
