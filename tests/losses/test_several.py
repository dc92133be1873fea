"""Several protected attributes, and several labels a sample: sums of what each gives alone."""

import io

import pytest
import torch
from torch import nn

from fairpool import DemographicParity, EqualizedOdds, EqualOpportunity, FairALMHandler, FairALMLoss, PredictiveParity

SIZE = 30


def draw(seed=0, num_labels=None):
    generator = torch.Generator().manual_seed(seed)
    shape = (SIZE,) if num_labels is None else (SIZE, num_labels)
    logits = 2 * torch.randn(*shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, shape, generator=generator)
    sites, sexes = (torch.randint(-1, k, (SIZE,), generator=generator) for k in (4, 2))
    return logits, labels, sites, sexes


@pytest.mark.parametrize(
    "options",
    [{}, {"penalty": "quadratic"}, {"dual_rates": "hard", "dual_step": 0.5}],
    ids=["paper", "quadratic", "hard"],
)
@pytest.mark.parametrize("second", [EqualOpportunity(), PredictiveParity()], ids=repr)
def test_two_attributes_add_what_each_adds_alone(second, options):
    base = nn.BCEWithLogitsLoss()
    both = FairALMLoss(base, [EqualizedOdds(), second], [4, 2], eta=0.25, **options).double()
    alone = [
        FairALMLoss(base, constraint, number, eta=0.25, **options).double()
        for constraint, number in ((EqualizedOdds(), 4), (second, 2))
    ]
    for seed in range(4):
        logits, labels, sites, sexes = draw(seed)
        logits.requires_grad_(True)
        value = both(logits, labels.double(), (sites, sexes))
        parts = [loss(logits, labels.double(), groups) for loss, groups in zip(alone, (sites, sexes), strict=True)]
        expected = sum(parts) - base(logits, labels.double())
        assert value.item() == pytest.approx(expected.item(), rel=1e-12)
        gradients = [torch.autograd.grad(v, logits, retain_graph=True)[0] for v in (value, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)
        for loss in (both, *alone):
            loss.update_multipliers()
        torch.testing.assert_close(both.multipliers[:2], alone[0].multipliers, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(both.multipliers[2:, :2], alone[1].multipliers, rtol=1e-12, atol=1e-14)
        assert bool((both.multipliers[2:, 2:] == 0).all())  # groups that the second attribute does not have


def test_events_are_named_by_attribute():
    loss = FairALMLoss(nn.BCEWithLogitsLoss(), [EqualizedOdds(), EqualOpportunity()], [4, 2])
    assert loss.events == ("attribute0/y0", "attribute0/y1", "attribute1/y1")


@pytest.mark.parametrize("constraint", [EqualOpportunity(), EqualizedOdds(), PredictiveParity()], ids=repr)
@pytest.mark.parametrize("options", [{}, {"penalty": "quadratic"}, {"dual_rates": "hard"}], ids=str)
def test_each_label_is_an_event_set_of_its_own(constraint, options):
    num_labels, base = 3, nn.BCEWithLogitsLoss()
    joint = FairALMLoss(base, constraint, 4, eta=0.25, **options).double()
    alone = [FairALMLoss(base, constraint, 4, eta=0.25, **options).double() for _ in range(num_labels)]
    for seed in range(3):
        logits, labels, sites, _ = draw(seed, num_labels)
        logits.requires_grad_(True)
        value = joint(logits, labels.double(), sites)
        expected = base(logits, labels.double())
        for number, loss in enumerate(alone):
            column = logits[:, number], labels[:, number].double()
            expected = expected + loss(*column, sites) - base(*column)
        assert value.item() == pytest.approx(expected.item(), rel=1e-12)
        gradients = [torch.autograd.grad(v, logits, retain_graph=True)[0] for v in (value, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)
        for loss in (joint, *alone):
            loss.update_multipliers()
        stacked = torch.cat([loss.multipliers for loss in alone])
        torch.testing.assert_close(joint.multipliers, stacked, rtol=1e-12, atol=1e-14)
    assert joint.events[: len(constraint.events)] == tuple(f"label0/{event}" for event in constraint.events)


def test_multi_label_selection_rates_have_multipliers_for_each_label():
    loss = FairALMLoss(nn.BCEWithLogitsLoss(), DemographicParity(), 4, penalty="quadratic")
    logits, labels, sites, _ = draw(0, 5)
    loss(logits, labels.double(), sites)
    loss.update_multipliers()
    assert loss.multipliers.shape == (5, 4)
    torch.testing.assert_close(loss.multipliers.sum(dim=1), torch.zeros(5), atol=1e-6, rtol=0)


def test_a_checkpoint_of_a_multi_label_loss_is_restored_before_its_first_batch():
    first = FairALMLoss(nn.BCEWithLogitsLoss(), EqualOpportunity(), 4)
    logits, labels, sites, _ = draw(0, 3)
    first(logits, labels.double(), sites)
    first.update_multipliers()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = FairALMLoss(nn.BCEWithLogitsLoss(), EqualOpportunity(), 4)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(first.multipliers, second.multipliers)
    assert torch.equal(first(logits, labels.double(), sites), second(logits, labels.double(), sites))


def test_one_hot_targets_of_a_cross_entropy_are_refused_as_such():
    loss = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 2)
    with pytest.raises(ValueError, match=r"labels \(4, 2\).*labels.argmax\(1\).*BCEWithLogitsLoss"):
        loss(torch.zeros(4, 2), torch.eye(2)[[0, 1, 0, 1]], torch.tensor([0, 1, 0, 1]))


def test_multi_label_targets_without_a_logit_each_are_refused_with_both_shapes():
    loss = FairALMLoss(nn.BCEWithLogitsLoss(), EqualOpportunity(), 2)
    with pytest.raises(ValueError, match=r"one logit a label; got logits \(4, 3\), labels \(4, 2\)"):
        loss(torch.zeros(4, 3), torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]))


