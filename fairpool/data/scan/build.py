"""Make a manifest of a folder of images: one row a file, by its header alone."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from fairpool.data.counted import counted
from fairpool.data.pseudonyms import Pseudonyms
from fairpool.data.radiograph import MAX_PIXELS
from fairpool.data.scan.joins import TableJoin, join_labels
from fairpool.data.scan.journal import Journal
from fairpool.data.scan.patients import PatientSource
from fairpool.data.scan.persons import find_person
from fairpool.data.scan.pixel_hashes import HASH_RULE
from fairpool.data.scan.reading import FileReading, read_files
from fairpool.data.scan.rows import make_row
from fairpool.data.scan.sites import SidecarScanner, SiteSource
from fairpool.data.scan.walking import FoundFile, walk
from fairpool.errors import DataError

__all__ = ["BuiltManifest", "build_manifest"]

_COLUMNS = ("path", "patient", "study", "site", "scanner", "label", "format", "shape", "spacing", "photometric")
_PATIENT_NOTES = {
    "study": "DICOM images have no PatientID: each study counts as a patient of its own",
    "file": "images name no patient: each counts as a patient of its own (--patient-from)",
}


@dataclass
class BuiltManifest:
    """What `build_manifest` made.

    Attributes:
        table: one row an image, in the order of the paths; all text.
        unreadable: ``path`` and ``reason`` of what cannot be used; characters that are no text are escaped.
        skipped: number by kind of the files that are no images.
        notes: what a reader of the table should know.
        num_read: files read now.
        num_known: files known from the journal.
    """

    table: pd.DataFrame
    unreadable: pd.DataFrame
    skipped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    num_read: int = 0
    num_known: int = 0


def build_manifest(
    root: str | os.PathLike[str],
    pseudonyms: Pseudonyms,
    *,
    site: SiteSource | None = None,
    patient: PatientSource | None = None,
    labels: TableJoin | None = None,
    per_device: bool = False,
    hash_pixels: bool = False,
    max_pixels: int = MAX_PIXELS,
    workers: int = 1,
    journal: Path | None = None,
    exclude: Iterable[Path] = (),
    progress: Callable[[int, int], None] | None = None,
) -> BuiltManifest:
    """Scan a folder for DICOM, NIfTI, PNG and JPEG files.

    A file is told by its content, not its name. What cannot be read is listed with its reason, and stops nothing.

    Args:
        root: the folder.
        pseudonyms: replace patients, studies and devices.
        site: where the site of an image comes from; None leaves the column empty.
        patient: where the patient comes from; None: from the header, from BIDS names, or else each file is its own.
        labels: the table that has the labels.
        per_device: tell scanners of one model apart, by a pseudonym of their serial number and station.
        hash_pixels: decode every image and add the hashes of its pixels.
        max_pixels: an image that declares more in a plane is not used.
        workers: processes that read.
        journal: file that remembers what was read: see `Journal`; None remembers nothing.
        exclude: files that are not looked at, such as those this writes.
        progress: called with (done, total).
    Returns:
        the table with ``path`` (below ``root``), ``patient``, ``study``, ``site``, ``scanner``, ``label`` (with
        ``labels``), ``format``, ``shape``, ``spacing`` (mm), ``photometric``, ``fingerprint`` and, with
        ``hash_pixels``, ``pixel_hash`` and ``perceptual_hash``.
    Raises:
        DataError: the folder cannot be read, or holds no image that can be used; a table that is joined does not fit.
    """
    top = os.path.realpath(root)
    found = walk(top)
    left_out = {os.path.realpath(file) for file in exclude}
    files = [file for file in found.files if os.path.join(top, file.path) not in left_out]
    faults, skipped = dict(found.faults), Counter(found.skipped)
    has_sidecars = any(file.path.endswith(".json") for file in files)
    scanner = SidecarScanner() if has_sidecars else None
    depends = [top, bool(per_device), HASH_RULE if hash_pixels else 0, max_pixels, pseudonyms.of("journal", "check")]
    depends += [source.describe() if source else "" for source in (site, patient)] + [_digest_sidecars(files)]
    settings = hashlib.sha256(json.dumps(depends).encode()).hexdigest()

    def make(file: FoundFile, reading: FileReading) -> dict[str, Any]:
        """A row, or why there is none."""
        if reading.header is None:
            return {"skipped": reading.skipped} if reading.skipped else {"fault": reading.fault}
        image = os.path.join(top, file.path)
        try:
            given = patient(file.path) if patient else None
            person = find_person(file.path, reading.header.elements, given)
            name = site(image, person, reading.header.asked) if site else ""
            model = scanner(image) if scanner and reading.header.format == "nifti" else ""
            return make_row(reading, person, name, model, pseudonyms, per_device=per_device)
        except DataError as error:
            return {"fault": str(error).rstrip(".")}

    rows: dict[str, dict[str, Any]] = {}
    with Journal(journal, settings) as memory:
        new = []
        for file in files:
            known = memory.find(file)
            if known is None:
                new.append(file)
            else:
                rows[file.path] = known
        num_known = len(rows)
        wanted = {"keywords": site.keywords} if site else {}
        readings = read_files(top, new, max_pixels=max_pixels, hash_pixels=hash_pixels, workers=workers, **wanted)
        for file, reading in readings:
            rows[file.path] = values = make(file, reading)
            if "fault" not in values:  # a fault can go away without a change of the file: a right, a decoder, a table
                memory.add(file, values)
            if progress is not None:
                progress(len(rows), len(files))
    faults |= {path: values["fault"] for path, values in rows.items() if "fault" in values}
    skipped.update(values["skipped"] for values in rows.values() if "skipped" in values)
    images = [{"path": path} | values for path, values in sorted(rows.items()) if "format" in values]
    if not images:
        raise DataError(_describe_nothing(faults, skipped))
    notes = _join_issuers(images)
    for joined in (site, patient):
        if joined is not None:
            notes += joined.check(images, pseudonyms)
    for source, words in _PATIENT_NOTES.items():
        if number := sum(values["source"] == source for values in images):
            notes.append(f"{number} of {len(images)} {words}")
    columns = [name for name in _COLUMNS if name != "label" or labels is not None]
    columns += ["fingerprint", *(["pixel_hash", "perceptual_hash"] if hash_pixels else [])]
    if labels is not None:
        texts, more = join_labels(images, labels, pseudonyms)
        notes += more
        for values, text in zip(images, texts, strict=True):
            values["label"] = text
    table = pd.DataFrame(images, columns=columns, dtype=object)
    listed = [(_as_text(path), reason) for path, reason in sorted(faults.items())]
    unreadable = pd.DataFrame(listed, columns=["path", "reason"], dtype=object)
    return BuiltManifest(table, unreadable, skipped, notes, len(new), num_known)


def _digest_sidecars(files: Sequence[FoundFile]) -> str:
    """What sites and scanners of NIfTI files depend on, besides the files themselves."""
    sidecars = [(file.path, file.size, file.changed) for file in files if file.path.endswith((".json", ".tsv"))]
    return hashlib.sha256(json.dumps(sidecars).encode()).hexdigest()


def _join_issuers(images: list[dict[str, Any]]) -> list[str]:
    """Make one patient of a PatientID that stands with one issuer here and with none there; in place.

    Otherwise one person would stand in two sections of a split.
    """
    issuers: dict[str, set[str]] = {}
    for values in images:
        if values["issued"]:
            issuers.setdefault(values["patient_name"], set()).add(values["patient"])
    joined = doubtful = 0
    for values in images:
        if values["source"] == "dicom" and not values["issued"] and values["patient_name"] in issuers:
            owners = issuers[values["patient_name"]]
            if len(owners) == 1:
                values["patient"] = next(iter(owners))
                joined += 1
            else:
                doubtful += 1
    notes = []
    if joined:
        number = counted(joined, "image has", "images have")
        notes.append(f"{number} a PatientID without an issuer, taken for that of the patient who has one")
    if doubtful:
        number = counted(doubtful, "image has", "images have")
        notes.append(
            f"{number} a PatientID without an issuer which several issuers gave: "
            "each such PatientID counts as one more patient. Look at them before a split"
        )
    return notes


def _describe_nothing(faults: dict[str, str], skipped: Counter[str]) -> str:
    if not faults:
        others = counted(sum(skipped.values()), "other")
        return f"the folder holds no DICOM, NIfTI, PNG or JPEG file ({others}). Name another folder."
    reason, number = Counter(faults.values()).most_common(1)[0]
    none = "the only image cannot" if len(faults) == 1 else f"none of the {len(faults)} images can"
    return f"{none} be used. The most frequent reason ({number} of them): {reason}."


def _as_text(path: str) -> str:
    """A path as one line of text: what is no text or breaks a line is escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
