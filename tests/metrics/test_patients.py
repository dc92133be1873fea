"""Sums by patient and site, against a slow loop."""

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairpool.metrics import patient_counts

SAMPLE = st.tuples(st.integers(0, 5), st.integers(-1, 2), st.integers(0, 1), st.integers(0, 1))


def by_loop(samples):
    sums = defaultdict(lambda: [0] * 10)
    for patient, site, label, decision in samples:
        if site >= 0:
            of = {0: label != decision, 1 if label == 1 else 2: label != decision, 3: decision == 1}
            if decision == 1:
                of[4] = label == 0
            for rate, is_counted in of.items():
                sums[patient, site][rate] += is_counted
                sums[patient, site][5 + rate] += 1
    return sorted((site, *row) for (_, site), row in sums.items())


@settings(deadline=None)
@given(st.lists(SAMPLE, max_size=40))
def test_counts_are_those_of_a_loop(samples):
    patients, sites, labels, decisions = np.array(samples, int).reshape(-1, 4).T
    counts = patient_counts(patients, sites, labels, decisions, 3)
    found = np.column_stack([counts.site, counts.numerators, counts.denominators])
    assert sorted(map(tuple, found.tolist())) == by_loop(samples)
    np.testing.assert_array_equal(counts.wrong, counts.numerators[:, :3])
    np.testing.assert_array_equal(counts.images, counts.denominators[:, :3])
    known = {(patient, site) for patient, site, _, _ in samples if site >= 0}
    sites_of = defaultdict(set)
    for patient, site in known:
        sites_of[patient].add(site)
    assert counts.is_shared.sum() == sum(len(places) for places in sites_of.values() if len(places) > 1)


def test_texts_numbers_series_and_tensors_are_one():
    sites, labels, decisions = [0, 1, 0], [1, 1, 0], [0, 1, 1]
    expected = patient_counts(["x", "y", "x"], sites, labels, decisions, 2)
    series = patient_counts(pd.Series(["x", "y", "x"]), pd.Series(sites), pd.Series(labels), pd.Series(decisions), 2)
    tensors = patient_counts(*map(torch.tensor, ([7, 9, 7], sites, labels, decisions)), 2)
    for other in (series, tensors):
        assert other.images.tolist() == expected.images.tolist()
        assert other.wrong.tolist() == expected.wrong.tolist()
    assert expected.by_site(expected.wrong).tolist() == [[2, 0], [1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ((["a"], [0, 0], [1], [1]), "of one length"),
        ((["a"], [0], [2], [1]), "labels must be 0 or 1; found 2"),
        ((["a"], [0], [1], [0.5]), "decisions must be 0 or 1; found 0.5"),
        ((["a"], [3], [1], [1]), "sites must lie in 0..1"),
        ((["a"], [0.0], [1], [1]), "sites must be integers"),
        ((["a", None], [0, 0], [1, 1], [1, 1]), "1 of 2 samples have no patient"),
        (([1.0, float("nan")], [0, 0], [1, 1], [1, 1]), "1 of 2 samples have no patient"),
    ],
)
def test_bad_columns_are_named(columns, words):
    with pytest.raises(ValueError, match=words):
        patient_counts(*columns, 2)
