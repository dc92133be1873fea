"""The MONAI metric is the two pure functions over batches."""

import warnings

import pytest
import torch
from monai.data import MetaTensor
from monai.metrics.metric import Metric

import fairpool.metrics
from fairpool.metrics import confusion_by_group, group_report
from fairpool.metrics.group_metric import GroupMetric, decisions


def draw(size=60, num_classes=2, num_groups=3):
    logits = torch.randn(size, num_classes)
    return logits, torch.randint(0, num_classes, (size,)), torch.randint(-1, num_groups, (size,))


@pytest.mark.parametrize("num_classes", [2, 4])
def test_batches_add_up_to_the_report_of_the_whole(num_classes):
    logits, labels, groups = draw(num_classes=num_classes)
    metric = GroupMetric(3, num_classes)
    for part in (slice(0, 7), slice(7, 8), slice(8, None)):
        metric(logits[part], labels[part], groups[part])
    expected = confusion_by_group(labels, logits.argmax(1), groups, 3, num_classes)
    assert torch.equal(metric.counts, expected)
    assert metric.aggregate().deo == group_report(expected).deo
    assert metric.num_unknown == int((groups == -1).sum())
    assert isinstance(metric, Metric)


def test_reset_forgets_everything():
    metric = GroupMetric(3)
    metric(*draw())
    metric.reset()
    assert (int(metric.counts.sum()), metric.num_unknown) == (0, 0)


@pytest.mark.parametrize("layout", [(), (1,)], ids=["[B]", "[B, 1]"])
@pytest.mark.parametrize("threshold", [0.5, 0.25, 0.8])
def test_a_sigmoid_and_its_two_logits_decide_alike(layout, threshold):
    logits = torch.randn(40)
    pair = torch.stack([torch.zeros(40), logits], dim=1)
    expected = (logits.sigmoid() >= threshold).long()
    assert torch.equal(decisions(logits.view(-1, *layout), threshold), expected)
    assert torch.equal(decisions(pair, threshold), expected)
    assert decisions(pair, threshold).dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_logits_of_every_precision_decide(dtype):
    logits = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=dtype)
    for threshold in (0.5, 0.7):
        assert decisions(logits, threshold).tolist() == [1, 0]


@pytest.mark.parametrize("layout", [(), (1,), (2,)], ids=str)
def test_a_tie_decides_as_in_training_for_the_negative_class(layout):
    assert decisions(torch.zeros(2, *layout)).tolist() == [0, 0]


def test_more_than_two_classes_take_the_largest_logit():
    assert decisions(torch.tensor([[0.0, 2.0, 1.0], [0.0, 0.0, 3.0]])).tolist() == [1, 2]


def test_the_gradient_of_the_logits_is_left_alone():
    metric = GroupMetric(3)
    logits, labels, groups = draw()
    metric(logits.requires_grad_(True), labels, groups)
    assert not metric.counts.requires_grad


def test_labels_and_groups_of_layout_b_1_and_meta_tensors_are_counted():
    logits, labels, groups = draw()
    metric, expected = GroupMetric(3), GroupMetric(3)
    expected(logits, labels, groups)
    metric(MetaTensor(logits), MetaTensor(labels[:, None].float()), MetaTensor(groups[:, None]))
    assert torch.equal(metric.counts, expected.counts)
    assert type(metric.counts) is torch.Tensor


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("layout", [(), (1,), (2,), (3,)], ids=str)
def test_logits_that_are_not_finite_are_refused_with_their_number(layout, bad):
    logits = torch.zeros(5, *layout)
    logits[1] = bad
    logits[3] = bad
    with pytest.raises(ValueError, match="2 of 5 predictions are NaN or infinite"):
        decisions(logits)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, 50])
def test_a_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(ValueError, match=f"between 0 and 1, got {threshold}"):
        GroupMetric(2, threshold=threshold)


def test_the_package_imports_the_metric_when_it_is_asked_for():
    assert fairpool.metrics.GroupMetric is GroupMetric
    with pytest.raises(AttributeError, match="no attribute 'NoSuchName'"):
        fairpool.metrics.NoSuchName  # noqa: B018


# --- logits and probabilities ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.8])
@pytest.mark.parametrize("num_classes", [1, 2, 3])
def test_probabilities_decide_as_their_logits(num_classes, threshold):
    logits = torch.randn(200, num_classes)
    shares = logits.sigmoid() if num_classes == 1 else logits.softmax(dim=1)
    for dtype in (torch.float32, torch.float64):
        expected = decisions(logits.to(dtype), threshold)
        assert torch.equal(decisions(shares.to(dtype), threshold, from_logits=False), expected)
    labels, groups = torch.randint(0, max(num_classes, 2), (200,)), torch.randint(0, 3, (200,))
    metric = GroupMetric(3, max(num_classes, 2), threshold, from_logits=False)
    metric(shares, labels, groups)
    reference = GroupMetric(3, max(num_classes, 2), threshold)
    reference(logits, labels, groups)
    assert torch.equal(metric.counts, reference.counts)


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_probabilities_in_place_of_logits_are_refused(num_classes, dtype):
    shares = torch.randn(30, num_classes).softmax(dim=1).to(dtype)
    metric = GroupMetric(2, num_classes)
    if dtype != torch.bfloat16:  # its sums are off by more than logits would be by chance
        with pytest.raises(ValueError, match="all 30 rows of predictions are non-negative and sum to 1"):
            metric(shares, torch.zeros(30), torch.zeros(30, dtype=torch.int64))
        assert metric.counts.sum() == 0


def test_logits_that_sum_to_one_are_taken_while_one_is_negative():
    first = torch.randn(30) * 3
    assert decisions(torch.stack([first, 1 - first], dim=1)).shape == (30,)


@pytest.mark.parametrize("logits", [[[0.0, 1.0], [1.0, 0.0]], [[0.3, 0.7]]], ids=["decisions", "one row"])
def test_what_may_be_logits_is_taken(logits):
    assert decisions(torch.tensor(logits))[0] == 1


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ([0.2, 1.5], r"lie in 0\.2\.\.1\.5, so they are no probabilities"),
        ([[-0.5], [0.5]], r"lie in -0\.5\.\.0\.5, so they are no probabilities"),
        ([[0.5, 0.9], [0.5, 0.5]], "do not sum to 1"),
    ],
)
def test_logits_in_place_of_probabilities_are_refused(predictions, message):
    with pytest.raises(ValueError, match=message):
        decisions(torch.tensor(predictions), from_logits=False)


def test_single_outputs_that_all_lie_in_0_to_1_are_warned_of_once_they_are_many():
    metric, labels, groups = GroupMetric(2), torch.zeros(30), torch.zeros(30, dtype=torch.int64)
    metric(torch.rand(30), labels, groups)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.aggregate()  # thirty may be chance
    metric(torch.rand(30, 1), labels, groups)
    with pytest.warns(UserWarning, match=r"all 60 predictions lie in 0\.\.1.* pass from_logits=False"):
        metric.aggregate()
    metric(torch.tensor([-0.1]), labels[:1], groups[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.aggregate()


def test_no_sample_is_no_contradiction():
    assert decisions(torch.zeros(0, 2)).shape == (0,)
    assert decisions(torch.zeros(0), from_logits=False).shape == (0,)
