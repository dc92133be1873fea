"""Whatever the bytes: fairpool's own error, in one line without a path, soon; or a result. Never another exception.

Each reader gets real files of its kind, damaged in a few places: flipped, cut, repeated, with pieces of the format put
in. Under CI the examples are the same each time; elsewhere each run draws others.
"""

import gzip
import io
import json
import os
import signal
import tarfile
import warnings
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from canaries import find_canaries
from dicom_files import SYNTAXES, write_dicom
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from overhearing import everything_of, overhear
from PIL import Image
from pydicom.data import get_testdata_file

from fairpool.audit.nifti_slice import read_middle_slice
from fairpool.bundle import find_bundle, parse_overrides
from fairpool.checkpoints import load_model, save_model
from fairpool.data.archive import extract
from fairpool.data.headers import read_dicom_header
from fairpool.data.manifest import read_manifest
from fairpool.data.photograph import read_photograph
from fairpool.data.radiograph import read_radiograph
from fairpool.data.scan.libraries import quiet_libraries
from fairpool.data.scan.reading import read_file
from fairpool.data.sidecars import Sidecars
from fairpool.data.spelling import SiteSpelling
from fairpool.data.vocabulary import SiteVocabulary
from fairpool.errors import CheckpointError, DataError
from fairpool.saved_states import load_newest, save_state

LONGEST = 20  # seconds; the slowest of some 100,000 damaged files took 0.2
EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
READERS = {}


def reader(*names, errors=(DataError,), pieces=()):
    """Register a reader: a function of a folder and a name that gives the file and a function that reads it."""

    def register(make):
        for name in names:
            READERS[name] = SimpleNamespace(
                make=lambda folder, name=name: make(folder, name), errors=errors, pieces=pieces
            )
        return make

    return register


@st.composite
def damages(draw, pieces):
    """A function of bytes that damages them in up to six places, of which most lie near the start."""
    place = st.one_of(st.floats(0, 1), st.floats(0, 1).map(lambda share: share**4))
    change = st.one_of(
        st.tuples(st.just("flip"), place, st.integers(0, 7)),
        st.tuples(st.just("put"), place, st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("over"), place, st.binary(min_size=1, max_size=4)),
        st.tuples(st.just("cut"), place, st.integers(1, 30)),
        st.tuples(st.just("end"), place, st.none()),
        st.tuples(st.just("repeat"), place, st.integers(1, 40)),
        *([st.tuples(st.just("put"), place, st.sampled_from(pieces))] if pieces else []),
    )
    return draw(st.lists(change, min_size=1, max_size=6))


def damage(content, changes):
    for kind, share, value in changes:
        at = int(share * len(content))
        if kind == "flip" and at < len(content):
            content = content[:at] + bytes([content[at] ^ 1 << value]) + content[at + 1 :]
        elif kind == "put":
            content = content[:at] + value + content[at:]
        elif kind == "over":
            content = content[:at] + value + content[at + len(value) :]
        elif kind == "cut":
            content = content[:at] + content[at + value :]
        elif kind == "end":
            content = content[:at]
        elif kind == "repeat":
            content = content[: at + value] + content[at:]
    return content


