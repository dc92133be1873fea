"""Evidence reaches real stores without training waiting for them, nothing twice and nothing lost."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient
from small_study import end_group, free_port, mlflow_server

from fairpool.tracking import log_metrics, log_params, open_experiment
from fairpool.tracking.client import SpoolingClient
from fairpool.tracking.spool import Spool
from fairpool.tracking.store import default_tracking_uri
from fairpool.tracking.sync import sync_folder


def log_epochs(client, run_id, first, last):
    for epoch in range(first, last):
        log_metrics(client, run_id, {"val/error": epoch / 10, "val/deo": 0.5}, epoch)


def steps_of(uri, run_id, name="val/error"):
    return [point.step for point in MlflowClient(uri).get_metric_history(run_id, name)]


def one_run(uri, experiment="e"):
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return run


def test_everything_arrives_in_a_sqlite_store(tmp_path):
    uri = default_tracking_uri(tmp_path)
    with SpoolingClient(uri, "e") as client:
        run_id = client.open_run(tmp_path / "r", "fairalm-seed0", {"study": "s"})
        log_params(client, run_id, {"eta": 0.1})
        log_epochs(client, run_id, 1, 4)
        (tmp_path / "r/p.csv").write_text("1")
        client.log_artifact(run_id, tmp_path / "r/p.csv")
        client.log_text(run_id, "2", "confusion/test.csv")
        client.set_terminated(run_id)
        assert client.flush(30) == 0
        mlflow_id = client.mlflow_run_id(run_id)
    run = one_run(uri)
    assert run.info.run_id == mlflow_id
    assert (run.info.run_name, run.info.status) == ("fairalm-seed0", "FINISHED")
    assert run.data.params == {"eta": "0.1"}
    assert run.data.tags["study"] == "s"
    assert steps_of(uri, mlflow_id) == [1, 2, 3]
    names = {file.path for file in MlflowClient(uri).list_artifacts(mlflow_id)}
    assert names == {"p.csv", "confusion"}


def test_a_run_goes_on_as_the_same_run_without_a_doubled_point(tmp_path):
    uri = default_tracking_uri(tmp_path)
    for first, last, status in ((1, 4, "KILLED"), (3, 6, "FINISHED")):
        with SpoolingClient(uri, "e") as client:
            run_id = client.open_run(tmp_path / "r", "r", {})
            client.set_status(run_id, "RUNNING")
            log_params(client, run_id, {"eta": 0.1})
            log_epochs(client, run_id, first, last)
            client.set_terminated(run_id, status)
            assert client.flush(30) == 0
    run = one_run(uri)
    assert run.info.status == "FINISHED"
    assert steps_of(uri, run.info.run_id) == [1, 2, 3, 4, 5]


def test_replay_after_a_lost_confirmation_doubles_nothing(tmp_path):
    uri = default_tracking_uri(tmp_path)
    with SpoolingClient(uri, "e") as client:
        run_id = client.open_run(tmp_path / "r", "r", {})
        log_epochs(client, run_id, 1, 4)
        client.set_terminated(run_id)
        assert client.flush(30) == 0
    (tmp_path / "r/tracking-sent.json").unlink()
    done = sync_folder(tmp_path)
    assert (done.runs, done.entries) == (1, 5)
    assert steps_of(uri, one_run(uri).info.run_id) == [1, 2, 3]
    assert sync_folder(tmp_path).runs == 0


@pytest.mark.slow
def test_a_server_that_dies_and_returns_gets_everything_while_training_does_not_wait(tmp_path):
    notes = []
    with mlflow_server(tmp_path) as server:
        client = SpoolingClient(server.uri, "e", notes.append)
        client.await_store(30)
        run_id = client.open_run(tmp_path / "r", "r", {})
        log_epochs(client, run_id, 1, 5)
        assert client.flush(30) == 0
        end_group(server.process)
        start = time.monotonic()
        for epoch in range(5, 105):
            log_epochs(client, run_id, epoch, epoch + 1)
        assert time.monotonic() - start < 5
        assert client.flush(10) > 0
    assert len(notes) == 1
    assert "Training goes on" in notes[0]
    with mlflow_server(tmp_path, server.port):
        client.set_terminated(run_id)
        assert client.flush(30) == 0
        assert client.close() == 0
        run = one_run(server.uri)
        assert run.info.status == "FINISHED"
        assert steps_of(server.uri, run.info.run_id) == list(range(1, 105))
    assert notes[1:] == ["the tracking store is back, and has all evidence so far."]


def test_a_server_away_from_the_start_gets_everything_by_sync(tmp_path):
    uri = f"http://127.0.0.1:{free_port()}"
    notes = []
    with SpoolingClient(uri, "e", notes.append) as client:
        client.await_store(30)
        run_id = client.open_run(tmp_path / "out/r", "r", {})
        log_epochs(client, run_id, 1, 4)
        client.set_terminated(run_id)
        assert client.mlflow_run_id(run_id) is None
        assert client.close(1) > 0
    assert "does not answer" in notes[0]
    assert "does not answer" in str(sync_folder(tmp_path / "out").failure)
    other = default_tracking_uri(tmp_path)
    assert sync_folder(tmp_path / "out", other).runs == 1
    assert steps_of(other, one_run(other).info.run_id) == [1, 2, 3]


def test_a_server_that_accepts_and_never_answers_delays_nobody(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        client = SpoolingClient(f"http://127.0.0.1:{silent.getsockname()[1]}", "e")
        client.await_store(1)
        run_id = client.open_run(tmp_path / "r", "r", {})
        log_epochs(client, run_id, 1, 50)
        assert client.close(1) > 0
        assert time.monotonic() - start < 6


@pytest.mark.slow
def test_a_server_that_stands_still_delays_nobody(tmp_path):
    with mlflow_server(tmp_path) as server:
        client = SpoolingClient(server.uri, "e")
        run_id = client.open_run(tmp_path / "r", "r", {})
        log_epochs(client, run_id, 1, 2)
        assert client.flush(30) == 0
        os.killpg(server.process.pid, signal.SIGSTOP)
        start = time.monotonic()
        log_epochs(client, run_id, 2, 20)
        assert client.flush(1) > 0
        assert time.monotonic() - start < 4
        os.killpg(server.process.pid, signal.SIGCONT)
        assert client.flush(40) == 0
        assert client.close() == 0
        assert steps_of(server.uri, one_run(server.uri).info.run_id) == list(range(1, 20))


def test_what_mlflow_refuses_is_told_and_holds_up_nothing(tmp_path):
    notes = []
    uri = default_tracking_uri(tmp_path)
    with SpoolingClient(uri, "e", notes.append) as client:
        run_id = client.open_run(tmp_path / "r", "r", {})
        log_metrics(client, run_id, {"val/error": 0.1}, 1)
        log_metrics(client, run_id, {"no(t": 0.1}, 2)
        log_metrics(client, run_id, {"val/error": 0.3}, 3)
        assert client.flush(30) == 0
    assert len(notes) == 1
    assert "MLflow refuses metrics" in notes[0]
    assert steps_of(uri, one_run(uri).info.run_id) == [1, 3]


def test_a_deleted_experiment_is_refused_before_anything_is_trained(tmp_path):
    uri = default_tracking_uri(tmp_path)
    client, experiment_id = open_experiment(uri, "e")
    client.delete_experiment(experiment_id)
    spooling = SpoolingClient(uri, "e")
    with pytest.raises(ConnectionError, match="was deleted in MLflow"):
        spooling.await_store(30)


def test_a_folder_is_no_store():
    with pytest.raises(ConnectionError, match="is a folder"):
        SpoolingClient("file:///x", "e")


def test_a_password_is_not_written_to_disk(tmp_path):
    with SpoolingClient("http://me:secret@127.0.0.1:9", "e") as client:
        client.open_run(tmp_path / "r", "r", {})
        client.close(0.1)
    assert not any(b"secret" in file.read_bytes() for file in Path(tmp_path).rglob("*") if file.is_file())


def test_two_processes_are_not_at_work_on_one_run(tmp_path, monkeypatch):
    monkeypatch.setattr("fairpool.tracking.spool._PATIENCE", 0.1)
    uri = default_tracking_uri(tmp_path)
    with SpoolingClient(uri, "e") as first, SpoolingClient(uri, "e") as second:
        first.open_run(tmp_path / "r", "r", {})
        with pytest.raises(ConnectionError, match="another process is at work"):
            second.open_run(tmp_path / "r", "r", {})


def test_the_example_of_the_page_runs_in_a_fresh_process(tmp_path):
    """Bug found here: two threads imported MLflow at once, and one saw half of it."""
    page = Path(__file__).parents[2] / "docs" / "how-to" / "interrupted-runs.md"
    (code,) = [
        block for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) if "Spooling" in block
    ]
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    assert steps_of(default_tracking_uri(tmp_path / "output"), one_run_id(tmp_path / "output", "my experiment")) == [1]


def one_run_id(output, experiment):
    return one_run(default_tracking_uri(output), experiment).info.run_id


def test_a_run_that_is_deleted_and_restored_lacks_nothing(tmp_path):
    uri, notes = default_tracking_uri(tmp_path), []
    with SpoolingClient(uri, "e", notes.append) as client:
        run_id = client.open_run(tmp_path / "out/r", "r", {})
        log_epochs(client, run_id, 1, 3)
        assert client.flush(30) == 0
        MlflowClient(uri).delete_run(client.mlflow_run_id(run_id))
        log_epochs(client, run_id, 3, 6)
        assert client.flush(5) > 0
        MlflowClient(uri).restore_run(client.mlflow_run_id(run_id))
        assert client.flush(30) == 0
    assert steps_of(uri, one_run(uri).info.run_id) == [1, 2, 3, 4, 5]
    assert len(notes) == 2


def test_a_store_that_was_made_anew_gets_the_whole_run(tmp_path):
    first, second = default_tracking_uri(tmp_path / "a"), default_tracking_uri(tmp_path / "b")
    for uri, (begin, end) in ((first, (1, 3)), (second, (3, 5))):
        with SpoolingClient(uri, "e") as client:
            run_id = client.open_run(tmp_path / "out/r", "r", {})
            log_epochs(client, run_id, begin, end)
            assert client.flush(30) == 0
    assert steps_of(second, one_run(second).info.run_id) == [1, 2, 3, 4]
    third = default_tracking_uri(tmp_path / "c")
    assert sync_folder(tmp_path / "out", third).runs == 1
    assert steps_of(third, one_run(third).info.run_id) == [1, 2, 3, 4]


def test_an_empty_double_of_a_run_is_removed_at_its_end(tmp_path):
    """As a call whose answer was lost leaves it: MLflow's client then makes the run again."""
    uri = default_tracking_uri(tmp_path)
    with SpoolingClient(uri, "e") as client:
        run_id = client.open_run(tmp_path / "r", "r", {})
        log_epochs(client, run_id, 1, 3)
        assert client.flush(30) == 0
        other, experiment_id = open_experiment(uri, "e")
        other.create_run(experiment_id, tags={"fairpool.key": run_id})
        client.set_terminated(run_id)
        assert client.flush(30) == 0
        assert one_run(uri).info.run_id == client.mlflow_run_id(run_id)


