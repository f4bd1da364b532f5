"""Exercises of chapter 15, a picture is a function."""

import math

import torch

from restore_lib.implicit import coordinates


def _sizes(largest):
    """Fresh sizes whose ratio is not whole, and where no large centre lies on a border between two small pixels."""

    def draw(generator):
        while True:
            small = int(torch.randint(3, largest, (), generator=generator))
            large = int(torch.randint(small + 1, 4 * small, (), generator=generator))
            if large % small and (small // math.gcd(small, large)) % 2:
                return small, large

    return draw


def _centres(n):
    return (2 * torch.arange(n).double() + 1) / n - 1


def _corner_owners(small, large):
    return torch.arange(large) * small // large


def _from(index, small, large):
    return small * (_centres(large) - _centres(small)[index])


def _exact(small, large):
    return coordinates.nearest(small, large).offset[0]


def _owners(small, large):
    return coordinates.nearest(small, large).index[0]


def _ends(small, large):
    """Places as if the first and the last centre lay at -1 and 1."""
    place = torch.linspace(-1, 1, large, dtype=torch.float64)
    middle = torch.linspace(-1, 1, small, dtype=torch.float64)
    return small * (place - middle[_end_owners(small, large)])


def _end_owners(small, large):
    return (torch.arange(large).double() * (small - 1) / (large - 1)).round().long()


def _layer(generator):
    """Seven waves for six places in the plane, with five numbers of content."""
    shapes = (6, 5), (6, 2), (7, 5), (7,), (7, 2), (7,)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)


def _parts(z, p, wm, bm, ws, bs):
    """What the two branches see before their bends."""
    return z @ wm.T + bm, p @ ws.T + bs


def _bent(combine):
    return lambda *inputs: combine(*_parts(*inputs))


def _modulated(z, p, wm, bm, ws, bs):
    m, phase = _parts(z, p, wm, bm, ws, bs)
    return torch.relu(m) * torch.sin(phase)


def _without(m_bias, s_bias):
    return lambda z, p, wm, bm, ws, bs: _modulated(z, p, wm, m_bias * bm, ws, s_bias * bs)


def _printed_owners(small, large):
    step = small / large
    return torch.tensor([int(i * step) for i in range(large)])


def _descent(generator):
    """Six speeds over three decades, a rate at which the fastest wave is safe, some steps."""
    speeds = 10 ** (-3 * torch.rand(6, generator=generator, dtype=torch.float64))
    rate = 0.1 + 0.3 * torch.rand((), generator=generator).item()
    return speeds / speeds.max(), rate, torch.randint(3, 30, (), generator=generator).item()