@contextmanager
def within(seconds):
    """End a hanging call by an exception that no reader may catch."""

    def end(*_):
        raise BaseException(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read_damaged(found, errors, content):
    """Read it; all that is said is one line and names neither file nor patient."""
    found.file.write_bytes(content)
    sentence = ""
    with overhear() as texts, warnings.catch_warnings(), within(LONGEST):
        warnings.simplefilter("ignore")  # quiet_libraries is the commands' business
        try:
            found.read()
        except errors as error:
            sentence = str(error)
            texts += everything_of(error) if found.is_secret else []
    assert "\n" not in sentence
    assert str(found.file.parent) not in sentence
    if found.is_secret:  # the file's name is a canary, and so are the values in it
        assert find_canaries("\n".join([sentence, *texts[:-1]])) == set()


# Tables


COLUMNS = {"image": ["a.png", "b.png", "c.png"], "label": ["0", "1", "1"], "site": ["bern", "basel", "bern"]}
JSON_PIECES = (
    b"{",
    b"[",
    b"}",
    b"]",
    b'"',
    b",",
    b":",
    b"null",
    b"1e999",
    b"NaN",
    b"9" * 5000,
    b"\\ud800",
    b"[" * 9999,
)


@reader("table.csv", "table.tsv", pieces=(b'"', b",", b"\t", b"\n", b"\r", b"\0", b"\xef\xbb\xbf", b"'=1", b"=1"))
@reader("table.json", pieces=JSON_PIECES)
@reader("table.parquet")
def table(folder, name):
    frame, file = pd.DataFrame(COLUMNS), folder / name
    if file.suffix == ".parquet":
        frame.assign(age=[41, 7, 3], weight=[0.5, None, 1]).to_parquet(file)
    elif file.suffix == ".json":
        rows = frame.to_dict("records")
        file.write_text(json.dumps({"training": rows[:2], "test": rows[2:]}))
    else:
        frame.to_csv(file, index=False, sep="\t" if file.suffix == ".tsv" else ",")
    return file, lambda: read_manifest(file, check_images=False)


YAML_PIECES = (
    b"&a ",
    b"*a",
    b"<<: ",
    b"- ",
    b": ",
    b"[",
    b"]",
    b"{",
    b"}",
    b"? ",
    b"|",
    b"---\n",
    b"2001-13-45",
    b"0x",
    b"1:2",
)
YAML_TAGS = ("int", "float", "bool", "timestamp", "set", "binary", "python/object:os.system")


@reader("aliases.yaml", pieces=(*YAML_PIECES, *(f"!!{tag} ".encode() for tag in YAML_TAGS)))
def aliases(folder, name):
    (folder / name).write_text("Bern: [Inselspital, BERNE]\nBasel:\n  - USB\n'2001-01-01': [x]\n")
    return folder / name, lambda: SiteSpelling(True, folder / name)("bern")


@reader("sub-01_T1w.json", pieces=JSON_PIECES)
@reader("participants.tsv", pieces=(b"\t", b"\n", b"sub-01", b'"', b"n/a"))
def sidecars(folder, name):
    (folder / "dataset_description.json").write_text("{}")
    (folder / "sub-01_T1w.json").write_text(
        '{"InstitutionName": "Bern", "MagneticFieldStrength": 1.5, "x": ["a", null]}'
    )
    (folder / "participants.tsv").write_text("participant_id\tsite\nsub-01\tbern\nsub-02\tbasel\n")
    fields = ["InstitutionName", "MagneticFieldStrength", "x", "site"]
    return folder / name, lambda: Sidecars(fields).find(str(folder / "sub-01_T1w.nii.gz"))


# Images


DICOM_PIECES = (
    *(b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff", b"\x28\0\x10\0US\2\0\xff\xff"),
    *(b"\xe0\x7f\x10\0OW\0\0", b"\x08\0\x05\0CS\x0a\0ISO_IR 100"),
)
BUNDLED = (
    "CT_small.dcm",
    "MR_small.dcm",
    "JPEGLSNearLossless_08.dcm",
    "rtplan.dcm",
    "reportsi.dcm",
    "nested_priv_SQ.dcm",
)
KEYWORDS = ["InstitutionName", "Manufacturer", "0018,0060", "PixelSpacing", "Rows"]


def read_any_image(file):
    """As the commands read one: its pixels, and its header within a scan."""
    with quiet_libraries():
        read_file(str(file), max_pixels=10**6, hash_pixels=True, keywords=["InstitutionName"])
    read_radiograph(file, 8, frame="middle")


@reader(*(f"{syntax} DICOM" for syntax in SYNTAXES), pieces=DICOM_PIECES)
def dicom(folder, name):
    syntax = name.removesuffix(" DICOM")
    file = write_dicom(
        folder / "KANARI000F000.dcm",
        transfer_syntax=syntax,
        bits=8 if syntax == "jpeg" else 16,
        PatientName="KANARI001F000^Anna",
        PatientID="KANARI002F000",
        InstitutionName="Bern",
    )
    return file, lambda: read_any_image(file)


@reader(*(f"header of {syntax} DICOM" for syntax in ("explicit", "implicit", "big endian")), pieces=DICOM_PIECES)
def dicom_header(folder, name):
    file, _ = dicom(folder, name.removeprefix("header of "))
    return file, lambda: read_dicom_header(file, KEYWORDS)


@reader(*BUNDLED, pieces=DICOM_PIECES)
def bundled_dicom(folder, name):
    file = folder / "KANARI000F000.dcm"
    file.write_bytes(Path(get_testdata_file(name, download=False)).read_bytes())

    def read():
        with suppress(DataError):
            read_dicom_header(file, KEYWORDS)
        read_any_image(file)

    return file, read


@reader(
    "grey PNG",
    "palette PNG",
    "16-bit PNG",
    "JPEG",
    pieces=(b"\xff\xd8", b"\xff\xc0", b"IDAT", b"tRNS", b"eXIf", b"acTL"),
)
def raster(folder, name):
    levels = np.random.default_rng(0).integers(0, 255, (20, 20), dtype=np.uint8)
    exif, file = Image.Exif(), folder / "KANARI000F000.png"
    exif[0x0112] = 6
    images = {
        "grey PNG": (Image.fromarray(levels), {"exif": exif}),
        "palette PNG": (Image.fromarray(levels).convert("P"), {"transparency": 3}),
        "16-bit PNG": (Image.fromarray(levels.astype(np.uint16) * 257), {}),
        "JPEG": (Image.fromarray(np.stack([levels] * 3, axis=2)), {"exif": exif}),
    }
    image, options = images[name]
    image.save(file, "JPEG" if name == "JPEG" else "PNG", **options)

    def read():
        with suppress(DataError):
            read_photograph(file, 8)
        read_any_image(file)

    return file, read


@reader("plain NIfTI", "packed NIfTI", pieces=(b"\x80", b"\xff\xff", b"n+1\0", b"n+2\0"))
def nifti(folder, name):
    file = folder / f"KANARI000F000.nii{'.gz' if name == 'packed NIfTI' else ''}"
    voxels = np.random.default_rng(0).normal(size=(6, 5, 4)).astype("f4")
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), file)

    def read():
        with quiet_libraries():
            read_file(str(file), max_pixels=10**6, hash_pixels=True)
            read_middle_slice(file, 8)

    return file, read


