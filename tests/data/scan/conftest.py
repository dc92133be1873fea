"""Small files of every format, some from the libraries that read them."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file


@pytest.fixture
def write_dicom():
    """Writes a copy of pydicom's CT_small.dcm with other elements; None deletes one."""

    def write(path, **elements):
        dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path)
        return Path(path)

    return write


@pytest.fixture
def write_png():
    def write(path, shape=(6, 9), seed=0):
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, format="PNG" if str(path).endswith("png") else "JPEG")
        return Path(path)

    return write


@pytest.fixture
def write_nifti():
    def write(path, shape=(4, 5, 6), dtype=np.int16, zooms=None, unit="mm"):
        import nibabel

        values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
        image = nibabel.Nifti1Image(values, np.eye(4), dtype=dtype)
        if zooms is not None:
            image.header.set_zooms(zooms)
        image.header.set_xyzt_units(unit)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(image, path)
        return Path(path)

    return write
