"""The balanced sampler: exact probabilities by cell, determinism, and what it refuses."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_study import TINY, read_rows, run_cli, write_hospitals, write_manifest
from torch.utils.data import DataLoader, SequentialSampler, WeightedRandomSampler

from fairpool.bundle import find_bundle
from fairpool.checkpoints import load_model
from fairpool.data import balanced_sampler
from fairpool.data.sampler import sampling_weights
from fairpool.errors import DataError


def items_of(*cells):
    """(site, label, number of items) cells as items."""
    return [{"site": site, "label": label, "row": row} for site, label, count in cells for row in range(count)]


def mass_by_cell(items):
    """Probability that one draw lands in each (site, label) cell, by the weights alone."""
    mass = Counter()
    for item, weight in zip(items, sampling_weights(items), strict=True):
        mass[item["site"], item["label"]] += weight
    total = sum(mass.values())
    return {cell: value / total for cell, value in mass.items()}


def test_weights_are_one_over_the_cells_size_worked_by_hand():
    items = items_of((0, 0, 1), (0, 1, 3), (1, 0, 4))
    expected = [Fraction(8, 3) / n for n in (1, 3, 3, 3, 4, 4, 4, 4)]
    assert sampling_weights(items) == pytest.approx([float(weight) for weight in expected])


cells = st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 2)), st.integers(1, 30), min_size=1)


@given(cells, st.integers(0, 20), st.randoms(use_true_random=False))
def test_every_cell_has_the_same_probability_and_the_unknown_keep_theirs(counts, unknown, random):
    items = items_of(*((site, label, count) for (site, label), count in counts.items()))
    items += [{"site": -1, "label": random.randint(0, 1)} for _ in range(unknown)]
    random.shuffle(items)
    mass = mass_by_cell(items)
    of_unknown = sum(value for (site, _), value in mass.items() if site == -1)
    assert of_unknown == pytest.approx(unknown / len(items))
    for (site, _), value in mass.items():
        if site != -1:
            assert value == pytest.approx((1 - of_unknown) / len(counts))
    assert np.mean(sampling_weights(items)) == pytest.approx(1)


@given(cells, st.randoms(use_true_random=False))
def test_the_order_of_the_items_moves_no_weight(counts, random):
    items = items_of(*((site, label, count) for (site, label), count in counts.items()))
    order = list(range(len(items)))
    random.shuffle(order)
    weights = sampling_weights(items)
    assert sampling_weights([items[row] for row in order]) == [weights[row] for row in order]


def test_a_balanced_pool_is_drawn_uniformly():
    items = items_of((0, 0, 5), (0, 1, 5), (1, 0, 5), (1, 1, 5))
    assert sampling_weights(items) == [1.0] * 20


def test_the_sampler_is_torchs_with_these_weights():
    items = items_of((0, 0, 1), (0, 1, 9), (1, 0, 9), (1, 1, 1))
    sampler = balanced_sampler(items, seed=0)
    assert isinstance(sampler, WeightedRandomSampler)
    assert sampler.replacement
    assert len(sampler) == len(list(sampler)) == 20
    assert sampler.weights.tolist() == sampling_weights(items)
    assert len(list(balanced_sampler(items, seed=0, num_samples=7))) == 7


def test_draws_show_each_cell_about_equally_often():
    # 40,000 draws: a cell's share of 1/4 has a standard deviation of 0.0022.
    items = items_of((0, 0, 2), (0, 1, 198), (1, 0, 90), (1, 1, 10))
    drawn = Counter(
        (items[row]["site"], items[row]["label"]) for row in balanced_sampler(items, seed=3, num_samples=40_000)
    )
    assert {cell: count / 40_000 for cell, count in drawn.items()} == pytest.approx(
        dict.fromkeys(drawn, 0.25), abs=0.01
    )


def test_a_seed_gives_the_same_epochs_whatever_torchs_own_generator_does():
    items = items_of((0, 0, 4), (0, 1, 16), (1, 0, 16), (1, 1, 4))
    first, second = balanced_sampler(items, seed=5), balanced_sampler(items, seed=5)
    epochs = [list(first), list(first)]
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert [list(second), list(second)] == epochs
    assert torch.equal(torch.get_rng_state(), state)
    assert epochs[0] != epochs[1]
    assert list(balanced_sampler(items, seed=6)) != epochs[0]


def test_workers_do_not_change_what_is_drawn():
    items = items_of((0, 0, 2), (0, 1, 8), (1, 0, 8), (1, 1, 2))
    rows = [
        list(DataLoader(range(20), batch_size=4, sampler=balanced_sampler(items, seed=1), num_workers=n))
        for n in (0, 2)
    ]
    assert torch.equal(torch.cat(rows[0]), torch.cat(rows[1]))


def test_numpy_and_torch_integers_are_integers():
    items = [{"site": np.int64(0), "label": torch.tensor(1)}, {"site": np.int32(1), "label": 0}]
    assert sampling_weights(items) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "none of 0 items has a known site"),
        ([{"site": -1, "label": 1}], "none of 1 items has a known site, so there are no cells to balance"),
        ([{"site": 0, "label": 1}, {"label": 1}], 'item 2 must hold one integer as its "site", found nothing'),
        ([{"site": 0}], 'item 1 must hold one integer as its "label", found nothing'),
        ([{"site": "bern", "label": 1}], "item 1 must hold one integer as its \"site\", found 'bern'"),
        ([{"site": 0, "label": 0.5}], r'item 1 must hold one integer as its "label", found 0\.5'),
        ([{"site": 0, "label": True}], 'item 1 must hold one integer as its "label", found True'),
        ([{"site": -2, "label": 1}], r"item 1 has the site -2; ids are 0\.\.K-1"),
    ],
)
def test_items_without_cells_are_refused(items, message):
    with pytest.raises(DataError, match=message):
        balanced_sampler(items, seed=0)


@pytest.mark.parametrize("num_samples", [0, -3, True])
def test_an_epoch_without_draws_is_refused(num_samples):
    with pytest.raises(ValueError, match=f"num_samples must be a positive number of draws, got {num_samples}"):
        balanced_sampler([{"site": 0, "label": 1}], seed=0, num_samples=num_samples)


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    """Two hospitals' manifest in which nine in ten patients are ill at one and one in ten at the other."""
    folder = tmp_path_factory.mktemp("hospitals")
    rows = read_rows(write_hospitals(folder, per_cell=20))
    kept, count = [], Counter()
    for row in rows:
        is_rare = (row[2] == "bern") == (row[1] == "1")
        count[row[2], row[1]] += 1
        if not is_rare or count[row[2], row[1]] <= 4:
            kept.append(row)
    return write_manifest(folder / "confounded.csv", kept)


