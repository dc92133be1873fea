"""The losses of Table 1 beside FairALM: their value by hand, their fault lines, and the handler that serves them."""

import io

import pytest
import torch
from torch import nn

from fairpool import EqualizedOdds, EqualOpportunity, ErrorRateParity, FairALMHandler, FairALMLoss
from fairpool.losses import L2PenaltyLoss, LagrangianLoss, ProxyLagrangianLoss, ReweightedLoss

LOGITS = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.5, 0.0], [0.0, 2.0]], dtype=torch.float64)
LABELS, GROUPS = torch.tensor([1, 1, 1, 1]), torch.tensor([0, 1, 0, 1])
COUNTS = torch.tensor([[30, 10, 0], [10, 30, 20]])


def soft_gap():
    """d = mu0 - mu1 of the four samples, and the mean cross-entropy."""
    misses = 1 - LOGITS.softmax(dim=1)[:, 1]
    return (misses[[0, 2]].mean() - misses[[1, 3]].mean()).item(), nn.CrossEntropyLoss()(LOGITS, LABELS).item()


def test_l2_penalty_is_half_eta_times_the_squared_gap_and_has_no_multiplier():
    gap, base = soft_gap()
    loss = L2PenaltyLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 2, eta=3.0).double()
    assert loss(LOGITS, LABELS, GROUPS).item() == pytest.approx(base + 1.5 * gap**2, rel=1e-12)
    loss.update_multipliers()
    assert bool((loss.multipliers == 0).all())


def test_the_gradient_of_the_l2_penalty_is_not_accumulated_over_steps():
    """The authors' released code never zeroes it: two equal steps must have equal gradients."""
    loss = L2PenaltyLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 2)
    gradients = []
    for _ in range(2):
        logits = LOGITS.clone().requires_grad_(True)
        gradients.append(torch.autograd.grad(loss(logits, LABELS, GROUPS), logits)[0])
        loss.update_multipliers()
    assert torch.equal(*gradients)


def test_lagrangian_is_the_multiplier_times_the_gap_and_ascends_by_it():
    gap, base = soft_gap()
    loss = LagrangianLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 2, dual_step=0.5).double()
    lam = 0.0
    for _ in range(3):
        assert loss(LOGITS, LABELS, GROUPS).item() == pytest.approx(base + lam * gap, rel=1e-9)
        loss.update_multipliers()
        lam += 0.5 * gap
        assert loss.multipliers.tolist() == [pytest.approx([lam, -lam])]
    assert float(loss.eta) == 0


def test_proxy_lagrangian_moves_by_decisions_and_pulls_by_the_surrogate():
    gap, base = soft_gap()
    loss = ProxyLagrangianLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 2, dual_step=0.5).double()
    loss(LOGITS, LABELS, GROUPS)
    loss.update_multipliers()
    # Samples 1 (site 1) and 2 (site 0) are missed: equal hard rates, so nothing moves though the soft gap is not 0.
    assert abs(gap) > 0.01
    assert loss.multipliers.tolist() == [[0.0, 0.0]]
    loss(LOGITS[:2], LABELS[:2], GROUPS[:2])
    loss.update_multipliers()
    assert loss.multipliers.tolist() == [[-0.5, 0.5]]
    assert loss(LOGITS, LABELS, GROUPS).item() == pytest.approx(base - 0.5 * gap, rel=1e-9)


@pytest.mark.parametrize("make", [LagrangianLoss, ProxyLagrangianLoss])
@pytest.mark.parametrize("step", [0.0, -1.0, float("nan")])
def test_a_dual_step_that_never_moves_is_refused(make, step):
    with pytest.raises(ValueError, match="dual_step must be positive"):
        make(nn.CrossEntropyLoss(), EqualOpportunity(), 2, dual_step=step)


def test_reweighting_multiplies_each_sample_by_its_cells_weight():
    loss = ReweightedLoss(nn.CrossEntropyLoss(reduction="none"), 3, COUNTS)
    logits, labels, groups = LOGITS.float(), torch.tensor([0, 1, 1, 0]), torch.tensor([0, 2, -1, 2])
    plain = [-row.log_softmax(0)[y].item() for row, y in zip(logits, labels, strict=True)]
    # n_y n_k / (N n_yk): (40 * 40) / (100 * 30); (60 * 20) / (100 * 20); unknown 1; an empty cell 0.
    weights = [1600 / 3000, 1200 / 2000, 1.0, 0.0]
    expected = sum(w * x for w, x in zip(weights, plain, strict=True)) / 4
    assert loss(logits, labels, groups).item() == pytest.approx(expected, rel=1e-6)


def test_reweighting_equals_fairalms_own_re_weighted_base():
    fair = FairALMLoss(
        nn.CrossEntropyLoss(reduction="none"),
        EqualOpportunity(),
        3,
        eta=1e-12,
        dual_step=0,
        counts=COUNTS,
        reweight=True,
    )
    loss = ReweightedLoss(nn.CrossEntropyLoss(reduction="none"), 3, COUNTS)
    batch = torch.randn(20, 2), torch.randint(0, 2, (20,)), torch.randint(-1, 3, (20,))
    torch.testing.assert_close(loss(*batch), fair(*batch))


def test_weights_make_label_and_site_independent():
    table = torch.tensor([[30, 10], [5, 55]])
    loss = ReweightedLoss(nn.CrossEntropyLoss(reduction="none"), 2, table)
    weighted = table * loss._cell_weights[:, 1:]
    expected = weighted.sum(1, keepdim=True) * weighted.sum(0, keepdim=True) / weighted.sum()
    torch.testing.assert_close(weighted, expected)


def test_a_reducing_base_loss_is_refused_by_reweighting():
    with pytest.raises(ValueError, match='reduction="none"'):
        ReweightedLoss(nn.CrossEntropyLoss(), 3, COUNTS)


@pytest.mark.parametrize(
    ("counts", "words"),
    [(COUNTS[:, :2], r"counts must be \(num_classes, 3\)"), (-COUNTS, "non-negative"), (0 * COUNTS, "at least one")],
)
def test_a_table_that_does_not_fit_is_refused(counts, words):
    with pytest.raises(ValueError, match=words):
        ReweightedLoss(nn.CrossEntropyLoss(reduction="none"), 3, counts)


MAKERS = {
    "l2": lambda: L2PenaltyLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 3),
    "lagrangian": lambda: LagrangianLoss(nn.CrossEntropyLoss(), EqualizedOdds(), 3),
    "proxy": lambda: ProxyLagrangianLoss(nn.CrossEntropyLoss(), ErrorRateParity(), 3),
    "reweighted": lambda: ReweightedLoss(nn.CrossEntropyLoss(reduction="none"), 3, COUNTS),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_the_one_handler_serves_each_and_state_survives_a_checkpoint(make, train):
    loss = make()
    trainer = train(loss, [FairALMHandler(loss, group_key="site")], epochs=2)
    trainer.run()
    assert all(torch.isfinite(torch.tensor(step.loss)) for step in trainer.steps)
    file = io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    other = make()
    other.load_state_dict(torch.load(file, weights_only=True))
    batch = torch.randn(6, 2), torch.randint(0, 2, (6,)), torch.randint(-1, 3, (6,))
    assert torch.equal(loss(*batch), other(*batch))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_a_loss_that_is_not_finite_ends_the_run_naming_the_place(make, train, items):
    items[17]["image"][0] = torch.nan
    loss = make()
    with pytest.raises(RuntimeError, match="epoch 1, iteration 5"):
        train(loss, [FairALMHandler(loss, group_key="site")], data=items).run()
