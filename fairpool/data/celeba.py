"""The aligned faces of CelebA with their 40 attributes, in the layout of its publisher.

Liu, Luo, Wang, Tang: Deep Learning Face Attributes in the Wild, ICCV 2015, doi:10.1109/ICCV.2015.425.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fairpool.data.celeba_text import read_attributes, read_pairs
from fairpool.data.checks import list_rows
from fairpool.data.excluded_rows import as_setting, check_excluded_rows
from fairpool.data.image_folder import describe_entry, is_inside, list_folder, name_faults
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
        table: one row an image, index 1 for the first of the attribute file: ``name`` (file name), ``section``,
            ``patient`` (identity where the identity file is there, otherwise the image itself), and the 40 attributes,
            int8, 1 present, 0 absent.
        has_identities: whether ``patient`` is the person.
        excluded: rows that the table lacks because they were to be left out.
    """

    images: Path
    table: pd.DataFrame
    has_identities: bool
    excluded: tuple[int, ...] = ()

    def paths(self) -> list[str]:
        """Path of each image, in the order of the table."""
        return [os.path.join(self.images, name) for name in self.table["name"]]


def read_celeba(root_dir: str | os.PathLike[str], *, exclude_rows: Sequence[int] = ()) -> CelebA:
    """Read the attribute table, the official partition and, where it is there, the identities.

    Args:
        root_dir: folder with ``img_align_celeba/``, ``list_attr_celeba.txt`` and ``list_eval_partition.txt``, or with
            the publisher's ``Img/``, ``Anno/`` and ``Eval/``. Trailing spaces and either kind of line end are accepted.
        exclude_rows: images to leave out, counted from 1 in the order of ``list_attr_celeba.txt``.
    Raises:
        DataError: a file is missing; the count, a name or a value is not what the format says; a line of one file is
            missing in another; or an image is not there, is empty, or is a link that leaves ``root_dir``. Images are
            looked for by one listing of their folder; none is opened.
        ValueError: ``exclude_rows`` is no list of rows.
    """
    root = Path(root_dir)
    table = read_attributes(_find(root, _ATTRIBUTES), CELEBA_ATTRIBUTES)
    partition = read_pairs(_find(root, _PARTITION), "partition")
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
        patients = "person " + _joined(table, read_pairs(identity, "identity"), "identity").astype(str)
    table.insert(2, "patient", patients.to_numpy())
    excluded = check_excluded_rows(exclude_rows, len(table))
    table = table.drop(index=excluded)
    images = _find(root, _IMAGES[::-1], folder=True)
    _check_images(images, table["name"], os.path.realpath(root))
    return CelebA(images, table, identity is not None, tuple(excluded))


def pool_celeba(
    root_dir: str | os.PathLike[str],
    *,
    target: str = "Attractive",
    protected: str = "Male",
    exclude_rows: Sequence[int] = (),
    **split: Any,
) -> Pool:
    """CelebA as a pool: one attribute to predict, another as the site, the official partition as the sections.

    Args:
        root_dir: see `read_celeba`.
        target: attribute that is the label, such as "Attractive"; 1 is present.
        protected: attribute whose two values are the sites: "female" and "male", "old" and "young", or "not x" and "x".
        exclude_rows: see `read_celeba`; such as images that cannot be read.
        split: other options of `Pool`; ``seed`` does not change the partition.
    Raises:
        DataError: see `read_celeba` and `Pool`; or a person is in two sections.
        ValueError: an attribute is unknown, or both are the same; or ``exclude_rows`` is no list of rows.
    """
    check_attributes(target, protected)
    celeba = read_celeba(root_dir, exclude_rows=exclude_rows)
    table = celeba.table
    if celeba.has_identities:
        _check_persons(table)
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
    notes = []
    if celeba.excluded:
        notes.append(f"exclude_rows leaves out {len(celeba.excluded)} rows")
    if not celeba.has_identities:
        notes.append(
            "no identity_CelebA.txt: each image counts as a person of its own, so intervals by person are too narrow"
        )
    records.attrs["notes"] = notes
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


def _check_images(images: Path, names: pd.Series, top: str) -> None:
    """Refuse images that are missing, empty or elsewhere; ``names`` by row."""
    if not is_inside(images, top):
        raise DataError(
            "the folder img_align_celeba leaves the data folder through a link. Put the folder itself there, or give "
            "--data the folder that holds it."
        )
    there = list_folder(images)
    missing = ~names.isin(there.keys())
    if missing.any():
        raise DataError(
            f"{int(missing.sum())} of {len(names)} images are not in img_align_celeba "
            f"({list_rows(names.index[missing])}). Unpack the whole archive img_align_celeba.zip, or leave the images "
            f"out: {as_setting(names.index[missing].tolist())}."
        )
    rows = zip(names.index.tolist(), names, strict=True)
    found = ((row, describe_entry(there[name], top)) for row, name in rows)
    faults = {row: fault for row, fault in found if fault is not None}
    if faults:
        remedy = f"Unpack img_align_celeba.zip again, or leave them out: {as_setting(list(faults))}."
        raise DataError(name_faults(faults, len(names), remedy))


def _check_persons(table: pd.DataFrame) -> None:
    """Refuse a person in two sections, naming the fewest rows without which there is none."""
    counts = table.groupby(["patient", "section"]).size().unstack(fill_value=0)
    shared = counts[(counts > 0).sum(axis=1) > 1]
    if shared.empty:
        return
    most = shared.idxmax(axis=1)
    rows = table[table["patient"].isin(shared.index)]
    surplus = rows.index[rows["section"] != rows["patient"].map(most)].tolist()
    raise DataError(
        f"{len(shared)} persons of identity_CelebA.txt have images in two sections of the partition "
        f"({list_rows(surplus)} beside the others of the same person). Leave these out: {as_setting(surplus)}. If the "
        "file is wrong, take identity_CelebA.txt away: each image then counts as a person of its own."
    )


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
