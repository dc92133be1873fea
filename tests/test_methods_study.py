"""The parts of `benchmarks/methods.py`, against hand-worked tables; its rehearsal runs all of it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module", autouse=True)
def study():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield


def test_prevalences_are_spread_evenly_about_a_half_in_training_and_equal_in_the_test_set():
    from methods_study.hospitals import Cohort, cell_counts

    two = cell_counts(Cohort("training", 2, 0.8, 0, 2000, 64))
    assert two.tolist() == [[900, 100], [100, 900]]
    five = cell_counts(Cohort("validation", 5, 0.8, 0, 1000, 64))
    assert five.tolist() == [[180, 140, 100, 60, 20], [20, 60, 100, 140, 180]]
    assert cell_counts(Cohort("training", 5, 0.0, 0, 1000, 64)).unique().tolist() == [100]
    assert cell_counts(Cohort("test", 2, 0.8, 0, 400, 64)).unique().tolist() == [100]


def test_a_cohort_holds_what_its_table_says_and_is_the_same_when_drawn_again(tmp_path):
    from methods_study.hospitals import Cohort, cell_counts, draw, load

    cohort = Cohort("training", 5, 0.8, 3, 50, 32)
    for folder in ("a", "b"):
        draw(cohort, tmp_path / folder)
    first, again = (load(cohort, tmp_path / folder) for folder in ("a", "b"))
    assert torch.equal(first.images, again.images)
    counted = torch.bincount(first.labels * 5 + first.sites, minlength=10).view(2, 5)
    assert torch.equal(counted, cell_counts(cohort))
    other = Cohort("training", 5, 0.8, 4, 50, 32)
    draw(other, tmp_path / "a")
    pairs = (load(other, tmp_path / "a").images[:, None] == first.images[None]).flatten(2).all(dim=2)
    assert not pairs.any()  # no patient is in two cohorts


def test_augmentation_is_a_flip_and_a_shift_in_whole_pixels():
    from methods_study.training import augment

    image = torch.arange(1.0, 41 * 41 + 1).view(41, 41)
    augmented = augment(image.expand(64, 41, 41), torch.Generator().manual_seed(0))
    padded = np.pad(image.numpy(), 2, mode="edge")
    seen = set()
    for result in augmented.numpy():
        matches = [
            (down, across, flip)
            for down in range(5)
            for across in range(5)
            for flip in (1, -1)
            if np.array_equal(
                result, (padded if flip == 1 else padded[:, ::-1])[down : down + 41, across : across + 41]
            )
        ]
        assert len(matches) == 1
        seen |= set(matches)
    assert {flip for *_, flip in seen} == {1, -1}
    assert len({match[:2] for match in seen}) > 10


def test_in_distribution_error_is_the_error_of_a_test_set_resampled_to_the_pools_shares():
    from methods_study.figures import run_figures

    counts = torch.tensor([[[80, 20], [40, 60]], [[50, 50], [10, 90]]])
    training = torch.tensor([[90, 10], [10, 90]])
    figures = run_figures(counts, training)
    # Cells (label, site) by hand: errors 0.2, 0.5 | 0.4, 0.1; shares 0.45, 0.05 | 0.05, 0.45.
    assert figures["in_distribution_error"] == pytest.approx(0.45 * 0.2 + 0.05 * 0.5 + 0.05 * 0.4 + 0.45 * 0.1)
    assert figures["error"] == pytest.approx(120 / 400)
    assert (figures["deo"], figures["fpr_gap"]) == pytest.approx((0.3, 0.3))
    assert (figures["fnr"], figures["fpr"], figures["worst_site_error"]) == pytest.approx((0.25, 0.35, 0.3))
    rng = np.random.default_rng(0)
    simulated = np.ptp(rng.binomial(100, 0.25, (100_000, 2)) / 100, axis=1).mean()
    assert figures["fair_deo"] == pytest.approx(simulated, abs=5e-4)


def test_every_method_chooses_from_as_many_settings_and_none_twice():
    from methods_study.protocol import STUDY
    from methods_study.registry import BASES, METHODS, SETTINGS

    assert set(METHODS) == set(SETTINGS) | set(BASES)
    for settings in SETTINGS.values():
        assert len(settings) == STUDY.max_settings
        assert len({tuple(sorted(choice.items())) for choice in settings}) == STUDY.max_settings
    assert not set(STUDY.seeds) & set(STUDY.tuning_seeds)


@pytest.mark.slow
def test_an_interrupted_study_goes_on_where_it_was_and_ends_the_same(tmp_path):
    import dataclasses

    from methods_study.protocol import REHEARSAL, carry_out

    plan = dataclasses.replace(REHEARSAL, methods=("unconstrained", "fairalm"), seeds=(0, 1))
    whole = carry_out(plan, tmp_path, 1, lambda _: None)
    runs = sorted((tmp_path / "runs").glob("*.json"))
    assert len(runs) == 2 * 2 + 2 * 2
    kept, lost = runs[1:], runs[0]
    times = [path.stat().st_mtime_ns for path in kept]
    lost.unlink()
    again = carry_out(plan, tmp_path, 1, lambda _: None)
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert lost.is_file()
    for first, second in zip(whole["runs"], again["runs"], strict=True):
        assert {**first, "seconds": 0} == {**second, "seconds": 0}


@pytest.mark.slow
def test_the_rehearsal_gives_every_method_on_every_seed(tmp_path):
    path = tmp_path / "results.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "methods.py"), "--rounds", "2", "--json", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    assert len(results) == 12 * 2
    assert {row["seed"] for row in results} == {0, 1}
    for row in results:
        assert row["method"] in done.stdout
