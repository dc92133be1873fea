"""The MONAI transform that turns names of groups into integers, by a vocabulary learned on training data."""

import json
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform

from fairpool.data.checks import MAX_SITES, check_spellings, is_empty
from fairpool.data.ids import as_integer
from fairpool.data.vocabulary import UNKNOWN, UNKNOWN_NAME, SiteVocabulary
from fairpool.errors import DataError
from fairpool.transforms.site_transform import name_item
from fairpool.whole_file import write_whole

__all__ = ["EncodeGroupsd"]

_MOST_NAMES = 10


class EncodeGroupsd(MapTransform):
    """Replaces the name of a group by its integer 0..K-1, and keeps the name as ``<key>_name``.

    The integer is a Python int and collates to int64, as `fairpool.FairALMHandler` wants it. Learn the vocabulary with
    `fit` on the items of the training data, never on those of validation or test, and `save` it.

    Args:
        keys: the items that hold a name; all share one vocabulary.
        vocabulary: a `SiteVocabulary`, a list of names in the order of their ids, or the path of a JSON file that
            `save` or `SiteVocabulary.to_json` wrote.
        unknown: what becomes of a name that is not in the vocabulary: "raise", or "keep" to give it -1, which is
            reported and not constrained. So does a name that is None or empty.
        unknown_names: names that mean "not known", such as what ``missing=`` of `SiteFromPathd` puts: always -1.
        merged: names that count as another, which is in the vocabulary: ``{"zug": "other"}``. A path of ``vocabulary``
            brings its own.
        allow_missing_keys: whether an item may lack a key.
    Raises:
        DataError: in a call, a name is unknown or empty; the file of the vocabulary is none. Begins with the item's row
            where it has one.
        ValueError: the vocabulary or another argument makes no sense; in a call, a key holds an integer already.
        TypeError: in a call, a key holds something that is no text.
        KeyError: an item lacks a key.

    >>> encode = EncodeGroupsd(vocabulary=["basel", "bern"], unknown="keep")
    >>> encode({"site": "bern"}), encode({"site": "zug"})["site"]
    ({'site': 1, 'site_name': 'bern'}, -1)
    """

    def __init__(
        self,
        keys: KeysCollection = "site",
        *,
        vocabulary: SiteVocabulary | Sequence[str] | str | os.PathLike[str],
        unknown: str = "raise",
        unknown_names: Sequence[str] = (UNKNOWN_NAME,),
        merged: Mapping[str, str] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if unknown not in ("raise", "keep"):
            raise ValueError(f'unknown must be "raise" or "keep", got {unknown!r}.')
        if isinstance(unknown_names, str):
            raise ValueError(f"unknown_names must be a list of names, got {unknown_names!r}.")
        of_file: dict[str, str] = {}
        if isinstance(vocabulary, str | os.PathLike):
            vocabulary, of_file = _read_vocabulary(vocabulary)
        self.vocabulary = vocabulary if isinstance(vocabulary, SiteVocabulary) else SiteVocabulary(tuple(vocabulary))
        self.unknown = unknown
        self.unknown_names = tuple(unknown_names)
        self.merged = of_file | dict(merged or {})
        self._ids = {name: number for number, name in enumerate(self.vocabulary.names)}
        for name, target in self.merged.items():
            if target not in self._ids or name in self._ids:
                raise ValueError(
                    f'"{name}" cannot count as "{target}": the first must not be in the vocabulary and the second must '
                    f"({_listed(self.vocabulary.names)})."
                )
            self._ids[name] = self._ids[target]

    @classmethod
    def fit(
        cls,
        items: Iterable[Mapping[Hashable, Any]],
        keys: KeysCollection = "site",
        *,
        min_samples: int = 1,
        other: str = "other",
        unknown: str = "raise",
        unknown_names: Sequence[str] = (UNKNOWN_NAME,),
        max_groups: int = MAX_SITES,
        allow_missing_keys: bool = False,
    ) -> "EncodeGroupsd":
        """The transform whose vocabulary is the names of these items, in alphabetical order.

        Args:
            items: of the training data, with names at ``keys``: ``map(SiteFromDicomd(), items)`` reads no image.
            keys: see the class, as are ``unknown``, ``unknown_names`` and ``allow_missing_keys``.
            min_samples: a name of fewer items counts as ``other``, whose id is the last one.
            other: see ``min_samples``.
            unknown: see the class.
            unknown_names: they are not learned.
            max_groups: most names that are believed.
            allow_missing_keys: see the class.
        Raises:
            DataError: an item has no name or no text, no name is left or ``other`` alone, there are too many, or one is
                spelt in several ways; a group is called ``other`` already while rare ones are to be merged into it.
            ValueError: ``min_samples`` or ``max_groups`` is no whole number of at least 1.

        >>> items = [{"site": site} for site in ["bern"] * 5 + ["basel"] * 4 + ["zug", "chur", "unknown"]]
        >>> encode = EncodeGroupsd.fit(items, min_samples=3)
        >>> encode.vocabulary.names, encode.merged, encode({"site": "zug"})
        (('basel', 'bern', 'other'), {'chur': 'other', 'zug': 'other'}, {'site': 2, 'site_name': 'zug'})
        """
        for name, value in (("min_samples", min_samples), ("max_groups", max_groups)):
            if (as_integer(value) or 0) < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
        reader = cls(
            keys,
            vocabulary=SiteVocabulary(()),
            unknown=unknown,
            unknown_names=unknown_names,
            allow_missing_keys=allow_missing_keys,
        )
        counts: Counter[str] = Counter()
        for number, item in enumerate(items, start=1):
            place = name_item(item) or f"item {number}: "
            names = (reader._name(item, key, place) for key in reader.key_iterator(dict(item)))
            counts.update(name for name in names if name not in reader.unknown_names)
        if not counts:
            raise DataError("no item has a group to learn; give the items of the training data.")
        if len(counts) > max_groups:
            raise DataError(
                f"the items have {len(counts):,} groups; at most {max_groups:,} are believed. Is it the right element "
                "or column? If it is, raise max_groups."
            )
        check_spellings(counts.elements(), f"the items' {_listed(reader.keys)}")
        rare = sorted(name for name, count in counts.items() if count < min_samples)
        kept = sorted(set(counts) - set(rare))
        if rare and other in counts:
            raise DataError(f'a group is called "{other}" already; give rare groups another name with other="...".')
        groups = (*kept, other) if rare else tuple(kept)
        if rare and len(groups) < 2:
            found = ", ".join(f"{name} {counts[name]}" for name in rare)
            raise DataError(
                f'only the group "{other}" is left: all have fewer than {min_samples} items ({found}). Lower '
                "min_samples."
            )
        return cls(
            keys,
            vocabulary=SiteVocabulary(groups),
            unknown=unknown,
            unknown_names=unknown_names,
            merged=dict.fromkeys(rare, other),
            allow_missing_keys=allow_missing_keys,
        )

    @property
    def num_groups(self) -> int:
        """Number of groups K: the ``num_groups`` of a loss."""
        return len(self.vocabulary)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with each name replaced by its integer; the item given is not changed."""
        item = dict(data)
        place = name_item(item)
        for key in self.key_iterator(item):
            name, name_key = self._name(item, key, place), f"{key}_name"
            if name_key in item and item[name_key] != item[key]:
                raise ValueError(f'{place}the item already holds another "{name_key}". Remove it, or rename the key.')
            item[key], item[name_key] = self._id(name, key, place), name
        return item

    def to_json(self) -> str:
        """JSON text: that of `SiteVocabulary.to_json`, which can read it, and the names that were merged."""
        return json.dumps(json.loads(self.vocabulary.to_json()) | {"merged": self.merged}, ensure_ascii=False, indent=1)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write `to_json` to a file, which can be given as ``vocabulary``."""
        write_whole(Path(file), self.to_json())

    def _name(self, item: Mapping[Hashable, Any], key: Hashable, place: str) -> str:
        value = item[key]
        is_nan = isinstance(value, float) and value != value
        if value is None or is_nan or (isinstance(value, str) and is_empty(value)):
            if self.unknown == "raise" or not self.unknown_names:
                raise DataError(f'{place}"{key}" is empty. Fill it in, or pass missing="unknown" to what attaches it.')
            return self.unknown_names[0]
        if as_integer(value) is not None:
            raise ValueError(f'{place}"{key}" is {value}, an integer already. Apply EncodeGroupsd once, to names.')
        if not isinstance(value, str):
            raise TypeError(f'{place}"{key}" must be the name of one group, got {type(value).__name__}.')
        return value

    def _id(self, name: str, key: Hashable, place: str) -> int:
        if name in self.unknown_names:
            return UNKNOWN
        number = self._ids.get(name, UNKNOWN)
        if number == UNKNOWN and self.unknown == "raise":
            near = get_close_matches(name, self.vocabulary.names, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            raise DataError(
                f'{place}{key} "{name}" is not among the {len(self.vocabulary)} groups seen in training '
                f'({_listed(self.vocabulary.names)}).{hint} Add it to the vocabulary, or pass unknown="keep" to report '
                "it without constraining it."
            )
        return number


def _read_vocabulary(file: str | os.PathLike[str]) -> tuple[SiteVocabulary, dict[str, str]]:
    reason = ""
    try:
        text = Path(file).read_text(encoding="utf-8")
        merged = json.loads(text).get("merged", {})
        if isinstance(merged, dict) and all(isinstance(target, str) for target in merged.values()):
            return SiteVocabulary.from_json(text), merged
        reason = 'its "merged" is no object of names'
    except OSError as error:
        reason = error.strerror or "damaged"
    except (ValueError, AttributeError, RecursionError):
        reason = 'no JSON object with a list of "sites"'
    # Outside `except`: the causes quote the path or the text.
    raise DataError(f"the vocabulary cannot be read ({reason}). Name a file that EncodeGroupsd.save wrote.")


def _listed(names: Sequence[Any]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(str, names[:_MOST_NAMES])) + more
