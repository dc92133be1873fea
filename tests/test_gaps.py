"""The gap of every constraint is known to the evidence: its rate, its words, its figure in a report."""

from dataclasses import fields

import pytest

from fairpool.constraints import CONSTRAINTS
from fairpool.gaps import GAP_WORDS, GAPS, gaps_of
from fairpool.metrics import GroupReport
from fairpool.metrics.patients import RATES

EXPECTED = {
    "equal_opportunity": {"deo": "fnr"},
    "predictive_equality": {"fpr_gap": "fpr"},
    "equalized_odds": {"deo": "fnr", "fpr_gap": "fpr"},
    "error_rate_parity": {"ddp": "error"},
    "demographic_parity": {"selection_gap": "selection_rate"},
    "predictive_parity": {"fdr_gap": "fdr"},
}


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_every_constraint_has_its_gaps_and_their_rates(constraint):
    assert {gap: GAPS[gap] for gap in gaps_of(constraint)} == EXPECTED[constraint]


def test_every_rate_has_a_gap_with_words_that_a_report_holds():
    assert sorted(GAPS.values()) == sorted(RATES)
    assert GAP_WORDS.keys() == GAPS.keys() <= {field.name for field in fields(GroupReport)}
