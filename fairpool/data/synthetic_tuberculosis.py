"""A synthetic stand-in for the Montgomery and Shenzhen tuberculosis sets, in their publisher's layout.

    ROOT/synthetic.json                                       what made the tree, with every setting; written last
    ROOT/MontgomerySet/CXR_png/MCUCXR_0001_0.png              8-bit grey; the last digit is the label
    ROOT/MontgomerySet/ClinicalReadings/MCUCXR_0001_0.txt     sex, age, finding
    ROOT/MontgomerySet/ManualMask/{leftMask,rightMask}/MCUCXR_0001_0.png    0 or 255; left is the patient's left lung
    ROOT/ChinaSet_AllFiles/{CXR_png,ClinicalReadings}/CHNCXR_0001_0.{png,txt}    grey, or RGB with equal channels

`plan_tuberculosis` is the table of what would be written; `synthesize_tuberculosis` writes it. Image number i of a site
depends on the seed, the site and i, and on its row of that table, never on the workers or the order.
"""

import csv
import math
import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image

from fairpool.data.synthetic_radiographs import expose_scene, render_scene
from fairpool.data.synthetic_tree import claim_tree, finish_tree, save_image
from fairpool.whole_file import write_whole

__all__ = ["SITES", "SyntheticPatient", "plan_tuberculosis", "synthesize_tuberculosis"]

SITES = {"montgomery": 138, "shenzhen": 662}
"""The two sites and how many images their publisher ships; the position is the site's part of every seed."""

_FOLDERS = {"montgomery": "MontgomerySet", "shenzhen": "ChinaSet_AllFiles"}
_PREFIXES = {"montgomery": "MCUCXR", "shenzhen": "CHNCXR"}
_NOTE = "Drawn by a program. No image, reading or mask in this tree shows a real person."
_FORMAT = 1  # raise it when the same settings begin to make other bytes


@dataclass(frozen=True)
class SyntheticPatient:
    """One image of the tree, before it is drawn.

    Attributes:
        site: "montgomery" or "shenzhen".
        number: the number in the file name.
        label: 0 normal, 1 tuberculosis.
        sex: "M" or "F".
        age: in years.
        findings: the last line of the reading; it says where the lesions lie.
        portrayed: the number of the image that shows the same patient first; `number` itself where there is none.
    """

    site: str
    number: int
    label: int
    sex: str
    age: int
    findings: str
    portrayed: int

    @property
    def name(self) -> str:
        """The file name without its ending, such as MCUCXR_0001_0."""
        return f"{_PREFIXES[self.site]}_{self.number:04d}_{self.label}"


def plan_tuberculosis(
    *,
    images_per_site: Mapping[str, int] | None = None,
    confounding: float | None = None,
    seed: int = 0,
    first_number: int = 1,
    published: bool = False,
) -> list[SyntheticPatient]:
    """Who is in the tree: one row per image, Montgomery first, in the order of the numbers.

    Args:
        images_per_site: number of images of each site; a site left out has none. Default 138 and 662, as published.
        confounding: c in [-1, 1], default 0.8: a share 0.5 + c/2 of Shenzhen's images has tuberculosis and 0.5 - c/2
            of Montgomery's, rounded to whole images. 0 is balanced.
        seed: a whole number from 0 on.
        first_number: the number of each site's first image; normals come first, as published.
        published: the real 138 + 662 names, labels and, where known, ages, sexes and findings.
    Returns:
        The rows. Ages, sexes and findings are drawn from the published rows of the same label.
    Raises:
        ValueError: an argument out of range, or `published` together with what it decides.

    >>> [row.name for row in plan_tuberculosis(images_per_site={"montgomery": 2}, confounding=0)]
    ['MCUCXR_0001_0', 'MCUCXR_0002_1']
    """
    if not _is_whole(seed) or seed < 0:
        raise ValueError(f"The seed is {seed!r}; expected a whole number from 0 on.")
    if published:
        if images_per_site is not None or confounding is not None or first_number != 1:
            raise ValueError(
                "published=True decides names, numbers of images and labels; leave out images_per_site, confounding "
                "and first_number, or leave out published."
            )
        return [_published_patient(site, row, seed) for site in SITES for row in _facts(site)]
    counts = _checked_counts(images_per_site)
    confounding = 0.8 if confounding is None else confounding
    if isinstance(confounding, bool) or not isinstance(confounding, int | float) or not -1 <= confounding <= 1:
        raise ValueError(f"The confounding is {confounding!r}; expected a number from -1 to 1 (0 is balanced).")
    if not _is_whole(first_number) or first_number < 1:
        raise ValueError(f"The first number is {first_number!r}; expected a whole number from 1 on.")
    rows = []
    for site, count in counts.items():
        share = 0.5 + (confounding if site == "shenzhen" else -confounding) / 2
        # 5 * (0.5 - 0.8 / 2) is 0.49999999999999994; it means a half, which goes up.
        normals = count - math.floor(round(share * count, 9) + 0.5)
        for position in range(count):
            number = first_number + position
            rows.append(_drawn_patient(site, number, int(position >= normals), seed))
    return rows


