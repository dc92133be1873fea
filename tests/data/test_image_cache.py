"""The cache against fresh reads of the same files."""

import multiprocessing
import os
import stat
import time

import numpy as np
import pytest
from PIL import Image

from fairpool.data import image_cache
from fairpool.data.image_cache import ImageCache
from fairpool.data.radiograph import read_radiograph
from fairpool.errors import DataError


def write_images(folder, count=4, *, seed=0):
    """Alternately 8-bit colour and 16-bit grey."""
    random = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    paths = []
    for index in range(count):
        colour = random.integers(0, 256, (40, 30, 3), dtype=np.uint8)
        grey = random.integers(0, 65536, (40, 30), dtype=np.uint16)
        paths.append(folder / f"meier-{index}.png")
        Image.fromarray(colour if index % 2 == 0 else grey).save(paths[-1])
    return paths


@pytest.fixture
def paths(tmp_path):
    return write_images(tmp_path / "images")


@pytest.fixture
def cache(tmp_path):
    return ImageCache(tmp_path / "cache", 16)


def count_reads(monkeypatch):
    reads = []

    def counted(path, *args, **options):
        reads.append(path)
        return read_radiograph(path, *args, **options)

    monkeypatch.setattr(image_cache, "read_radiograph", counted)
    return reads


def name_row(index):
    return f"row {index + 2} (bern)"


def test_second_read_decodes_nothing_and_gives_the_same(paths, cache, monkeypatch):
    first = [cache.load(path) for path in paths]
    monkeypatch.setattr(image_cache, "read_radiograph", lambda *args, **options: pytest.fail("decoded"))
    for path, image in zip(paths, first, strict=True):
        again = cache.load(path)
        np.testing.assert_array_equal(again.pixels, image.pixels)
        assert (again.levels.dtype, again.notes) == (image.levels.dtype, image.notes)


def test_cached_depth_and_notes_are_those_of_the_file(paths, cache):
    for _ in range(2):
        colour, grey = cache.load(paths[0]), cache.load(paths[1])
        assert (colour.levels.dtype, colour.notes) == (np.uint8, ("colour",))
        assert (grey.levels.dtype, grey.notes) == (np.uint16, ())


def test_second_read_takes_under_2_milliseconds(paths, cache):
    cache.load(paths[1])
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        _ = cache.load(paths[1]).pixels
        seconds.append(time.perf_counter() - start)
    assert np.median(seconds) < 0.002


@pytest.mark.parametrize("settings", [{"size": 8}, {"size": 16, "value_range": (0, 4095)}])
def test_changed_setting_is_noticed(paths, cache, settings, monkeypatch):
    cache.load(paths[1])
    reads = count_reads(monkeypatch)
    image = ImageCache(cache.cache_dir, **settings).load(paths[1])
    assert reads == [paths[1]]
    np.testing.assert_array_equal(image.levels, read_radiograph(paths[1], **settings).levels)


def test_equal_setting_written_otherwise_is_a_hit(paths, tmp_path, monkeypatch):
    ImageCache(tmp_path / "cache", 16, value_range=(0, 4095)).load(paths[1])
    reads = count_reads(monkeypatch)
    ImageCache(str(tmp_path / "cache"), 16, value_range=[0.0, 4095.0]).load(str(paths[1]))
    assert reads == []