EXERCISES = [
    {
        "id": "15.1",
        "reference": _exact,
        "inputs": _sizes(14),
        "mistakes": (
            (
                lambda small, large: _from(_corner_owners(small, large), small, large),
                "You look for the small pixel that holds the large one's left corner. It is its *centre* that counts.",
            ),
            (_ends, "You put the first and the last centre at -1 and 1. These are the picture's edges."),
            (
                lambda small, large: _exact(small, large) / small,
                "That is the way in units of [-1, 1]. Count it in halves of a small pixel, which are 1 / small long.",
            ),
            (
                lambda small, large: _exact(small, large) / 2,
                "That is the way in whole small pixels. In halves it goes from -1 to 1.",
            ),
            (
                lambda small, large: -_exact(small, large),
                "The other way round: from the small pixel's centre to the large one's.",
            ),
            (
                lambda small, large: _exact(small, large) * large / small,
                "You count in halves of a *large* pixel. The unit is half a small one.",
            ),
            (
                lambda small, large: (_exact(small, large) + 1) / 2,
                "You begin at the small pixel's left border. The local coordinate begins at its centre.",
            ),
            (
                lambda small, large: _centres(large),
                "That is the global coordinate. Subtract the centre of the small pixel that answers, and change units.",
            ),
        ),
        "hints": (
            "The large centres; for each, the number of the small pixel that it lies in; that one's centre.",
            "Large pixel i lies in small pixel floor((i + 0.5) * small / large).",
        ),
    },
    {
        "id": "15.2",
        "reference": _modulated,
        "inputs": _layer,
        "mistakes": (
            (_bent(lambda m, s: m * torch.sin(s)), "The content's part has a ReLU, which you leave out."),
            (_bent(lambda m, s: torch.relu(m) * s), "The place's part has a sine, which you leave out."),
            (
                _bent(lambda m, s: torch.sin(m) * torch.relu(s)),
                "The bends are swapped: ReLU for the content, sine for the place.",
            ),
            (_bent(lambda m, s: torch.relu(m) + torch.sin(s)), "Content *multiplies* waves; you add it."),
            (
                _bent(lambda m, s: torch.relu(m * torch.sin(s))),
                "The ReLU is for the content alone: waves go below zero.",
            ),
            (
                _bent(lambda m, s: torch.sin(torch.relu(m) * s)),
                "That changes a wave's frequency. Content changes its height.",
            ),
            (_bent(lambda m, s: torch.relu(m) * torch.cos(s)), "That is a cosine."),
            (_without(0, 0), "The biases are missing."),
            (_without(0, 1), "The content's bias is missing."),
            (_without(1, 0), "The place's bias is missing: without it all waves cross zero in the middle."),
        ),
        "hints": (
            "Two linear layers, one on z and one on p; a bend for each; and the product, number by number.",
            "A linear layer on q inputs at once is x @ weight.T + bias.",
        ),
    },
    {
        "id": "15.3",
        "reference": _owners,
        "inputs": _sizes(40),
        "mistakes": (
            (_printed_owners, "That is the function as printed: it asks where the large pixel's left corner lies."),
            (
                lambda small, large: (torch.arange(large) * small / large).round().long().clamp(max=small - 1),
                "Rounding moves borders by half a *small* pixel; the centre is half a *large* one from the corner.",
            ),
            (
                lambda small, large: ((torch.arange(large) + 1) * small // large).clamp(max=small - 1),
                "You ask where the right corner lies. It is the centre that counts: half a large pixel less.",
            ),
            (_end_owners, "You let the first and the last centre of both grids coincide. Their *edges* coincide."),
            (
                lambda small, large: ((2 * torch.arange(large) + 1) * small // large).clamp(max=small - 1),
                "2 i + 1 is twice as far as i + 1/2: divide by 2 large.",
            ),
        ),
        "hints": (
            "Where is the centre of large pixel i, counted in large pixels from the left edge?",
            "floor((i + 1/2) * small / large), which is (2 i + 1) * small // (2 * large).",
        ),
    },
    {
        "id": "15.4",
        "reference": lambda speeds, rate, steps: (1 - 2 * rate * speeds) ** steps,
        "inputs": _descent,
        "mistakes": (
            (
                lambda speeds, rate, steps: (1 - rate * speeds) ** steps,
                "The squared error's gradient brings a factor of 2.",
            ),
            (
                lambda speeds, rate, steps: torch.exp(-2 * rate * steps * speeds),
                "That is its limit for tiny rates. One step multiplies by 1 - 2 rate v: take that to a power.",
            ),
            (
                lambda speeds, rate, steps: 1 - 2 * rate * steps * speeds,
                "Each step takes its share of what the steps before have *left*: multiply, do not add.",
            ),
            (
                lambda speeds, rate, steps: 1 - (1 - 2 * rate * speeds) ** steps,
                "That is what has been learnt. What is left?",
            ),
            (
                lambda speeds, rate, steps: (1 - 2 * rate * speeds) ** (2 * steps),
                "That is what is left of the *squared* error.",
            ),
        ),
        "hints": (
            "By what is a wave's error multiplied in one step?",
            "By 1 - 2 * rate * speed.",
        ),
    },
]
