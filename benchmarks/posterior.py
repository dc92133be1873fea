"""How fast is a fair posterior found, exactly and by algorithm 1, and how near does algorithm 1 come for a step size?

    python benchmarks/posterior.py [--rounds 30] [--json posterior.json] [--plot saddle_gap.png]

One thread. Times are medians over rounds (three at most for the linear program and algorithm 1) on one random problem a
size. Saddle gaps are medians over ten random problems of 200 classifiers (errors 0.15 to 0.45, gaps -0.1 to 0.4,
uniform in an ellipse), the multiplier bounded by B = 1. Transfer is simulated: mixtures made from counted validation
cases, with the true gap and error that they then have.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from math import exp, log, sqrt
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.optimize import linprog

from fairpool.posterior import NoFairMixtureError, Posterior, exact_posterior, fairalm_posterior

Problem = tuple[NDArray[np.float64], NDArray[np.float64]]

BOUND = 1.0
PROBLEMS, CLASSIFIERS = 10, 200
HORIZONS = [10, 32, 100, 316, 1000, 3162, 10_000, 31_623, 100_000]
STEPS: dict[str, Callable[[int, float], float]] = {
    "eta=0.01": lambda rounds, largest: 0.01,
    "eta=0.1": lambda rounds, largest: 0.1,
    "eta=1": lambda rounds, largest: 1.0,
    "eta=10": lambda rounds, largest: 10.0,
    "eta=100": lambda rounds, largest: 100.0,
    "condition 1": lambda rounds, largest: sqrt(BOUND**2 * rounds / (largest**2 * (log(rounds) + 1))),
    "condition 2": lambda rounds, largest: 1 / rounds,
}


def random_problem(seed: int, number: int) -> Problem:
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, number), np.sqrt(rng.uniform(0, 1, number))
    return 0.3 + 0.15 * radius * np.sin(angle), 0.15 + 0.25 * radius * np.cos(angle)


def milliseconds(function: Callable[[], Any], rounds: int) -> float:
    function()  # warms up
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def measure_times(rounds: int) -> dict[str, dict[str, float]]:
    results = {}
    for number in (100, 10_000, 100_000, 1_000_000):
        e, d = random_problem(0, number)
        row = {"exact_ms": milliseconds(partial(exact_posterior, e, d), rounds)}
        if number <= 100_000:
            equal = np.vstack([d, np.ones(number)])
            solve = partial(linprog, e, A_eq=equal, b_eq=[0.0, 1.0], method="highs")
            row["linprog_ms"] = milliseconds(solve, min(rounds, 3))
            row["difference"] = abs(exact_posterior(e, d).error - solve().fun)
        row["algorithm_1_ms"] = milliseconds(partial(fairalm_posterior, e, d, 100_000, 1.0), min(rounds, 3))
        results[f"N={number}"] = row
    return results


def proximal_gap(posterior: Posterior, problem: Problem, eta: float, bound: float) -> float:
    """The nu of theorem 3: what either player could gain in L_T of eq. (4), the multiplier within ±bound."""
    e, d = problem
    lam, gap = float(posterior.multiplier), float(posterior.gap)
    centre = lam + eta * gap  # the multiplier after the last round: follow-the-leader moves there

    def value(at: float) -> float:
        return at * gap - (at - centre) ** 2 / (2 * eta)

    best = min(max(centre + eta * gap, -bound), bound)
    return max(posterior.error + lam * gap - float((e + lam * d).min()), value(best) - value(lam))


def measure_saddle_gaps() -> dict[str, dict[str, list[float]]]:
    problems = [random_problem(seed, CLASSIFIERS) for seed in range(PROBLEMS)]
    largest = [float(np.abs(d).max()) for _, d in problems]
    results = {}
    for name, step in STEPS.items():
        rows: dict[str, list[float]] = {"saddle_gap": [], "nu": [], "gap": [], "multiplier": []}
        for horizon in HORIZONS:
            found: dict[str, list[float]] = {key: [] for key in rows}
            for problem, limit in zip(problems, largest, strict=True):
                eta = step(horizon, limit)
                posterior = fairalm_posterior(*problem, horizon, eta, bound=BOUND)
                found["saddle_gap"].append(posterior.duality_gap)
                found["nu"].append(proximal_gap(posterior, problem, eta, np.inf if name == "condition 2" else BOUND))
                found["gap"].append(abs(float(posterior.gap)))
                found["multiplier"].append(abs(float(posterior.multiplier)))
            for key, values in found.items():
                rows[key].append(statistics.median(values))
        results[name] = rows
    return results


def theorem_rates(largest: float) -> dict[str, list[float]]:
    """The two rates of theorem 3 with a constant of 1."""
    return {
        "condition 1": [sqrt(BOUND**2 * largest**2 * (log(t) + 1) / t) for t in HORIZONS],
        "condition 2": [largest**2 * (log(t) + 1) ** 2 / t for t in HORIZONS],
    }


def rounds_to_leave(problem: Problem, eta: float, most: int) -> int | None:
    """Rounds that the first classifier is played before the second, by bisection; None if ``most`` do not suffice."""

    def is_left(rounds: int) -> bool:
        return bool(fairalm_posterior(*problem, rounds, eta).weights[1] > 0)

    if not is_left(most):
        return None
    low, high = 1, most  # played alone for `low` rounds; left after `high`
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_left(middle) else (middle, high)
    return low


def measure_stalls() -> list[dict[str, float | None]]:
    """The first classifier is cheap and unfair by ``gap``; the second costs the same at the multiplier lam*."""
    rows: list[dict[str, float | None]] = []
    for multiplier, gap, eta in [
        (0.206, 0.1, 1.0),
        (0.206, 0.05, 1.0),
        (0.206, 0.03, 1.0),
        (0.206, 0.02, 1.0),
        (0.206, 0.0067, 1.0),
        (0.206, 0.0067, 3.0),
        (0.206, 0.0067, 10.0),
        (0.206, 0.0067, 100.0),
    ]:
        problem = (np.array([0.1, 0.1 + multiplier * (gap + 0.1)]), np.array([gap, -0.1]))
        row = {"multiplier": multiplier, "gap": gap, "eta": eta, "rounds": rounds_to_leave(problem, eta, 100_000)}
        row["predicted"] = exp(multiplier / (eta * gap) - np.euler_gamma)
        for horizon in (1000, 100_000):
            row[f"saddle_gap_after_{horizon}"] = fairalm_posterior(*problem, horizon, eta, bound=BOUND).duality_gap
        rows.append(row)
    return rows


def measure_transfer(trials: int = 1000, runs: int = 12) -> dict[str, dict[str, float]]:
    """True |gap| and error, in percent, of what is made or chosen from a count of positive cases a site.

    Each run has false negative rates of its own at two sites (0.2 with a standard deviation of 0.05, and a gap of 0.05
    with one of 0.1), and a false positive rate of 0.1; half the cases are positive. Its errors on the validation cases
    are drawn independently of the other runs'.
    """
    results = {}
    for cases in (10, 20, 50, 200, 1000):
        rng = np.random.default_rng(cases)
        found: dict[str, list[tuple[float, float]]] = {
            "mixture": [],
            "nvp": [],
            "smallest gap": [],
            "smallest error": [],
        }
        one_sided = 0
        for _ in range(trials):
            level, gap = rng.normal(0.2, 0.05, runs), rng.normal(0.05, 0.1, runs)
            fnr = np.clip(np.stack([level + gap / 2, level - gap / 2]), 0, 1)
            true_gap, true_error = fnr[0] - fnr[1], (fnr.mean(axis=0) + 0.1) / 2
            missed, alarms = rng.binomial(cases, fnr) / cases, rng.binomial(cases, 0.1, (2, runs)) / cases
            seen_gap, seen_error = missed[0] - missed[1], (missed.mean(axis=0) + alarms.mean(axis=0)) / 2
            try:
                weights = exact_posterior(seen_error, seen_gap).weights
            except NoFairMixtureError as error:
                weights, one_sided = error.weights, one_sided + 1
            accurate = np.flatnonzero(1 - seen_error >= 0.9 * (1 - seen_error.min()))
            chosen = {
                "nvp": accurate[np.abs(seen_gap[accurate]).argmin()],
                "smallest gap": np.abs(seen_gap).argmin(),
                "smallest error": seen_error.argmin(),
            }
            found["mixture"].append((abs(float(weights @ true_gap)), float(weights @ true_error)))
            for name, run in chosen.items():
                found[name].append((abs(float(true_gap[run])), float(true_error[run])))
        row = {"one_sided": one_sided / trials}
        for name, values in found.items():
            row |= {f"{name}: gap": 100 * np.mean([gap for gap, _ in values]).item()}
            row |= {f"{name}: error": 100 * np.mean([error for _, error in values]).item()}
        results[f"n={cases}"] = row
    return results


def plot(results: dict[str, Any], file: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    styles = dict.fromkeys(STEPS, "o-") | {"condition 1": "D-", "condition 2": "s--"}
    colours = {name: f"C{number}" for number, name in enumerate(STEPS)}
    words = {"condition 1": "condition 1: eta = B sqrt(T / (log T + 1)) / L", "condition 2": "condition 2: eta = 1 / T"}
    for name, rows in results["saddle_gaps"].items():
        left.loglog(HORIZONS, rows["saddle_gap"], styles[name], ms=3, color=colours[name], label=words.get(name, name))
    for name in words:
        right.loglog(HORIZONS, results["saddle_gaps"][name]["nu"], styles[name], ms=3, color=colours[name])
    right.loglog(
        HORIZONS,
        results["saddle_gaps"]["condition 2"]["gap"],
        "^:",
        ms=3,
        color=colours["condition 2"],
        label="condition 2: |gap| of its posterior",
    )
    for axis in (left, right):
        for style, (name, rate) in zip(("k-.", "k:"), results["theorem_rates"].items(), strict=True):
            axis.loglog(HORIZONS, rate, style, lw=1, label=f"rate of theorem 3, {name}" if axis is left else None)
        axis.set_xlabel("rounds T")
    left.set_title("saddle gap of the Lagrangian (3), |lambda| <= 1", fontsize=10)
    right.set_title("nu: saddle gap of the proximal Lagrangian (4)", fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", help="write the results here")
    parser.add_argument("--plot", help="draw saddle gaps against rounds here")
    arguments = parser.parse_args()
    results: dict[str, Any] = {"times": measure_times(arguments.rounds)}
    for name, row in results["times"].items():
        print(f"{name:10}", "  ".join(f"{key} {value:.3g}" for key, value in row.items()))
    results["horizons"] = HORIZONS
    results["saddle_gaps"] = measure_saddle_gaps()
    results["exact"] = [
        {"multiplier": found.multiplier, "error": found.error, "largest_gap": float(np.abs(d).max())}
        for e, d in (random_problem(seed, CLASSIFIERS) for seed in range(PROBLEMS))
        for found in [exact_posterior(e, d)]
    ]
    results["theorem_rates"] = theorem_rates(statistics.median(row["largest_gap"] for row in results["exact"]))
    for key in ("saddle_gap", "nu", "gap", "multiplier"):
        print(f"{key}, rounds   " + "".join(f"{horizon:>10}" for horizon in HORIZONS))
        for name, rows in results["saddle_gaps"].items():
            print(f"  {name:14} " + "".join(f"{value:10.2g}" for value in rows[key]))
    for name, rate in results["theorem_rates"].items():
        print(f"theorem 3, {name} " + "".join(f"{value:10.2g}" for value in rate))
    results["stalls"] = measure_stalls()
    for row in results["stalls"]:
        print("  ".join(f"{key} {'more' if value is None else format(value, '.4g')}" for key, value in row.items()))
    results["transfer"] = measure_transfer()
    for name, figures in results["transfer"].items():
        print(f"{name:8}", "  ".join(f"{key} {value:.3g}" for key, value in figures.items()))
    if arguments.plot:
        plot(results, arguments.plot)
    if arguments.json:
        about = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        about |= {"scipy": scipy.__version__, "problems": str(PROBLEMS), "rounds": str(arguments.rounds)}
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"about": about, "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
