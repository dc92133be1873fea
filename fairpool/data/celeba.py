"""The aligned faces of CelebA with their 40 attributes, in the layout of its publisher.

Liu, Luo, Wang, Tang: Deep Learning Face Attributes in the Wild, ICCV 2015, doi:10.1109/ICCV.2015.425.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fairpool.data.checks import list_rows
from fairpool.data.pool import Pool
from fairpool.data.splits import SECTIONS
from fairpool.errors import DataError

__all__ = ["CELEBA_ATTRIBUTES", "CelebA", "attribute_words", "check_attributes", "pool_celeba", "read_celeba"]

# fmt: off
CELEBA_ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache",
    "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks",
    "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick",
    "Wearing_Necklace", "Wearing_Necktie", "Young",
)
# fmt: on
"""Names of the 40 attributes in the publisher's order."""

# Where the publisher's archive, and people who unpacked parts of it, keep each thing.
_ATTRIBUTES = ("list_attr_celeba.txt", "Anno/list_attr_celeba.txt")
_PARTITION = ("list_eval_partition.txt", "Eval/list_eval_partition.txt", "Anno/list_eval_partition.txt")
_IDENTITY = ("identity_CelebA.txt", "Anno/identity_CelebA.txt")
_IMAGES = ("img_align_celeba", "Img/img_align_celeba", "img_align_celeba/img_align_celeba")

_WORDS = {"Male": ("female", "male"), "Young": ("old", "young")}


@dataclass(frozen=True)
class CelebA:
    """The annotations; no image has been opened.

    Attributes:
        images: folder of the images.
        table: one row an image, index 1 for the first: ``name`` (file name), ``section``, ``patient`` (identity where
            the identity file is there, otherwise the image itself), and the 40 attributes, int8, 1 present, 0 absent.
        has_identities: whether ``patient`` is the person.
    """

    images: Path
    table: pd.DataFrame
    has_identities: bool

    def paths(self) -> list[str]:
        """Path of each image, in the order of the table."""
        return [os.path.join(self.images, name) for name in self.table["name"]]


def read_celeba(root_dir: str | os.PathLike[str]) -> CelebA:
    """Read the attribute table, the official partition and, where it is there, the identities.

    Args:
        root_dir: folder with ``img_align_celeba/``, ``list_attr_celeba.txt`` and ``list_eval_partition.txt``, or with
            the publisher's ``Img/``, ``Anno/`` and ``Eval/``. Trailing spaces and either kind of line end are accepted.
    Raises:
        DataError: a file is missing; the count, a name or a value is not what the format says; a line of one file is
            missing in another; or an image is not there. Images are looked for by one listing of their folder.
    """
    root = Path(root_dir)
    table = _read_attributes(_find(root, _ATTRIBUTES))
    partition = _read_pairs(_find(root, _PARTITION), "partition")
    bad = ~partition.isin((0, 1, 2))
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} lines of the partition file name no section ({list_rows(_numbered(bad))}): "
            f"expected 0, 1 or 2, found {partition[bad].iloc[0]}."
        )
    numbers = _joined(table, partition, "partition")
    table.insert(1, "section", numbers.map(dict(enumerate(SECTIONS))).to_numpy())
    identity = next((root / place for place in _IDENTITY if (root / place).is_file()), None)
    if identity is None:
        patients = table["name"]
    else:
        patients = "person " + _joined(table, _read_pairs(identity, "identity"), "identity").astype(str)
    table.insert(2, "patient", patients.to_numpy())
    images = _find(root, _IMAGES[::-1], folder=True)
    there = set(os.listdir(images))
    missing = ~table["name"].isin(there)
    if missing.any():
        raise DataError(
            f"{int(missing.sum())} of {len(table)} images are not in img_align_celeba "
            f"({list_rows(table.index[missing])}). Unpack the whole archive img_align_celeba.zip."
        )
    return CelebA(images, table, identity is not None)


