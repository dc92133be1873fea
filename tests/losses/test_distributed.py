"""Two or three processes equal one on the joined batch: losses, averaged gradients, multipliers, in double precision.

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
from torch.distributed.nn.functional import all_reduce

from fairpool import DemographicParity, EqualizedOdds, FairALMLoss, PredictiveParity
from fairpool.losses import ReweightedLoss
from fairpool.losses.joined import joined_loss

COUNTS = [[6, 3, 4, 2], [2, 5, 3, 7]]
# Options of the loss, and the sizes of two processes' batches; a third has as many as the first.
CASES = {
    "linear": ({}, (5, 9)),
    "quadratic": ({"penalty": "quadratic"}, (5, 9)),
    "hard": ({"dual_rates": "hard", "dual_step": 0.5, "max_multiplier": 0.4}, (3, 10)),
    "cross_entropy": ({"surrogate": "cross_entropy", "penalty": "quadratic", "growth": 1.5}, (2, 7)),
    "counts": ({"counts": COUNTS, "dual_step": 0.5}, (8, 8)),
    "reweight": ({"counts": COUNTS, "reweight": True, "dual_rates": "hard"}, (6, 6)),
    "counts, uneven": ({"counts": COUNTS, "dual_step": 0.5}, (3, 10)),
    "reweight, uneven": ({"counts": COUNTS, "reweight": True, "dual_rates": "hard"}, (1, 6)),
    "predictive parity, counts, uneven": ({"counts": COUNTS, "constraint": PredictiveParity()}, (6, 9)),
    "unconstrained, uneven": (None, (3, 10)),
    "reweighted loss, uneven": (None, (3, 10)),
    "lonely": ({}, (4, 4)),
    "accumulate": ({"penalty": "quadratic"}, (4, 8)),
    "accumulate, counts": ({"counts": COUNTS, "dual_step": 0.5}, (4, 4)),
    "batch norm": ({"penalty": "quadratic"}, (5, 9)),
    "batch norm, counts": ({"counts": COUNTS, "reweight": True}, (5, 9)),
    "demographic parity": ({"constraint": DemographicParity(), "penalty": "quadratic", "dual_rates": "hard"}, (5, 9)),
    "predictive parity": ({"constraint": PredictiveParity()}, (6, 9)),
    "two attributes": ({"constraint": [EqualizedOdds(), PredictiveParity()], "penalty": "quadratic"}, (5, 9)),
    "nan": ({}, (5, 9)),
    "nan, counts": ({"counts": COUNTS, "dual_rates": "hard"}, (6, 6)),  # neither loss nor rates tell the other process
}
STEPS = 3


def batches_of(case, number):
    """For each step the processes' batches. Group 0 is on the first process alone, group 3 on the others."""
    generator = torch.Generator().manual_seed(sorted(CASES).index(case))
    for step in range(STEPS):
        parts = []
        for rank, size in enumerate([*CASES[case][1], CASES[case][1][0]][:number]):
            images = torch.randn(size, 4, generator=generator, dtype=torch.float64)
            labels = torch.randint(0, 2, (size,), generator=generator)
            groups = torch.randint(-1 if rank == 0 else 1, 3 if rank == 0 else 4, (size,), generator=generator)
            if case == "lonely":  # a single group on each process, comparable only together; none in the last step
                groups = torch.full_like(groups, 2 * rank % 4 if step < STEPS - 1 else 1)
            if case.startswith("nan") and step == 1 and rank == 1:
                images[0] = torch.nan
            parts.append((images, labels, groups))
        yield parts


def make_loss(case):
    options, _ = CASES[case]
    if case.startswith("unconstrained"):
        return joined_loss(nn.CrossEntropyLoss())
    if case.startswith("reweighted"):
        return ReweightedLoss(nn.CrossEntropyLoss(reduction="none"), 4, torch.tensor(COUNTS)).double()
    base = nn.CrossEntropyLoss(reduction="none" if options.get("reweight") else "mean")
    options = {"eta": 0.25, "constraint": EqualizedOdds()} | options
    options |= {"counts": torch.tensor(options["counts"])} if "counts" in options else {}
    number_of_attributes = len(options["constraint"]) if isinstance(options["constraint"], list) else 0
    return FairALMLoss(base, num_groups=[4] * number_of_attributes or 4, **options).double()


class JoinedNorm(nn.Module):
    """What SyncBatchNorm computes, which torch has for GPUs alone: batch norm over the samples of all processes."""

    def forward(self, images):
        """Gradients flow through the sums to the samples of every process."""
        sums = torch.cat([images.new_full((1,), len(images)), images.sum(dim=0), images.square().sum(dim=0)])
        if torch.distributed.is_initialized():
            sums = all_reduce(sums)
        size, mean, squares = sums[0], sums[1:5] / sums[0], sums[5:] / sums[0]
        assert size >= len(images)
        return (images - mean) / (squares - mean.square() + 1e-5).sqrt()


def make_network(case):
    network = nn.Linear(4, 2).double()
    with torch.no_grad():
        network.weight.copy_(torch.linspace(-1, 1, 8).view(2, 4))
        network.bias.copy_(torch.tensor([0.1, -0.2]))
    if not case.startswith("batch norm"):
        return network
    first = nn.Linear(4, 4).double()
    with torch.no_grad():
        first.weight.copy_(torch.linspace(-1, 1, 16).view(4, 4).cos())
    return nn.Sequential(first, JoinedNorm(), network)


