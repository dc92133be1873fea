import hashlib
import pickle

import pytest
import torch
from monai.networks.nets import ResNet

from fairpool.errors import CheckpointError
from fairpool.pretrained import load_backbone


def resnet18(num_classes=2, channels=(8, 8, 16, 16), inputs=3):
    return ResNet(
        "basic",
        [2, 2, 2, 2],
        list(channels),
        spatial_dims=2,
        n_input_channels=inputs,
        conv1_t_size=7,
        conv1_t_stride=2,
        num_classes=num_classes,
        bias_downsample=False,
    )


def torchvision_names():
    """The entries of torchvision's resnet18 state dict, by its documented layout."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = ["conv1.weight", *(f"bn1.{part}" for part in norm)]
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            place = f"layer{layer}.{block}"
            for number in (1, 2):
                names += [f"{place}.conv{number}.weight", *(f"{place}.bn{number}.{part}" for part in norm)]
            if layer > 1 and block == 0:
                names += [f"{place}.downsample.0.weight", *(f"{place}.downsample.1.{part}" for part in norm)]
    return {*names, "fc.weight", "fc.bias"}


@pytest.fixture
def stored(tmp_path):
    """A file of weights of 1000 classes, its network, and its digest."""
    torch.manual_seed(1)
    network = resnet18(1000)
    file = tmp_path / "resnet18-secret.pth"
    torch.save(network.state_dict(), file)
    return file, network, hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_layers_are_named_as_torchvisions():
    assert set(resnet18().state_dict()) == torchvision_names()


def test_all_layers_but_the_last_are_loaded(stored):
    file, source, digest = stored
    network = resnet18()
    last = network.fc.weight.clone()
    assert load_backbone(network, file, sha256=digest[:8]) is network
    for name, value in network.state_dict().items():
        assert torch.equal(value, last if name == "fc.weight" else value)
        if not name.startswith("fc."):
            assert torch.equal(value, source.state_dict()[name]), name
    assert torch.equal(network.fc.weight, last)


def test_without_a_file_nothing_changes():
    network = resnet18()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_backbone(network, None)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_digest_is_needed_and_checked(stored):
    file, _, digest = stored
    with pytest.raises(ValueError, match=f"the file's is {digest}"):
        load_backbone(resnet18(), file)
    for wrong in ("0" * 64, digest[:7]):
        with pytest.raises(CheckpointError, match=f"have the SHA-256 {digest}, not"):
            load_backbone(resnet18(), file, sha256=wrong)
    with pytest.raises(ValueError, match="weights_sha256 is given without weights"):
        load_backbone(resnet18(), None, sha256=digest)


@pytest.mark.parametrize("other", [{"inputs": 1}, {"channels": (4, 8, 16, 16)}])
def test_weights_of_another_network_are_refused(stored, other):
    file, _, digest = stored
    with pytest.raises(CheckpointError, match=r'do not fit the network .*of another shape, such as "'):
        load_backbone(resnet18(**other), file, sha256=digest)


def test_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("unpickled",)

    file = tmp_path / "secret.pth"
    for content in (pickle.dumps({"conv1.weight": Trap()}), b"no weights", b""):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match="not plain tensors") as caught:
            load_backbone(resnet18(), file, sha256=hashlib.sha256(content).hexdigest())
        assert "secret" not in str(caught.value)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_backbone(resnet18(), tmp_path / "nowhere.pth", sha256="0" * 64)
