"""Pooled data: trees and tables of images, patient-disjoint splits, site vocabularies, the image cache."""

from importlib import import_module
from typing import Any

_HOME = {
    "CellBatchSampler": "cell_batches",
    "Duplicates": "duplicates",
    "ImageCache": "image_cache",
    "Pool": "pool",
    "Pseudonyms": "pseudonyms",
    "SiteSpelling": "spelling",
    "SiteVocabulary": "vocabulary",
    "TuberculosisDataset": "tuberculosis",
    "as_items": "items",
    "balanced_sampler": "sampler",
    "biased_verbs": "imsitu_verbs",
    "build_manifest": "scan.build",
    "default_cache_dir": "image_cache",
    "download_tuberculosis": "download",
    "find_duplicates": "duplicates",
    "fold_columns": "folds",
    "leave_one_site_out": "folds",
    "normalize_name": "spelling",
    "pool_imsitu": "imsitu_pool",
    "pool_manifest": "pool",
    "pool_tuberculosis": "pool",
    "prepare_photographs": "photograph_check",
    "propose_pairs": "imsitu_verbs",
    "read_dicom_header": "headers",
    "read_imsitu": "imsitu",
    "read_manifest": "manifest",
    "read_or_make_key": "pseudonyms",
    "read_table": "manifest",
    "read_tuberculosis": "tuberculosis",
    "split_by_patient": "splits",
    "synthesize_celeba": "synthetic_celeba",
    "synthesize_imsitu": "synthetic_imsitu",
    "synthesize_mri": "synthetic_mri",
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
