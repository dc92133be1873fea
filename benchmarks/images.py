"""What does it cost to read full-size radiographs, the first time and later, and does a training step wait for them?

    python benchmarks/images.py [--rounds 5] [--width 4892] [--images 48] [--json results/images.json]

The radiographs are synthetic: a smooth chest with noise that hardly compresses, 4892 x 4020, PNG of 8 and of 16 bits,
in the page cache. Reading one: each contender in a fresh process, after a small image has warmed it up; the median of
--rounds readings, and the peak of its resident memory, the libraries' own part included. The loader: images in a second
of an epoch whose workers are there already, against workers that do nothing but decode with Pillow. The step stands for
that of a GPU: a pause of 12.5 ms for 32 images, 2,560 a second. One thread in each process.
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

import numpy as np
import torch
from manifest_rows import resident_mib
from PIL import Image
from written_results import Row, write_results

SIZE = 224
BATCH_SIZE = 32
STEP_SECONDS = 0.0125
WORKERS = (0, 1, 2)
READERS = ("Pillow, decoding alone", "fairpool, first read", "fairpool, later reads", "MONAI LoadImaged, Resized")


def draw_radiograph(file: Path, width: int, bits: int, seed: int) -> None:
    """A smooth chest with noise; of 16 bits, twelve are used."""
    height = round(width * 4020 / 4892)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    body = np.exp(-((x / 0.7) ** 4) - (y / 0.9) ** 4)
    lungs = sum(np.exp(-(((x - centre) / 0.28) ** 2) - ((y + 0.1) / 0.5) ** 2) for centre in (-0.4, 0.4))
    grey = 30 + 170 * body - 110 * lungs * body + np.random.default_rng(seed).normal(0, 2, (height, width))
    stored = (grey * 16).clip(0, 4095).astype(np.uint16) if bits == 16 else grey.clip(0, 255).astype(np.uint8)
    Image.fromarray(stored).save(file)


def decode(file: str) -> np.ndarray:
    """What any reader must do at least."""
    with Image.open(file) as image:
        image.load()
        return np.zeros(1, dtype=np.float32)


def make_reader(name: str, cache_dir: Path) -> Callable[[str], Any]:
    if name == READERS[0]:
        return decode
    if name == READERS[3]:
        from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Resized

        steps = [LoadImaged("image"), EnsureChannelFirstd("image"), Resized("image", (SIZE, SIZE), anti_aliasing=True)]
        return lambda file: Compose(steps)({"image": file})
    from fairpool.transforms import LoadRadiographd

    load = LoadRadiographd("image", SIZE, cache_dir=None if name == READERS[1] else cache_dir)
    return lambda file: load({"image": file})


def read_repeatedly(name: str, folder: Path, bits: int, rounds: int) -> dict[str, float]:
    """In this process: seconds of a read, and MiB."""
    read = make_reader(name, folder / "cache")
    read(str(folder / "small.png"))
    file = str(folder / f"{bits}.png")
    if name == READERS[2]:
        read(file)  # the first read
    times = []
    for _ in range(rounds * (100 if name == READERS[2] else 1)):
        start = time.perf_counter()
        read(file)
        times.append(time.perf_counter() - start)
    return {
        "median_ms": statistics.median(times) * 1e3,
        "largest_ms": max(times) * 1e3,
        "peak_mib": resident_mib("VmHWM"),
    }


def measure_reading(folder: Path, width: int, rounds: int) -> list[Row]:
    draw_radiograph(folder / "small.png", 300, 8, 0)
    rows: list[Row] = []
    for bits in (8, 16):
        draw_radiograph(folder / f"{bits}.png", width, bits, 1)
        for name in READERS:
            number = 1 if name == READERS[3] else rounds  # seconds each
            command = [sys.executable, __file__, "--measure", name, str(folder), str(bits), str(number)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1])
            rows.append({"reader": name, "bits": bits, "rounds": number, **found})
    return rows


class Decoded(torch.utils.data.Dataset[np.ndarray]):
    """Files that are decoded and thrown away."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> np.ndarray:
        return decode(self.items[index]["image"])


