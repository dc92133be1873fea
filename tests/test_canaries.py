"""The canaries are where they should be, and the search finds them in whatever they were packed."""

import base64
import gzip
import sqlite3
import zipfile

import numpy as np
import pandas as pd
import pydicom
import pytest
from canaries import find_canaries, find_in_folder, write_canary
from dicom_files import SYNTAXES
from identifying_elements import IDENTIFYING

from fairpool.data.radiograph import read_radiograph


def test_a_canary_stands_in_every_identifying_element_and_is_found_there(tmp_path):
    dataset = pydicom.dcmread(write_canary(tmp_path / "image", 3))
    command_group = {"AffectedSOPInstanceUID", "RequestedSOPInstanceUID"}  # of messages on a network, not of files
    assert command_group == {name for name in IDENTIFYING if name not in dataset and name not in dataset.file_meta}
    hidden = {name for name in IDENTIFYING if name in dataset and not find_canaries(str(dataset[name].value))}
    assert hidden == {"GPSAltitudeRef", "PregnancyStatus"}  # sixteen bits: no value occurs nowhere else
    nested = dataset.RequestAttributesSequence[0].OtherPatientIDsSequence[0].OtherPatientIDsSequence[0]
    assert find_canaries(str(nested.PatientName))
    assert {0x0009, 0x0029, 0x5000, 0x6000} <= {element.tag.group for element in dataset}


def test_the_files_stay_valid_dicom(tmp_path):
    for name in SYNTAXES:
        path = write_canary(tmp_path / name, 3, bits=8, transfer_syntax=name)
        assert read_radiograph(path, 16).pixels.shape == (16, 16)


@pytest.mark.parametrize(
    "pack",
    [
        lambda text: text.encode(),
        lambda text: text.lower().encode(),
        lambda text: text.encode("utf-16"),
        lambda text: b"x" + base64.b64encode(b"??" + text.encode()),
        lambda text: base64.urlsafe_b64encode(b"{" + text.encode()),
        lambda text: ("0x" + text.encode().hex()).encode(),
        lambda text: text.encode().hex(" ").upper().encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: base64.b64encode(gzip.compress(text.encode())),
    ],
)
def test_the_search_sees_through_encodings(pack):
    for text in ("KANARI123F004 and what follows", "one 18640504 two three", "1.2.826.0.1.3680043.10.7777.3.4"):
        assert find_canaries(pack(text)), text
        assert not find_canaries(pack("Finch123 and 20240504, 1.2.840.10008.1.2 two three"))


def test_the_search_sees_into_files(tmp_path):
    table = pd.DataFrame({"finding": ["KANARI001"] * 100})
    table.to_parquet(tmp_path / "a.parquet", compression="zstd")
    with sqlite3.connect(tmp_path / "b.db") as database:
        database.execute("create table t (x text)")
        database.execute("insert into t values (?)", ["18640504"])
    database.close()
    with zipfile.ZipFile(tmp_path / "c.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", "KANARI" * 20)
    np.savez_compressed(tmp_path / "d.npz", notes=np.array(["KANARI"]))
    (tmp_path / "KANARI.txt").write_text("nothing")
    assert sorted(find_in_folder(tmp_path)) == ["KANARI.txt", "a.parquet", "b.db", "c.pt", "d.npz"]
