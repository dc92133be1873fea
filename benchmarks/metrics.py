"""What does the evidence cost? Counts and rates by site of a million predictions, against a bare bincount.

    python benchmarks/metrics.py [--rounds 30] [--json metrics.json]

One thread; the contenders run in turn, and the ratio is the median over rounds of the two times of a round.
"""

import argparse
import json
import platform
import statistics
import time

import torch

from fairpool.metrics import confusion_by_group, group_report

SAMPLES = 1_000_000


def measure(rounds: int) -> dict[str, dict[str, float]]:
    results = {}
    for num_groups in (2, 20, 500):
        torch.manual_seed(0)
        labels, predictions = torch.randint(0, 2, (2, SAMPLES))
        groups = torch.randint(0, num_groups, (SAMPLES,))

        def bare(labels=labels, predictions=predictions, groups=groups, num_groups=num_groups) -> None:
            torch.bincount((groups * 2 + labels) * 2 + predictions, minlength=num_groups * 4)

        def ours(labels=labels, predictions=predictions, groups=groups, num_groups=num_groups) -> None:
            group_report(confusion_by_group(labels, predictions, groups, num_groups))

        times: dict[str, list[float]] = {"bare": [], "ours": []}
        for number in range(rounds + 3):
            for name, function in (("bare", bare), ("ours", ours)):
                start = time.perf_counter()
                function()
                if number >= 3:  # the first rounds warm up
                    times[name].append(time.perf_counter() - start)
        results[f"K={num_groups}"] = {
            "bincount_ms": statistics.median(times["bare"]) * 1e3,
            "report_ms": statistics.median(times["ours"]) * 1e3,
            "ratio": statistics.median(o / b for o, b in zip(times["ours"], times["bare"], strict=True)),
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", help="write the results here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = measure(arguments.rounds)
    for name, row in results.items():
        bare, report = f"bincount {row['bincount_ms']:6.2f} ms", f"report {row['report_ms']:6.2f} ms"
        print(f"{name:6} {bare}  {report}  ratio {row['ratio']:.2f}")
    if arguments.json:
        about = {"machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        about |= {"samples": str(SAMPLES), "rounds": str(arguments.rounds)}
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"about": about, "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
