"""Which runs the study consists of, how settings are chosen, and how an interrupted study goes on.

Two phases. Tuning: every method trains with each of its settings on each tuning seed, and is scored on validation
images with the training pool's confounding, because a user has no balanced ones. Report: the chosen setting trains on
each seed of the study, whose patients no tuning run has seen, and is tested on one balanced set per number of sites.
"""

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from fairpool.metrics import group_report
from fairpool.selection import select_nvp
from methods_study import training
from methods_study.figures import run_figures
from methods_study.hospitals import Cohort, cell_counts, draw, load
from methods_study.registry import BASES, METHODS, SETTINGS, Settings
from methods_study.training import Recipe

__all__ = ["REHEARSAL", "STUDY", "Plan", "carry_out"]

_RECIPE = Recipe(epochs=8, batch_size=32, block_inplanes=(8, 16, 32, 64))
_FORMAT = 1  # raise it when the same run would now end otherwise: finished runs are then repeated


@dataclass(frozen=True)
class Plan:
    """The whole study.

    Attributes:
        methods: names in the registry.
        sites: numbers of sites K.
        strengths: confounding strengths.
        seeds: of the reported runs.
        tuning_seeds: of the runs that settings are chosen by.
        max_settings: how many of a method's settings are tried.
        size: side of the images in pixels.
        training_images: images of a training pool, over all sites.
        validation_images: the same of a tuning seed's validation images.
        test_images: test images of each site and label.
        within: share of the best balanced validation accuracy that a setting needs to be chosen.
        recipe: what all trainings share.
    """

    methods: tuple[str, ...] = tuple(METHODS)
    sites: tuple[int, ...] = (2, 5)
    strengths: tuple[float, ...] = (0.0, 0.8)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    tuning_seeds: tuple[int, ...] = (100,)
    max_settings: int = 4
    size: int = 64
    training_images: int = 4000
    validation_images: int = 2000
    test_images: int = 2000
    within: float = 0.97
    recipe: Recipe = _RECIPE

    def pool(self, num_sites: int, strength: float, seed: int) -> Cohort:
        """A seed's training images."""
        return Cohort("training", num_sites, strength, seed, self.training_images, self.size)

    def validation(self, num_sites: int, strength: float, seed: int) -> Cohort:
        """A tuning seed's validation images, with the training pool's confounding."""
        return Cohort("validation", num_sites, strength, seed, self.validation_images, self.size)

    def test(self, num_sites: int) -> Cohort:
        """The balanced test images, the same for all seeds, methods and strengths."""
        return Cohort("test", num_sites, 0.0, 0, 2 * num_sites * self.test_images, self.size)


STUDY = Plan()
REHEARSAL = Plan(
    sites=(2,),
    strengths=(0.8,),
    tuning_seeds=(100,),
    max_settings=2,
    size=32,
    training_images=80,
    validation_images=40,
    test_images=20,
    recipe=Recipe(epochs=1, batch_size=16, block_inplanes=(4, 4, 8, 8)),
)
"""Everything that the study does, in seconds; its figures mean nothing."""


