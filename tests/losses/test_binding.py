"""How groups reach a loss that an engine calls with two arguments."""

import pytest
import torch

from fairpool.losses.binding import GroupLoss, all_reduced

BATCH = torch.zeros(2, 2), torch.tensor([0, 1])


def test_bound_groups_serve_one_call_alone():
    loss, groups = GroupLoss([2]), torch.tensor([0, 1])
    loss.bind(groups)
    assert loss.take(*BATCH, None)[2][0].tolist() == [0, 1]
    with pytest.raises(RuntimeError, match="does not know the sites"):
        loss.take(*BATCH, None)


def test_an_unbound_call_names_the_two_lines_to_add():
    with pytest.raises(RuntimeError) as caught:
        GroupLoss([2]).take(*BATCH, None)
    assert 'train_handlers=[FairALMHandler(loss, group_key="site")]' in str(caught.value)
    assert "loss(logits, labels, groups)" in str(caught.value)


def test_a_second_binding_before_the_first_was_used_is_an_error():
    loss = GroupLoss([2])
    loss.bind(torch.tensor([0]))
    with pytest.raises(RuntimeError, match="engine's loss_function must be the loss that was given to FairALMHandler"):
        loss.bind(torch.tensor([0]))


def test_an_unused_binding_can_be_forgotten():
    loss = GroupLoss([2])
    loss.bind(torch.tensor([0, 0]))
    loss.unbind()
    loss.bind(torch.tensor([1, 0]))
    assert loss.take(*BATCH, None)[2][0].tolist() == [1, 0]


def test_several_attributes_come_as_a_tuple_of_as_many_tensors():
    loss, groups = GroupLoss([2, 3]), torch.tensor([0, 1])
    assert len(loss.take(*BATCH, (groups, groups))[2]) == 2
    with pytest.raises(ValueError, match="2 protected attributes and got the groups of 1"):
        GroupLoss([2, 3]).take(*BATCH, groups)


def test_each_attribute_has_its_own_range_of_ids():
    with pytest.raises(ValueError, match=r"0\.\.1, or be -1 for unknown; found 2"):
        GroupLoss([3, 2]).take(*BATCH, (torch.tensor([2, 0]), torch.tensor([2, 0])))


@pytest.mark.parametrize("number", [1, 0, 2.0, True])
def test_fewer_than_two_groups_are_refused(number):
    with pytest.raises(ValueError, match="at least 2"):
        GroupLoss([3, number])


def test_a_loss_without_multipliers_still_watches_for_what_is_not_finite():
    loss = GroupLoss([2])
    loss.record(torch.tensor(1.0))
    loss.update_multipliers(iteration=1)
    assert int(loss.nonfinite_iteration) == -1
    loss.record(torch.tensor(float("nan")))
    loss.update_multipliers(torch.tensor(1.0), iteration=2)  # a step that moved nothing is none
    assert int(loss.nonfinite_iteration) == -1
    loss.record(torch.tensor(float("inf")))
    loss.update_multipliers(iteration=3)
    loss.update_multipliers(iteration=4)
    assert int(loss.nonfinite_iteration) == 3


def test_a_single_process_reduces_to_the_tensor_itself():
    sums = torch.ones(2)
    assert all_reduced(sums) is sums
