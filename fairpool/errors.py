"""The exceptions of fairpool, for callers who must tell the cases apart.

    ValueError
    +-- DataError           a problem in the user's images or tables
    +-- CheckpointError     a file that fairpool will not load
    +-- NoFairMixtureError  (in fairpool.posterior) no mixture has gaps of 0; it carries the closest

Everything else raises Python's own types: TypeError, ValueError, KeyError, RuntimeError.
"""

__all__ = ["CheckpointError", "DataError"]


class DataError(ValueError):
    """A problem in the user's images or tables; the message names the row, the site and the remedy."""


class CheckpointError(ValueError):
    """A checkpoint that is not plain tensors, is damaged, or does not fit the sites it is used with."""
