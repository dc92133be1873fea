"""The MLflow store: reached before anything is trained, named without secrets, written in batches."""

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import mlflow
import pytest
from small_study import free_port, mlflow_server, wait_for

from fairpool.tracking import default_tracking_uri, log_metrics, log_params, open_experiment, without_password
from fairpool.tracking.store import StoreAwayError, _make_store


def new_run(store):
    return store.client.create_run(store.experiment_id).info.run_id


@pytest.mark.parametrize("number", [0, 1, 999, 1000, 1001, 2500])
def test_any_number_of_metrics_is_logged(store, number):
    run_id = new_run(store)
    metrics = {f"val/error/site-{i}": i / 7 for i in range(number)}
    log_metrics(store.client, run_id, metrics, step=3)
    assert store.client.get_run(run_id).data.metrics == metrics
    if number:
        (point,) = store.client.get_metric_history(run_id, "val/error/site-0")
        assert point.step == 3
        assert abs(point.timestamp / 1000 - time.time()) < 60


def test_params_are_text_of_bounded_length(store):
    run_id = new_run(store)
    log_params(
        store.client, run_id, {"long": "x" * 10_000, "number": 0.5, "none": None} | {f"p{i}": i for i in range(150)}
    )
    params = store.client.get_run(run_id).data.params
    assert len(params["long"]) == 6000
    assert (params["number"], params["none"], params["p149"], len(params)) == ("0.5", "None", "149", 153)


def test_an_experiment_is_found_again(store):
    assert open_experiment(store.uri, "tests")[1] == store.experiment_id


def test_artifacts_of_a_sqlite_store_lie_beside_it(store):
    run_id = new_run(store)
    store.client.log_text(run_id, "hello", "a.txt")
    (path,) = store.folder.rglob("a.txt")
    assert path.read_text() == "hello"


def test_a_deleted_experiment_is_named(store):
    _, experiment_id = open_experiment(store.uri, "deleted")
    store.client.delete_experiment(experiment_id)
    with pytest.raises(ConnectionError, match='"deleted" was deleted in MLflow'):
        open_experiment(store.uri, "deleted")


@pytest.mark.parametrize("uri", ["file:///data/mlruns", "mlruns", "/data/mlruns"])
def test_a_folder_as_store_is_refused(uri):
    with pytest.raises(ConnectionError, match="is a folder, which MLflow no longer takes") as caught:
        open_experiment(uri, "tests")
    assert "/data" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["ftp://me:secret@127.0.0.1:9", "oracle://me:secret@127.0.0.1:9/db", "nothing://me:secret@server/db"]
)
def test_a_store_that_mlflow_cannot_open_is_a_sentence_without_the_password(uri):
    with pytest.raises(ConnectionError, match="cannot be opened") as caught:
        open_experiment(uri, "tests")
    assert "secret" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_sqlite_store_below_a_file_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectionError, match=r'"runs.db" \(sqlite\) cannot be opened') as caught:
        open_experiment(f"sqlite:///{tmp_path / 'file' / 'runs.db'}", "tests")
    assert str(tmp_path) not in str(caught.value)


def test_a_closed_port_is_refused_at_once():
    port = free_port()
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=f"127.0.0.1:{port} does not answer") as caught:
        open_experiment(f"http://me:secret@127.0.0.1:{port}", "tests")
    assert time.monotonic() - start < 5
    assert "secret" not in str(caught.value)
    assert "--tracking-uri" in str(caught.value)


class OnlyHealthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815  (the name that http.server calls)

    def log_message(self, *_):
        pass


def test_a_server_that_is_no_mlflow_is_a_sentence_without_the_password():
    """With the user name in the address, urllib alone would not even find the host."""
    with HTTPServer(("127.0.0.1", 0), OnlyHealthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(
                ConnectionError, match=f"http://127.0.0.1:{server.server_port} cannot be opened"
            ) as caught:
                open_experiment(f"http://me:secret@127.0.0.1:{server.server_port}", "tests")
        finally:
            server.shutdown()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host:5000/mlflow", "http://host:5000/mlflow"),
        ("no answer from https://me:p@ss@host/x?a@b, again", "no answer from https://host/x?a@b, again"),
        ("postgresql+psycopg2://me@db/mlflow", "postgresql+psycopg2://db/mlflow"),
        ("sqlite:////data/me@home/runs.db", "sqlite:////data/me@home/runs.db"),
        ("mail a@b.org", "mail a@b.org"),
        ("postgresql://db/runs?user=me&Password=secret&a=1", "postgresql://db/runs?user=me&Password=&a=1"),
        ("https://host/x?access_token=secret", "https://host/x?access_token="),
        ("mysql://db/runs?passwd=secret, again", "mysql://db/runs?passwd= again"),
    ],
)
def test_user_and_password_are_taken_out_of_an_address(text, shown):
    assert without_password(text) == shown


