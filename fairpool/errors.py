"""The exceptions of fairpool, for callers who must tell the cases apart.

    ValueError
    +-- DataError           a problem in the user's images or tables
    +-- CheckpointError     a file that fairpool will not load
    +-- NoFairMixtureError  (in fairpool.posterior) no mixture has gaps of 0; it carries the closest

Everything else raises Python's own types: TypeError, ValueError, KeyError, RuntimeError.
"""

__all__ = ["NAMED", "CheckpointError", "DataError", "text_of"]

NAMED = (ValueError, RuntimeError, OSError, KeyError, TypeError)
"""Types whose text is a sentence for the user; a command shows any other with its traceback, as a defect."""


def text_of(error: BaseException) -> str:
    """What an exception says; Python would show that of a KeyError in quotation marks."""
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


class DataError(ValueError):
    """A problem in the user's images or tables; the message names the row, the site and the remedy."""


class CheckpointError(ValueError):
    """A checkpoint that is not plain tensors, is damaged, or does not fit the sites it is used with."""
