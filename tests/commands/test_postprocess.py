"""`fairpool postprocess`: its tables hold the library's figures, its file the thresholds; a failure is one line."""

import json

import pytest
from small_study import assert_one_sentence, run_cli

from fairpool.postprocessing import SiteThresholds, postprocess_predictions
from fairpool.stored_predictions import read_predictions


@pytest.fixture
def run_folder(small_study):
    (folder,) = small_study.store.folder.rglob("unconstrained-seed0")
    return folder


def cells_of(out, first):
    """The cells of the printed rows that start with this one."""
    rows = [
        [cell.strip() for cell in line.strip("│ \n").split("│")] for line in out.splitlines() if line.startswith("│")
    ]
    return [row[1:] for row in rows if row[0] == first]


def test_the_tables_show_the_figures_before_expected_and_drawn(run_folder):
    done = run_cli("postprocess", run_folder, "--constraint", "equalized_odds", "--seed", 3)
    assert done.status == 0, done.err
    assert done.err == ""
    result = postprocess_predictions(read_predictions(run_folder), "equalized_odds", seed=3)
    reports = (result.before, result.expected, result.drawn)
    assert cells_of(done.out, "error") == [[f"{100 * report.overall_error:.1f}" for report in reports]]
    assert cells_of(done.out, "DEO (FNR gap)") == [[f"{100 * report.deo:.1f}" for report in reports]]
    assert cells_of(done.out, "FPR gap") == [[f"{100 * report.fpr_gap:.1f}" for report in reports]]
    for number, site in enumerate(result.sites):
        fitted, misses, alarms = cells_of(done.out, site)
        assert fitted[:2] == [str(count) for count in result.validation[site]]
        wrong, of = result.drawn.fnr_of[number].tolist()
        assert misses[2].startswith(f"{wrong} of {of} (")
        wrong, of = result.before.fpr_of[number].tolist()
        assert alarms[0].startswith(f"{wrong} of {of} (")
    said = f"Two draws decide {result.decided_differently:.1f} of the {len(result.decisions)} test cases differently"
    assert said in done.out


def test_the_file_gives_the_thresholds_back(run_folder, tmp_path):
    file = tmp_path / "thresholds.json"
    done = run_cli("postprocess", run_folder / "predictions.parquet", "--json", file)
    assert done.status == 0, done.err
    result = postprocess_predictions(read_predictions(run_folder))
    assert SiteThresholds.from_json(file.read_text(encoding="utf-8")) == result.rules
    assert json.loads(file.read_text(encoding="utf-8")) == json.loads(json.dumps(result.to_dict()))
    assert f"Thresholds and figures: {file}" in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["thresholds.json"]


def test_a_site_whose_name_looks_like_markup_is_shown_as_it_is(run_folder, tmp_path):
    table = read_predictions(run_folder)
    table.assign(site=table["site"].replace("bern", "[red]bern[/red]")).to_parquet(tmp_path / "p.parquet")
    done = run_cli("postprocess", tmp_path / "p.parquet")
    assert done.status == 0, done.err
    assert len(cells_of(done.out, "[red]bern[/red]")) == 3


def test_a_constraint_without_thresholds_is_wrong_usage(run_folder):
    done = run_cli("postprocess", run_folder, "--constraint", "error_rate_parity")
    assert_one_sentence(done, 2)
    assert "equal_opportunity, predictive_equality, equalized_odds, demographic_parity" in done.err


def test_a_file_in_no_folder_is_wrong_usage_before_anything_is_read(tmp_path):
    done = run_cli("postprocess", tmp_path / "nowhere", "--json", tmp_path / "no folder" / "t.json")
    assert_one_sentence(done, 2)
    assert "does not exist" in done.err
    done = run_cli("postprocess", tmp_path / "nowhere", "--json", tmp_path)
    assert_one_sentence(done, 2)
    assert "is a folder" in done.err


def test_a_run_that_is_not_there_is_one_sentence(tmp_path):
    done = run_cli("postprocess", tmp_path / "nowhere")
    assert_one_sentence(done, 1)
    assert 'there is no file "nowhere"' in done.err


def test_a_test_site_without_validation_cases_is_one_sentence(run_folder, tmp_path):
    table = read_predictions(run_folder)
    is_out = (table["split"] == "validation") & (table["site"] == "bern") & (table["label"] == 1)
    table[~is_out].to_parquet(tmp_path / "p.parquet")
    done = run_cli("postprocess", tmp_path / "p.parquet", "--json", tmp_path / "t.json")
    assert_one_sentence(done, 1)
    assert '"bern"' in done.err
    assert "0 positive" in done.err
    assert not (tmp_path / "t.json").exists()
