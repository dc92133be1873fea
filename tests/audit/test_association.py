"""Association of two columns, against scipy and scikit-learn, and the coverage of its interval by simulation."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import entropy
from scipy.stats.contingency import association as scipy_association
from sklearn.metrics import mutual_info_score

from fairpool.audit.association import _noncentral_limits, contingency, cramers_v, measure_association


def draw(prevalences, images, rng, *, per_patient=1, alike=0.0):
    """Sites, labels and patients; a share of the patients has one label in all images."""
    sites, labels, patients = [], [], []
    for site, (share, number) in enumerate(zip(prevalences, images, strict=True)):
        for _ in range(number // per_patient):
            drawn = rng.random(per_patient) < share
            if rng.random() < alike:
                drawn[:] = drawn[0]
            patient = patients[-1] + 1 if patients else 0
            sites += [site] * per_patient
            labels += drawn.astype(int).tolist()
            patients += [patient] * per_patient
    return sites, labels, patients


@pytest.mark.parametrize("shape", [(2, 2), (4, 2), (3, 5), (30, 40)])
def test_v_is_scipys_also_where_most_cells_are_empty(shape):
    rng = np.random.default_rng(1)
    table = rng.integers(1, 40, shape) if max(shape) < 30 else np.eye(*shape, dtype=int) + (rng.random(shape) < 0.1)
    table[0] += 1  # no column is empty
    assert cramers_v(table) == pytest.approx(scipy_association(table, method="cramer"))


def test_bergsmas_correction_is_worked_by_hand():
    # n = 40, chi-squared = 40 (0.5 - 0.25)^2 / 0.25 * ... : phi^2 = 0.25, so corrected phi^2 = 0.25 - 1 / 39
    table = np.array([[15, 5], [5, 15]])
    expected = np.sqrt((0.25 - 1 / 39) / (1 - 1 / 39))
    assert cramers_v(table, corrected=True) == pytest.approx(expected)
    assert cramers_v(table) == pytest.approx(0.5)


def test_mutual_information_is_scikit_learns_in_bits():
    sites, labels, patients = draw([0.2, 0.5, 0.9], [50, 60, 70], np.random.default_rng(2))
    found = measure_association(sites, labels, patients)
    assert found.bits == pytest.approx(mutual_info_score(sites, labels) / np.log(2))
    assert found.entropy_share == pytest.approx(found.bits / entropy(np.bincount(labels), base=2))


def test_the_noncentral_limits_are_those_of_the_r_package_statpsych():
    # ci.cramer(.05, 19.21, 2, 3, 200) of its manual: 0.1601 to 0.4417
    low, high = _noncentral_limits(19.21, 2)
    assert (np.sqrt(low / 200), np.sqrt(high / 200)) == pytest.approx((0.1601, 0.4417), abs=1e-4)


def test_perfect_confounding_is_1_and_tells_the_whole_label():
    found = measure_association(["a"] * 20 + ["b"] * 20, [0] * 20 + [1] * 20, range(40))
    assert (found.cramers_v, found.corrected_v, found.high) == pytest.approx((1, 1, 1))
    assert found.low < 0.9  # forty images do not prove it
    assert (found.bits, found.entropy_share) == pytest.approx((1, 1))


def test_one_value_only_has_no_association():
    found = measure_association(["a"] * 10, [0, 1] * 5, range(10))
    assert found.num_values == (1, 2)
    assert found.cramers_v is found.low is found.bits is None


def test_too_few_patients_have_no_interval():
    found = measure_association(["a"] * 4 + ["b"] * 4, [0, 1] * 4, [1, 1, 1, 1, 2, 2, 2, 2])
    assert found.cramers_v == 0
    assert found.low is found.high is None


def test_copies_of_every_image_widen_nothing_and_do_not_narrow_the_interval():
    rng = np.random.default_rng(3)
    sites, labels, patients = draw([0.3, 0.5, 0.6], [60, 60, 60], rng)
    single = measure_association(sites, labels, patients)
    copied = measure_association(sites * 5, labels * 5, patients * 5)
    assert copied.design_effect == pytest.approx(5, rel=0.25)
    assert copied.corrected_v == pytest.approx(single.corrected_v, abs=0.03)
    assert (copied.low, copied.high) == pytest.approx((single.low, single.high), abs=0.03)


@pytest.mark.parametrize("ill", [(30, 30), (18, 42), (3, 57), (0, 60)])
def test_ten_like_images_of_each_patient_have_an_effect_of_ten_however_strong_the_association(ill):
    sites = np.repeat([0, 1], 60)
    labels = np.concatenate([np.arange(60) < number for number in ill])
    found = measure_association(*(np.repeat(column, 10).tolist() for column in (sites, labels, np.arange(120))))
    assert found.design_effect == pytest.approx(10)
    # Miller 1955: (R - 1)(C - 1) / 2n nats by chance, n being the patients
    assert found.chance_bits == pytest.approx(1 / (2 * 120 * np.log(2)))


@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
def test_the_design_effect_is_what_labels_exchanged_between_patients_show(alike):
    rng = np.random.default_rng(13)
    sites, labels, patients = draw([0.1, 0.4, 0.6, 0.9], [60, 120, 120, 300], rng, per_patient=6, alike=alike)
    by_patient = np.array(labels).reshape(-1, 6)
    shown = [
        len(labels) * scipy_association(contingency(sites, rng.permutation(by_patient).ravel()), "cramer") ** 2 / 3
        for _ in range(2000)
    ]
    # Each has a standard error of 2 %, and permutations of 100 patients spread n / (n - 1) times as far.
    assert measure_association(sites, labels, patients).design_effect == pytest.approx(np.mean(shown), rel=0.06)


def test_a_patient_at_every_site_adds_no_effect_to_labels_that_are_his_in_all_images():
    sites, labels, patients = [0, 1] * 60, np.repeat([0, 1] * 30, 2).tolist(), np.repeat(np.arange(60), 2).tolist()
    assert measure_association(sites, labels, patients).design_effect == 1


def test_columns_that_are_exchanged_have_the_same_v_and_bits():
    sites, labels, patients = draw([0.2, 0.7], [60, 90], np.random.default_rng(4))
    one, other = measure_association(sites, labels, patients), measure_association(labels, sites, patients)
    assert (one.cramers_v, one.bits, one.corrected_v) == pytest.approx((other.cramers_v, other.bits, other.corrected_v))


def test_names_of_the_values_do_not_matter():
    sites, labels, patients = draw([0.2, 0.7], [60, 90], np.random.default_rng(5))
    names = np.array(["zürich", "$a$"])[sites]
    assert contingency(names, labels)[::-1].tolist() == contingency(sites, labels).tolist()
    assert measure_association(names, labels, patients).low == pytest.approx(
        measure_association(sites, labels, patients).low, abs=0.02
    )


def of_sites_and_scanners(number, noise, patients, rng, *, per_patient=1):
    """Each site has a scanner of its own; a share of the patients is examined on any of them, in all images alike."""
    sites = rng.integers(0, number, patients)
    scanners = np.where(rng.random(patients) < noise, rng.integers(0, number, patients), sites)
    return [np.repeat(column, per_patient).tolist() for column in (sites, scanners, np.arange(patients))]


def true_v(number, noise):
    return scipy_association(
        np.rint(1e7 * ((1 - noise) * np.eye(number) + noise / number) / number).astype(int), "cramer"
    )


def test_memory_goes_with_the_images_not_with_sites_times_scanners():
    rng = np.random.default_rng(8)
    columns = [rng.integers(0, number, 20_000).tolist() for number in (100, 600)]
    tracemalloc.start()
    try:
        found = measure_association(*columns, range(20_000), resamples=200)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.low == 0  # drawn independently
    assert peak < 150e6  # the 200 tables alone would be 96 MB, with their expectations 480


def test_the_interval_does_not_depend_on_how_many_resamples_are_held_at_once(monkeypatch):
    columns = of_sites_and_scanners(6, 0.5, 60, np.random.default_rng(9), per_patient=2)
    whole = measure_association(*columns)
    monkeypatch.setattr("fairpool.audit.association._CELLS_AT_ONCE", 500)
    assert measure_association(*columns) == whole


def test_of_twenty_sites_and_scanners_the_design_effect_of_four_like_images_is_four():
    found = measure_association(*of_sites_and_scanners(20, 1.0, 200, np.random.default_rng(10), per_patient=4))
    assert found.design_effect == pytest.approx(4, rel=0.1)


def test_four_like_images_a_patient_make_no_association_of_independent_sites_and_scanners():
    rng = np.random.default_rng(11)
    drawn = (of_sites_and_scanners(20, 1.0, 200, rng, per_patient=4) for _ in range(100))
    assert sum(measure_association(*columns, resamples=200).low > 0 for columns in drawn) <= 7


def test_where_the_bootstrap_decides_v_lies_above_the_interval_now_and_then_and_seldom():
    # A shift by the bias alone would never have it there: the interval would be a fifth too long.
    rng, true = np.random.default_rng(12), true_v(10, 0.5)
    drawn = (of_sites_and_scanners(10, 0.5, 100, rng) for _ in range(200))
    above = sum(measure_association(*columns, resamples=200).high < true for columns in drawn)
    assert 3 <= above <= 18


SCANNERS = [(20, 0.1, 200, 1), (20, 0.3, 150, 4), (10, 0.5, 100, 4), (20, 0.9, 200, 4)]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "noise", "patients", "per_patient"), SCANNERS)
def test_the_interval_of_sites_and_scanners_holds_the_true_v_in_at_least_90_percent(
    number, noise, patients, per_patient
):
    rng, true, held, trials = np.random.default_rng(6), true_v(number, noise), 0, 300
    for trial in range(trials):
        columns = of_sites_and_scanners(number, noise, patients, rng, per_patient=per_patient)
        found = measure_association(*columns, resamples=300, seed=trial)
        held += found.low <= true <= found.high
    print(f"V {true:.2f}: {100 * held / trials:.1f} %")
    assert held / trials >= 0.9


SETTINGS = [
    ([0.5, 0.5], [60, 60], 1, 0.0),
    ([0.45, 0.55], [300, 300], 1, 0.0),
    ([0.2, 0.8], [60, 60], 1, 0.0),
    ([0.02, 0.98], [60, 60], 1, 0.0),
    ([0.35, 0.45, 0.55, 0.65], [300, 180, 90, 30], 1, 0.0),
    (np.linspace(0.2, 0.8, 20), [30] * 20, 1, 0.0),
    (np.linspace(0.2, 0.8, 20), [6] * 20, 1, 0.0),
    ([0.5] * 20, [30] * 20, 1, 0.0),
    ([0.35, 0.65], [60, 60], 3, 0.7),
    ([0.35, 0.45, 0.55, 0.65], [300, 180, 90, 30], 3, 0.7),
    (np.linspace(0.2, 0.8, 20), [30] * 20, 3, 0.7),
    ([0.3, 0.7] * 10, [60] * 20, 10, 1.0),
    ([0.1, 0.9] * 10, [60] * 20, 10, 1.0),
    ([0.2, 0.8], [600, 600], 20, 1.0),
]


@pytest.mark.slow
@pytest.mark.parametrize(("prevalences", "images", "per_patient", "alike"), SETTINGS)
def test_the_interval_holds_the_true_v_in_at_least_92_percent(prevalences, images, per_patient, alike):
    rng = np.random.default_rng(6)
    shares = np.array(images) / sum(images)
    true = scipy_association(
        np.rint(1e7 * np.stack([(1 - np.array(prevalences)) * shares, prevalences * shares], 1)).astype(int), "cramer"
    )
    held, widths, trials = 0, [], 300
    for trial in range(trials):
        columns = draw(prevalences, images, rng, per_patient=per_patient, alike=alike)
        found = measure_association(*columns, resamples=300, seed=trial)
        held += found.low - 1e-6 <= true <= found.high + 1e-6
        widths.append(found.high - found.low)
    print(f"V {true:.2f}: {100 * held / trials:.1f} %, width {np.mean(widths):.2f}")
    assert held / trials >= 0.92
