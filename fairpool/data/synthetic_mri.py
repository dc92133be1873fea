"""Synthetic T1-weighted MRI of two scanners, written as BIDS.

    ROOT/dataset_description.json, README.md, participants.tsv, participants.json
    ROOT/T1w.json                           what all images share; inherited by each
    ROOT/sub-001/anat/sub-001_T1w.nii.gz    int16, in the scanner's own orientation
    ROOT/sub-001/anat/sub-001_T1w.json      institution, scanner, field strength, times
    ROOT/.bidsignore, ROOT/synthetic.json   what made the tree, with every setting; written last

`plan_mri` is the table of what would be written; `synthesize_mri` writes it. A subject depends on the seed, its number
and its row of that table, never on the others.
"""

import os
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fairpool.data.synthetic_heads import MRI_SCANNERS, draw_head, scan_head
from fairpool.data.synthetic_tree import TREE_FILE, claim_tree, finish_tree
from fairpool.whole_file import write_json, write_whole

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

__all__ = ["plan_mri", "synthesize_mri"]

_NOTE = "Drawn by a program. No image and no row in this tree shows a real person."
_SHARED = {
    "Modality": "MR",
    "MRAcquisitionType": "3D",
    "ScanningSequence": "GR",
    "SequenceVariant": "MP",
    "PulseSequenceType": "MPRAGE",
    "NonlinearGradientCorrection": False,
}
_COLUMNS = {
    "age": {"Description": "Age of the participant", "Units": "year"},
    "sex": {"Description": "Sex of the participant", "Levels": {"F": "female", "M": "male"}},
    "diagnosis": {
        "Description": "What the head was drawn with",
        "Levels": {"atrophy": "wide ventricles and a thin cortex", "control": "neither"},
    },
}


def plan_mri(
    *,
    subjects_per_site: Mapping[str, int] | None = None,
    confounding: float = 0.8,
    seed: int = 0,
    first_number: int = 1,
) -> pd.DataFrame:
    """Who is in the tree: one row a subject, in the order of the numbers, which say neither site nor diagnosis.

    Args:
        subjects_per_site: subjects of "alpine" and "bayside"; a site left out has none. Default 30 each.
        confounding: c in [-1, 1]: a share 0.5 + c/2 of bayside's subjects has atrophy and 0.5 - c/2 of alpine's,
            rounded to whole subjects. 0 is balanced.
        seed: a whole number from 0 on.
        first_number: the number of the first subject; trees with other numbers and the same seed show other people.
    Returns:
        ``participant_id``, ``number``, ``site``, ``label`` (1 for atrophy), ``age`` in years, ``sex``.
    Raises:
        ValueError: an argument is out of its range.

    >>> plan_mri(subjects_per_site={"alpine": 2, "bayside": 1}, confounding=1.0)["participant_id"].tolist()
    ['sub-001', 'sub-002', 'sub-003']
    """
    counts = dict.fromkeys(MRI_SCANNERS, 30) if subjects_per_site is None else dict(subjects_per_site)
    for site, count in counts.items():
        if site not in MRI_SCANNERS:
            raise ValueError(f'site "{site}" has no synthetic scanner; expected {" or ".join(MRI_SCANNERS)}.')
        _check_whole(f'the number of subjects of "{site}"', count, 0)
    if not sum(counts.values()):
        raise ValueError("subjects_per_site asks for no subject at all; give a site a positive number.")
    if isinstance(confounding, bool) or not isinstance(confounding, int | float) or not -1 <= confounding <= 1:
        raise ValueError(f"confounding must lie in [-1, 1] (0 is balanced), got {confounding!r}.")
    _check_whole("seed", seed, 0)
    _check_whole("first_number", first_number, 1)
    rows = []
    for site, count in counts.items():
        prevalence = 0.5 + (confounding / 2 if site == "bayside" else -confounding / 2)
        ill = round(count * prevalence)
        rows += [(site, 1)] * ill + [(site, 0)] * (count - ill)
    generator = np.random.default_rng([seed, first_number])
    plan = pd.DataFrame([rows[i] for i in generator.permutation(len(rows))], columns=["site", "label"])
    plan["number"] = range(first_number, first_number + len(plan))
    width = max(3, len(str(plan["number"].iloc[-1])))
    plan["participant_id"] = [f"sub-{number:0{width}d}" for number in plan["number"]]
    plan["age"] = generator.integers(55, 86, len(plan))
    plan["sex"] = generator.choice(["F", "M"], len(plan))
    return plan[["participant_id", "number", "site", "label", "age", "sex"]]


