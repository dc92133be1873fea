"""The error that ends a run is one sentence with the row, also where a data loader's worker sent it as text."""

import pytest
import torch
from monai.data import Dataset
from monai.transforms import Compose
from torch.utils.data import DataLoader

from fairpool.errors import DataError
from fairpool.study import innermost
from fairpool.transforms import LoadPhotographd

SENTENCE = "row 7 (male): image ends early. Fetch it again"


@pytest.fixture
def damaged(tmp_path):
    """A JPEG file that is cut off, as the item of a MONAI dataset."""
    from PIL import Image

    file = tmp_path / "mueller.jpg"
    Image.effect_noise((200, 200), 90).convert("RGB").save(file)
    file.write_bytes(file.read_bytes()[:2000])
    return {"image": str(file), "row": 7, "site_name": "male"}


def error_of(dataset, num_workers):
    with pytest.raises((RuntimeError, ValueError)) as caught:
        list(DataLoader(dataset, num_workers=num_workers))
    return caught.value


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_damaged_image_is_named_by_its_row_whoever_reads_it(damaged, num_workers):
    error = error_of(Dataset([damaged], Compose([LoadPhotographd("image", 32)])), num_workers)
    assert SENTENCE not in str(error).splitlines()[0]  # there is something to find
    cause = innermost(error)
    assert isinstance(cause, DataError)
    assert str(cause) == SENTENCE


class _Failing(torch.utils.data.Dataset):
    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 1

    def __getitem__(self, index):
        try:
            raise KeyError("/secret/folder")
        except KeyError as cause:
            raise self.error from cause


def test_a_data_error_that_a_worker_sent_as_text_is_its_sentence():
    error = error_of(_Failing(DataError(SENTENCE)), 1)
    assert isinstance(error, DataError)
    assert "Traceback" in str(error)
    assert (type(innermost(error)), str(innermost(error))) == (DataError, SENTENCE)


def test_another_error_of_a_worker_is_one_line_without_paths():
    try:
        raise ValueError("no such key")
    except ValueError as cause:
        failing = RuntimeError("applying transform")
        failing.__cause__ = cause

    class Plain(_Failing):
        def __getitem__(self, index):
            raise failing

    cause = innermost(error_of(Plain(None), 1))
    assert (type(cause), str(cause)) == (RuntimeError, "no such key")


def test_a_cause_that_says_nothing_does_not_hide_the_error_above_it():
    import queue

    error = RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly")
    error.__cause__ = queue.Empty()
    assert innermost(error) is error


def test_without_a_data_error_the_chain_is_followed_to_its_begin():
    first, second, third = ValueError("first"), TypeError("second"), RuntimeError("third")
    third.__cause__, second.__cause__ = second, first
    assert innermost(third) is first
