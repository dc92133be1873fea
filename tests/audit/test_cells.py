"""Cells of site and label: counts, effective sizes and what is too small."""

import math
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from fairpool.audit import cells as module
from fairpool.audit.cells import count_cells, expected_gap_of, prevalence


def records(*cells):
    """Cells as (site, label, images of each patient)."""
    rows = []
    for place, (site, label, images) in enumerate(cells):
        rows += [(site, label, f"{place}-{patient}") for patient, number in enumerate(images) for _ in range(number)]
    return pd.DataFrame(rows, columns=["site", "label", "patient"])


def wilson(rate, size):
    z = NormalDist().inv_cdf(0.975)
    centre, spread = rate + z * z / (2 * size), z * math.sqrt(rate * (1 - rate) / size + z * z / (4 * size * size))
    return (centre - spread) / (1 + z * z / size), (centre + spread) / (1 + z * z / size)


def test_every_site_has_a_cell_of_each_label():
    found = count_cells(records(("b", 1, [1] * 3), ("a", 0, [2, 1])))
    assert [(cell.site, cell.label, cell.images, cell.patients) for cell in found] == [
        ("a", 0, 3, 2),
        ("a", 1, 0, 0),
        ("b", 0, 0, 0),
        ("b", 1, 3, 3),
    ]
    assert [cell.size for cell in found] == ["few", "empty", "empty", "few"]
    assert found[1].half_width is None


@pytest.mark.parametrize("number", [5, 30, 100])
def test_the_half_width_is_half_of_wilsons_interval(number):
    low, high = wilson(0.15, number)
    assert count_cells(records(("a", 1, [1] * number)))[1].half_width == pytest.approx((high - low) / 2)


@pytest.mark.parametrize(("number", "size"), [(21, "few"), (22, "small"), (48, "small"), (49, "enough")])
def test_the_sizes_begin_where_the_page_says(number, size):
    assert count_cells(records(("a", 1, [1] * number)))[1].size == size


def test_many_images_of_one_patient_count_as_one():
    found = count_cells(records(("a", 1, [50]), ("b", 1, [5] * 10)))
    assert [cell.effective for cell in found if cell.label == 1] == [1, 10]


def test_both_labels_together_are_one_cell_a_site():
    found = count_cells(records(("a", 0, [1] * 10), ("a", 1, [1] * 20), ("b", 1, [1])), by_label=False)
    assert [(cell.site, cell.label, cell.images) for cell in found] == [("a", None, 30), ("b", None, 1)]


def test_prevalence_has_wilsons_interval():
    found = prevalence(records(("a", 0, [1] * 30), ("a", 1, [1] * 10)))["a"]
    assert found == pytest.approx((0.25, *wilson(0.25, 40)))


def test_the_gap_of_a_fair_model_is_that_of_all_pairs_of_counts():
    cells = count_cells(records(("a", 1, [1] * 6), ("b", 1, [1] * 9)))[1::2]
    first, second = binom.pmf(range(7), 6, 0.15), binom.pmf(range(10), 9, 0.15)
    gaps = np.abs(np.arange(7)[:, None] / 6 - np.arange(10) / 9)
    assert expected_gap_of(cells) == pytest.approx(float(first @ gaps @ second))


def test_the_gap_needs_two_sites_with_images():
    assert expected_gap_of(count_cells(records(("a", 1, [1] * 6), ("b", 0, [1] * 6)))[1::2]) is None
    assert expected_gap_of(count_cells(records(("a", 1, [1]), ("b", 1, [1])))[1::2], share=0.25) is None


def test_drawn_gaps_agree_with_the_exact_one(monkeypatch):
    cells = count_cells(records(*((f"site {n}", 1, [1] * (20 + n)) for n in range(10))))[1::2]
    exact = expected_gap_of(cells)
    monkeypatch.setattr(module, "_EXACT_CELLS", 0)
    assert expected_gap_of(cells) == pytest.approx(exact, rel=0.05)
