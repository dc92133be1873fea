"""What the terminal shows of results: one to ten methods, one and several seeds, in 80 and 100 columns."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console
from written_runs import SITES, ill_rows, run, written

from fairpool.gaps import gaps_of
from fairpool.metrics import expected_gap
from fairpool.result_tables import counts_table, figures_table
from fairpool.uncertainty import null_gaps

STUDY = SimpleNamespace(constraint="equal_opportunity", overrides={})
FIGURES = {"error": 0.1234, "balanced_error": 0.2, "deo": 0.26, "fpr_gap": 0.05, "worst_group_error": 0.4}
FIGURES |= {"error/geneve": 0.11, "error/bern": 0.31}


def shown(*tables, width=100):
    console = Console(width=width, record=True, file=io.StringIO())
    for table in tables:
        console.print(table)
    return console.export_text()


def cells(text):
    """Cells of the table's rows by the first of them."""
    rows = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in text.splitlines() if "│" in line]
    return {row[0]: row[1:] for row in rows}


def test_the_expectation_and_the_p_value_of_a_single_run_stand_below_the_deo(tmp_path):
    results = [written(tmp_path, "plain", 0, ill_rows((4, 9)), FIGURES)]
    rows = cells(shown(figures_table(STUDY, results)))
    assert rows["DEO (FNR gap)"] == ["26.0"]
    value, p_value = rows["DEO if rates were equal"][0].split(", p = ")
    assert value == f"{100 * expected_gap([40, 25], 13 / 65):.1f}"
    assert 0 < float(p_value) < 0.05
    assert rows["FPR gap if rates were equal"] == ["no estimate"]
    assert rows["error at Genève"] == ["11.0"]


def test_over_seeds_the_expectation_is_a_mean_and_no_single_p_value_is_shown(tmp_path):
    results = [written(tmp_path, "plain", seed, ill_rows((4 + seed, 9)), FIGURES) for seed in range(2)]
    rows = cells(shown(figures_table(STUDY, results)))
    expected = (expected_gap([40, 25], 13 / 65) + expected_gap([40, 25], 14 / 65)) / 2
    assert rows["DEO if rates were equal"] == [f"{100 * expected:.1f}"]
    assert rows["error"] == ["12.3 ± 0.0"]


def test_predictions_that_are_gone_give_no_expectation():
    rows = cells(shown(figures_table(STUDY, [run("plain", 0, FIGURES)])))
    assert rows["DEO if rates were equal"] == ["no estimate"]


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 10])
def test_up_to_ten_methods_fit_the_terminal_without_a_cut_name_or_a_broken_number(tmp_path, number, width):
    names = [f"proxy_lagrangian_{letter}" for letter in "abcdefghij"[:number]]
    results = [written(tmp_path, name, seed, ill_rows((4, 9)), FIGURES) for seed in range(2) for name in names]
    for result in results:
        result.test = {**FIGURES, "error": 0.1 + 0.342 * result.seed, "deo": 0.6 - 0.342 * result.seed}
        result.test_counts = [[[312, 101], [87, 145]]] * 2
    figures, (counts, hidden) = figures_table(STUDY, results, width=width), counts_table(STUDY, results, width=width)
    assert hidden == 0
    for table in (figures, counts):
        text = shown(table, width=width)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        for name in names:
            assert name in text
    assert shown(counts, width=width).count("174 of 464 (38 %)") == 2 * number
    rows = cells(shown(figures, width=width))
    if number > 3 or (number, width) == (3, 80):
        assert rows["proxy_lagrangian_a"][:3] == ["27.1 ± 24.2", "42.9 ± 24.2", f"{100 * expected_of_13():.1f}"]
    else:
        assert rows["error"] == ["27.1 ± 24.2"] * number
        assert rows["error at =bern"] == ["31.0 ± 0.0"] * number


def expected_of_13():
    return expected_gap([40, 25], 13 / 65)


