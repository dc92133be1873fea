"""Data to audit: images of several sites on disk, with or without a marker of the site, and records without images."""

import csv

import numpy as np
import pandas as pd
from PIL import Image

SITES = ("Genève", "<b>bern</b>")


def write_images(folder, *, per_cell=15, sites=SITES, marker=0, size=64, seed=0, shares=None):
    """PNG files of noise with a bright square for label 1; ``marker`` is added to a corner at the second site.

    ``shares`` are the numbers of label 0 and 1 by site; by default ``per_cell`` of both.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, site in enumerate(sites):
        for label, count in enumerate(shares[number] if shares else (per_cell, per_cell)):
            for _ in range(count):
                pixels = rng.integers(60, 140, (size, size), dtype=np.uint8)
                pixels[20:40, 20:40] += np.uint8(60 * label)
                if number == 1 and marker:
                    pixels[2:10, 2:10] = marker
                name = f"mueller-{len(rows):04d}.png"
                Image.fromarray(pixels).save(folder / name)
                rows.append([name, label, site, f"PATIENT-{len(rows):04d}"])
    return write_table(folder / "manifest.csv", rows)


def write_table(path, rows, header=("image", "label", "site", "patient")):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def table_of(counts, **columns):
    """Records of a patient each, ``counts`` of label 0 and 1 by site, and a table of other columns."""
    rows = [(site, label) for site, numbers in counts.items() for label in (0, 1) for _ in range(numbers[label])]
    records = pd.DataFrame(rows, columns=["site", "label"])
    records = records.assign(patient=range(len(rows)), row=range(1, len(rows) + 1))
    return records, pd.DataFrame(
        {name: list(map(str, values)) for name, values in columns.items()}, index=records.index
    )
