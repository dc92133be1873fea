"""A process that leaves the evidence to another keeps nothing, whatever it is told."""

import inspect

from fairpool.tracking import SpoolingClient, log_metrics
from fairpool.tracking.silent import SilentClient


def public_methods(kind):
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_no_call_reaches_the_client_that_writes():
    own = set(vars(SilentClient))
    assert public_methods(SpoolingClient) <= own


def test_it_takes_what_a_run_logs_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SilentClient() as client:
        run_id = client.open_run(tmp_path / "run", "name", {"tag": "value"})
        log_metrics(client, run_id, {"loss": 1.0}, step=1)
        client.log_text(run_id, "text", "file.txt")
        client.set_terminated(run_id)
        assert client.mlflow_run_id(run_id) is None
        assert client.flush() == client.close() == 0
    assert not list(tmp_path.iterdir())


def test_each_call_takes_the_arguments_of_the_writing_client():
    for name in public_methods(SpoolingClient):
        expected = inspect.signature(getattr(SpoolingClient, name)).parameters
        found = inspect.signature(getattr(SilentClient, name)).parameters
        assert list(found) == list(expected), name
