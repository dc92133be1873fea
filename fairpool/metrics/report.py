"""Error rates by group and the gaps between groups, from confusion counts alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GroupReport", "group_report"]


@dataclass(frozen=True)
class GroupReport:
    """Rates by group, and the largest differences between groups; NaN where there is nothing to estimate from.

    With two classes the rates are those of class 1, shape (K,); with C > 2 classes each class stands against the rest,
    shape (K, C), and a gap is the largest over the classes. Groups without an estimate enter no gap, and a gap needs
    at least two groups. All rates are fractions in [0, 1], float64.

    Attributes:
        samples: samples of each group, (K,), int64.
        error: misclassification rate of each group, (K,).
        fnr: false negative rate: misses among the samples of the class.
        fpr: false positive rate: false alarms among the samples of other classes.
        fdr: false discovery rate: false alarms among the predictions of the class.
        selection_rate: share of predictions of the class.
        fnr_of, fpr_of: the (misses, samples) and (false alarms, samples) behind the rates, shape (..., 2), int64.
        overall_error: misclassification rate over all samples of known group.
        balanced_error: mean error of the (group, label) cells that hold samples, each cell counting the same.
        deo: largest difference between groups in ``fnr`` (the paper's DEO).
        fpr_gap: the same in ``fpr``.
        eodds_gap: the larger of the two.
        ddp: the same in ``error`` (the paper's demographic parity difference).
        selection_gap: the same in ``selection_rate``.
        fdr_gap: the same in ``fdr``.
        worst_group_error: largest ``error``.
    """

    samples: Tensor
    error: Tensor
    fnr: Tensor
    fpr: Tensor
    fdr: Tensor
    selection_rate: Tensor
    fnr_of: Tensor
    fpr_of: Tensor
    overall_error: float
    balanced_error: float
    deo: float
    fpr_gap: float
    eodds_gap: float
    ddp: float
    selection_gap: float
    fdr_gap: float
    worst_group_error: float


def group_report(counts: Tensor) -> GroupReport:
    """Rates and gaps of `confusion_by_group` counts.

    Args:
        counts: integer, shape (K, C, C): [group, true, predicted].
    Raises:
        ValueError: the shape is another, or counts are negative.
    Source: Lokhande et al. 2020, section 2.1, for error, FNR, FPR and FDR by group.

    >>> report = group_report(torch.tensor([[[8, 2], [1, 9]], [[6, 4], [4, 6]]]))
    >>> report.fnr.tolist(), round(report.deo, 6), round(report.overall_error, 6)
    ([0.1, 0.4], 0.3, 0.275)
    """
    if counts.ndim != 3 or counts.shape[1] != counts.shape[2] or counts.shape[1] < 2:
        raise ValueError(f"counts must have shape (K, C, C) with C >= 2, got {tuple(counts.shape)}.")
    if counts.numel() and int(counts.min()) < 0:
        raise ValueError("counts must not be negative.")
    counts = counts.cpu()
    samples = counts.sum(dim=(1, 2))
    hits = counts.diagonal(dim1=1, dim2=2)  # (K, C)
    with_label, with_prediction = counts.sum(dim=2), counts.sum(dim=1)
    misses, alarms = with_label - hits, with_prediction - hits
    without_label = samples[:, None] - with_label

    wrong = torch.stack([misses, alarms, alarms, with_prediction])
    rates = _ratio(wrong, torch.stack([with_label, without_label, with_prediction, samples[:, None].expand_as(hits)]))
    error = _ratio(misses.sum(dim=1), samples)
    fnr_of, fpr_of = torch.stack([misses, with_label], dim=-1), torch.stack([alarms, without_label], dim=-1)
    balanced_error = float(rates[0].nanmean())  # a cell's error is the miss rate of its own label
    if counts.shape[1] == 2:
        rates, fnr_of, fpr_of = rates[..., 1], fnr_of[:, 1], fpr_of[:, 1]
    fnr, fpr, fdr, selection_rate = rates
    deo, fpr_gap, fdr_gap, selection_gap = _largest_gaps(rates)
    return GroupReport(
        samples=samples,
        error=error,
        fnr=fnr,
        fpr=fpr,
        fdr=fdr,
        selection_rate=selection_rate,
        fnr_of=fnr_of,
        fpr_of=fpr_of,
        overall_error=float(_ratio(misses.sum(), samples.sum())),
        balanced_error=balanced_error,
        deo=deo,
        fpr_gap=fpr_gap,
        eodds_gap=max((gap for gap in (deo, fpr_gap) if gap == gap), default=float("nan")),
        ddp=_largest_gaps(error[None])[0],
        selection_gap=selection_gap,
        fdr_gap=fdr_gap,
        worst_group_error=max((rate for rate in error.tolist() if rate == rate), default=float("nan")),
    )


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part.double() / whole, torch.nan)


def _largest_gaps(rates: Tensor) -> list[float]:
    """Largest minus smallest rate over the groups that have one; over classes, the largest such gap.

    Args:
        rates: of several kinds, (M, K) or (M, K, C).
    Returns:
        one gap of each kind; NaN where fewer than two groups have a rate.
    """
    rates = rates.view(*rates.shape[:2], -1)
    is_known = ~rates.isnan()
    highest = torch.where(is_known, rates, -torch.inf).amax(dim=1)
    lowest = torch.where(is_known, rates, torch.inf).amin(dim=1)
    gaps = torch.where(is_known.sum(dim=1) > 1, highest - lowest, -torch.inf).amax(dim=1)
    return [gap if gap >= 0 else float("nan") for gap in gaps.tolist()]
