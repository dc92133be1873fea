"""Audit pooled records: count, measure, advise."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairpool.audit.advice import LEVELS, advise, advise_on_images, prevalence_differs
from fairpool.audit.association import Association, measure_association
from fairpool.audit.cells import count_cells, expected_gap_of, prevalence
from fairpool.audit.image_pass import ImagePass, pass_over_images
from fairpool.audit.metadata import KNOWN_COLUMNS, metadata_features, refuse_roles, roles_of
from fairpool.audit.readable import countable_rows
from fairpool.audit.report import Audit, ScannerCell, Unreadable
from fairpool.audit.separability import FEWEST_PATIENTS
from fairpool.audit.telling import tell_site_and_label
from fairpool.audit.verdicts import event_labels, judge
from fairpool.constraints import CONSTRAINTS
from fairpool.data.checks import is_missing
from fairpool.data.duplicates import find_duplicates
from fairpool.data.manifest import read_manifest, read_table
from fairpool.data.vocabulary import UNKNOWN_NAME
from fairpool.errors import DataError

__all__ = ["MAX_IMAGES", "AuditOptions", "audit_manifest", "audit_records"]

MAX_IMAGES = 20_000
"""Images that are read and told apart; of more, a random sample of patients is."""

Progress = Callable[[int, int], None]

_HASHES = ["pixel_hash", "perceptual_hash"]


class AuditOptions(TypedDict, total=False):
    """Options of `audit_records`, where they are described, and of `audit_manifest`."""

    scanner_column: str | None
    metadata_columns: Sequence[str]
    constraint: str
    seed: int
    max_images: int
    cache_dir: str | os.PathLike[str] | None
    progress: Progress | None
    measured: Progress | None


def audit_manifest(
    manifest: str | os.PathLike[str],
    *,
    columns: Mapping[str, Any] | None = None,
    root_dir: str | os.PathLike[str] | None = None,
    read_images: bool = True,
    **options: Unpack[AuditOptions],
) -> Audit:
    """Audit a table of images.

    Args:
        manifest: CSV, TSV, parquet or JSON datalist.
        columns: options of `fairpool.data.manifest.read_manifest`: ``site_column``, ``label_column``, ``positive``...
        root_dir: folder of the images; None is the manifest's own.
        read_images: False audits the table alone; the images need not be there.
        options: of `audit_records`, all but ``positive``.
    Raises:
        DataError: the table or a column is missing or malformed, or no image can be read; a few are counted instead.
        ValueError: as `audit_records`.
    """
    columns = dict(columns or {})
    roles = roles_of(columns)
    refuse_roles(options.get("metadata_columns", ()), roles)
    if not read_images:
        columns["image_column"] = None
    records = read_manifest(manifest, root_dir=root_dir, check_images=False, **columns)
    table = read_table(manifest)
    table = table.set_axis(pd.RangeIndex(1, len(table) + 1)).loc[records.index]
    kept = [name for name in table if name not in roles or name == options.get("scanner_column")]
    table = table[kept]  # a site that stands in the column "scanner" is not told from it
    return audit_records(records, table, positive=columns.get("positive") or "1", **options)


def audit_records(
    records: pd.DataFrame,
    table: pd.DataFrame | None = None,
    *,
    scanner_column: str | None = None,
    metadata_columns: Sequence[str] = (),
    constraint: str = "equal_opportunity",
    positive: str = "1",
    seed: int = 0,
    max_images: int = MAX_IMAGES,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    measured: Progress | None = None,
) -> Audit:
    """Audit records, one row an image.

    Args:
        records: columns ``site``, ``label`` (0 or 1), ``patient``, ``row``, and ``image`` (path) where images are to be
            read; ``attrs["patients_named"]`` and ``attrs["notes"]`` as `read_manifest` leaves them.
        table: metadata as text, in the same order; None: there is none.
        scanner_column: of ``table``; None is "scanner" where there is one, else what the images' headers say.
        metadata_columns: of ``table``, beside the known ones.
        constraint: a key of `CONSTRAINTS`, which the last line judges.
        positive: what label 1 is called.
        seed: of folds, classifiers, resamples and the sample.
        max_images: of more images, a random sample of patients is read and told apart.
        cache_dir: keeps the reduced images; None keeps none.
        progress: called with (done, total) images read.
        measured: called with (done, total) classifiers measured.
    Raises:
        DataError: a column is not there, every site is "unknown", or no image can be read.
        ValueError: the constraint is another word, ``max_images`` is not positive, or ``table`` has another length.
    """
    if constraint not in CONSTRAINTS:
        raise ValueError(f"constraint must be one of {', '.join(CONSTRAINTS)}; got {constraint!r}.")
    if max_images < 1:
        raise ValueError(f"max_images must be at least 1, got {max_images}.")
    if table is not None and len(table) != len(records):
        raise ValueError(f"table must have a row for each of the {len(records)} records; got {len(table)}.")
    patients_named = bool(records.attrs.get("patients_named", True))
    notes = list(records.attrs.get("notes", []))
    is_known = (records["site"] != UNKNOWN_NAME).to_numpy()
    if not is_known.all():
        notes.append(
            f'{int((~is_known).sum())} images of site "{UNKNOWN_NAME}" are left out: no constraint reaches them'
        )
    if not is_known.any():
        raise DataError(f'each of the {len(records)} rows has the site "{UNKNOWN_NAME}": there is no site to compare.')
    records = records[is_known].reset_index(drop=True)
    table = pd.DataFrame(index=records.index) if table is None else table[is_known].reset_index(drop=True)
    sample = _sample(records, max_images, seed)
    if len(sample) < len(records):
        notes.append(f"{len(sample)} of {len(records)} images, of a random sample of patients, are read and told apart")
    images = None
    if "image" in records:
        images = pass_over_images(
            records["image"].iloc[sample].tolist(),
            cache_dir=cache_dir,
            hash_pixels=not set(_HASHES) <= set(table),
            progress=progress,
        )
    records = records.assign(scanner=_scanners(table, scanner_column, images, len(sample) == len(records)))
    counted = records[countable_rows(records, sample, images.faults if images else {})]
    metadata, more = _metadata(table.iloc[sample], [*metadata_columns], scanner_column, images)
    notes += more
    told = records.iloc[sample].reset_index(drop=True)
    separability, metadata_auc = tell_site_and_label(told, metadata, images, seed=seed, progress=measured)
    cells, whole = count_cells(counted), count_cells(counted, by_label=False)
    by_label = {0: cells[::2], 1: cells[1::2], None: whole}
    associations = _associations(counted, seed)
    copies = _count_copies(told, table.iloc[sample], images)
    advice = advise(counted, cells, associations, separability, metadata_auc, patients_named=patients_named)
    advice += advise_on_images(told["site"].tolist(), images.faults if images else {}, copies)
    advice.sort(key=lambda sentence: LEVELS.index(sentence.level))
    differs = "site x label" in associations and prevalence_differs(associations["site x label"])
    texts = {level: [part.text for part in advice if part.level == level] for level in LEVELS}
    events = {event: label for name in CONSTRAINTS for event, label in event_labels(name).items()}
    gaps = {event: expected_gap_of(by_label[label]) for event, label in events.items()}
    return Audit(
        num_images=len(records),
        num_patients=int(records["patient"].nunique()),
        patients_named=patients_named,
        sites=tuple(sorted(counted["site"].unique())),
        positive=positive,
        constraint=constraint,
        cells=tuple(cells),
        prevalence=prevalence(counted),
        scanners=tuple(_count_scanners(counted)),
        associations=associations,
        separability=tuple(separability),
        metadata_auc=metadata_auc,
        expected_gaps={
            event: (gaps[event], expected_gap_of(by_label[label], share=0.25)) for event, label in events.items()
        },
        num_read=len(told) - len(images.faults) if images else 0,
        unreadable=tuple(
            Unreadable(int(told["row"].iloc[index]), str(told["site"].iloc[index]), reason)
            for index, reason in (images.faults if images else {}).items()
        ),
        duplicates=copies,
        advice=tuple(advice),
        verdicts={
            name: judge(name, by_label, gaps=gaps, stops=texts["stop"], cares=texts["care"], prevalence_differs=differs)
            for name in CONSTRAINTS
        },
        notes=tuple(notes),
        seed=seed,
        mean_images=_mean_images(told, images) if images else {},
    )


def _sample(records: pd.DataFrame, max_images: int, seed: int) -> NDArray[np.int64]:
    """Places of the images of patients drawn at random, in the order of the table."""
    if len(records) <= max_images:
        return np.arange(len(records))
    codes = pd.factorize(records["patient"])[0]
    order = np.random.default_rng(seed).permutation(codes.max() + 1)
    sizes = np.bincount(codes)[order]
    chosen = order[: max(1, int((np.cumsum(sizes) <= max_images).sum()))]
    return np.flatnonzero(np.isin(codes, chosen))


def _scanners(table: pd.DataFrame, column: str | None, images: ImagePass | None, is_whole: bool) -> Any:
    if column is not None and column not in table:
        raise DataError(
            f'the manifest has no column "{column}"; it has {", ".join(map(str, table.columns))}. '
            "Name the right one with --scanner-column."
        )
    column = column or ("scanner" if "scanner" in table else None)
    if column is not None:
        text = table[column].astype(str).str.strip()
        return text.where(~is_missing(text), "").to_numpy()
    # Of a sample, the headers of the others were not read.
    return images.headers["scanner"].to_numpy() if images is not None and is_whole else ""


def _metadata(
    table: pd.DataFrame, wanted: Sequence[str], scanner_column: str | None, images: ImagePass | None
) -> tuple[pd.DataFrame, list[str]]:
    table = table.reset_index(drop=True)
    known = [name for name in KNOWN_COLUMNS if name in table]
    if scanner_column is not None:
        known.append(scanner_column)
    if images is not None:  # what the table does not say, the headers do
        for name in KNOWN_COLUMNS:
            if name not in table and not (name == "scanner" and scanner_column) and images.headers[name].any():
                table[name] = images.headers[name].to_numpy()
                known.append(name)
    return metadata_features(table, list(dict.fromkeys([*known, *wanted])))


def _associations(records: pd.DataFrame, seed: int) -> dict[str, Association]:
    def measure(rows: pd.DataFrame, first: str, second: str) -> Association:
        columns = (rows[name].tolist() for name in (first, second, "patient"))
        return measure_association(*columns, seed=seed)

    found = {"site x label": measure(records, "site", "label")}
    known = records[records["scanner"] != ""]
    if len(known):
        found["site x scanner"] = measure(known, "site", "scanner")
        found["scanner x label"] = measure(known, "scanner", "label")
    return found


def _count_scanners(records: pd.DataFrame) -> list[ScannerCell]:
    if not (records["scanner"] != "").any():
        return []
    cells = []
    for (site, scanner), part in records.groupby(["site", "scanner"], sort=True):
        positives = int(part["label"].sum())
        images = (len(part) - positives, positives)
        cells.append(ScannerCell(str(site), str(scanner), images, int(part["patient"].nunique())))
    return cells


def _count_copies(
    told: pd.DataFrame, table: pd.DataFrame, images: ImagePass | None
) -> dict[str, dict[str, int]] | None:
    if set(_HASHES) <= set(table):
        found = table[_HASHES].reset_index(drop=True)
    elif images is not None:
        found = images.hashes
    else:
        return None
    splits = [name for name in map(str, table) if name == "split" or name.startswith("split_")]
    named = told.assign(label=told["label"].astype(str))
    for name in splits:
        named[name] = table[name].str.strip().to_numpy()
    named[_HASHES] = found.to_numpy()
    return find_duplicates(named, split_columns=splits).counts()


def _mean_images(told: pd.DataFrame, images: ImagePass) -> dict[str, NDArray[np.float32]]:
    """Mean thumbnails; of fewer patients than ten, a mean would show a person."""
    readable = np.ones(len(told), bool)
    readable[list(images.faults)] = False
    means = {}
    for site in sorted(told["site"].unique()):
        chosen = readable & (told["site"] == site).to_numpy()
        if told["patient"][chosen].nunique() >= FEWEST_PATIENTS:
            means[str(site)] = images.thumbnails[chosen].mean(axis=0)
    return means
