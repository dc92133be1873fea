"""Images may be left out where the user allows it, counted by site, and never more than was allowed."""

import pytest

from fairpool.data.unreadable import account_for_skipped
from fairpool.errors import DataError

SITES = ["bern"] * 20 + ["basel"] * 40
LABELS = [0, 1] * 30


def account(faults, max_share=0.1):
    return account_for_skipped(SITES, LABELS, faults, max_share=max_share, describe=lambda i: f"row {i + 1}")


def test_nothing_lost_is_nothing_said():
    assert account({}, max_share=0) == []


def test_each_site_is_told_with_its_labels_and_rows():
    assert account({0: "image ends early", 3: "file not found", 59: "not an image"}) == [
        '1 of 40 images of site "basel" cannot be used and is left out (label 1: 1): row 60: not an image',
        '2 of 20 images of site "bern" cannot be used and are left out (label 0: 1, label 1: 1): '
        "row 1: image ends early; row 4: file not found",
    ]


def test_the_limit_is_each_sites_own():
    faults = dict.fromkeys(range(3), "image ends early")  # 5 % of all images, 15 % of one site's
    with pytest.raises(DataError) as caught:
        account(faults)
    message = str(caught.value)
    assert 'max_skipped allows, 0.1 of a site\'s: 3 of 20 of site "bern" (row 1: image ends early; row 2' in message
    assert "basel" not in message


def test_a_share_equal_to_the_limit_is_allowed():
    assert account(dict.fromkeys(range(2), "x"), max_share=0.1)
    with pytest.raises(DataError):
        account(dict.fromkeys(range(2), "x"), max_share=0.099)


def test_a_site_is_never_lost_as_a_whole():
    with pytest.raises(DataError, match='20 of 20 of site "bern"'):
        account(dict.fromkeys(range(20), "x"), max_share=1.0)


def test_a_long_list_is_cut_and_its_rest_counted():
    (sentence,) = account(dict.fromkeys(range(20, 59), "x"), max_share=1.0)
    assert sentence.startswith('39 of 40 images of site "basel"')
    assert sentence.count("row ") == 20
    assert sentence.endswith("and 19 more")


@pytest.mark.parametrize("share", [-0.1, 1.5, True])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="share of a site's images, from 0 to 1"):
        account({}, max_share=share)