def test_the_default_store_lies_in_the_output_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_tracking_uri("out") == f"sqlite:///{tmp_path}/out/mlruns.db"


@pytest.mark.slow
def test_two_processes_may_make_the_same_store(tmp_path):
    code = "import sys; from fairpool.tracking import open_experiment; print(open_experiment(sys.argv[1], 'e')[1])"
    command = [sys.executable, "-c", code, default_tracking_uri(tmp_path / "new")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    results = [(*process.communicate(timeout=180), process.returncode) for process in processes]
    assert [status for _, _, status in results] == [0, 0], results
    assert len({out for out, _, _ in results}) == 1


@pytest.mark.slow
def test_a_server_takes_runs(tmp_path):
    with mlflow_server(tmp_path) as server:
        client, experiment_id = open_experiment(server.uri, "tests")
        run_id = client.create_run(experiment_id).info.run_id
        log_metrics(client, run_id, {f"m{i}": i for i in range(1200)})
        assert len(client.get_run(run_id).data.metrics) == 1200
        assert open_experiment(server.uri, "tests")[1] == experiment_id


def test_a_store_whose_making_is_killed_is_made_again(tmp_path):
    """MLflow makes its tables one by one; killed between them, it would never open the store again."""
    uri = default_tracking_uri(tmp_path)
    code = "import sys; from fairpool.tracking import open_experiment; open_experiment(sys.argv[1], 'e')"
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, uri], stderr=subprocess.DEVNULL)
        wait_for(lambda: any(file.stat().st_size > 100_000 for file in tmp_path.glob("*.part")), "half-made store")
        process.kill()
        process.wait()
        assert not (tmp_path / "mlruns.db").exists()
    assert open_experiment(uri, "e")[1]
    assert not list(tmp_path.glob(".*.part"))


def test_a_store_that_another_program_makes_in_the_meantime_is_kept(tmp_path, monkeypatch):
    """It has the file open: one put in its place would leave it with a store that nobody else sees."""
    path, real = tmp_path / "mlruns.db", mlflow.MlflowClient

    def make_beside_another(tracking_uri):
        path.write_bytes(b"theirs")
        return real(tracking_uri=tracking_uri)

    monkeypatch.setattr(mlflow, "MlflowClient", make_beside_another)
    _make_store(path)
    assert path.read_bytes() == b"theirs"
    assert [file.name for file in tmp_path.iterdir()] == ["mlruns.db"]


def failure_with(answer):
    """Why a server cannot be used that answers the path of a request with this status and content."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, content = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ConnectionError) as caught:
            open_experiment(f"http://127.0.0.1:{server.server_port}", "e")
    finally:
        server.shutdown()
    return caught.value


@pytest.mark.parametrize(("status", "is_away"), [(401, False), (404, False), (500, True), (503, True)])
def test_a_server_that_answers_with_a_status_is_there_or_in_trouble(status, is_away):
    """A proxy may ask for the password that MLflow has; a server in trouble may answer later."""

    assert isinstance(failure_with(lambda path: (status, b"")), StoreAwayError) == is_away


@pytest.mark.parametrize(
    ("status", "answer", "is_away"),
    [
        (503, b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "no connection to the database"}', True),
        (500, b'{"error_code": "INTERNAL_ERROR", "message": "trouble"}', True),
        (502, b"<html>bad gateway</html>", True),
        (429, b"slow down", True),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "not you"}', False),
        (403, b"forbidden", False),
    ],
)
def test_a_server_whose_database_is_away_is_away_itself(status, answer, is_away, monkeypatch):
    """Its own page of health does not look at the database."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    failure = failure_with(lambda path: (200, b"OK") if path == "/health" else (status, answer))
    assert isinstance(failure, StoreAwayError) == is_away