def synthesize_tuberculosis(
    root_dir: str | os.PathLike[str],
    *,
    images_per_site: Mapping[str, int] | None = None,
    confounding: float | None = None,
    seed: int = 0,
    size: int = 512,
    full_size: bool = False,
    first_number: int = 1,
    published: bool = False,
    num_workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a synthetic tuberculosis tree, or continue or recognise one made with the same settings.

    Args:
        root_dir: the folder to fill; made if it is missing.
        images_per_site: as in `plan_tuberculosis`, like `confounding`, `seed`, `first_number` and `published`.
        confounding: how much the site tells about the label, in [-1, 1]; default 0.8.
        seed: the same seed and settings make the same bytes.
        size: side of the square images in pixels, at least 64. With `full_size`, the longer side of the drawing that
            is enlarged.
        full_size: the publisher's sizes, 4020 x 4892 or 4892 x 4020 and about 3000 x 3000; some seconds an image.
        first_number: so that a second tree has other patients than a first.
        published: the real names, labels, ages, sexes and findings, as far as they are known.
        num_workers: processes that draw; 1 draws in this one. A script needs the usual `if __name__ == "__main__":`
            guard for more; without it this process draws everything alone.
        progress: called as progress(done, total) after every few images.
    Returns:
        The folder.
    Raises:
        ValueError: an argument out of range.
        DataError: the folder holds something else, or a tree of other settings; nothing is overwritten.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     root = synthesize_tuberculosis(folder, images_per_site={"montgomery": 2}, size=64, num_workers=1)
    ...     sorted(path.name for path in root.glob("MontgomerySet/CXR_png/*"))
    ['MCUCXR_0001_0.png', 'MCUCXR_0002_0.png']
    """
    if not _is_whole(size) or not 64 <= size <= 4096:
        raise ValueError(f"The size is {size!r}; expected a whole number of pixels from 64 to 4096.")
    if not _is_whole(num_workers) or num_workers < 1:
        raise ValueError(f"The number of workers is {num_workers!r}; expected a whole number from 1 on.")
    rows = plan_tuberculosis(
        images_per_site=images_per_site,
        confounding=confounding,
        seed=seed,
        first_number=first_number,
        published=published,
    )
    settings: dict[str, object] = {
        "images_per_site": {site: sum(row.site == site for row in rows) for site in SITES},
        "confounding": None if published else float(0.8 if confounding is None else confounding),
        "seed": int(seed),
        "size": int(size),
        "full_size": bool(full_size),
        "first_number": int(first_number),
        "published": bool(published),
    }
    root = Path(root_dir)
    if claim_tree(root, "fairpool.data.synthesize_tuberculosis", settings, version=_FORMAT, note=_NOTE):
        return root
    for site, folder in _FOLDERS.items():
        parts = ["CXR_png", "ClinicalReadings"]
        if site == "montgomery":
            parts += ["ManualMask/leftMask", "ManualMask/rightMask"]
        for part in parts:
            (root / folder / part).mkdir(parents=True, exist_ok=True)
    # A file gets its name only when it is whole, an image after its reading and masks: what is there is done.
    missing = [row for row in rows if not _image_path(root, row).is_file()]
    jobs = [(str(root), row, int(seed), int(size), bool(full_size)) for row in missing]
    _write_all(jobs, num_workers, len(rows), progress)
    finish_tree(root)
    return root


_Job = tuple[str, SyntheticPatient, int, int, bool]


def _write_all(jobs: list[_Job], num_workers: int, total: int, progress: Callable[[int, int], None] | None) -> None:
    """Write the jobs, in other processes where that pays."""
    chunk = 8
    batches = [jobs[start : start + chunk] for start in range(0, len(jobs), chunk)]
    done = total - len(jobs)
    finished = 0
    workers = min(num_workers, len(batches))
    if workers > 1:
        try:
            # spawn: forking a process that already runs torch or CUDA threads can hang.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, mp_context=context) as pool:
                for batch, _ in zip(batches, pool.map(_write_batch, batches), strict=True):
                    finished += 1
                    done += len(batch)
                    if progress is not None:
                        progress(done, total)
        except BrokenProcessPool:
            # A script without the __main__ guard can't start processes; the files are the same without them.
            pass
    for batch in batches[finished:]:
        _write_batch(batch)
        done += len(batch)
        if progress is not None:
            progress(done, total)


def _write_batch(jobs: list[_Job]) -> None:
    for root, patient, seed, size, full_size in jobs:
        _write_patient(Path(root), patient, seed, size, full_size)


def _write_patient(root: Path, patient: SyntheticPatient, seed: int, size: int, full_size: bool) -> None:
    """Draw one image; write its reading, its masks (Montgomery) and then the image itself."""
    _, style_rng, scanner_rng = _generators(seed, patient.site, patient.number)
    output_shape = _output_shape(style_rng, patient.site, size, full_size)
    reduction = size / max(output_shape)
    shape = (round(output_shape[0] * reduction), round(output_shape[1] * reduction))
    # A second image of a patient shows the same body and disease in another exposure.
    scene_rng = np.random.default_rng([seed, list(SITES).index(patient.site), patient.portrayed, 1])
    scene = render_scene(scene_rng, patient.label, shape=shape, sex=patient.sex, findings=patient.findings)
    image = Image.fromarray(expose_scene(scene, patient.site, scanner_rng, output_shape=output_shape))
    folder = root / _FOLDERS[patient.site]
    reading = _reading(patient, style_rng)
    write_whole(folder / "ClinicalReadings" / f"{patient.name}.txt", reading)
    if patient.site == "montgomery":
        for part, lung in (("leftMask", scene.left_lung), ("rightMask", scene.right_lung)):
            mask = Image.fromarray(lung.astype(np.uint8) * 255)
            if mask.size != image.size:
                mask = mask.resize(image.size, Image.Resampling.NEAREST)
            save_image(mask, folder / "ManualMask" / part / f"{patient.name}.png", format="PNG", compress_level=1)
    elif style_rng.random() < 0.25:
        image = image.convert("RGB")
    save_image(image, _image_path(root, patient), format="PNG", compress_level=1)


def _image_path(root: Path, patient: SyntheticPatient) -> Path:
    return root / _FOLDERS[patient.site] / "CXR_png" / f"{patient.name}.png"


def _output_shape(rng: Generator, site: str, size: int, full_size: bool) -> tuple[int, int]:
    """Rows and columns of one image; the generator moves on equally whatever the answer."""
    choice, rows, columns = rng.random(3)
    if not full_size:
        return size, size
    if site == "montgomery":
        return (4020, 4892) if choice < 0.6 else (4892, 4020)
    return 2900 + round(101 * rows), 2900 + round(101 * columns)


def _reading(patient: SyntheticPatient, rng: Generator) -> str:
    """The clinical reading as its site writes it, Shenzhen's slips of the pen included."""
    if patient.site == "montgomery":
        return f"Patient's Sex: {patient.sex} \nPatient's Age: {patient.age:03d}Y\n{patient.findings}"
    slip, months = rng.random(), int(rng.integers(0, 12))
    sex = "male" if patient.sex == "M" else "female"
    if patient.age < 3:
        first = f"{sex} {12 * patient.age + months}month"
    elif slip < 0.02:
        first = f"{sex.replace('female', 'femal')} {patient.age}yrs"
    elif slip < 0.04:
        first = f"{sex}{patient.age}yrs"
    elif slip < 0.06:
        first = f"{sex} {patient.age}"
    elif slip < 0.09:
        first = f"{sex} , {patient.age}yrs  \t"
    else:
        first = f"{sex} {patient.age}yrs"
    return f"{first}\n{patient.findings}"


def _generators(seed: int, site: str, number: int) -> tuple[Generator, Generator, Generator]:
    """What an image draws from: the patient's facts, the style of the files, the scanner."""
    facts, style, scanner = np.random.default_rng([seed, list(SITES).index(site), number]).spawn(3)
    return facts, style, scanner


def _drawn_patient(site: str, number: int, label: int, seed: int) -> SyntheticPatient:
    """A patient with the age, sex and finding of some published patients of the same label."""
    rng, _, _ = _generators(seed, site, number)
    pool = [row for row in _facts("shenzhen") if int(row["label"]) == label]
    person, finding = pool[int(rng.integers(len(pool)))], pool[int(rng.integers(len(pool)))]
    return SyntheticPatient(site, number, label, person["sex"], int(person["age"]), finding["findings"], number)


def _published_patient(site: str, row: Mapping[str, str], seed: int) -> SyntheticPatient:
    number, label = _number(row["name"]), int(row["label"])
    first = row.get("same_patient_as") or row["name"]
    drawn = _drawn_patient(site, _number(first), label, seed)
    return SyntheticPatient(
        site=site,
        number=number,
        label=label,
        sex=row["sex"] or drawn.sex,
        age=int(row["age"] or drawn.age),
        findings=row["findings"] or drawn.findings,
        portrayed=_number(first),
    )


def _number(name: str) -> int:
    return int(name.split("_")[1])


@lru_cache(maxsize=2)
def _facts(site: str) -> tuple[dict[str, str], ...]:
    """The published rows of a site; where they come from is in the README beside the tables."""
    table = files("fairpool.data").joinpath("facts", f"{site}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(table.splitlines()))


def _checked_counts(images_per_site: Mapping[str, int] | None) -> dict[str, int]:
    if images_per_site is None:
        return dict(SITES)
    unknown = sorted(str(site) for site in images_per_site if site not in SITES)
    if unknown:
        raise ValueError(f'Site "{unknown[0]}" is not among the sites that can be drawn ({", ".join(SITES)}).')
    for site, count in images_per_site.items():
        if not _is_whole(count) or count < 0:
            raise ValueError(f'The number of images of site "{site}" is {count!r}; expected a whole number from 0 on.')
    if not any(images_per_site.values()):
        raise ValueError("images_per_site asks for no image at all; give at least one site a positive number.")
    return {site: int(images_per_site.get(site, 0)) for site in SITES}


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
