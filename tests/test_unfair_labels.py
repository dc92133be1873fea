"""Labels are selected on validation alone, each network is trained for itself, and the figures are scikit-learn's."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import precision_score, recall_score
from torch import nn

from fairpool import EqualOpportunity, FairALMLoss
from fairpool.stacked_network import StackedNetworks
from fairpool.unfair_labels import (
    LabelData,
    LabelTraining,
    find_unfair_labels,
    label_figures,
    select_unfair,
    train_labels,
)
from fairpool.unfair_labels_report import as_json, unfair_label_plot, unfair_labels_table


@pytest.fixture(scope="module")
def data():
    """Twelve grey values; "fair" is seen alike in both groups, "unfair" goes with the group, "noise" is unseen."""
    rng = np.random.default_rng(0)
    count = 3000
    group = rng.integers(0, 2, count)
    fair = rng.integers(0, 2, count)
    unfair = (rng.random(count) < np.where(group == 1, 0.85, 0.25)).astype(int)
    signal = np.stack([group * 3.0, fair * 3.0, unfair * 0.8], axis=1)
    pixels = np.clip(
        100 + 20 * np.concatenate([signal, np.zeros((count, 9))], axis=1) + rng.normal(0, 20, (count, 12)), 0, 255
    )
    labels = pd.DataFrame({"group": group, "fair": fair, "unfair": unfair, "noise": rng.integers(0, 2, count)})
    sections = np.repeat(["training", "validation", "test"], [1600, 600, 800])
    return LabelData(pixels.astype(np.uint8), labels, sections)


TRAINING = LabelTraining(epochs=15, width=8, eta=0.1, learning_rate=0.03)


@pytest.fixture(scope="module")
def found(data):
    return find_unfair_labels(data, ["group"], training=TRAINING)


def test_the_label_that_goes_with_the_group_is_selected_and_the_fair_one_is_not(found):
    assert set(found["target"][found["selected"]]) == {"unfair"}
    assert set(found["target"]) == {"fair", "unfair", "noise"}  # the group is no target of its own
    assert set(found["target"][found["method"] == "fairalm"]) == {"unfair"}


def test_fairalm_leaves_less_deo_on_the_test_section(found):
    row = unfair_labels_table(found).iloc[0]
    assert row["deo_unconstrained"] > 0.25
    assert row["deo_fairalm"] < row["deo_unconstrained"] / 2


def test_the_figures_are_those_of_scikit_learn(data):
    rng = np.random.default_rng(1)
    decisions = {"unfair": torch.from_numpy(rng.integers(0, 2, len(data.sections)))}
    for row in label_figures(data, decisions, "group", ["unfair"]).to_dict("records"):
        rows = data.rows(row["section"])
        true, guess = data.labels["unfair"].to_numpy()[rows], decisions["unfair"].numpy()[rows]
        group = data.labels["group"].to_numpy()[rows]
        missed = [1 - recall_score(true[group == k], guess[group == k]) for k in (0, 1)]
        assert row["precision"] == pytest.approx(precision_score(true, guess))
        assert row["error"] == pytest.approx((true != guess).mean())
        assert (row["fnr_absent"], row["fnr_present"]) == pytest.approx(missed)
        assert row["deo"] == pytest.approx(abs(missed[0] - missed[1]))
        assert row["positives_absent"] == (true[group == 0] == 1).sum()


def test_a_network_that_predicts_no_positive_has_no_precision_and_is_not_selected(data):
    figures = label_figures(data, {"fair": torch.zeros(3000, dtype=torch.int64)}, "group", ["fair"])
    assert figures["precision"].isna().all()
    assert select_unfair(figures, least_precision=0.0, least_deo=0.0) == []


def test_only_the_validation_section_selects(found):
    swapped = found[found["method"] == "unconstrained"].copy()
    swapped.loc[swapped["section"] == "test", ["precision", "deo"]] = (0.0, 0.0)
    assert select_unfair(swapped, least_precision=0.7, least_deo=0.04) == ["unfair"]
    swapped.loc[swapped["section"] == "validation", "deo"] = 0.039
    assert select_unfair(swapped, least_precision=0.7, least_deo=0.04) == []


def test_fairalm_over_many_labels_is_fairalm_of_each_label_alone(data):
    """The multi-label loss of the stack against single-label losses over ordinary copies of its networks."""
    torch.manual_seed(0)
    rows = torch.arange(200)
    inputs = torch.from_numpy(data.pixels[:200]).float().sub(127.5).div(64)
    targets = torch.from_numpy(data.labels[["fair", "unfair"]].to_numpy(copy=True))[rows]
    groups = torch.from_numpy(data.labels["group"].to_numpy(copy=True))[rows]
    stack = StackedNetworks(2, num_inputs=12, width=4)
    singles = [StackedNetworks(1, num_inputs=12, width=4) for _ in range(2)]
    for number, single in enumerate(singles):
        with torch.no_grad():
            for name, own in single.named_parameters():
                whole = dict(stack.named_parameters())[name]
                own.copy_(
                    whole[4 * number : 4 * number + 4] if name.startswith("first") else whole[number : number + 1]
                )
    from fairpool.unfair_labels import _SumOverLabels

    joint = FairALMLoss(_SumOverLabels(), EqualOpportunity(), 2, eta=0.2)
    apart = [FairALMLoss(nn.BCEWithLogitsLoss(), EqualOpportunity(), 2, eta=0.2) for _ in range(2)]
    optimizer = torch.optim.SGD(stack.parameters(), lr=0.5)
    optimizers = [torch.optim.SGD(single.parameters(), lr=0.5) for single in singles]
    for _ in range(6):
        optimizer.zero_grad()
        joint(stack(inputs), targets, groups).backward()
        optimizer.step()
        joint.update_multipliers()
        for number in range(2):
            optimizers[number].zero_grad()
            apart[number](singles[number](inputs), targets[:, number], groups).backward()
            optimizers[number].step()
            apart[number].update_multipliers()
    expected = torch.cat([single(inputs) for single in singles], dim=1)
    torch.testing.assert_close(stack(inputs), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(joint.multipliers, torch.cat([loss.multipliers for loss in apart]), rtol=1e-4, atol=1e-5)


def test_a_seed_repeats_itself_and_leaves_the_global_generator_alone(data):
    state = torch.get_rng_state()
    first, second = (train_labels(data, ["fair"], None, training=LabelTraining(epochs=1)) for _ in range(2))
    assert torch.equal(first["fair"], second["fair"])
    assert torch.equal(torch.get_rng_state(), state)
    assert (first["fair"][:1600] == -1).all()  # no decision is taken of what it was trained on


def test_progress_ends_at_its_total_also_where_no_label_is_selected(data):
    calls = []
    find_unfair_labels(
        data, ["group"], training=LabelTraining(epochs=1), least_deo=1, progress=lambda *call: calls.append(call)
    )
    assert calls[-1][0] <= calls[-1][1]


@pytest.mark.parametrize(
    ("protected", "options", "message"),
    [
        (["sex"], {}, 'no label "sex"; there are group, fair'),
        (["group", "group"], {}, "name each protected attribute once"),
        (["group"], {"least_deo": 4}, "thresholds 0.7 and 4"),
    ],
)
def test_what_makes_no_sense_is_refused(data, protected, options, message):
    with pytest.raises(ValueError, match=message):
        find_unfair_labels(data, protected, **options)


def test_the_plot_has_a_bar_and_an_arrow_for_each_selected_label(found):
    (axis,) = unfair_label_plot(found).axes
    table = unfair_labels_table(found)
    assert [bar.get_height() for bar in axis.patches] == pytest.approx((100 * table["deo_unconstrained"]).tolist())
    arrows = [text for text in axis.texts if getattr(text, "arrow_patch", None) is not None]
    assert [arrow.xy[1] for arrow in arrows] == pytest.approx((100 * table["deo_fairalm"]).tolist())


def test_the_plot_says_where_no_label_is_selected(found):
    (axis,) = unfair_label_plot(found.assign(selected=False)).axes
    assert [text.get_text() for text in axis.texts] == ["no label selected"]


def test_json_has_no_nan(found):
    silent = found.assign(precision=float("nan"))
    text = json.dumps(as_json(silent, {"eta": 0.1}, ["synthetic"]), allow_nan=False)
    assert json.loads(text)["labels"][0]["precision"] is None
