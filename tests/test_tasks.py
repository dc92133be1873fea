"""Runs of one task share their data and their question."""

from fairpool.tasks import by_task


def row(data, pipeline="celeba", **params):
    return {"data": data, "pipeline": pipeline} | {f"params/{name}": value for name, value in params.items()}


def sizes(rows, by=None):
    return {title: len(own) for title, own in by_task(rows, by).items()}


def test_another_target_is_another_task():
    faces, gender = {"target": "Smiling", "protected": "Male"}, {"target": "Male", "protected": "Young"}
    rows = [row("d", **faces), row("d", **gender), row("d", **faces)]
    assert sizes(rows) == {"Smiling, Male": 2, "Male, Young": 1}
    assert sizes(rows, by=["protected"]) == {"Male": 2, "Young": 1}


def test_other_data_are_another_task_even_if_their_digests_begin_alike():
    rows = [row("abcdef0", "tuberculosis"), row("abcdef1", "tuberculosis"), row("abcdef1", "tuberculosis")]
    assert sizes(rows) == {"tuberculosis, data abcdef": 1, "tuberculosis, data abcdef1": 2}


def test_settings_that_are_not_the_task_make_no_other():
    assert sizes([row("d", "tuberculosis", eta=0.1), row("d", "tuberculosis", eta=0.2)]) == {"tuberculosis": 2}
