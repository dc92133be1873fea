"""Send a run's evidence from its spool to MLflow, such that sending it twice changes nothing."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpool.tracking.spool import Spool
from fairpool.tracking.store import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["deliver"]

_KEY_TAG = "fairpool.key"
_MOST_METRICS = 1000  # most metrics that MLflow takes in one call
_MOST_ENTRIES = 200
_MOST_TEXT = 6000  # longest parameter that MLflow keeps
_REFUSALS = {"INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS"}  # BAD_REQUEST can be a database in trouble


def deliver(
    spool: Spool, client: "MlflowClient", experiment_id: str, is_over: Callable[[], bool] = lambda: False
) -> list[str]:
    """Send what waits in the spool, in its order; what arrived is confirmed after every call.

    The run is found by a key in its tags, or made. A point with the same step, time and value, a parameter with the
    same value and an artifact of the same name are to MLflow the same, so that an interruption between a call and its
    confirmation doubles nothing. A store that does not know the run any more gets all of it anew.

    Args:
        spool: of the run.
        client: of the store.
        experiment_id: of the run's experiment there.
        is_over: asked before each call whether the rest is to wait.
    Returns:
        a sentence for each entry that MLflow refuses for good.
    Raises:
        MlflowException, OSError: the store failed, or the run is deleted there; what had not arrived waits.
    """
    from mlflow.exceptions import MlflowException

    is_known = spool.run_id is None
    refusals = []
    while not is_over() and (waiting := spool.waiting(_MOST_ENTRIES)):
        if spool.run_id is None:
            spool.set_run_id(_find_or_make(client, experiment_id, spool.about))
        if _ends(waiting[0]):
            _remove_doubles(client, experiment_id, spool)
        number = _equal_metrics(waiting)
        try:
            refusals += _send_or_refuse(spool, client, waiting[:number])
        except MlflowException as error:
            if is_known or error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            spool.begin_anew()
        is_known = True
    return refusals


def _send_or_refuse(spool: Spool, client: "MlflowClient", entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Send entries at once; if MLflow refuses one of several, each alone."""
    from mlflow.exceptions import MlflowException

    try:
        _send(client, str(spool.run_id), spool.folder, entries)
    except (MlflowException, UnicodeEncodeError) as error:
        if not _is_refusal(error):
            raise
        if len(entries) > 1:
            return [sentence for entry in entries for sentence in _send_or_refuse(spool, client, [entry])]
        spool.confirm(1, refused=True)
        reason = (without_password(str(error)).splitlines() or [""])[0]
        return [f"MLflow refuses {entries[0]['kind']} of a run: {reason}"]
    spool.confirm(len(entries))
    return []


def _is_refusal(error: Exception) -> bool:
    """Whether the store will never take the entry."""
    if "surrogates not allowed" in str(error):  # half of a character
        return True
    is_deleted = "'active' state" in str(error)  # the run, which may be restored
    return getattr(error, "error_code", "") in _REFUSALS and not is_deleted


def _ends(entry: Mapping[str, Any]) -> bool:
    return entry["kind"] == "status" and entry["status"] != "RUNNING"


def _find(client: "MlflowClient", experiment_id: str, key: str) -> "list[Run]":
    """The runs with a spool's key, those with the most evidence first; several where the answer to a call was lost."""
    found = client.search_runs([experiment_id], f"tags.\"{_KEY_TAG}\" = '{key}'")
    return sorted(found, key=lambda run: (-len(run.data.metrics) - len(run.data.params), run.info.run_id))


def _find_or_make(client: "MlflowClient", experiment_id: str, about: Mapping[str, Any]) -> str:
    if found := _find(client, experiment_id, about["key"]):
        return str(found[0].info.run_id)
    tags = {**about.get("tags", {}), _KEY_TAG: about["key"]}
    run = client.create_run(experiment_id, start_time=about["time"], run_name=about.get("name"), tags=tags)
    return str(run.info.run_id)


def _remove_doubles(client: "MlflowClient", experiment_id: str, spool: Spool) -> None:
    """Delete the empty runs that a store made twice: of a call whose answer was lost, and of its repetition."""
    for run in _find(client, experiment_id, spool.about["key"]):
        if run.info.run_id != spool.run_id and not run.data.metrics and not run.data.params:
            client.delete_run(run.info.run_id)


def _equal_metrics(waiting: Sequence[Mapping[str, Any]]) -> int:
    """Number of entries that one call can take: metrics together, anything else alone."""
    total = 0
    for number, entry in enumerate(waiting):
        if entry["kind"] != "metrics":
            return max(number, 1)
        total += len(entry["values"])
        if total > _MOST_METRICS:
            return max(number, 1)
    return len(waiting)


def _send(client: "MlflowClient", run_id: str, folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    first = entries[0]
    match first["kind"]:
        case "metrics":
            metrics = [
                Metric(name, float(value), entry["time"], entry["step"])
                for entry in entries
                for name, value in entry["values"].items()
            ]
            for start in range(0, len(metrics), _MOST_METRICS):
                client.log_batch(run_id, metrics=metrics[start : start + _MOST_METRICS])
        case "params":
            params = [Param(name, str(value)[:_MOST_TEXT]) for name, value in first["values"].items()]
            for start in range(0, len(params), 100):
                client.log_batch(run_id, params=params[start : start + 100])
        case "tags":
            client.log_batch(run_id, tags=[RunTag(name, str(value)) for name, value in first["values"].items()])
        case "text":
            client.log_text(run_id, first["text"], first["name"])
        case "file":
            if (folder / first["path"]).is_file():  # else a later run of the study has taken its place
                client.log_artifact(run_id, str(folder / first["path"]), first.get("place"))
        case "status" if first["status"] == "RUNNING":
            client.update_run(run_id, status="RUNNING")
        case "status":
            client.set_terminated(run_id, first["status"], end_time=first["time"])
        case _:  # "run" made the run; a damaged entry, or one of a later version, is none of ours
            pass
