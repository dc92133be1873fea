"""Scan a folder of DICOM, NIfTI, PNG and JPEG files into a table: `build_manifest`."""

from importlib import import_module
from typing import Any

_HOME = {
    "BuiltManifest": "build",
    "PatientSource": "patients",
    "SiteSource": "sites",
    "TableJoin": "joins",
    "build_manifest": "build",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    # Looked up on first use: the processes that read files need none of pandas.
    if name in _HOME:
        return getattr(import_module(f"fairpool.data.scan.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
