"""States are whole, named for what they hold, and read without running code."""

import os
import pickle

import pytest
import torch

from fairpool.saved_states import load_newest, remove_states, save_state


def test_the_newest_whole_state_is_taken_and_older_ones_go(tmp_path):
    for epoch in (1, 2, 3, 10):
        save_state(tmp_path, {"epoch": epoch, "weights": torch.full((3,), epoch)}, epoch, n_saved=3)
    state, damaged = load_newest(tmp_path)
    assert (state["epoch"], damaged) == (10, [])
    assert len(list(tmp_path.iterdir())) == 3
    remove_states(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "another"])
def test_damage_falls_back_to_the_state_before(tmp_path, damage):
    save_state(tmp_path, {"epoch": 1}, 1)
    newest = save_state(tmp_path, {"epoch": 2}, 2)
    content = newest.read_bytes()
    newest.write_bytes(
        {
            "cut": content[:-1],
            "empty": b"",
            "flipped": content[:40] + bytes([content[40] ^ 1]) + content[41:],
            "another": pickle.dumps({"epoch": 7}),
        }[damage]
    )
    state, damaged = load_newest(tmp_path)
    assert (state, damaged) == ({"epoch": 1}, [newest.name])
    assert not newest.exists()


def test_a_state_that_cannot_be_read_at_all_falls_back_too(tmp_path):
    save_state(tmp_path, {"epoch": 1}, 1)
    newest = save_state(tmp_path, {"epoch": 2}, 2)
    newest.unlink()
    newest.symlink_to(newest.name)  # a loop stands for a bad sector: opening it is an OSError
    assert load_newest(tmp_path) == ({"epoch": 1}, [newest.name])


class Canary:
    def __reduce__(self):
        return os.mkdir, ("/tmp/fairpool-canary-was-run",)


def test_a_state_that_would_run_code_is_refused(tmp_path):
    save_state(tmp_path, {"epoch": 1, "canary": Canary()}, 1)
    with pytest.raises(pickle.UnpicklingError):
        load_newest(tmp_path)
    assert not os.path.exists("/tmp/fairpool-canary-was-run")


def test_other_files_are_let_alone(tmp_path):
    other = tmp_path / "state-of-affairs.pt"
    other.write_text("x")
    save_state(tmp_path, {"epoch": 1}, 1)
    remove_states(tmp_path)
    assert list(tmp_path.iterdir()) == [other]