def test_one_run_that_cannot_be_sent_holds_up_no_other(tmp_path):
    uri, notes = default_tracking_uri(tmp_path), []
    with SpoolingClient(uri, "e", notes.append) as client:
        first, second = (client.open_run(tmp_path / "out" / name, name, {}) for name in "ab")
        log_epochs(client, first, 1, 2)
        log_epochs(client, second, 1, 2)
        assert client.flush(30) == 0
        gone = client.mlflow_run_id(first)
        MlflowClient(uri).delete_run(gone)
        log_epochs(client, first, 2, 3)
        log_epochs(client, second, 2, 3)
        assert client.flush(5) == 1
        assert steps_of(uri, client.mlflow_run_id(second)) == [1, 2]
    assert "active" in str(sync_folder(tmp_path / "out").failure)


def test_a_run_that_ended_and_still_waits_can_be_opened_again(tmp_path):
    with SpoolingClient(f"http://127.0.0.1:{free_port()}", "e") as client:
        for _ in range(2):
            run_id = client.open_run(tmp_path / "r", "r", {})
            client.set_terminated(run_id)
        client.set_tag(run_id, "a", "b")
        client.close(0.1)


def test_a_training_waits_for_a_sync_that_is_at_work_on_its_run(tmp_path):
    uri = default_tracking_uri(tmp_path)
    with SpoolingClient(uri, "e") as client:
        client.open_run(tmp_path / "r", "r", {})
    busy = Spool(tmp_path / "r")
    threading.Timer(1.0, busy.close).start()
    with SpoolingClient(uri, "e") as client:
        assert client.open_run(tmp_path / "r", "r", {}) == busy.about["key"]


