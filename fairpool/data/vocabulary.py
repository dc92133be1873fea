"""Which integer stands for which site, kept beside the dataset and in the checkpoint."""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

__all__ = ["UNKNOWN", "UNKNOWN_NAME", "SiteVocabulary"]

UNKNOWN = -1
"""Id of a sample of unknown site: metrics report it apart, constraints leave it out."""

UNKNOWN_NAME = "unknown"
"""What stands for the site of an image that has none; it is never learned as a site."""


@dataclass(frozen=True)
class SiteVocabulary:
    """Site names in the order of their ids 0..K-1.

    Args:
        names: unique, non-empty.
    Raises:
        ValueError: a name is empty or stands twice.

    >>> vocabulary = SiteVocabulary.from_sites(["bern", "basel", "bern"])
    >>> vocabulary.names, vocabulary.encode(["bern"])
    (('basel', 'bern'), [1])
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not all(isinstance(name, str) and name.strip() for name in self.names):
            raise ValueError(f"a site name must be non-empty text, got {list(self.names)}.")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"site names must be unique, got {list(self.names)}.")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_sites(cls, sites: Iterable[str]) -> "SiteVocabulary":
        """The distinct sites in alphabetical order, without "unknown"."""
        return cls(tuple(sorted(set(sites) - {UNKNOWN_NAME})))

    def extended(self, sites: Iterable[str]) -> "SiteVocabulary":
        """This vocabulary with the sites it does not know appended, their ids after the known ones."""
        return SiteVocabulary(self.names + tuple(sorted(set(sites) - {*self.names, UNKNOWN_NAME})))

    def encode(
        self, sites: Sequence[str], unknown: str = "raise", *, rows: Sequence[int | str] | None = None
    ) -> list[int]:
        """Ids of site names.

        Args:
            sites: names.
            unknown: ``"raise"``, or ``"keep"`` to give sites that are not in it the id -1, which is reported, not
                constrained. The name "unknown" always has it.
            rows: what a message calls each name's row; None counts from 1.
        Raises:
            ValueError: an unknown site; the message names it, its row and the vocabulary.
        """
        if unknown not in ("raise", "keep"):
            raise ValueError(f'unknown must be "raise" or "keep", got {unknown!r}.')
        ids = {name: i for i, name in enumerate(self.names)}
        if unknown == "raise":
            for row, site in zip(range(1, len(sites) + 1) if rows is None else rows, sites, strict=True):
                if site not in ids and site != UNKNOWN_NAME:
                    near = get_close_matches(str(site), self.names, n=1)
                    hint = f' Did you mean "{near[0]}"?' if near else ""
                    raise ValueError(
                        f'site "{site}" in row {row} is not among the {len(self)} sites seen in training '
                        f'({", ".join(self.names)}).{hint} Add it to the vocabulary, or pass unknown="keep" to report '
                        "it without constraining it."
                    )
        return [ids.get(site, UNKNOWN) for site in sites]

    def slugs(self) -> tuple[str, ...]:
        """Names as they may stand in a metric or file name: lower-case ASCII, collisions numbered.

        >>> SiteVocabulary(("Hôpital A (2)", "../..", "hopital a 2")).slugs()
        ('hopital-a-2', 'site', 'hopital-a-2-2')
        """
        slugs: dict[str, None] = {}
        numbers: dict[str, int] = {}
        for name in self.names:
            ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
            base = re.sub(r"[^a-z0-9_]+", "-", ascii_name.lower()).strip("-_")[:80] or "site"
            slug = base
            while slug in slugs:
                numbers[base] = numbers.get(base, 1) + 1
                slug = f"{base}-{numbers[base]}"
            slugs[slug] = None
        return tuple(slugs)

    def to_json(self) -> str:
        """JSON text: names and slugs in the order of the ids."""
        return json.dumps({"sites": list(self.names), "slugs": list(self.slugs())}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "SiteVocabulary":
        """The vocabulary that `to_json` wrote.

        Raises:
            ValueError: the text is something else.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or not isinstance(content.get("sites"), list):
            raise ValueError('expected a JSON object with a list of "sites".')
        return cls(tuple(content["sites"]))
