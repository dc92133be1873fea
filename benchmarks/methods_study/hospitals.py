"""Synthetic hospitals as arrays: drawn once into a cache folder, read back as tensors.

Every cohort has its own patients. The label decides the lesions and the site the scanner; a confounding strength c
gives the K sites prevalences spread evenly from 0.5 - c/2 to 0.5 + c/2. Test cohorts are balanced in site and label.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fairpool.data.synthetic_radiographs import render_scene
from fairpool.data.synthetic_scanners import SCANNERS, expose_scene

__all__ = ["Cohort", "Images", "cell_counts", "draw", "load"]

_PARTS = ("training", "validation", "test")
_FORMAT = 2  # raise it when a cohort of the same name begins to hold other images


@dataclass(frozen=True)
class Cohort:
    """Which images: drawn from these five words alone.

    Attributes:
        part: "training", "validation" or "test".
        num_sites: K; the first K scanners.
        strength: confounding c in [0, 1); 0 is balanced.
        seed: other seeds, other patients.
        images: how many, over all sites; a multiple of K.
        size: side of the square images in pixels.
    """

    part: str
    num_sites: int
    strength: float
    seed: int
    images: int
    size: int

    @property
    def file_name(self) -> str:
        """The name in the cache."""
        where = f"{self.part}-{self.num_sites}sites-c{self.strength}-seed{self.seed}"
        return f"{where}-{self.images}x{self.size}px-{_FORMAT}.npz"


@dataclass(frozen=True)
class Images:
    """A cohort in memory.

    Attributes:
        images: grey values, uint8 [N, size, size].
        labels: int64 [N], 1 is tuberculosis.
        sites: int64 [N].
    """

    images: Tensor
    labels: Tensor
    sites: Tensor


def cell_counts(cohort: Cohort) -> Tensor:
    """Images by label and site, int64 [2, K].

    >>> cell_counts(Cohort("training", 2, 0.8, 0, 100, 64)).tolist()
    [[45, 5], [5, 45]]
    """
    per_site = cohort.images // cohort.num_sites
    spread = 0.0 if cohort.part == "test" else cohort.strength / 2
    # 0.5 - 0.8 / 2 is 0.09999999999999998: rounding before counting keeps the cells what they are meant to be.
    positives = np.rint(np.linspace(0.5 - spread, 0.5 + spread, cohort.num_sites).round(9) * per_site).astype(int)
    return torch.tensor(np.stack([per_site - positives, positives]))


def draw(cohort: Cohort, folder: Path) -> None:
    """Write a cohort's file, if it isn't there. The file gets its name when it is whole."""
    path = folder / cohort.file_name
    if path.is_file():
        return
    labels, sites = [], []
    counts = cell_counts(cohort).tolist()
    for label in (0, 1):
        for site in range(cohort.num_sites):
            labels += [label] * counts[label][site]
            sites += [site] * counts[label][site]
    names = list(SCANNERS)[: cohort.num_sites]
    images = np.empty((cohort.images, cohort.size, cohort.size), np.uint8)
    stream = [_PARTS.index(cohort.part), cohort.num_sites, round(100 * cohort.strength), cohort.seed]
    for number, (label, site) in enumerate(zip(labels, sites, strict=True)):
        rng = np.random.default_rng([*stream, number])
        sex = "F" if rng.random() < 0.4 else "M"
        scene = render_scene(rng, label, shape=(2 * cohort.size, 2 * cohort.size), sex=sex)
        exposed = Image.fromarray(expose_scene(scene, names[site], rng))
        images[number] = np.asarray(exposed.reduce(2))  # a small image of a hospital is a large one's mean, not a crop
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez(file, images=images, labels=np.array(labels), sites=np.array(sites))
    partial.replace(path)


@lru_cache(maxsize=3)
def load(cohort: Cohort, folder: Path) -> Images:
    """Read a cohort that was drawn; the last three are kept."""
    with np.load(folder / cohort.file_name, allow_pickle=False) as file:
        return Images(*(torch.from_numpy(file[part]) for part in ("images", "labels", "sites")))