def test_a_terminal_that_is_gone_does_not_end_the_thread(tmp_path):
    def note(sentence):
        raise BrokenPipeError

    uri = default_tracking_uri(tmp_path)
    with SpoolingClient(uri, "e", note) as client:
        run_id = client.open_run(tmp_path / "r", "r", {})
        log_metrics(client, run_id, {"no(t": 0.1}, 1)
        log_metrics(client, run_id, {"val/error": 0.3}, 2)
        assert client.flush(30) == 0
    assert steps_of(uri, one_run(uri).info.run_id) == [2]


def change_store(uri, *statements):
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def test_trouble_of_a_database_is_no_refusal(tmp_path):
    """MLflow calls a statement that its database does not carry out a bad request."""
    uri, notes = default_tracking_uri(tmp_path), []
    with SpoolingClient(uri, "e", notes.append) as client:
        run_id = client.open_run(tmp_path / "r", "r", {})
        log_epochs(client, run_id, 1, 2)
        assert client.flush(30) == 0
        change_store(uri, "CREATE TRIGGER t BEFORE INSERT ON latest_metrics BEGIN SELECT RAISE(ABORT, 'trouble'); END")
        log_metrics(client, run_id, {"val/later": 0.5}, 2)
        assert client.flush(5) == 1
        change_store(uri, "DROP TRIGGER t")
        assert client.flush(30) == 0
    assert steps_of(uri, one_run(uri).info.run_id, "val/later") == [2]
    assert len(notes) == 2


