"""Pseudonyms: against OpenSSL-style HMAC written out, and key files that are made, shared, foreign and open."""

import hashlib
import os
import pickle
import stat
import threading
import unicodedata
import warnings

import pytest

from fairpool.data.pseudonyms import Pseudonyms, read_or_make_key
from fairpool.errors import DataError

KEY = bytes(range(32))


def hmac_by_hand(key, message):
    """RFC 2104, from the hash alone."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in padded) + inner).hexdigest()


def test_pseudonym_is_the_hmac_of_kind_and_name():
    assert Pseudonyms(KEY).of("Meier, Anna", "patient") == "patient-" + hmac_by_hand(KEY, b"patient\0Meier, Anna")[:16]


def test_same_name_gives_the_same_pseudonym_and_anything_else_another():
    names = Pseudonyms(KEY)
    seen = {names.of("7"), names.of("07"), names.of("7", "study"), Pseudonyms(KEY[::-1]).of("7"), names.of("A")}
    assert len(seen | {names.of("a")}) == 6
    assert names.of("7") == Pseudonyms(KEY).of("7")


def test_unicode_form_and_outer_spaces_do_not_count():
    names = Pseudonyms(KEY)
    assert names.of(unicodedata.normalize("NFD", " Müller ")) == names.of("Müller")


def test_a_hundred_thousand_patients_have_as_many_pseudonyms():
    names = Pseudonyms(KEY)
    assert len({names.of(str(number)) for number in range(100_000)}) == 100_000


@pytest.mark.parametrize("text", ["", "  ", "\t"])
def test_empty_name_has_no_pseudonym(text):
    with pytest.raises(ValueError, match="an empty patient has no pseudonym"):
        Pseudonyms(KEY).of(text)


@pytest.mark.parametrize("kind", ["", "Patient", "a-b", "../x"])
def test_kind_that_is_no_word_is_refused(kind):
    with pytest.raises(ValueError, match="one lower-case word"):
        Pseudonyms(KEY).of("7", kind)


def test_key_that_is_short_or_no_bytes_is_refused():
    with pytest.raises(ValueError, match="has 15 bytes"):
        Pseudonyms(bytes(15))
    with pytest.raises(TypeError, match="got str"):
        Pseudonyms("0" * 64)


def test_key_is_not_shown_and_survives_pickling():
    names = Pseudonyms(KEY)
    assert KEY.hex() not in repr(names) + str(names)
    assert pickle.loads(pickle.dumps(names)).of("7") == names.of("7")


def test_key_file_is_made_once_for_its_owner_alone(tmp_path):
    file = tmp_path / "sites.key"
    key = read_or_make_key(file)
    assert (len(key), read_or_make_key(file), file.read_text().strip()) == (32, key, key.hex())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["sites.key"]
    assert read_or_make_key(tmp_path / "other.key") != key


def test_processes_that_start_together_get_one_key(tmp_path):
    keys, barrier = [], threading.Barrier(16)

    def make():
        barrier.wait()
        keys.append(read_or_make_key(tmp_path / "sites.key"))

    threads = [threading.Thread(target=make) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 16
    assert len(set(keys)) == 1


@pytest.mark.parametrize("content", [b"", b"secret", b"ab" * 15, b"abc" * 11, b"\xff" * 64, b"ab" * 5000])
def test_file_that_holds_no_key_is_refused_and_kept(tmp_path, content):
    file = tmp_path / "meier.key"
    file.write_bytes(content)
    with pytest.raises(DataError, match="does not hold a key of 64") as caught:
        read_or_make_key(file)
    assert "meier" not in str(caught.value)
    assert file.read_bytes() == content


def test_folder_that_does_not_exist_is_told_without_its_name(tmp_path):
    with pytest.raises(DataError, match=r"cannot be used \(No such file") as caught:
        read_or_make_key(tmp_path / "meier" / "sites.key")
    assert "meier" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.skipif(os.name != "posix", reason="needs file modes")
def test_key_that_others_may_read_is_warned_of(tmp_path):
    file = tmp_path / "meier.key"
    key = read_or_make_key(file)
    file.chmod(0o644)
    with pytest.warns(UserWarning, match="chmod 600") as warned:
        assert read_or_make_key(file) == key
    assert "meier" not in str(warned[0].message)
    file.chmod(0o600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_or_make_key(file)
