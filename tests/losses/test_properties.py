"""What holds of every constraint, surrogate, penalty and layout, whatever the batch: invariances, signs, and no NaN.

`test_fairalm` asks the same of equalized odds beside its oracle; here are all constraints, the other losses, several
classes and several labels, and logits as large as they come.
"""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from fairpool import (
    DemographicParity,
    EqualizedOdds,
    EqualOpportunity,
    ErrorRateParity,
    FairALMLoss,
    PredictiveEquality,
    PredictiveParity,
)
from fairpool.losses import AdversarialLoss, L2PenaltyLoss, LagrangianLoss, ProxyLagrangianLoss, ReweightedLoss
from fairpool.losses.surrogates import SURROGATES

pytestmark = pytest.mark.filterwarnings("ignore:the network's outputs are non-negative")

ETA = 0.125  # exact in single precision, in which a new loss keeps it
NUM_CLASSES = {"sigmoid": 2, "two classes": 2, "three classes": 3, "two labels": 2}


def constraints_of(layout):
    """Every constraint that has a meaning for the layout."""
    number = NUM_CLASSES[layout]
    made = [EqualOpportunity(), EqualOpportunity(label=0), PredictiveEquality(), ErrorRateParity()]
    return [*made, EqualizedOdds(number), DemographicParity(number), PredictiveParity(number)]


QUARTERS = st.integers(-16, 16).map(lambda number: number / 4)


@st.composite
def losses(draw, kinds=("fairalm", "l2", "lagrangian", "proxy")):
    """How to make a loss, as a function of K, and the layout of its logits."""
    layout = draw(st.sampled_from(list(NUM_CLASSES)))
    constraint = draw(st.sampled_from(constraints_of(layout)))
    base = nn.BCEWithLogitsLoss() if layout in ("sigmoid", "two labels") else nn.CrossEntropyLoss()
    surrogate = draw(st.sampled_from(SURROGATES if constraint.is_error_rate else ("probability",)))
    quadratic_only = isinstance(constraint, DemographicParity)
    kind = draw(st.sampled_from(kinds))
    if kind == "l2" or (kind != "fairalm" and quadratic_only):
        return layout, lambda number: L2PenaltyLoss(base, constraint, number, eta=ETA, surrogate=surrogate)
    if kind != "fairalm":
        make = LagrangianLoss if kind == "lagrangian" else ProxyLagrangianLoss
        return layout, lambda number: make(base, constraint, number, dual_step=ETA, surrogate=surrogate)
    options = {
        "eta": ETA,
        "penalty": "quadratic" if quadratic_only else draw(st.sampled_from(["linear", "quadratic"])),
        "dual_rates": draw(st.sampled_from(["soft", "hard"])),
        "surrogate": surrogate,
    }
    return layout, lambda number: FairALMLoss(base, constraint, number, **options)


@st.composite
def batches(draw, layout, values=QUARTERS):
    """K, and a batch: groups may be unknown, absent or alone, labels all alike."""
    num_groups, size = draw(st.integers(2, 5)), draw(st.integers(1, 10))
    width = {"sigmoid": 1, "two classes": 2, "three classes": 3, "two labels": 2}[layout]
    labels_each = 2 if layout == "two labels" else 1
    sample = st.tuples(
        st.lists(values, min_size=width, max_size=width),
        st.lists(st.integers(0, NUM_CLASSES[layout] - 1), min_size=labels_each, max_size=labels_each),
        st.integers(-1, num_groups - 1),
    )
    rows = draw(st.lists(sample, min_size=size, max_size=size))
    logits = torch.tensor([row[0] for row in rows], dtype=torch.float64)
    labels, groups = torch.tensor([row[1] for row in rows]), torch.tensor([row[2] for row in rows])
    return num_groups, logits, labels if layout == "two labels" else labels[:, 0], groups


@st.composite
def problems(draw, **options):
    layout, make = draw(losses())
    return make, draw(batches(layout, **options))


def start(loss, logits, labels, groups, multipliers=None):
    """Make room for the events, so that multipliers can be put in."""
    with torch.no_grad():
        loss.eval()(logits, labels, groups)
    loss.train()
    if multipliers is not None:
        loss.multipliers.copy_(multipliers)
    return loss


def step(loss, logits, labels, groups):
    """Value, gradient and the multipliers after one dual step."""
    logits = logits.clone().requires_grad_(True)
    value = loss(logits, labels, groups)
    (slopes,) = torch.autograd.grad(value, logits)
    loss.update_multipliers()
    return value.detach(), slopes, getattr(loss, "multipliers", torch.zeros(())).clone()


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def some_multipliers(loss):
    """Numbers that differ and sum to zero in each event."""
    events, groups = loss.multipliers.shape
    drawn = torch.sin(torch.arange(1.0, events * groups + 1, dtype=torch.float64)).view(events, groups)
    return drawn - drawn.mean(dim=1, keepdim=True)


