"""One spelling for each site: names that differ in case, accents or punctuation, alias tables, confidential names."""

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fairpool.data.pseudonyms import Pseudonyms
from fairpool.data.vocabulary import UNKNOWN_NAME
from fairpool.errors import DataError

__all__ = ["SiteSpelling", "normalize_name", "read_aliases"]

_SEPARATOR = " | "
_LARGEST_TABLE = 1_000_000  # bytes, which take some ten seconds


def normalize_name(text: str) -> str:
    """A name folded for comparison: lower case, no accents, one space between words, no punctuation.

    Full stops and apostrophes fall away ("G.E." is "ge", "St. John's" is "st johns"), other punctuation separates
    words; a full stop or comma between two digits stays ("1.5T" is not "15T"), and so do signs such as "+". Only the
    accents of Latin, Greek and Cyrillic letters are taken off: elsewhere a mark makes another letter. A name of
    punctuation alone keeps it.

    >>> normalize_name("  HÔPITAL  St. Luc—Site_2 "), normalize_name("Eclipse 1.5T"), normalize_name("Groß-Gerau")
    ('hopital st luc site 2', 'eclipse 1.5t', 'gross gerau')
    """
    folded = text
    while True:  # twice at most is needed for real names; a few letters decompose again once they are folded
        again = _fold(folded)
        if again == folded:
            return again
        folded = again


