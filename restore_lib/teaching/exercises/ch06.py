"""Exercises of chapter 6, what a classifier sees through a denoiser."""

from typing import cast

import torch
from torch import nn
from torch.nn import functional

from restore_lib import metrics
from restore_lib.denoising.cascade import freeze


def _batch(generator):
    """Denoised pictures, their originals, a classifier's scores, labels, and a weight that is never 1 or 1/2."""
    clean = torch.rand(4, 3, 6, 7, generator=generator)
    denoised = clean + 0.3 * torch.randn(clean.shape, generator=generator)
    scores = 2 * torch.randn(4, 5, generator=generator)
    labels = torch.randint(0, 5, (4,), generator=generator)
    return denoised, clean, scores, labels, 0.15 + 0.25 * torch.rand((), generator=generator).item()


def _mse(a, b):
    return (a - b).square().mean()


def _joint(denoised, clean, scores, labels, task_weight):
    return _mse(denoised, clean) + task_weight * functional.cross_entropy(scores, labels)


def _small_classifier(generator):
    """With batch norm, whose statistics are not those of any input, and dropout; as a training leaves it."""
    norm = nn.BatchNorm2d(6)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), norm, nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(96, 4))
    with torch.no_grad():
        for values in (*network.parameters(), cast(torch.Tensor, norm.running_mean)):
            values.normal_(0, 0.5, generator=generator)
        cast(torch.Tensor, norm.running_var).uniform_(0.5, 2, generator=generator)
    return (network.train(),)


def _behaviour(prepared, network):
    """What a network does in a cascade: scores of the same pictures twice, statistics, gradients, what can learn."""
    module = prepared if isinstance(prepared, nn.Module) else network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # two networks that drop alike are alike
        x = torch.rand(3, 3, 6, 6, requires_grad=True)
        with torch.enable_grad():
            scores = [prepared(x) for _ in range(2)]
    total = torch.stack(scores).square().sum()
    gradient = torch.autograd.grad(total, x)[0] if total.requires_grad else torch.zeros_like(x)
    learning = [float(values.requires_grad) for values in module.parameters()]
    statistics = [values.double().flatten() for values in module.buffers()]
    watched = [*scores, gradient, torch.tensor(learning), *statistics]
    return torch.cat([values.detach().double().flatten() for values in watched])


def _without_gradient(network):
    return torch.no_grad()(network.requires_grad_(False).eval())


def _evaluation_without_gradient(network):
    return torch.no_grad()(network.eval())


def _scores(generator):
    """True classes have higher scores than others, but not always the highest."""
    labels = torch.randint(0, 10, (60,), generator=generator)
    scores = torch.randn(60, 10, generator=generator)
    scores[torch.arange(60), labels] += 1
    return scores, labels, int(torch.randint(2, 6, (), generator=generator))


def _ranked(scores, labels):
    """Whether the class of each rank is the true one, (pictures, classes)."""
    return (scores.argsort(1, descending=True) == labels[:, None]).double()


def _size(generator):
    return tuple(torch.randint(100, 400, (2,), generator=generator).tolist())


def _weight(h, w, *, half=0.5, channels=3, scale: float = 255**2):
    return 5e-9 * half * channels * h * w * scale


BACK = "No gradient comes back to the picture any more, so the denoiser learns nothing: freeze weights, not the way."