def test_an_experiment_that_was_made_anew_during_training_gets_the_whole_run(tmp_path):
    uri = default_tracking_uri(tmp_path)
    with SpoolingClient(uri, "e") as client:
        run_id = client.open_run(tmp_path / "r", "r", {})
        log_epochs(client, run_id, 1, 3)
        assert client.flush(30) == 0
        tables = ("metrics", "latest_metrics", "params", "tags", "runs", "experiments")
        change_store(uri, *(f"DELETE FROM {table}" for table in tables))
        log_epochs(client, run_id, 3, 5)
        assert client.flush(30) == 0
    assert steps_of(uri, one_run(uri).info.run_id) == [1, 2, 3, 4]


def test_a_run_that_ends_on_a_full_disk_is_sent_at_the_end(tmp_path):
    """What is in memory alone would come twice after a crash, so that it waits for the end of the client."""
    (tmp_path / "r").mkdir()
    (tmp_path / "r/tracking.jsonl").symlink_to("/dev/full")
    uri = default_tracking_uri(tmp_path)
    client = SpoolingClient(uri, "e")
    client.await_store(30)
    run_id = client.open_run(tmp_path / "r", "r", {})
    log_epochs(client, run_id, 1, 4)
    client.set_terminated(run_id)
    assert client.flush(1) == 0
    assert client.mlflow_run_id(run_id) is None
    assert client.close(30) == 0
    assert one_run(uri).info.status == "FINISHED"
    assert steps_of(uri, one_run(uri).info.run_id) == [1, 2, 3]


def test_half_of_a_character_holds_up_nothing(tmp_path):
    uri, notes = default_tracking_uri(tmp_path), []
    with SpoolingClient(uri, "e", notes.append) as client:
        run_id = client.open_run(tmp_path / "r", "r", {})
        client.log_text(run_id, "\udcff", "a.txt")
        client.set_tag(run_id, "a", "\udcff")
        log_epochs(client, run_id, 1, 3)
        assert client.flush(30) == 0
    assert len(notes) == 2
    assert steps_of(uri, one_run(uri).info.run_id) == [1, 2]