def pool_celeba(
    root_dir: str | os.PathLike[str], *, target: str = "Attractive", protected: str = "Male", **split: Any
) -> Pool:
    """CelebA as a pool: one attribute to predict, another as the site, the official partition as the sections.

    Args:
        root_dir: see `read_celeba`.
        target: attribute that is the label, such as "Attractive"; 1 is present.
        protected: attribute whose two values are the sites: "female" and "male", "old" and "young", or "not x" and "x".
        split: other options of `Pool`; ``seed`` does not change the partition.
    Raises:
        DataError: see `read_celeba` and `Pool`.
        ValueError: an attribute is unknown, or both are the same.
    """
    check_attributes(target, protected)
    celeba = read_celeba(root_dir)
    table = celeba.table
    absent, present = attribute_words(protected)
    records = pd.DataFrame(
        {
            "image": celeba.paths(),
            "label": table[target].astype(int),
            "site": table[protected].map({0: absent, 1: present}),
            "patient": table["patient"],
            "row": table.index,
            "section": table["section"],
        },
        index=table.index,
    )
    if not celeba.has_identities:
        note = "no identity_CelebA.txt: each image counts as a person of its own, so intervals by person are too narrow"
        records.attrs["notes"] = [note]
    pool = Pool(records, **split)
    pool.label_names = attribute_words(target)
    return pool


def check_attributes(*names: str) -> None:
    """Refuse a name that is no attribute, or one given twice.

    Raises:
        ValueError: naming it and the nearest attribute.
    """
    from fairpool.bundle import did_you_mean

    for name in names:
        if name not in CELEBA_ATTRIBUTES:
            raise ValueError(
                f'CelebA has no attribute "{name}"{did_you_mean(name, CELEBA_ATTRIBUTES)}; it has '
                f"{', '.join(CELEBA_ATTRIBUTES)}."
            )
    if len(set(names)) < len(names):
        raise ValueError(f'"{names[0]}" is named twice: the target and the protected attribute must differ.')


def attribute_words(name: str) -> tuple[str, str]:
    """What an attribute's absence and presence are called.

    >>> attribute_words("Male"), attribute_words("Wearing_Hat")
    (('female', 'male'), ('not wearing hat', 'wearing hat'))
    """
    words = name.replace("_", " ").lower()
    return _WORDS.get(name, (f"not {words}", words))


def _find(root: Path, places: tuple[str, ...], *, folder: bool = False) -> Path:
    for place in places:
        if (root / place).is_dir() if folder else (root / place).is_file():
            return root / place
    wanted = min(places, key=len) + ("/" if folder else "")
    raise DataError(
        f'there is no "{wanted}" in the data folder: expected img_align_celeba/, list_attr_celeba.txt and '
        "list_eval_partition.txt, or the publisher's Img/, Anno/ and Eval/. pipelines/celeba/docs says where they are "
        "from; `fairpool synthesize celeba` draws a synthetic tree."
    )


def _read_attributes(file: Path) -> pd.DataFrame:
    """``name`` and the attributes as 0 and 1, int8, index 1 for the first image."""
    with file.open(encoding="utf-8-sig", errors="replace") as text:
        count, names = text.readline().strip(), text.readline().split()
    if not count.isdecimal():
        raise DataError(f'line 1 of list_attr_celeba.txt must be the number of images, got "{count[:20]}".')
    if set(names) != set(CELEBA_ATTRIBUTES) or len(names) != len(CELEBA_ATTRIBUTES):
        strange = [name for name in names if name not in CELEBA_ATTRIBUTES] or ["a name twice or none"]
        lacking = [name for name in CELEBA_ATTRIBUTES if name not in names] or ["none"]
        raise DataError(
            f"line 2 of list_attr_celeba.txt must name the 40 attributes; it has {len(names)} names, unknown: "
            f"{', '.join(strange[:5])}; missing: {', '.join(lacking[:5])}."
        )
    table = _read_columns(file, ["name", *names], skip=2, what="attribute")
    values = table[names]
    numbers = values.apply(pd.to_numeric, errors="coerce")  # a column with one strange cell was read as text
    wrong = ~numbers.isin((-1, 1))
    if wrong.to_numpy().any():
        rows = wrong.any(axis=1)
        column = next(name for name in names if wrong[name].any())
        found = str(values[column][wrong[column]].iloc[0])
        raise DataError(
            f"{int(rows.sum())} images have an attribute other than -1 and 1 ({list_rows(table.index[rows])}), such as "
            f'{column}: "{found[:20]}".'
        )
    if len(table) != int(count):
        raise DataError(
            f"list_attr_celeba.txt announces {count} images in line 1 and lists {len(table)}: it is cut off, or was "
            "edited."
        )
    table[names] = (numbers == 1).astype("int8")
    return table[["name", *CELEBA_ATTRIBUTES]].astype(dict.fromkeys(CELEBA_ATTRIBUTES, "int8"))


