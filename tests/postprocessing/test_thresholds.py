"""The table of thresholds: its decisions by hand and over many draws, JSON and back, and what is refused."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fairpool.errors import DataError
from fairpool.postprocessing import SiteThresholds, Threshold

RULES = SiteThresholds(
    "equalized_odds",
    {
        "basel": (Threshold(-math.inf, 0.1), Threshold(0.4, 0.2), Threshold(0.6, 0.4), Threshold(math.inf, 0.3)),
        "Genève": (Threshold(0.5, 1.0),),
    },
)


def test_chances_are_the_shares_of_the_thresholds_below():
    sites = ["basel", "Genève", "basel", "Genève", "basel", "basel"]
    chances = RULES.probability_of_positive(sites, [0.0, 0.5, 0.4, 0.51, 0.5, 1.0])
    assert chances.dtype == torch.float64
    assert chances.tolist() == pytest.approx([0.1, 0.0, 0.1, 1.0, 0.3, 0.7])


def test_a_case_above_every_threshold_is_positive_whatever_the_sum_of_shares_rounds_to():
    shares = (0.1, 0.2, 0.7)  # add up to 0.9999999999999999
    rules = SiteThresholds("equal_opportunity", {"a": tuple(Threshold(0.1 * k, s) for k, s in enumerate(shares))})
    assert rules.probability_of_positive(["a"], [0.9]).tolist() == [1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_higher_probability_is_never_less_likely_called_positive(scores):
    scores = sorted(scores)
    chances = RULES.probability_of_positive(["basel"] * len(scores), scores)
    assert bool((chances.diff() >= 0).all())
    assert bool(((chances >= 0) & (chances <= 1)).all())


def test_decisions_come_up_as_often_as_their_chance():
    # 100,000 draws: the share's standard deviation is at most 0.0016.
    for score, chance in ((0.1, 0.1), (0.5, 0.3), (0.9, 0.7)):
        decisions = RULES.decide(["basel"] * 100_000, [score] * 100_000, seed=1)
        assert decisions.dtype == torch.int64
        assert float(decisions.double().mean()) == pytest.approx(chance, abs=0.008)


def test_what_no_draw_decides_is_the_same_for_every_seed():
    for seed in range(20):
        assert RULES.decide(["Genève"] * 3, [0.2, 0.5, 0.7], seed=seed).tolist() == [0, 0, 1]


def test_a_seed_gives_the_same_decisions_whatever_torchs_own_generator_does():
    sites, scores = ["basel"] * 200, torch.linspace(0, 1, 200)
    decisions = RULES.decide(sites, scores, seed=7)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    assert torch.equal(RULES.decide(sites, scores, seed=7), decisions)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(RULES.decide(sites, scores, seed=8), decisions)


def test_no_cases_give_no_decisions():
    assert RULES.decide([], [], seed=0).tolist() == []


def test_the_json_is_a_plain_table_and_gives_the_same_thresholds_back():
    content = json.loads(RULES.to_json(), parse_constant=pytest.fail)  # no Infinity, which is not JSON
    assert content["constraint"] == "equalized_odds"
    assert content["thresholds"][0] == {"site": "basel", "decision": "always", "threshold": None, "share": 0.1}
    assert content["thresholds"][1] == {"site": "basel", "decision": "above", "threshold": 0.4, "share": 0.2}
    assert content["thresholds"][3]["decision"] == "never"
    assert content["thresholds"][4]["site"] == "Genève"
    assert SiteThresholds.from_json(RULES.to_json()) == RULES


@given(st.floats(0, 1), st.floats(0.001, 0.999))
def test_json_loses_no_digit(value, share):
    rules = SiteThresholds("equal_opportunity", {"a": (Threshold(value, share), Threshold(math.inf, 1 - share))})
    assert SiteThresholds.from_json(rules.to_json()) == rules


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "{}",
        '{"constraint": "equal_opportunity", "thresholds": 5}',
        '{"constraint": "equal_opportunity", "thresholds": [{"site": "a"}]}',
        '{"constraint": "equal_opportunity", "thresholds": [{"site": "a", "decision": "below", "share": 1}]}',
        '{"constraint": "equal_opportunity", "thresholds": [{"site": "a", "decision": "above", "threshold": null}]}',
        '{"thresholds": []}',
    ],
)  # fmt: skip
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="expected the JSON that `fairpool postprocess --json` writes"):
        SiteThresholds.from_json(text)


@pytest.mark.parametrize(
    ("constraint", "rules", "message"),
    [
        ("error_rate_parity", (Threshold(0.5, 1.0),), 'no thresholds by site for the constraint "error_rate_parity"'),
        (
            "equal_opportunity",
            (Threshold(0.5, 0.6),),
            'site "a": the shares of its thresholds must add up to 1, got 0.6',
        ),
        ("equal_opportunity", (), "must add up to 1, got 0"),
        ("equal_opportunity", (Threshold(0.5, 1.5), Threshold(0.6, -0.5)), r"lie in \(0, 1\], got 1\.5"),
        ("equal_opportunity", (Threshold(0.5, float("nan")),), r"lie in \(0, 1\], got nan"),
        (
            "equal_opportunity",
            (Threshold(1.5, 1.0),),
            r'site "a": a threshold must be a probability in \[0, 1\], got 1\.5',
        ),
        (
            "equal_opportunity",
            (Threshold(float("nan"), 1.0),),
            r"a threshold must be a probability in \[0, 1\], got nan",
        ),
    ],
)
def test_a_table_that_is_no_mixture_is_refused(constraint, rules, message):
    with pytest.raises(ValueError, match=message):
        SiteThresholds(constraint, {"a": rules})


@pytest.mark.parametrize(
    ("sites", "scores", "error", "message"),
    [
        (["zug", "basel", "chur"], [0.5] * 3, DataError, 'for "chur", "zug"; there are for "basel", "Genève"'),
        (["basel"], [0.5, 0.6], ValueError, r"1 sites and probabilities of shape \(2,\) do not match"),
        (["basel"], [float("nan")], ValueError, "must lie in 0..1, none NaN"),
        (["basel"], [-0.1], ValueError, "must lie in 0..1, none NaN"),
        (["basel"], [3.2], ValueError, "not logits"),
    ],
)  # fmt: skip
def test_cases_that_cannot_be_decided_are_refused(sites, scores, error, message):
    with pytest.raises(error, match=message):
        RULES.decide(sites, scores, seed=0)
