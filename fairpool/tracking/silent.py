"""The client of a process that leaves the evidence to another one."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from fairpool.tracking.client import SpoolingClient

__all__ = ["SilentClient"]


class SilentClient(SpoolingClient):
    """Takes all calls of a `SpoolingClient` and keeps nothing: of several processes the first alone writes."""

    def __init__(self) -> None:
        """Opens nothing and starts no thread."""

    def open_run(self, folder: str | os.PathLike[str], run_name: str, tags: Mapping[str, str]) -> str:
        """No run, no id."""
        return ""

    def log_batch(
        self, run_id: str, metrics: Sequence[Any] = (), params: Sequence[Any] = (), tags: Sequence[Any] = ()
    ) -> None:
        """Nothing."""

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Nothing."""

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Nothing."""

    def log_artifact(self, run_id: str, local_path: str) -> None:
        """Nothing."""

    def set_status(self, run_id: str, status: str) -> None:
        """Nothing."""

    def set_terminated(self, run_id: str, status: str = "FINISHED") -> None:
        """Nothing."""

    def mlflow_run_id(self, run_id: str) -> str | None:
        """None: there is no run."""
        return None

    def await_store(self, seconds: float = 5.0) -> None:
        """Waits for nothing."""

    def flush(self, seconds: float = 5.0) -> int:
        """Nothing waits."""
        return 0

    def close(self, seconds: float = 5.0) -> int:
        """Nothing waits."""
        return 0
