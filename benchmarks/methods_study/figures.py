"""The figures of one run, from its confusion counts on a balanced test set."""

import torch
from torch import Tensor

from fairpool.metrics import group_report
from fairpool.metrics.chance import expected_gap

__all__ = ["FIGURES", "run_figures"]

FIGURES = {
    "error": "error",
    "in_distribution_error": "in-distribution error",
    "deo": "DEO",
    "fair_deo": "a fair model's",
    "fpr_gap": "FPR gap",
    "fnr": "FNR",
    "fpr": "FPR",
    "worst_site_error": "worst site's error",
}
"""The figures, all fractions, and their headings. "deo" is the largest difference between sites in the false negative
rate; "fair_deo" what a model with equal rates at all sites would show on as many images, in the mean."""


def run_figures(counts: Tensor, training: Tensor) -> dict[str, float]:
    """The figures by name.

    Args:
        counts: decisions on the balanced test set, int64 [K, true, predicted].
        training: images of the training pool by label and site, int64 [2, K].

    In-distribution error is the cells' errors on the test set, weighted by the cells' shares of the training pool: what
    a test set with the pool's confounding would show in the mean.

    >>> counts = torch.tensor([[[90, 10], [30, 70]], [[80, 20], [10, 90]]])
    >>> figures = run_figures(counts, torch.tensor([[90, 10], [10, 90]]))
    >>> round(figures["error"], 4), round(figures["in_distribution_error"], 4), round(figures["deo"], 4)
    (0.175, 0.115, 0.2)
    """
    report = group_report(counts)
    cell_errors = torch.stack([report.fpr, report.fnr])  # [label, site]
    fnr = float(report.fnr.mean())
    return {
        "error": report.overall_error,
        "in_distribution_error": float((training / training.sum() * cell_errors).sum()),
        "deo": report.deo,
        "fair_deo": expected_gap(report.fnr_of[:, 1].tolist(), fnr),
        "fpr_gap": report.fpr_gap,
        "fnr": fnr,
        "fpr": float(report.fpr.mean()),
        "worst_site_error": report.worst_group_error,
    }
