import numpy as np
import pytest

from fairpool.data.excluded_rows import as_setting, check_excluded_rows


def test_rows_are_sorted_and_each_counts_once():
    assert check_excluded_rows((9, 2, 9, np.int64(4)), 9) == [2, 4, 9]
    assert check_excluded_rows([], 9) == []


@pytest.mark.parametrize("rows", [5, 5.0, None, True, "12", b"12", {1: 2}])
def test_what_is_no_list_is_refused_with_the_form_it_should_have(rows):
    with pytest.raises(ValueError, match=r"^leave_out must be a list of row numbers, such as leave_out=\[7,41\]; got "):
        check_excluded_rows(rows, 9, "leave_out")


@pytest.mark.parametrize("row", [1.0, "1", None, True, [1]])
def test_what_is_no_row_number_is_refused(row):
    with pytest.raises(ValueError, match=r"got .* among them\.$"):
        check_excluded_rows([2, row], 9)


@pytest.mark.parametrize("row", [0, -1, 10])
def test_a_row_that_does_not_exist_is_refused(row):
    with pytest.raises(ValueError, match=f"^exclude_rows names row {row}; there are rows 1 to 9.$"):
        check_excluded_rows([row], 9)


def test_the_setting_can_be_read_back():
    import yaml

    key, value = as_setting([3, 12]).split("=")
    assert {key: check_excluded_rows(yaml.safe_load(value), 20)} == {"exclude_rows": [3, 12]}
