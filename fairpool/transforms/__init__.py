"""MONAI dictionary transforms: read radiographs, attach sites."""

from fairpool.transforms.load import LoadRadiographd

__all__ = ["LoadRadiographd"]
