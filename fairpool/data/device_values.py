"""One spelling for what a device says of itself, in a DICOM header or a sidecar."""

import re
from collections.abc import Sequence
from decimal import Decimal

from fairpool.data.checks import is_empty
from fairpool.data.spelling import SiteSpelling
from fairpool.errors import DataError

__all__ = ["combine_values", "refuse_identifying", "spell_number"]

_UNITS = {"MagneticFieldStrength": r"T|Tesla", "KVP": r"kVp?"}
_MOST_DIGITS = 20


def spell_number(text: str, name: str) -> str:
    """A number without needless zeros and without the unit that the element has anyway; other text as it is.

    A number in another unit, such as 15000 gauss, stays: nothing is converted, and nothing rounded.

    Args:
        text: of one value.
        name: of the element.

    >>> spell_number("1.50 T", "MagneticFieldStrength"), spell_number("15000", "MagneticFieldStrength")
    ('1.5', '15000')
    >>> spell_number("0120", "KVP"), spell_number("0120", "StationName"), spell_number("3.00", "FlipAngle")
    ('120', '0120', '3')
    """
    unit = rf"\s*(?:{_UNITS[name]})?" if name in _UNITS else ""
    found = re.fullmatch(rf"([+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?){unit}", text, re.IGNORECASE)
    if not found or not (name in _UNITS or _is_numeric(name)):
        return text
    number = Decimal(found[1])
    return text if abs(number.adjusted()) > _MOST_DIGITS else f"{number.normalize():f}"


def combine_values(values: Sequence[str | None], spelling: SiteSpelling) -> str | None:
    """The name that several elements make, in their order, separated by " | ".

    Args:
        values: of each element; empty text is as good as None.
        spelling: of the parts, and of the whole.
    Returns:
        with "?" for an element that is missing; None where all are.

    >>> combine_values(["SIEMENS", None, "1.5"], SiteSpelling(aliases={"Siemens": ["SIEMENS"]}))
    'Siemens | ? | 1.5'
    """
    if all(is_empty(value) for value in values):
        return None
    if len(values) == 1:
        return spelling(values[0] or "")
    return spelling.combine(["?" if value is None or is_empty(value) else value for value in values])


def refuse_identifying(names: Sequence[str], kind: str, *, are_hidden: bool = False) -> None:
    """Refuse elements that name a patient or an examination, as sites, and free text unless it is made a pseudonym.

    Args:
        names: of the elements or fields.
        kind: what they are called in the message.
        are_hidden: sites are replaced by pseudonyms.
    Raises:
        DataError: naming the elements, not their values.
        ValueError: there is none, or one twice, or one that is no text.
    """
    from fairpool.data.identifying import is_free_text, is_identifying

    if isinstance(names, str) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"{kind}s must be a list of names, got {names!r}.")
    if not names or len(set(names)) != len(names):
        raise ValueError(f"{kind}s must hold one name or several different ones, got {list(names)}.")
    identifying = [name for name in names if is_identifying(name)]
    if identifying:
        raise DataError(
            f"{', '.join(identifying)} can name a patient or an examination, and so is never a site. Take another "
            f"{kind}, such as InstitutionName, StationName or Manufacturer."
        )
    typed = [] if are_hidden else [name for name in names if is_free_text(name)]
    if typed:
        raise DataError(
            f"{', '.join(typed)} is free text or private, and may hold whatever was typed there. Replace the sites "
            f"by pseudonyms (pseudonymize, --pseudonymize-sites), or take another {kind}."
        )


def _is_numeric(name: str) -> bool:
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tag = tag_for_keyword(name)
    return tag is not None and dictionary_VR(tag) in ("DS", "IS", "FD", "FL", "US", "SS", "UL", "SL")
