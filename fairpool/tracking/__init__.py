"""Where the evidence goes: an MLflow store, and a copy on disk that training writes to instead of waiting for it."""

from fairpool.tracking.client import SpoolingClient
from fairpool.tracking.store import (
    BatchClient,
    chart_paths,
    default_tracking_uri,
    limit_waiting,
    log_metrics,
    log_params,
    naming_store_failures,
    open_experiment,
    without_password,
)

__all__ = [
    "BatchClient",
    "SpoolingClient",
    "chart_paths",
    "default_tracking_uri",
    "limit_waiting",
    "log_metrics",
    "log_params",
    "naming_store_failures",
    "open_experiment",
    "without_password",
]
