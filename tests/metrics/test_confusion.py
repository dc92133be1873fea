"""Confusion counts by group against a slow loop and scikit-learn."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from fairpool.metrics import confusion_by_group


def slow_counts(labels, predictions, groups, num_groups, num_classes):
    counts = [[[0] * num_classes for _ in range(num_classes)] for _ in range(num_groups)]
    for label, prediction, group in zip(labels.tolist(), predictions.tolist(), groups.tolist(), strict=True):
        if group >= 0:
            counts[group][int(label)][int(prediction)] += 1
    return counts


def draw(size, num_groups, num_classes):
    labels, predictions = torch.randint(0, num_classes, (2, size))
    return labels, predictions, torch.randint(-1, num_groups, (size,))


@pytest.mark.parametrize(("num_groups", "num_classes"), [(1, 2), (2, 2), (3, 5), (500, 2), (40, 10)])
def test_counts_are_those_of_a_slow_loop(num_groups, num_classes):
    labels, predictions, groups = draw(1000, num_groups, num_classes)
    counts = confusion_by_group(labels, predictions, groups, num_groups, num_classes)
    assert (counts.dtype, tuple(counts.shape)) == (torch.int64, (num_groups, num_classes, num_classes))
    assert counts.tolist() == slow_counts(labels, predictions, groups, num_groups, num_classes)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_each_group_is_scikit_learns_confusion_matrix(num_classes):
    labels, predictions, groups = draw(300, 6, num_classes)
    counts = confusion_by_group(labels, predictions, groups, 6, num_classes)
    for group in range(6):
        own = groups == group
        expected = confusion_matrix(labels[own], predictions[own], labels=range(num_classes))
        assert counts[group].tolist() == expected.tolist()


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_counts_of_parts_add_up_and_order_does_not_matter(data):
    num_groups, num_classes = data.draw(st.integers(1, 4)), data.draw(st.integers(2, 4))
    sample = st.tuples(
        st.integers(0, num_classes - 1), st.integers(0, num_classes - 1), st.integers(-1, num_groups - 1)
    )
    rows = data.draw(st.lists(sample, max_size=20))
    table = torch.tensor(rows, dtype=torch.int64).view(-1, 3)
    cut = data.draw(st.integers(0, len(rows)))
    order = torch.tensor(data.draw(st.permutations(range(len(rows)))), dtype=torch.int64)

    def count(part):
        return confusion_by_group(part[:, 0], part[:, 1], part[:, 2], num_groups, num_classes)

    assert torch.equal(count(table), count(table[:cut]) + count(table[cut:]))
    assert torch.equal(count(table), count(table[order]))
    assert int(count(table).sum()) == sum(group >= 0 for _, _, group in rows)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int32])
def test_classes_of_any_integer_type_mean_the_same(dtype):
    labels, predictions, groups = draw(50, 3, 2)
    expected = confusion_by_group(labels, predictions, groups, 3)
    assert torch.equal(confusion_by_group(labels.to(dtype), predictions.to(dtype), groups, 3), expected)


# Bug found here: every uint8 id was refused, see test_first_batch.py.
@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8])
def test_groups_of_any_integer_type_mean_the_same(dtype):
    labels, predictions, groups = draw(50, 3, 2)
    groups = groups.clamp(min=0)
    expected = confusion_by_group(labels, predictions, groups, 3)
    assert torch.equal(confusion_by_group(labels, predictions, groups.to(dtype), 3), expected)


def test_no_samples_count_zero():
    empty = torch.zeros(0, dtype=torch.int64)
    assert confusion_by_group(empty, empty, empty, 2).tolist() == [[[0, 0], [0, 0]]] * 2


OK = torch.tensor([0, 1, 1])


@pytest.mark.parametrize(
    ("labels", "predictions", "groups"),
    [(OK, OK, OK[:2]), (OK, OK[:2], OK), (OK[:, None], OK[:, None], OK[:, None])],
)
def test_unlike_shapes_are_refused_with_all_three(labels, predictions, groups):
    with pytest.raises(ValueError, match="one-dimensional and of one length") as caught:
        confusion_by_group(labels, predictions, groups, 2)
    for tensor in (labels, predictions, groups):
        assert str(tuple(tensor.shape)) in str(caught.value)


@pytest.mark.parametrize("name", ["labels", "predictions"])
@pytest.mark.parametrize("value", [2, -1])
def test_classes_out_of_range_are_refused_with_value_and_count(name, value):
    columns = {"labels": OK, "predictions": OK} | {name: torch.tensor([0, value, value])}
    with pytest.raises(ValueError, match=rf"{name} must lie in 0..1; found {value} \(2 of 3\)"):
        confusion_by_group(columns["labels"], columns["predictions"], OK, 2)


@pytest.mark.parametrize("name", ["labels", "predictions"])
def test_probabilities_in_the_place_of_classes_are_refused(name):
    columns = {"labels": OK, "predictions": OK} | {name: OK.float()}
    with pytest.raises(ValueError, match=f"{name} must be class indices, got torch.float32"):
        confusion_by_group(columns["labels"], columns["predictions"], OK, 2)


@pytest.mark.parametrize("group", [3, -2])
def test_group_ids_out_of_range_are_refused_with_value_and_count(group):
    with pytest.raises(ValueError, match=rf"must lie in 0..2.*found {group} \(2 samples\)"):
        confusion_by_group(OK, OK, torch.tensor([0, group, group]), 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_group_ids_that_are_no_integers_are_a_type_error(dtype):
    with pytest.raises(TypeError, match="groups must be an integer tensor"):
        confusion_by_group(OK, OK, OK.to(dtype), 2)
