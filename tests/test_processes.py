"""What processes that train together tell each other, and how one of them ends: real processes, over gloo."""

import json
import os
import subprocess
import sys

import pytest
from small_study import free_port

from fairpool import processes

WORKER = """
import json, os, sys
from fairpool import processes

with processes.joined():
    if processes.is_first():
        print("the first talks")
    else:
        print("the others do not")
        print("not even there", file=sys.stderr)
    {body}
"""


def start_pair(folder, body, number=2, **environment):
    """So many workers, started as torchrun would; returns their outputs by rank."""
    file = folder / "worker.py"
    file.write_text(WORKER.format(body=body))
    common = os.environ | {"WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    common |= {"LOCAL_WORLD_SIZE": str(number), "OMP_NUM_THREADS": "1", "FOLDER": str(folder)}
    common |= {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    common |= environment
    common["PYTHONPATH"] = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
    started = [
        subprocess.Popen(
            [sys.executable, str(file)],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(number)
    ]
    outputs = [process.communicate(timeout=120) for process in started]
    return [(process.returncode, *output) for process, output in zip(started, outputs, strict=True)]


def test_alone_a_process_is_the_first_of_one():
    assert not processes.is_worker()
    assert (processes.rank(), processes.world_size(), processes.is_first()) == (0, 1, True)
    assert processes.from_first(lambda: 7) == 7
    assert processes.gathered("part") == ["part"]
    with processes.joined():  # passes through, also what is raised
        pass
    with pytest.raises(KeyError), processes.joined():
        raise KeyError


def test_processes_hear_the_first_and_tell_it(tmp_path):
    body = """
    heard = processes.from_first(lambda: {"made by": processes.rank()})
    parts = processes.gathered(processes.rank() * 10)
    found = [processes.rank(), processes.world_size(), heard, parts]
    open(os.path.join(os.environ["FOLDER"], f"{processes.rank()}.json"), "w").write(json.dumps(found))
    """
    ends = start_pair(tmp_path, body)
    assert [status for status, *_ in ends] == [0, 0], ends
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert found == [[0, 2, {"made by": 0}, [0, 10]], [1, 2, {"made by": 0}, None]]
    assert [(out, err) for _, out, err in ends] == [("the first talks\n", ""), ("", "")]


def test_a_failure_is_one_sentence_and_the_others_end_with_it(tmp_path):
    body = """
    if not processes.is_first():
        raise ValueError("the scanner is\\n on fire")
    processes.gathered(1)
    """
    (first_status, _, first_err), (status, _, err) = start_pair(tmp_path, body, TORCHELASTIC_ERROR_FILE="")
    assert (status, err) == (1, "fairpool: process 1: the scanner is on fire\n")
    assert first_status == 1
    assert first_err.startswith(f"fairpool: process 0: {processes.LOST} (")


def test_an_unnamed_failure_keeps_its_traceback(tmp_path):
    (status, _, err), _ = start_pair(tmp_path, "raise AssertionError('a defect')")
    assert status == 1
    assert "Traceback" in err
    assert "AssertionError: a defect" in err


def test_under_a_launcher_the_sentence_is_handed_over_and_not_printed(tmp_path):
    body = """
    os.environ["TORCHELASTIC_ERROR_FILE"] = os.path.join(os.environ["FOLDER"], f"error{processes.rank()}")
    raise ValueError("the scanner is on fire")
    """
    ends = start_pair(tmp_path, body, FAIRPOOL_LAUNCHER=str(os.getpid()))
    assert [(status, err) for status, _, err in ends] == [(1, ""), (1, "")]
    message = json.loads((tmp_path / "error1").read_text())["message"]
    assert message["message"] == "the scanner is on fire"


def test_a_failure_of_the_transport_keeps_its_reason(tmp_path):
    for status, _, err in start_pair(tmp_path, "", GLOO_SOCKET_IFNAME="none9"):
        assert status == 1
        assert processes.LOST in err
        assert "none9" in err


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("import urllib.error; raise urllib.error.HTTPError('u', 403, 'Forbidden', None, None)", "HTTP Error 403"),
        ("raise ValueError('site igloolik in row 3')", "site igloolik in row 3"),
    ],
)
def test_no_sentence_is_swallowed(tmp_path, body, sentence):
    for status, _, err in start_pair(tmp_path, body):
        assert status == 1
        assert sentence in err
        assert processes.LOST not in err


def test_a_status_that_was_said_is_kept(tmp_path):
    ends = start_pair(tmp_path, "sys.exit(2)")
    assert [(status, err) for status, _, err in ends] == [(2, ""), (2, "")]
