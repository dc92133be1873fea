"""The comparison of a study's methods, against pandas on the runs themselves."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from fairpool.experiment import RunResult
from fairpool.summary import box_plots, comparison, pooled_reports


def result(method, seed, *, test, counts=None):
    counts = counts or [[[3, 1], [2, 2]], [[4, 0], [1, 3]]]
    return RunResult(
        method=method,
        seed=seed,
        run_id=f"{method}{seed}",
        sites=["a", "b"],
        slugs=["a", "b"],
        validation={"error": 0.5},
        test=test,
        validation_counts=counts,
        test_counts=counts,
        best_epoch=1,
        seconds=1.0,
    )


RESULTS = [
    result("plain", 0, test={"error": 0.1, "deo": 0.4}),
    result("fair", 0, test={"error": 0.2, "deo": 0.1}),
    result("plain", 1, test={"error": 0.3}),  # no estimate of the gap in this seed
    result("fair", 1, test={"error": 0.2, "deo": 0.3}),
]


def test_comparison_is_mean_and_sample_deviation_over_seeds():
    table = comparison(RESULTS)
    assert list(dict.fromkeys(table.index.get_level_values("method"))) == ["plain", "fair"]
    row = table.loc[("plain", "error")]
    assert (row["mean"], row["min"], row["max"], row["seeds"]) == pytest.approx((0.2, 0.1, 0.3, 2))
    assert row["std"] == pytest.approx(math.sqrt(0.02))
    assert table.loc[("fair", "deo"), "std"] == pytest.approx(math.sqrt(0.02))


def test_a_figure_without_an_estimate_in_a_seed_is_over_the_others():
    row = comparison(RESULTS).loc[("plain", "deo")]
    assert (row["mean"], row["seeds"]) == (0.4, 1)
    assert math.isnan(row["std"])
    with_nan = [result("plain", 0, test={"error": math.nan}), result("plain", 1, test={"error": 0.5})]
    assert comparison(with_nan).loc[("plain", "error"), ["mean", "seeds"]].tolist() == [0.5, 1]


def test_comparison_of_the_validation_section():
    assert comparison(RESULTS, "validation").loc[("fair", "error"), "mean"] == 0.5


def test_pooled_reports_add_the_counts_of_all_seeds():
    other = [[[1, 0], [0, 1]], [[0, 2], [2, 0]]]
    pooled = pooled_reports([result("fair", 0, test={}), result("fair", 1, test={}, counts=other)])
    # Site a misses 2 of 4 and 0 of 1, site b 1 of 4 and 2 of 2; false alarms are 1 of 4 and 0 of 1, 0 of 4 and 2 of 2.
    assert pooled["fair"].fnr.reshape(-1).tolist() == pytest.approx([2 / 5, 3 / 6])
    assert pooled["fair"].fpr.reshape(-1).tolist() == pytest.approx([1 / 5, 2 / 6])
    assert torch.as_tensor(pooled["fair"].samples).tolist() == [10, 12]


def test_box_plots_show_one_point_a_seed():
    left, right = box_plots(RESULTS).axes
    drawn = [line for line in left.lines if line.get_marker() == "o"]
    assert [sorted(line.get_ydata()) for line in drawn] == [pytest.approx([10, 30]), pytest.approx([20, 20])]
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["plain", "fair"]
    drawn = [line for line in right.lines if line.get_marker() == "o"]
    assert [list(line.get_ydata()) for line in drawn] == [pytest.approx([40]), pytest.approx([10, 30])]


@pytest.mark.parametrize(
    ("constraint", "gaps"),
    [
        ("equal_opportunity", {"deo": "FNR difference"}),
        ("predictive_equality", {"fpr_gap": "FPR difference"}),
        ("equalized_odds", {"deo": "FNR difference", "fpr_gap": "FPR difference"}),
        ("error_rate_parity", {"ddp": "error difference"}),
        ("demographic_parity", {"selection_gap": "selection rate difference"}),
        ("predictive_parity", {"fdr_gap": "false discovery rate difference"}),
    ],
)
def test_box_plots_show_the_constrained_gap(tmp_path, constraint, gaps):
    figures = {"error": 0.1, "deo": 0.2, "fpr_gap": 0.3, "ddp": 0.4, "selection_gap": 0.5, "fdr_gap": 0.6}
    figure = box_plots([result("plain", 0, test=figures), result("fair", 0, test=figures)], constraint)
    figure.savefig(tmp_path / "plot.png")
    first, *others = figure.axes
    assert first.get_title() == "test error"
    for axis, (gap, words) in zip(others, gaps.items(), strict=True):
        assert words in axis.get_title()
        drawn = [line for line in axis.lines if line.get_marker() == "o"]
        assert [list(line.get_ydata()) for line in drawn] == [[pytest.approx(100 * figures[gap])]] * 2
    titles = [axis.title.get_window_extent() for axis in figure.axes]
    assert all(after.x0 > before.x1 for before, after in pairwise(titles))
    assert titles[-1].x1 < figure.bbox.x1


def test_box_plots_of_ten_methods_have_labels_that_do_not_overlap(tmp_path):
    figure = box_plots([result(f"proxy_lagrangian_{i}", 0, test={"error": 0.1, "deo": 0.2}) for i in range(10)])
    figure.savefig(tmp_path / "plot.png")
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    starts = [box.x1 for box in boxes]  # rotated labels end at their tick
    assert min(after - before for before, after in pairwise(starts)) > 20


def test_box_plots_of_one_seed_and_of_no_estimate_are_drawn(tmp_path):
    box_plots([result("fair", 0, test={"error": 0.1})]).savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_summary_metrics_are_those_of_pandas_over_the_runs(small_study):
    rows = [
        {"method": run.data.params["method"], "figure": name.removeprefix("test/"), "value": value}
        for run in small_study.runs.values()
        for name, value in run.data.metrics.items()
        if name.startswith("test/")
    ]
    expected = pd.DataFrame(rows).groupby(["method", "figure"])["value"].agg(["mean", "std", "count"])
    metrics = small_study.summaries[0].data.metrics
    assert {"error", "deo", "error/geneve", "fnr/bern"} <= set(expected.index.get_level_values("figure"))
    for (method, figure), row in expected.iterrows():
        assert metrics[f"test/{figure}/{method}/mean"] == pytest.approx(row["mean"])
        if row["count"] == 2:
            assert metrics[f"test/{figure}/{method}/std"] == pytest.approx(row["std"])
    table = pd.read_csv(small_study.folder / "comparison.csv").set_index(["method", "figure"])
    pd.testing.assert_frame_equal(
        table[["mean", "std"]].sort_index(), expected[["mean", "std"]].sort_index(), check_exact=False
    )


def test_the_summary_run_holds_table_and_pictures(small_study, tmp_path):
    run_id = small_study.summaries[0].info.run_id
    names = {item.path for item in small_study.client.list_artifacts(run_id)}
    tables = {"comparison.csv", "gaps.csv", "intervals.csv", "paired.csv", "saliency.csv", "seeds.csv"}
    assert names == {"box_plots.png", "notes.json", "saliency.png"} | tables
    for name in ("box_plots.png", "saliency.png"):
        path = small_study.client.download_artifacts(run_id, name, tmp_path)
        assert min(Image.open(path).size) > 200
    outside = pd.read_csv(small_study.client.download_artifacts(run_id, "saliency.csv", tmp_path))
    assert set(outside["region"]) == {"outside the body", "border"}
    assert set(outside["method"]) == {run.data.params["method"] for run in small_study.runs.values()}
    notes = json.loads(Path(small_study.client.download_artifacts(run_id, "notes.json", tmp_path)).read_text())
    above = outside[outside["evidence"] > outside["area"]]
    assert sum("of the evidence lies" in note for note in notes) == len(above)
    seeds = pd.read_csv(small_study.client.download_artifacts(run_id, "seeds.csv", tmp_path))
    assert sorted(seeds["run_id"]) == sorted(run.info.run_id for run in small_study.runs.values())
    for row in seeds.to_dict("records"):
        run = small_study.runs[f"{row['method']}-seed{row['seed']}"]
        assert row["test/error"] == pytest.approx(run.data.metrics["test/error"])
        assert row["val/balanced_error"] == pytest.approx(run.data.metrics["val/balanced_error"])
