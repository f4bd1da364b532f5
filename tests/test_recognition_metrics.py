"""Accuracies, confusion and intervals against scikit-learn and SciPy."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as reference

from restore_lib import metrics


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_is_scikit_learns(k, rng):
    scores, labels = torch.rand(50, 7, generator=rng), torch.randint(7, (50,), generator=rng)
    mine = metrics.top_k(scores, labels, k)
    expected = reference.top_k_accuracy_score(labels, scores, k=k, labels=range(7), normalize=False)
    assert mine.shape == (50,) and int(mine.sum()) == expected


def test_of_equal_scores_the_first_class_counts():
    scores = torch.zeros(3, 4)
    assert metrics.top_k(scores, torch.tensor([0, 1, 3]), 2).tolist() == [True, True, False]
    for k in (0, 5):
        with pytest.raises(ValueError, match=f"between 1 and the number of classes, 4; got {k}"):
            metrics.top_k(scores, torch.tensor([0, 1, 3]), k)


def test_confusion_and_what_follows_from_it_are_scikit_learns(rng):
    truth = torch.randint(5, (3, 8, 9), generator=rng)
    predicted = torch.where(
        torch.rand(truth.shape, generator=rng) < 0.6, truth, torch.randint(5, truth.shape, generator=rng)
    )
    truth = torch.where(torch.rand(truth.shape, generator=rng) < 0.1, 255, truth)
    counts = metrics.confusion(predicted, truth.to(torch.uint8), 5)
    for number in range(3):
        kept = truth[number] != 255
        expected = reference.confusion_matrix(truth[number][kept], predicted[number][kept], labels=range(5))
        assert np.array_equal(counts[number], expected)
    kept = truth != 255
    iou = reference.jaccard_score(truth[kept], predicted[kept], average="macro")
    assert metrics.mean_iou(counts) == pytest.approx(iou)
    right = reference.accuracy_score(truth[kept], predicted[kept])
    assert metrics.pixel_accuracy(counts) == pytest.approx(right)


def test_a_class_that_is_nowhere_is_left_out_of_the_mean():
    counts = torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert metrics.mean_iou(counts) == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert np.isnan(metrics.mean_iou(torch.zeros(3, 3, dtype=torch.long)))


def test_impossible_classes_are_refused():
    with pytest.raises(ValueError, match="between 0 and 2, or be 255; got 3"):
        metrics.confusion(torch.full((1, 2, 2), 3), torch.zeros(1, 2, 2, dtype=torch.long), 3)


def test_the_interval_is_scipys_percentile_bootstrap(rng):
    values = torch.rand(80, generator=rng)
    low, high = metrics.bootstrap(values, torch.mean, draws=4000)
    expected = stats.bootstrap((values.numpy(),), np.mean, method="percentile", n_resamples=4000).confidence_interval
    assert low == pytest.approx(expected.low, abs=0.01) and high == pytest.approx(expected.high, abs=0.01)
    assert metrics.bootstrap(values, torch.mean, draws=50) == metrics.bootstrap(values, torch.mean, draws=50)
