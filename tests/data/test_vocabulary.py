import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from fairpool.data import SiteVocabulary

quick = settings(max_examples=50, deadline=None)
names = st.text(min_size=1, max_size=12).filter(str.strip)
vocabularies = st.lists(names, unique=True, max_size=20).map(lambda found: SiteVocabulary(tuple(found)))


def test_ids_follow_the_alphabet_whatever_the_order_of_the_rows():
    assert SiteVocabulary.from_sites(["zurich", "basel", "bern", "basel"]).names == ("basel", "bern", "zurich")
    assert SiteVocabulary.from_sites(["bern", "zurich", "basel"]).names == ("basel", "bern", "zurich")


def test_new_sites_leave_the_ids_and_slugs_of_the_known_ones_alone():
    known = SiteVocabulary.from_sites(["bern", "zurich"])
    both = known.extended(["Bern", "zurich", "aarau"])
    assert both.names == ("bern", "zurich", "Bern", "aarau")
    assert both.encode(["zurich", "aarau"]) == [1, 3]
    assert both.slugs()[:2] == known.slugs()
    assert known.extended(["bern"]) == known


def test_unknown_site_is_refused_with_its_row_the_vocabulary_and_the_nearest_name():
    vocabulary = SiteVocabulary(("basel", "bern", "zurich"))
    with pytest.raises(ValueError, match='site "Zurich" in row 2 is not among the 3 sites') as caught:
        vocabulary.encode(["bern", "Zurich"])
    for part in ("(basel, bern, zurich)", 'Did you mean "zurich"?', 'unknown="keep"'):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match=r"\(basel, bern, zurich\)\. Add it"):
        vocabulary.encode(["Oslo"])


def test_unknown_site_gets_minus_one_on_request():
    assert SiteVocabulary(("basel", "bern")).encode(["bern", "oslo", "basel"], unknown="keep") == [1, -1, 0]


def test_misspelt_choice_for_unknown_sites_is_refused():
    with pytest.raises(ValueError, match=r"unknown must be .* got 'ignore'"):
        SiteVocabulary(("basel",)).encode([], unknown="ignore")


@pytest.mark.parametrize("bad", [("",), (" ",), ("basel", None), (7,)])
def test_empty_name_is_refused(bad):
    with pytest.raises(ValueError, match="a site name must be non-empty text"):
        SiteVocabulary(bad)


def test_name_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match="site names must be unique"):
        SiteVocabulary(("basel", "basel"))


def test_slugs_of_awkward_names():
    awkward = ("Hôpital A (2)", "../../x", "北京", "上海", "hopital a 2", "X", "site-2", "a/b:c", "=cmd()")
    assert SiteVocabulary(awkward).slugs() == (
        "hopital-a-2",
        "x",
        "site",
        "site-2",
        "hopital-a-2-2",
        "x-2",
        "site-2-2",
        "a-b-c",
        "cmd",
    )


def test_slug_of_a_long_name_stays_a_file_name():
    first, second = SiteVocabulary(("h" * 300, "h" * 301)).slugs()
    assert max(len(first), len(second)) <= 85
    assert first != second


def test_thousand_names_without_latin_letters_are_numbered():
    slugs = SiteVocabulary(tuple(chr(0x4E00 + i) for i in range(1000))).slugs()
    assert slugs[:2] == ("site", "site-2")
    assert slugs[-1] == "site-1000"


@quick
@given(vocabularies)
def test_slugs_are_unique_and_may_stand_in_a_metric_and_a_file_name(vocabulary):
    slugs = vocabulary.slugs()
    assert len(set(slugs)) == len(vocabulary)
    for slug in slugs:
        assert re.fullmatch(r"[a-z0-9_][a-z0-9_-]*", slug)
        _validate_metric_name(f"val/error/{slug}")  # MLflow's own rule


@quick
@given(vocabularies)
def test_json_restores_the_vocabulary(vocabulary):
    assert SiteVocabulary.from_json(vocabulary.to_json()) == vocabulary


@quick
@given(vocabularies)
def test_every_site_is_encoded_to_its_place(vocabulary):
    assert vocabulary.encode(vocabulary.names) == list(range(len(vocabulary)))


def test_json_shows_names_and_slugs_in_the_order_of_the_ids():
    text = SiteVocabulary(("Zürich", "Basel")).to_json()
    assert json.loads(text) == {"sites": ["Zürich", "Basel"], "slugs": ["zurich", "basel"]}
    assert "Zürich" in text


@pytest.mark.parametrize("text", ["", "[]", "{}", '"basel"', '{"sites": "basel"}', '{"sites": [1]}', '{"sites": [""]}'])
def test_other_json_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        SiteVocabulary.from_json(text)


def test_an_unknown_site_is_named_with_the_row_that_its_table_gives_it():
    with pytest.raises(ValueError, match=r'site "zug" in row 9 of the test table is not among the 1 sites .*\(bern\)'):
        SiteVocabulary(("bern",)).encode(["bern", "zug"], rows=["7", "9 of the test table"])
