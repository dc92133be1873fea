"""Verdicts: rules over the cells, for every constraint."""

import pandas as pd
import pytest

from fairpool.audit.cells import count_cells
from fairpool.audit.verdicts import VERDICTS, event_labels, judge, name_sites
from fairpool.constraints import CONSTRAINTS


def judged(constraint, counts, **options):
    """``counts``: site to numbers of label 0 and 1, one image a patient."""
    rows = [(site, label, 0) for site, numbers in counts.items() for label in (0, 1) for _ in range(numbers[label])]
    records = pd.DataFrame(rows, columns=["site", "label", "patient"]).assign(patient=range(len(rows)))
    found, whole = count_cells(records), count_cells(records, by_label=False)
    return judge(constraint, {0: found[::2], 1: found[1::2], None: whole}, **options)


def test_the_events_are_those_of_the_constraints():
    assert {name: list(event_labels(name).values()) for name in CONSTRAINTS} == {
        "equal_opportunity": [1],
        "predictive_equality": [0],
        "equalized_odds": [0, 1],
        "error_rate_parity": [None],
        "demographic_parity": [None],
        "predictive_parity": [1],
    }


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_two_large_sites_support_every_constraint(constraint):
    found = judged(constraint, {"a": (100, 100), "b": (100, 100)})
    assert (found.verdict, found.reasons) == ("support", ())


@pytest.mark.parametrize(
    ("constraint", "verdict"),
    [
        ("equal_opportunity", "support"),
        ("predictive_equality", "cannot support"),
        ("equalized_odds", "cannot support"),
        ("error_rate_parity", "support"),
    ],
)
def test_negatives_at_one_site_only_stop_what_compares_them(constraint, verdict):
    assert judged(constraint, {"a": (100, 100), "b": (0, 100)}).verdict in (verdict, "support with care")
    found = judged(constraint, {"a": (100, 100), "b": (0, 100)})
    assert (found.verdict == "cannot support") == (verdict == "cannot support")
    if verdict == "cannot support":
        assert 'only site "a" has negatives' in found.reasons[0]


def test_one_site_with_enough_is_not_enough():
    found = judged("equal_opportunity", {"a": (100, 100), "b": (100, 21), "c": (100, 5)})
    assert found.verdict == "cannot support"
    assert found.reasons == (
        'only site "a" has 22 independent positives or more; the others are too few to constrain: c (5), b (21)',
    )


def test_small_and_empty_sites_beside_two_large_ones_need_care_and_are_named():
    found = judged("equal_opportunity", {"a": (9, 99), "b": (9, 99), "c": (9, 30), "d": (9, 7), "e": (9, 0)})
    assert found.verdict == "support with care"
    assert found.reasons == (
        "no positives at e: the constraint does not reach there",
        "too few positives to constrain at d (7)",
        "few positives at c (30): the constraint is noisy there",
    )


def test_prevalence_that_differs_needs_care_where_rates_of_all_images_are_compared():
    counts = {"a": (100, 100), "b": (100, 100)}
    for constraint in CONSTRAINTS:
        found = judged(constraint, counts, prevalence_differs=True)
        assert (found.verdict == "support with care") == (constraint in ("error_rate_parity", "demographic_parity"))


def test_stops_and_cares_hold_for_every_constraint():
    counts = {"a": (100, 100), "b": (100, 100)}
    assert judged("equal_opportunity", counts, stops=["one site"]).verdict == VERDICTS[0]
    assert judged("equal_opportunity", counts, cares=["copies"]).reasons == ("copies",)


def test_a_gap_that_chance_explains_needs_care():
    counts = {"a": (100, 100), "b": (100, 100)}
    found = judged("equal_opportunity", counts, gaps={"y1": 0.12, "y0": 0.5})
    assert found.verdict == "support with care"
    assert "a gap of 12 points" in found.reasons[0]
    assert judged("equal_opportunity", counts, gaps={"y1": 0.09}).verdict == "support"


def test_many_sites_are_not_all_listed():
    records = pd.DataFrame({"site": [f"s{n:02d}" for n in range(12)], "label": 1, "patient": range(12)})
    text = name_sites(count_cells(records)[1::2])
    assert text.endswith("s07 (1) and 4 more")