@dataclass(frozen=True)
class _Job:
    """One training."""

    method: str
    settings: tuple[tuple[str, float], ...]
    pool: Cohort
    held_out: Cohort
    recipe: Recipe

    @property
    def file_name(self) -> str:
        text = json.dumps([_FORMAT, asdict(self)], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        where = f"{self.pool.num_sites}sites-c{self.pool.strength}-seed{self.pool.seed}"
        return f"{self.method}-{where}-{self.held_out.part}-{digest}.json"


def carry_out(plan: Plan, work: Path, workers: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Do what is missing of the plan, and give all of it.

    Args:
        plan: the study.
        work: folder of the images and the finished runs; what it holds already is not done again.
        workers: processes, each with one thread.
        say: takes the lines of progress.
    Returns:
        ``runs``: one row for each reported run, with its figures, or ``failed`` with the reason; ``chosen``: the
        setting of each method, number of sites and strength; ``tuning``: what was chosen from.
    """
    conditions = list(product(plan.sites, plan.strengths))
    cohorts = [plan.test(num_sites) for num_sites in plan.sites]
    for (num_sites, strength), seed in product(conditions, (*plan.tuning_seeds, *plan.seeds)):
        cohorts.append(plan.pool(num_sites, strength, seed))
    for (num_sites, strength), seed in product(conditions, plan.tuning_seeds):
        cohorts.append(plan.validation(num_sites, strength, seed))
    tuned = list(dict.fromkeys(BASES.get(method, method) for method in plan.methods))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start) as pool:
        try:
            _all(pool, draw, [(cohort, work / "images") for cohort in cohorts], "cohorts", say)
            jobs = {
                (num_sites, strength, method, number, seed): _Job(
                    method,
                    tuple(sorted(settings.items())),
                    plan.pool(num_sites, strength, seed),
                    plan.validation(num_sites, strength, seed),
                    plan.recipe,
                )
                # The seed before the method: a worker keeps the images of its last runs.
                for (num_sites, strength), seed, method in product(conditions, plan.tuning_seeds, tuned)
                for number, settings in enumerate(SETTINGS[method][: plan.max_settings])
            }
            done = dict(zip(jobs, _all(pool, _finish, [(j, work) for j in jobs.values()], "tunings", say), strict=True))
            tuning = [
                _tuning_row(plan, num_sites, strength, method, number, done)
                for (num_sites, strength), method in product(conditions, tuned)
                for number in range(len(SETTINGS[method][: plan.max_settings]))
            ]
            chosen = _choose(plan, conditions, tuning, tuned)
            jobs = {
                (num_sites, strength, method, seed): _Job(
                    method,
                    tuple(sorted(chosen[num_sites, strength, method].items())),
                    plan.pool(num_sites, strength, seed),
                    plan.test(num_sites),
                    plan.recipe,
                )
                for (num_sites, strength), seed, method in product(conditions, plan.seeds, plan.methods)
            }
            results = _all(pool, _finish, [(job, work) for job in jobs.values()], "reported runs", say)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    names = ("num_sites", "strength", "method", "seed")
    rows = []
    for (key, job), result in zip(jobs.items(), results, strict=True):
        row = {**dict(zip(names, key, strict=True)), **result}
        if "counts" in result:
            row |= run_figures(torch.tensor(result["counts"]), cell_counts(job.pool))
        rows.append(row)
    choices = [
        {"num_sites": num_sites, "strength": strength, "method": method, "settings": settings}
        for (num_sites, strength, method), settings in chosen.items()
    ]
    return {"runs": rows, "chosen": choices, "tuning": tuning}


def _start() -> None:
    """Ready a process: one thread, and the imports that a first training would otherwise be timed with."""
    import monai.engines
    import monai.networks.nets  # noqa: F401

    torch.set_num_threads(1)


def _finish(job: _Job, work: Path) -> dict[str, Any]:
    """The result of a job: read, if it was finished before, else trained and written."""
    path = work / "runs" / job.file_name
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    result = training.run(
        job.method,
        dict(job.settings),
        load(job.pool, work / "images"),
        load(job.held_out, work / "images"),
        cell_counts(job.pool),
        job.recipe,
        job.pool.seed,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(result), encoding="utf-8")
    partial.replace(path)
    return result


def _all(
    pool: ProcessPoolExecutor,
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    what: str,
    say: Callable[[str], None],
) -> list[Any]:
    """The function of every call, in their order; progress is told every half minute."""
    start = told = time.monotonic()
    futures = [pool.submit(function, *call) for call in calls]
    for done, future in enumerate(as_completed(futures), 1):
        future.result()  # the first failure ends the study
        if time.monotonic() - told > 30 or done == len(futures):
            told = time.monotonic()
            say(f"{done} of {len(futures)} {what} after {told - start:.0f} s")
    return [future.result() for future in futures]


def _tuning_row(
    plan: Plan, num_sites: int, strength: float, method: str, number: int, done: dict[tuple[Any, ...], dict[str, Any]]
) -> dict[str, Any]:
    """A setting's validation figures, from the counts of all tuning seeds together; none where a seed failed."""
    results = [done[num_sites, strength, method, number, seed] for seed in plan.tuning_seeds]
    row = {"num_sites": num_sites, "strength": strength, "method": method, "settings": SETTINGS[method][number]}
    if any("failed" in result for result in results):
        return {**row, "val/balanced_error": float("nan"), "val/deo": float("nan")}
    report = group_report(torch.tensor([result["counts"] for result in results]).sum(dim=0))
    return {**row, "val/balanced_error": report.balanced_error, "val/deo": report.deo}


def _choose(
    plan: Plan, conditions: Iterable[tuple[int, float]], tuning: list[dict[str, Any]], tuned: Sequence[str]
) -> dict[tuple[int, float, str], Settings]:
    """The setting of each method: smallest validation DEO among those whose balanced accuracy is close to the best."""
    chosen = {}
    for (num_sites, strength), method in product(conditions, tuned):
        rows = [
            row for row in tuning if (row["num_sites"], row["strength"], row["method"]) == (num_sites, strength, method)
        ]
        try:
            choice = select_nvp(rows, error="val/balanced_error", gap="val/deo", within=plan.within)
        except ValueError:  # every setting failed: so will the reported runs, which the page then counts
            choice = rows[0]
        chosen[num_sites, strength, method] = choice["settings"]
        chosen |= {(num_sites, strength, name): choice["settings"] for name, base in BASES.items() if base == method}
    return chosen
