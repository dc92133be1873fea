"""What does the constraint add to a training step? Plain cross-entropy against FairALM, interleaved in one process.

    python benchmarks/step.py [--rounds 300] [--json step.json]

One thread. A round times one step of every contender in a random order; the table gives medians and, because the
machine's speed drifts, the median over rounds of the ratio to plain cross-entropy of the same round.
"""

import argparse
import json
import platform
import random
import statistics
import subprocess
import time
from collections.abc import Callable

import torch
from torch import nn

from fairpool import EqualOpportunity, FairALMLoss


def small_cnn() -> nn.Module:
    def block(channels_in: int, channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels_in, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(1, 16), *block(16, 32), *block(32, 64), nn.Flatten(), nn.Linear(64 * 16, 2))


def tiny_cnn() -> nn.Module:
    def block(channels_in: int, channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels_in, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(1, 8), *block(8, 16), nn.Flatten(), nn.Linear(16 * 64, 2))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2))


WORKLOADS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "CNN of 3 layers, 32 px, batch 64": (small_cnn, (64, 1, 32, 32)),
    "CNN of 2 layers, 32 px, batch 64": (tiny_cnn, (64, 1, 32, 32)),
    "MLP, 256-d, batch 1024": (mlp, (1024, 256)),
    "loss alone, batch 32": (nn.Identity, (32, 2)),
    "loss alone, batch 1024": (nn.Identity, (1024, 2)),
}


def make_step(make_network: Callable[[], nn.Module], shape: tuple[int, ...], num_groups: int) -> Callable[[], None]:
    """A whole training step on fixed data; ``num_groups`` 0 is plain cross-entropy."""
    torch.manual_seed(0)
    network = make_network()
    inputs, labels = torch.randn(shape), torch.randint(0, 2, (shape[0],))
    groups = torch.randint(0, max(num_groups, 1), (shape[0],))
    parameters = list(network.parameters())
    if not parameters:
        inputs.requires_grad_(True)
    optimizer = torch.optim.SGD(parameters or [inputs], lr=1e-3)
    plain = nn.CrossEntropyLoss()
    fair = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), num_groups) if num_groups else None

    def step() -> None:
        optimizer.zero_grad()
        logits = network(inputs)
        loss = plain(logits, labels) if fair is None else fair(logits, labels, groups)
        loss.backward()
        optimizer.step()
        if fair is not None:
            fair.update_multipliers()

    return step


def measure(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    contenders = {"cross-entropy": 0, "FairALM K=2": 2, "FairALM K=100": 100, "FairALM K=1000": 1000}
    results = {}
    for workload, (make_network, shape) in WORKLOADS.items():
        steps = {name: make_step(make_network, shape, groups) for name, groups in contenders.items()}
        for step in steps.values():
            for _ in range(20):
                step()
        times: dict[str, list[float]] = {name: [] for name in steps}
        order = list(steps)
        for _ in range(rounds):
            random.shuffle(order)
            for name in order:
                start = time.perf_counter()
                steps[name]()
                times[name].append(time.perf_counter() - start)
        base = times["cross-entropy"]
        results[workload] = {
            name: {
                "median_us": statistics.median(values) * 1e6,
                "extra_us": statistics.median(v - b for v, b in zip(values, base, strict=True)) * 1e6,
                "ratio": statistics.median(v / b for v, b in zip(values, base, strict=True)),
            }
            for name, values in times.items()
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", help="write the results here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = measure(arguments.rounds)
    for workload, rows in results.items():
        print(workload)
        for name, row in rows.items():
            print(f"  {name:16} {row['median_us']:9.0f} us  +{row['extra_us']:7.0f} us  ratio {row['ratio']:.3f}")
    if arguments.json:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip()
        about = {"machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(
                {"about": {**about, "commit": commit, "rounds": arguments.rounds}, "results": results}, file, indent=1
            )


if __name__ == "__main__":
    main()