def test_the_end_does_not_wait_for_a_long_backlog_and_frees_the_run(tmp_path):
    client = SpoolingClient(default_tracking_uri(tmp_path), "e")
    run_id = client.open_run(tmp_path / "r", "r", {})
    assert client.flush(30) == 0
    client._spools[run_id]._write = lambda: None  # as fast as a quick disk
    for number in range(20_000):
        client._spools[run_id]._waiting.append({"kind": "tags", "values": {"a": str(number)}})
    start = time.monotonic()
    assert client.close(0.3) > 0
    assert time.monotonic() - start < 5
    Spool(tmp_path / "r").close()


def test_a_store_that_is_away_holds_up_no_other_at_sync(tmp_path):
    uri, away = default_tracking_uri(tmp_path), f"http://127.0.0.1:{free_port()}"
    for name, store in (("a", away), ("b", uri), ("c", away)):
        spool = Spool(tmp_path / "out" / name, {"name": name, "tags": {}, "experiment": "e", "store": store})
        spool.add("metrics", step=1, values={"val/error": 0.5})
        spool.close()
    (tmp_path / "out/d").mkdir()
    (tmp_path / "out/d/tracking.jsonl").touch()
    done = sync_folder(tmp_path / "out")
    assert "does not answer" in str(done.failure)
    assert (done.runs, done.entries) == (1, 2)
    assert len(done.notes) == 1
    assert '"d" holds no evidence' in done.notes[0]
    assert one_run(uri).info.run_name == "b"


def test_a_misspelt_store_is_forgotten_by_the_next_sync(tmp_path):
    uri = default_tracking_uri(tmp_path)
    spool = Spool(tmp_path / "out/r", {"name": "r", "tags": {}, "experiment": "e", "store": uri})
    spool.close()
    assert sync_folder(tmp_path / "out", f"http://127.0.0.1:{free_port()}").failure is not None
    assert sync_folder(tmp_path / "out").runs == 1
    assert one_run(uri).info.run_name == "r"


def test_a_file_that_cannot_be_sent_is_named_without_its_path_and_holds_up_no_other_run(tmp_path):
    uri = default_tracking_uri(tmp_path)
    for name in "ab":
        spool = Spool(tmp_path / "out" / name, {"name": name, "tags": {}, "experiment": "e", "store": uri})
        (tmp_path / "out" / name / "p.csv").write_text("1")
        spool.add("file", path="p.csv")
        spool.close()
    open_experiment(uri, "e")
    (tmp_path / "mlruns").mkdir(exist_ok=True)
    (tmp_path / "mlruns/e").write_text("")  # a file where the artifacts' folder is to be
    done = sync_folder(tmp_path / "out")
    assert 'the evidence in "a" cannot be sent' in str(done.failure)
    assert str(tmp_path) not in str(done.failure)
    client = MlflowClient(uri)
    assert len(client.search_runs([client.get_experiment_by_name("e").experiment_id])) == 2


@pytest.mark.slow
def test_what_a_server_is_told_twice_is_one_experiment_and_one_run(tmp_path):
    """Another process makes the experiment at the same moment; of the making of the run, the answer is lost."""
    asked = []
    with mlflow_server(tmp_path) as server:

        def forward(request, content):
            there = HTTPConnection("127.0.0.1", server.port)
            there.request(request.command, request.path, content, {"Content-Type": "application/json"})
            answer = there.getresponse()
            return answer.status, answer.read()

        class Between(BaseHTTPRequestHandler):
            def do_POST(self):
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                call = self.path.split("mlflow/")[-1]
                asked.append(call)
                status, body = forward(self, content)
                if call == "experiments/create":
                    status, body = forward(self, content)
                if call == "runs/create" and asked.count(call) == 1:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_):
                pass

        between = ThreadingHTTPServer(("127.0.0.1", 0), Between)
        threading.Thread(target=between.serve_forever, daemon=True).start()
        try:
            with SpoolingClient(f"http://127.0.0.1:{between.server_port}", "e") as client:
                run_id = client.open_run(tmp_path / "r", "r", {})
                log_epochs(client, run_id, 1, 3)
                client.set_terminated(run_id)
                assert client.flush(60) == 0
        finally:
            between.shutdown()
        assert (asked.count("experiments/create"), asked.count("runs/create")) == (1, 2)
        run = one_run(server.uri)
        assert run.info.status == "FINISHED"
        assert steps_of(server.uri, run.info.run_id) == [1, 2]
