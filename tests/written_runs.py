"""Finished runs of two sites without training: results and predictions written by hand."""

import pandas as pd

from fairpool.experiment import RunResult

SITES = ["Genève", "=bern"]


def run(method, seed, figures, place=""):
    nothing = [[[0, 0], [0, 0]]] * 2
    return RunResult(
        method=method,
        seed=seed,
        run_id=f"{method}{seed}",
        sites=SITES,
        slugs=["geneve", "bern"],
        validation={},
        test=figures,
        validation_counts=nothing,
        test_counts=nothing,
        best_epoch=1,
        seconds=1.0,
        output_dir=place,
    )


def written(folder, method, seed, rows, figures=None):
    """A finished run whose predictions are rows of patient, site, split, label, probability."""
    place = folder / f"{method}-seed{seed}"
    place.mkdir()
    table = pd.DataFrame(rows, columns=["patient", "site", "split", "label", "probability"])
    table.assign(row=range(len(table))).to_parquet(place / "predictions.parquet")
    return run(method, seed, figures or {}, str(place))


def ill_rows(wrong, sizes=(40, 25), first=0):
    """Ill test patients of the two sites with one image each, some missed, and a validation row that must not count."""
    rows = [(first + 999, SITES[0], "validation", 1, 0.1)]
    for site, misses, size in zip(SITES, wrong, sizes, strict=True):
        rows += [(first + len(rows) + i, site, "test", 1, 0.2 if i < misses else 0.9) for i in range(size)]
    return rows
