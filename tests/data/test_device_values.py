import pytest

from fairpool.data.device_values import combine_values, spell_number
from fairpool.data.spelling import SiteSpelling


@pytest.mark.parametrize(
    ("text", "name", "spelt"),
    [
        *[
            (text, "MagneticFieldStrength", "1.5")
            for text in ("1.5", "1.50", "1.5T", "1.5 T", "1.5 tesla", "15e-1", "+1.5")
        ],
        ("15000", "MagneticFieldStrength", "15000"),
        ("15000 G", "MagneticFieldStrength", "15000 G"),
        ("3", "MagneticFieldStrength", "3"),
        ("3.0", "MagneticFieldStrength", "3"),
        ("100", "KVP", "100"),
        ("1.2e2 kV", "KVP", "120"),
        ("1e999999999", "KVP", "1e999999999"),
        ("0", "KVP", "0"),
        ("007", "StationName", "007"),
        ("1.50", "SoftwareVersions", "1.50"),
        ("1,5", "MagneticFieldStrength", "1,5"),
    ],
)
def test_numbers_have_one_spelling_and_are_never_converted(text, name, spelt):
    assert spell_number(text, name) == spelt


def test_combination_of_nothing_is_nothing():
    assert combine_values([None, "", "n/a"], SiteSpelling()) is None
