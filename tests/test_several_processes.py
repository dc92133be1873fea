"""``fairpool run --nproc``: a study of several processes is the study of one, and ends as one."""

import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest
from small_study import (
    FAIRPOOL,
    TINY,
    assert_one_sentence,
    finish_cli,
    read_rows,
    run_cli,
    start_cli,
    wait_for,
    write_hospitals,
    write_manifest,
)
from study_evidence import assert_close, left_behind

from fairpool.bundle import find_bundle

pytestmark = pytest.mark.slow  # each command imports MONAI in every process

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1")


def launched(number):
    """How torchrun starts so many processes, which may be more than the machine has cores."""
    return [*TORCHRUN, "--nproc-per-node", number, "-m", "fairpool"]


def exact_bundle(folder, *, is_dropping=True):
    """The tuberculosis pipeline in double precision, without random transforms and without batch norm.

    Torch's SyncBatchNorm refuses the CPU, so that batch norm there is over a process's own share.
    """
    bundle = shutil.copytree(find_bundle("tuberculosis").folder, folder / "tuberculosis")
    shutil.copytree(bundle_methods(), bundle / "configs" / "methods")
    file = bundle / "configs" / "train.json"
    config = json.loads(file.read_text())
    config["initialize"].append("$torch.set_default_dtype(torch.float64)")
    config["network_def"]["_target_"] = "group_norm.resnet_by_group"
    config["train"]["random_transforms"] = []
    config["train"]["loading_transforms"].append(
        {"_target_": "CastToTyped", "keys": "image", "dtype": "$torch.float64"}
    )
    config["train"]["dataloader"]["drop_last"] = is_dropping
    file.write_text(json.dumps(config))
    return bundle


def bundle_methods():
    return find_bundle("tuberculosis").folder.parent / "methods"


def study(folder, bundle, output, *more, methods="unconstrained,fairalm", epochs=3, launcher=FAIRPOOL, nproc=1):
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        write_hospitals(folder, per_cell=13)
    options = ["--manifest", manifest, "--patient-column", "patient", "--seeds", 1, "--epochs", epochs]
    options += ["--methods", methods, "--output", folder / output, "--trust-config"]
    settings = [*TINY[:2], "batch_size=6", *more]
    if nproc > 2:  # fairpool itself would refuse more processes than cores
        launcher = launched(nproc)
    elif nproc > 1:
        settings += ["--nproc", nproc]
    return start_cli("run", bundle, *options, *settings, launcher=launcher, folder=folder)


@pytest.mark.parametrize(("number", "is_dropping"), [(2, True), (2, False), (3, False)])
def test_several_processes_leave_what_one_leaves(tmp_path, number, is_dropping):
    """Also with an uneven last batch: 34 images make five batches of six, and one of four."""
    bundle = exact_bundle(tmp_path, is_dropping=is_dropping)
    methods = "unconstrained,fairalm,fairalm_paper,fairalm_balanced,reweighted"
    one = finish_cli(study(tmp_path, bundle, "one", methods=methods))
    assert one.status == 0, one.err
    many = finish_cli(study(tmp_path, bundle, "many", methods=methods, nproc=number))
    assert many.status == 0, many.err
    assert number > 2 or many.err == ""
    expected, found = left_behind(tmp_path / "one"), left_behind(tmp_path / "many")
    assert_close(found, expected, 1e-6)
    run = "fairalm-seed0"
    assert found[run]["tags"]["processes"] == str(number)
    assert found[run]["tags"]["study"] == expected[run]["tags"]["study"]
    history = found[run]["history"]
    assert any(abs(value) > 1e-4 for name in history if "multiplier" in name for _, value in history[name])
    images = found[run]["predictions"]["row"]
    assert images.is_unique


def failing_bundle(folder, expression):
    """The pipeline with something that one process runs into while the others wait for it."""
    bundle = exact_bundle(folder)
    file = bundle / "configs" / "train.json"
    config = json.loads(file.read_text())
    config["initialize"].append(f"$torch.distributed.get_rank() == 1 and {expression}")
    file.write_text(json.dumps(config))
    return bundle


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("(_ for _ in ()).throw(ValueError('the scanner is on fire'))", "seed 0: the scanner is on fire"),
        ("__import__('os').kill(__import__('os').getpid(), 9)", "process 1 of the training was ended by the signal"),
    ],
    ids=["raises", "is killed"],
)
def test_a_process_that_fails_ends_all_with_one_sentence(tmp_path, expression, message):
    done = finish_cli(study(tmp_path, failing_bundle(tmp_path, expression), "out", "--nproc", 2))
    assert_one_sentence(done, 1)
    assert message in done.err
    assert not list(tmp_path.glob("**/result.json"))


def test_under_torchrun_alone_the_sentence_names_the_process(tmp_path):
    bundle = failing_bundle(tmp_path, "(_ for _ in ()).throw(ValueError('the scanner is on fire'))")
    done = finish_cli(study(tmp_path, bundle, "out", launcher=launched(2)))
    assert done.status != 0
    ours = [line for line in done.err.splitlines() if line.startswith("fairpool: ")]
    assert len(ours) == 1
    assert ours[0].startswith("fairpool: process 1: ")
    assert ours[0].endswith("seed 0: the scanner is on fire")


