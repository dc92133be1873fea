"""Pairs of 64-bit hashes that differ in a few bits, among many, without comparing all with all."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

__all__ = ["MAX_DISTANCE", "HashPairs", "near_pairs"]

MAX_DISTANCE = 11  # beyond it each of four 16-bit parts would have to be looked up with three bits changed

_PART_BITS = 16
_PARTS = 4
_CHUNK = 1 << 21  # candidate pairs that are compared at a time: some 50 MB


class HashPairs(NamedTuple):
    """Pairs ``first < second`` of positions, and the number of bits in which they differ, all int64 of one length."""

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray


def near_pairs(hashes: np.ndarray, threshold: int) -> HashPairs:
    """Every pair of hashes with at most ``threshold`` different bits, ordered by position.

    Cut in four parts, two hashes of distance d agree in one part but for d // 4 bits; so each part of each hash is
    looked up with every such change, and only what is found there is compared. The result is exact. Memory grows with
    the number of hashes and of the pairs found, not with its square.

    Args:
        hashes: uint64, shape (N,).
        threshold: 0 to 11 bits.
    Raises:
        TypeError: the hashes are not uint64.
        ValueError: ``threshold`` is out of range, or the shape is another.
    Source: multi-index hashing, Norouzi, Punjani and Fleet 2014, doi:10.1109/TPAMI.2013.231.

    >>> pairs = near_pairs(np.array([0, 1, 255, 3], dtype=np.uint64), 2)
    >>> pairs.first.tolist(), pairs.second.tolist(), pairs.distance.tolist()
    ([0, 0, 1], [1, 3, 3], [1, 2, 1])
    """
    hashes = np.asarray(hashes)
    if hashes.dtype != np.uint64:
        raise TypeError(f"hashes must be uint64, got {hashes.dtype}.")
    if hashes.ndim != 1:
        raise ValueError(f"hashes must have shape (N,), got {hashes.shape}.")
    if not 0 <= threshold <= MAX_DISTANCE:
        raise ValueError(f"the distance must be 0 to {MAX_DISTANCE} bits, got {threshold}.")
    radius = threshold // _PARTS
    masks = _masks(radius)
    found: list[np.ndarray] = []
    parts = [(hashes >> np.uint64(_PART_BITS * part)).astype(np.uint16) for part in range(_PARTS)]
    for part, keys in enumerate(parts):
        order = np.argsort(keys, kind="stable")
        ends = np.cumsum(np.bincount(keys, minlength=1 << _PART_BITS))
        starts = ends - np.bincount(keys, minlength=1 << _PART_BITS)
        for mask in masks:
            wanted = keys ^ mask
            for first, second in _candidates(order, starts[wanted], ends[wanted]):
                distance = np.bitwise_count(hashes[first] ^ hashes[second])
                is_near = distance <= threshold
                first, second, distance = first[is_near], second[is_near], distance[is_near]
                for earlier in parts[:part]:  # it was found there already
                    is_new = np.bitwise_count(earlier[first] ^ earlier[second]) > radius
                    first, second, distance = first[is_new], second[is_new], distance[is_new]
                found.append(np.stack([first, second, distance.astype(np.int64)]))
    pairs = np.concatenate(found, axis=1) if found else np.zeros((3, 0), dtype=np.int64)
    return HashPairs(*pairs[:, np.lexsort((pairs[1], pairs[0]))])


def _candidates(order: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Chunks of (first, second), first < second: each position with those that stand in its range of the order."""
    sizes = ends - starts
    cuts = np.concatenate([[0], np.cumsum(sizes)])
    begin = 0
    while begin < len(sizes):
        end = max(int(np.searchsorted(cuts, cuts[begin] + _CHUNK, side="right")) - 1, begin + 1)
        counts = sizes[begin:end]
        first = np.repeat(np.arange(begin, end), counts)
        within = np.arange(len(first)) - np.repeat(cuts[begin:end] - cuts[begin], counts)
        second = order[np.repeat(starts[begin:end], counts) + within]
        is_ordered = first < second
        yield first[is_ordered], second[is_ordered]
        begin = end


def _masks(radius: int) -> np.ndarray:
    """Every change of at most so many bits of a part."""
    changes = np.arange(1 << _PART_BITS, dtype=np.uint16)
    return changes[np.bitwise_count(changes) <= radius]
