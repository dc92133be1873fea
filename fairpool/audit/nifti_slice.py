"""The middle slice of a NIfTI volume as a small grey square."""

import os

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fairpool.data.pixels import MAX_PIXELS
from fairpool.data.scan.libraries import library_errors
from fairpool.data.scan.nifti_header import read_nifti_header
from fairpool.data.scan.planes import middle_plane, mix_channels, open_voxels
from fairpool.errors import DataError

__all__ = ["read_middle_slice"]

_ENDS = (0.5, 99.5)


def read_middle_slice(path: str | os.PathLike[str], size: int) -> NDArray[np.float32]:
    """The `middle_plane`, as it is stored.

    MR intensities have no unit, so the slice's own percentiles 0.5 and 99.5 become black and white: brightness is not
    told, contrast and shape are. Read it within `fairpool.data.scan.libraries.quiet_libraries`.

    Args:
        path: a NIfTI-1 or NIfTI-2 file, also compressed.
        size: height and width of the result.
    Returns:
        float32 in [0, 1], shape (size, size).
    Raises:
        DataError: the file is missing, damaged, too large, ends early, or holds no finite number; never with its path.
    """
    reason = ""
    try:
        with open(path, "rb") as handle:
            read_nifti_header(handle, max_pixels=MAX_PIXELS)
            plane = mix_channels(middle_plane(open_voxels(handle))).astype(np.float32)
    except FileNotFoundError:
        reason = "file not found. Check the path column and the data folder"
    except DataError as error:
        reason = str(error)
    except library_errors():
        reason = "image data are damaged, or end early. Fetch it again"
    if reason:
        raise DataError(reason)  # outside `except`: the causes quote the file's name
    finite = np.isfinite(plane)
    if not finite.any():
        raise DataError("the middle slice holds no finite number. Fetch it again")
    low, high = np.percentile(plane[finite], _ENDS)
    scaled = np.clip(np.nan_to_num((plane - low) / max(high - low, 1e-12), posinf=1.0, neginf=0.0), 0, 1)
    square = Image.fromarray(scaled.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(square, np.float32), 0, 1)
