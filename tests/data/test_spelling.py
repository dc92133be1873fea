"""Spellings of sites: pairs that are one and pairs that are not, alias tables, and every table that is refused."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairpool.data.pseudonyms import Pseudonyms
from fairpool.data.spelling import SiteSpelling, normalize_name, read_aliases
from fairpool.errors import DataError

KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Basel", " basel "),
        ("Basel", "Ba\u200bsel"),
        ("Hôpital", unicodedata.normalize("NFD", "HÔPITAL")),
        ("GE MEDICAL SYSTEMS", "G.E. Medical Systems"),
        ("Siemens-Healthineers", "siemens  healthineers"),
        ("St. John's", "ST JOHN’S"),
        ("Universitätsklinik Gießen", "UNIVERSITATSKLINIK GIESSEN"),
        ("Νοσοκομείο", "νοσοκομειο"),
        ("Ｂａｓｅｌ", "basel"),
        ("site_1", "Site 1"),
        ("Philips Medical Systems, Inc.", "Philips Medical Systems Inc"),
    ],
)
def test_spellings_of_one_site_are_one(first, second):
    assert normalize_name(first) == normalize_name(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Eclipse 1.5T", "Eclipse 15T"),
        ("site 1", "site 11"),
        ("サガ病院", "サカ病院"),  # the mark of a Japanese syllable makes another syllable
        ("서울", "서을"),
        ("किला", "कला"),
        ("A", "A+"),
        ("Basel", "Base l"),
        ("?", "-"),
    ],
)
def test_names_of_two_sites_stay_two(first, second):
    assert normalize_name(first) != normalize_name(second)


@given(st.text(max_size=30))
def test_folding_twice_is_folding_once_and_never_empties_a_name(text):
    folded = normalize_name(text)
    assert normalize_name(folded) == folded
    assert folded == folded.strip()
    letters = unicodedata.normalize("NFKD", text)  # a spacing accent alone is a space and a mark: no name
    assert bool(folded) == bool(
        "".join(c for c in letters if unicodedata.category(c) != "Cf" and not c.isspace()).strip(
            "".join(map(chr, range(0x300, 0x370)))
        )
    )


@given(st.text(min_size=1, max_size=20))
def test_unicode_form_does_not_count(text):
    forms = {normalize_name(unicodedata.normalize(form, text)) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    assert len(forms) == 1


def test_without_options_only_outer_spaces_go():
    assert SiteSpelling()("  Hôpital A (2) ") == "Hôpital A (2)"


def test_exact_aliases_leave_other_cases_alone():
    spell = SiteSpelling(aliases={"Bern": ["Inselspital"]})
    assert [spell(name) for name in ("Inselspital ", "Bern", "inselspital", "Basel")] == [
        "Bern",
        "Bern",
        "inselspital",
        "Basel",
    ]


def test_folded_aliases_take_every_spelling_and_write_the_name_as_the_table_does():
    spell = SiteSpelling(normalize=True, aliases={"Hôpital de Genève": ["HUG"]})
    assert {spell(name) for name in ("hug", "H.U.G.", "HOPITAL DE GENEVE")} == {"Hôpital de Genève"}


def test_parts_are_spelt_before_the_whole_is_looked_up():
    spell = SiteSpelling(aliases={"Siemens": ["SIEMENS"], "1.5": ["1.4939"], "MR 3": ["Siemens | Avanto | 1.5"]})
    assert spell.combine(["SIEMENS", "Avanto", "1.4939"]) == "MR 3"
    assert spell.combine(["SIEMENS", "Skyra", "3"]) == "Siemens | Skyra | 3"


def test_folded_combinations_keep_their_separator():
    assert SiteSpelling(normalize=True).combine(["G.E.", "LOGIQ 700"]) == "ge | logiq 700"


def test_pseudonym_hides_the_spelt_name():
    names = Pseudonyms(KEY)
    spell = SiteSpelling(normalize=True, aliases={"Bern": ["Insel"]}, pseudonyms=names)
    assert {spell("INSEL"), spell("bern")} == {names.of("Bern", "site")}
    assert spell.canonical("INSEL") == "Bern"


def test_one_spelling_of_two_names_is_refused():
    with pytest.raises(DataError, match='gives the spelling "Insel" to "Bern" and to "Berne"'):
        SiteSpelling(aliases={"Bern": ["Insel"], "Berne": ["Insel"]})
    with pytest.raises(DataError, match="Leave it to one of them"):
        SiteSpelling(normalize=True, aliases={"Bern": ["insel"], "BERN": ["usb"]})


@pytest.mark.parametrize(
    ("aliases", "words"),
    [
        ({"Bern": "Insel"}, "a list of spellings"),
        ({"Bern": [1]}, "the spelling 1, which is no text"),
        ({1: ["Bern"]}, "the name 1, which is no text"),
        ({"Bern": [" "]}, "which is no text"),
        ({"": ["x"]}, "which is no text"),
        ({"Bern": {"x": "y"}}, "a list of spellings"),
    ],
)
def test_table_of_another_form_is_refused(aliases, words):
    with pytest.raises(DataError, match=words):
        SiteSpelling(aliases=aliases)


def test_aliases_that_are_no_table_are_refused():
    with pytest.raises(TypeError, match="got list"):
        SiteSpelling(aliases=["Bern"])


def test_yaml_table_is_read_with_its_empty_and_quoted_names(tmp_path):
    file = tmp_path / "aliases.yaml"
    file.write_text("\ufeffGenève: [HUG, 'NO']\n'1.5': ['1.494']\nBasel:\n", encoding="utf-8")
    assert read_aliases(file) == {"Genève": ["HUG", "NO"], "1.5": ["1.494"], "Basel": []}
    assert SiteSpelling(aliases=file)("HUG") == "Genève"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"Bern: [a]\nBern: [b]\n", r'names "Bern" in line 1 and again in line 2'),
        (b"- Bern\n", "no mapping"),
        (b"Bern\n", "no mapping"),
        (b"Bern: [a\nBasel: [b\n", "no YAML, line"),
        (b"Bern: [\xff]\n", "not UTF-8"),
        (b"NO: [x]\n", "the name False, which is no text"),
        (b"Bern: [1.5]\n", "the spelling 1.5, which is no text"),
        (b"Bern: !!python/object/apply:os.getcwd []\n", "no YAML, line 1"),
        (b"[a]: [b]\n", "no YAML|no text"),
        (b"2001-13-45: [x]\n", "a date, number or tag that is none"),
        (b"Bern: [!!int x]\n", "a date, number or tag that is none"),
        (b"Bern: [!!bool x]\n", "a date, number or tag that is none"),
        (b"Bern: [!!timestamp x]\n", "a date, number or tag that is none"),
        (b"x: " + b"[" * 5000 + b"]" * 5000, "nested too deeply|no text"),
    ],
)
def test_yaml_that_is_no_table_is_refused_without_its_path(tmp_path, text, words):
    file = tmp_path / "meier.yaml"
    file.write_bytes(text)
    with pytest.raises(DataError, match=words) as caught:
        read_aliases(file)
    assert "meier" not in str(caught.value) + str(caught.value.__context__)


def test_yaml_bomb_is_refused_at_once(tmp_path):
    lines = ['a: &a ["x","x","x","x","x","x","x","x","x"]']
    lines += [
        f"{now}: &{now} [{','.join(['*' + before] * 9)}]" for before, now in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(DataError, match="holds a reference"):
        read_aliases(tmp_path / "bomb.yaml")


@pytest.mark.parametrize("form", ["z: [{}]", "{}: [x]", "? {}\n: [x]", "{}"])
def test_yaml_bomb_that_is_one_value_is_refused_before_anything_spells_it_out(tmp_path, form):
    bomb = "x"
    for level in range(9):
        bomb = f"[&a{level} {bomb}{f',*a{level}' * 9}]"
    (tmp_path / "bomb.yaml").write_text(form.format(bomb))
    with pytest.raises(DataError, match="holds a reference"):
        read_aliases(tmp_path / "bomb.yaml")


def test_missing_table_is_told_without_its_path(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(No such file") as caught:
        SiteSpelling(aliases=tmp_path / "meier.yaml")
    assert "meier" not in str(caught.value)
    assert caught.value.__context__ is None
