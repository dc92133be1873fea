"""What the terminal shows of results: one to ten methods, one and several seeds, in 100 columns."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console
from written_runs import ill_rows, run, written

from fairpool.metrics import expected_gap
from fairpool.result_tables import comparison_sentences, counts_table, figures_table

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


@pytest.mark.parametrize("number", [1, 2, 3, 4, 10])
def test_up_to_ten_methods_fit_100_columns(tmp_path, number):
    names = [f"proxy_lagrangian_{letter}" if number > 3 else f"method_{letter}" for letter in "abcdefghij"[:number]]
    results = [written(tmp_path, name, seed, ill_rows((4, 9)), FIGURES) for seed in range(2) for name in names]
    counts, hidden = counts_table(STUDY, results)
    assert hidden == 0
    text = shown(figures_table(STUDY, results), counts)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    rows = cells(text)
    if number > 3:
        assert rows["proxy_lagrangian_a"][:2] == ["12.3 ± 0.0", "26.0 ± 0.0"]
        assert text.count("proxy_lagrangian_d") == 3  # a row of figures and one for each site
    else:
        assert rows["error"] == ["12.3 ± 0.0"] * number
        assert rows["error at =bern"] == ["31.0 ± 0.0"] * number


def test_sites_without_room_are_counted(tmp_path):
    results = [run(f"m{i}", 0, FIGURES) for i in range(5)]
    for result in results:
        result.sites, result.slugs = [f"site {i}" for i in range(30)], [f"site-{i}" for i in range(30)]
        result.test_counts = [[[3, 1], [1, 3]]] * 30
    _, hidden = counts_table(STUDY, results)
    assert hidden == 30 - 8
    _, hidden = counts_table(STUDY, results[:2])
    assert hidden == 30 - 12


def test_every_pair_of_methods_has_a_sentence_in_error_and_deo():
    deo = {"unconstrained": (0.3, 0.4, 0.437), "fairalm": (0.1, 0.1, 0.1)}
    results = [run(m, seed, {"deo": v[seed], "error": 0.1}) for seed in range(3) for m, v in deo.items()]
    assert comparison_sentences(results) == [
        "fairalm against unconstrained, error: +0.0 points, p = 1 (smallest p that 3 seeds can give: 0.25): "
        "no evidence of a difference",
        "fairalm against unconstrained, DEO: -27.9 points, p = 0.25 (smallest p that 3 seeds can give: 0.25): "
        "no evidence of a difference",
    ]


def test_many_methods_are_compared_with_the_first_alone_and_one_seed_with_none():
    results = [run(f"m{i}", seed, {"deo": 0.1 * i + seed, "error": 0.1}) for seed in range(2) for i in range(5)]
    sentences = comparison_sentences(results)
    assert len(sentences) == 2 * 4 + 1
    assert all("against m0" in sentence for sentence in sentences[:-1])
    assert sentences[-1] == "All 10 pairs are in paired.csv."
    (only,) = comparison_sentences(results[:5])
    assert only.startswith("One seed cannot tell")
    assert comparison_sentences(results[:1]) == []
