"""Posteriors against scipy's linear program, a plain loop of algorithm 1, and problems solved by hand."""

import math
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from fairpool.posterior import NoFairMixtureError, Posterior, exact_posterior, fairalm_posterior

TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


def smallest_fair_error(errors, gaps):
    """The primal problem, eq. (2), as a linear program; None where it has no solution."""
    gaps = np.asarray(gaps).reshape(len(errors), -1)
    equal = np.vstack([gaps.T, np.ones(len(errors))])
    right = np.append(np.zeros(gaps.shape[1]), 1.0)
    solution = linprog(errors, A_eq=equal, b_eq=right, bounds=(0, None), method="highs", options=TIGHT)
    return solution.fun if solution.status == 0 else None


def play(errors, gaps, rounds, eta):
    """Algorithm 1 in plain Python: the share of rounds of each classifier, and the mean multiplier."""
    lam, plays, multipliers = 0.0, [0] * len(errors), []
    for t in range(1, rounds + 1):
        costs = [e + lam * d for e, d in zip(errors, gaps, strict=True)]
        h = costs.index(min(costs))
        plays[h] += 1
        multipliers.append(lam)
        lam = lam + eta * gaps[h] / t
    return [n / rounds for n in plays], math.fsum(multipliers) / rounds, lam


def problems(number, seed=0):
    """Random problems: continuous, on a coarse lattice (ties, zeros, duplicates), and one-sided but for a zero."""
    rng = np.random.default_rng(seed)
    for index in range(number):
        n = int(rng.integers(1, 40))
        if index % 3 == 0:
            yield rng.uniform(0, 1, n), rng.uniform(-1, 1, n)
        elif index % 3 == 1:
            yield rng.integers(0, 6, n) / 10, rng.integers(-4, 5, n) / 20
        else:
            yield rng.integers(0, 12, n) / 40, rng.integers(0, 4, n) / 16 * rng.choice([-1, 1])


def test_exact_solver_equals_the_linear_program_on_1000_random_problems():
    solved = 0
    for errors, gaps in problems(1800):
        expected = smallest_fair_error(errors, gaps)
        if expected is None:
            with pytest.raises(NoFairMixtureError):
                exact_posterior(errors, gaps)
            continue
        posterior = exact_posterior(errors, gaps)
        assert posterior.error == pytest.approx(expected, abs=1e-9)
        assert abs(posterior.weights @ gaps) < 1e-12
        assert (posterior.weights >= 0).all()
        assert posterior.weights.sum() == pytest.approx(1, abs=1e-12)
        assert np.count_nonzero(posterior.weights) <= 2
        # A multiplier at which no classifier is cheaper than the mixture proves that it is the best.
        assert (errors + posterior.multiplier * gaps).min() == pytest.approx(expected, abs=1e-9)
        assert 0 <= posterior.duality_gap < 1e-9
        solved += 1
    assert solved >= 1000


def test_exact_solver_agrees_with_the_linear_program_over_several_thousand_classifiers():
    rng = np.random.default_rng(3)
    angle = rng.uniform(0, 2 * np.pi, 4000)  # on a circle every classifier is a corner of the hull
    errors, gaps = 0.5 + 0.4 * np.sin(angle), 0.1 + 0.6 * np.cos(angle)
    assert exact_posterior(errors, gaps).error == pytest.approx(smallest_fair_error(errors, gaps), abs=1e-9)


def test_a_zero_gap_classifier_does_not_end_the_walk_before_a_better_mixture():
    """The line of slope 0 and a line of slope above 0 hide, at their intersection, the one that mixes best."""
    errors, gaps = [0.10, 0.14, 0.31, 0.30], [0.10, 0.05, -1.0, 0.0]
    posterior = exact_posterior(errors, gaps)
    assert posterior.weights.round(6).tolist() == [round(10 / 11, 6), 0, round(1 / 11, 6), 0]
    assert posterior.error == pytest.approx((10 * 0.10 + 0.31) / 11)
    assert posterior.multiplier == pytest.approx(0.21 / 1.1)


