"""What does the constraint add to a training step? fairpool and others against plain cross-entropy, interleaved.

    pip install --no-deps -r benchmarks/requirements.txt  # optional; what is missing is said to be "not installed"
    python benchmarks/step.py [--rounds 300] [--json benchmarks/results/step.json]

All contenders run in one process on one thread. A round times one step of each in a random order; the table gives
medians and, because the machine's speed drifts, medians over rounds of the ratio to plain cross-entropy of the same
round, with quartiles. The task is equal opportunity: between two groups for the others, each in the fewest kernel calls
that its interface allows (`step_peers`). Before anything is timed, each must hold the same value of its constraint as
NumPy finds by a loop over the groups.
"""

import argparse
import importlib
import random
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the field's own abbreviation)
from step_peers.task import Contender, Task, true_positive_rates
from torch import nn
from written_results import Row, write_results

PLAIN = "cross-entropy"
OWN_GROUPS = (2, 100, 1000)
PEERS = ("cooper", "humancompatible", "fairret", "fairtorch")
WARM_UP = 20


def small_cnn() -> nn.Module:
    """Convolutions of 16, 32 and 64 channels with batch normalisation."""

    def block(channels_in: int, channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels_in, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(1, 16), *block(16, 32), *block(32, 64), nn.Flatten(), nn.Linear(64 * 16, 2))


def tiny_cnn() -> nn.Module:
    """Convolutions of 8 and 16 channels."""

    def block(channels_in: int, channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels_in, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(1, 8), *block(8, 16), nn.Flatten(), nn.Linear(16 * 64, 2))


def mlp() -> nn.Module:
    """Two hidden layers of 256."""
    return nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2))


WORKLOADS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "CNN of 3 layers, 32 px, batch 64": (small_cnn, (64, 1, 32, 32)),
    "CNN of 2 layers, 32 px, batch 64": (tiny_cnn, (64, 1, 32, 32)),
    "MLP, 256-d, batch 1024": (mlp, (1024, 256)),
    "loss alone, batch 32": (nn.Identity, (32, 2)),
    "loss alone, batch 1024": (nn.Identity, (1024, 2)),
}


def make_task(workload: str, num_groups: int) -> Task:
    """The same network, inputs and labels each time; groups drawn at random."""
    make_network, shape = WORKLOADS[workload]
    torch.manual_seed(0)
    network = make_network()
    inputs, labels = torch.randn(shape), torch.randint(0, 2, shape[:1])
    if not list(network.parameters()):
        inputs.requires_grad_(True)
    return Task(network, inputs, labels, torch.randint(0, num_groups, shape[:1]), num_groups)


def plain_step(task: Task) -> Callable[[], None]:
    """A step without a constraint."""
    optimizer = task.optimizer()

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(task.network(task.inputs), task.labels).backward()
        optimizer.step()

    return step


def contenders() -> Iterator[tuple[str, str, int]]:
    """Name, module of `step_peers` and number of groups of each, installed or not."""
    for num_groups in OWN_GROUPS:
        yield f"fairpool, K={num_groups}", "fairpool", num_groups
    for peer in PEERS:
        yield f"{peer}, K=2", peer, 2


def load(peer: str) -> Callable[[Task], Contender] | None:
    """How to make the contender, or None where its package is not installed."""
    top = {"humancompatible": "humancompatible.train"}.get(peer, peer)
    try:
        is_there = find_spec(top) is not None
    except ModuleNotFoundError:  # of the package above
        is_there = False
    if not is_there:
        return None
    make: Callable[[Task], Contender] = importlib.import_module(f"step_peers.{peer}_step").make_contender
    return make


def prove(name: str, contender: Contender, rates: tuple[np.ndarray, float]) -> None:
    """Refuse a contender that does not compute what is claimed.

    Raises:
        AssertionError: NumPy finds another value of its constraint.
    """
    np.testing.assert_allclose(contender.found(), contender.expected(*rates), rtol=2e-4, atol=1e-6, err_msg=name)


def make_steps(workload: str) -> dict[str, Callable[[], None] | None]:
    """The proven step of each contender, None where it is not installed."""
    steps: dict[str, Callable[[], None] | None] = {PLAIN: plain_step(make_task(workload, 2))}
    for name, peer, num_groups in contenders():
        make, task = load(peer), make_task(workload, num_groups)
        if make is None:
            steps[name] = None
            continue
        rates = true_positive_rates(task)
        contender = make(task)
        prove(name, contender, rates)
        steps[name] = contender.step
    return steps


def time_steps(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, one a round."""
    for step in steps.values():
        for _ in range(WARM_UP):
            step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    order = list(steps)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            start = time.perf_counter()
            steps[name]()
            times[name].append(time.perf_counter() - start)
    return times


def measure(rounds: int) -> list[Row]:
    """A row for each workload and contender; one that is not installed has no figures."""
    rows: list[Row] = []
    for workload in WORKLOADS:
        steps = make_steps(workload)
        times = time_steps({name: step for name, step in steps.items() if step is not None}, rounds)
        base = times[PLAIN]
        for name, step in steps.items():
            row: dict[str, str | float | int | None] = {"workload": workload, "contender": name}
            if step is None:
                rows.append(row | {"note": "not installed"})
                continue
            ratios = [own / plain for own, plain in zip(times[name], base, strict=True)]
            low, _, high = statistics.quantiles(ratios, n=4)
            row |= {
                "median_us": round(statistics.median(times[name]) * 1e6, 1),
                "extra_us": round(
                    statistics.median(own - plain for own, plain in zip(times[name], base, strict=True)) * 1e6, 1
                ),
                "ratio": round(statistics.median(ratios), 4),
                "ratio_lower_quartile": round(low, 4),
                "ratio_upper_quartile": round(high, 4),
            }
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", help="write the results here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(arguments.rounds)
    for number, row in enumerate(rows):
        if number == 0 or row["workload"] != rows[number - 1]["workload"]:
            print(row["workload"])
        figures = "not installed"
        if "ratio" in row:
            spread = f"{row['ratio_lower_quartile']:.3f} to {row['ratio_upper_quartile']:.3f}"
            figures = f"{row['median_us']:9.0f} us  +{row['extra_us']:6.0f} us  ratio {row['ratio']:.3f} ({spread})"
        print(f"  {row['contender']:22} {figures}")
    if arguments.json:
        packages = ["fairpool", "torch", "numpy", "cooper-optim", "humancompatible-train", "fairret", "fairtorch"]
        write_results(
            arguments.json,
            rows,
            command=f"OMP_NUM_THREADS=1 python benchmarks/step.py --rounds {arguments.rounds}",
            packages=packages,
            conditions="random data in memory, float32, plain gradient descent, one thread, on the processor; medians "
            f"over {arguments.rounds} rounds, ratios and differences to plain cross-entropy within a round",
        )


if __name__ == "__main__":
    main()
