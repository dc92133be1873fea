"""Overlap of maps against slow loops, and its levels of chance."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from fairpool.saliency.overlap import map_overlap, overlap_summary


def slow_iou(first, second, places):
    one, two = (set(np.argsort(-np.abs(m.ravel()), kind="stable")[:places].tolist()) for m in (first, second))
    return len(one & two) / len(one | two)


def test_overlap_is_that_of_a_slow_loop_and_of_scipy():
    first, second = torch.randn(5, 10, 12, dtype=torch.float64), torch.randn(5, 10, 12, dtype=torch.float64)
    second += 0.7 * first
    found = map_overlap(first, second, share=0.25)
    for number in range(5):
        one, two = first[number].numpy(), second[number].numpy()
        assert float(found.iou[number]) == pytest.approx(slow_iou(one, two, 30))
        expected = spearmanr(np.abs(one).ravel(), np.abs(two).ravel()).statistic
        assert float(found.rank_correlation[number]) == pytest.approx(expected)


def test_the_sign_of_the_evidence_does_not_count_and_equal_maps_overlap_fully():
    maps = torch.randn(4, 8, 8)
    found = map_overlap(maps, -3 * maps)
    assert found.iou.tolist() == [1.0] * 4
    assert found.rank_correlation.tolist() == pytest.approx([1.0] * 4)


def test_independent_maps_come_to_the_stated_chance():
    found = map_overlap(torch.randn(400, 20, 20), torch.randn(400, 20, 20), share=0.2)
    assert found.iou_independent == pytest.approx(0.2 / 1.8)
    assert float(found.iou.mean()) == pytest.approx(found.iou_independent, abs=0.005)
    assert float(found.rank_correlation.mean()) == pytest.approx(0, abs=0.01)


def test_what_all_images_share_is_in_the_overlap_with_other_images_too():
    place = torch.zeros(8, 8)
    place[2:4, 2:6] = 5.0
    one, two = (place + 0.01 * torch.randn(30, 8, 8) for _ in range(2))
    figures = overlap_summary(map_overlap(one, two, share=0.125))
    assert figures["iou_mean"] == figures["iou_other_mean"] == 1
    assert figures["iou_above_other"] == 0
    own = torch.randn(30, 8, 8)
    assert overlap_summary(map_overlap(own, own, share=0.125))["iou_above_other"] > 0.8


@pytest.mark.parametrize("seed", range(5))
def test_no_image_stands_for_another_as_itself(seed):
    maps = torch.eye(6).reshape(6, 2, 3)  # each image's strongest place is its own
    assert map_overlap(maps, maps, share=1 / 6, seed=seed).iou_other.tolist() == [0.0] * 6


def test_constant_maps_have_no_correlation_and_no_nan():
    found = map_overlap(torch.zeros(3, 4, 4), torch.randn(3, 4, 4))
    assert found.rank_correlation.tolist() == [0.0] * 3
    assert found.iou.isfinite().all()


@pytest.mark.parametrize(
    ("first", "second", "share", "message"),
    [
        (torch.zeros(2, 4, 4), torch.zeros(2, 4, 5), 0.2, "must have one shape"),
        (torch.zeros(1, 4, 4), torch.zeros(1, 4, 4), 0.2, "at least two images; got 1"),
        (torch.zeros(2, 4, 4), torch.zeros(2, 4, 4), 1.0, r"in \(0, 1\); got 1.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(first, second, share, message):
    with pytest.raises(ValueError, match=message):
        map_overlap(first, second, share=share)
