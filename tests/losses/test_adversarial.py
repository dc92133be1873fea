"""The adversarial baseline against eq. (1) of Zhang et al. 2018, written out on a small network."""

import io

import pytest
import torch
from torch import nn

from fairpool import (
    DemographicParity,
    EqualizedOdds,
    EqualOpportunity,
    ErrorRateParity,
    FairALMHandler,
    PredictiveParity,
)
from fairpool.losses import AdversarialLoss
from fairpool.losses.adversarial import Adversary

K = 3


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def batch(seed=0, size=24):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, (size,), generator=generator)
    return images, labels, torch.randint(-1, K, (size,), generator=generator)


def guess_by_hand(loss, logits, label, sees_label):
    """The group's probabilities of one sample from section 4: s = softmax((1 + |c|) z), linear in s, or s times y."""
    state = dict(loss.adversary.named_parameters())
    s = ((1 + state["sharpness"].abs()) * logits).softmax(0)
    seen = torch.stack([s[c] * (label == y) for c in range(2) for y in range(2)]) if sees_label else s
    return (state["guess.weight"] @ seen + state["guess.bias"]).log_softmax(0)


@pytest.mark.parametrize(
    ("constraint", "is_member", "sees_label"),
    [
        (DemographicParity(), lambda y: True, False),
        (EqualizedOdds(), lambda y: True, True),
        (EqualOpportunity(), lambda y: y == 1, False),
    ],
    ids=["demographic_parity", "equalized_odds", "equal_opportunity"],
)
def test_the_gradient_is_that_of_the_papers_equation(constraint, is_member, sees_label):
    model = network()
    loss = AdversarialLoss(nn.CrossEntropyLoss(), constraint, K, strength=0.7).double()
    with torch.no_grad():
        loss.adversary.sharpness.fill_(0.3)
    images, labels, groups = batch()
    value = loss(model(images), labels, groups)
    value.backward()
    found = torch.cat([p.grad.flatten() for p in model.parameters()])

    logits = model(images)
    task = nn.CrossEntropyLoss()(logits, labels)
    rows = [i for i in range(len(labels)) if groups[i] >= 0 and is_member(int(labels[i]))]
    guessed = [guess_by_hand(loss, logits[i], int(labels[i]), sees_label)[groups[i]] for i in rows]
    against = -torch.stack(guessed).mean()
    g, h = (
        torch.cat([part.flatten() for part in torch.autograd.grad(one, list(model.parameters()), retain_graph=True)])
        for one in (task, against)
    )
    expected = g - (g @ h) / (h @ h) * h - 0.7 * h
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    # Only the pull of strength is left along the adversary's gradient: the projection took the rest.
    assert float(found @ h / (h @ h)) == pytest.approx(-0.7, rel=1e-6)


def test_the_network_gets_no_gradient_into_the_adversary_nor_the_adversary_the_networks():
    model, loss = network(), AdversarialLoss(nn.CrossEntropyLoss(), EqualOpportunity(), K).double()
    images, labels, groups = batch()
    value = loss(model(images), labels, groups)
    own = [p.grad.clone() for p in loss.adversary.parameters()]  # gathered in the forward call
    value.backward()
    for before, parameter in zip(own, loss.adversary.parameters(), strict=True):
        assert torch.equal(before, parameter.grad)


def test_the_adversary_learns_to_guess_from_outputs_that_tell_the_group():
    loss = AdversarialLoss(nn.CrossEntropyLoss(), DemographicParity(), 2, strength=0.0, learning_rate=0.1)
    groups = torch.tensor([0, 1] * 50)
    logits = torch.stack([-2.0 + 4.0 * groups, torch.zeros(100)], dim=1).requires_grad_(True)
    for _ in range(200):
        loss(logits, torch.ones(100, dtype=torch.long), groups)
        loss.update_multipliers()
    guesses = loss.adversary(logits.detach(), torch.ones(100, dtype=torch.long)).argmax(dim=1)
    assert torch.equal(guesses, groups)


def test_gradients_of_a_window_add_up_and_a_skipped_window_is_forgotten():
    loss = AdversarialLoss(nn.CrossEntropyLoss(), EqualOpportunity(), K).double()
    model = network()
    parts = [batch(1), batch(2)]
    singles = []
    for images, labels, groups in parts:
        loss(model(images), labels, groups)
        singles.append(loss.adversary.guess.weight.grad.clone())
        loss.discard_window()
        assert loss.adversary.guess.weight.grad is None
    for images, labels, groups in parts:
        loss(model(images), labels, groups)
    torch.testing.assert_close(loss.adversary.guess.weight.grad, singles[0] + singles[1])


def test_a_step_that_moved_nothing_moves_no_adversary():
    loss = AdversarialLoss(nn.CrossEntropyLoss(), EqualOpportunity(), K).double()
    images, labels, groups = batch()
    before = loss.adversary.guess.weight.detach().clone()
    loss(network()(images), labels, groups)
    loss.update_multipliers(torch.tensor(1.0))
    assert torch.equal(loss.adversary.guess.weight, before)
    loss(network()(images), labels, groups)
    loss.update_multipliers(torch.tensor(0.0))
    assert not torch.equal(loss.adversary.guess.weight, before)


