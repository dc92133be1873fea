"""Pooled data: trees and tables of images, patient-disjoint splits, site vocabularies, the image cache."""

from importlib import import_module
from typing import Any

_HOME = {
    "Duplicates": "duplicates",
    "ImageCache": "image_cache",
    "Pool": "pool",
    "SiteVocabulary": "vocabulary",
    "TuberculosisDataset": "tuberculosis",
    "as_items": "items",
    "balanced_sampler": "sampler",
    "build_manifest": "scan.build",
    "default_cache_dir": "image_cache",
    "download_tuberculosis": "download",
    "find_duplicates": "duplicates",
    "fold_columns": "folds",
    "leave_one_site_out": "folds",
    "pool_manifest": "pool",
    "pool_tuberculosis": "pool",
    "read_manifest": "manifest",
    "read_table": "manifest",
    "read_tuberculosis": "tuberculosis",
    "split_by_patient": "splits",
    "synthesize_tuberculosis": "synthetic_tuberculosis",
    "validate_manifest": "manifest_schema",
    "write_table": "tables",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    # Looked up on first use: MONAI, pandas and pydicom take seconds to import.
    if name in _HOME:
        return getattr(import_module(f"fairpool.data.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
