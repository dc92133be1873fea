"""How groups reach a loss that an engine calls with two arguments."""

import pytest
import torch

from fairpool.losses.binding import GroupLoss, all_reduced


def test_bound_groups_serve_one_call_alone():
    loss, groups = GroupLoss(), torch.tensor([0, 1])
    loss.bind(groups)
    assert loss.take_groups(None) is groups
    with pytest.raises(RuntimeError, match="does not know the sites"):
        loss.take_groups(None)


def test_an_unbound_call_names_the_two_lines_to_add():
    with pytest.raises(RuntimeError) as caught:
        GroupLoss().take_groups(None)
    assert 'train_handlers=[FairALMHandler(loss, group_key="site")]' in str(caught.value)
    assert "loss(logits, labels, groups)" in str(caught.value)


def test_groups_given_take_precedence():
    given = torch.tensor([1])
    assert GroupLoss().take_groups(given) is given


def test_a_second_binding_before_the_first_was_used_is_an_error():
    loss = GroupLoss()
    loss.bind(torch.tensor([0]))
    with pytest.raises(RuntimeError, match="engine's loss_function must be the loss that was given to FairALMHandler"):
        loss.bind(torch.tensor([0]))


def test_an_unused_binding_can_be_forgotten():
    loss = GroupLoss()
    loss.bind(torch.tensor([0]))
    loss.unbind()
    loss.bind(torch.tensor([1]))
    assert loss.take_groups(None).tolist() == [1]


def test_a_loss_that_lacks_its_dual_step_says_so():
    loss = GroupLoss()
    for step in (loss.update_multipliers, loss.discard_window, loss.end_epoch):
        with pytest.raises(NotImplementedError):
            step()


def test_a_single_process_reduces_to_the_tensor_itself():
    sums = torch.ones(2)
    assert all_reduced(sums) is sums