@settings(deadline=None, max_examples=80)
@given(problems())
def test_multipliers_of_every_event_sum_to_zero_over_many_steps(problem):
    make, (num_groups, *batch) = problem
    loss = make(num_groups).double()
    for _ in range(3):
        value, slopes, multipliers = step(loss, *batch)
        assert bool(torch.isfinite(value))
        assert bool(torch.isfinite(slopes).all())
        assert float(multipliers.sum(dim=1).abs().max()) < 1e-12


@settings(deadline=None, max_examples=80)
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_nothing(problem, random):
    make, (num_groups, logits, labels, groups) = problem
    order = list(range(len(groups)))
    random.shuffle(order)
    value, slopes, multipliers = step(make(num_groups).double(), logits, labels, groups)
    shuffled = step(make(num_groups).double(), logits[order], labels[order], groups[order])
    assert_same(shuffled, (value, slopes[order], multipliers))


@settings(deadline=None, max_examples=80)
@given(problems(), st.randoms(use_true_random=False))
def test_renaming_the_groups_permutes_the_multipliers_and_changes_nothing_else(problem, random):
    make, (num_groups, logits, labels, groups) = problem
    new_id = list(range(num_groups))
    random.shuffle(new_id)
    renamed = torch.tensor([new_id[group] if group >= 0 else -1 for group in groups.tolist()])
    loss, other = (start(make(num_groups).double(), logits, labels, groups) for _ in range(2))
    before = some_multipliers(loss)
    loss.multipliers.copy_(before)
    other.multipliers[:, new_id] = before
    value, slopes, multipliers = step(loss, logits, labels, groups)
    of_renamed = step(other, logits, labels, renamed)
    assert_same((*of_renamed[:2], of_renamed[2][:, new_id]), (value, slopes, multipliers))


@settings(deadline=None, max_examples=80)
@given(problems(), st.integers(2, 3))
def test_copies_of_the_batch_change_neither_value_nor_multipliers(problem, copies):
    make, (num_groups, logits, labels, groups) = problem
    value, slopes, multipliers = step(make(num_groups).double(), logits, labels, groups)
    many = [torch.cat([part] * copies) for part in (logits, labels, groups)]
    assert_same(step(make(num_groups).double(), *many), (value, torch.cat([slopes] * copies) / copies, multipliers))


@settings(deadline=None, max_examples=80)
@given(problems())
def test_samples_of_unknown_group_have_the_gradient_of_the_base_loss_alone(problem):
    make, (num_groups, logits, labels, groups) = problem
    loss = start(make(num_groups).double(), logits, labels, groups)
    loss.multipliers.copy_(some_multipliers(loss))
    _, slopes, _ = step(loss, logits, labels, groups)
    plain = logits.clone().requires_grad_(True)
    shaped = labels.reshape(plain.shape).double() if isinstance(loss.base_loss, nn.BCEWithLogitsLoss) else labels
    (expected,) = torch.autograd.grad(loss.base_loss(plain, shaped), plain)
    assert_same(slopes[groups < 0], expected[groups < 0])


@settings(deadline=None, max_examples=60)
@given(problems(), st.sampled_from([0.01, 0.1, 1.0]))
def test_bounded_multipliers_stay_within_their_bound_and_are_the_free_ones_cut_off(problem, bound):
    make, (num_groups, *batch) = problem
    assume(isinstance(loss := make(num_groups).double(), FairALMLoss) and loss.dual_step is None)
    bounded = make(num_groups).double()
    bounded.max_multiplier = bound
    _, _, free = step(loss, *batch)
    _, _, cut = step(bounded, *batch)
    assert_same(cut, free.clamp(-bound, bound))
    for _ in range(4):
        _, _, cut = step(bounded, *batch)
        assert float(cut.abs().max()) <= bound


# Numbers that are large, and numbers that are none


@settings(deadline=None, max_examples=120)
@given(problems(values=st.floats(-(2.0**50), 2.0**50, width=32)))
def test_no_logit_up_to_1e15_makes_a_nan_in_single_precision(problem):
    make, (num_groups, logits, labels, groups) = problem
    loss = make(num_groups)
    for tensor in step(loss, logits.float(), labels, groups):
        assert not bool(tensor.isnan().any())


ANY_FLOAT = st.floats(width=32) | st.sampled_from([math.inf, -math.inf, math.nan, 3e38, -3e38])


@settings(deadline=None, max_examples=120)
@given(problems(values=ANY_FLOAT))
def test_multipliers_are_finite_after_any_logits_whatever(problem):
    make, (num_groups, logits, labels, groups) = problem
    loss = make(num_groups)
    logits = logits.float().requires_grad_(True)
    value = loss(logits, labels, groups)
    value.backward()
    loss.update_multipliers(iteration=7)
    assert bool(torch.isfinite(loss.multipliers).all())
    if not bool(torch.isfinite(value)):
        assert int(loss.nonfinite_iteration) == 7
        assert bool((loss.multipliers == 0).all())


