"""How far two networks look at the same places of an image, beside what chance would give."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["MapOverlap", "map_overlap", "overlap_summary"]


@dataclass(frozen=True)
class MapOverlap:
    """Overlap of two networks' maps, image by image.

    Attributes:
        iou: intersection over union of the regions of strongest evidence, (B,), in [0, 1].
        rank_correlation: Spearman's, of the strength of the evidence over the places, (B,); 0 where a map is
            constant.
        iou_other, rank_correlation_other: the same between an image's map and the second network's map of another
            image, (B,): what faces in one pose share whatever the image shows.
        iou_independent: expectation of ``iou`` for two regions laid independently of each other.
    """

    iou: Tensor
    rank_correlation: Tensor
    iou_other: Tensor
    rank_correlation_other: Tensor
    iou_independent: float


def map_overlap(first: Tensor, second: Tensor, *, share: float = 0.2, seed: int = 0) -> MapOverlap:
    """Compare two networks' evidence maps of the same images.

    The strength of the evidence counts, not which label it speaks for: the labels of the two networks differ.

    Args:
        first: (B, H, W), as `evidence_maps` gives them.
        second: of the other network, same shape.
        share: part of the image that is called the region of strongest evidence, in (0, 1).
        seed: of the assignment of other images; every image gets one that is not itself.
    Raises:
        ValueError: the shapes differ, there are fewer than two images, or ``share`` is out of range.

    >>> maps = torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> map_overlap(maps, -maps).iou.tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if first.shape != second.shape or first.ndim != 3:
        raise ValueError(f"the maps must have one shape (B, H, W); got {tuple(first.shape)} and {tuple(second.shape)}.")
    if len(first) < 2:
        raise ValueError(f"the overlap by chance needs at least two images; got {len(first)}.")
    if not 0 < share < 1:
        raise ValueError(f"share is a part of the image, in (0, 1); got {share}.")
    one, two = (maps.detach().cpu().double().abs().flatten(1) for maps in (first, second))
    order = torch.randperm(len(one), generator=torch.Generator().manual_seed(seed))
    other = torch.empty_like(order)
    other[order] = order.roll(1)  # a cycle through all images: none is its own
    places = max(round(share * one.shape[1]), 1)
    regions, other_regions = _strongest(one, places), _strongest(two, places)
    ranks, other_ranks = _centred_ranks(one), _centred_ranks(two)
    part = places / one.shape[1]
    return MapOverlap(
        iou=_iou(regions, other_regions),
        rank_correlation=_correlation(ranks, other_ranks),
        iou_other=_iou(regions, other_regions[other]),
        rank_correlation_other=_correlation(ranks, other_ranks[other]),
        iou_independent=part / (2 - part),
    )


def overlap_summary(overlap: MapOverlap) -> dict[str, Any]:
    """Mean and standard deviation over the images, and the levels of chance, as plain numbers."""
    figures: dict[str, Any] = {"images": len(overlap.iou), "iou_independent": overlap.iou_independent}
    for name in ("iou", "iou_other", "rank_correlation", "rank_correlation_other"):
        values: Tensor = getattr(overlap, name)
        figures[f"{name}_mean"], figures[f"{name}_std"] = float(values.mean()), float(values.std())
    for name in ("iou", "rank_correlation"):
        surplus = getattr(overlap, name) - getattr(overlap, f"{name}_other")
        figures[f"{name}_above_other"] = float(surplus.mean())
        figures[f"{name}_above_other_standard_error"] = float(surplus.std() / len(surplus) ** 0.5)
    return figures


def _strongest(maps: Tensor, places: int) -> Tensor:
    """A mask of exactly so many places for each map; among equal ones the earlier."""
    chosen = maps.argsort(dim=1, descending=True, stable=True)[:, :places]
    return torch.zeros_like(maps, dtype=torch.bool).scatter_(1, chosen, True)


def _iou(first: Tensor, second: Tensor) -> Tensor:
    return (first & second).sum(dim=1).double() / (first | second).sum(dim=1)


def _centred_ranks(maps: Tensor) -> Tensor:
    from scipy.stats import rankdata

    ranks = torch.from_numpy(np.asarray(rankdata(maps.numpy(), axis=1)))
    return ranks - ranks.mean(dim=1, keepdim=True)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    norms = first.norm(dim=1) * second.norm(dim=1)
    return torch.where(norms > 0, (first * second).sum(dim=1) / norms.clamp(min=1e-300), 0.0)
