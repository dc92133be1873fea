"""Names to integers: against a vocabulary sorted by hand, through collation and training, and all that is refused."""

import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader, Dataset, PersistentDataset
from monai.engines import SupervisedTrainer
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Resized, ScaleIntensityd
from site_items import refuse

from fairpool import EqualOpportunity, FairALMHandler, FairALMLoss
from fairpool.data import SiteVocabulary
from fairpool.errors import DataError
from fairpool.transforms import EncodeGroupsd, SiteFromDicomd, SiteFromPathd

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"


def items_of(*sites):
    return [{"site": site} for site in sites]


def test_ids_follow_the_vocabulary_and_the_name_is_kept():
    encode = EncodeGroupsd(vocabulary=["bern", "basel"])
    item = {"site": "basel", "image": torch.ones(2), "row": 3}
    result = encode(item)
    assert result == {"site": 1, "site_name": "basel", "image": item["image"], "row": 3}
    assert type(result["site"]) is int
    assert result["image"] is item["image"]
    assert item["site"] == "basel"
    assert encode.num_groups == 2


@given(st.lists(st.sampled_from(["basel", "bern", "chur", "zug", "genf"]), min_size=1), st.integers(1, 4))
def test_learned_vocabulary_agrees_with_counting(sites, min_samples):
    assume(max(Counter(sites).values()) >= min_samples)  # else "other" would be alone, which is refused
    encode = EncodeGroupsd.fit(items_of(*sites), min_samples=min_samples)
    counts = Counter(sites)
    kept = sorted(site for site in counts if counts[site] >= min_samples)
    rare = sorted(set(counts) - set(kept))
    assert list(encode.vocabulary.names) == kept + ["other"] * bool(rare)
    for site in counts:
        assert encode({"site": site})["site"] == (kept.index(site) if site in kept else len(kept))
    again = EncodeGroupsd.fit(items_of(*reversed(sites)), min_samples=min_samples)
    assert again.to_json() == encode.to_json()


def test_unknown_names_are_refused_with_row_and_nearest_or_kept_as_minus_one():
    message = refuse(EncodeGroupsd(vocabulary=["Geneva", "Bern"]), {"site": "Genevaa", "row": 41})
    assert message.startswith('row 41: site "Genevaa" is not among the 2 groups seen in training (Geneva, Bern).')
    assert 'Did you mean "Geneva"?' in message
    assert EncodeGroupsd(vocabulary=["bern"], unknown="keep")({"site": "zug"}) == {"site": -1, "site_name": "zug"}


def test_what_means_unknown_is_minus_one_and_never_learned():
    encode = EncodeGroupsd.fit(items_of("bern", "unknown", "basel", "unknown"))
    assert encode.vocabulary.names == ("basel", "bern")
    assert encode({"site": "unknown"})["site"] == -1
    assert EncodeGroupsd.fit(items_of("unknown", "bern"), unknown_names=()).num_groups == 2


@pytest.mark.parametrize("empty", [None, "", "  ", float("nan"), "n/a"])
def test_empty_name_is_refused_or_unknown(empty):
    assert '"site" is empty' in refuse(EncodeGroupsd(vocabulary=["bern"]), {"site": empty})
    kept = EncodeGroupsd(vocabulary=["bern"], unknown="keep")({"site": empty})
    assert kept == {"site": -1, "site_name": "unknown"}
    assert EncodeGroupsd.fit(items_of("bern", empty), unknown="keep").vocabulary.names == ("bern",)
    with pytest.raises(DataError, match='item 2: "site" is empty'):
        EncodeGroupsd.fit(items_of("bern", empty))


@pytest.mark.parametrize("value", [1, np.int64(1), torch.tensor(1)])
def test_integer_is_encoded_already(value):
    encode = EncodeGroupsd(vocabulary=["bern", "basel"])
    assert '"site" is' in refuse(encode, {"site": value}, kind=ValueError)
    assert "an integer already" in refuse(encode, encode({"site": "bern"}), kind=ValueError)


@pytest.mark.parametrize("value", [1.0, True, ["bern"], torch.tensor([1, 2]), b"bern"])
def test_what_is_no_name_is_refused(value):
    message = refuse(EncodeGroupsd(vocabulary=["bern"]), {"site": value, "row": 2}, kind=TypeError)
    assert message.startswith('row 2: "site" must be the name of one group')


