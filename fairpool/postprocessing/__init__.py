"""After training: thresholds by site on stored predictions, without touching the network."""

from fairpool.postprocessing.evaluation import ExpectedReport, Postprocessing, expected_report, postprocess_predictions
from fairpool.postprocessing.fitting import fit_thresholds
from fairpool.postprocessing.thresholds import POSTPROCESSING_CONSTRAINTS, SiteThresholds, Threshold

__all__ = [
    "POSTPROCESSING_CONSTRAINTS",
    "ExpectedReport",
    "Postprocessing",
    "SiteThresholds",
    "Threshold",
    "expected_report",
    "fit_thresholds",
    "postprocess_predictions",
]
