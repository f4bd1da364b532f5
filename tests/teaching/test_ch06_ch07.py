"""References of chapters 6 and 7 against sums written out, real networks and other ways to the same number."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from restore_lib.data.labelled import IGNORED
from restore_lib.denoising import Cascade, segmentation_loss
from restore_lib.nets.largefov import DeepLabLargeFOV
from restore_lib.nets.receptive import receptive_field
from restore_lib.teaching import check
from restore_lib.teaching.checks import all_exercises

JOINT, FREEZE, TOP_K, WEIGHT = (all_exercises()[f"6.{number}"] for number in (1, 2, 3, 4))
MEAN_IOU, CONFUSION, PLACES, PAIRED = (all_exercises()[f"7.{number}"] for number in (1, 2, 3, 4))


@pytest.fixture
def drawn(rng):
    """Fresh inputs of an exercise, three times."""
    return lambda exercise: [exercise.inputs(rng) for _ in range(3)]


def test_the_joint_loss_written_out(drawn):
    for denoised, clean, scores, labels, weight in drawn(JOINT):
        error = ((denoised - clean).double().numpy() ** 2).sum() / denoised.numel()
        chances = np.exp(scores.double().numpy())
        chances /= chances.sum(1, keepdims=True)
        nats = [-np.log(chances[row, label]) for row, label in enumerate(labels.tolist())]
        expected = error + weight * sum(nats) / len(nats)
        assert float(JOINT.reference(denoised, clean, scores, labels, weight)) == pytest.approx(expected, rel=1e-5)


def frozen(network):
    return Cascade(nn.Identity(), network).train().vision


@pytest.mark.parametrize(
    ("prepare", "passes"),
    [
        (frozen, True),
        (lambda network: copy.deepcopy(network).requires_grad_(False).eval(), True),
        (lambda network: network.eval().requires_grad_(False).train(), False),
        (lambda network: network[:2].eval() and network.requires_grad_(False), False),  # dropout goes on
    ],
)
def test_any_network_that_is_frozen_passes_and_no_other(prepare, passes):
    assert check("6.2", prepare).passed is passes


def test_what_is_no_network_is_met_with_one_sentence():
    assert "returns a int, which fails with TypeError" in check("6.2", lambda network: 3).message
    assert "returns nothing" in check("6.2", lambda network: None).message


def test_batch_norm_and_dropout_show_in_what_is_compared(drawn):
    """Each of the two alone, left in training, is seen."""
    for inputs in drawn(FREEZE):
        expected = FREEZE.seen(FREEZE.reference(*copy.deepcopy(inputs)), *inputs)
        for layer in (1, 4):
            network = FREEZE.reference(*copy.deepcopy(inputs))
            network[layer].train()
            assert not torch.allclose(FREEZE.seen(network, *inputs), expected)


def test_top_k_counted_by_hand(drawn):
    for scores, labels, k in drawn(TOP_K):
        higher = [(row > row[label]).sum() for row, label in zip(scores.numpy(), labels.tolist(), strict=True)]
        assert float(TOP_K.reference(scores, labels, k)) == pytest.approx(sum(n < k for n in higher) / len(higher))


def test_the_weight_turns_the_one_loss_into_the_other(drawn):
    for height, width in drawn(WEIGHT):
        a, b = torch.rand(2, 3, height, width, dtype=torch.float64)
        theirs = 5e-9 * (255 * a - 255 * b).square().sum() / 2
        assert float(WEIGHT.reference(height, width) * (a - b).square().mean()) == pytest.approx(float(theirs))
    assert WEIGHT.reference(322, 322) == pytest.approx(50.6, abs=0.05)


def test_mean_iou_by_sets_of_pixels(drawn):
    for (counts,) in drawn(MEAN_IOU):
        pairs = np.repeat(np.indices(counts.shape).reshape(2, -1), counts.flatten().numpy(), axis=1)  # (2, pixels)
        shares = []
        for label in range(len(counts)):
            truth, predicted = pairs == label
            if (truth | predicted).any():
                shares.append((truth & predicted).sum() / (truth | predicted).sum())
        assert len(shares) == len(counts) - 1 and min(shares) == 0
        assert MEAN_IOU.reference(counts) == pytest.approx(np.mean(shares))


def test_the_confusion_matrix_pixel_by_pixel(drawn):
    for predicted, truth, classes in drawn(CONFUSION):
        expected = np.zeros((classes, classes))
        for said, is_ in zip(predicted.flatten().tolist(), truth.flatten().tolist(), strict=True):
            if is_ != IGNORED:
                expected[is_, said] += 1
        assert np.array_equal(CONFUSION.reference(predicted, truth, classes).numpy(), expected)


@pytest.fixture(scope="module")
def deeplab():
    return DeepLabLargeFOV(classes=2, width=4, hidden=8, dilation=2).eval()


def test_labels_lie_where_deeplab_has_its_scores(deeplab, drawn):
    for (mask,) in drawn(PLACES):
        with torch.no_grad():
            assert deeplab.scores(torch.rand(1, 3, *mask.shape)).shape[2:] == PLACES.reference(mask).shape


@pytest.mark.parametrize("place", [(21, 22), (24, 20)])
def test_a_score_is_centred_on_every_eighth_pixel(place):
    """The field of a score, with the layers' own paddings, is as wide above a pixel as below it."""
    small = DeepLabLargeFOV(classes=1, width=2, hidden=2, dilation=1)
    scores = nn.Sequential(small.normalize, small.features, small.head)
    seen = receptive_field(scores, 360, at=place)
    for axis, index in enumerate(place):
        found = seen.any(1 - axis).nonzero()[:, 0]
        assert int(found.min()) > 0 and int(found.max()) < 359, "the field lies inside"
        assert (int(found.min()) + int(found.max())) / 2 == 8 * index


def test_the_loss_of_the_library_asks_for_the_same_labels(rng):
    mask = PLACES.inputs(rng)[0]
    scores = torch.randn(1, 3, *mask.shape, generator=rng)
    mask = mask.where(mask == IGNORED, mask % 3)
    labels = PLACES.reference(mask)
    known = labels != IGNORED
    chances = scores[0, :, ::8, ::8].log_softmax(0).gather(0, labels.where(known, 0)[None])[0]
    assert torch.allclose(segmentation_loss(scores, mask[None]), -chances[known].mean())


def test_the_paired_interval_draw_by_draw(drawn):
    for ours, theirs, draws in drawn(PAIRED):
        means = [100 * np.mean([float(ours[n]) - float(theirs[n]) for n in draw]) for draw in draws.tolist()]
        expected = np.quantile(means, [0.025, 0.975])
        assert np.allclose(PAIRED.reference(ours, theirs, draws).numpy(), expected, atol=1e-3)
        widths = [np.ptp(100 * np.quantile(x[draws].mean(1).numpy(), [0.025, 0.975])) for x in (ours, theirs)]
        assert np.ptp(expected) < np.hypot(*widths), "on these inputs it pays to draw pairs"
