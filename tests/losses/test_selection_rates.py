"""Constraints on predicted classes inside FairALM: demographic parity, and predictive parity's gradient.

The oracle here is a loop over samples in plain Python, from the definitions: selection rate P(positive | site), and
false discovery rate P(y = 0 | decided positive, site) whose weight moves with p_1 while its value is the decision.
"""

import math

import pytest
import torch
from torch import nn

from fairpool import DemographicParity, EqualOpportunity, FairALMLoss, PredictiveParity
from fairpool.losses import L2PenaltyLoss, LagrangianLoss

K = 3


def batch(size=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(size, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, (size,), generator=generator)
    groups = torch.randint(-1, K, (size,), generator=generator)
    return logits, labels, groups


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def means_and_slopes(kind, logits, labels, groups):
    """mu[k], or None, and dmu[k]/dz_i as a list of rows."""
    rows = list(zip(logits.tolist(), labels.tolist(), groups.tolist(), strict=True))
    means, slopes = [], []
    for k in range(K):
        members = [i for i, (z, _, s) in enumerate(rows) if s == k and (kind == "selection" or z > 0)]
        if not members:
            means.append(None)
            slopes.append([0.0] * len(rows))
            continue
        if kind == "selection":
            means.append(sum(sigmoid(rows[i][0]) for i in members) / len(members))
        else:
            means.append(sum(rows[i][1] == 0 for i in members) / len(members))
        row = []
        for z, y, s in rows:
            dp = sigmoid(z) * (1 - sigmoid(z)) / len(members)
            if s != k:
                row.append(0.0)
            elif kind == "selection":
                row.append(dp)
            else:  # d(sum w r / sum w)/dw = (r - mu) / sum w, for everyone of the site: the weight's slope is p's
                row.append(dp * ((y == 0) - means[-1]))
        slopes.append(row)
    return means, slopes


def gaps_of(means):
    gaps = []
    for k, mean in enumerate(means):
        others = [other for j, other in enumerate(means) if j != k and other is not None]
        gaps.append(0.0 if mean is None or not others else mean - sum(others) / len(others))
    return gaps


@pytest.mark.parametrize("layout", ["sigmoid", "softmax"])
@pytest.mark.parametrize(
    ("constraint", "kind", "penalty"),
    [
        (DemographicParity(), "selection", "quadratic"),
        (PredictiveParity(), "discovery", "quadratic"),
        (PredictiveParity(), "discovery", "linear"),
    ],
    ids=str,
)
def test_value_gradient_and_multipliers_are_those_of_the_definition(constraint, kind, penalty, layout):
    loss = FairALMLoss(nn.BCEWithLogitsLoss(), constraint, K, eta=0.25, dual_step=0.5, penalty=penalty).double()
    lam = [0.3, -0.4, 0.1]
    loss.multipliers.copy_(torch.tensor([lam], dtype=torch.float64))
    for seed in range(3):
        logits, labels, groups = batch(seed=seed)
        logits.requires_grad_(True)
        shaped = logits
        if layout == "softmax":
            loss.base_loss = nn.CrossEntropyLoss()
            shaped = torch.stack([-logits / 2, logits / 2], dim=1)  # the same margin
        value = loss(shaped, labels if layout == "softmax" else labels.double(), groups)
        (gradient,) = torch.autograd.grad(value, logits)
        base = nn.functional.binary_cross_entropy_with_logits(logits, labels.double())
        (base_gradient,) = torch.autograd.grad(base, logits)

        means, slopes = means_and_slopes(kind, logits, labels, groups)
        present = [k for k in range(K) if means[k] is not None]
        gaps = gaps_of(means)
        force = [lam[k] + (0.25 * gaps[k] if penalty == "quadratic" else 0.25) for k in range(K)]
        average = [lam[k] + (0.125 * gaps[k] if penalty == "quadratic" else 0.25) for k in range(K)]
        expected = base.item() + 2 / len(present) * sum(average[k] * means[k] for k in present)
        assert value.item() == pytest.approx(expected, rel=1e-12)
        pull = [2 / len(present) * sum(force[k] * slopes[k][i] for k in present) for i in range(len(logits))]
        torch.testing.assert_close(
            gradient - base_gradient, torch.tensor(pull, dtype=torch.float64), rtol=1e-9, atol=1e-12
        )

        loss.update_multipliers()
        lam = [old + 0.5 * gap for old, gap in zip(lam, gaps, strict=True)]
        torch.testing.assert_close(loss.multipliers, torch.tensor([lam], dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_hard_dual_rates_of_demographic_parity_are_the_shares_decided_positive():
    loss = FairALMLoss(
        nn.CrossEntropyLoss(), DemographicParity(), 2, dual_step=1.0, dual_rates="hard", penalty="quadratic"
    )
    logits = torch.tensor([[0.0, 2.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.1], [1.0, 0.0]])
    loss(logits, torch.zeros(6, dtype=torch.long), torch.tensor([0, 0, 0, 1, 1, 1]))
    loss.update_multipliers()
    torch.testing.assert_close(loss.multipliers, torch.tensor([[1 / 3, -1 / 3]]))


def test_a_site_without_a_predicted_positive_takes_no_part():
    loss = FairALMLoss(nn.CrossEntropyLoss(), PredictiveParity(), 3, dual_step=1.0)
    logits = torch.tensor([[0.0, 2.0], [0.0, 2.0], [2.0, 0.0]])
    loss(logits, torch.tensor([0, 1, 0]), torch.tensor([0, 1, 2]))
    loss.update_multipliers()
    assert loss.multipliers.tolist() == [[1.0, -1.0, 0.0]]


def test_predictive_parity_keeps_batch_means_where_counts_are_known():
    counts = torch.tensor([[5, 3, 2], [1, 4, 6]])
    logits, labels, groups = batch()
    plain = FairALMLoss(nn.BCEWithLogitsLoss(), PredictiveParity(), K)
    known = FairALMLoss(nn.BCEWithLogitsLoss(), PredictiveParity(), K, counts=counts)
    assert torch.equal(plain(logits, labels.double(), groups), known(logits, labels.double(), groups))
    weighted = FairALMLoss(nn.BCEWithLogitsLoss(reduction="none"), PredictiveParity(), K, counts=counts, reweight=True)
    assert not torch.equal(plain(logits, labels.double(), groups), weighted(logits, labels.double(), groups))


def test_the_linear_penalty_with_demographic_parity_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match='demographic_parity needs penalty="quadratic"'):
        FairALMLoss(nn.CrossEntropyLoss(), DemographicParity(), 2)


def test_a_surrogate_of_the_error_is_refused_where_the_rate_is_no_error():
    with pytest.raises(ValueError, match='only error rates have the surrogate "hinge"'):
        FairALMLoss(nn.CrossEntropyLoss(), PredictiveParity(), 2, surrogate="hinge")


def hospitals(size, seed):
    """Two sites, a strong and a weak sign of the disease; the second's prevalence is four times the first's."""
    generator = torch.Generator().manual_seed(seed)
    sites = torch.randint(0, 2, (size,), generator=generator)
    labels = (torch.rand(size, generator=generator) < 0.15 + 0.45 * sites).long()
    noise = torch.randn(size, 3, generator=generator)
    images = torch.stack([1.3 * labels, 1.0 * labels * (1 - sites), 2.0 * sites], dim=1) + noise
    return images, labels, sites


def train(loss, seed=0, epochs=30):
    torch.manual_seed(seed)
    images, labels, sites = hospitals(4000, seed)
    network = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(epochs):
        for part in torch.randperm(4000).split(200):
            optimizer.zero_grad()
            loss(network(images[part]), labels[part], sites[part]).backward()
            optimizer.step()
            loss.update_multipliers()
    images, labels, sites = hospitals(40000, 1000 + seed)
    return network(images).argmax(dim=1), labels, sites


@pytest.mark.parametrize(
    ("figure", "constraint", "make"),
    [
        ("selection_gap", DemographicParity(), lambda c: FairALMLoss(BASE, c, 2, eta=1.0, penalty="quadratic")),
        ("selection_gap", DemographicParity(), lambda c: LagrangianLoss(BASE, c, 2, dual_step=0.3)),
        ("selection_gap", DemographicParity(), lambda c: L2PenaltyLoss(BASE, c, 2, eta=20.0)),
        ("fdr_gap", PredictiveParity(), lambda c: FairALMLoss(BASE, c, 2, eta=0.1, dual_step=0.1)),
        ("deo", EqualOpportunity(), lambda c: FairALMLoss(BASE, c, 2)),
    ],
    ids=str,
)
def test_training_closes_the_gap_that_the_constraint_is_about(figure, constraint, make):
    """On synthetic numbers, one seed; the unconstrained gaps are 0.15 (FDR) to 0.56 (selection)."""
    from fairpool.metrics import confusion_by_group, group_report

    torch.set_num_threads(1)
    gaps = []
    for loss in (make_unconstrained(), make(constraint)):
        predictions, labels, sites = train(loss)
        gaps.append(getattr(group_report(confusion_by_group(labels, predictions, sites, 2)), figure))
    assert gaps[0] > 0.1, gaps
    assert gaps[1] < 0.4 * gaps[0], gaps


BASE = nn.CrossEntropyLoss()


def make_unconstrained():
    return FairALMLoss(BASE, EqualOpportunity(), 2, eta=1e-9, dual_step=0.0)
