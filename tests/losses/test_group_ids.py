"""Sites reach the loss as int64 beside the logits, whatever type and container they came in (rows 2, 3, 7 and 13)."""

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, ThreadDataLoader, list_data_collate
from torch import nn

from fairpool import EqualizedOdds, EqualOpportunity, FairALMHandler, FairALMLoss
from fairpool.losses import AdversarialLoss, L2PenaltyLoss, ReweightedLoss
from fairpool.losses.group_ids import as_group_ids

IDS = [2, -1, 0, 1]

CONTAINERS = {
    "list of Python integers": list,
    "tuple": tuple,
    "list of numpy integers": lambda ids: [np.int16(i) for i in ids],
    "list of mixed integers": lambda ids: [ids[0], np.int8(ids[1]), torch.tensor(ids[2]), np.array(ids[3])],
    "list of 0-d tensors": lambda ids: [torch.tensor(i) for i in ids],
    "list of one-element tensors": lambda ids: [torch.tensor([i], dtype=torch.int32) for i in ids],
    "list of 0-d MetaTensors": lambda ids: [MetaTensor(torch.tensor(i)) for i in ids],
    "list of one-element lists": lambda ids: [[i] for i in ids],
    "list of one-element arrays": lambda ids: [np.array([i]) for i in ids],
    "MetaTensor": lambda ids: MetaTensor(torch.tensor(ids)),
    "tensor (B, 1)": lambda ids: torch.tensor(ids)[:, None],
    "tensor (B, 1, 1)": lambda ids: torch.tensor(ids)[:, None, None],
    "array (B, 1)": lambda ids: np.array(ids)[:, None],
    "array of objects": lambda ids: np.array(ids, dtype=object),
    "array in another byte order": lambda ids: np.array(ids, dtype=">i4"),
    "array of 16 bits": lambda ids: np.array(ids, dtype=np.int16),
    "strided tensor": lambda ids: torch.tensor([ids, ids]).t()[:, 0],
}
INTEGERS = [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64]
# What a site is no id in, and what the sentence must say.
REFUSED = {
    "text": (["bern", "basel"], r"holds text such as 'bern'; encode sites"),
    "text after an integer": ([0, "bern"], "holds text such as 'bern'"),
    "one text": ("bern", "holds text such as 'bern'"),
    "bytes": ([b"bern"], "holds text such as"),
    "array of text": (np.array(["bern", "basel"]), "holds text such as 'bern'"),
    "None among ids": ([0, None, 1, None], "is empty for 2 of 4 samples. Fill it in, or use -1"),
    "None alone": (None, "is empty for 1 of 1 samples"),
    "array with None": (np.array([0, None], dtype=object), "is empty for 1 of 2"),
    "fractions": ([0.0, 1.0], r"must be an integer tensor, got float \(2 of 2 samples\)"),
    "NaN of an empty cell": ([0, float("nan")], r"got float \(1 of 2 samples\)"),
    "truth values": ([True, False], "got bool"),
    "a truth value among ids": ([0, True], r"got bool \(1 of 2 samples\)"),
    "numpy's truth values": ([np.bool_(True)], "got bool"),
    "array of fractions": (np.array([0.0, 1.0]), "integer tensor, got float64"),
    "array of truth values": (np.array([True]), "integer tensor, got bool"),
    "tensor of fractions": (torch.tensor([0.0, 1.0]), "integer tensor, got float32"),
    "half-precision MetaTensor": (MetaTensor(torch.tensor([0.0])).half(), "integer tensor, got float16"),
    "tensor of truth values": (torch.tensor([True]), "integer tensor, got bool"),
    "list of fractional tensors": ([torch.tensor(0.0)], "integer tensor, got float32"),
    "dictionaries": ([{"id": 0}], "integer tensor, got dict"),
}


@pytest.mark.parametrize("make", CONTAINERS.values(), ids=CONTAINERS)
def test_ids_of_any_container_become_one_plain_tensor(make):
    ids = as_group_ids(make(IDS))
    assert type(ids) is torch.Tensor
    assert (ids.dtype, ids.tolist()) == (torch.int64, IDS)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_ids_of_any_integer_type_keep_their_value(dtype):
    ids = [i % 3 for i in IDS]
    assert as_group_ids(torch.tensor(ids, dtype=dtype)).tolist() == ids
    assert as_group_ids(torch.tensor(ids, dtype=dtype).numpy()).dtype == torch.int64


def test_a_batch_of_one_may_be_a_lone_integer():
    for value in (1, np.int8(1), torch.tensor(1), np.array(1), [1], torch.tensor([[1]])):
        assert as_group_ids(value).tolist() == [1]
    assert as_group_ids([]).tolist() == []


