"""Two processes equal one process on the joined batch: losses, averaged gradients and multipliers, in double precision.

Run by torchrun, this file is also the worker: it trains every case and writes what it saw.
"""

import json
import multiprocessing
import os
import subprocess
import sys
from importlib import import_module

import pytest
import torch
from torch import nn

from fairpool import DemographicParity, EqualizedOdds, FairALMLoss, PredictiveParity

COUNTS = [[6, 3, 4, 2], [2, 5, 3, 7]]
# Options of the loss, and the sizes of both processes' batches.
CASES = {
    "linear": ({}, (5, 9)),
    "quadratic": ({"penalty": "quadratic"}, (5, 9)),
    "hard": ({"dual_rates": "hard", "dual_step": 0.5, "max_multiplier": 0.4}, (3, 10)),
    "cross_entropy": ({"surrogate": "cross_entropy", "penalty": "quadratic", "growth": 1.5}, (2, 7)),
    "counts": ({"counts": COUNTS, "dual_step": 0.5}, (8, 8)),
    "reweight": ({"counts": COUNTS, "reweight": True, "dual_rates": "hard"}, (6, 6)),
    "lonely": ({}, (4, 4)),
    "accumulate": ({"penalty": "quadratic"}, (4, 8)),
    "demographic parity": ({"constraint": DemographicParity(), "penalty": "quadratic", "dual_rates": "hard"}, (5, 9)),
    "predictive parity": ({"constraint": PredictiveParity()}, (6, 9)),
    "two attributes": ({"constraint": [EqualizedOdds(), PredictiveParity()], "penalty": "quadratic"}, (5, 9)),
    "nan": ({}, (5, 9)),
    "nan, counts": ({"counts": COUNTS, "dual_rates": "hard"}, (6, 6)),  # neither loss nor rates tell the other process
}
STEPS = 3


def batches_of(case):
    """For each step the two processes' batches. Group 0 is on the first process alone, group 3 on the second."""
    generator = torch.Generator().manual_seed(sorted(CASES).index(case))
    for step in range(STEPS):
        parts = []
        for rank, size in enumerate(CASES[case][1]):
            images = torch.randn(size, 4, generator=generator, dtype=torch.float64)
            labels = torch.randint(0, 2, (size,), generator=generator)
            groups = torch.randint(-1 if rank == 0 else 1, 3 if rank == 0 else 4, (size,), generator=generator)
            if case == "lonely":  # a single group on each process, comparable only together; none in the last step
                groups = torch.full_like(groups, 2 * rank if step < STEPS - 1 else 1)
            if case.startswith("nan") and step == 1 and rank == 1:
                images[0] = torch.nan
            parts.append((images, labels, groups))
        yield parts


def train(case, rank=None):
    """Every step's loss, gradient and multipliers, and where it went bad; ``rank`` None joins the batches."""
    options, _ = CASES[case]
    torch.manual_seed(1)
    network = nn.Linear(4, 2).double()
    with torch.no_grad():
        network.weight.copy_(torch.linspace(-1, 1, 8).view(2, 4))
    model = network if rank is None else nn.parallel.DistributedDataParallel(network)
    base = nn.CrossEntropyLoss(reduction="none" if options.get("reweight") else "mean")
    options = {"eta": 0.25, "constraint": EqualizedOdds()} | options
    number_of_attributes = len(options["constraint"]) if isinstance(options["constraint"], list) else 0
    num_groups = [4] * number_of_attributes or 4
    loss = FairALMLoss(base, num_groups=num_groups, **options).double()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    rows = []
    for step, parts in enumerate(batches_of(case)):
        images, labels, groups = (
            parts[rank] if rank is not None else (torch.cat(column) for column in zip(*parts, strict=True))
        )
        attributes = (groups, (groups - 1).clamp(min=-1))[:number_of_attributes] or groups
        value = loss(model(images), labels, attributes)
        value.backward()
        row = {"loss": value.item(), "gradient": network.weight.grad.flatten().tolist()}
        if case != "accumulate" or step == STEPS - 1:
            if not case.startswith("nan"):
                optimizer.step()
            loss.update_multipliers(iteration=step)
            loss.end_epoch()
        optimizer.zero_grad()
        rows.append(row | {"multipliers": loss.multipliers.flatten().tolist(), "bad": int(loss.nonfinite_iteration)})
    return rows