def pipeline_transforms(cache_dir: Path | None) -> Any:
    """What the tuberculosis pipeline does to a training image, from the file to the network."""
    from monai.transforms import Compose, NormalizeIntensityd, RandAdjustContrastd, RandAffined, RandFlipd

    from fairpool.transforms import LoadRadiographd

    shift = (0.05 * SIZE, 0.05 * SIZE)
    return Compose(
        [
            LoadRadiographd("image", SIZE, cache_dir=cache_dir),
            NormalizeIntensityd("image"),
            RandAffined(
                "image", prob=0.5, rotate_range=0.1, translate_range=shift, scale_range=0.1, padding_mode="border"
            ),
            RandAdjustContrastd("image", prob=0.3, gamma=(0.8, 1.25), retain_stats=True),
            RandFlipd("image", prob=0.5, spatial_axis=1),
        ]
    )


def run_epoch(dataset: Any, workers: int, step_seconds: float = 0.0) -> tuple[float, float]:
    """Images in a second, and the share of the time that the step waited."""
    from monai.data.dataloader import DataLoader

    loader = DataLoader(dataset, batch_size=BATCH_SIZE, num_workers=workers, persistent_workers=workers > 0)
    if workers:
        for _ in loader:  # starts the workers
            pass
    begin = last = time.perf_counter()
    waited = 0.0
    for _ in loader:
        waited += time.perf_counter() - last
        time.sleep(step_seconds)
        last = time.perf_counter()
    seconds = time.perf_counter() - begin
    return len(dataset) / seconds, waited / seconds


def measure_loading(folder: Path, width: int, number: int, rounds: int) -> list[Row]:
    from monai.data.dataset import CacheDataset, Dataset

    from fairpool.transforms import LoadRadiographd

    items = []
    for index in range(number):
        file = folder / f"loaded{index}.png"
        if index < 4:  # the others share their pixels with these, and have entries of their own in the cache
            draw_radiograph(file, width, 8, 2 + index)
        else:
            os.link(folder / f"loaded{index % 4}.png", file)
        items.append({"image": str(file)})
    cache = folder / "loaded"
    for item in items:
        LoadRadiographd("image", SIZE, cache_dir=cache)(item)
    many = items * 40
    in_memory = CacheDataset(many, pipeline_transforms(cache), progress=False)
    plain = LoadRadiographd("image", SIZE, cache_dir=cache)
    cases = {
        "Pillow, decoding alone": (Decoded(items), 0.0),
        "first read": (Dataset(items, LoadRadiographd("image", SIZE)), 0.0),
        "later reads": (Dataset(many, plain), 0.0),
        "later reads, random transforms": (Dataset(many, pipeline_transforms(cache)), 0.0),
        "in memory (CacheDataset), random transforms": (in_memory, 0.0),
        "later reads, steps of 12.5 ms": (Dataset(many, plain), STEP_SECONDS),
        "in memory, random transforms, steps of 12.5 ms": (in_memory, STEP_SECONDS),
    }
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for name, (dataset, step_seconds) in cases.items():
            for workers in WORKERS:
                found.setdefault((name, workers), []).append(run_epoch(dataset, workers, step_seconds))
    return [
        {
            "loader": name,
            "workers": workers,
            "images_per_second": statistics.median(rate for rate, _ in epochs),
            "step_waited_percent": 100 * statistics.median(share for _, share in epochs) if "steps" in name else None,
        }
        for (name, workers), epochs in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=4892)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--json", help="write the results here")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.measure:
        name, folder, bits, number = arguments.measure
        print(json.dumps(read_repeatedly(name, Path(folder), int(bits), int(number))))
        return
    with tempfile.TemporaryDirectory() as name:
        reading = measure_reading(Path(name), arguments.width, arguments.rounds)
        loading = measure_loading(Path(name), arguments.width, arguments.images, arguments.rounds)
    for row in reading:
        print(f"{row['bits']:2} bits  {row['reader']:30} {row['median_ms']:9.2f} ms  peak {row['peak_mib']:6.0f} MiB")
    for row in loading:
        waited = row["step_waited_percent"]
        words = "" if waited is None else f", the step waited {waited:.0f} % of the time"
        print(f"{row['loader']:48} workers {row['workers']}: {row['images_per_second']:8.1f} images/s{words}")
    if arguments.json:
        write_results(
            arguments.json,
            [*reading, *loading],
            command=f"OMP_NUM_THREADS=1 python benchmarks/images.py --rounds {arguments.rounds} "
            f"--width {arguments.width} --images {arguments.images}",
            packages=["fairpool", "pillow", "numpy", "torch", "monai"],
            conditions=f"synthetic PNG radiographs {arguments.width} pixels wide, in the page cache, reduced to "
            f"{SIZE} x {SIZE}; batches of {BATCH_SIZE}; one thread in each process",
        )


if __name__ == "__main__":
    main()
