"""MONAI dictionary transforms: attach and encode sites, intersect groups, read radiographs."""

from fairpool.transforms.encode import EncodeGroupsd
from fairpool.transforms.from_dicom import SiteFromDicomd
from fairpool.transforms.from_path import SiteFromPathd
from fairpool.transforms.from_sidecar import SiteFromSidecard
from fairpool.transforms.from_table import SiteFromTabled
from fairpool.transforms.intersect import IntersectGroupsd, intersected_names
from fairpool.transforms.load import LoadRadiographd
from fairpool.transforms.load_photograph import LoadPhotographd
from fairpool.transforms.site_transform import SiteTransform

__all__ = [
    "EncodeGroupsd",
    "IntersectGroupsd",
    "LoadPhotographd",
    "LoadRadiographd",
    "SiteFromDicomd",
    "SiteFromPathd",
    "SiteFromSidecard",
    "SiteFromTabled",
    "SiteTransform",
    "intersected_names",
]
