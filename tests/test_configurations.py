"""Which runs are seeds of one configuration."""

import json
import subprocess
import sys

import pytest

from fairpool.bundle import find_bundle
from fairpool.configurations import configuration_digest, seeds_compared


def config(**overrides):
    """What a run of the pipeline has as its configuration."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(find_bundle("tuberculosis").config_files("fairalm"))
    for key, value in overrides.items():
        parser.set(value, key.replace("__", "#"))
    return parser.get()


def test_a_setting_that_is_given_and_was_so_anyway_makes_no_other_configuration():
    plain = config()
    assert configuration_digest(config(eta=plain["eta"], seed=7, output_dir="elsewhere", num_workers=0)) == (
        configuration_digest(plain)
    )


def test_a_whole_number_is_the_same_with_and_without_its_point():
    assert configuration_digest({"growth": 1.0, "a": [2.0]}) == configuration_digest({"growth": 1, "a": [2]})
    assert configuration_digest({"growth": 1.5}) != configuration_digest({"growth": 1})


def test_every_setting_counts_nested_ones_too():
    digests = [
        configuration_digest(one)
        for one in (config(), config(eta=0.77), config(train__trainer__max_epochs=3), config(exclude_rows=[1]))
    ]
    assert len(set(digests)) == 4


def test_the_digest_is_the_same_in_every_process():
    code = (
        "import sys, json; from fairpool.configurations import configuration_digest; "
        "print(configuration_digest(json.load(sys.stdin)))"
    )
    plain = config()
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(plain), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == configuration_digest(plain)


@pytest.mark.parametrize(
    ("sets", "compared"),
    [
        ({"a": [{0}, {0, 1, 2}, {0}]}, {0, 1, 2}),  # a study of three seeds and trials of a sweep
        ({"a": [{0, 1, 2, 9}, {0, 1, 2}, {9}, {9}]}, {0, 1, 2}),  # tuned on seed 9, compared on others
        ({"a": [{0, 1, 2, 3, 4}, {0, 1, 2}]}, {0, 1, 2}),
        ({"a": [{0, 1}, {0, 1}, {0, 1, 2}]}, {0, 1}),
        ({"a": [{0}, {0}]}, {0}),
        ({"a": [{0}, {1}]}, None),  # by their number: one each
        ({"a": [{0, 1}, {2, 3}]}, None),
        ({"a": [{0, 1, 2}], "b": [{0, 1}]}, {0, 1}),
        ({"a": [{0, 1, 2}], "b": [{0}, {0}]}, {0, 1, 2}),  # no mean of b there is
        ({"a": [{0, 1}], "b": [{2, 3}]}, None),
        ({}, None),
    ],
)
def test_configurations_are_compared_on_the_seeds_that_they_share(sets, compared):
    found = seeds_compared([(method, frozenset(own)) for method, several in sets.items() for own in several])
    assert found == (None if compared is None else frozenset(compared))