@pytest.mark.parametrize(("values", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_id_is_a_type_error_in_one_sentence(values, sentence):
    with pytest.raises(TypeError, match=sentence) as caught:
        as_group_ids(values, 'batch["site"]')
    assert "\n" not in str(caught.value)


UNSIGNED = np.array([0, 2**64 - 1, 2**63, 2**63 - 1], dtype=np.uint64)  # the second is -1 that lost its sign


@pytest.mark.parametrize(
    "make",
    [
        np.asarray,
        torch.from_numpy,
        list,
        lambda ids: ids.tolist(),
        lambda ids: ids[:, None],
        lambda ids: ids.astype(">u8"),
        lambda ids: list(torch.from_numpy(ids)),
        lambda ids: MetaTensor(torch.from_numpy(ids)),
    ],
    ids=["array", "tensor", "numpy integers", "integers", "column", "other byte order", "0-d tensors", "MetaTensor"],
)
def test_ids_beyond_int64_are_refused_and_never_become_unknown(make):
    sentence = r"^groups holds 18446744073709551615 \(2 samples\), which no int64 holds\. [^\n]*signed type"
    with pytest.raises(ValueError, match=sentence):
        as_group_ids(make(UNSIGNED))
    assert as_group_ids(make(UNSIGNED[[0, 3]])).tolist() == [0, 2**63 - 1]


def test_one_hot_sites_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"got \(3, 3\)\. One-hot sites become ids with argmax\(1\)"):
        as_group_ids(torch.eye(3, dtype=torch.long))


# In a plain loop


@pytest.mark.parametrize("make", CONTAINERS.values(), ids=CONTAINERS)
def test_a_plain_loop_may_pass_any_container(make):
    logits, labels = torch.randn(4, 2), torch.tensor([1, 0, 1, 1])

    def value(groups):
        loss = FairALMLoss(nn.CrossEntropyLoss(), EqualizedOdds(), 3, eta=0.5)
        return loss(logits, labels, groups)

    assert torch.equal(value(make(IDS)), value(torch.tensor(IDS)))


def test_lists_of_several_attributes_are_told_from_lists_of_ids():
    logits, labels = torch.randn(2, 2), torch.tensor([1, 0])
    one = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), 2)
    assert torch.equal(one(logits, labels, [0, 1]), one(logits, labels, [torch.tensor([0, 1])]))
    assert one(logits[:1], labels[:1], [torch.tensor([0])]) == one(logits[:1], labels[:1], [0])
    two = FairALMLoss(nn.CrossEntropyLoss(), [EqualOpportunity()] * 2, [2, 2])
    expected = two(logits, labels, (torch.tensor([0, 1]), torch.tensor([1, 0])))
    assert torch.equal(two(logits, labels, ([0, 1], np.array([[1], [0]], np.uint8))), expected)
    with pytest.raises(ValueError, match="constrains 1 protected attributes and got the groups of 2"):
        one(logits, labels, (torch.tensor([0, 1]), torch.tensor([1, 0])))


# Through MONAI's loaders and trainer


