"""Sites from paths: patterns and levels against folders counted by hand, and every argument that is refused."""

import pytest
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader, Dataset, PersistentDataset
from site_items import refuse

from fairpool.transforms import SiteFromPathd


def site(path, **options):
    return SiteFromPathd(**options)({"image": path})["site"]


@pytest.mark.parametrize(
    ("level", "expected"), [(0, "bern"), (1, "ct"), (2, "2024"), (-1, "2024"), (-2, "ct"), (-3, "bern")]
)
def test_levels_count_from_the_root_and_from_the_file(level, expected):
    assert site("/data/bern/ct/2024/1.png", level=level, root_dir="/data") == expected
    assert site("/data/bern//ct/./2024/1.png", level=level, root_dir="/data/") == expected


@pytest.mark.parametrize("level", [3, -4, 99])
def test_level_without_a_folder_is_missing(level):
    message = refuse(SiteFromPathd(level=level, root_dir="/data"), {"image": "/data/bern/ct/2024/meier.png"})
    assert f"its path has no folder at level {level}" in message


def test_levels_from_the_file_need_no_root_and_never_take_the_file():
    assert site("bern/a.png", level=-1) == "bern"
    assert refuse(SiteFromPathd(level=-1), {"image": "meier.png"})
    assert refuse(SiteFromPathd(level=0, root_dir="/data"), {"image": "/data/meier.png"})


def test_pattern_is_found_below_the_root_alone():
    options = {"pattern": "^(?P<site>[^/]+)/"}
    assert site("/data/bern/a.png", root_dir="/data", **options) == "bern"
    assert site("bern/a.png", **options) == "bern"
    assert site("/bern/meier/a.png", pattern="(?P<site>bern|basel)", root_dir="/bern", missing="none of them") == (
        "none of them"
    )


def test_group_that_takes_no_part_is_missing():
    assert site("x/a.png", pattern="(?P<site>bern)?/", missing="unknown") == "unknown"


def test_relative_paths_are_taken_as_open_takes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert site("data/bern/a.png", level=0, root_dir="data") == "bern"
    assert site(str(tmp_path / "data" / "bern" / "a.png"), level=0, root_dir="data") == "bern"


@pytest.mark.parametrize("path", ["/other/bern/meier.png", "/data/../bern/meier.png", "/database/bern/meier.png", "/"])
def test_path_that_leaves_the_root_is_refused(path):
    assert "does not lie below root_dir" in refuse(SiteFromPathd(level=0, root_dir="/data"), {"image": path})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give one of them"),
        ({"pattern": "(?P<site>x)", "level": 1}, "give one of them"),
        ({"pattern": "bern"}, 'needs a group "site"'),
        ({"pattern": "(?P<site>"}, "no regular expression"),
        ({"level": 0}, "name it as root_dir"),
        ({"level": 1.0}, "a whole number, got 1.0"),
        ({"level": True, "root_dir": "."}, "a whole number, got True"),
    ],
)
def test_arguments_without_a_meaning_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        SiteFromPathd(**options)


def test_bundle_config_builds_it_from_json():
    config = {
        "site": {"_target_": "fairpool.transforms.SiteFromPathd", "pattern": "/(?P<site>[a-z]+)_", "normalize": True}
    }
    assert ConfigParser(config).get_parsed_content("site")({"image": "x/bern_1.png"})["site"] == "bern"


def test_datasets_that_keep_items_and_worker_processes_give_the_same_sites(tmp_path):
    items = [{"image": f"{name}/{number}.png", "row": number} for number, name in enumerate(["bern", "basel"] * 4)]
    attach = SiteFromPathd(level=-1)
    expected = ["bern", "basel"] * 4
    for dataset in (
        Dataset(items, attach),
        CacheDataset(items, attach, num_workers=2, progress=False),
        PersistentDataset(items, attach, cache_dir=tmp_path / "cache"),
    ):
        assert [item["site"] for item in dataset] == expected
        (batch,) = DataLoader(dataset, batch_size=8, num_workers=2)
        assert batch["site"] == expected