class SiteSpelling:
    """Turns each spelling of a site into the one that stands for it.

    Args:
        normalize: whether names are compared, and returned, as `normalize_name` folds them.
        aliases: ``{name: [spelling, ...]}``, or a YAML file of that form. A listed spelling, or the name itself,
            becomes the name exactly as the table writes it; with ``normalize`` the table's spellings are folded too.
            Names that the table does not list pass.
        pseudonyms: where a name is confidential, what replaces it at last; "unknown" stays.
    Raises:
        DataError: the alias table cannot be read, gives one spelling to two names, or is of another form.
        TypeError: ``aliases`` is neither a mapping nor a path.

    >>> spell = SiteSpelling(normalize=True, aliases={"Siemens": ["SIEMENS Healthineers", "siemens"]})
    >>> spell("Siemens-Healthineers"), spell("Philips Medical Systems, Inc.")
    ('Siemens', 'philips medical systems inc')
    """

    def __init__(
        self,
        normalize: bool = False,
        aliases: Mapping[str, Sequence[str]] | str | os.PathLike[str] | None = None,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        if isinstance(aliases, str | os.PathLike):
            aliases = read_aliases(aliases)
        elif aliases is not None and not isinstance(aliases, Mapping):
            raise TypeError(f"aliases must be a mapping or the path of a YAML file, got {type(aliases).__name__}.")
        self.normalize = bool(normalize)
        self.pseudonyms = pseudonyms
        self._names = self._invert(aliases or {})

    def __call__(self, text: str) -> str:
        """The spelling, or pseudonym, that stands for one name."""
        return self._hide(self.canonical(text))

    def canonical(self, text: str) -> str:
        """The spelling that stands for one name, before it is made a pseudonym."""
        form = self._form(text)
        return self._names.get(form, form)

    def combine(self, parts: Sequence[str]) -> str:
        """The name of several parts in their order, such as a scanner's vendor, model and field strength.

        Each part is spelt first; then the alias table may name the whole.

        >>> SiteSpelling(aliases={"GE": ["G.E."], "old scanner": ["GE | 1.5"]}).combine(["G.E.", "1.5"])
        'old scanner'
        """
        whole = _SEPARATOR.join(self.canonical(part) for part in parts)
        return self._hide(self._names.get(self._form(whole), whole))

    def _form(self, text: str) -> str:
        return normalize_name(text) if self.normalize else text.strip()

    def _hide(self, name: str) -> str:
        if self.pseudonyms is None or name == UNKNOWN_NAME:
            return name
        return self.pseudonyms.of(name, "site")

    def _invert(self, aliases: Mapping[Any, Any]) -> dict[str, str]:
        names: dict[str, str] = {}
        for name, spellings in aliases.items():
            _check_alias(name, spellings)
            for spelling in (name, *(spellings or ())):
                form = self._form(spelling)
                if names.setdefault(form, name.strip()) != name.strip():
                    raise DataError(
                        f'the alias table gives the spelling "{spelling}" to "{names[form]}" and to "{name}". Leave it '
                        "to one of them."
                    )
        return names


def read_aliases(file: str | os.PathLike[str]) -> dict[str, list[str]]:
    r"""The alias table of a YAML file: ``name: [spelling, ...]``, one name a line.

    Raises:
        DataError: the file is missing, no UTF-8, no YAML, or no such table; a name stands twice. The message names the
            line, not the path.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "aliases.yaml"
    ...     _ = file.write_text("Bern: [Inselspital, BERNE]\nBasel:\n  - USB\n", encoding="utf-8")
    ...     read_aliases(file)
    {'Bern': ['Inselspital', 'BERNE'], 'Basel': ['USB']}
    """
    import yaml

    reason = ""
    try:
        if Path(file).stat().st_size > _LARGEST_TABLE:
            raise DataError(f"the alias table is larger than {_LARGEST_TABLE:,} bytes. Is it the right file?")
        text = Path(file).read_text(encoding="utf-8-sig")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            # 400 bytes of references to references spell out a billion names.
            raise DataError(
                "the alias table holds a reference (*name). Write the spellings out, or quote the asterisk."
            )
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        _check_mapping(node)
        content = loader.construct_document(node) if node is not None else {}
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except (UnicodeDecodeError, RecursionError):
        reason = "not UTF-8 text, or nested too deeply"
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = f"no YAML, line {mark.line + 1}" if mark is not None else "no YAML"
    except DataError:
        raise
    except (ValueError, LookupError, AttributeError, TypeError):  # what SafeLoader raises of a date or tag that is none
        reason = "a date, number or tag that is none; put names in quotation marks"
    if reason:  # outside `except`: the causes quote the path or the text
        raise DataError(
            f"the alias table cannot be read ({reason}). It must be YAML of the form name: [spelling, ...]."
        )
    for name, spellings in content.items():
        _check_alias(name, spellings)
    return {name: list(spellings or ()) for name, spellings in content.items()}


def _check_mapping(node: Any) -> None:
    """Refuse what is no mapping, or has a key twice, of which YAML would silently take the last."""
    if node is None:
        return
    if node.id != "mapping":
        raise DataError("the alias table is no mapping. It must be YAML of the form name: [spelling, ...].")
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if str(key.value) in lines:
            raise DataError(
                f'the alias table names "{key.value}" in line {lines[str(key.value)]} and again in line {line}. Join '
                "the two lists."
            )
        lines[str(key.value)] = line


def _check_alias(name: Any, spellings: Any) -> None:
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"the alias table has the name {repr(name)[:60]}, which is no text. Put it in quotation marks.")
    if spellings is not None and (isinstance(spellings, str) or not isinstance(spellings, Sequence)):
        raise DataError(f'the alias table must give "{name}" a list of spellings: "{name}: [...]".')
    for spelling in spellings or ():
        if not isinstance(spelling, str) or not spelling.strip():
            raise DataError(
                f'the alias table gives "{name}" the spelling {repr(spelling)[:60]}, which is no text. Quote it.'
            )


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    # The block of accents, and Cf: characters without a shape, such as a zero-width space.
    letters = "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f" and unicodedata.category(c) != "Cf")
    plain = re.sub(r"(?<![0-9])[.,]|[.,](?![0-9])|['’`´ʼ]", lambda found: " " if found[0] == "," else "", letters)
    words = "".join(" " if unicodedata.category(c)[0] == "P" and c not in ".," else c for c in plain)
    return unicodedata.normalize("NFC", " ".join(words.split()) or " ".join(letters.split()))