def test_replaced_file_is_noticed(paths, cache):
    old = cache.load(paths[1])
    before = paths[1].stat()
    Image.fromarray(np.random.default_rng(9).integers(0, 65536, (40, 30), dtype=np.uint16)).save(paths[1])
    os.utime(paths[1], ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    new = cache.load(paths[1])
    assert not np.array_equal(new.levels, old.levels)
    np.testing.assert_array_equal(new.levels, read_radiograph(paths[1], 16).levels)


def test_changed_format_version_is_noticed(paths, cache, monkeypatch):
    cache.load(paths[0])
    monkeypatch.setattr(image_cache, "_FORMAT", 999)
    reads = count_reads(monkeypatch)
    cache.load(paths[0])
    assert len(reads) == 1


def test_relative_path_and_link_find_the_same_entry(paths, cache, monkeypatch, tmp_path):
    cache.load(paths[0])
    link = tmp_path / "link.png"
    link.symlink_to(paths[0])
    monkeypatch.chdir(paths[0].parent)
    reads = count_reads(monkeypatch)
    cache.load(paths[0].name)
    cache.load(link)
    assert reads == []


def damage(entry, how):
    content = entry.read_bytes()
    if how == "empty":
        entry.write_bytes(b"")
    elif how == "cut":
        entry.write_bytes(content[: len(content) // 2])
    elif how == "text":
        entry.write_bytes(b"no archive at all")
    elif how == "flipped":
        at = len(content) // 4
        entry.write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
    elif how == "other size":
        np.savez(entry, levels=np.zeros((3, 3), np.uint8), notes=np.array([], dtype=np.str_))
    elif how == "float":
        np.savez(entry, levels=np.zeros((16, 16)), notes=np.array([], dtype=np.str_))
    elif how == "plain array":
        with entry.open("wb") as file:
            np.save(file, np.zeros((16, 16), np.uint8))
    elif how == "missing member":
        np.savez(entry, levels=np.zeros((16, 16), np.uint8))


@pytest.mark.parametrize(
    "how", ["empty", "cut", "text", "flipped", "other size", "float", "plain array", "missing member"]
)
def test_damaged_entry_is_made_again(paths, cache, how, monkeypatch):
    image = cache.load(paths[1])
    (entry,) = cache.cache_dir.iterdir()
    damage(entry, how)
    reads = count_reads(monkeypatch)
    np.testing.assert_array_equal(cache.load(paths[1]).levels, image.levels)
    assert len(reads) == 1
    np.testing.assert_array_equal(cache.load(paths[1]).levels, image.levels)
    assert len(reads) == 1


class Payload:
    ran = False

    def __reduce__(self):
        return (setattr, (Payload, "ran", True))


def test_objects_in_an_entry_are_never_unpickled(paths, cache):
    image = cache.load(paths[1])
    (entry,) = cache.cache_dir.iterdir()
    np.savez(entry, levels=np.array([Payload()], dtype=object), notes=np.array([Payload()], dtype=object))
    np.testing.assert_array_equal(cache.load(paths[1]).levels, image.levels)
    assert not Payload.ran


def test_folder_and_entries_are_private_and_hold_no_path(paths, cache):
    for path in paths:
        cache.load(path)
    assert stat.S_IMODE(cache.cache_dir.stat().st_mode) == 0o700
    entries = list(cache.cache_dir.iterdir())
    assert len(entries) == len(paths)
    for entry in entries:
        assert stat.S_IMODE(entry.stat().st_mode) == 0o600
        assert b"meier" not in entry.read_bytes()
        assert "meier" not in entry.name


def test_without_a_folder_every_read_decodes(paths, monkeypatch, tmp_path):
    reads = count_reads(monkeypatch)
    cache = ImageCache(None, 16)
    for _ in range(2):
        cache.load(paths[0])
    assert len(reads) == 2
    assert {place.name for place in tmp_path.iterdir()} == {"images"}


def test_folder_that_cannot_be_written_is_told_without_its_path(paths, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="image cache cannot be written") as caught:
        ImageCache(tmp_path / "file" / "cache", 16).load(paths[0])
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.__context__ is None


def test_failed_write_leaves_no_part_behind(paths, cache, monkeypatch):
    def fail(*args, **arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_cache.np, "savez", fail)
    with pytest.raises(OSError, match="No space left on device"):
        cache.load(paths[0])
    assert list(cache.cache_dir.iterdir()) == []


@pytest.mark.parametrize("num_workers", [0, 2])
def test_prepare_returns_notes_by_index_and_fills_the_cache(paths, cache, num_workers, monkeypatch):
    seen = []
    notes = cache.prepare(
        paths, describe=name_row, num_workers=num_workers, progress=lambda done, total: seen.append((done, total))
    )
    assert notes == {0: ("colour",), 1: (), 2: ("colour",), 3: ()}
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    monkeypatch.setattr(image_cache, "read_radiograph", lambda *args, **options: pytest.fail("decoded"))
    assert cache.prepare(paths, describe=name_row, num_workers=num_workers) == notes


@pytest.mark.parametrize("num_workers", [0, 2])
def test_prepare_lists_every_bad_image_at_once(paths, cache, num_workers, tmp_path):
    paths[1].write_bytes(paths[1].read_bytes()[:500])
    paths[3].write_bytes(b"")
    with pytest.raises(DataError) as caught:
        cache.prepare(paths, describe=name_row, num_workers=num_workers)
    assert str(caught.value) == (
        "2 of 4 images cannot be used: row 3 (bern): image ends early. Fetch it again; "
        "row 5 (bern): not an image; the download was probably refused (the file is empty). Fetch it again. "
        "Mend them or drop their rows."
    )
    assert "meier" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_prepare_lists_at_most_20_bad_images(cache, tmp_path):
    with pytest.raises(DataError, match=r"33 of 33 .* row 21 \(bern\): [^;]* and 13 more\.") as caught:
        cache.prepare([tmp_path / f"{index}.png" for index in range(33)], describe=name_row, num_workers=2)
    assert "row 22" not in str(caught.value)


def test_prepare_of_nothing_returns_nothing(cache):
    assert cache.prepare([], describe=name_row, num_workers=2) == {}


def test_prepare_stops_on_an_error_that_is_not_about_an_image(paths, cache, monkeypatch):
    def run_out(*args, **options):
        raise MemoryError

    monkeypatch.setattr(image_cache, "read_radiograph", run_out)
    with pytest.raises(MemoryError):
        cache.prepare(paths, describe=name_row, num_workers=2)


def prepare_in_step(barrier, cache, paths, answers):
    barrier.wait()
    answers.put(cache.prepare(paths, describe=name_row, num_workers=2))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_two_processes_can_prepare_the_same_cache_at_once(tmp_path, cache):
    paths = write_images(tmp_path / "images", 20)
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=prepare_in_step, args=(barrier, cache, paths, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    first, second = answers.get(timeout=30), answers.get(timeout=30)
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert first == second
    assert len(list(cache.cache_dir.iterdir())) == 20
    for path in paths:
        np.testing.assert_array_equal(cache.load(path).levels, read_radiograph(path, 16).levels)


def test_senseless_settings_are_refused_at_construction(tmp_path):
    with pytest.raises(ValueError, match="size must be at least 1"):
        ImageCache(tmp_path, 0)
    with pytest.raises(ValueError, match="value_range must be"):
        ImageCache(tmp_path, 16, value_range=(5, 0))


def test_read_all_gives_the_good_images_and_what_is_the_matter_with_the_others(paths, cache, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    calls = []
    notes, faults = cache.read_all(
        [paths[0], tmp_path / "empty.png", paths[1], tmp_path / "gone.png"],
        num_workers=2,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert sorted(notes) == [0, 2]
    assert sorted(faults) == [1, 3]
    assert "file is empty" in faults[1]
    assert "file not found" in faults[3]
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("settings", [{"strict": True}, {"nan": "fill"}, {"frame": 0}, {"frame": "middle"}])
def test_every_rule_of_reading_has_entries_of_its_own(paths, cache, settings, monkeypatch):
    cache.load(paths[1])
    other = ImageCache(cache.cache_dir, cache.size, **settings)
    reads = count_reads(monkeypatch)
    other.load(paths[1])
    other.load(paths[1])
    assert len(reads) == 1
