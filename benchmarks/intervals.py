"""Do the 95 % intervals hold what they say? Coverage by simulation and, where each patient has one image, exactly.

    python benchmarks/intervals.py [--rounds 1000] [--json intervals.json]

A round is a test set. All rounds of a setting are computed at once, each as sites of their own of one large table. One
thread. Beside our intervals stand what others use: the percentile bootstrap over patients, and Wilson's interval with
each image taken for a patient. Two figures of speed and the permutation test's size under equal rates come last.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterator

import numpy as np
import scipy
from scipy import stats

from fairpool.metrics import (
    PatientCounts,
    bootstrap_rates,
    effective_sizes,
    expected_gap,
    null_gap,
    patient_counts,
    score_interval,
)

PATIENTS, RATES = (20, 50, 100, 200, 400), (0.02, 0.05, 0.1, 0.3)
IMAGES = {"mixed 1-4": (1, 1, 2, 3, 4), "always 4": (4,), "mostly 1, some 10": (1, 1, 1, 1, 1, 1, 1, 2, 10)}
CORRELATIONS = (0.0, 0.1, 0.3, 0.6)
SITES = (3, 5, 10)
FNR = 1


def simulate(
    rng: np.random.Generator, rounds: int, patients: int, rate: float, images: tuple[int, ...], correlation: float
) -> PatientCounts:
    """A site a round; errors of a patient's images are correlated (beta-binomial)."""
    number = rng.choice(images, size=(rounds, patients))
    chance = np.full(number.shape, rate)
    if correlation:
        scale = (1 - correlation) / correlation
        chance = rng.beta(rate * scale, (1 - rate) * scale, size=number.shape)
    wrong = rng.binomial(number, chance).ravel()
    none = np.zeros_like(wrong)
    images_by_rate = np.stack([number.ravel(), number.ravel(), none], axis=1)
    site = np.repeat(np.arange(rounds), patients)
    wrong_by_rate = np.stack([wrong, wrong, none], axis=1)
    return PatientCounts(rounds, np.arange(len(wrong)), site, images_by_rate, wrong_by_rate)


def rates_of(counts: PatientCounts) -> np.ndarray:
    return counts.by_site(counts.wrong)[FNR] / counts.by_site(counts.images)[FNR]


def holds(limits: tuple[np.ndarray, np.ndarray], truth: float, weights: np.ndarray | None = None) -> float:
    """Share of the intervals that hold the truth, in percent; rounding at a limit counts as holding."""
    is_inside = (limits[0] <= truth + 1e-9) & (limits[1] >= truth - 1e-9)
    return round(float(100 * np.average(is_inside, weights=weights)), 2)


def exact_coverage() -> dict[str, dict[str, float]]:
    """One image a patient: the sum of the binomial probabilities of all outcomes whose interval holds the truth."""
    results = {}
    for rate in RATES:
        for size in PATIENTS:
            wrong = np.arange(size + 1)
            chance = stats.binom.pmf(wrong, size, rate)
            alone = score_interval((wrong / size)[:, None], [size], [1])
            # Whatever the method: which sets of neighbouring counts come nearest to 95 %?
            sums = np.concatenate([[0], np.cumsum(chance)])
            possible = (sums[None, :] - sums[:, None])[np.triu_indices(size + 2, 1)]
            # A symmetric interval of a difference of two equal sizes decides by how far the counts are apart.
            apart = np.array([chance[: size + 1 - k] @ chance[k:] * (2 if k else 1) for k in range(size + 1)])
            results[f"{100 * rate:g} %, {size} patients"] = {
                "rate": holds(alone, rate, chance),
                "rate_nearest_possible": _nearest(possible),
                **exact_pairs(rate, size, size, "pair"),
                "pair_nearest_by_distance": _nearest(np.cumsum(apart)),
                **exact_pairs(rate, size, 4 * size, "pair_one_to_four"),
                **exact_pairs(rate, size, size, "pair_rate_times_3", times=3),
            }
    return results


