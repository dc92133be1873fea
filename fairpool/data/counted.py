"""Numbers of things in words: one image, two images."""

__all__ = ["counted"]


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number and what is counted, in the singular where it is 1.

    Args:
        number: how many.
        one: the words after 1, a verb too where one follows.
        many: the words after any other number; None: the same with an "s".

    >>> counted(1, "file"), counted(1200, "file"), counted(0, "patient has", "patients have")
    ('1 file', '1200 files', '0 patients have')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"
