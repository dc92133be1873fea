"""Rows that count in an audit of images: the readable ones, of sites of which something can be read."""

import numpy as np
import pandas as pd
import pytest

from fairpool.audit.readable import countable_rows
from fairpool.errors import DataError

RECORDS = pd.DataFrame({"site": [*"aabbcc"], "row": [1, 2, 4, 5, 7, 8]})
ALL = np.arange(6)


def test_every_row_counts_where_nothing_is_read_or_all_can_be():
    assert countable_rows(RECORDS, ALL, {}).all()
    assert countable_rows(RECORDS[:0], ALL[:0], {}).tolist() == []


def test_unreadable_images_do_not_count():
    assert countable_rows(RECORDS, ALL, {0: "x", 3: "x"}).tolist() == [False, True, True, False, True, True]


def test_of_a_site_without_a_readable_image_in_the_sample_no_row_counts():
    # Of "b" only row 5 was looked at; of "c", row 7 can be read.
    counts = countable_rows(RECORDS, np.array([1, 3, 4, 5]), {1: "x", 3: "x"})
    assert counts.tolist() == [True, True, False, False, True, False]


def test_no_readable_image_names_the_first_row_and_the_way_out():
    with pytest.raises(DataError) as caught:
        countable_rows(RECORDS, np.array([2, 5]), {0: "it is empty", 1: "it ends early"})
    assert str(caught.value) == (
        "none of 2 images can be read; the first, row 4 (b): it is empty. Is --data the folder of the images? Or pass "
        "--no-images to audit the table alone."
    )
