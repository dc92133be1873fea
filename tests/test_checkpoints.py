import json
import pickle
import traceback
import zipfile

import pytest
import torch

from fairpool.checkpoints import load_model, save_model
from fairpool.data import SiteVocabulary
from fairpool.errors import CheckpointError

SITES = SiteVocabulary(("Hôpital A (2)", "bern"))


@pytest.fixture
def network():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))


def refuse(path):
    """The message of the refusal; neither it nor the traceback may advise to load the file unsafely."""
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    shown = "".join(traceback.format_exception(caught.value))
    assert "weights_only" not in shown
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


def content(**changes):
    return {"network": {"w": torch.ones(2)}, "vocabulary": SITES.to_json(), "settings": "{}"} | changes


def save(path, what):
    torch.save(what, path)
    return path


def test_saved_model_is_loaded_as_it_was(network, tmp_path):
    settings = {"pipeline": "tuberculosis", "overrides": {"image_size": 64, "layers": [1, 2], "name": None}}
    save_model(tmp_path / "model.pt", network, vocabulary=SITES, settings=settings)
    weights, vocabulary, loaded = load_model(str(tmp_path / "model.pt"))
    assert vocabulary == SITES
    assert loaded == settings
    assert weights.keys() == network.state_dict().keys()
    for key, value in network.state_dict().items():
        assert torch.equal(weights[key], value)
        assert weights[key].dtype == value.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_saving_again_replaces_the_file(network, tmp_path):
    for seed in (0, 1):
        save_model(tmp_path / "model.pt", network, vocabulary=SITES, settings={"seed": seed})
    assert load_model(tmp_path / "model.pt")[2] == {"seed": 1}


def test_interrupted_save_leaves_the_old_file(network, tmp_path, monkeypatch):
    save_model(tmp_path / "model.pt", network, vocabulary=SITES, settings={"seed": 0})

    def fill_the_disk(_, part):
        part.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fill_the_disk)
    with pytest.raises(OSError, match="no space left"):
        save_model(tmp_path / "model.pt", network, vocabulary=SITES, settings={"seed": 1})
    assert load_model(tmp_path / "model.pt")[2] == {"seed": 0}


class _LeavesMark:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("where", ["alone", "beside", "within", "plain pickle"])
def test_pickled_object_is_refused_without_being_unpickled(tmp_path, where):
    path, mark = tmp_path / "model.pt", _LeavesMark(str(tmp_path / "mark"))
    if where == "plain pickle":
        path.write_bytes(pickle.dumps(mark, protocol=2))
    else:
        save(path, {"alone": mark, "beside": content(extra=mark), "within": content(network={"w": mark})}[where])
    assert "not plain tensors; load it only from a source you trust, with your own code" in refuse(path)
    assert not (tmp_path / "mark").exists()
    if where == "alone":  # the mark works: this is what an unsafe loader would have done
        torch.load(path, weights_only=False).close()
        assert (tmp_path / "mark").exists()


def test_whole_network_is_refused(network, tmp_path):
    assert "not plain tensors" in refuse(save(tmp_path / "model.pt", network))


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_truncated_file_is_refused(network, tmp_path, keep):
    save_model(tmp_path / "model.pt", network, vocabulary=SITES, settings={})
    data = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(data[: int(keep * len(data))])
    assert '"model.pt" is damaged or not plain tensors' in refuse(tmp_path / "model.pt")


@pytest.mark.parametrize("data", [b"", b"<html>no</html>", b"\x80\x02}q\x00.", bytes(1000)])
def test_file_that_is_no_checkpoint_is_refused(tmp_path, data):
    (tmp_path / "model.pt").write_bytes(data)
    refuse(tmp_path / "model.pt")


def test_other_zip_file_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("a.txt", "a")
    assert "is damaged or not plain tensors" in refuse(tmp_path / "model.pt")


def test_missing_file_and_folder_are_refused(tmp_path):
    assert 'there is no checkpoint "gone.pt"' in refuse(tmp_path / "gone.pt")
    (tmp_path / "model.pt").mkdir()
    assert 'there is no checkpoint "model.pt"' in refuse(tmp_path / "model.pt")


@pytest.mark.parametrize(
    "other", [{}, {"network": {}}, {"state_dict": {"w": torch.ones(1)}}, torch.ones(3), [1], "text"]
)
def test_checkpoint_of_another_program_is_refused(tmp_path, other):
    assert "holds no site vocabulary" in refuse(save(tmp_path / "model.pt", other))


@pytest.mark.parametrize(
    "changes",
    [
        {"vocabulary": "basel"},
        {"vocabulary": "{}"},
        {"vocabulary": "[]"},
        {"vocabulary": '{"sites": ["a", "a"]}'},
        {"vocabulary": torch.ones(1)},
        {"vocabulary": "[" * 100_000},
        {"settings": "{"},
        {"settings": "[]"},
        {"settings": None},
        {"network": [torch.ones(1)]},
        {"network": {"w": 1}},
        {"network": {"w": {"deeper": torch.ones(1)}}},
    ],
)
def test_parts_of_another_kind_are_refused(tmp_path, changes):
    assert "holds no readable weights, vocabulary or settings" in refuse(
        save(tmp_path / "model.pt", content(**changes))
    )


def test_vocabulary_and_settings_are_stored_as_text(network, tmp_path):
    save_model(tmp_path / "model.pt", network, vocabulary=SITES, settings={"seed": 3})
    stored = torch.load(tmp_path / "model.pt", weights_only=True)
    assert json.loads(stored["vocabulary"])["sites"] == list(SITES.names)
    assert json.loads(stored["settings"]) == {"seed": 3}


# --- another vocabulary


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        (("bern", "zug", "Hôpital A (2)"), '"model.pt" was made with other sites: it lacks "zug". Its sites are'),
        (("bern",), '"model.pt" was made with other sites: it has "Hôpital A (2)" besides.'),
        (
            ("bern", "zug"),
            'it lacks "zug" and has "Hôpital A (2)" besides. Its sites are "Hôpital A (2)", "bern"; those',
        ),
        (
            ("bern", "Hôpital A (2)"),
            'has the same 2 sites in another order: 0 is "Hôpital A (2)" there and "bern" here',
        ),
    ],
)
def test_a_checkpoint_of_other_sites_is_refused_with_the_difference_first(network, tmp_path, wanted, difference):
    save_model(tmp_path / "model.pt", network, vocabulary=SITES, settings={})
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "model.pt", vocabulary=SiteVocabulary(wanted))
    message = str(caught.value)
    assert difference in message
    assert message.index("model.pt") < 2
    assert str(tmp_path) not in message


def test_a_checkpoint_of_the_same_sites_is_loaded(network, tmp_path):
    save_model(tmp_path / "model.pt", network, vocabulary=SITES, settings={})
    assert load_model(tmp_path / "model.pt", vocabulary=SiteVocabulary(SITES.names))[1] == SITES


def test_only_twenty_sites_are_listed(network, tmp_path):
    many = SiteVocabulary(tuple(f"s{i}" for i in range(500)))
    save_model(tmp_path / "model.pt", network, vocabulary=many, settings={})
    with pytest.raises(CheckpointError, match="and 480 more") as caught:
        load_model(tmp_path / "model.pt", vocabulary=SITES)
    assert len(str(caught.value)) < 1000
