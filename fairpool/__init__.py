"""Pool medical images from many hospitals without letting the model learn the hospital: FairALM for MONAI."""

from fairpool.constraints import (
    Constraint,
    DemographicParity,
    EqualizedOdds,
    EqualOpportunity,
    ErrorRateParity,
    PredictiveEquality,
    PredictiveParity,
)
from fairpool.errors import CheckpointError, DataError
from fairpool.handlers.dual import FairALMHandler
from fairpool.losses.fairalm import FairALMLoss

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "Constraint",
    "DataError",
    "DemographicParity",
    "EqualOpportunity",
    "EqualizedOdds",
    "ErrorRateParity",
    "FairALMHandler",
    "FairALMLoss",
    "PredictiveEquality",
    "PredictiveParity",
]