def _read_pairs(file: Path, what: str) -> pd.Series:
    """Whole number of each image, by its name."""
    table = _read_columns(file, ["name", "number"], skip=0, what=what)
    number = pd.to_numeric(table["number"], errors="coerce")
    bad = number.isna() | (number % 1 != 0) | (number < 0)
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} lines of the {what} file hold no whole number ({list_rows(table.index[bad])})."
        )
    return pd.Series(number.astype("int64").to_numpy(), index=table["name"])


def _read_columns(file: Path, columns: list[str], *, skip: int, what: str) -> pd.DataFrame:
    """Columns separated by white space; index 1 for the first line after those skipped."""
    try:
        # One column more than there may be: it shows the lines that are too long.
        table = pd.read_csv(
            file,
            sep=r"\s+",
            header=None,
            names=[*columns, "surplus"],
            index_col=False,
            skiprows=skip,
            quoting=3,
            encoding="utf-8-sig",
            encoding_errors="replace",
        )
    except pd.errors.ParserError:
        raise DataError(f"a line of the {what} file has more than {len(columns)} columns; it is damaged.") from None
    except pd.errors.EmptyDataError:
        raise DataError(f"the {what} file lists no image.") from None
    table.index = pd.RangeIndex(1, len(table) + 1)
    ragged = table["surplus"].notna() | table[columns[-1]].isna()
    if ragged.any():
        raise DataError(
            f"{int(ragged.sum())} lines of the {what} file do not have {len(columns)} columns "
            f"({list_rows(table.index[ragged])}): it is cut off or damaged."
        )
    names = table["name"].astype(str)
    foreign = ~names.str.fullmatch(r"\d+\.(?:jpg|png)")
    if foreign.any():
        raise DataError(
            f"{int(foreign.sum())} lines of the {what} file do not begin with an image such as 000001.jpg "
            f"({list_rows(table.index[foreign])})."
        )
    twice = names.duplicated()
    if twice.any():
        raise DataError(f"{int(twice.sum())} images stand twice in the {what} file ({list_rows(table.index[twice])}).")
    return table.drop(columns="surplus").assign(name=names)


def _numbered(chosen: pd.Series) -> list[int]:
    """Places of what was chosen, counted from 1."""
    return [number for number, is_chosen in enumerate(chosen, start=1) if is_chosen]


def _joined(table: pd.DataFrame, numbers: pd.Series, what: str) -> pd.Series:
    """The number of each image of the table; both must list the same images."""
    found = numbers.reindex(table["name"])
    missing = found.isna().to_numpy()
    if missing.any():
        raise DataError(
            f"{int(missing.sum())} of {len(table)} images are not in the {what} file "
            f"({list_rows(table.index[missing])})."
        )
    if len(numbers) > len(table):
        raise DataError(
            f"the {what} file lists {len(numbers) - len(table)} images that have no attributes: the files do not "
            "belong together, or one was edited."
        )
    return found.astype("int64")
