"""Send a run's evidence from its spool to MLflow, such that sending it twice changes nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpool.tracking.spool import Spool

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["deliver"]

_KEY_TAG = "fairpool.key"
_MOST_METRICS = 1000  # most metrics that MLflow takes in one call
_MOST_ENTRIES = 200
_MOST_TEXT = 6000  # longest parameter that MLflow keeps
_REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS"}


def deliver(spool: Spool, client: "MlflowClient", experiment_id: str) -> list[str]:
    """Send what waits in the spool, in its order; what arrived is confirmed after every call.

    The run is found by a key in its tags, or made. A point with the same step, time and value, a parameter with the
    same value and an artifact of the same name are to MLflow the same, so that an interruption between a call and its
    confirmation doubles nothing.

    Args:
        spool: of the run.
        client: of the store.
        experiment_id: of the run's experiment there.
    Returns:
        a sentence for each entry that MLflow refuses for good, such as one of a run that was deleted there.
    Raises:
        MlflowException, OSError: the store failed; what had not arrived waits.
    """
    from mlflow.exceptions import MlflowException

    refusals = []
    if spool.num_waiting and spool.run_id is None:
        spool.set_run_id(_find_or_make(client, experiment_id, spool.about))
    while waiting := spool.waiting(_MOST_ENTRIES):
        number = _equal_metrics(waiting)
        try:
            _send(client, str(spool.run_id), spool.folder, waiting[:number])
        except MlflowException as error:
            if error.error_code not in _REFUSALS:
                raise
            if number > 1:  # one of them is refused: send them singly
                refusals += _singly(spool, client, waiting[:number])
                continue
            refusals.append(_refusal(waiting[0], error))
            spool.confirm(1, refused=True)
        else:
            spool.confirm(number)
    return refusals


def _singly(spool: Spool, client: "MlflowClient", entries: Sequence[Mapping[str, Any]]) -> list[str]:
    from mlflow.exceptions import MlflowException

    refusals = []
    for entry in entries:
        try:
            _send(client, str(spool.run_id), spool.folder, [entry])
            spool.confirm(1)
        except MlflowException as error:
            if error.error_code not in _REFUSALS:
                raise
            refusals.append(_refusal(entry, error))
            spool.confirm(1, refused=True)
    return refusals


def _refusal(entry: Mapping[str, Any], error: Exception) -> str:
    return f"MLflow refuses {entry['kind']} of a run: {(str(error).splitlines() or [''])[0]}"


def _find_or_make(client: "MlflowClient", experiment_id: str, about: Mapping[str, Any]) -> str:
    found = client.search_runs([experiment_id], f"tags.\"{_KEY_TAG}\" = '{about['key']}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = {**about.get("tags", {}), _KEY_TAG: about["key"]}
    run = client.create_run(experiment_id, start_time=about["time"], run_name=about.get("name"), tags=tags)
    return str(run.info.run_id)


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
        case _:  # "run" made the run; an entry of a later version is none of ours
            pass