def test_of_all_multipliers_of_a_fair_classifier_the_one_nearest_to_zero_is_given():
    assert exact_posterior([0.1, 0.2, 0.2], [0.0, 0.5, -0.5]).multiplier == 0
    assert exact_posterior([0.3, 0.2], [0.0, 0.5]).multiplier == pytest.approx(0.2)
    assert exact_posterior([0.3, 0.2], [0.0, -0.5]).multiplier == pytest.approx(-0.2)


fractions = st.integers(0, 40).map(lambda n: n / 40)
signed = st.integers(-40, 40).map(lambda n: n / 40)
classifiers = st.lists(st.tuples(fractions, signed), min_size=1, max_size=12)


@given(classifiers)
@settings(max_examples=200, deadline=None)
def test_no_pair_of_classifiers_mixes_fairly_at_a_smaller_error(pairs):
    errors, gaps = (list(column) for column in zip(*pairs, strict=True))
    fair = [e for e, d in pairs if d == 0]
    for (e, d), (f, g) in combinations(pairs, 2):
        if d * g < 0:
            fair.append((g * e - d * f) / (g - d))
    if not fair:
        with pytest.raises(NoFairMixtureError) as raised:
            exact_posterior(errors, gaps)
        assert abs(raised.value.gap) == min(abs(d) for d in gaps)
        assert raised.value.error == min(e for e, d in pairs if abs(d) == abs(raised.value.gap))
        return
    assert exact_posterior(errors, gaps).error == pytest.approx(min(fair), abs=1e-12)


