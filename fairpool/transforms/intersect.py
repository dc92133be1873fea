"""The MONAI transform that makes one group of several attributes: site x sex."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform

from fairpool.data.ids import as_integer
from fairpool.data.items import name_row
from fairpool.data.vocabulary import UNKNOWN

__all__ = ["IntersectGroupsd", "intersected_names"]


class IntersectGroupsd(MapTransform):
    """Adds the id of the intersection of several groups; everything else of the item stays as it is.

    Ids of the attributes are the digits of a number, the first key's the leading one: with 3 sites and 2 sexes, site 2
    and sex 1 give 2 * 2 + 1 = 5. `intersected_names` gives the names in this order. Where one attribute is unknown, -1,
    the intersection is too. A constraint on intersections asks for more than one on each attribute, and its groups are
    smaller: read the counts of each before trusting a rate.

    Args:
        keys: the items that hold the ids, two or more, such as ``["site", "sex"]``.
        num_groups: number of groups of each key: ids are 0..n-1, or -1.
        output_key: the item that takes the intersection's id, a Python int, which collates to int64 (B,).
    Raises:
        ValueError: fewer than two keys, a key twice, another number of ``num_groups``, or one that is no positive
            integer; in a call, an id out of range, or an item that holds ``output_key`` already.
        KeyError: an item lacks a key.
        TypeError: an id is no integer: a float, a truth value, text, an array.

        Messages start with "row R (site): " where the item has "row" and "site_name". In a MONAI Compose the error is
        the cause of a RuntimeError.
    Source: Kearns et al., Preventing Fairness Gerrymandering, ICML 2018, PMLR 80: rates that are equal over sites and
        over sexes can still differ between the sexes of one site.

    >>> intersect = IntersectGroupsd(["site", "sex"], [3, 2], output_key="site_x_sex")
    >>> intersect({"site": 2, "sex": 1})
    {'site': 2, 'sex': 1, 'site_x_sex': 5}
    >>> intersect.num_intersections, intersect({"site": -1, "sex": 1})["site_x_sex"]
    (6, -1)
    """

    def __init__(self, keys: KeysCollection, num_groups: Sequence[int], *, output_key: str) -> None:
        super().__init__(keys)
        sizes = [as_integer(size) for size in num_groups]
        if len(self.keys) < 2 or len(set(self.keys)) != len(self.keys):
            raise ValueError(f"an intersection needs at least two different keys, got {_quoted(self.keys)}.")
        if len(sizes) != len(self.keys):
            raise ValueError(
                f"num_groups must hold one number for each of the {len(self.keys)} keys {_quoted(self.keys)}; it holds "
                f"{len(sizes)}: {list(num_groups)}."
            )
        for key, size, given in zip(self.keys, sizes, num_groups, strict=True):
            if size is None or size < 1:
                raise ValueError(f'num_groups of "{key}" must be a positive whole number, got {given!r}.')
        if output_key in self.keys:
            raise ValueError(f'output_key "{output_key}" is one of the keys; give the intersection a key of its own.')
        self.num_groups = tuple(size for size in sizes if size is not None)
        self.output_key = output_key

    @property
    def num_intersections(self) -> int:
        """Number of intersections, the ``num_groups`` of a loss or metric over them."""
        return prod(self.num_groups)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with the intersection's id added; the item given is not changed."""
        item = dict(data)
        if self.output_key in item:
            raise ValueError(
                f'{name_row(item)}the item already holds "{self.output_key}"; choose another output_key, or apply the '
                "transform once."
            )
        intersection, is_known = 0, True
        for key, size in zip(self.keys, self.num_groups, strict=True):
            number = self._id(item, key, size)
            is_known = is_known and number != UNKNOWN
            intersection = intersection * size + number
        item[self.output_key] = intersection if is_known else UNKNOWN
        return item

    def _id(self, item: Mapping[Hashable, Any], key: Hashable, size: int) -> int:
        if key not in item:
            found = _quoted(item) or "nothing"
            raise KeyError(
                f'{name_row(item)}the item has no "{key}" (found: {found}). Attach the encoded attribute before '
                "IntersectGroupsd, -1 where it is unknown."
            )
        number = as_integer(item[key])
        if number is None:
            raise TypeError(
                f'{name_row(item)}"{key}" must be one integer, got {item[key]!r}. Encode the groups as '
                f"0..{size - 1}, -1 for unknown."
            )
        if not UNKNOWN <= number < size:
            raise ValueError(
                f'{name_row(item)}"{key}" must lie in 0..{size - 1}, or be -1 for unknown; got {number}. Raise its '
                "num_groups, or encode the attribute again."
            )
        return number


def intersected_names(names: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Names of the intersections in the order of their ids, for a `SiteVocabulary` or a `SiteReport`.

    Args:
        names: the group names of each attribute, in the order of ``keys``.
    Raises:
        ValueError: an attribute is one text instead of a list of names, or has none, or two intersections would have
            the same name.

    >>> intersected_names([("basel", "bern"), ("f", "m")])
    ('basel x f', 'basel x m', 'bern x f', 'bern x m')
    """
    for position, group_names in enumerate(names, start=1):
        if isinstance(group_names, str) or not group_names:
            raise ValueError(f"attribute {position} must be a list of group names, got {group_names!r}.")
    joined = tuple(" x ".join(combination) for combination in product(*names))
    twice = sorted(name for name, count in Counter(joined).items() if count > 1)
    if twice:
        raise ValueError(f"two intersections would be called {_quoted(twice)}; rename the groups.")
    return joined


def _quoted(names: Any) -> str:
    return ", ".join(f'"{name}"' for name in names)
