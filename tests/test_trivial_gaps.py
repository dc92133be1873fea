"""Which gaps of 0 are no fairness, against counts of networks that give every case the same answer."""

import pytest
import torch

from fairpool.handlers.site_report import report_metrics
from fairpool.metrics import group_report
from fairpool.trivial_gaps import trivial_gap


def figures(counts):
    """Figures of a network by its counts [site][true][predicted], as a run has them."""
    return report_metrics(group_report(torch.tensor(counts)), [f"site{i}" for i in range(len(counts))])


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([[[9, 0], [3, 0]], [[5, 0], [7, 0]]], "misses every positive at every site"),
        ([[[8, 1], [3, 0]], [[5, 0], [7, 0]]], "misses every positive at every site"),
        ([[[9, 0], [3, 0]], [[5, 0], [0, 0]]], "misses every positive at every site"),  # the second has none
        ([[[0, 9], [0, 3]], [[0, 5], [0, 7]]], "takes every negative for a positive at every site"),
    ],
)
def test_a_network_with_the_worst_rate_everywhere_is_named(counts, words):
    found = figures(counts)
    assert found.get("deo", 0) == 0  # which a choice by the smallest gap would take
    assert trivial_gap(found) == words
    assert trivial_gap({f"val/{name}": value for name, value in found.items()}, "val/") == words


@pytest.mark.parametrize(
    "counts",
    [
        [[[9, 0], [2, 1]], [[5, 0], [7, 0]]],  # one positive is found
        [[[9, 0], [0, 3]], [[5, 0], [0, 7]]],  # without a mistake
        [[[9, 0], [3, 0]], [[0, 5], [0, 7]]],  # "negative" at one site, "positive" at the other: as unfair as can be
    ],
)
def test_other_networks_are_not(counts):
    assert trivial_gap(figures(counts)) is None


def test_without_rates_nothing_is_said():
    assert trivial_gap({"deo": 0.0, "error": 0.5}) is None
    assert trivial_gap({"val/fnr/a": 1.0}) is None