def test_another_number_of_labels_later_is_refused():
    loss = FairALMLoss(nn.BCEWithLogitsLoss(), EqualOpportunity(), 4)
    for num_labels in (3, 5):
        logits, labels, sites, _ = draw(0, num_labels)
        if num_labels == 3:
            loss(logits, labels.double(), sites)
            continue
        with pytest.raises(ValueError, match="made for 3 labels a sample and got 5"):
            loss(logits, labels.double(), sites)


@pytest.mark.parametrize("num_groups", [4, [4], [4, 2, 2]], ids=str)
def test_constraints_and_numbers_of_groups_of_unlike_length_are_refused(num_groups):
    with pytest.raises(ValueError, match="got 2 constraints and"):
        FairALMLoss(nn.BCEWithLogitsLoss(), [EqualOpportunity(), EqualOpportunity()], num_groups)


def test_known_counts_of_several_attributes_or_labels_are_refused():
    with pytest.raises(ValueError, match="counts serves one protected attribute"):
        FairALMLoss(nn.BCEWithLogitsLoss(), [EqualOpportunity()] * 2, [2, 2], counts=torch.ones(2, 2))
    loss = FairALMLoss(nn.BCEWithLogitsLoss(), EqualOpportunity(), 4, counts=torch.ones(2, 4))
    logits, labels, sites, _ = draw(0, 3)
    with pytest.raises(ValueError, match="counts serves one label a sample"):
        loss(logits, labels.double(), sites)


def test_the_handler_binds_one_key_an_attribute(train, items):
    for number, item in enumerate(items):
        item["sex"] = number % 2
    loss = FairALMLoss(nn.CrossEntropyLoss(), [EqualOpportunity(), EqualOpportunity()], [3, 2])
    train(loss, [FairALMHandler(loss, group_key=["site", "sex"])], data=items).run()
    assert bool((loss.multipliers[1, :2] != 0).all())
    assert float(loss.multipliers[1, 2]) == 0


def test_a_group_that_an_attribute_does_not_have_is_not_taken_for_padding():
    """Bug found here: after the first batch, id 2 of an attribute of two groups was counted as a third group."""
    loss = FairALMLoss(nn.BCEWithLogitsLoss(), [EqualOpportunity(), EqualOpportunity()], [2, 3])
    logits, labels, *_ = draw()
    groups = torch.arange(SIZE) % 2
    loss(logits, labels.double(), (groups, groups))
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        loss(logits, labels.double(), (groups + 1, groups))
