"""A study of seconds: two hospitals' images on disk, the command line, and what it left behind."""

import csv
import io
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
from urllib.request import urlopen

import numpy as np
from PIL import Image

SITES = ("Genève", "bern")
SLUGS = ("geneve", "bern")
TINY = ("image_size=32", "block_inplanes=[4,8,8,8]", "batch_size=8")
FAIRPOOL = (sys.executable, "-m", "fairpool")


def write_hospitals(folder, *, sites=SITES, per_cell=12, name="manifest.csv", seed=0):
    """64-pixel PNG files of every (site, label), positives with a bright square, and their manifest."""
    rng = np.random.default_rng(seed)
    (folder / "scans").mkdir(parents=True, exist_ok=True)
    rows = []
    for site in sites:
        for label in (0, 1):
            for _ in range(per_cell):
                pixels = rng.integers(0, 120, (64, 64), dtype=np.uint8)
                pixels[20:40, 20:40] += 100 * label
                number = 1000 * seed + len(rows)
                image = Path("scans") / f"mueller-{number:05d}.png"
                Image.fromarray(pixels).save(folder / image)
                rows.append([str(image), label, site, f"PATIENT-{number:05d}"])
    return write_manifest(folder / name, rows)


def write_manifest(path, rows, header=("image", "label", "site", "patient")):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read_rows(manifest):
    """The manifest's rows without its header."""
    with Path(manifest).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def run_cli(*arguments):
    """The command line in this process, as its own ``main``: status, stdout and stderr."""
    from fairpool.cli import main

    out, err = io.StringIO(), io.StringIO()
    with (
        warnings.catch_warnings(),
        mock.patch.object(sys, "argv", ["fairpool", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
    return SimpleNamespace(status=status, out=out.getvalue(), err=err.getvalue())


def start_cli(*arguments, launcher=FAIRPOOL, folder=None):
    """The command line in processes of its own, a group, at work in a folder with a cache of images of its own."""
    here = Path(__file__).parent
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    environment |= {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache")} if folder else {}
    return subprocess.Popen(
        list(map(str, [*launcher, *arguments])),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish_cli(process, seconds=300):
    """What `start_cli` started, at its end: status, stdout and stderr."""
    out, err = process.communicate(timeout=seconds)
    return SimpleNamespace(status=process.returncode, out=out, err=err)


def assert_one_sentence(done, status):
    """The command failed with this status and one line on stderr that is fairpool's own."""
    assert done.status == status, done.err
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("fairpool: ")
    assert len(lines[0]) > len("fairpool: ") + 10
    assert "Traceback" not in done.out


def run_study(folder, store):
    manifest = write_hospitals(folder)
    arguments = ["run", "tuberculosis", "--manifest", manifest, "--patient-column", "patient", "--seeds", 2]
    arguments += ["--epochs", 2, "--output", store.folder, *TINY]
    done = run_cli(*arguments)
    assert done.status == 0, done.err
    experiment = store.client.get_experiment_by_name("tuberculosis")
    runs = store.client.search_runs([experiment.experiment_id])
    summaries = [run for run in runs if run.data.tags["fairpool.kind"] == "summary"]
    study = summaries[0].data.tags["study"]
    return SimpleNamespace(
        manifest=manifest,
        arguments=arguments,
        done=done,
        store=store,
        client=store.client,
        experiment_id=experiment.experiment_id,
        runs={run.info.run_name: run for run in runs if run.data.tags["fairpool.kind"] == "run"},
        summaries=summaries,
        study=study,
        folder=store.folder / study,
    )


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(condition, what, seconds=60):
    """Poll until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} within {seconds} s"
        time.sleep(0.1)


def answers(url):
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def end_group(process):
    """Kill a process that leads a group, with its children."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def mlflow_server(folder, port=None):
    """A real server on loopback, again on the same port after it was killed; yields its address, port and process."""
    port = port or free_port()
    store = [
        "--backend-store-uri",
        f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination",
        folder / "artifacts",
    ]
    where = ["--host", "127.0.0.1", "--port", port, "--workers", 1]
    command = [sys.executable, "-m", "mlflow", "server", *store, *where]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, cwd=folder, start_new_session=True)
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), "answer of the MLflow server")
            yield SimpleNamespace(uri=f"http://127.0.0.1:{port}", port=port, process=process)
        finally:
            end_group(process)
