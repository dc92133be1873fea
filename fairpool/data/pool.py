"""Records of several sites, split into sections: what a pipeline trains, validates and tests on."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from fairpool.data.checks import MAX_SITES, check_pool, check_records, check_sites, describe_cells, list_rows
from fairpool.data.counted import counted
from fairpool.data.excluded_rows import check_excluded_rows
from fairpool.data.image_cache import ImageCache
from fairpool.data.items import as_items
from fairpool.data.manifest import read_manifest
from fairpool.data.splits import SECTIONS, check_split, split_by_patient
from fairpool.data.tuberculosis import read_tuberculosis
from fairpool.data.unreadable import account_for_skipped
from fairpool.data.vocabulary import UNKNOWN_NAME, SiteVocabulary
from fairpool.errors import DataError

__all__ = ["Pool", "pool_manifest", "pool_tuberculosis"]

Progress = Callable[[int, int], None]

_UNKNOWN = ("name", "keep", "raise")


class Pool:
    """Pooled records with a section each, and the sites' ids.

    Args:
        records: columns ``image``, ``label``, ``site``, ``patient``, ``row``; a column ``section``, where there is one,
            is the split, whatever the seed.
        test_records: where given, all of ``records`` train or validate and these test (external validation); sites that
            the pool lacks get ids after its own.
        seed, val_frac, test_frac, num_folds: see `split_by_patient`.
        unknown: what becomes of the sites that only ``test_records`` has: "name" reports each by its name, "keep" gives
            them the id -1, which enters no rate and no constraint, "raise" refuses them.
        max_groups: most sites that are believed.
        ignore_label: label whose records are left out, such as -1; None leaves none out.
        exclude_rows: row numbers of ``records`` that are left out after the split, which stays as it would be: those of
            images that cannot be read, see `prepare`.
        exclude_test_rows: the same of ``test_records``.
    Raises:
        DataError: a site or label is missing or doubtful, the pool supports no comparison between sites, a section is
            empty, or a patient is in both tables.
        ValueError: fractions or ``num_folds`` make no sense, the records have their own split beside a second one, or
            ``unknown`` is another word, or "raise" and a site is unknown; rows to leave out that are no list of rows of
            their table.

    Attributes:
        records: all records with a column ``section``.
        digests: of each record's image, once `prepare` has read them; None before.
        excluded: rows that are left out, as the arguments ``exclude_rows`` and ``exclude_test_rows`` of another pool of
            the same records; `prepare` adds to them.
        label_names: what labels 0 and 1 mean, for figures; a pipeline may set its own.
        vocabulary: the pool's sites: those a constraint may name.
        all_sites: the same, then the sites that occur only in ``test_records``.
    """

    def __init__(
        self,
        records: pd.DataFrame,
        test_records: pd.DataFrame | None = None,
        *,
        seed: int = 0,
        val_frac: float = 0.1,
        test_frac: float = 0.25,
        num_folds: int = 0,
        unknown: str = "name",
        max_groups: int = MAX_SITES,
        ignore_label: int | None = None,
        exclude_rows: Sequence[int] = (),
        exclude_test_rows: Sequence[int] = (),
    ) -> None:
        if unknown not in _UNKNOWN:
            raise ValueError(f"unknown must be one of {', '.join(_UNKNOWN)}; got {unknown!r}.")
        exclude_rows = _existing(exclude_rows, records, "exclude_rows")
        exclude_test_rows = _existing(exclude_test_rows, test_records, "exclude_test_rows")
        self._notes = _table_notes(records, test_records)
        if ignore_label is not None:
            records = _without_label(records, ignore_label, self._notes)
        check_pool(records, max_groups=max_groups)
        self.vocabulary = SiteVocabulary.from_sites(records["site"])
        self.digests: list[str] | None = None
        self.label_names = ("negative", "positive")
        is_external = test_records is not None
        has_split = "section" in records
        if (is_external or has_split) and num_folds:
            raise ValueError("num_folds has no meaning with a separate test set or a split of its own: give one.")
        if is_external and has_split:
            raise ValueError("the records have a split of their own, test section included: give no second table.")
        if has_split:
            check_split(records)
        else:
            sections = split_by_patient(
                records, seed=seed, val_frac=val_frac, test_frac=0 if is_external else test_frac, num_folds=num_folds
            )
            records = records.assign(section=sections)
        records = records.assign(is_external=False)
        if test_records is not None:
            if ignore_label is not None:
                test_records = _without_label(test_records, ignore_label, self._notes)
            check_records(test_records, max_groups=max_groups)
            both = pd.concat([records["site"], test_records["site"]])
            check_sites(both, max_groups=2 * max_groups)  # one spelling over both tables
            if unknown == "raise":
                rows = [f"{row} of the test table" for row in test_records["row"]]
                self.vocabulary.encode(list(test_records["site"]), rows=rows)
            shared = set(records["patient"]) & set(test_records["patient"])
            if shared:
                raise DataError(
                    f"{len(shared)} patients are in both the pool and the test set: test on patients whom the training "
                    "never saw. If each hospital counts its own patients, put the site before the number."
                )
            records = pd.concat([records, test_records.assign(section="test", is_external=True)], ignore_index=True)
        is_excluded = records["row"].isin(exclude_rows) & ~records["is_external"]
        is_excluded |= records["row"].isin(exclude_test_rows) & records["is_external"]
        if is_excluded.any():
            records = records[~is_excluded].reset_index(drop=True)
            check_pool(records[~records["is_external"]], max_groups=max_groups)
        self.excluded = {"exclude_rows": exclude_rows, "exclude_test_rows": exclude_test_rows}
        self.records = records
        self.all_sites = self.vocabulary if unknown == "keep" else self.vocabulary.extended(records["site"])
        for section in SECTIONS:
            if not (records["section"] == section).any():
                cause = (
                    "the split that came with the records names none"
                    if has_split
                    else f"{records['patient'].nunique()} patients are too few for val_frac {val_frac} and test_frac "
                    f"{test_frac}"
                )
                raise DataError(f"the {section} section is empty: {cause}.")
        self._has_split, self._max_groups = has_split, max_groups
        self._items = as_items(records, records, self.all_sites, unknown="keep")

    def section(self, name: str) -> list[dict[str, Any]]:
        """Data items of a section, for a MONAI dataset: ``image``, ``label``, ``site`` (id), ``patient``, ``row``...

        Raises:
            ValueError: the section is not "training", "validation" or "test".
        """
        if name not in SECTIONS:
            raise ValueError(f"section must be one of {', '.join(SECTIONS)}; got {name!r}.")
        chosen = (self.records["section"] == name).to_numpy()
        return [item for item, is_chosen in zip(self._items, chosen, strict=True) if is_chosen]

    def cell_counts(self) -> Tensor:
        """Training samples by label and site of the vocabulary, int64 (2, K): the ``counts`` of `FairALMLoss`."""
        num_sites = len(self.vocabulary)
        cells = [item["label"] * num_sites + item["site"] for item in self.section("training") if item["site"] >= 0]
        return torch.bincount(torch.tensor(cells, dtype=torch.int64), minlength=2 * num_sites).view(2, num_sites)

    def notes(self) -> list[str]:
        """What a reader of the results should know: sites that lack a label, and sites the training never saw."""
        own, external = self.records[~self.records["is_external"]], self.records[self.records["is_external"]]
        notes = [*self._notes, *describe_cells(own)]
        if number := int((self.records["site"] == UNKNOWN_NAME).sum()):
            unknown = counted(number, "image is", "images are")
            notes.append(f'{unknown} of site "{UNKNOWN_NAME}": in no rate and no constraint, else used')
        trained = set(own["site"][own["section"] == "training"])
        for site in self.vocabulary.names:
            if site not in trained:
                number = int((own["site"] == site).sum())
                notes.append(f'site "{site}" has no training image (0 of {number}): no constraint reaches it')
        seen = {*self.vocabulary.names, UNKNOWN_NAME}
        unseen = external["site"][~external["site"].isin(seen)].value_counts().sort_index()
        if len(self.all_sites) > len(self.vocabulary):
            notes += [f'site "{site}" is only in the test set ({number} images)' for site, number in unseen.items()]
        elif len(unseen):
            named = ", ".join(f"{site} {number}" for site, number in unseen.items())
            notes.append(
                f"{unseen.sum()} test images are of sites that the training never saw ({named}): they count as "
                "unknown, in no rate and no constraint"
            )
        return notes

    def fingerprint(self) -> str:
        """Digest of the data: names and sizes of the images, labels, sites, patients, and a split of their own."""
        digest = hashlib.sha256()
        patients = {patient: number for number, patient in enumerate(sorted(self.records["patient"].unique()))}
        columns = ["image", "label", "site", "patient", "is_external", *(["section"] if self._has_split else [])]
        for image, label, site, patient, *rest in zip(*(self.records[name].tolist() for name in columns), strict=True):
            row = [os.path.basename(image), os.stat(image).st_size, label, site, patients[patient], *rest]
            digest.update(json.dumps(row).encode())
        return digest.hexdigest()[:16]

    def prepare(
        self,
        size: int,
        cache_dir: str | os.PathLike[str] | None,
        *,
        value_range: tuple[float, float] | None = None,
        strict: bool = False,
        nan: str = "raise",
        frame: int | str | None = None,
        on_error: str = "raise",
        max_skipped: float = 0.05,
        num_workers: int = 2,
        progress: Progress | None = None,
    ) -> list[str]:
        """Read every image once before anything is trained, and refuse the data that would spoil the result.

        Args:
            size: and the next two as for `LoadRadiographd`; what is read here is found there.
            cache_dir: see ``size``.
            value_range: see ``size``.
            strict: see ``size``.
            nan: see ``size``.
            frame: see ``size``.
            on_error: "raise" refuses the data where an image cannot be used; "skip" leaves such images out of the pool,
                counts them by site and label in the sentences, and puts their rows into ``excluded``.
            max_skipped: largest share of a site's images that may be left out.
            num_workers: threads.
            progress: called with (done, total).
        Returns:
            sentences for the report: how many images of each site were converted and how, equal images across sites.
        Raises:
            DataError: images that cannot be used, all of them named by row and site, or more of them than may be left
                out; or equal images in two sections, or with two labels.
            ValueError: ``on_error`` is another word, or ``max_skipped`` no share.
        """
        if on_error not in ("raise", "skip"):
            raise ValueError(f'on_error must be "raise" or "skip", got {on_error!r}.')
        cache = ImageCache(cache_dir, size, value_range=value_range, strict=strict, nan=nan, frame=frame)
        rows, sites = self._name_rows().tolist(), self.records["site"].tolist()
        images = self.records["image"].tolist()

        def describe(index: int) -> str:
            return f"row {rows[index]} ({sites[index]})"

        skipped: list[str] = []
        if on_error == "raise":
            notes = cache.prepare(images, describe=describe, num_workers=num_workers, progress=progress)
        else:
            notes, faults = cache.read_all(images, num_workers=num_workers, progress=progress)
            labels = self.records["label"].tolist()
            skipped = account_for_skipped(sites, labels, faults, max_share=max_skipped, describe=describe)
            if faults:
                self._leave_out(list(faults))
                kept = [index for index in range(len(images)) if index not in faults]
                notes = {new: notes[old] for new, old in enumerate(kept)}
                images, sites = [images[old] for old in kept], [sites[old] for old in kept]
        converted = Counter((note, sites[i]) for i, found in notes.items() for note in found)
        sentences = [f'{count} images of site "{site}": {note}' for (note, site), count in sorted(converted.items())]
        # Blank images are listed as such; that they are alike says nothing of their patients.
        self.digests = [
            f"blank {i}" if "constant" in notes[i] else hashlib.sha256(cache.load(image).levels.tobytes()).hexdigest()
            for i, image in enumerate(images)
        ]
        return skipped + sentences + self.check_equal_images(self.digests)

    def _leave_out(self, positions: list[int]) -> None:
        """Drop records by their position, and refuse what then is no pool any more."""
        lost = self.records.iloc[positions]
        for key, rows in (
            ("exclude_rows", lost["row"][~lost["is_external"]]),
            ("exclude_test_rows", lost["row"][lost["is_external"]]),
        ):
            self.excluded[key] = sorted({*self.excluded[key], *map(int, rows)})
        self.records = self.records.drop(index=lost.index).reset_index(drop=True)
        check_pool(self.records[~self.records["is_external"]], max_groups=self._max_groups)
        for section in SECTIONS:
            if not (self.records["section"] == section).any():
                raise DataError(f"the {section} section is empty: none of its images can be used.")
        self._items = as_items(self.records, self.records, self.all_sites, unknown="keep")

    def _name_rows(self) -> pd.Series:
        """Row numbers for messages: those of a separate test table say so, for it counts from 1 again."""
        rows = self.records["row"].astype(str)
        return rows.where(~self.records["is_external"], rows + " of the test table")

    def check_equal_images(self, digests: Sequence[str]) -> list[str]:
        """Refuse equal images in two sections or with two labels; name those at two sites.

        Args:
            digests: of each record's image, as `prepare` left them in ``digests``; also of a pool with another seed.
        """
        named = self.records.assign(digest=digests, row=self._name_rows())
        equal = named[named["digest"].duplicated(keep=False)]
        for column, fault in (("label", "with two labels"), ("section", "in two sections")):
            mixed = equal[equal.groupby("digest")[column].transform("nunique") > 1]
            if len(mixed):
                raise DataError(
                    f"{_count_images(mixed)} {fault} with the same pixels "
                    f"({list_rows(mixed['row'].tolist())}). Drop the copies, or give them one patient and one label."
                )
        across = equal[equal.groupby("digest")["site"].transform("nunique") > 1]
        if across.empty:
            return []
        rows = list_rows([f"{row} ({site})" for row, site in zip(across["row"], across["site"], strict=True)])
        return [f"{_count_images(across)} at two sites with the same pixels: {rows}"]


def pool_tuberculosis(
    root_dir: str | os.PathLike[str], test_dir: str | os.PathLike[str] | None = None, **split: Any
) -> Pool:
    """The Montgomery and Shenzhen trees as a pool; ``test_dir`` holds a second, to test on; ``split`` as in `Pool`."""
    return Pool(read_tuberculosis(root_dir), None if test_dir is None else read_tuberculosis(test_dir), **split)


def pool_manifest(
    manifest: str | os.PathLike[str],
    test_manifest: str | os.PathLike[str] | None = None,
    *,
    columns: dict[str, Any] | None = None,
    root_dir: str | os.PathLike[str] | None = None,
    **split: Any,
) -> Pool:
    """A table of images as a pool, ``split`` as in `Pool`; ``columns`` are the options of `read_manifest`.

    ``root_dir`` holds the images of both tables; None is each table's own folder.
    """
    columns = {"max_groups": split.get("max_groups", MAX_SITES), **(columns or {})}
    if test_manifest is not None and columns.get("split_column") is not None:
        raise ValueError("a split column has a test section of its own: give it, or a second table, not both.")
    records = read_manifest(manifest, root_dir=root_dir, **columns)
    test_records = None if test_manifest is None else read_manifest(test_manifest, root_dir=root_dir, **columns)
    if test_records is not None and not (records.attrs["patients_named"] and test_records.attrs["patients_named"]):
        test_records["patient"] = "test-" + test_records["patient"]
    return Pool(records, test_records, **split)


def _existing(rows: Sequence[int], records: pd.DataFrame | None, key: str) -> list[int]:
    """The rows that a setting leaves out, each of which must be one of the table."""
    return check_excluded_rows(rows, 0 if records is None or records.empty else int(records["row"].max()), key)


def _table_notes(records: pd.DataFrame, test_records: pd.DataFrame | None) -> list[str]:
    """What `read_manifest` joined or left out."""
    notes = list(records.attrs.get("notes", []))
    if test_records is not None:
        notes += [f"test table: {note}" for note in test_records.attrs.get("notes", [])]
    return notes


def _without_label(records: pd.DataFrame, ignore_label: int, notes: list[str]) -> pd.DataFrame:
    ignored = records["label"] == ignore_label
    if ignored.any():
        by_site = records["site"][ignored].value_counts().sort_index()
        named = ", ".join(f"{site} {number}" for site, number in by_site.items())
        notes.append(f"{int(ignored.sum())} of {len(records)} rows are left out for the label {ignore_label} ({named})")
    return records[~ignored]


def _count_images(copies: pd.DataFrame) -> str:
    return counted(copies["digest"].nunique(), "image occurs", "images occur")