def exact_pairs(rate: float, first: int, second: int, name: str, times: float = 1) -> dict[str, float]:
    """The difference of a rate and ``times`` it: ours and Newcombe's, which combines Wilson's limits."""
    truths = (rate, times * rate)
    sizes = np.array([first, second])
    chances = [stats.binom.pmf(np.arange(size + 1), size, truth) for size, truth in zip(sizes, truths, strict=True)]
    likely = [np.flatnonzero(chance > 1e-8) for chance in chances]
    wrong = np.stack(np.meshgrid(*likely, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = chances[0][wrong[:, 0]] * chances[1][wrong[:, 1]]
    rates = wrong / sizes
    low, high = score_interval(rates[..., None], sizes[:, None], [1])
    difference = rates[:, 0] - rates[:, 1]
    below, above = (rates - low) ** 2, (high - rates) ** 2
    newcombe = (
        difference - np.sqrt(below[:, 0] + above[:, 1]),
        difference + np.sqrt(above[:, 0] + below[:, 1]),
    )
    ours = score_interval(rates, sizes, [1, -1])
    truth = truths[0] - truths[1]
    return {name: holds(ours, truth, weights), f"{name}_newcombe": holds(newcombe, truth, weights)}


def _nearest(coverages: np.ndarray) -> float:
    return round(float(100 * min(coverages, key=lambda value: abs(value - 0.95))), 2)


def many_images(rounds: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Several images a patient: our rate interval, and the two that others use."""
    rng = np.random.default_rng(1)
    for name, images in IMAGES.items():
        for rate in RATES:
            for patients in PATIENTS[:4]:
                for correlation in CORRELATIONS:
                    counts = [simulate(rng, rounds, patients, rate, images, correlation) for _ in range(2)]
                    rates = [rates_of(part) for part in counts]
                    sizes = [effective_sizes(part)[FNR] for part in counts]
                    number = counts[0].by_site(counts[0].images)[FNR]
                    setting = f"{name} images, {100 * rate:g} %, {patients} patients, correlation {correlation}"
                    pair = np.stack(rates, axis=1), np.stack(sizes, axis=1)
                    row = {
                        "rate": holds(score_interval(rates[0][:, None], sizes[0][:, None], [1]), rate),
                        "pair": holds(score_interval(*pair, [1, -1]), 0),
                        "wilson_of_images": holds(score_interval(rates[0][:, None], number[:, None], [1]), rate),
                    }
                    if correlation == 0.3:  # the slowest contender
                        drawn = bootstrap_rates(counts[0], resamples=500)[:, FNR]
                        low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
                        row["percentile_bootstrap"] = holds((low, high), rate)
                    yield setting, row


def one_against_rest(rounds: int) -> Iterator[tuple[str, dict[str, float]]]:
    """One image a patient: a site against the mean of the others, and the same with unequal sizes."""
    rng = np.random.default_rng(2)
    for sites in SITES:
        contrast = np.array([1.0] + [-1.0 / (sites - 1)] * (sites - 1))
        for rate in RATES:
            for patients in PATIENTS:
                results = {}
                for name, others in (("equal", patients), ("others_10_times", 10 * patients)):
                    sizes = np.array([patients] + [others] * (sites - 1))
                    wrong = rng.binomial(sizes, rate, size=(rounds, sites))
                    results[name] = holds(score_interval(wrong / sizes, sizes, contrast), 0)
                yield f"{sites} sites, {100 * rate:g} %, {patients} patients", results


def chance_gaps(rounds: int) -> dict[str, dict[str, float]]:
    """Equal rates: the mean DEO beside its expectation, and how often the permutation test calls it a difference."""
    rng = np.random.default_rng(3)
    results = {}
    for sites, patients, images in ((2, 20, (1,)), (2, 200, (1,)), (5, 50, (1,)), (2, 50, (1, 1, 2, 3, 4))):
        found = []
        for _ in range(min(rounds, 500)):
            counts = simulate(rng, sites, patients, 0.13, images, 0.3 if len(images) > 1 else 0)
            found.append(null_gap(counts, permutations=499))
        name = f"{sites} sites of {patients} patients, {'one image' if len(images) == 1 else '1-4 images'}, 13 %"
        results[name] = {
            "mean_deo": 100 * statistics.mean(one.gap for one in found),
            "mean_expected": 100 * statistics.mean(one.expected for one in found),
            "called_different": 100 * statistics.mean(one.p_value <= 0.05 for one in found),
        }
        if len(images) == 1:
            results[name]["expected_at_13_percent"] = 100 * expected_gap([patients] * sites, 0.13)
    return results


def seconds(rounds: int) -> dict[str, dict[str, float]]:
    """2,000 resamples and 9,999 permutations of 1e5 predictions on one core."""
    rng = np.random.default_rng(4)
    results = {}
    for name, patients, sites in (
        ("50,000 patients", 50_000, 2),
        ("1,000 patients", 1000, 2),
        ("20 sites", 50_000, 20),
    ):
        patient = rng.integers(0, patients, 100_000)
        label = rng.integers(0, 2, len(patient))
        decision = np.where(rng.random(len(patient)) < 0.1, 1 - label, label)
        times: dict[str, list[float]] = {"count": [], "bootstrap": [], "permutations": []}
        for _ in range(min(rounds, 5)):
            start = time.perf_counter()
            counts = patient_counts(patient, patient % sites, label, decision, sites)
            counted = time.perf_counter()
            bootstrap_rates(counts, resamples=2000)
            drawn = time.perf_counter()
            null_gap(counts)
            ends = time.perf_counter()
            for key, value in zip(times, (counted - start, drawn - counted, ends - drawn), strict=True):
                times[key].append(value)
        results[name] = {f"{key}_s": statistics.median(values) for key, values in times.items()}
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--json", help="write the results here")
    arguments = parser.parse_args()
    results = {
        "one image, exact": exact_coverage(),
        "several images": dict(many_images(arguments.rounds)),
        "one against the rest": dict(one_against_rest(arguments.rounds)),
        "equal rates": chance_gaps(arguments.rounds),
        "seconds for 1e5 predictions": seconds(arguments.rounds),
    }
    for title, rows in results.items():
        print(f"\n{title}")
        for name, row in rows.items():
            print(f"  {name:70}", "  ".join(f"{key} {value:.4g}" for key, value in row.items()))
    if arguments.json:
        about = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        about |= {"scipy": scipy.__version__, "rounds": str(arguments.rounds)}
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"about": about, "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
