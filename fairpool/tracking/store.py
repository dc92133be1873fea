"""An MLflow store that is reachable before anything is trained, and batched metrics."""

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from filelock import FileLock

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "BatchClient",
    "StoreAwayError",
    "chart_paths",
    "check_address",
    "default_tracking_uri",
    "limit_waiting",
    "log_metrics",
    "log_params",
    "open_experiment",
    "without_password",
]

_BATCH = 1000  # most metrics that MLflow takes in one call


class BatchClient(Protocol):
    """What logs in batches: `mlflow.MlflowClient`, or `SpoolingClient`."""

    def log_batch(
        self, run_id: str, metrics: Sequence[Any] = (), params: Sequence[Any] = (), tags: Sequence[Any] = ()
    ) -> Any:
        """As `MlflowClient.log_batch`."""


class StoreAwayError(ConnectionError):
    """A tracking server that does not answer now, and may later."""


def default_tracking_uri(output_dir: str | os.PathLike[str]) -> str:
    """The sqlite store beside a study's output.

    >>> default_tracking_uri("/data/out")
    'sqlite:////data/out/mlruns.db'
    """
    return f"sqlite:///{Path(output_dir).resolve() / 'mlruns.db'}"


def limit_waiting() -> None:
    """Let MLflow's client give up soon, unless the user set otherwise: by itself it retries for minutes."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")


def open_experiment(tracking_uri: str, name: str) -> tuple["MlflowClient", str]:
    """A client of the store and the id of the experiment, made where it does not exist.

    Args:
        tracking_uri: ``sqlite:///...``, ``http(s)://...`` or anything else MLflow takes; ``file:`` stores are not.
        name: of the experiment.
    Raises:
        StoreAwayError: the server does not answer.
        ConnectionError: the store is a folder or cannot be opened.
    """
    check_address(tracking_uri)
    limit_waiting()
    # It prints the address of each run that ends, with the password, between the progress bars.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    if urlsplit(tracking_uri).scheme in ("http", "https"):
        _check_server(tracking_uri)
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with _store_lock(tracking_uri) as folder:
            client = mlflow.MlflowClient(tracking_uri=tracking_uri)
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                # A sqlite store's artifacts belong beside it, not into the working directory.
                location = None if folder is None else (folder / "mlruns" / name).as_uri()
                try:
                    return client, client.create_experiment(name, artifact_location=location)
                except MlflowException as error:
                    experiment = client.get_experiment_by_name(name)
                    if error.error_code != "RESOURCE_ALREADY_EXISTS" or experiment is None:
                        raise  # else another process has just made it
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        text = getattr(error, "strerror", None) or str(error)
        lines = text.strip().replace(tracking_uri, _shown(tracking_uri)).splitlines()
        reason = lines[0] if lines else type(error).__name__
        kind = StoreAwayError if _is_passing(error) else ConnectionError
        raise kind(f"the tracking store {_shown(tracking_uri)} cannot be opened: {reason}") from error
    if experiment.lifecycle_stage == "deleted":
        raise ConnectionError(f'the experiment "{name}" was deleted in MLflow; restore it there or use another store.')
    return client, experiment.experiment_id


def check_address(tracking_uri: str) -> None:
    """Refuse the address of what MLflow takes no longer; nothing is reached for.

    Raises:
        ConnectionError: it is a folder's.
    """
    if urlsplit(tracking_uri).scheme in ("", "file"):
        raise ConnectionError(
            f"the tracking store {_shown(tracking_uri)} is a folder, which MLflow no longer takes: give "
            "sqlite:///FILE, a server's http:// address, or leave --tracking-uri out."
        )


def chart_paths(tracking_uri: str) -> list[str]:
    """Path of each experiment's charts in the MLflow UI, whose front page would not show them."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=tracking_uri)
    found = [experiment for experiment in client.search_experiments() if experiment.name != "Default"]
    return [f"#/experiments/{experiment.experiment_id}/runs?compareRunsMode=CHART" for experiment in found]


@contextmanager
def naming_store_failures(tracking_uri: str) -> Iterator[None]:
    """Turn MLflow's exceptions into a `ConnectionError` of one sentence, such as when a server ends during training."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        lines = without_password(str(error)).strip().splitlines() or [type(error).__name__]
        kind = StoreAwayError if _is_passing(error) else ConnectionError
        raise kind(
            f"the tracking store {_shown(tracking_uri)} failed ({lines[0]}); finished runs are kept, and the same "
            "command continues."
        ) from error


def log_metrics(client: BatchClient, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
    """Send all metrics of a step in as few calls as MLflow allows."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for part in _batches([Metric(name, value, now, step) for name, value in metrics.items()]):
        client.log_batch(run_id, metrics=part)


def log_params(client: BatchClient, run_id: str, params: Mapping[str, Any]) -> None:
    """Send parameters as text, cut to the length that MLflow keeps."""
    from mlflow.entities import Param

    for part in _batches([Param(name, str(value)[:6000]) for name, value in params.items()], 100):
        client.log_batch(run_id, params=part)


def _batches(items: list[Any], size: int = _BATCH) -> Iterable[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _is_passing(error: Exception) -> bool:
    """Whether a store may answer later: a server in trouble, or a database that is locked or has no room."""
    text = str(error)
    if status := re.search(r"API request to .* error code (\d+)", text):
        return int(status[1]) >= 500
    return any(words in text for words in ("API request to", "is locked", "disk is full"))


def _check_server(tracking_uri: str) -> None:
    try:
        # urllib would take a user name and password for a part of the host name.
        with urlopen(f"{without_password(tracking_uri).rstrip('/')}/health", timeout=10):
            return
    except HTTPError as error:
        if error.code < 500:
            return  # it answers; MLflow has the password that a proxy may ask for
        raise StoreAwayError(
            f"the tracking server {_shown(tracking_uri)} answers with the status {error.code}. Mend it, or name "
            "another store with --tracking-uri."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise StoreAwayError(
            f"the tracking server {_shown(tracking_uri)} does not answer ({reason}). Start it, or name another store "
            "with --tracking-uri."
        ) from None


def _shown(tracking_uri: str) -> str:
    """The address for a message: no user name or password, and of a file its name alone."""
    address = urlsplit(tracking_uri)
    if address.hostname:
        return without_password(tracking_uri)
    return f'"{Path(address.path).name}" ({address.scheme or "path"})'


def without_password(text: str) -> str:
    """An address, or any text around one, without the user name and password that it may carry.

    >>> without_password("http://me:secret@server:5000/"), without_password("postgresql://db/runs?password=secret&a=1")
    ('http://server:5000/', 'postgresql://db/runs?password=&a=1')
    """
    text = re.sub(r"(?<=://)[^/\s]*@", "", text)
    return re.sub(r"(?i)([?&]\w*(?:password|passwd|pwd|token|secret)=)[^&\s]*", r"\1", text)


@contextmanager
def _store_lock(tracking_uri: str) -> Iterator[Path | None]:
    """Hold a lock while a sqlite store may be created, which two processes cannot do at once; yields its folder."""
    if not tracking_uri.startswith("sqlite:///"):
        yield None
        return
    path = Path(tracking_uri.removeprefix("sqlite:///")).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            _make_store(path)
        yield path.parent


def _make_store(path: Path) -> None:
    """An empty store, whole or not at all: MLflow makes its tables one by one, and cannot go on with half of them."""
    import mlflow

    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)  # of a process that was killed
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{part}").search_experiments(max_results=1)
    if path.exists():  # another program has made it in the meantime, and has it open
        part.unlink()
    else:
        os.replace(part, path)