def test_name_that_the_item_has_already_must_agree():
    encode = EncodeGroupsd(vocabulary=["bern"])
    assert encode({"site": "bern", "site_name": "bern"})["site"] == 0
    assert "already holds another" in refuse(encode, {"site": "bern", "site_name": "zug"}, kind=ValueError)


def test_rare_groups_share_an_id_that_no_group_may_have():
    encode = EncodeGroupsd.fit(items_of("a", "a", "b", "c"), min_samples=2, other="rare")
    assert encode.vocabulary.names == ("a", "rare")
    assert [encode({"site": site})["site"] for site in "abc"] == [0, 1, 1]
    assert encode({"site": "b"})["site_name"] == "b"
    assert "is not among" in refuse(encode, {"site": "d"})  # never seen, and so not one of the rare ones
    with pytest.raises(DataError, match='called "other" already'):
        EncodeGroupsd.fit(items_of("a", "a", "b", "other"), min_samples=2)
    assert EncodeGroupsd.fit(items_of("a", "other")).vocabulary.names == ("a", "other")


def test_look_alike_names_are_refused_before_anything_is_learned():
    with pytest.raises(DataError, match=r"in several ways: \"Bern\" \(2\), \"bern \" \(1\)"):
        EncodeGroupsd.fit(items_of("Bern", "bern ", "Bern"))


@pytest.mark.parametrize(
    ("items", "options", "words"),
    [
        ([], {}, "no item has a group to learn"),
        (items_of("unknown"), {}, "no item has a group to learn"),
        (items_of("a", "b", "c"), {"max_groups": 2}, "the items have 3 groups; at most 2"),
        (items_of("a"), {"min_samples": 0}, "min_samples must be a whole number of at least 1, got 0"),
        (items_of("a"), {"min_samples": 2.5}, "got 2.5"),
        (items_of("a"), {"max_groups": True}, "got True"),
    ],
)
def test_what_cannot_be_learned_is_refused(items, options, words):
    with pytest.raises(ValueError, match=words):
        EncodeGroupsd.fit(items, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vocabulary": ["a", "a"]}, "must be unique"),
        ({"vocabulary": ["a"], "unknown": "drop"}, 'must be "raise" or "keep", got'),
        ({"vocabulary": ["a"], "unknown_names": "unknown"}, "a list of names"),
        ({"vocabulary": ["a"], "merged": {"b": "c"}}, '"b" cannot count as "c"'),
        ({"vocabulary": ["a"], "merged": {"a": "a"}}, '"a" cannot count as "a"'),
    ],
)
def test_arguments_without_a_meaning_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        EncodeGroupsd(**options)