EXERCISES = [
    {
        "id": "6.1",
        "reference": _joint,
        "inputs": _batch,
        "mistakes": (
            (
                lambda d, c, s, y, weight: (d - c).square().sum() + weight * functional.cross_entropy(s, y),
                "You add up all squared differences: then larger pictures count more. Take their mean.",
            ),
            (
                lambda d, c, s, y, weight: _mse(d, c) + weight * functional.cross_entropy(s, y, reduction="sum"),
                "You add up the cross entropies of all pictures: then larger batches count more. Take their mean.",
            ),
            (
                lambda d, c, s, y, weight: _mse(255 * d, 255 * c) + weight * functional.cross_entropy(s, y),
                "Your squared errors are on the scale 0 to 255, 65,025 times as large: leave values in [0, 1].",
            ),
            (
                lambda d, c, s, y, weight: _mse(d, c) / 2 + weight * functional.cross_entropy(s, y),
                "You halve the squared error, as Caffe does. Here it is a plain mean.",
            ),
            (
                lambda d, c, s, y, weight: _mse(d, c) + weight * functional.nll_loss(s, y),
                "Scores are no logarithms of probabilities yet: log_softmax first, then pick the true class.",
            ),
            (
                lambda d, c, s, y, weight: _mse(d, c) + weight * functional.cross_entropy(s.softmax(1), y),
                "You hand over probabilities: `functional.cross_entropy` wants the scores, its softmax is inside.",
            ),
            (
                lambda d, c, s, y, weight: weight * _mse(d, c) + functional.cross_entropy(s, y),
                "The weight belongs to the cross entropy; the squared error counts once.",
            ),
            (
                lambda d, c, s, y, weight: (1 - weight) * _mse(d, c) + weight * functional.cross_entropy(s, y),
                "You split 1 between the two. Here the squared error counts once, whatever the weight.",
            ),
            (
                lambda d, c, s, y, weight: _mse(d, c) - weight * functional.cross_entropy(s, y),
                "Both are to become small: add the cross entropy.",
            ),
        ),
        "hints": (
            "Two means: one over all values of all pictures, one over pictures.",
            "(denoised - clean).square().mean() + task_weight * functional.cross_entropy(scores, labels)",
        ),
    },
    {
        "id": "6.2",
        "reference": freeze,
        "seen": _behaviour,
        "inputs": _small_classifier,
        "mistakes": (
            (
                lambda network: network.requires_grad_(False),
                "No weight learns, but batch norm goes on averaging what it sees, and dropout goes on dropping. "
                "Which switch stops both?",
            ),
            (
                lambda network: network.eval(),
                "Batch norm and dropout stand still, but the weights still ask for gradients, and an optimiser could "
                "move them.",
            ),
            (_without_gradient, BACK),
            (_evaluation_without_gradient, BACK),
            (lambda network: network, "The network is as it was: nothing is frozen yet."),
        ),
        "hints": (
            "A network has two things to fix: what training steps change, and what it does differently in training.",
            "requires_grad_(False) is one of them; eval() is the other. Both return the network.",
        ),
    },
    {
        "id": "6.3",
        "reference": lambda scores, labels, k: metrics.top_k(scores, labels, k).double().mean(),
        "inputs": _scores,
        "mistakes": (
            (
                lambda scores, labels, k: _ranked(scores, labels)[:, 0].mean(),
                "That is top-1: the true class may also be second, up to k-th.",
            ),
            (
                lambda scores, labels, k: _ranked(-scores, labels)[:, :k].sum(1).mean(),
                "Those are the k lowest scores: sort downwards.",
            ),
            (
                lambda scores, labels, k: _ranked(scores, labels)[:, k - 1].mean(),
                "You ask for the k-th place alone: every place up to the k-th will do.",
            ),
            (
                lambda scores, labels, k: _ranked(scores, labels)[:, :k].mean(),
                "You average over the k places as well. A picture counts as soon as one of its k classes is true.",
            ),
            (
                lambda scores, labels, k: _ranked(scores, labels)[:, : k - 1].sum(1).mean(),
                "You look at k - 1 places: `[:, :k]` are the first k.",
            ),
            (
                lambda scores, labels, k: _ranked(scores, labels)[:, :k].sum(),
                "That is the number of pictures; asked for is their share.",
            ),
            (
                lambda scores, labels, k: 100 * _ranked(scores, labels)[:, :k].sum(1).mean(),
                "As a share from 0 to 1, not in percent.",
            ),
        ),
        "hints": (
            "`scores.topk(k).indices` has the k highest classes of each picture, one row a picture.",
            "(best == labels[:, None]).any(1) says for which pictures the true class is among them.",
        ),
    },
    {
        "id": "6.4",
        "reference": _weight,
        "inputs": _size,
        "mistakes": (
            (lambda h, w: _weight(h, w, half=1), "That loss is *half* the sum of squares."),
            (
                lambda h, w: _weight(h, w, scale=255),
                "Errors on the scale 0 to 255 are 255 times as large, their squares 255 times 255 times.",
            ),
            (
                lambda h, w: _weight(h, w, scale=1),
                "That is the weight on the mean squared error on the scale 0 to 255. And in [0, 1]?",
            ),
            (
                lambda h, w: _weight(h, w, scale=1 / 255**2),
                "The other way round: in [0, 1] the errors are smaller, so the weight has to be larger.",
            ),
            (lambda h, w: _weight(h, w, channels=1), "Every pixel has three values: the sum is over all of them."),
            (
                lambda h, w: 5e-9 * 0.5 * 255**2,
                "A sum of squares is the mean times how many there are: 3 times h times w.",
            ),
        ),
        "hints": (
            "Write the sum of squares on the scale 0 to 255 as a factor times the mean of squares in [0, 1].",
            "sum = 3 * h * w * 255**2 * mean; then half of it, times 5e-9.",
        ),
    },
]