def test_a_loss_that_is_not_finite_freezes_the_adversary():
    loss = AdversarialLoss(nn.CrossEntropyLoss(), EqualOpportunity(), K).double()
    images, labels, groups = batch()
    images[0] = torch.nan
    before = loss.adversary.guess.weight.detach().clone()
    for number in range(2):
        loss(network()(images), labels, groups)
        loss.update_multipliers(iteration=number + 4)
        images = batch()[0]
    assert torch.equal(loss.adversary.guess.weight, before)
    assert int(loss.nonfinite_iteration) == 4


def test_adversary_and_its_optimizer_go_on_from_a_checkpoint_as_if_never_stopped():
    def steps(loss, seeds):
        for seed in seeds:
            images, labels, groups = batch(seed)
            loss(network()(images), labels, groups)
            loss.update_multipliers()

    def make():
        torch.manual_seed(0)
        return AdversarialLoss(nn.CrossEntropyLoss(), EqualizedOdds(), K).double()

    whole, first, second = make(), make(), make()
    steps(whole, range(6))
    steps(first, range(3))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    steps(second, range(3, 6))
    assert torch.equal(whole.adversary.guess.weight, second.adversary.guess.weight)


def test_the_handler_serves_it_in_a_trainer(train):
    loss = AdversarialLoss(nn.CrossEntropyLoss(), EqualOpportunity(), K)
    before = loss.adversary.guess.weight.detach().clone()
    trainer = train(loss, [FairALMHandler(loss, group_key="site")], epochs=2)
    trainer.run()
    assert not torch.equal(loss.adversary.guess.weight, before)
    assert not torch.equal(trainer.steps[0].weights, trainer.steps[-1].weights)


@pytest.mark.parametrize("layout", [(), (1,)], ids=str)
def test_a_sigmoid_is_the_softmax_of_the_same_margin(layout):
    images, labels, groups = batch()
    torch.manual_seed(0)
    loss = AdversarialLoss(nn.BCEWithLogitsLoss(), EqualizedOdds(), K).double().eval()
    margins = images[:, 0]
    one = loss(margins.reshape(-1, *layout), labels.double().reshape(-1, *layout), groups)
    loss.base_loss = nn.CrossEntropyLoss()
    assert one.item() == pytest.approx(loss(torch.stack([0 * margins, margins], 1), labels, groups).item(), rel=1e-9)


def test_more_than_two_classes_need_only_be_said():
    loss = AdversarialLoss(nn.CrossEntropyLoss(), EqualizedOdds(3), 2, num_classes=3)
    assert isinstance(loss.adversary, Adversary)
    value = loss(torch.randn(9, 3, requires_grad=True), torch.arange(9) % 3, torch.arange(9) % 2)
    assert torch.isfinite(value)


@pytest.mark.parametrize("constraint", [ErrorRateParity(), PredictiveParity()], ids=repr)
def test_a_constraint_that_an_adversary_has_no_form_for_is_refused(constraint):
    with pytest.raises(TypeError, match=f"no form for '{constraint.name}'"):
        AdversarialLoss(nn.CrossEntropyLoss(), constraint, 2)


@pytest.mark.parametrize(("name", "value"), [("strength", -1.0), ("learning_rate", 0.0), ("strength", float("inf"))])
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        AdversarialLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 2, **{name: value})


@pytest.mark.parametrize("layout", [(3,), (4,)], ids=str)
def test_an_output_of_another_number_of_classes_is_refused_with_the_remedy(layout):
    loss = AdversarialLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 2)
    with pytest.raises(
        ValueError, match=f"made for 2 classes and the network's output has {layout[0]}: pass num_classes"
    ):
        loss(torch.zeros(4, *layout), torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 1]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_projection_is_the_same_in_half_precision(dtype):
    """Bug found here: in float16 small gradients were lost, and the projection was a third of what it should be."""
    from fairpool.losses.adversarial import _projection

    torch.manual_seed(0)
    first, second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
    pool = nn.AdaptiveAvgPool2d(1)  # a pixel's gradient is a four-thousandth of an image's
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), pool, nn.Flatten(), nn.Linear(8, 2))
    adversary = Adversary(2, 2, sees_label=False)
    images, labels, groups = torch.randn(32, 1, 64, 64), torch.randint(0, 2, (32,)), torch.randint(0, 2, (32,))

    def projection(enabled):
        with torch.autocast("cpu", dtype=dtype, enabled=enabled):
            logits = model(images)
        logits = logits.float()
        base = nn.functional.cross_entropy(logits, labels)
        return float(_projection(base, nn.functional.cross_entropy(adversary(logits, labels), groups), logits))

    assert projection(enabled=True) == pytest.approx(projection(enabled=False), rel=0.05)