def test_from_three_methods_on_the_counts_have_a_row_a_method(tmp_path):
    results = [run(f"method_{letter}", 0, FIGURES) for letter in "abc"]
    for result in results:
        result.test_counts = [[[312, 101], [87, 145]]] * 2
    columns = [
        [column.header.replace("\n", " ") for column in counts_table(STUDY, results[:number], width=100)[0].columns]
        for number in (2, 3)
    ]
    assert columns[0] == [
        "site",
        *("method_a: missed positives", "false alarms", "method_b: missed positives", "false alarms"),
    ]
    assert columns[1] == ["site", "method", "missed positives", "false alarms"]


@pytest.mark.parametrize(
    ("constraint", "words", "chance"),
    [
        ("predictive_equality", ["FPR gap"], [25.0]),
        ("equalized_odds", ["DEO (FNR gap)", "FPR gap"], [40.0, 25.0]),
        ("error_rate_parity", ["error gap"], [100 * (11 / 60 - 16 / 120)]),
        ("demographic_parity", ["selection rate gap"], [100 * (88 / 120 - 13 / 60)]),
        ("predictive_parity", ["false discovery gap"], [100 * (2 / 13 - 12 / 88)]),
    ],
)
@pytest.mark.parametrize("number", [2, 4])
def test_the_constrained_gap_stands_beside_its_chance(tmp_path, number, constraint, words, chance):
    """Predictions whose gaps are known, so that the p-value and expectation of the right one are shown."""
    study = SimpleNamespace(constraint=constraint, overrides={})
    figures = FIGURES | {"ddp": 0.05, "selection_gap": 0.517, "fdr_gap": 0.017}
    results = [written(tmp_path, f"m{i}", 0, both_labels(), figures) for i in range(number)]
    grid = figures_table(study, results, width=100)
    counts, _ = counts_table(study, results, width=100)
    text = shown(grid, counts)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    found = null_gaps(results[0], gaps_of(constraint))
    assert [100 * gap.gap for gap in found.values()] == pytest.approx(chance)
    for gap in found.values():
        assert f"{100 * gap.expected:.1f}, p = {gap.p_value:.2g}" in text
    for word in words:
        assert all(part in text for part in word.split())


def both_labels():
    """Bern selects far more: FNR 45 and 5 %, FPR 5 and 30 %, of 20 and 80 positives and 40 negatives each."""
    rows = []
    for site, ill, misses, alarms in ((SITES[0], 20, 9, 2), (SITES[1], 80, 4, 12)):
        labels = [(1, i >= misses) for i in range(ill)] + [(0, i < alarms) for i in range(40)]
        rows += [(len(rows) + i, site, "test", label, 0.9 if d else 0.1) for i, (label, d) in enumerate(labels)]
    return rows


@pytest.mark.parametrize(
    ("constraint", "heading", "cell"),
    [
        ("error_rate_parity", "errors", "11 of 40 (28 %)"),
        ("demographic_parity", "positive decisions", "13 of 40 (32 %)"),
        ("predictive_parity", "false alarms of positive decisions", "2 of 13 (15 %)"),
    ],
)
def test_the_count_behind_the_constrained_gap_comes_first(constraint, heading, cell):
    study = SimpleNamespace(constraint=constraint, overrides={})
    results = [run(f"m{i}", 0, FIGURES) for i in range(4)]
    for result in results:
        result.test_counts = [[[18, 2], [9, 11]], [[28, 12], [4, 76]]]
    counts, _ = counts_table(study, results)
    assert counts.columns[2].header.replace("\n", " ") == heading
    assert next(iter(counts.columns[2].cells)) == cell


def test_sites_without_room_are_counted(tmp_path):
    results = [run(f"m{i}", 0, FIGURES) for i in range(5)]
    for result in results:
        result.sites, result.slugs = [f"site {i}" for i in range(30)], [f"site-{i}" for i in range(30)]
        result.test_counts = [[[3, 1], [1, 3]]] * 30
    _, hidden = counts_table(STUDY, results)
    assert hidden == 30 - 8
    _, hidden = counts_table(STUDY, results[:2])
    assert hidden == 30 - 12
