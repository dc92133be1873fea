"""The one plane by which a volume is looked at, and the grey numbers of a plane of any type."""

import gzip
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["middle_plane", "mix_channels", "open_voxels"]


def open_voxels(handle: BinaryIO) -> Any:
    """The voxels of a NIfTI file as nibabel's `ArrayProxy`: they are read when it is indexed.

    Args:
        handle: the open NIfTI-1 or NIfTI-2 file, plain or gzip; its header has been read without a fault.
    Raises:
        one of `fairpool.data.scan.libraries.library_errors`: the file is damaged.
    """
    from nibabel.nifti1 import Nifti1Image
    from nibabel.nifti2 import Nifti2Image

    handle.seek(0)
    is_packed = handle.read(2) == b"\x1f\x8b"
    handle.seek(0)
    stream: Any = gzip.GzipFile(fileobj=handle, filename="") if is_packed else handle
    kind = Nifti2Image if stream.read(8)[4:7] == b"n+2" else Nifti1Image
    stream.seek(0)
    return kind.from_stream(stream).dataobj


def middle_plane(voxels: Any) -> NDArray[Any]:
    """The middle plane of the third axis, at the first index of time and of whatever follows.

    Args:
        voxels: an array of at least two axes, or an `ArrayProxy`, of which no more than the plane is read.

    >>> middle_plane(np.arange(40).reshape(1, 1, 5, 8)).tolist()
    [[16]]
    """
    further = voxels.shape[2:]
    return np.asarray(voxels[(..., *(extent // 2 if axis == 0 else 0 for axis, extent in enumerate(further)))])


def mix_channels(plane: NDArray[Any]) -> NDArray[Any]:
    """One real number a pixel: of colours their mean without the opacity, of complex numbers the magnitude.

    Args:
        plane: shape (height, width), also of a type with fields, or (height, width, channels).

    >>> mix_channels(np.array([[[1, 3]]])), mix_channels(np.array([[[1, 3, 5, 255]]])), mix_channels(np.array([[3j]]))
    (array([[1.]]), array([[3.]]), array([[3.]]))
    """
    if plane.dtype.fields:
        plane = np.stack([plane[name] for name in plane.dtype.names or ()], axis=-1)
    if np.iscomplexobj(plane):
        plane = np.abs(plane)
    if plane.ndim == 3:
        channels = plane.shape[-1]
        plane = plane[..., : channels - 1 if channels in (2, 4) else channels].mean(axis=-1)
    return plane
