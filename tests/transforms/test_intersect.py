"""Intersections of groups: against a product written out, through collation, and every item that is refused."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose

from fairpool import EqualOpportunity, FairALMLoss
from fairpool.data import SiteVocabulary
from fairpool.transforms import IntersectGroupsd, intersected_names

SITES, SEXES, AGES = ("basel", "bern", "zug"), ("f", "m"), ("young", "middle", "old", "very old")


@pytest.fixture
def site_and_sex():
    return IntersectGroupsd(["site", "sex"], [3, 2], output_key="site_x_sex")


def test_every_combination_has_its_own_id_and_its_name_stands_there():
    intersect = IntersectGroupsd(["site", "sex", "age"], [3, 2, 4], output_key="group")
    names = intersected_names([SITES, SEXES, AGES])
    assert intersect.num_intersections == len(names) == 24
    seen = []
    for site, sex, age in product(range(3), range(2), range(4)):
        group = intersect({"site": site, "sex": sex, "age": age})["group"]
        assert names[group] == f"{SITES[site]} x {SEXES[sex]} x {AGES[age]}"
        seen.append(group)
    assert sorted(seen) == list(range(24))
    assert len(SiteVocabulary(names)) == 24


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 10**6)), min_size=2, max_size=5))
def test_the_attributes_can_be_read_back_from_the_id(pairs):
    sizes, ids = [size for size, _ in pairs], [number % size for size, number in pairs]
    keys = [f"attribute {position}" for position in range(len(pairs))]
    group = IntersectGroupsd(keys, sizes, output_key="group")(dict(zip(keys, ids, strict=True)))["group"]
    assert [int(digit) for digit in np.unravel_index(group, sizes)] == ids


@pytest.mark.parametrize("item", [{"site": -1, "sex": 1}, {"site": 2, "sex": -1}, {"site": -1, "sex": -1}], ids=str)
def test_an_unknown_attribute_makes_an_unknown_intersection(site_and_sex, item):
    assert site_and_sex(item)["site_x_sex"] == -1


def test_everything_else_of_the_item_stays_and_the_given_item_is_not_changed(site_and_sex):
    image, meta = torch.rand(1, 4, 4), {"scanner": "A"}
    given_item = {"image": image, "site": 1, "sex": 0, "meta": meta, 7: "odd key"}
    item = site_and_sex(given_item)
    assert item.pop("site_x_sex") == 2
    assert item == given_item
    assert item["image"] is image
    assert item["meta"] is meta
    assert "site_x_sex" not in given_item


@pytest.mark.parametrize("kind", [int, np.int64, np.int32, np.uint8, np.array, torch.tensor, MetaTensor])
def test_every_kind_of_integer_gives_the_same_python_int(site_and_sex, kind):
    group = site_and_sex({"site": kind(2), "sex": kind(1)})["site_x_sex"]
    assert type(group) is int
    assert group == 5


def test_it_survives_collation_as_int64(site_and_sex):
    items = [{"site": np.int32(k % 3), "sex": k % 2, "image": torch.zeros(1, 2, 2)} for k in range(6)]
    items[4]["sex"] = -1
    (batch,) = DataLoader(Dataset(items, Compose([site_and_sex])), batch_size=6)
    assert batch["site_x_sex"].dtype == torch.int64
    assert batch["site_x_sex"].tolist() == [0, 3, 4, 1, -1, 5]


def test_a_loss_takes_the_collated_ids(site_and_sex):
    items = [{"site": k % 3, "sex": k // 3, "label": 1} for k in range(6)]
    (batch,) = DataLoader(Dataset(items, site_and_sex), batch_size=6)
    loss = FairALMLoss(torch.nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=site_and_sex.num_intersections)
    value = loss(torch.randn(6, 2, requires_grad=True), batch["label"], batch["site_x_sex"])
    loss.update_multipliers()
    assert bool(torch.isfinite(value))
    assert loss.multipliers.shape == (1, 6)
    assert float(loss.multipliers.sum()) == pytest.approx(0, abs=1e-6)


def test_it_can_be_named_in_a_bundle_configuration():
    transform = {
        "_target_": "fairpool.transforms.IntersectGroupsd",
        "keys": ["site", "sex"],
        "num_groups": [3, 2],
        "output_key": "site_x_sex",
    }
    parser = ConfigParser({"intersect": transform, "num_groups": "$@intersect.num_intersections"})
    parser.parse()
    assert parser.get_parsed_content("num_groups") == 6
    assert parser.get_parsed_content("intersect")({"site": 1, "sex": 1})["site_x_sex"] == 3


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        ({"site": 3, "sex": 0}, ValueError, r'"site" must lie in 0\.\.2, or be -1 for unknown; got 3'),
        ({"site": 0, "sex": 2}, ValueError, r'"sex" must lie in 0\.\.1, or be -1 for unknown; got 2'),
        ({"site": -2, "sex": 0}, ValueError, r'"site" must lie in .*got -2'),
        ({"site": -1, "sex": 9}, ValueError, r'"sex" must lie in .*got 9'),
        ({"site": 1.0, "sex": 0}, TypeError, r'"site" must be one integer, got 1\.0'),
        ({"site": float("nan"), "sex": 0}, TypeError, r'"site" must be one integer, got nan'),
        ({"site": True, "sex": 0}, TypeError, r'"site" must be one integer, got True'),
        ({"site": 0, "sex": np.bool_(True)}, TypeError, r'"sex" must be one integer, got .*True'),
        ({"site": torch.tensor(True), "sex": 0}, TypeError, r'"site" must be one integer, got tensor\(True\)'),
        ({"site": torch.tensor(1.0), "sex": 0}, TypeError, r'"site" must be one integer, got tensor\(1\.\)'),
        ({"site": torch.tensor([1]), "sex": 0}, TypeError, r'"site" must be one integer, got tensor\(\[1\]\)'),
        (
            {"site": "bern", "sex": 0},
            TypeError,
            r"\"site\" must be one integer, got 'bern'. Encode the groups as 0\.\.2",
        ),
        ({"site": None, "sex": 0}, TypeError, r'"site" must be one integer, got None'),
        ({"sex": 0}, KeyError, r'the item has no "site" \(found: "sex"\)'),
        ({"site": 0}, KeyError, r'the item has no "sex" \(found: "site"\)'),
        ({"site": 0, "sex": 0, "site_x_sex": 0}, ValueError, r'already holds "site_x_sex"'),
        ({"site": 9, "sex": 0, "row": 41, "site_name": "zug"}, ValueError, r'^row 41 \(zug\): "site" must lie'),
    ],
    ids=str,
)
def test_an_item_that_has_no_intersection_is_refused(site_and_sex, item, error, message):
    with pytest.raises(error, match=message) as caught:
        site_and_sex(item)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "num_groups", "message"),
    [
        (["site", "sex"], [3], r'one number for each of the 2 keys "site", "sex"; it holds 1: \[3\]'),
        (["site", "sex"], [3, 2, 2], r"it holds 3"),
        (["site", "sex"], [3, 0], r'num_groups of "sex" must be a positive whole number, got 0'),
        (["site", "sex"], [3, 2.0], r'num_groups of "sex" must be a positive whole number, got 2\.0'),
        (["site", "sex"], [True, 2], r'num_groups of "site" must be .*got True'),
        ("site", [3], r'at least two different keys, got "site"'),
        (["site", "site"], [3, 3], r'at least two different keys, got "site", "site"'),
        (["site", "both"], [3, 2], r'output_key "both" is one of the keys'),
    ],
)
def test_a_transform_that_makes_no_sense_is_refused(keys, num_groups, message):
    with pytest.raises(ValueError, match=message):
        IntersectGroupsd(keys, num_groups, output_key="both")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["basel", ("f", "m")], "attribute 1 must be a list of group names, got 'basel'"),
        ([("basel",), ()], r"attribute 2 must be a list of group names, got \(\)"),
        ([("a", "a x b"), ("b x c", "c")], 'two intersections would be called "a x b x c"'),
    ],
)
def test_names_that_name_no_intersections_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        intersected_names(names)