def items_with(make, key="site"):
    generator = torch.Generator().manual_seed(1)
    return [
        {"image": torch.randn(5, generator=generator), "label": row % 2, key: make(row // 2 % 3)} for row in range(24)
    ]


SAMPLES = {
    "Python integer": int,
    "numpy int64": np.int64,
    "numpy int32": np.int32,
    "numpy uint8": np.uint8,
    "numpy int8": np.int8,
    "0-d array": np.array,
    "one-element array": lambda i: np.array([i], np.int16),
    "0-d tensor": torch.tensor,
    "one-element tensor": lambda i: torch.tensor([i]),
    "uint8 tensor": lambda i: torch.tensor(i, dtype=torch.uint8),
    "int8 tensor": lambda i: torch.tensor(i, dtype=torch.int8),
    "int16 tensor": lambda i: torch.tensor(i, dtype=torch.int16),
    "int32 tensor": lambda i: torch.tensor([[i]], dtype=torch.int32),
    "MetaTensor": lambda i: MetaTensor(torch.tensor(i)),
    "one-element MetaTensor": lambda i: MetaTensor(torch.tensor([i]), meta={"site": 5}),
}


def trained(train, data, handlers=(), key="site", **options):
    """Multipliers after an epoch, and what the loss was given."""
    torch.manual_seed(3)
    seen = []

    class Watched(FairALMLoss):
        def take(self, logits, labels, groups):
            taken = super().take(logits, labels, groups)
            seen.extend(taken[2])
            return taken

    loss = Watched(nn.CrossEntropyLoss(), EqualizedOdds(), 3, eta=0.25)
    trainer = train(loss, [FairALMHandler(loss, group_key=key), *handlers], data=data, key=key, **options)
    trainer.run()
    return loss.multipliers, seen


def loader_of(items, **options):
    return DataLoader(Dataset(items), batch_size=6, **options)


@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_any_integer_of_a_sample_trains_as_a_python_integer_does(train, make):
    expected, _ = trained(train, loader_of(items_with(int)))
    multipliers, seen = trained(train, loader_of(items_with(make)))
    assert torch.equal(multipliers, expected)
    for groups in seen:
        assert (type(groups), groups.dtype, groups.shape) == (torch.Tensor, torch.int64, (6,))


@pytest.mark.parametrize("make", [int, np.uint8, lambda i: MetaTensor(torch.tensor([i]))], ids=["int", "uint8", "meta"])
def test_workers_and_threads_deliver_the_same_sites(train, make):
    expected, _ = trained(train, loader_of(items_with(int)))
    assert torch.equal(trained(train, loader_of(items_with(make), num_workers=2))[0], expected)
    threads = ThreadDataLoader(Dataset(items_with(make)), batch_size=6, num_workers=0)
    assert torch.equal(trained(train, threads)[0], expected)


# Collation of one's own may leave lists, as decollation does.
@pytest.mark.parametrize(
    "make", [list, tuple, np.array, lambda ids: [torch.tensor(i) for i in ids], lambda ids: [[i] for i in ids]]
)
def test_a_loader_with_its_own_collation_may_leave_any_container(train, make):
    def collate(items):
        batch = list_data_collate([{key: item[key] for key in ("image", "label")} for item in items])
        return batch | {"site": make([item["site"] for item in items])}

    expected, _ = trained(train, loader_of(items_with(int)))
    assert torch.equal(trained(train, loader_of(items_with(int), collate_fn=collate))[0], expected)


@pytest.mark.parametrize(
    ("make", "kind", "sentence"),
    [
        (lambda i: f"site-{i}", TypeError, r'batch\["site"\] holds text such as \'site-0\'; encode sites'),
        (float, TypeError, "integer tensor, got float"),
        (np.float32, TypeError, "integer tensor, got float32"),
        (lambda i: bool(i % 2), TypeError, "integer tensor, got bool"),
        (lambda i: torch.tensor(bool(i % 2)), TypeError, "integer tensor, got bool"),
        (lambda i: torch.eye(3, dtype=torch.long)[i], ValueError, r"got \(6, 3\)\. One-hot sites"),
    ],
    ids=["text", "float", "numpy float", "bool", "tensor of bool", "one-hot"],
)
def test_a_sample_whose_site_is_no_id_ends_the_run_in_one_sentence(train, make, kind, sentence):
    with pytest.raises(kind, match=sentence):
        trained(train, loader_of(items_with(make)))


def test_an_empty_site_that_collation_lets_through_is_named(train):
    def collate(items):
        batch = list_data_collate([{key: item[key] for key in ("image", "label")} for item in items])
        return batch | {"site": [item["site"] for item in items]}

    data = loader_of(items_with(lambda i: i or None), collate_fn=collate)
    with pytest.raises(TypeError, match=r'batch\["site"\] is empty for 2 of 6 samples'):
        trained(train, data)


def test_a_site_in_the_images_meta_alone_is_a_key_error_with_the_remedy(train):
    items = [
        {"image": MetaTensor(item["image"], meta={"site": item["site"]}), "label": item["label"]}
        for item in items_with(int)
    ]
    with pytest.raises(KeyError, match=r'"site" is not a batch key.*before batching'):
        trained(train, loader_of(items))


@pytest.mark.parametrize(
    "make",
    [
        lambda base: L2PenaltyLoss(base(), EqualizedOdds(), 3),
        lambda base: ReweightedLoss(base(reduction="none"), 3, torch.tensor([[4, 4, 4], [4, 4, 4]])),
        lambda base: AdversarialLoss(base(), EqualizedOdds(), 3),
    ],
    ids=["l2", "reweighted", "adversarial"],
)
def test_the_other_losses_take_sites_in_the_same_way(make):
    logits, labels = torch.randn(4, 2), torch.tensor([1, 0, 1, 1])
    torch.manual_seed(0)
    expected = make(nn.CrossEntropyLoss)(logits, labels, torch.tensor(IDS))
    torch.manual_seed(0)
    value = make(nn.CrossEntropyLoss)(logits, labels, [np.int16(i) for i in IDS])
    assert torch.equal(value, expected)


def test_compiled_and_without_graph_breaks_a_tensor_of_ids_is_taken():
    loss = FairALMLoss(nn.CrossEntropyLoss(), EqualizedOdds(), 3, eta=0.25)
    logits, labels, sites = torch.randn(4, 2), torch.tensor([1, 0, 1, 1]), torch.tensor(IDS, dtype=torch.int32)
    expected = loss(logits, labels, sites)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(logits, labels, sites[:, None]), expected)


# A tensor on the meta device has no values: to read one is an error, as to wait for one is a cost on a GPU.


@pytest.mark.parametrize(
    "groups",
    [
        torch.tensor(IDS),
        torch.tensor(IDS, dtype=torch.int16, device="meta"),
        torch.tensor(IDS, device="meta")[:, None],
        [torch.tensor(i, dtype=torch.int32, device="meta") for i in IDS],
        [np.int8(i) for i in IDS],
    ],
    ids=["on the CPU", "int16", "(B, 1)", "list of tensors", "list of numpy integers"],
)
def test_ids_follow_the_logits_to_their_device_and_no_value_is_read(groups):
    loss = FairALMLoss(nn.CrossEntropyLoss(), EqualizedOdds(), 3)
    logits, labels = torch.randn(4, 2), torch.tensor([1, 0, 1, 1])
    loss(logits, labels, torch.tensor(IDS))  # the first batch is looked at
    taken = loss.take(logits.to("meta"), labels.to("meta"), groups)[2][0]
    assert (taken.device.type, taken.dtype, taken.shape) == ("meta", torch.int64, (4,))
