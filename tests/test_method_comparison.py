"""Methods against each other on the terminal: by the constraint's gap, and in agreement with paired.csv."""

import io
import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.table import Table
from written_runs import run

from fairpool.method_comparison import comparison_parts
from fairpool.study import finished_runs_of_study
from fairpool.uncertainty import paired_table

STUDY = SimpleNamespace(constraint="equal_opportunity", overrides={})


def shown(table, width=80):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def finished(folder, method, seed, figures):
    """A finished run in a study's folder, as `fairpool run` leaves it."""
    place = folder / f"{method}-seed{seed}"
    place.mkdir()
    result = run(method, seed, figures, str(place))
    (place / "model.pt").touch()
    (place / "predictions.parquet").touch()
    (place / "result.json").write_text(json.dumps({**asdict(result), "output_dir": ""}), encoding="utf-8")
    return result


def of_many_methods(number, seeds, figures=("error", "deo")):
    """Method i is 2 i points better than the first in the gap, in every seed, and as often better as worse in error."""
    return [
        run(
            f"proxy_lagrangian_{i}",
            seed,
            {name: (0.5 - 0.02 * i if name != "error" else 0.3 + 0.01 * (-1) ** seed * i) for name in figures},
        )
        for seed in range(seeds)
        for i in range(number)
    ]


def test_every_pair_of_methods_has_a_sentence_in_error_and_deo():
    deo = {"unconstrained": (0.3, 0.4, 0.437), "fairalm": (0.1, 0.1, 0.1)}
    results = [run(m, seed, {"deo": v[seed], "error": 0.1}) for seed in range(3) for m, v in deo.items()]
    assert comparison_parts(STUDY, results) == [
        "fairalm against unconstrained, error: +0.0 points, p = 1 (smallest p that 3 seeds can give: 0.25): "
        "no evidence of a difference",
        "fairalm against unconstrained, DEO: -27.9 points, p = 0.25 (smallest p that 3 seeds can give: 0.25): "
        "no evidence of a difference",
    ]


@pytest.mark.parametrize(
    ("constraint", "figures"),
    [
        ("predictive_equality", {"fpr_gap": "FPR gap"}),
        ("equalized_odds", {"deo": "DEO", "fpr_gap": "FPR gap"}),
        ("error_rate_parity", {"ddp": "error gap"}),
        ("demographic_parity", {"selection_gap": "selection rate gap"}),
        ("predictive_parity", {"fdr_gap": "false discovery gap"}),
    ],
)
def test_the_constrained_gap_is_compared_in_sentences_and_in_the_table(constraint, figures):
    study = SimpleNamespace(constraint=constraint, overrides={})
    everything = ("error", "deo", "fpr_gap", "ddp", "selection_gap", "fdr_gap")
    sentences = comparison_parts(study, of_many_methods(2, 6, everything))
    assert [sentence.split(": ")[0].split(", ")[1] for sentence in sentences] == ["error", *figures.values()]
    table, verdict = comparison_parts(study, of_many_methods(4, 8, everything))
    heading = shown(table).split("├")[0].split("┡")[0]
    assert all(part in heading for word in figures.values() for part in word.split())
    assert ("DEO" in heading) == ("deo" in figures)
    assert f"proxy_lagrangian_1 ({' and '.join(figures.values())})" in verdict


def test_many_methods_are_one_table_against_the_first_and_one_line_of_verdict():
    results = of_many_methods(10, 11)
    table, verdict = comparison_parts(STUDY, results)
    assert isinstance(table, Table)
    text = shown(table)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    assert [row[0] for row in rows] == [f"proxy_lagrangian_{i}" for i in range(1, 10)]
    paired = paired_table(results).set_index(["figure", "method", "against"])
    for method, seeds, error, error_p, deo, deo_p in rows:
        assert seeds == "11"
        for figure, difference, p_value in (("error", error, error_p), ("deo", deo, deo_p)):
            row = paired.loc[(figure, method, "proxy_lagrangian_0")]
            assert float(difference) == pytest.approx(100 * row["mean_difference"], abs=0.051)
            assert float(p_value) == pytest.approx(row["p_value_holm"], rel=0.06)
    assert verdict == (
        "Evidence of a difference from proxy_lagrangian_0: "
        + ", ".join(f"proxy_lagrangian_{i} (DEO)" for i in range(1, 10))
        + "; all 45 pairs are in paired.csv."
    )


def test_the_verdict_of_few_seeds_names_the_smallest_p():
    _, verdict = comparison_parts(STUDY, of_many_methods(5, 2))
    assert verdict == (
        "No evidence of a difference from proxy_lagrangian_0 (smallest p that 2 seeds can give: 0.5); "
        "all 10 pairs are in paired.csv."
    )
    _, verdict = comparison_parts(STUDY, of_many_methods(10, 6))
    assert "(smallest p that 6 seeds can give: 0.031, before adjustment over 45 pairs)" in verdict


def test_a_gap_without_an_estimate_is_no_estimate_in_the_table():
    results = of_many_methods(5, 2)
    for result in results:
        if result.method.endswith("3"):
            del result.test["deo"]
    (line,) = [line for line in shown(comparison_parts(STUDY, results)[0]).splitlines() if "lagrangian_3" in line]
    assert line.count("no estimate") == 1


def test_one_seed_is_no_comparison_and_one_method_has_none():
    results = of_many_methods(5, 2)
    (only,) = comparison_parts(STUDY, results[:5])
    assert only.startswith("One seed cannot tell")
    assert comparison_parts(STUDY, results[:1]) == []


def test_the_sentences_agree_with_paired_csv_when_the_study_has_more_runs_than_the_call(tmp_path):
    """Two methods over four of eight seeds are asked for; the study holds a third method and all eight seeds."""
    results = [
        finished(tmp_path, method, seed, {"error": 0.3, "deo": deo + seed / 1000})
        for seed in range(8)
        for method, deo in {"plain": 0.5, "fair": 0.1, "other": 0.3}.items()
    ]
    (tmp_path / "broken-seed0").mkdir()
    (tmp_path / "broken-seed0" / "result.json").write_text("{")
    asked = [result for result in results if result.method != "other" and result.seed < 4]
    assert finished_runs_of_study(asked)[: len(asked)] == asked
    assert {(one.method, one.seed) for one in finished_runs_of_study(asked)} == {(r.method, r.seed) for r in results}
    _, deo, note = comparison_parts(STUDY, asked)
    table = paired_table(finished_runs_of_study(asked)).set_index(["figure", "method", "against"])
    row = table.loc[("deo", "fair", "plain")]
    assert (row["p_value"], row["p_value_holm"]) == (2 / 256, 6 / 256)
    assert deo == (
        "fair against plain, DEO: -40.0 points, p = 0.0078, 0.023 after Holm's adjustment "
        "(smallest p that 8 seeds can give: 0.0078): evidence of a difference"
    )
    assert note == (
        "Compared over all 24 finished runs of the study, as in paired.csv; Holm's adjustment counts 1 more method."
    )
