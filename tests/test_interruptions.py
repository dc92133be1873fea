"""A study killed at any moment and started again ends as if nothing had happened, on disk and in MLflow."""

import os
import random
import signal
import subprocess
import time

import pytest
from small_study import TINY, end_group, finish_cli, start_cli, write_hospitals
from study_evidence import assert_close, left_behind

EPOCHS = 12
METHODS = ("unconstrained", "fairalm")


def command(manifest, output):
    settings = ["--methods", ",".join(METHODS), "--seeds", 1, "--epochs", EPOCHS, *TINY, "weight_averaging=0.3"]
    data = ["--manifest", manifest, "--patient-column", "patient", "--output", output]
    return ["run", "tuberculosis", *data, *settings]


def finish(process):
    done = finish_cli(process, 600)
    assert done.status == 0, done.out + done.err
    return done.out


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    manifest = write_hospitals(folder)
    begin = time.monotonic()
    finish(start_cli(*command(manifest, folder / "out"), folder=folder))
    return left_behind(folder / "out"), time.monotonic() - begin


def kill_at(moments, folder, sign):
    """Start the study, kill it at each of these moments of its own time, and let it end; returns its last output."""
    manifest = write_hospitals(folder)
    arguments = command(manifest, folder / "out")
    killed = 0
    for moment in moments:
        process = start_cli(*arguments, folder=folder)
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            killed += 1
            if sign == signal.SIGKILL:
                end_group(process)
            else:
                os.killpg(process.pid, sign)
        process.communicate(timeout=120)
    return finish(start_cli(*arguments, folder=folder)), killed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_study_killed_at_random_moments_ends_bit_identical(uninterrupted, tmp_path, seed):
    """Five moments a study, from its imports on: twenty in all, of SIGKILL and SIGTERM; later ones find it further."""
    whole, seconds = uninterrupted
    chance = random.Random(seed)
    moments = [chance.uniform(0.05, 0.6) * seconds for _ in range(5)]
    out, killed = kill_at(moments, tmp_path, signal.SIGKILL if seed % 2 else signal.SIGTERM)
    assert killed >= 4, (moments, out)
    assert_close(left_behind(tmp_path / "out"), whole)