@given(classifiers, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_order_duplicates_and_the_sign_of_the_gap_change_no_optimum(pairs, random):
    errors, gaps = (np.array(column) for column in zip(*pairs, strict=True))
    if not gaps.min() <= 0 <= gaps.max():
        return
    posterior = exact_posterior(errors, gaps)
    order = list(range(len(pairs))) * 2
    random.shuffle(order)
    shuffled, mirrored = exact_posterior(errors[order], gaps[order]), exact_posterior(errors, -gaps)
    assert shuffled.error == pytest.approx(posterior.error, abs=1e-12)
    assert mirrored.error == pytest.approx(posterior.error, abs=1e-12)
    assert mirrored.multiplier == pytest.approx(-posterior.multiplier, abs=1e-9)


@given(classifiers, st.integers(1, 60), st.sampled_from([0.01, 0.3, 1.0, 7.0, 1000.0]))
@settings(max_examples=150, deadline=None)
def test_algorithm_1_plays_what_a_plain_loop_plays_ties_included(pairs, rounds, eta):
    errors, gaps = (list(column) for column in zip(*pairs, strict=True))
    if not min(gaps) <= 0 <= max(gaps):
        return
    posterior = fairalm_posterior(errors, gaps, rounds, eta)
    weights, multiplier, _ = play(errors, gaps, rounds, eta)
    assert posterior.weights.tolist() == weights
    assert posterior.multiplier == pytest.approx(multiplier, abs=1e-12)


@pytest.mark.parametrize("eta", [0.05, 1.0, 20.0])
def test_algorithm_1_plays_what_a_plain_loop_plays_over_many_rounds_and_classifiers(eta):
    rng = np.random.default_rng(5)
    errors, gaps = rng.uniform(0.1, 0.5, 300), rng.uniform(-0.4, 0.4, 300)
    posterior = fairalm_posterior(errors, gaps, 3000, eta)
    weights, multiplier, _ = play(errors.tolist(), gaps.tolist(), 3000, eta)
    assert posterior.weights.tolist() == weights
    assert posterior.multiplier == pytest.approx(multiplier, abs=1e-12)
    assert posterior.error == pytest.approx(np.dot(weights, errors))
    assert posterior.gap == pytest.approx(np.dot(weights, gaps))


def test_algorithm_1_follows_the_leader():
    """lam = mean lam_t + eta * mean gap_t maximises the sum of the rewards lam * gap_t - (lam - lam_t)^2 / (2 eta)."""
    rng = np.random.default_rng(6)
    errors, gaps = rng.uniform(0, 1, 50), rng.uniform(-1, 1, 50)
    posterior = fairalm_posterior(errors, gaps, 400, 0.7)
    _, _, following = play(errors.tolist(), gaps.tolist(), 400, 0.7)
    assert following == pytest.approx(posterior.multiplier + 0.7 * posterior.gap, abs=1e-10)


@given(classifiers, st.integers(1, 40), st.sampled_from([0.1, 2.0]), st.sampled_from([None, 0.05, 3.0]))
@settings(max_examples=150, deadline=None)
def test_the_duality_gap_is_what_its_definition_says_and_never_negative(pairs, rounds, eta, bound):
    errors, gaps = (np.array(column) for column in zip(*pairs, strict=True))
    if not gaps.min() <= 0 <= gaps.max():
        return
    for posterior in (
        fairalm_posterior(errors, gaps, rounds, eta, bound=bound),
        exact_posterior(errors, gaps, bound=bound),
    ):
        limit = max(1, abs(posterior.multiplier)) if bound is None else bound
        clipped = min(max(posterior.multiplier, -limit), limit)
        response = min(e + clipped * d for e, d in zip(errors, gaps, strict=True))
        definition = posterior.error + limit * abs(posterior.gap) - response
        assert posterior.duality_gap >= 0
        assert posterior.duality_gap == pytest.approx(definition, abs=1e-12)


def test_the_duality_gap_of_algorithm_1_goes_to_zero():
    rng = np.random.default_rng(7)
    errors, gaps = rng.uniform(0.1, 0.5, 200), rng.uniform(-0.3, 0.3, 200)
    measured = [fairalm_posterior(errors, gaps, rounds, 5.0).duality_gap for rounds in (10, 100, 1000, 10_000, 100_000)]
    assert measured == sorted(measured, reverse=True)
    assert measured[-1] < 1e-4
    best = exact_posterior(errors, gaps)
    long = fairalm_posterior(errors, gaps, 100_000, 5.0)
    assert long.error == pytest.approx(best.error, abs=1e-4)
    assert long.multiplier == pytest.approx(best.multiplier, abs=1e-2)


def test_algorithm_1_leaves_a_classifier_after_the_rounds_that_a_harmonic_sum_predicts():
    """Two classifiers that cost the same at lam* = 0.25; the first is played while eta * d * H_t < lam*."""
    errors, gaps, eta = [0.1, 0.2], [0.3, -0.1], 0.12
    harmonic = np.cumsum(1 / np.arange(1, 5000))
    leaves = int(np.argmax(eta * gaps[0] * harmonic > 0.25)) + 1  # the round after which lam exceeds lam*
    assert fairalm_posterior(errors, gaps, leaves, eta).weights.tolist() == [1, 0]
    assert fairalm_posterior(errors, gaps, leaves + 1, eta).weights[1] > 0
    assert leaves == pytest.approx(math.exp(0.25 / (eta * gaps[0]) - np.euler_gamma), rel=0.01)


def test_a_step_of_one_over_t_leaves_the_multiplier_at_zero_and_the_gap_open():
    errors, gaps, rounds = [0.1, 0.2], [0.3, -0.1], 1000
    posterior = fairalm_posterior(errors, gaps, rounds, 1 / rounds)
    assert abs(posterior.multiplier) <= 0.3 * (1 + math.log(rounds)) / rounds
    assert posterior.weights.tolist() == [1, 0]
    assert posterior.gap == pytest.approx(0.3)


def random_several(rng, n, m):
    return rng.uniform(0, 1, n), rng.uniform(-1, 1, (n, m))


def test_several_constraints_equal_the_best_of_all_vertices():
    """Brute force: a vertex mixes at most M + 1 classifiers; solve each choice of M + 1 and keep the best."""
    rng = np.random.default_rng(8)
    solved = 0
    for _ in range(60):
        errors, gaps = random_several(rng, 9, 2)
        best = math.inf
        for chosen in combinations(range(9), 3):
            system = np.vstack([gaps[list(chosen)].T, np.ones(3)])
            weights = np.linalg.solve(system, [0, 0, 1])
            if (weights >= 0).all():
                best = min(best, float(weights @ errors[list(chosen)]))
        if math.isinf(best):
            with pytest.raises(NoFairMixtureError):
                exact_posterior(errors, gaps)
            continue
        posterior = exact_posterior(errors, gaps)
        assert posterior.error == pytest.approx(best, abs=1e-9)
        assert np.abs(posterior.gap).max() < 1e-9
        assert posterior.multiplier.shape == posterior.gap.shape == (2,)
        assert (errors + gaps @ posterior.multiplier).min() == pytest.approx(best, abs=1e-9)
        assert 0 <= posterior.duality_gap < 1e-8
        solved += 1
    assert solved >= 20


def test_one_constraint_as_a_column_equals_the_same_as_a_vector():
    for errors, gaps in problems(60, seed=9):
        if gaps.min() <= 0 <= gaps.max():
            column, vector = exact_posterior(errors, gaps[:, None]), exact_posterior(errors, gaps)
            assert column.error == pytest.approx(vector.error, abs=1e-9)


def test_gaps_of_every_site_against_the_others_are_dependent_and_still_solved():
    rng = np.random.default_rng(10)
    rates = rng.uniform(0.1, 0.4, (40, 4))
    gaps = rates - (rates.sum(axis=1, keepdims=True) - rates) / 3
    posterior = exact_posterior(rates.mean(axis=1), gaps)
    mixed = posterior.weights @ rates
    assert mixed == pytest.approx(np.full(4, mixed[0]), abs=1e-9)
    assert np.count_nonzero(posterior.weights) <= 4


def test_gaps_that_cannot_all_be_closed_give_the_closest_mixture():
    errors, gaps = [0.1, 0.2, 0.3], [[0.2, 0.3], [-0.2, 0.1], [0.0, 0.1]]
    with pytest.raises(NoFairMixtureError) as raised:
        exact_posterior(errors, gaps)
    # Every mixture has a second gap of 0.1 at least: classifier 2 alone has that and 0; no other is as close.
    closest = raised.value
    assert closest.weights.tolist() == [0, 0, 1]
    assert closest.gap.tolist() == [0, 0.1]
    assert closest.error == pytest.approx(0.3)
    sentence = "closes all 2 gaps at once. The closest is classifier 2 alone, which leaves gaps of 0.1000 in sum"
    assert sentence in str(closest)


def test_the_closest_of_several_classifiers_is_called_their_mixture():
    # The first gap cancels between the two; the second is the same at both.
    with pytest.raises(NoFairMixtureError) as raised:
        exact_posterior([0.1, 0.3], [[0.2, 0.1], [-0.2, 0.1]])
    assert raised.value.weights.tolist() == pytest.approx([0.5, 0.5])
    assert "The closest is the mixture of classifiers 0 and 1, which leaves gaps of 0.1000" in str(raised.value)


def test_of_equally_close_mixtures_the_one_with_the_smaller_error_is_given():
    errors, gaps = [0.4, 0.3, 0.1], [[0.2, 0.0], [0.1, 0.1], [0.0, 0.2]]
    with pytest.raises(NoFairMixtureError) as raised:
        exact_posterior(errors, gaps)
    assert raised.value.weights.round(6).tolist() == [0, 0, 1]


@pytest.mark.parametrize("solve", [exact_posterior, lambda e, d: fairalm_posterior(e, d, 10, 1.0)])
@pytest.mark.parametrize("sign", [1, -1])
def test_gaps_of_one_sign_are_refused_with_the_closest(solve, sign):
    with pytest.raises(NoFairMixtureError) as raised:
        solve([0.1, 0.3, 0.2], [sign * 0.2, sign * 0.1, sign * 0.1])
    word = "positive" if sign == 1 else "negative"
    assert f"all 3 gaps are {word}. The closest is classifier 2 alone, with gap {sign * 0.1:.4f}" in str(raised.value)
    assert raised.value.weights.tolist() == [0, 0, 1]
    assert raised.value.error == 0.2
    assert raised.value.gap == sign * 0.1
    assert isinstance(raised.value, ValueError)


def test_a_gap_of_rounding_counts_as_zero():
    assert exact_posterior([0.2, 0.1], [0.1 + 0.2 - 0.3, 0.4]).weights.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("errors", "gaps", "says"),
    [
        ([], [], "no classifier"),
        ([0.1], [[]], "no classifier, or no gap"),
        ([0.1, 0.2], [0.1], "2 errors but gaps of 1 classifiers"),
        ([0.1, float("nan")], [0.1, -0.1], "error of classifier 1 is nan"),
        ([0.1, 0.2], [0.1, float("inf")], "gap of classifier 1 is inf"),
        ([12.5, 0.2], [0.1, -0.1], "error of classifier 0 is 12.5.*Divide percentages by 100"),
        ([0.1, -0.2], [0.1, -0.1], "error of classifier 1 is -0.2"),
        ([0.1, 0.2], [5.0, -0.1], r"gap of classifier 0 is 5: gaps must be fractions in \[-1, 1\]"),
        ([[0.1]], [0.1], "shape"),
    ],
)
def test_bad_numbers_are_refused_in_one_sentence(errors, gaps, says):
    with pytest.raises(ValueError, match=says):
        exact_posterior(errors, gaps)
    with pytest.raises(ValueError, match=says):
        fairalm_posterior(errors, gaps, 10, 1.0)