def synthesize_mri(
    root_dir: str | os.PathLike[str],
    *,
    subjects_per_site: Mapping[str, int] | None = None,
    confounding: float = 0.8,
    seed: int = 0,
    first_number: int = 1,
    shape: tuple[int, int, int] = (24, 28, 24),
    voxel_size: float = 7.0,
    atrophy: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the tree. The same call again continues one that was interrupted.

    Args:
        root_dir: the folder to fill; made if it is missing.
        subjects_per_site: see `plan_mri`, as are the next three.
        confounding: see `plan_mri`.
        seed: see `plan_mri`.
        first_number: see `plan_mri`.
        shape: voxels to the right, the front and up; the files store them in their scanner's order.
        voxel_size: edge of a voxel in millimetres; the head measures 150 x 184 x 160 mm.
        atrophy: see `fairpool.data.synthetic_heads.draw_head`.
        progress: called as progress(done, total) after each subject.
    Returns:
        the folder.
    Raises:
        ValueError: an argument is out of its range.
        DataError: the folder holds something else, or a tree made with other settings.
    """
    plan = plan_mri(subjects_per_site=subjects_per_site, confounding=confounding, seed=seed, first_number=first_number)
    if len(shape) != 3:
        raise ValueError(f"shape must be three numbers of voxels, got {shape!r}.")
    for length in shape:
        _check_whole("a length of shape", length, 4)
    for name, value in (("voxel_size", voxel_size), ("atrophy", atrophy)):
        if not 0 <= value < float("inf") or (name == "voxel_size" and value == 0):
            raise ValueError(f"{name} must be a positive number, got {value!r}.")
    settings = {
        "subjects_per_site": {site: int((plan["site"] == site).sum()) for site in MRI_SCANNERS},
        "confounding": float(confounding),
        "seed": int(seed),
        "first_number": int(first_number),
        "shape": [int(length) for length in shape],
        "voxel_size": float(voxel_size),
        "atrophy": float(atrophy),
    }
    root = Path(root_dir)
    if claim_tree(root, "fairpool.data.synthesize_mri", settings, note=_NOTE):
        return root
    _write_top(root, plan)
    for done, row in enumerate(plan.to_dict("records"), start=1):
        folder = root / row["participant_id"] / "anat"
        image_file = folder / f"{row['participant_id']}_T1w.nii.gz"
        if not image_file.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / f"{row['participant_id']}_T1w.json", dict(MRI_SCANNERS[row["site"]].sidecar))
            part = image_file.with_name(f"part_{image_file.name}")
            _draw(row, settings).to_filename(part)
            part.replace(image_file)
        if progress is not None:
            progress(done, len(plan))
    finish_tree(root)
    return root


def _draw(row: Mapping[Hashable, Any], settings: Mapping[str, Any]) -> "Nifti1Image":
    """A subject's image, in the orientation of its scanner, the head in the middle of the scanner's coordinates."""
    import nibabel as nib
    from nibabel.orientations import axcodes2ornt, ornt_transform

    body, examination = np.random.default_rng([settings["seed"], int(row["number"])]).spawn(2)
    shape, edge = tuple(settings["shape"]), settings["voxel_size"]
    tissues = draw_head(
        int(row["label"]), float(row["age"]), body, shape=shape, voxel_size=edge, atrophy=settings["atrophy"]
    )
    affine = np.diag([edge, edge, edge, 1.0])
    affine[:3, 3] = [-edge * (length - 1) / 2 for length in shape]
    image = nib.Nifti1Image(scan_head(tissues, row["site"], examination), affine)
    stored = MRI_SCANNERS[row["site"]].orientation
    image = image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(tuple(stored))))
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(image.affine, code="scanner")
    image.set_qform(image.affine, code="scanner")
    return image


def _write_top(root: Path, plan: pd.DataFrame) -> None:
    """The files that speak of all subjects."""
    write_whole(root / ".bidsignore", f"{TREE_FILE}*\n**/part_*\n")
    write_whole(root / "README.md", f"# Synthetic two-scanner MRI\n\n{_NOTE} The settings are in `{TREE_FILE}`.\n")
    description = {
        "Name": "Synthetic two-scanner T1-weighted MRI",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["fairpool"],
        "GeneratedBy": [{"Name": "fairpool", "Description": _NOTE}],
    }
    write_json(root / "dataset_description.json", description)
    write_json(root / "participants.json", _COLUMNS)
    write_json(root / "T1w.json", _SHARED)
    table = plan.assign(diagnosis=plan["label"].map({0: "control", 1: "atrophy"}))
    write_whole(root / "participants.tsv", table[["participant_id", *_COLUMNS]].to_csv(sep="\t", index=False))


def _check_whole(name: str, value: object, lowest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < lowest:
        raise ValueError(f"{name} must be a whole number from {lowest} on, got {value!r}.")