def count(rank=None):
    """What the metric counts over both processes."""
    from fairpool.metrics.group_metric import GroupMetric

    metric = GroupMetric(4)
    for parts in batches_of("linear"):
        for images, labels, groups in parts if rank is None else [parts[rank]]:
            metric(images[:, :2], labels, groups)
    report = metric.aggregate()
    return {"samples": report.samples.tolist(), "deo": report.deo, "fnr_of": report.fnr_of.flatten().tolist()}


def write_down(folder):
    """One process's part: train every case and write a file."""
    rank = torch.distributed.get_rank()
    seen = {case: train(case, rank) for case in CASES} | {"metric": count(rank)}
    with open(os.path.join(folder, f"{rank}.json"), "w") as file:
        json.dump(seen, file)
    torch.distributed.destroy_process_group()


def forked(rank, folder):
    store = torch.distributed.FileStore(os.path.join(folder, "store"), 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    write_down(folder)


def run_forked(folder):
    """Two copies of this process: a second where torchrun's three fresh interpreters take ten to twenty."""
    import_module("torch._dynamo")  # what both would import, the metric's MONAI above all, is imported once
    import_module("fairpool.metrics.group_metric")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=forked, args=(rank, str(folder))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        is_stuck = process.is_alive()
        process.kill()
        assert not is_stuck
    assert [process.exitcode for process in processes] == [0, 0]


def run_by_torchrun(folder):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    subprocess.run(
        [*launcher, "--nproc-per-node", "2", os.path.abspath(__file__), str(folder)],
        check=True,
        timeout=180,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
    )


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(run_forked, marks=pytest.mark.skipif(sys.platform != "linux", reason="forks torch")),
        pytest.param(run_by_torchrun, marks=pytest.mark.slow),
    ],
    ids=["forked", "torchrun"],
)
def seen(request, tmp_path_factory):
    """What each of two processes saw."""
    folder = tmp_path_factory.mktemp("ranks")
    previous = os.environ.get("GLOO_SOCKET_IFNAME")
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    try:
        request.param(folder)
    finally:
        os.environ.pop("GLOO_SOCKET_IFNAME")
        if previous is not None:
            os.environ["GLOO_SOCKET_IFNAME"] = previous
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("nan")])
def test_two_processes_equal_one_on_the_joined_batch(seen, case):
    expected = train(case)
    for step, row in enumerate(expected):
        ranks = [one[case][step] for one in seen]
        if "counts" in CASES[case][0]:  # a per-sample weight: each process has its own half of the value
            assert sum(one["loss"] for one in ranks) / 2 == pytest.approx(row["loss"], abs=1e-6)
        for one in ranks:
            if "counts" not in CASES[case][0]:
                assert one["loss"] == pytest.approx(row["loss"], abs=1e-6)
            assert one["gradient"] == pytest.approx(row["gradient"], abs=1e-6)
            assert one["multipliers"] == pytest.approx(row["multipliers"], abs=1e-6)
    assert max(map(abs, expected[-1]["multipliers"])) > 1e-3


@pytest.mark.parametrize("case", ["nan", "nan, counts"])
def test_a_nan_on_one_process_freezes_the_multipliers_of_both(seen, case):
    for one in seen:
        rows = one[case]
        assert [row["bad"] for row in rows] == [-1, 1, 1]
        assert rows[0]["multipliers"] == rows[1]["multipliers"] == rows[2]["multipliers"]
        assert max(map(abs, rows[0]["multipliers"])) > 0


def test_the_metric_counts_the_samples_of_both_processes(seen):
    assert seen[0]["metric"] == seen[1]["metric"] == count()


@pytest.fixture
def group_of_one(tmp_path):
    """What ``torchrun --nproc-per-node 1`` sets up."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


# Bug found here: with a process group of one the base loss lost its gradient.
@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("nan")])
def test_a_process_group_of_one_equals_none(case, request):
    expected = train(case)
    request.getfixturevalue("group_of_one")
    for row, of_one in zip(expected, train(case), strict=True):
        for name in ("loss", "gradient", "multipliers"):
            assert of_one[name] == pytest.approx(row[name], rel=1e-10, abs=1e-12), name


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    write_down(sys.argv[1])
    # Gloo's threads may still hold Python objects, and on torch 2.13 abort an interpreter that is shutting down
    # ("terminate called without an active exception", 1 in 5 on a busy machine; pytorch/pytorch#179291).
    os._exit(0)
