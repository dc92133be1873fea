"""Errors of single samples against the slow oracle, at every layout of the logits."""

import math

import pytest
import torch
from monai.data import MetaTensor
from oracles import cross_entropy_of, decision_of, error_of, error_slope, samples_of

from fairpool.losses.surrogates import SURROGATES, as_plain, canonical, cross_entropy, hard_errors, surrogate_errors

LAYOUTS = [(40,), (40, 1), (40, 2), (40, 5)]


def draw(layout, dtype=torch.float64):
    num_classes = layout[1] if len(layout) == 2 and layout[1] > 1 else 2
    return 2 * torch.randn(layout, dtype=dtype), torch.randint(0, num_classes, (layout[0],))


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_errors_and_their_gradients_are_the_oracles(layout, surrogate):
    logits, labels = draw(layout)
    logits.requires_grad_(True)
    errors = surrogate_errors(*canonical(logits, labels), surrogate)
    samples = samples_of(logits, labels, torch.zeros(len(labels), dtype=torch.int64))
    expected = [error_of(sample.logits, sample.label, surrogate) for sample in samples]
    torch.testing.assert_close(errors, torch.tensor(expected, dtype=torch.float64))
    (slopes,) = torch.autograd.grad(errors.sum(), logits)
    expected = [error_slope(sample.logits, sample.label, surrogate) for sample in samples]
    torch.testing.assert_close(slopes.reshape(len(labels), -1), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_entropies_and_hard_errors_are_the_oracles(layout):
    logits, labels = draw(layout)
    samples = samples_of(logits, labels, torch.zeros(len(labels), dtype=torch.int64))
    entropies = torch.tensor([cross_entropy_of(s.logits, s.label) for s in samples], dtype=torch.float64)
    torch.testing.assert_close(cross_entropy(*canonical(logits, labels)), entropies)
    assert hard_errors(*canonical(logits, labels)).tolist() == [decision_of(s.logits) != s.label for s in samples]


def test_a_sigmoid_and_the_softmax_of_its_two_logits_agree():
    logits, labels = draw((30,))
    pair = torch.stack([torch.zeros_like(logits), logits], dim=1)
    for surrogate in SURROGATES:
        torch.testing.assert_close(
            surrogate_errors(logits, labels, surrogate), surrogate_errors(pair, labels, surrogate)
        )
    assert torch.equal(hard_errors(logits, labels), hard_errors(pair, labels))


def test_a_small_error_keeps_its_digits():
    error = surrogate_errors(torch.tensor([20.0]), torch.tensor([1]), "probability")
    assert float(error) == pytest.approx(1 / (1 + math.exp(20)), rel=1e-5)  # 1 - p_y in float32 would be 0


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_probability_surrogate_stays_within_zero_and_one(layout):
    logits, labels = draw(layout, torch.float32)
    errors = surrogate_errors(*canonical(1e4 * logits, labels), "probability")
    assert bool(((errors >= 0) & (errors <= 1)).all())


def test_a_logit_of_zero_decides_for_the_negative_class():
    assert hard_errors(torch.tensor([0.0, 0.0]), torch.tensor([0, 1])).tolist() == [False, True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_logits_become_single_and_others_keep_their_dtype(dtype):
    labels = torch.tensor([[1.0], [0.0]])
    logits, indices = canonical(torch.zeros(2, 1, dtype=dtype), labels)
    assert (logits.dtype, logits.shape) == (torch.float32, (2,))
    assert (indices.dtype, indices.tolist()) == (torch.int64, [1, 0])
    assert canonical(torch.zeros(2, dtype=torch.float64), labels)[0].dtype == torch.float64


def test_a_meta_tensor_becomes_plain_and_keeps_data_and_gradient():
    leaf = torch.ones(3, requires_grad=True)
    plain = as_plain(MetaTensor(2 * leaf))
    assert type(plain) is torch.Tensor
    plain.sum().backward()
    assert leaf.grad.tolist() == [2.0] * 3


def test_a_plain_tensor_is_returned_as_it_is():
    tensor = torch.ones(2)
    assert as_plain(tensor) is tensor