def train(case, number, rank=None):
    """Every step's loss, gradient and multipliers, and where it went bad; ``rank`` None joins the batches."""
    torch.manual_seed(1)
    network = make_network(case)
    model = network if rank is None else nn.parallel.DistributedDataParallel(network)
    loss = make_loss(case)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    rows = []
    for step, parts in enumerate(batches_of(case, number)):
        images, labels, groups = (
            parts[rank] if rank is not None else (torch.cat(column) for column in zip(*parts, strict=True))
        )
        attributes = (groups, (groups - 1).clamp(min=-1)) if case == "two attributes" else groups
        more = () if case.startswith("unconstrained") else (attributes,)
        value = loss(model(images), labels, *more)
        value.backward()
        row = {"loss": value.item(), "gradient": gradient_of(network)}
        if not case.startswith("accumulate") or step == STEPS - 1:
            if not case.startswith("nan"):
                optimizer.step()
            if more:
                loss.update_multipliers(iteration=step)
                loss.end_epoch()
        optimizer.zero_grad()
        row["multipliers"] = loss.multipliers.flatten().tolist() if hasattr(loss, "multipliers") else []
        rows.append(row | {"bad": int(getattr(loss, "nonfinite_iteration", -1))})
    return rows


def gradient_of(network):
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()]).tolist()


def count(number, rank=None):
    """What the metric counts over all processes."""
    from fairpool.metrics.group_metric import GroupMetric

    metric = GroupMetric(4)
    for parts in batches_of("linear", number):
        for images, labels, groups in parts if rank is None else [parts[rank]]:
            metric(images[:, :2], labels, groups)
    report = metric.aggregate()
    return {"samples": report.samples.tolist(), "deo": report.deo, "fnr_of": report.fnr_of.flatten().tolist()}


def write_down(folder):
    """One process's part: train every case and write a file."""
    rank = torch.distributed.get_rank()
    number = torch.distributed.get_world_size()
    seen = {case: train(case, number, rank) for case in CASES} | {"metric": count(number, rank)}
    with open(os.path.join(folder, f"{rank}.json"), "w") as file:
        json.dump(seen, file)
    torch.distributed.destroy_process_group()


def forked(rank, folder, number):
    store = torch.distributed.FileStore(os.path.join(folder, "store"), number)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=number)
    write_down(folder)


def run_forked(folder, number):
    """Copies of this process: a second where torchrun's three fresh interpreters take ten to twenty."""
    import_module("torch._dynamo")  # what both would import, the metric's MONAI above all, is imported once
    import_module("fairpool.metrics.group_metric")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=forked, args=(rank, str(folder), number)) for rank in range(number)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        is_stuck = process.is_alive()
        process.kill()
        assert not is_stuck
    assert [process.exitcode for process in processes] == [0] * number


def run_by_torchrun(folder, number):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    subprocess.run(
        [*launcher, "--nproc-per-node", str(number), os.path.abspath(__file__), str(folder)],
        check=True,
        timeout=180,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
    )


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((run_forked, 2), marks=pytest.mark.skipif(sys.platform != "linux", reason="forks torch")),
        pytest.param((run_by_torchrun, 2), marks=pytest.mark.slow),
        pytest.param((run_by_torchrun, 3), marks=pytest.mark.slow),
    ],
    ids=["two forked", "two by torchrun", "three by torchrun"],
)
def seen(request, tmp_path_factory):
    """What each process saw."""
    run, number = request.param
    folder = tmp_path_factory.mktemp("ranks")
    previous = os.environ.get("GLOO_SOCKET_IFNAME")
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    try:
        run(folder, number)
    finally:
        os.environ.pop("GLOO_SOCKET_IFNAME")
        if previous is not None:
            os.environ["GLOO_SOCKET_IFNAME"] = previous
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(number)]


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("nan")])
def test_several_processes_equal_one_on_the_joined_batch(seen, case):
    expected = train(case, len(seen))
    for step, row in enumerate(expected):
        for one in (one[case][step] for one in seen):
            assert one["loss"] == pytest.approx(row["loss"], abs=1e-6)
            assert one["gradient"] == pytest.approx(row["gradient"], abs=1e-6)
            assert one["multipliers"] == pytest.approx(row["multipliers"], abs=1e-6)
    if CASES[case][0] is not None:
        assert max(map(abs, expected[-1]["multipliers"])) > 1e-3


@pytest.mark.parametrize("case", ["nan", "nan, counts"])
def test_a_nan_on_one_process_freezes_the_multipliers_of_all(seen, case):
    for one in seen:
        rows = one[case]
        assert [row["bad"] for row in rows] == [-1, 1, 1]
        assert rows[0]["multipliers"] == rows[1]["multipliers"] == rows[2]["multipliers"]
        assert max(map(abs, rows[0]["multipliers"])) > 0


def test_the_metric_counts_the_samples_of_all_processes(seen):
    assert all(one["metric"] == count(len(seen)) for one in seen)


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
    expected = train(case, 2)
    request.getfixturevalue("group_of_one")
    for row, of_one in zip(expected, train(case, 2), strict=True):
        for name in ("loss", "gradient", "multipliers"):
            assert of_one[name] == pytest.approx(row[name], rel=1e-10, abs=1e-12), name


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    write_down(sys.argv[1])
    # Gloo's threads may still hold Python objects, and on torch 2.13 abort an interpreter that is shutting down
    # ("terminate called without an active exception", 1 in 5 on a busy machine; pytorch/pytorch#179291).
    os._exit(0)
