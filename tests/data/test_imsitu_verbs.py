import pandas as pd
import pytest
from scipy.stats import binomtest

from fairpool.data.imsitu_verbs import biased_verbs, propose_pairs

# Images of Wang et al. 2019 (ICCV): training images of the verbs of the paper's table 1, male and female agents.
PUBLISHED = {
    "cooking": (35, 73),
    "driving": (86, 53),
    "shaving": (72, 18),
    "moisturizing": (13, 121),
    "washing": (46, 110),
    "saluting": (58, 24),
    "assembling": (161, 34),
    "hanging": (43, 129),
}
BIASED_TO_MEN = {"driving", "shaving", "saluting", "assembling"}


def records(counts, section="training"):
    rows = [
        (verb, gender, section)
        for verb, numbers in counts.items()
        for gender, number in zip(("male", "female", "mixed", "none"), numbers, strict=False)
        for _ in range(number)
    ]
    return pd.DataFrame(rows, columns=["verb", "gender", "section"])


def test_the_papers_verbs_lean_as_it_says():
    table = biased_verbs(records(PUBLISHED))
    assert set(table["verb"][table["leans"] == "male"]) == BIASED_TO_MEN
    assert set(table["verb"][table["leans"] == "female"]) == set(PUBLISHED) - BIASED_TO_MEN
    assert table["verb"].iloc[0] == "assembling"  # 161 of 195, the largest share


def test_ratio_and_interval_are_those_of_scipy():
    table = biased_verbs(records(PUBLISHED), confidence=0.9).set_index("verb")
    for verb, (male, female) in PUBLISHED.items():
        test = binomtest(male, male + female)
        limits = test.proportion_ci(0.9, method="wilson")
        assert table.loc[verb, "ratio"] == pytest.approx(male / (male + female))
        assert table.loc[verb, ["low", "high"]].tolist() == pytest.approx([limits.low, limits.high], abs=1e-6)


def test_a_verb_whose_interval_holds_one_half_leans_to_nobody():
    table = biased_verbs(records({"waving": (30, 26)}))
    assert table["leans"].tolist() == [""]


def test_mixed_and_ungendered_images_are_counted_and_not_in_the_ratio():
    (row,) = biased_verbs(records({"waving": (40, 20, 7, 9)})).to_dict("records")
    assert (row["male"], row["female"], row["mixed"], row["none"]) == (40, 20, 7, 9)
    assert row["ratio"] == pytest.approx(2 / 3)


def test_verbs_with_few_images_of_one_gender_are_left_out():
    table = biased_verbs(records({"waving": (30, 20), "rowing": (30, 19, 50)}))
    assert table["verb"].tolist() == ["waving"]
    with pytest.raises(ValueError, match="no verb has 60 images"):
        biased_verbs(records({"waving": (30, 20)}), min_images=60)


def test_the_test_section_is_not_looked_at_unless_asked_for():
    both = pd.concat([records({"waving": (60, 0)}), records({"waving": (0, 60)}, "test")])
    assert biased_verbs(both)["ratio"].tolist() == [1.0]
    assert biased_verbs(both, section=None)["ratio"].tolist() == [0.5]


def test_pairs_join_the_strongest_of_each_side_that_have_the_rarer_gender():
    table = biased_verbs(records({**PUBLISHED, "curtsying": (2, 93), "boxing": (300, 0)}))
    pairs = propose_pairs(table, min_rare=10)
    assert pairs["male_verb"].tolist() == ["assembling", "shaving", "saluting", "driving"]
    assert pairs["female_verb"].tolist() == ["moisturizing", "hanging", "washing", "cooking"]
    assert pairs["rare"].tolist() == [13, 18, 24, 35]
    assert len(propose_pairs(table, most=2)) == 2
    assert propose_pairs(table[table["leans"] == "male"]).empty


@pytest.mark.parametrize("wrong", [{"min_images": 0}, {"confidence": 1.0}])
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        biased_verbs(records({"waving": (40, 20)}), **wrong)
