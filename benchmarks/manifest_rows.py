"""What does a pool of a million images cost before training? Its table is opened, split and sampled.

    python benchmarks/manifest_rows.py [--rows 1000000] [--rounds 3] [--json results/manifest_rows.json]

The files are made for it: empty, 1,000 to a folder, so that they need no space but an inode each. They have just been
written, so their folders lie in memory; a cold or distant disk adds its own time. Each round is a fresh process, for
its peak of resident memory. Imports are left out of the times and counted in the memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from written_results import Row, write_results

FILES_PER_FOLDER = 1000
NUM_SITES = 20
IMAGES_PER_PATIENT = 4
BATCH_SIZE = 64


def write_pool(folder: Path, number: int) -> Path:
    """Empty files and their table: path, label, site, patient."""
    manifest = folder / "manifest.csv"
    with open(manifest, "w", encoding="utf-8") as table:
        table.write("path,label,site,patient\n")
        for row in range(number):
            place, within = divmod(row, FILES_PER_FOLDER)
            site = place % NUM_SITES
            part = f"site{site:02d}/part{place:04d}"
            if not within:
                (folder / part).mkdir(parents=True)
            name = f"{part}/image{within:04d}.png"
            os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            # A thirtieth of site 0 is ill, a little more at each further site.
            label = int(row * 7919 % 30 <= site)
            table.write(f"{name},{label},hospital {site:02d},P{row // IMAGES_PER_PATIENT:06d}\n")
    return manifest


def run_once(manifest: Path) -> dict[str, float]:
    """Seconds of each step in this process, and its resident memory in MiB."""
    from fairpool.data.cell_batches import CellBatchSampler
    from fairpool.data.manifest import read_manifest
    from fairpool.data.pool import Pool
    from fairpool.data.sampler import balanced_sampler

    found = {"imports, MiB": resident_mib("VmRSS")}
    begin = time.perf_counter()

    def timed(name: str, step: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = step()
        found[name] = time.perf_counter() - start
        return result

    records = timed("open: read_manifest, every file looked up", lambda: read_manifest(manifest))
    pool = timed("split: Pool by patient, items of every record", lambda: Pool(records))
    items = timed("split: items of the training section", lambda: pool.section("training"))
    counts = timed("split: counts by site and label", pool.cell_counts)
    batches = timed("sample: CellBatchSampler", lambda: CellBatchSampler(items, BATCH_SIZE))
    batch = timed("sample: its first batch", lambda: next(iter(batches)))
    sampler = timed("sample: balanced_sampler", lambda: balanced_sampler(items, seed=0))
    timed("sample: its first index", lambda: next(iter(sampler)))
    found["total"] = time.perf_counter() - begin
    cells = {(items[index]["site"], items[index]["label"]) for index in batch}
    if int(counts.sum()) != len(items) or len(cells) != int((counts > 0).sum()):
        raise RuntimeError("the pool's counts or the first batch are wrong: the times mean nothing.")
    found["peak, MiB"] = resident_mib("VmHWM")
    timed("not in the total: fingerprint, every file's size", pool.fingerprint)
    return found


def resident_mib(kind: str) -> float:
    """Resident memory of this process as Linux counts it, now ("VmRSS") or at its peak ("VmHWM"); NaN elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{kind}:")), float("nan"))


def measure(number: int, rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_pool(Path(folder), number)
        command = [sys.executable, __file__, "--measure", str(manifest)]
        found = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(rounds)]
    return [
        {
            "step": name.removesuffix(", MiB"),
            "unit": "MiB" if name.endswith(", MiB") else "s",
            "median": statistics.median(one[name] for one in found),
            "smallest": min(one[name] for one in found),
            "largest": max(one[name] for one in found),
        }
        for name in found[0]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write the results here")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(run_once(arguments.measure)))
        return
    rows = measure(arguments.rows, arguments.rounds)
    for row in rows:
        print(f"{row['step']:50} {row['median']:8.2f} {row['unit']:3}  ({row['smallest']:.2f} to {row['largest']:.2f})")
    if arguments.json:
        write_results(
            arguments.json,
            rows,
            command=f"python benchmarks/manifest_rows.py --rows {arguments.rows} --rounds {arguments.rounds}",
            packages=["fairpool", "pandas", "numpy", "torch"],
            conditions=f"{arguments.rows:,} rows of {NUM_SITES} sites, {IMAGES_PER_PATIENT} images a patient, as many "
            f"empty files in folders of {FILES_PER_FOLDER:,} that lie in memory; each round a fresh process",
        )


if __name__ == "__main__":
    main()
