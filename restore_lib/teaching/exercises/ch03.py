"""Exercises of chapter 3, training, reproducibly."""

import math

import torch


def _adam_inputs(generator):
    w, g, m, v = torch.randn(4, 7, generator=generator).unbind()
    return w, g, m, v.square(), int(torch.randint(2, 20, (), generator=generator)), 1e-2


def _adam(w, g, m, v, t, learning_rate, *, correct=True, root=True, first=0.9, second=0.999):
    m, v = first * m + (1 - first) * g, second * v + (1 - second) * g**2
    if correct:
        m, v = m / (1 - first**t), v / (1 - second**t)
    return w - learning_rate * m / ((v.sqrt() if root else v) + 1e-8)


def _weights(generator):
    return torch.randn(int(torch.randint(5, 12, (), generator=generator)), 3, generator=generator), 0.8


def _average(weights, decay):
    mean = weights[0]
    for w in weights[1:]:
        mean = decay * mean + (1 - decay) * w
    return mean


def _average_swapped(weights, decay):
    return _average(weights, 1 - decay)


def _shares(generator):
    counts = torch.randint(1, 9, (3,), generator=generator)
    return torch.randn(3, 5, generator=generator), counts + torch.tensor([0, 1, 2]) * (len(set(counts.tolist())) == 1)


def _schedule(generator):
    steps, warmup = int(torch.randint(50, 200, (), generator=generator)), 10
    return torch.arange(steps + 1), steps, warmup


def _warm_cosine(t, steps, warmup):
    return torch.minimum((t + 1) / warmup, 0.5 * (1 + torch.cos(math.pi * t / steps)))


EXERCISES = [
    {
        "id": "3.1",
        "reference": _adam,
        "inputs": _adam_inputs,
        "mistakes": (
            (
                lambda *a: _adam(*a, correct=False),
                "You left out the correction: m and v start at zero and are too small in early steps.",
            ),
            (lambda *a: _adam(*a, root=False), "Divide by the root of v, not by v."),
            (
                lambda w, g, m, v, t, rate: _adam(w, -g, -m, v, t, rate),
                "Upwards: the step goes against the gradient.",
            ),
            (
                lambda w, g, m, v, t, rate: _adam(w, g, m, v, t - 1, rate),
                "The first step has t = 1: the powers are one too small.",
            ),
        ),
        "hints": (
            "Two running means, of g and of its square; each divided by 1 minus its factor to the power t.",
            "w - learning_rate * m_hat / (v_hat.sqrt() + 1e-8)",
        ),
    },
    {
        "id": "3.2",
        "reference": _average,
        "inputs": _weights,
        "mistakes": (
            (_average_swapped, "The other way round: the old average keeps `decay`, the new weights get the rest."),
            (lambda weights, decay: weights.mean(0), "All weights count the same here; older ones should fade."),
            (
                lambda weights, decay: _average(torch.cat([torch.zeros_like(weights[:1]), weights]), decay),
                "You begin with zero. Begin with the first weights.",
            ),
        ),
        "hints": ("Begin with weights[0]; each later one moves the average by 1 - decay of the way.",),
    },
    {
        "id": "3.3",
        "reference": lambda gradients, counts: (gradients * counts[:, None]).sum(0) / counts.sum(),
        "inputs": _shares,
        "mistakes": (
            (
                lambda gradients, counts: gradients.mean(0),
                "Right only when every process has the same number of images. Weigh by the numbers.",
            ),
            (lambda gradients, counts: gradients.sum(0), "A sum grows with the number of processes: average."),
            (
                lambda gradients, counts: (gradients * counts[:, None]).mean(0),
                "Divide by the number of all images, not by the number of processes.",
            ),
        ),
        "hints": ("The loss of the whole batch is a mean over all images; its gradient is, too.",),
    },
    {
        "id": "3.4",
        "reference": _warm_cosine,
        "inputs": _schedule,
        "mistakes": (
            (
                lambda t, steps, warmup: 0.5 * (1 + torch.cos(math.pi * t / steps)),
                "The warm-up is missing: early steps are limited to (t + 1) / warmup.",
            ),
            (
                lambda t, steps, warmup: torch.minimum(t / warmup, 0.5 * (1 + torch.cos(math.pi * t / steps))),
                "The first step would have a learning rate of zero and be wasted: (t + 1) / warmup.",
            ),
            (
                lambda t, steps, warmup: torch.minimum(
                    (t + 1) / warmup, 0.5 * (1 + torch.cos(2 * math.pi * t / steps))
                ),
                "That is a whole cosine, which comes up again at the end. Half of one goes down once.",
            ),
        ),
        "hints": ("The smaller one of a rising line and a falling half cosine: torch.minimum.",),
    },
]
