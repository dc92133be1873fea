"""What the first batch refuses, in one sentence each (rows 6, 7, 15, 16, 18 and 19 of the bad-input list)."""

import warnings

import pytest
import torch

from fairpool import EqualOpportunity, FairALMLoss
from fairpool.losses.first_batch import check_first_batch, check_groups

LABELS, GROUPS = torch.tensor([1, 0, 1, 0]), torch.tensor([0, 1, -1, 2])


def refusal(kind, logits, labels=LABELS, groups=GROUPS):
    with pytest.raises(kind) as caught:
        check_first_batch(logits, labels, groups, 3)
    return str(caught.value)


# Bug found here: comparing a single-precision sum with a one of the logits' type raised for every other precision.
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", [(4,), (4, 1), (4, 2), (4, 3)], ids=str)
@pytest.mark.parametrize("sign", [1, -1])
def test_logits_of_every_layout_and_precision_are_accepted(layout, dtype, sign):
    logits = sign * torch.rand(layout).to(dtype)
    check_first_batch(logits, LABELS, GROUPS, 3)
    check_first_batch(logits, LABELS.float()[:, None], GROUPS, 3)


@pytest.mark.parametrize("layout", [(), (4, 2, 8, 8)], ids=str)
def test_logits_of_segmentation_are_refused_in_one_sentence(layout):
    message = refusal(ValueError, torch.zeros(layout))
    assert message.startswith("fairpool constrains classification")
    assert str(tuple(layout)) in message


def test_one_hot_labels_are_refused_with_shapes_and_remedy():
    message = refusal(ValueError, torch.zeros(4, 2), torch.eye(2)[LABELS])
    assert "labels (4, 2)" in message
    assert "labels.argmax(1)" in message


@pytest.mark.parametrize("short", ["logits", "labels", "groups"])
def test_unlike_lengths_are_refused_with_all_three_shapes(short):
    tensors = {"logits": torch.zeros(4, 2), "labels": LABELS, "groups": GROUPS}
    tensors[short] = tensors[short][:3]
    message = refusal(ValueError, **tensors)
    for name, tensor in tensors.items():
        assert f"{name} {tuple(tensor.shape)}" in message


def test_soft_labels_are_refused():
    assert "found fractions" in refusal(ValueError, torch.zeros(4), torch.tensor([0.0, 1.0, 0.5, 1.0]))


@pytest.mark.parametrize("layout", [(4,), (4, 1), (4, 2)], ids=str)
@pytest.mark.parametrize("label", [2, -1])
def test_labels_out_of_range_are_refused_with_value_and_count(layout, label):
    message = refusal(ValueError, torch.zeros(layout), torch.tensor([1, label, label, 0]))
    assert f"labels must lie in 0..1; found {label} (2 samples)" in message


def test_the_number_of_logits_is_the_number_of_classes():
    labels = torch.tensor([2, 0, 1, 2])
    check_first_batch(torch.zeros(4, 3), labels, GROUPS, 3)
    assert "0..2; found 3 (1 samples)" in refusal(ValueError, torch.zeros(4, 3), torch.tensor([3, 0, 1, 2]))


@pytest.mark.parametrize("group", [7, -2, 3])
def test_group_ids_out_of_range_are_refused_with_value_count_and_remedy(group):
    message = refusal(ValueError, torch.zeros(4, 2), LABELS, torch.tensor([group, 0, group, 2]))
    assert "group ids must lie in 0..2" in message
    assert f"found {group} (2 samples)" in message
    assert "Encode" in message


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(torch.float32, "float32"), (torch.float64, "float64"), (torch.bool, "bool"), (torch.complex64, "complex64")],
)
def test_group_ids_that_are_no_integers_are_a_type_error(dtype, name):
    with pytest.raises(TypeError, match=f"groups must be an integer tensor, got {name}"):
        check_groups(torch.ones(2).to(dtype), 3)


# Bug found here: torch compares an unsigned id with -1 as with 255, so that every uint8 id was refused.
@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8])
def test_group_ids_of_every_integer_type_are_accepted_and_checked(dtype):
    check_groups(torch.tensor([0, 2], dtype=dtype), 3)
    with pytest.raises(ValueError, match=r"found 3 \(1 samples\)"):
        check_groups(torch.tensor([0, 3], dtype=dtype), 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_probabilities_in_the_place_of_logits_are_warned_about(dtype):
    probabilities = torch.tensor([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0], [0.0, 1.0]], dtype=dtype)
    with pytest.warns(UserWarning, match="remove the softmax"):
        check_first_batch(probabilities, LABELS, GROUPS, 3)


@pytest.mark.parametrize(
    "logits", [torch.tensor([[1.5, -0.5]] * 4), torch.tensor([[0.5, 0.75]] * 4), torch.tensor([0.5, 0.5, 0.0, 1.0])]
)
def test_plain_logits_are_not_warned_about(logits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_first_batch(logits, LABELS, GROUPS, 3)


def test_the_loss_checks_its_first_batch_and_no_later_one():
    loss = FairALMLoss(torch.nn.CrossEntropyLoss(), EqualOpportunity(), 3)
    with pytest.raises(ValueError, match="found 7"):
        loss(torch.zeros(4, 2), LABELS, GROUPS.where(GROUPS != 2, 7))
    loss(torch.zeros(4, 2), LABELS, GROUPS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(torch.full((4, 2), 0.5), LABELS, GROUPS)  # would be warned about in a first batch


# Bug found here: only the lengths were compared, and torch's own errors came through.
@pytest.mark.parametrize(
    ("logits", "labels", "groups"),
    [
        (torch.zeros(4, 2), LABELS, GROUPS[:, None]),
        (torch.zeros(4, 2), LABELS, torch.tensor(0)),
        (torch.zeros(4, 2), torch.tensor(0), GROUPS),
        (torch.zeros(4, 2), LABELS[:, None, None].expand(4, 8, 8), GROUPS),
    ],
    ids=["groups (B, 1)", "groups ()", "labels ()", "labels (B, H, W)"],
)
def test_shapes_that_fit_in_length_alone_are_refused_with_all_three(logits, labels, groups):
    message = refusal(ValueError, logits, labels, groups)
    assert str(tuple(logits.shape)) in message
    assert str(tuple(labels.shape)) in message
    assert str(tuple(groups.shape)) in message