def test_the_pipelines_method_draws_its_training_batches_with_it(hospitals, tmp_path):
    sizes = {"image_size": 32, "block_inplanes": [4, 8, 8, 8], "batch_size": 8, "patient_column": "patient"}
    places = {"manifest": str(hospitals), "output_dir": str(tmp_path), "seed": 3}
    bundle = find_bundle("tuberculosis")
    workflow = bundle.build("balanced_sampling", ["manifest"], {**sizes, **places}, "equal_opportunity")
    loader, pool = (workflow.parser.get_parsed_content(key) for key in ("train#dataloader", "pool"))
    items = pool.section("training")
    assert isinstance(loader.sampler, WeightedRandomSampler)
    assert loader.sampler.weights.tolist() == sampling_weights(items)
    expected = list(balanced_sampler(items, seed=3))
    drawn = [row for batch in loader.batch_sampler for row in batch]
    assert drawn == expected[: len(drawn)]
    assert loader.dataset.data == items
    for section in ("validate", "test"):
        sampler = workflow.parser.get_parsed_content(f"{section}#dataloader").sampler
        assert isinstance(sampler, SequentialSampler)


@pytest.mark.slow
def test_a_study_with_the_method_trains_tests_and_repeats_itself(hospitals, tmp_path):
    results = []
    for name in ("first", "second"):
        arguments = ["run", "tuberculosis", "--manifest", hospitals, "--patient-column", "patient", "--seeds", 1]
        arguments += ["--methods", "balanced_sampling", "--epochs", 2, "--output", tmp_path / name, *TINY]
        done = run_cli(*arguments)
        assert done.status == 0, done.err
        assert "balanced_sampling, seed 0: test error" in done.out
        (model,) = (tmp_path / name).rglob("model.pt")
        results.append(load_model(model)[0])
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
