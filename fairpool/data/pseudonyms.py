"""Pseudonyms that can be made again from the same key, and from nothing else."""

import hmac
import os
import re
import secrets
import stat
import unicodedata
import warnings
from pathlib import Path

from fairpool.errors import DataError

__all__ = ["Pseudonyms", "read_or_make_key"]

_HEX_DIGITS = 16  # 64 bits: a million patients share one with a probability of 3e-8
_KEY_BYTES = 32
_FEWEST_KEY_BYTES = 16
_LARGEST_KEY_FILE = 1024


class Pseudonyms:
    """Replaces a name by a pseudonym: the same name and key give the same pseudonym, another kind or key another one.

    A pseudonym is ``kind-`` and 16 hexadecimal digits of HMAC-SHA256(key, kind, name). Without the key nobody can find
    a name by trying all names, as one can with a plain hash; with the key anybody can. So keep the key apart from what
    you publish. Unicode form and outer spaces do not count: "Müller " and "Müller" are one name. Case does.

    Args:
        key: at least 16 random bytes, see `read_or_make_key`.
    Raises:
        TypeError: the key is no bytes.
        ValueError: the key is too short.
    Source: RFC 2104; ISO 25237:2017 for what a pseudonym of a patient must be.

    >>> names = Pseudonyms(bytes(range(32)))
    >>> names.of("Meier, Anna"), names.of("Inselspital", kind="site")
    ('patient-3ed4bbf6db378192', 'site-5bc34ff9b5010859')
    """

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes):
            raise TypeError(f"the key of the pseudonyms must be bytes, got {type(key).__name__}.")
        if len(key) < _FEWEST_KEY_BYTES:
            raise ValueError(
                f"the key of the pseudonyms has {len(key)} bytes; it needs at least {_FEWEST_KEY_BYTES} random ones. "
                "Let read_or_make_key make it."
            )
        self._key = key

    def of(self, text: str, kind: str = "patient") -> str:
        """The pseudonym of one name.

        Args:
            text: what is to be hidden; not empty.
            kind: what it is, in lower-case letters: "patient", "study", "site".
        Raises:
            ValueError: the text is empty, or the kind is no lower-case word. The text is not in the message.
        """
        if not re.fullmatch(r"[a-z]+", kind):
            raise ValueError(f"the kind of a pseudonym must be one lower-case word, got {kind!r}.")
        name = unicodedata.normalize("NFC", text).strip()
        if not name:
            raise ValueError(f"an empty {kind} has no pseudonym; fill it in, or leave it empty.")
        message = f"{kind}\0{name}".encode("utf-8", "surrogatepass")
        return f"{kind}-{hmac.digest(self._key, message, 'sha256').hex()[:_HEX_DIGITS]}"


def read_or_make_key(file: str | os.PathLike[str]) -> bytes:
    """The key of a file; where there is no such file, a new random key is written to it first.

    The file holds 64 hexadecimal digits, and only its owner may read it (mode 0600). Processes that start together get
    one key: the file appears whole or not at all.

    Args:
        file: the key file; its folder must exist.
    Returns:
        the key, 32 bytes where it was made here.
    Raises:
        DataError: the file is no key file, or cannot be read or written. The message does not hold its path.
    Warns:
        UserWarning: others than the owner may read the file.
    """
    reason = None
    try:
        if not os.path.lexists(file):
            _make_key(Path(file))
        return _read_key(Path(file))
    except OSError as error:
        reason = error.strerror or type(error).__name__
    # Outside `except`, or Python would keep the OSError, and with it the path, as context.
    raise DataError(f"the key file of the pseudonyms cannot be used ({reason}). Name a file in a folder that exists.")


def _read_key(file: Path) -> bytes:
    with file.open("rb") as handle:
        mode = os.fstat(handle.fileno()).st_mode
        text = handle.read(_LARGEST_KEY_FILE + 1).strip() if stat.S_ISREG(mode) else b""
    if not re.fullmatch(rb"([0-9A-Fa-f]{2})+", text) or not _FEWEST_KEY_BYTES <= len(text) // 2 < _LARGEST_KEY_FILE:
        raise DataError(
            "the key file of the pseudonyms does not hold a key of 64 hexadecimal digits. Name the right file, or one "
            "that does not exist yet: a key is then made there."
        )
    if os.name == "posix" and mode & 0o077:
        warnings.warn("the key file of the pseudonyms may be read by others; run chmod 600 on it.", stacklevel=3)
    return bytes.fromhex(text.decode())


def _make_key(file: Path) -> None:
    part = file.with_name(f"{file.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as handle:
            handle.write(secrets.token_hex(_KEY_BYTES) + "\n")
        try:
            os.link(part, file)  # unlike a rename, it never replaces the key of a process that was faster
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if not file.exists():
                os.rename(part, file)
    finally:
        part.unlink(missing_ok=True)
