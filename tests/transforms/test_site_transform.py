"""What every transform that finds a site does with items, files and options, shown on the path."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImaged
from nibabel.testing import data_path
from PIL import Image
from site_items import check_leaves_the_item_alone, refuse

from fairpool.data.pseudonyms import Pseudonyms, read_or_make_key
from fairpool.errors import DataError
from fairpool.transforms import SiteFromPathd


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "bern" / "meier.png"
    path.parent.mkdir()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)
    return path


def test_everything_else_of_the_item_stays_the_same_object(scan):
    item = {"image": scan, "label": torch.tensor(1), "row": 41, "extra": [1, 2]}
    given = dict(item)
    result = SiteFromPathd(level=-1)(item)
    assert {key: id(value) for key, value in result.items() if key != "site"} == {
        key: id(value) for key, value in given.items()
    }
    assert result["site"] == "bern"
    check_leaves_the_item_alone(SiteFromPathd(level=-1), {"image": str(scan), "row": 41}, "bern")


@pytest.mark.parametrize("image_only", [True, False])
def test_the_site_is_the_same_before_and_after_loading(scan, image_only):
    load, attach = LoadImaged("image", image_only=image_only), SiteFromPathd(level=-1)
    before, after = load(attach({"image": str(scan)})), attach(load({"image": str(scan)}))
    assert before["site"] == after["site"] == "bern"
    assert isinstance(before["image"], MetaTensor)
    assert isinstance(after["image"], MetaTensor)
    assert torch.equal(before["image"].as_tensor(), after["image"].as_tensor())
    assert before["image"].meta.keys() == after["image"].meta.keys()
    assert "site" not in after["image"].meta


def test_image_of_monai_keeps_its_own_metadata(scan):
    image = MetaTensor(torch.ones(1, 2, 2), meta={"filename_or_obj": str(scan), "spacing": [1, 2]})
    result = SiteFromPathd(level=-1)({"image": image})
    assert result["image"] is image
    assert image.meta["spacing"] == [1, 2]
    assert result["site"] == "bern"


def test_dictionary_of_older_loaders_names_the_file(scan):
    item = {"image": torch.ones(1), "image_meta_dict": {"filename_or_obj": str(scan)}}
    assert SiteFromPathd(level=-1)(item)["site"] == "bern"


def test_volume_knows_its_file_after_loading():
    path = f"{data_path}/example4d.nii.gz"
    item = SiteFromPathd(pattern="(?P<site>example4d)")(LoadImaged("image")({"image": path}))
    assert item["site"] == "example4d"


@pytest.mark.parametrize("image", [torch.ones(1), MetaTensor(torch.ones(1)), np.ones(3), 7, None, [1], {}])
def test_image_that_does_not_know_its_file_is_refused(image):
    message = refuse(SiteFromPathd(level=-1), {"image": image, "row": 41, "site_name": "x"}, kind=TypeError)
    assert message.startswith('row 41 (x): "image" must hold a path')
    assert "Put SiteFromPathd before" in message


def test_item_that_has_a_site_is_not_overwritten(scan):
    attach = SiteFromPathd(level=-1)
    item = attach({"image": scan, "row": 3})
    assert refuse(attach, item, kind=ValueError).startswith('row 3: the item already holds "site"')


def test_files_of_one_item_must_agree(scan):
    assert SiteFromPathd(["image", "mask"], level=-1)({"image": scan, "mask": scan})["site"] == "bern"
    assert SiteFromPathd(level=-1)({"image": [scan, scan.with_name("b.png")]})["site"] == "bern"
    other = scan.parent.parent / "basel" / "meier.png"
    message = refuse(SiteFromPathd(["image", "mask"], level=-1), {"image": scan, "mask": other, "row": 2})
    assert 'row 2: the files of one item tell several sites: "bern", "basel"' in message


def test_missing_key_is_refused_unless_allowed(scan):
    with pytest.raises(KeyError, match="mask"):
        SiteFromPathd(["image", "mask"], level=-1)({"image": scan})
    allowed = SiteFromPathd(["image", "mask"], level=-1, allow_missing_keys=True)
    assert allowed({"image": scan})["site"] == "bern"


def test_missing_site_is_refused_or_named():
    item = {"image": "x/meier.png", "row": 41}
    attach = SiteFromPathd(pattern="^(?P<site>zug)/")
    assert refuse(attach, item).startswith("row 41: the image has no site: the pattern does not fit")
    assert SiteFromPathd(pattern="^(?P<site>zug)/", missing="unknown")(item)["site"] == "unknown"
    assert SiteFromPathd(pattern="^(?P<site>zug)/", missing="")(item)["site"] == ""


@pytest.mark.parametrize("folder", ["NA", "unknown", " ", "n_a", "None", "?"])
def test_folder_called_as_a_missing_value_is_missing(folder):
    expected = folder if folder in ("unknown", "n_a") else "missing"
    assert SiteFromPathd(level=-1, missing="missing")({"image": f"{folder}/a.png"})["site"] == expected


def test_missing_must_be_a_text():
    with pytest.raises(TypeError, match="got None"):
        SiteFromPathd(level=-1, missing=None)


def test_spellings_are_joined_and_names_hidden_with_the_key_of_the_file(tmp_path):
    key = tmp_path / "sites.key"
    names = Pseudonyms(read_or_make_key(key))
    options = {"normalize": True, "aliases": {"Bern": ["Insel"]}, "pseudonymize": str(key)}
    attach = SiteFromPathd(level=-1, missing="unknown", **options)
    sites = [attach({"image": f"{folder}/a.png"})["site"] for folder in ("INSEL", "bern ", "Zug", "NA")]
    assert sites == [names.of("Bern", "site"), names.of("Bern", "site"), names.of("zug", "site"), "unknown"]


def test_a_site_called_unknown_stays_so_where_names_are_hidden(tmp_path):
    attach = SiteFromPathd(level=-1, normalize=True, pseudonymize=tmp_path / "sites.key")
    assert [attach({"image": f"{folder}/a.png"})["site"] for folder in ("unknown", "Unknown")] == ["unknown"] * 2


def test_hidden_names_are_hidden_in_messages_too(tmp_path):
    attach = SiteFromPathd(["a", "b"], level=-1, pseudonymize=tmp_path / "sites.key")
    message = refuse(attach, {"a": "meier/a.png", "b": "meierhof/a.png"})
    assert message.count('"site-') == 2


def test_key_file_that_cannot_be_made_is_told_at_construction(tmp_path):
    with pytest.raises(DataError, match="cannot be used"):
        SiteFromPathd(level=-1, pseudonymize=tmp_path / "no folder" / "sites.key")
    with pytest.raises(TypeError, match="path of a key file, got True"):
        SiteFromPathd(level=-1, pseudonymize=True)


def test_alias_table_may_be_a_file(tmp_path):
    (tmp_path / "aliases.yaml").write_text("Bern: [Insel]\n", encoding="utf-8")
    attach = SiteFromPathd(level=-1, aliases=str(tmp_path / "aliases.yaml"))
    assert attach({"image": "Insel/a.png"})["site"] == "Bern"
