"""Handlers for MONAI engines: dual updates, per-site evidence, MLflow, weight averaging, exact resume."""

from fairpool.handlers.best_model import BestModel
from fairpool.handlers.dual import FairALMHandler
from fairpool.handlers.evidence import EvidenceLogger
from fairpool.handlers.optimizer_steps import FiniteLossHandler
from fairpool.handlers.resume import ExactResume
from fairpool.handlers.site_report import SiteReport
from fairpool.handlers.weight_averaging import WeightAveraging

__all__ = [
    "BestModel",
    "EvidenceLogger",
    "ExactResume",
    "FairALMHandler",
    "FiniteLossHandler",
    "SiteReport",
    "WeightAveraging",
]