@pytest.mark.parametrize("rounds", [0, -3, 2.5, True])
def test_rounds_must_be_a_whole_number_from_1_on(rounds):
    with pytest.raises(ValueError, match="rounds must be a whole number from 1 on"):
        fairalm_posterior([0.1, 0.2], [0.1, -0.1], rounds, 1.0)


@pytest.mark.parametrize("eta", [0, -1.0, float("nan"), float("inf")])
def test_eta_must_be_above_0(eta):
    with pytest.raises(ValueError, match="eta must be a number above 0"):
        fairalm_posterior([0.1, 0.2], [0.1, -0.1], 10, eta)


@pytest.mark.parametrize("bound", [0, -1.0, float("nan")])
def test_bound_must_be_above_0(bound):
    with pytest.raises(ValueError, match="bound must be a number above 0"):
        exact_posterior([0.1, 0.2], [0.1, -0.1], bound=bound)


def test_algorithm_1_refuses_several_gaps_a_classifier():
    with pytest.raises(ValueError, match=r"one gap a classifier, got shape \(2, 2\)"):
        fairalm_posterior([0.1, 0.2], [[0.1, 0.2], [-0.1, 0.1]], 10, 1.0)


def test_inputs_stay_as_they_were():
    errors, gaps = np.array([0.2, 0.1, 0.3]), np.array([1e-15, 0.3, -0.2])
    exact_posterior(errors, gaps)
    fairalm_posterior(errors, gaps, 50, 1.0)
    assert errors.tolist() == [0.2, 0.1, 0.3]
    assert gaps.tolist() == [1e-15, 0.3, -0.2]


def test_a_posterior_is_frozen():
    posterior = exact_posterior([0.1, 0.2], [0.1, -0.1])
    assert isinstance(posterior, Posterior)
    with pytest.raises(AttributeError):
        posterior.error = 0.0


def test_the_posterior_needs_neither_torch_nor_scipy_for_one_constraint():
    code = (
        "import sys, importlib.util as u; s = u.spec_from_file_location('p', sys.argv[1]); m = u.module_from_spec(s);"
        "sys.modules['p'] = m; s.loader.exec_module(m); m.exact_posterior([0.1, 0.2], [0.1, -0.1]);"
        "print('torch' in sys.modules, 'scipy' in sys.modules)"
    )
    import fairpool.posterior

    done = subprocess.run([sys.executable, "-c", code, fairpool.posterior.__file__], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr
