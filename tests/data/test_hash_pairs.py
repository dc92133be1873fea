"""Near hashes are those that a comparison of all with all finds, and no more."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairpool.data.hash_pairs import MAX_DISTANCE, near_pairs


def compare_all(hashes, threshold):
    """(first, second, distance) by two loops over Python integers."""
    numbers = [int(value) for value in hashes]
    return [
        (i, j, bits)
        for i in range(len(numbers))
        for j in range(i + 1, len(numbers))
        if (bits := (numbers[i] ^ numbers[j]).bit_count()) <= threshold
    ]


def as_list(pairs):
    return list(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.distance.tolist(), strict=True))


def make_families(rng, number, most_flips):
    """Hashes around a few centres, so that near ones are many."""
    centres = rng.integers(0, 2**64, 6, dtype=np.uint64)
    hashes = rng.choice(centres, number)
    for i in range(number):
        for bit in rng.choice(64, rng.integers(0, most_flips + 1), replace=False):
            hashes[i] ^= np.uint64(1) << np.uint64(bit)
    return hashes


@pytest.mark.parametrize("threshold", range(MAX_DISTANCE + 1))
def test_pairs_are_those_of_a_comparison_of_all_with_all(threshold):
    hashes = make_families(np.random.default_rng(threshold), 250, 8)
    expected = compare_all(hashes, threshold)
    assert as_list(near_pairs(hashes, threshold)) == expected
    assert expected


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from([0, 1, 3, 0xFFFF, 2**63, 2**64 - 1, 0x8000800080008000]) | st.integers(0, 2**64 - 1),
        max_size=12,
    ),
    st.integers(0, MAX_DISTANCE),
)
def test_any_hashes_give_each_pair_once(values, threshold):
    hashes = np.array(values, dtype=np.uint64)
    assert as_list(near_pairs(hashes, threshold)) == compare_all(hashes, threshold)


def test_memory_grows_with_the_hashes_and_not_with_their_square():
    hashes = np.random.default_rng(0).integers(0, 2**64, 40_000, dtype=np.uint64)
    tracemalloc.start()
    near_pairs(hashes, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6  # all with all would be 1.6e9 bytes at one a pair


def test_many_equal_hashes_are_compared_in_parts():
    hashes = np.zeros(3000, dtype=np.uint64)
    assert len(near_pairs(hashes, 0).first) == 3000 * 2999 // 2


@pytest.mark.parametrize("threshold", [-1, 12])
def test_a_distance_out_of_range_is_refused(threshold):
    with pytest.raises(ValueError, match=f"must be 0 to 11 bits, got {threshold}"):
        near_pairs(np.zeros(2, dtype=np.uint64), threshold)


def test_hashes_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="must be uint64, got int64"):
        near_pairs(np.zeros(2, dtype=np.int64), 3)
    with pytest.raises(ValueError, match="shape"):
        near_pairs(np.zeros((2, 2), dtype=np.uint64), 3)