# Known counts


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(["sigmoid", "two classes", "three classes"]), st.booleans())
def test_with_known_counts_the_parts_of_a_batch_add_up_to_it_for_every_constraint(data, layout, reweight):
    num_groups, logits, labels, groups = data.draw(batches(layout))
    number = NUM_CLASSES[layout]
    allowed = [part for part in constraints_of(layout) if part.is_error_rate]  # the batch's own means are not additive
    constraint = data.draw(st.sampled_from(allowed))
    surrogate = data.draw(st.sampled_from(SURROGATES))
    cut = data.draw(st.integers(0, len(groups)))
    counts = torch.tensor(
        data.draw(st.lists(st.integers(0, 5), min_size=number * num_groups, max_size=number * num_groups))
    )
    assume(int(counts.sum()) > 0)
    base = nn.BCEWithLogitsLoss(reduction="none") if layout == "sigmoid" else nn.CrossEntropyLoss(reduction="none")
    options = {
        "counts": counts.view(number, num_groups),
        "reweight": reweight,
        "surrogate": surrogate,
        "dual_step": 0.5,
    }
    joined, parts = (FairALMLoss(base, constraint, num_groups, eta=ETA, **options).double() for _ in range(2))
    shaped = labels[:, None].double() if layout == "sigmoid" else labels
    whole, pieces = (logits.clone().requires_grad_(True) for _ in range(2))
    value, total = joined(whole, shaped, groups), 0.0
    value.backward()
    for part in (slice(0, cut), slice(cut, None)):
        if len(groups[part]):
            piece = len(groups[part]) / len(groups) * parts(pieces[part], shaped[part], groups[part])
            piece.backward()
            total += piece.item()
    assert total == pytest.approx(value.item(), rel=1e-9, abs=1e-11)
    assert_same(pieces.grad, whole.grad)
    for loss in (joined, parts):
        loss.update_multipliers()
    assert_same(parts.multipliers, joined.multipliers)


# The gradient is the value's


def cases_of_gradients():
    for layout in NUM_CLASSES:
        for constraint in constraints_of(layout):
            # Predictive parity's weights are decisions with the probability's slope: no difference shows that slope.
            for surrogate in SURROGATES if constraint.is_error_rate else ("probability",):
                for penalty in ("linear", "quadratic"):
                    is_refused = isinstance(constraint, DemographicParity) and penalty == "linear"
                    if not is_refused and not constraint.follows_decisions:
                        yield pytest.param(
                            layout, constraint, surrogate, penalty, id=f"{layout}-{constraint}-{surrogate}-{penalty}"
                        )


@pytest.mark.parametrize(("layout", "constraint", "surrogate", "penalty"), cases_of_gradients())
def test_the_gradient_of_every_constraint_and_surrogate_is_that_of_finite_differences(
    layout, constraint, surrogate, penalty
):
    generator = torch.Generator().manual_seed(len(repr(constraint)))
    width = {"sigmoid": (), "two classes": (2,), "three classes": (3,), "two labels": (2,)}[layout]
    logits = 2 * torch.randn(12, *width, generator=generator, dtype=torch.float64)
    shape = (12, 2) if layout == "two labels" else (12,)
    labels = torch.randint(0, NUM_CLASSES[layout], shape, generator=generator)
    groups = torch.randint(-1, 3, (12,), generator=generator)
    base = nn.BCEWithLogitsLoss() if layout in ("sigmoid", "two labels") else nn.CrossEntropyLoss()
    loss = FairALMLoss(base, constraint, 3, eta=0.3, surrogate=surrogate, penalty=penalty).double()
    start(loss, logits, labels, groups)
    loss.multipliers.copy_(some_multipliers(loss))
    logits.requires_grad_(True)
    value = loss(logits, labels, groups)
    (slopes,) = torch.autograd.grad(value, logits)
    h, expected = 1e-6, torch.zeros(logits.numel(), dtype=torch.float64)
    for place in range(logits.numel()):
        shift = torch.zeros(logits.numel(), dtype=torch.float64)
        shift[place] = h
        with torch.no_grad():
            ends = [loss(logits + sign * shift.view_as(logits), labels, groups) for sign in (1, -1)]
        expected[place] = (ends[0] - ends[1]) / (2 * h)
    torch.testing.assert_close(slopes.flatten(), expected, rtol=1e-6, atol=1e-8)


# The losses without multipliers


@settings(deadline=None, max_examples=40)
@given(batches("two classes"), st.sampled_from(["reweighted", "adversarial"]), st.randoms(use_true_random=False))
def test_losses_without_multipliers_know_no_order_and_no_copies(problem, kind, random):
    num_groups, logits, labels, groups = problem

    def make():
        torch.manual_seed(1)
        if kind == "adversarial":
            return AdversarialLoss(nn.CrossEntropyLoss(), EqualizedOdds(), num_groups).double()
        counts = torch.arange(2 * num_groups).view(2, num_groups) % 4
        return ReweightedLoss(nn.CrossEntropyLoss(reduction="none"), num_groups, counts).double()

    order = list(range(len(groups)))
    random.shuffle(order)
    value, slopes, _ = step(make(), logits, labels, groups)
    assert_same(step(make(), logits[order], labels[order], groups[order])[:2], (value, slopes[order]))
    twice = step(make(), torch.cat([logits] * 2), torch.cat([labels] * 2), torch.cat([groups] * 2))
    assert_same(twice[:2], (value, torch.cat([slopes] * 2) / 2))
