"""What does the evidence cost? Rates by site of a million predictions, against a bare bincount and other libraries.

    pip install -r benchmarks/requirements.txt  # optional; what is missing is said to be "not installed"
    python benchmarks/metrics.py [--rounds 30] [--samples 1000000] [--json results/metrics.json]

One thread; the contenders run in turn, and a ratio is the median over rounds of two times of one round. A contender
that has taken ten seconds sits out the rounds that are left. Before anything is timed, each must give the same largest
difference of false negative rates as a loop over the groups in NumPy. The others are timed on that figure alone, or on
what their fairness function returns; ours is the whole report: error, FNR, FPR, FDR, selection rate by group, all gaps.

The second table is the resident memory of `GroupMetric` over many batches.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from manifest_rows import resident_mib
from torch import Tensor
from written_results import Row, write_results

from fairpool.metrics import GroupMetric, confusion_by_group, group_report

GROUPS = (2, 20, 500)
SECONDS = 10.0
PEERS = {"torchmetrics": "torchmetrics", "fairlearn": "fairlearn", "ignite": "ignite"}
BARE = "bincount"
BATCH = 10_000

Contender = Callable[[], float | None]


def contenders(labels: Tensor, predictions: Tensor, groups: Tensor, num_groups: int) -> dict[str, Contender]:
    """Each contender on one set of predictions; it returns the largest difference of false negative rates, if any."""

    def bare() -> None:
        torch.bincount((groups * 2 + labels) * 2 + predictions, minlength=num_groups * 4)

    def in_place() -> None:
        cells = torch.add(labels, groups, alpha=2).mul_(2).add_(predictions)
        torch.bincount(cells, minlength=num_groups * 4)

    def ours() -> float:
        return group_report(confusion_by_group(labels, predictions, groups, num_groups)).deo

    found: dict[str, Contender] = {BARE: bare, "bincount, ids in place": in_place, "fairpool, whole report": ours}
    if find_spec("torchmetrics"):
        from torchmetrics.functional.classification import binary_groups_stat_rates

        def torchmetrics(validate: bool) -> float:
            rates = binary_groups_stat_rates(predictions, labels, groups, num_groups, validate_args=validate)
            table = torch.stack(list(rates.values()))  # TP, FP, TN, FN as shares of the group
            fnr = table[:, 3] / (table[:, 3] + table[:, 0])
            return float(fnr.max() - fnr.min())

        found["torchmetrics binary_groups_stat_rates"] = lambda: torchmetrics(True)
        found["the same, unchecked"] = lambda: torchmetrics(False)
    if find_spec("ignite"):
        from ignite.metrics import Recall
        from ignite.metrics.fairness import SubgroupDifference

        def ignite() -> float:
            metric = SubgroupDifference(Recall(), groups=list(range(num_groups)))
            metric.update((predictions, labels, groups))
            return metric.compute()

        found["ignite SubgroupDifference(Recall)"] = ignite
    if find_spec("fairlearn"):
        from fairlearn.metrics import MetricFrame, false_negative_rate, false_positive_rate, selection_rate
        from sklearn.metrics import zero_one_loss

        columns = [values.numpy() for values in (labels, predictions, groups)]

        def fairlearn(**metrics: Callable) -> float:
            frame = MetricFrame(metrics=metrics, y_true=columns[0], y_pred=columns[1], sensitive_features=columns[2])
            return float(frame.difference()["fnr"])

        found["fairlearn MetricFrame, FNR"] = lambda: fairlearn(fnr=false_negative_rate)
        found["fairlearn MetricFrame, four rates"] = lambda: fairlearn(
            fnr=false_negative_rate, fpr=false_positive_rate, error=zero_one_loss, selected=selection_rate
        )
    return found


def plain_gap(labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray) -> float:
    """The largest difference of false negative rates, by a mask for each group."""
    rates = [1 - predictions[(groups == group) & (labels == 1)].mean() for group in np.unique(groups)]
    return float(max(rates) - min(rates))


def measure(rounds: int, samples: int) -> list[Row]:
    rows: list[Row] = []
    for num_groups in GROUPS:
        torch.manual_seed(0)
        labels, predictions = torch.randint(0, 2, (2, samples))
        groups = torch.randint(0, num_groups, (samples,))
        expected = plain_gap(labels.numpy(), predictions.numpy(), groups.numpy())
        functions = contenders(labels, predictions, groups, num_groups)
        for name, function in functions.items():
            gap = function()  # the first call warms up
            if gap is not None and abs(gap - expected) > 1e-5:  # torchmetrics and ignite count in single precision
                raise RuntimeError(f"{name} finds a gap of {gap} and not {expected}: its time means nothing.")
        times: dict[str, list[float]] = {name: [] for name in functions}
        for _ in range(rounds):
            for name, function in functions.items():
                if sum(times[name]) < SECONDS:
                    start = time.perf_counter()
                    function()
                    times[name].append(time.perf_counter() - start)
        for name, found in times.items():
            ratios = [one / bare for one, bare in zip(found, times[BARE], strict=False)]
            rows.append(
                {
                    "contender": name,
                    "groups": num_groups,
                    "median_ms": statistics.median(found) * 1e3,
                    "ratio_to_bincount": statistics.median(ratios),
                    "rounds": len(found),
                }
            )
        missing = [name for name, module in PEERS.items() if not find_spec(module)]
        rows += [{"contender": f"{name}: not installed", "groups": num_groups} for name in missing]
    return rows


def measure_memory(batches: int) -> Row:
    """Resident memory before and after many batches went through one metric of 500 groups."""
    metric = GroupMetric(num_groups=500)
    logits, labels, groups = torch.randn(BATCH, 2), torch.randint(0, 2, (BATCH,)), torch.randint(0, 500, (BATCH,))
    for _ in range(20):
        metric(logits, labels, groups)
    before = resident_mib("VmRSS")
    for _ in range(batches):
        metric(logits, labels, groups)
    counted = int(metric.aggregate().samples.sum())
    if counted != (batches + 20) * BATCH:
        raise RuntimeError(f"{counted} predictions were counted, not {(batches + 20) * BATCH}.")
    return {
        "contender": "fairpool GroupMetric, resident memory",
        "groups": 500,
        "predictions": counted,
        "before_mib": before,
        "after_mib": resident_mib("VmRSS"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--json", help="write the results here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(arguments.rounds, arguments.samples)
    for row in rows:
        figures = f"{row['median_ms']:10.2f} ms  {row['ratio_to_bincount']:8.2f} x" if "median_ms" in row else ""
        print(f"K={row['groups']:<4} {row['contender']:40} {figures}")
    memory = measure_memory(batches=40 * arguments.rounds)
    print(
        f"GroupMetric, 500 groups: {memory['before_mib']:.1f} MiB resident before, {memory['after_mib']:.1f} MiB after "
        f"{memory['predictions']:,} predictions"
    )
    if arguments.json:
        write_results(
            arguments.json,
            [*rows, memory],
            command=f"python benchmarks/metrics.py --rounds {arguments.rounds} --samples {arguments.samples}",
            packages=["fairpool", "torch", "numpy", "torchmetrics", "pytorch-ignite", "fairlearn", "scikit-learn"],
            conditions=f"{arguments.samples:,} random predictions of two classes, one thread, medians over rounds",
        )


if __name__ == "__main__":
    main()
