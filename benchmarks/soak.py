"""Does a long training grow? The demo's trainer, with the tracking server killed and started again every minute.

    python benchmarks/soak.py [--epochs 200] [--restart 60] [--json benchmarks/results/soak.json]

Trains in this process on the synthetic hospitals and notes, after each epoch, resident memory and open descriptors. At
the end it says whether every metric of every epoch is in the server's store, once.
"""

import argparse
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

from written_results import Row, write_results

from fairpool import interruption
from fairpool.commands.outcome import quieten
from fairpool.commands.study_data import overlays_and_places, study_of, with_synthetic_data
from fairpool.experiment import run_study
from fairpool.study import RunResult


class Server:
    """A real MLflow server on loopback, killed and started again at an interval."""

    def __init__(self, folder: Path, seconds: float) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.folder, self.seconds, self.restarts = folder, seconds, 0
        self._is_ending = threading.Event()
        self.start()
        self._thread = threading.Thread(target=self._restart_always, daemon=True)
        self._thread.start()

    @property
    def uri(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it on its port."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)

    def kill(self) -> None:
        """End it as a crash would; one that has ended stays so."""
        if self.process.returncode is not None:
            return
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self) -> None:
        """Return when it answers."""
        for _ in range(600):
            try:
                with urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError("the server does not start")

    def stay(self) -> None:
        """Kill it no more, and return when it answers."""
        self._is_ending.set()
        self._thread.join()
        self.wait()

    def end(self) -> None:
        """Kill it for good."""
        self._is_ending.set()
        self._thread.join()
        self.kill()

    def _restart_always(self) -> None:
        while not self._is_ending.wait(self.seconds):
            self.kill()
            time.sleep(2)
            self.start()
            self.restarts += 1


class Watcher:
    """Notes memory and descriptors after each epoch; otherwise silent."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def note(self, sentence: str) -> None:
        """Print what the study says."""
        print(f"note: {sentence}", flush=True)

    def images(self, done: int, total: int) -> None:
        """Silent."""

    def drawn(self, done: int, total: int) -> None:
        """Silent."""

    def run_started(self, number: int, total: int, method: str, seed: int, epochs: int) -> None:
        """Silent."""

    def run_finished(self, result: RunResult, *, was_there: bool) -> None:
        """Silent."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Note what the process holds now."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        row = {
            "epoch": epoch,
            "resident_mib": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
            "descriptors": len(os.listdir("/proc/self/fd")),
            "threads": threading.active_count(),
        }
        self.rows.append(row)
        if epoch % 10 == 0:
            print(row, flush=True)


def points(uri: str, epochs: int) -> dict[str, str | int]:
    """How many metrics arrived; of those of each epoch how many lack one, and of all how many have a step twice."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tuberculosis")
    assert experiment is not None, "the study makes it"
    (run,) = client.search_runs([experiment.experiment_id], "tags.\"fairpool.kind\" = 'run'")
    always = ("train/loss", "val/error", "val/balanced_error", "eta")
    steps = {name: [point.step for point in client.get_metric_history(run.info.run_id, name)] for name in always}
    doubled = [
        name
        for name in run.data.metrics
        if len({point.step for point in client.get_metric_history(run.info.run_id, name)})
        != len(client.get_metric_history(run.info.run_id, name))
    ]
    return {
        "status": run.info.status,
        "metrics": len(run.data.metrics),
        "metrics_of_each_epoch": len(steps),
        "metrics_with_a_gap": sum(found != list(range(1, epochs + 1)) for found in steps.values()),
        "metrics_with_a_double": len(doubled),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--restart", type=float, default=60, help="seconds between two kills of the server")
    parser.add_argument("--set", nargs="*", default=[], help="configuration values, KEY=VALUE")
    parser.add_argument("--json", help="write the results here")
    options = parser.parse_args()
    if options.json and options.set:
        parser.error("--json is for the settings as they are; leave --set out, or --json.")
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "5"
    quieten()
    interruption.install()  # ended by a signal, it leaves no server behind
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as at_exit:
        server = Server(Path(folder), options.restart)
        at_exit.callback(server.end)
        server.wait()
        overlays, places = overlays_and_places(None, None, None, {})
        study, _ = study_of(
            "tuberculosis",
            ["fairalm"],
            settings=options.set,
            epochs=options.epochs,
            overlays=overlays,
            places=places,
            constraint="equal_opportunity",
            seeds=1,
            tracking_uri=server.uri,
            output=Path(folder) / "out",
            trust_config=False,
        )
        watcher = Watcher()
        study = with_synthetic_data(study, watcher)  # type: ignore[arg-type]  # it draws as to a terminal
        begin = time.monotonic()
        run_study(study, watcher)
        seconds = time.monotonic() - begin
        server.stay()
        from fairpool.tracking.sync import sync_folder

        sent = sync_folder(Path(folder) / "out", server.uri)
        arrived = points(server.uri, options.epochs)
    quarter, last = watcher.rows[max(len(watcher.rows) // 4, 1) - 1], watcher.rows[-1]
    summary: Row = {
        "seconds": round(seconds),
        "restarts": server.restarts,
        "growth_percent": round(100 * (last["resident_mib"] / quarter["resident_mib"] - 1), 2),
        "fewest_descriptors": min(row["descriptors"] for row in watcher.rows),
        "most_descriptors": max(row["descriptors"] for row in watcher.rows),
        "entries_sent_at_the_end": sent.entries,
        **arrived,
    }
    rows = [row for row in watcher.rows if row["epoch"] % 50 == 0 or row in (watcher.rows[0], quarter, last)]
    print(json.dumps(summary, indent=1))
    if options.json:
        write_results(
            options.json,
            [*rows, summary],
            command=f"python benchmarks/soak.py --epochs {options.epochs} --restart {options.restart:g}",
            packages=["fairpool", "torch", "monai", "pytorch-ignite", "mlflow"],
            conditions=f"the demo's trainer, {options.epochs} epochs on the synthetic hospitals, method fairalm; the "
            f"tracking server on loopback is killed every {options.restart:g} s and away for 2 s; after each epoch a "
            "garbage collection",
        )


if __name__ == "__main__":
    main()
