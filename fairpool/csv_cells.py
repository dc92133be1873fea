"""Text as a CSV cell that no spreadsheet runs."""

__all__ = ["text_cell"]


def text_cell(text: str) -> str:
    """The text, quoted with an apostrophe where a spreadsheet would take it for a formula.

    >>> text_cell("=1+1"), text_cell("basel")
    ("'=1+1", 'basel')
    """
    return f"'{text}" if text[0] in "=+-@\t\r\n" else text
