"""What the spool keeps when lines are cut, the disk is full, or a run goes on."""

import errno
import json
import math
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairpool.tracking.spool import SPOOL_NAME, Spool

ABOUT = {"name": "fairalm-seed0", "tags": {"study": "a"}, "experiment": "e", "store": "sqlite:///x"}


def reopened(folder):
    spool = Spool(folder)
    entries = spool.waiting(1000)
    spool.close()
    return entries


def test_entries_come_back_in_their_order(tmp_path):
    spool = Spool(tmp_path, ABOUT)
    spool.add("params", values={"eta": 0.1})
    spool.add("metrics", step=1, values={"val/error": 0.25, "val/deo": math.nan})
    spool.add("text", name="a.csv", text="é\r\n\u2028")
    spool.add("status", status="FINISHED")
    spool.close()
    run, params, metrics, text, status = reopened(tmp_path)
    assert {**ABOUT, "kind": "run"}.items() <= run.items()
    assert params["values"] == {"eta": 0.1}
    assert metrics["values"]["val/error"] == 0.25
    assert math.isnan(metrics["values"]["val/deo"])
    assert text["text"] == "é\r\n\u2028"
    assert status["status"] == "FINISHED"


def test_a_value_of_a_metrics_step_is_kept_once(tmp_path):
    spool = Spool(tmp_path, ABOUT)
    spool.add("metrics", step=1, values={"a": 1.0})
    spool.close()
    spool = Spool(tmp_path)
    spool.add("metrics", step=1, values={"a": 1.0, "b": 2.0})
    spool.add("metrics", step=1, values={"a": 1.0})
    spool.add("metrics", step=2, values={"a": 1.0})
    spool.add("metrics", step=2, values={"a": 1.5})
    spool.add("params", values={"eta": 1})
    spool.add("params", values={"eta": 2})
    assert [(entry.get("step"), entry["values"]) for entry in spool.waiting(9)[1:]] == [
        (1, {"a": 1.0}),
        (1, {"b": 2.0}),
        (2, {"a": 1.0}),
        (2, {"a": 1.5}),
        (None, {"eta": 1}),
    ]
    spool.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(min_value=0, max_value=400))
def test_a_cut_at_any_byte_loses_at_most_the_line_it_is_in(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    spool = Spool(folder, ABOUT)
    for step in range(4):
        spool.add("metrics", step=step, values={"a": step})
    spool.close()
    file = folder / SPOOL_NAME
    content = file.read_bytes()[:cut]
    file.write_bytes(content)
    whole = content.count(b"\n")
    spool = Spool(folder, ABOUT)
    assert len(spool.waiting(9)) == max(whole, 1)
    spool.add("metrics", step=9, values={"a": 9})
    spool.close()
    lines = file.read_text().splitlines()
    assert len(lines) == max(whole, 1) + 1
    assert all(json.loads(line)["kind"] for line in lines)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode), state=st.binary(max_size=60))
def test_any_bytes_in_its_place_are_survived(tmp_path_factory, content, state):
    folder = tmp_path_factory.mktemp("any")
    (folder / SPOOL_NAME).write_bytes(content)
    (folder / "tracking-sent.json").write_bytes(state)
    spool = Spool(folder, ABOUT)
    assert spool.about["kind"] == "run"
    spool.add("metrics", step=1, values={"a": 1.0})
    spool.close()
    assert reopened(folder)[-1]["values"] == {"a": 1.0}


def test_a_damaged_line_in_the_middle_costs_only_itself(tmp_path):
    spool = Spool(tmp_path, ABOUT)
    for step in range(3):
        spool.add("metrics", step=step, values={"a": step})
    spool.close()
    lines = (tmp_path / SPOOL_NAME).read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"', b"\0", 1)
    (tmp_path / SPOOL_NAME).write_bytes(b"".join(lines))
    assert [entry.get("step") for entry in reopened(tmp_path)] == [None, 0, None, 2]
    assert reopened(tmp_path)[2] == {"kind": "damaged"}


def test_a_damaged_line_that_was_sent_hides_none_that_waits(tmp_path):
    spool = Spool(tmp_path, ABOUT)
    for step in range(4):
        spool.add("metrics", step=step, values={"a": step})
    spool.confirm(3)
    spool.close()
    lines = (tmp_path / SPOOL_NAME).read_bytes().splitlines(keepends=True)
    lines[1] = b"\0" * (len(lines[1]) - 1) + b"\n"
    (tmp_path / SPOOL_NAME).write_bytes(b"".join(lines))
    assert [entry.get("step") for entry in reopened(tmp_path)] == [2, 3]


def test_an_entry_without_what_its_kind_needs_is_a_damaged_one(tmp_path):
    spool = Spool(tmp_path, ABOUT)
    spool.add("metrics", step=1, values={"a": 1})
    spool.add("status", status="FINISHED")
    spool.close()
    file = tmp_path / SPOOL_NAME
    file.write_bytes(file.read_bytes().replace(b'"values"', b'"valuez"').replace(b'"status":', b'"statuz":'))
    assert [entry["kind"] for entry in reopened(tmp_path)] == ["run", "damaged", "damaged"]


def test_what_a_killed_process_has_half_written_is_cleared_away(tmp_path):
    Spool(tmp_path, ABOUT).close()
    (tmp_path / "tracking-sent.json.0123abcd.part").write_text('{"sent": 1')
    before = {path.name for path in tmp_path.iterdir()}
    Spool(tmp_path).close()
    assert {path.name for path in tmp_path.iterdir()} == before - {"tracking-sent.json.0123abcd.part"}


