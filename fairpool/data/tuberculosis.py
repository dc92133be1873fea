"""The Montgomery and Shenzhen chest radiographs of the U.S. National Library of Medicine.

Jaeger et al. 2014, Quantitative Imaging in Medicine and Surgery 4(6):475, doi:10.3978/j.issn.2223-4292.2014.11.20.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from monai.data import CacheDataset
from monai.transforms import Randomizable

from fairpool.data.checks import check_pool
from fairpool.data.items import as_items
from fairpool.data.readings import parse_reading
from fairpool.data.splits import SECTIONS, split_by_patient
from fairpool.data.vocabulary import SiteVocabulary
from fairpool.errors import DataError

__all__ = ["TuberculosisDataset", "read_tuberculosis"]

_FOLDERS = {"montgomery": ("MontgomerySet", "MCUCXR"), "shenzhen": ("ChinaSet_AllFiles", "CHNCXR")}
# Two images of one patient, as the readings of the published set say.
_SAME_PATIENT = {"MCUCXR_0117": "MCUCXR_0113", "MCUCXR_0166": "MCUCXR_0162"}


def read_tuberculosis(root_dir: str | os.PathLike[str]) -> pd.DataFrame:
    """Records of the publisher's tree, one row an image.

    Args:
        root_dir: folder that holds ``MontgomerySet`` and ``ChinaSet_AllFiles``.
    Returns:
        columns ``image`` (path), ``label`` (1 tuberculosis), ``site``, ``patient``, ``row``, ``sex``, ``age`` (years),
        ``findings``; sites in alphabetical order, images by number.
    Raises:
        DataError: the folder holds no such image.
    """
    root = Path(root_dir)
    rows: list[dict[str, Any]] = []
    same: dict[str, str] = {}
    for site, (folder, prefix) in _FOLDERS.items():
        pattern = re.compile(rf"({prefix}_\d{{4,}})_([01])\.png", re.IGNORECASE)
        for image in sorted((root / folder / "CXR_png").glob("*")):
            match = pattern.fullmatch(image.name)
            if match is None:
                continue
            stem = match[1].upper()
            text = root / folder / "ClinicalReadings" / f"{image.stem}.txt"
            reading = parse_reading(text.read_text(encoding="utf-8", errors="replace") if text.is_file() else "")
            same[stem] = reading.same_patient_as or _SAME_PATIENT.get(stem, stem)
            rows.append(
                {
                    "image": str(image),
                    "label": int(match[2]),
                    "site": site,
                    "patient": stem,
                    "sex": reading.sex,
                    "age": reading.age,
                    "findings": reading.findings,
                }
            )
    if not rows:
        raise DataError(
            f'no radiograph in "{root.name}": expected MontgomerySet/CXR_png/MCUCXR_0001_0.png and '
            "ChinaSet_AllFiles/CXR_png/CHNCXR_0001_0.png. Run `fairpool download tuberculosis` or "
            "`fairpool synthesize tuberculosis`, or give another folder."
        )
    index = pd.RangeIndex(1, len(rows) + 1)
    records = pd.DataFrame(rows, index=index).assign(row=index)
    return records.assign(patient=records["patient"].map(_join_patients(same)))


def _join_patients(same: dict[str, str]) -> dict[str, str]:
    """One patient for images that are linked, whichever of them the readings name, and also if they name each other."""
    patients = {stem: stem for stem in (*same, *same.values())}
    for stem, other in same.items():
        first, second = sorted((patients[stem], patients[other]))
        if first != second:
            patients = {key: first if patient == second else patient for key, patient in patients.items()}
    return patients


class TuberculosisDataset(Randomizable, CacheDataset):
    """Montgomery and Shenzhen radiographs, in the manner of MONAI's `MedNISTDataset`.

    Each item has ``image``, ``label`` (0 normal, 1 tuberculosis), ``site`` (id in ``vocabulary``), ``site_name``,
    ``patient`` (a running number), ``sex``, ``age`` (years, NaN if unknown), ``findings`` and ``row``.

    Args:
        root_dir: folder that holds ``MontgomerySet`` and ``ChinaSet_AllFiles``.
        section: "training", "validation" or "test".
        transform: applied to each item; by default images are read, reduced to 512 x 512 once, and kept on disk.
        download: fetch the publisher's archives into ``root_dir`` first.
        seed: of the split, which is by patient and stratified by site and label.
        val_frac: fraction of patients that validates.
        test_frac: fraction of patients that tests.
        cache_rate: fraction of items kept in memory.
        num_workers: threads that fill the memory cache.
    Raises:
        DataError: the folder holds no such data, only one site or label, or too few patients for the section.
        ValueError: the section is unknown.
    """

    def __init__(
        self,
        root_dir: str | os.PathLike[str],
        section: str,
        transform: Sequence[Callable[..., Any]] | Callable[..., Any] = (),
        download: bool = False,
        seed: int = 0,
        val_frac: float = 0.1,
        test_frac: float = 0.25,
        cache_rate: float = 1.0,
        num_workers: int = 1,
    ) -> None:
        if section not in SECTIONS:
            raise ValueError(f"section must be one of {', '.join(SECTIONS)}; got {section!r}.")
        if download:
            from fairpool.data.download import download_tuberculosis

            download_tuberculosis(Path(root_dir))
        self.section = section
        self.set_random_state(seed=seed)
        records = read_tuberculosis(root_dir)
        check_pool(records)
        self.vocabulary = SiteVocabulary.from_sites(records["site"])
        sections = split_by_patient(records, seed=seed, val_frac=val_frac, test_frac=test_frac)
        if isinstance(transform, Sequence) and not transform:
            from fairpool.data.image_cache import default_cache_dir
            from fairpool.transforms import LoadRadiographd

            transform = LoadRadiographd(keys="image", size=512, cache_dir=default_cache_dir())
        items = as_items(records[sections == section], records, self.vocabulary)
        if not items:
            raise DataError(
                f"the {section} section is empty: {records['patient'].nunique()} patients are too few for val_frac "
                f"{val_frac} and test_frac {test_frac}."
            )
        CacheDataset.__init__(
            self,
            data=items,
            transform=transform,
            cache_rate=cache_rate,
            num_workers=num_workers,
            progress=False,
        )

    def randomize(self, data: Any = None) -> None:
        """Nothing is drawn at random after construction; MONAI's interface asks for the method."""
