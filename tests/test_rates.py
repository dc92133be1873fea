"""Sums and gaps over (event, group) cells against hand-worked tables and slow loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import gaps_of

from fairpool.rates import cell_sums, group_gaps, is_comparable

cells = st.integers(2, 6).flatmap(
    lambda num_groups: st.lists(
        st.tuples(st.integers(0, 3), st.integers(-8, 8)), min_size=num_groups, max_size=num_groups
    )
)


def test_sums_are_those_of_a_loop_and_unknown_groups_enter_none():
    values, groups = torch.randn(50, 3, dtype=torch.float64), torch.randint(-1, 7, (50,))
    expected = torch.zeros(3, 7, dtype=torch.float64)
    for row, group in zip(values, groups.tolist(), strict=True):
        if group >= 0:
            expected[:, group] += row
    torch.testing.assert_close(cell_sums(values, groups, 7), expected)


def test_sums_keep_the_dtype_of_the_values():
    for dtype in (torch.float32, torch.float64):
        assert cell_sums(torch.ones(2, 1, dtype=dtype), torch.tensor([0, 1]), 2).dtype == dtype


def test_no_samples_sum_to_zero():
    assert cell_sums(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), 3).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("group", [-2, 3])
def test_a_group_id_out_of_range_is_an_error_on_the_cpu(group):
    with pytest.raises((IndexError, RuntimeError), match="out of"):
        cell_sums(torch.ones(2, 1), torch.tensor([group, 0]), 3)


def test_sums_pass_gradients_to_each_known_sample_once():
    values = torch.ones(3, 1, dtype=torch.float64, requires_grad=True)
    cell_sums(values, torch.tensor([1, -1, 1]), 2).sum().backward()
    assert values.grad.tolist() == [[1.0], [0.0], [1.0]]


def test_comparable_means_present_beside_another_group():
    counts = torch.tensor([[2, 0, 1], [0, 5, 0], [0, 0, 0], [1, 1, 1]])
    assert is_comparable(counts).tolist() == [
        [True, False, True],
        [False, False, False],
        [False, False, False],
        [True, True, True],
    ]


def test_gap_is_the_rate_minus_the_mean_of_the_other_groups():
    gaps = group_gaps(torch.tensor([[0.9, 0.3, 0.6]]), torch.tensor([[1, 50, 2]]))
    torch.testing.assert_close(gaps, torch.tensor([[0.45, -0.45, 0.0]]))


def test_two_groups_have_opposite_gaps():
    gaps = group_gaps(torch.tensor([[0.5, 0.25]]), torch.tensor([[5, 5]]))
    assert gaps.tolist() == [[0.25, -0.25]]


def test_an_absent_group_has_gap_zero_and_its_rate_moves_no_other():
    for nonsense in (0.0, 7.0, -3.0):
        gaps = group_gaps(torch.tensor([[0.75, nonsense, 0.25]]), torch.tensor([[3, 0, 3]]))
        assert gaps.tolist() == [[0.5, 0.0, -0.5]]


def test_a_single_present_group_has_gap_zero():
    assert group_gaps(torch.tensor([[0.75, 0.0]]), torch.tensor([[3, 0]])).tolist() == [[0.0, 0.0]]


def test_events_do_not_touch_each_other():
    rates, counts = torch.rand(3, 4), torch.randint(0, 3, (3, 4))
    rows = [group_gaps(rates[[c]], counts[[c]]) for c in range(3)]
    torch.testing.assert_close(group_gaps(rates, counts), torch.cat(rows))


def test_gaps_of_unlike_shapes_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"\(1, 2\) and \(1, 3\)"):
        group_gaps(torch.zeros(1, 2), torch.zeros(1, 3))


@settings(deadline=None, max_examples=60)
@given(cells)
def test_gaps_are_those_of_a_loop_and_sum_to_zero(row):
    counts = torch.tensor([[count for count, _ in row]])
    rates = torch.tensor([[rate / 8 for _, rate in row]], dtype=torch.float64)
    gaps = group_gaps(rates, counts)
    expected = gaps_of([rate / 8 if count else None for count, rate in row])
    torch.testing.assert_close(gaps, torch.tensor([expected], dtype=torch.float64))
    assert abs(float(gaps.sum())) < 1e-12


@settings(deadline=None, max_examples=30)
@given(cells, st.randoms(use_true_random=False))
def test_relabelling_groups_permutes_their_gaps(row, random):
    order = list(range(len(row)))
    random.shuffle(order)
    counts = torch.tensor([[count for count, _ in row]])
    rates = torch.tensor([[float(rate) for _, rate in row]], dtype=torch.float64)
    torch.testing.assert_close(group_gaps(rates, counts)[:, order], group_gaps(rates[:, order], counts[:, order]))


def test_gaps_of_five_hundred_groups_are_those_of_a_loop():
    rates, counts = torch.rand(1, 500, dtype=torch.float64), torch.randint(0, 2, (1, 500))
    means = [rate if count else None for rate, count in zip(rates[0].tolist(), counts[0].tolist(), strict=True)]
    torch.testing.assert_close(group_gaps(rates, counts), torch.tensor([gaps_of(means)], dtype=torch.float64))