def test_torchrun_starts_the_same_study(tmp_path):
    done = finish_cli(study(tmp_path, "tuberculosis", "torchrun", methods="fairalm", launcher=launched(2)))
    assert done.status == 0, done.err
    again = finish_cli(study(tmp_path, "tuberculosis", "torchrun", methods="fairalm"))  # of one process: it is there
    assert again.status == 0, again.err
    assert "was finished" in again.out


def test_two_nodes_meet_at_torchruns_rendezvous(tmp_path):
    """Two agents with a process each; one folder stands for the file system that the nodes share."""
    write_hospitals(tmp_path, per_cell=13)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    launcher += ["--rdzv-id", "7", "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint, "--local-addr", "127.0.0.1"]
    launcher += ["-m", "fairpool"]
    nodes = [study(tmp_path, "tuberculosis", "out", methods="fairalm", launcher=launcher) for _ in range(2)]
    ends = [finish_cli(node) for node in nodes]
    assert [end.status for end in ends] == [0, 0], ends
    assert sorted("seed 0: test error" in end.out for end in ends) == [False, True]  # the first process alone talks
    assert left_behind(tmp_path / "out")["fairalm-seed0"]["tags"]["processes"] == "2"


def processes_below(folder):
    """Ids of the processes that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "cwd") == str(folder):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def states(folder):
    return list(folder.glob("*/*/state-*.pt"))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda sign: sign.name)
def test_ended_all_end_and_the_same_command_goes_on_bit_for_bit(tmp_path, sign):
    """The shipped pipeline with its batch norm, random transforms and averaged weights; the launcher is told."""
    more = ["--nproc", 2, "weight_averaging=0.5"]
    options = {"methods": "fairalm", "epochs": 30}
    assert finish_cli(study(tmp_path, "tuberculosis", "whole", *more, **options)).status == 0
    process = study(tmp_path, "tuberculosis", "cut", *more, **options)
    wait_for(lambda: states(tmp_path / "cut"), "state of a training")
    process.send_signal(sign)
    done = finish_cli(process)
    assert not list((tmp_path / "cut").glob("*/*/result.json")), "it ended before the signal came"
    if sign == signal.SIGKILL:
        assert done.status == -signal.SIGKILL
    else:
        assert done.status == 130
        assert done.err.strip() == "Interrupted; the same command continues."
    wait_for(lambda: not processes_below(tmp_path), "end of all processes")
    again = finish_cli(study(tmp_path, "tuberculosis", "cut", *more, **options))
    assert again.status == 0, again.err
    assert "the training goes on after epoch" in again.out
    assert_close(left_behind(tmp_path / "cut"), left_behind(tmp_path / "whole"), 0)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 3)])
def test_another_number_of_processes_goes_on_and_says_so(tmp_path, before, after):
    """Where there is no chance but the order of the images, it even ends the same."""
    bundle, options = exact_bundle(tmp_path), {"methods": "fairalm", "epochs": 30}
    assert finish_cli(study(tmp_path, bundle, "whole", **options)).status == 0
    process = study(tmp_path, bundle, "cut", nproc=before, **options)
    wait_for(lambda: states(tmp_path / "cut"), "state of a training")
    process.send_signal(signal.SIGTERM)
    finish_cli(process)
    assert states(tmp_path / "cut"), "it ended before the signal came"
    again = finish_cli(study(tmp_path, bundle, "cut", nproc=after, **options))
    assert again.status == 0, again.err
    said = " ".join(again.out.split())
    assert f"the saved state is of {before} process{'es' if before > 1 else ''} and this training has {after}" in said
    found = left_behind(tmp_path / "cut")
    for run in found.values():  # of an epoch that was trained again, points that differ in the last digits stand twice
        run["history"] = {name: list(map(list, dict(points).items())) for name, points in run["history"].items()}
    assert_close(found, left_behind(tmp_path / "whole"), 1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nproc", 2000, "batch_size=2000"], "--nproc is 2000, and this machine has"),
        (["--nproc", 3, "batch_size=8"], "batch_size is 8, that of the whole, and cannot be shared evenly by 3"),
        (["--nproc", 2, "--methods", "none"], 'has no method "none"'),
        (["--nproc", 2, "device=cpu"], "each has a device of its own: leave out device="),
    ],
)
def test_what_cannot_be_shared_is_one_sentence(tmp_path, options, message):
    manifest = write_hospitals(tmp_path)
    done = run_cli("run", "tuberculosis", "--manifest", manifest, "--output", tmp_path / "out", *options)
    assert_one_sentence(done, 2)
    assert message in done.err


def test_fewer_images_than_processes_are_one_sentence(tmp_path):
    """One image to validate, two processes."""
    manifest = write_hospitals(tmp_path, per_cell=12)
    rows = [[*row, "train" if number % 12 < 10 else "test"] for number, row in enumerate(read_rows(manifest))]
    rows[0][-1] = "val"
    write_manifest(manifest, rows, ("image", "label", "site", "patient", "split"))
    options = ["--split-column", "split", "--nproc", 2]
    done = finish_cli(study(tmp_path, "tuberculosis", "out", *options, epochs=1))
    assert_one_sentence(done, 1)
    assert "1 images to evaluate cannot be shared by 2 processes: start fewer" in done.err
