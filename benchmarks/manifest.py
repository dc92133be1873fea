"""How long does a manifest of 10,000 DICOM files take? By processes and threads, again from the journal, with pixels.

    python benchmarks/manifest.py [--rounds 5] [--files 10000] [--json benchmarks/results/manifest.json]

The files are synthetic: 512 x 512, 16 bits, the header of pydicom's CT_small.dcm, 40 folders. They have just been
written, so they lie in memory; a cold or distant disk adds its own time. With fewer than 3 rounds, 200 files of 64 x 64
are enough.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import UID
from written_results import Row, write_results

from fairpool.data.pseudonyms import Pseudonyms
from fairpool.data.scan import SiteSource, build_manifest
from fairpool.data.scan.reading import read_file
from fairpool.data.scan.walking import walk

LIMIT = 200_000_000


def write_files(folder: Path, number: int, size: int) -> None:
    """Files that differ in patient, study, site, vendor and pixels."""
    example = get_testdata_file("CT_small.dcm", download=False)
    assert isinstance(example, str), "a part of pydicom"
    dataset = pydicom.dcmread(example)
    dataset.Rows = dataset.Columns = size
    noise = np.random.default_rng(0).integers(0, 2000, (size, size), dtype=np.int16)
    for index in range(number):
        dataset.PatientID, dataset.StudyInstanceUID = f"P{index // 8:05d}", f"1.2.3.{index // 4}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.4.{index}")
        dataset.InstitutionName, dataset.Manufacturer = f"Hospital {index % 5}", ("GE", "SIEMENS", "Philips")[index % 3]
        dataset.PixelData = np.roll(noise, index).tobytes()
        path = folder / f"series{index % 40:02d}" / f"IM{index:05d}"
        path.parent.mkdir(exist_ok=True)
        dataset.save_as(path)


def measure(folder: Path, rounds: int) -> list[Row]:
    names = Pseudonyms(bytes(range(32)))
    files = [str(folder / file.path) for file in walk(folder).files]
    journal = folder.parent / "journal.jsonl"
    hospital = SiteSource("dicom:InstitutionName", root=folder)

    def fresh(workers: int, **options) -> None:
        journal.unlink(missing_ok=True)
        built = build_manifest(folder, names, workers=workers, journal=journal, **options)
        assert (len(built.table), built.num_read) == (len(files), len(files))

    def again() -> None:
        assert build_manifest(folder, names, site=hospital, journal=journal).num_known == len(files)

    def bare() -> None:
        for file in files:
            pydicom.dcmread(file, stop_before_pixels=True)

    def threads() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda file: read_file(file, max_pixels=LIMIT), files))

    contenders: dict[str, Callable[[], None]] = {
        "pydicom.dcmread, headers, no table": bare,
        "two threads, headers, no table": threads,
        "manifest, one process": lambda: fresh(1),
        "manifest, one process, --site-from dicom": lambda: fresh(1, site=hospital),
        "manifest, two processes": lambda: fresh(2),
        "manifest, two processes, --site-from dicom": lambda: fresh(2, site=hospital),
        "manifest, all known from the journal": again,
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, function in contenders.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    start = time.perf_counter()
    fresh(2, hash_pixels=True)
    times["manifest with --hash-pixels, two processes"] = [time.perf_counter() - start]
    return [
        {
            "contender": name,
            "median_s": statistics.median(found),
            "fastest_s": min(found),
            "slowest_s": max(found),
            "ms_a_file": 1e3 * statistics.median(found) / len(files),
        }
        for name, found in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, help="default: 10,000, or 200 with fewer than 3 rounds")
    parser.add_argument("--json", help="write the results here")
    arguments = parser.parse_args()
    is_small = arguments.rounds < 3
    number, size = arguments.files or (200 if is_small else 10_000), 64 if is_small else 512
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        write_files(tree, number, size)
        results = measure(tree, arguments.rounds)
    for row in results:
        print(f"{row['contender']:44} {row['median_s']:7.2f} s ({row['fastest_s']:.2f} to {row['slowest_s']:.2f})")
    if arguments.json:
        write_results(
            arguments.json,
            results,
            command=f"python benchmarks/manifest.py --rounds {arguments.rounds} --files {number}",
            packages=["fairpool", "pydicom", "pandas"],
            conditions=f"{number:,} synthetic DICOM files of {size} x {size}, 16 bits, just written, so in memory; "
            "medians over rounds, --hash-pixels once",
        )


if __name__ == "__main__":
    main()