def test_saved_vocabulary_gives_the_same_ids_and_is_one_of_site_vocabulary(tmp_path):
    encode = EncodeGroupsd.fit(items_of(*["Genève"] * 3, *["bern"] * 3, "zug"), min_samples=2)
    encode.save(tmp_path / "sites.json")
    again = EncodeGroupsd(vocabulary=tmp_path / "sites.json")
    for site in ("Genève", "bern", "zug", "unknown"):
        assert again({"site": site}) == encode({"site": site})
    assert SiteVocabulary.from_json((tmp_path / "sites.json").read_text(encoding="utf-8")) == encode.vocabulary
    (tmp_path / "plain.json").write_text(SiteVocabulary(("b", "a")).to_json(), encoding="utf-8")
    assert EncodeGroupsd(vocabulary=str(tmp_path / "plain.json"))({"site": "b"})["site"] == 0
    assert pickle.loads(pickle.dumps(encode))({"site": "zug"})["site"] == 2


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"sites": "bern"}', '{"sites": ["a"], "merged": [1]}', '{"sites": [1]}']
)
def test_file_that_is_no_vocabulary_is_refused_without_its_path(tmp_path, text):
    (tmp_path / "meier.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="the vocabulary cannot be read") as caught:
        EncodeGroupsd(vocabulary=tmp_path / "meier.json")
    assert "meier" not in str(caught.value) + str(caught.value.__context__)
    with pytest.raises(DataError, match="No such file"):
        EncodeGroupsd(vocabulary=str(tmp_path / "no.json"))


def test_missing_key_is_refused_unless_allowed():
    with pytest.raises(KeyError, match="site"):
        EncodeGroupsd(vocabulary=["a"])({"image": 1})
    assert EncodeGroupsd(vocabulary=["a"], allow_missing_keys=True)({"image": 1}) == {"image": 1}


def test_datasets_and_worker_processes_collate_to_int64(tmp_path):
    items = [{"image": f"{site}/{row}.png"} for row, site in enumerate(["bern", "basel", "zug"] * 4)]
    attach = SiteFromPathd(level=-1)
    encode = EncodeGroupsd.fit(map(attach, items[:2]), unknown="keep")
    both = Compose([attach, encode])
    for dataset in (
        Dataset(items, both),
        CacheDataset(items, both, num_workers=2, progress=False),
        PersistentDataset(items, both, cache_dir=tmp_path / "cache"),
    ):
        (batch,) = DataLoader(dataset, batch_size=12, num_workers=2)
        assert batch["site"].dtype == torch.int64
        assert batch["site"].tolist() == [1, 0, -1] * 4
        assert batch["site_name"] == ["bern", "basel", "zug"] * 4


def test_bundle_config_learns_on_the_training_items_and_reads_a_saved_vocabulary(tmp_path):
    config = {
        "train_items": [{"image": f"{site}/a.png"} for site in ("bern", "bern", "basel", "basel", "zug")],
        "site": {"_target_": "fairpool.transforms.SiteFromPathd", "level": -1},
        "encode": {
            "_target_": "fairpool.transforms.EncodeGroupsd.fit",
            "items": "$map(@site, @train_items)",
            "min_samples": 2,
        },
        "num_groups": "$@encode.num_groups",
    }
    parser = ConfigParser(config)
    assert parser.get_parsed_content("num_groups") == 3
    encode = parser.get_parsed_content("encode")
    assert encode({"site": "zug"})["site"] == 2
    encode.save(tmp_path / "sites.json")
    saved = {"_target_": "fairpool.transforms.EncodeGroupsd", "vocabulary": str(tmp_path / "sites.json")}
    assert ConfigParser({"encode": saved}).get_parsed_content("encode")({"site": "zug"})["site"] == 2
    assert json.loads((tmp_path / "sites.json").read_text())["merged"] == {"zug": "other"}


@pytest.mark.filterwarnings("ignore")
def test_files_of_four_vendors_go_from_their_headers_into_the_constraint():
    """Headers -> names -> ids -> a loader of two processes -> the handler -> the multipliers, on real files."""
    names = ["CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm", "dicomdirtests/98892003/MR1/15820"]
    items = [{"image": str(BUNDLED / name), "label": (row + row // 4) % 2} for row, name in enumerate(names * 6)]
    attach = SiteFromDicomd(
        elements=["Manufacturer"],
        normalize=True,
        aliases={
            "GE": ["GE Medical Systems"],
            "Philips": ["Philips Medical Systems, Inc."],
            "Toshiba": ["TOSHIBA_MEC"],
        },
    )
    encode = EncodeGroupsd.fit(map(attach, items))
    assert encode.vocabulary.names == ("GE", "Philips", "Toshiba", "siemens")
    prepare = Compose(
        [
            attach,
            encode,
            LoadImaged("image", reader="PydicomReader"),
            EnsureChannelFirstd("image"),
            Resized("image", (8, 8)),
            ScaleIntensityd("image"),
        ]
    )
    loader = DataLoader(Dataset(items, prepare), batch_size=8, num_workers=2)
    seen = []
    loss = FairALMLoss(torch.nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=encode.num_groups, eta=0.1)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=loss,
        train_handlers=[FairALMHandler(loss, group_key="site")],
    )
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda engine: seen.extend(engine.state.batch["site"].tolist()))
    trainer.run()
    assert seen == [0, 2, 3, 1] * 6
    assert loss.multipliers.shape == (1, 4)
    assert loss.multipliers.abs().min() > 0
    torch.testing.assert_close(loss.multipliers.sum(), torch.tensor(0.0), atol=1e-6, rtol=0)


def test_no_group_beside_the_rare_ones_is_refused_with_the_counts():
    items = [{"site": site} for site in "aab"]
    with pytest.raises(DataError, match='only the group "other" is left') as caught:
        EncodeGroupsd.fit(items, min_samples=3)
    assert "fewer than 3 items (a 2, b 1). Lower min_samples." in str(caught.value)