@reader("NIfTI packed after the damage", pieces=(b"\x80", b"\xff\xff", b"n+1\0", b"n+2\0"))
def repacked_nifti(folder, name):
    """Damage inside the compression, which its checksum would otherwise find at once."""
    file, _ = nifti(folder, "plain NIfTI")
    packed = file.with_suffix(".nii.gz")

    def read():
        packed.write_bytes(gzip.compress(file.read_bytes(), 1))
        with quiet_libraries():
            read_file(str(packed), max_pixels=10**6, hash_pixels=True)
            read_middle_slice(packed, 8)

    return file, read


# Files from strangers


@reader("model.pt", errors=(CheckpointError,), pieces=(b"ctorch\n_utils\n", b"cos\nsystem\n", b"R.", b"PK\3\4"))
def checkpoint(folder, name):
    vocabulary = SiteVocabulary(("basel", "bern"))
    save_model(folder / name, torch.nn.Linear(3, 2), vocabulary=vocabulary, settings={"eta": 0.1})
    return folder / name, lambda: load_model(folder / name, vocabulary=vocabulary)


@reader("state", errors=())
def saved_state(folder, name):
    """A damaged state is removed, and never loaded: its name holds its checksum."""
    file = save_state(folder, {"epoch": 1, "weights": torch.ones(3)}, 1)
    whole = file.read_bytes()

    def read():
        is_damaged = file.read_bytes() != whole
        state, damaged = load_newest(folder)
        assert (state is None) == (damaged == [file.name]) == is_damaged

    return file, read


@reader("a.zip", "a.tar", "a.tar.gz", "a.tar.xz", pieces=(b"../", b"/", b"PK\1\2", b"\0" * 512, b"7777777"))
def archive(folder, name):
    if name == "a.zip":
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as packed:
            for member in ("Set/a.png", "Set/b/c.txt"):
                packed.writestr(member, bytes(range(250)))
    else:
        with tarfile.open(folder / name, f"w:{name[6:]}") as packed:
            for member in ("Set/a.png", "Set/b/c.txt"):
                entry = tarfile.TarInfo(member)
                entry.size = 250
                packed.addfile(entry, io.BytesIO(bytes(range(250))))

    def read():
        try:
            extract(folder / name, folder / f"out{len(list(folder.iterdir()))}")
        finally:  # whole or not at all, and nothing beside it
            assert all(path.name.startswith(("out", name)) for path in folder.iterdir())

    return folder / name, read


# `fairpool run` with key=value, which is no file


KEYS = find_bundle("tuberculosis").keys(find_bundle("tuberculosis").methods, ["manifest"])
KEY = st.sampled_from(["epochs", "eta", "learning_rate", "block_inplanes", "train#trainer#max_epochs", "network", ""])
VALUE = st.one_of(
    st.text(max_size=20),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=2),
        max_leaves=6,
    ).map(json.dumps),
    st.sampled_from(["[" * 9999, "$1", "@x", "%y", '{"_target_": "os.system"}', "9" * 5000, "1e999", "NaN"]),
)


@EXAMPLES
@given(KEY | st.text(max_size=12), st.sampled_from(["=", "==", ""]), VALUE)
def test_any_setting_is_a_value_or_a_refusal_and_no_code(key, separator, value):
    with within(LONGEST):
        try:
            overrides = parse_overrides([f"{key}{separator}{value}"], KEYS)
        except ValueError:
            return
    pending = list(overrides.values())
    while pending:  # MONAI would evaluate a text that begins with $, read a file for %, and call what has a target
        part = pending.pop()
        pending += part if isinstance(part, list) else part.values() if isinstance(part, dict) else []
        assert not (isinstance(part, str) and part.lstrip().startswith(("$", "%")))
        assert not (isinstance(part, dict) and "_target_" in part)


@pytest.mark.parametrize("name", READERS)
def test_any_damage_is_survived_or_refused_in_a_line_without_a_path(name, tmp_path):
    found = READERS[name]
    file, read = found.make(tmp_path, name)
    with suppress(DataError):  # a plan is no image
        read()
    whole = file.read_bytes()
    place = SimpleNamespace(file=file, read=read, is_secret="KANARI" in file.name)

    @EXAMPLES
    @given(damages(found.pieces))
    @example([("end", 0.0, None)])
    def survive(changes):
        read_damaged(place, found.errors, damage(whole, changes))

    survive()
