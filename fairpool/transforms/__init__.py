"""MONAI dictionary transforms: read radiographs, intersect groups."""

from fairpool.transforms.intersect import IntersectGroupsd, intersected_names
from fairpool.transforms.load import LoadRadiographd

__all__ = ["IntersectGroupsd", "LoadRadiographd", "intersected_names"]