@pytest.mark.parametrize("content", [b"", b"\0\0\n{}\n"])
def test_evidence_whose_beginning_is_lost_is_named(tmp_path, content):
    (tmp_path / SPOOL_NAME).write_bytes(content)
    for _ in range(2):  # its lock is free again
        with pytest.raises(FileNotFoundError, match=f'the folder "{tmp_path.name}" holds no evidence of a run'):
            Spool(tmp_path)
        (tmp_path / SPOOL_NAME).touch()


def test_another_store_takes_all_of_it(tmp_path):
    spool = Spool(tmp_path, ABOUT)
    spool.add("metrics", step=1, values={"a": 1.0})
    spool.aim_at(ABOUT["store"])
    spool.set_run_id("abc")
    spool.confirm(2)
    spool.close()
    spool = Spool(tmp_path)
    spool.aim_at(ABOUT["store"])
    assert (spool.run_id, spool.num_waiting) == ("abc", 0)
    spool.aim_at("sqlite:///y")
    spool.add("metrics", step=2, values={"a": 1.0})
    assert (spool.run_id, spool.num_waiting) == (None, 3)
    spool.close()
    spool = Spool(tmp_path)
    spool.aim_at("sqlite:///y")
    assert (spool.run_id, spool.num_waiting) == (None, 3)
    spool.close()


def test_a_tag_that_returns_to_what_it_was_is_kept(tmp_path):
    spool = Spool(tmp_path, ABOUT | {"tags": {"processes": "1"}})
    for value in ("2", "2", "1"):
        spool.add("tags", values={"processes": value})
    assert [entry["values"]["processes"] for entry in spool.waiting(9)[1:]] == ["2", "1"]
    spool.close()
    spool = Spool(tmp_path)
    assert spool.tags == {"processes": "1"}
    spool.close()


def test_half_of_a_character_stops_nothing(tmp_path):
    spool = Spool(tmp_path, ABOUT)
    spool.add("text", name="a.txt", text="\udcff")
    spool.close()
    assert reopened(tmp_path)[1]["text"] == "\udcff"


def test_what_was_confirmed_does_not_wait_any_more(tmp_path):
    spool = Spool(tmp_path, ABOUT)
    spool.add("metrics", step=1, values={"a": 1.0})
    spool.add("metrics", step=2, values={"a": 1.0})
    spool.set_run_id("abc")
    spool.confirm(2)
    spool.close()
    spool = Spool(tmp_path)
    assert spool.run_id == "abc"
    assert [entry["step"] for entry in spool.waiting(9)] == [2]
    spool.close()


def test_a_lost_state_sends_everything_again(tmp_path):
    spool = Spool(tmp_path, ABOUT)
    spool.confirm(1)
    spool.close()
    (tmp_path / "tracking-sent.json").unlink()
    assert len(reopened(tmp_path)) == 1


def test_a_second_process_is_told_to_wait(tmp_path):
    spool = Spool(tmp_path, ABOUT)
    code = "import sys; from fairpool.tracking.spool import Spool; Spool(sys.argv[1])"
    ended = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert f'another process is at work on "{tmp_path.name}"' in ended.stderr
    spool.close()
    assert subprocess.run([sys.executable, "-c", code, tmp_path]).returncode == 0


def test_lines_wait_in_memory_while_the_disk_is_full(tmp_path):
    """A file that may not grow beyond a limit stands for a full disk: the write fails halfway through a line."""
    code = """
import resource, signal, sys
from fairpool.tracking.spool import Spool
spool = Spool(sys.argv[1], {"name": "r", "tags": {}, "experiment": "e", "store": "s"})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))
for step in range(20):
    spool.add("metrics", step=step, values={"val/error": step})
on_disk = open(sys.argv[1] + "/tracking.jsonl").read()
assert on_disk.endswith("\\n") and 2 < on_disk.count("\\n") < 15, on_disk
assert len(spool.waiting(100)) == spool.num_waiting == on_disk.count("\\n")  # sent and then lost, more would come twice
spool.holds_back = False
assert len(spool.waiting(100)) == spool.num_waiting == 21
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
spool.add("metrics", step=20, values={"val/error": 20})
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert [entry["step"] for entry in reopened(tmp_path)[1:]] == list(range(21))


def test_what_was_sent_from_memory_does_not_wait(tmp_path):
    (tmp_path / SPOOL_NAME).symlink_to("/dev/full")
    spool = Spool(tmp_path, ABOUT)
    spool.add("metrics", step=1, values={"a": 1.0})
    spool.holds_back = False
    spool.confirm(2)
    spool.holds_back = True
    assert spool.num_waiting == 0
    assert spool.waiting(9) == []
    spool.close()


def test_a_disk_that_became_read_only_stops_no_training(tmp_path, monkeypatch):
    spool = Spool(tmp_path, ABOUT)

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", refuse)
        patch.setattr("os.truncate", refuse)
        patch.setattr("os.open", refuse)
        spool.add("metrics", step=1, values={"val/error": 1.0})
        spool.confirm(1)
    spool.add("metrics", step=2, values={"val/error": 2.0})
    spool.close()
    assert [entry.get("step") for entry in reopened(tmp_path)] == [None, 1, 2]


def test_a_folder_without_evidence_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f'the folder "{tmp_path.name}" holds no evidence'):
        Spool(tmp_path)
