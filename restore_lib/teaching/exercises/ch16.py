"""Exercises of chapter 16, two branches that talk."""

from typing import cast

import torch

from restore_lib.implicit import DIINNDecoder
from restore_lib.implicit.diinn import Variant


def _layer(generator):
    """A layer on 4 channels of synthesis and 6 of content, and the content of five small pixels."""
    shapes = (7, 10), (7,), (5, 6)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)


def _split(weight, bias, z):
    channels = weight.shape[1] - z.shape[1]
    return z @ weight[:, channels:].T + bias, weight[:, :channels]


def _applied(returned, weight, bias, z):
    """Answers for large pixels, some of which share a small one; each small one is asked."""
    table, rest = returned
    s = torch.randn(12, weight.shape[1] - z.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    owner = torch.arange(12) % len(z)
    return s @ rest.T + table[owner]


def _content_first(weight, bias, z):
    return z @ weight[:, : z.shape[1]].T + bias, weight[:, z.shape[1] :]


def _changed(change):
    """The right table and weight, changed."""
    return lambda weight, bias, z: change(*_split(weight, bias, z), bias)


def _corners(generator):
    """Ways from the four small pixels around eight places, in halves of a small pixel."""
    below, right = 0.1 + 1.8 * torch.rand(2, 8, generator=generator, dtype=torch.float64)
    return (torch.stack([torch.stack([below - y, right - x], 1) for y in (0, 2) for x in (0, 2)]),)


def _area(offset):
    return offset.prod(2).abs()


def _shares(offset):
    return _area(offset).flip(0) / _area(offset).sum(0)


def _by_distance(offset):
    near = 1 / offset.norm(dim=2)
    return near / near.sum(0)


def _nearest(offset):
    return torch.nn.functional.one_hot(offset.norm(dim=2).argmin(0), 4).T.double()


def _made(channels, width, layers):
    """Counted in networks that are really built, without their memory."""
    with torch.device("meta"):
        decoders = [DIINNDecoder(channels, cast(Variant, variant), width=width, layers=layers) for variant in "abcdef"]
    return [sum(x.numel() for x in decoder.parameters()) for decoder in decoders]


def _few(generator):
    return tuple(int(torch.randint(low, high, (), generator=generator)) for low, high in ((3, 40), (8, 90), (3, 7)))


def _counted(channels, width, layers, *, unfold=9, bias=1, last=True, joined=True, replaces=True, positional=True):
    """By hand; each option set otherwise is a slip."""
    content, counts = unfold * channels, []
    for variant in "abcdef":
        front = variant in "ace" and positional
        place = content if front and replaces else 3
        heard = width if variant in "ab" or not joined else width + content
        count = 3 * content + bias * content if front else 0
        count += (content + bias + place + bias) * width
        count += (layers - 1) * (heard + bias + width + bias) * width
        counts.append(count + (3 * (width + bias) if last else 0))
    return counts


def _slip(**options):
    return lambda *sizes: _counted(*sizes, **options)


def _one_layer_more(channels, width, layers):
    return _counted(channels, width, layers + 1)


def _sizes(generator):
    content, width, layers = _few(generator)
    return 9 * content, width, layers, 1.5 + 4 * torch.rand((), generator=generator).item()


def _cost(content, width, layers, scale, *, power=2, branches=2, ends=6):
    tables = layers * content * width
    rest = branches * (layers - 1) * width**2 + ends * width
    return torch.tensor([rest + tables, rest + tables / scale**power], dtype=torch.float64)


def _counting(**options):
    return lambda *sizes: _cost(*sizes, **options)


def _first_layer_only(content, width, layers, scale):
    plain = _cost(content, width, layers, scale)[0]
    return torch.stack([plain, plain - content * width * (1 - 1 / scale**2)])


def _all_shrunk(content, width, layers, scale):
    plain = _cost(content, width, layers, scale)[0]
    return torch.stack([plain, plain / scale**2])


def _content_free(content, width, layers, scale):
    plain = _cost(content, width, layers, scale)[0]
    return torch.stack([plain, plain - layers * content * width])


EXERCISES = [
    {
        "id": "16.1",
        "reference": _split,
        "seen": _applied,
        "inputs": _layer,
        "mistakes": (
            (_content_first, "You take the content's columns first. In [s; z] the synthesis comes first."),
            (_changed(lambda table, rest, bias: (table - bias, rest)), "The bias is missing."),
            (
                _changed(lambda table, rest, bias: (table + bias, rest)),
                "The bias is in it twice.",
            ),
            (
                _changed(lambda table, rest, bias: (torch.relu(table), rest)),
                "The ReLU comes after the *sum*: the table has to keep what is below zero.",
            ),
            (
                _changed(lambda table, rest, bias: (table.mean(0, keepdim=True).expand_as(table), rest)),
                "Each small pixel has a row of its own.",
            ),
            (
                _changed(lambda table, rest, bias: (table, torch.zeros_like(rest))),
                "The columns of the synthesis are to be returned as they are.",
            ),
        ),
        "hints": (
            "Which columns of `weight` meet s, and which meet z?",
            "The last z.shape[1] columns belong to the content: z @ weight[:, k:].T + bias, and weight[:, :k].",
        ),
    },
    {
        "id": "16.2",
        "reference": _shares,
        "inputs": _corners,
        "mistakes": (
            (
                lambda offset: _area(offset) / _area(offset).sum(0),
                "So the *furthest* has most to say. A small pixel's share is the area on the opposite side.",
            ),
            (
                lambda offset: _area(offset)[[1, 0, 3, 2]] / _area(offset).sum(0),
                "You swap left and right only. Opposite means diagonally: swap above and below as well.",
            ),
            (
                lambda offset: _area(offset)[[2, 3, 0, 1]] / _area(offset).sum(0),
                "You swap above and below only. Opposite means diagonally: swap left and right as well.",
            ),
            (lambda offset: _area(offset).flip(0), "These are areas. Shares add up to one."),
            (
                lambda offset: offset.prod(2).flip(0) / offset.prod(2).sum(0),
                "Areas are never negative: take the absolute value.",
            ),
            (_by_distance, "That weighs by distance. LIIF weighs by areas, so that a share can become exactly zero."),
            (_nearest, "That is the nearest one alone: what the ensemble is there to avoid."),
            (
                lambda offset: _area(offset).flip(0).softmax(0),
                "No softmax: areas are divided by their sum.",
            ),
            (
                lambda offset: torch.full(offset.shape[:2], 0.25, dtype=offset.dtype),
                "A quarter each does not depend on the place.",
            ),
        ),
        "hints": (
            "An area for each small pixel: |down * across|. Then the order, then the sum.",
            "area = offset.prod(2).abs(); number t is opposite to number 3 - t, so flip the first axis.",
        ),
    },
    {
        "id": "16.3",
        "reference": _made,
        "inputs": _few,
        "tolerance": 1e-9,
        "mistakes": (
            (_slip(bias=0), "The biases are missing: a layer has (inputs + 1) x outputs parameters."),
            (_slip(unfold=1), "Content is unfolded: 9 times as many numbers as channels."),
            (_slip(last=False), "The last layer is missing, from the synthesis to three colours."),
            (
                _slip(joined=False),
                "From (c) on the modulation branch hears the content in every layer: more inputs, more weights.",
            ),
            (
                _slip(replaces=False),
                "In (a), (c) and (e) p' replaces p: the synthesis branch begins with as many channels as the content.",
            ),
            (
                _slip(positional=False),
                "In (a), (c) and (e) the positional layer is missing, and the longer p' that it makes.",
            ),
            (_one_layer_more, "One layer too many: the first of each branch is one of the `layers`."),
            (
                lambda *sizes: [2 * n - 3 * (sizes[1] + 1) for n in _counted(*sizes)],
                "You count both branches twice.",
            ),
        ),
        "hints": (
            "Layer by layer: how many numbers go in, how many come out?",
            "Modulation: content, then width (a, b) or width + content. Synthesis: 3 or content, then width.",
        ),
    },
    {
        "id": "16.4",
        "reference": _cost,
        "inputs": _sizes,
        "tolerance": 1e-9,
        "mistakes": (
            (_counting(power=1), "At scale s there are s^2 large pixels for a small one."),
            (_counting(power=-2), "There are *fewer* small pixels than large ones: divide by scale^2."),
            (_counting(branches=1), "Both branches have a product with s in every layer but the first."),
            (_counting(ends=3), "Two small layers: from p to the width, and from the width to three colours."),
            (_counting(ends=0), "The first synthesis layer and the last layer are missing."),
            (
                _first_layer_only,
                "That saves the first layer's product. The content comes back in every modulation layer.",
            ),
            (_all_shrunk, "Only products with the *content* are made once for each small pixel."),
            (_content_free, "The tables are not free: each small pixel pays for them once."),
            (
                lambda *sizes: _cost(*sizes).flip(0),
                "The other way round: the plain way first.",
            ),
        ),
        "hints": (
            "Which products have the content in them? How many small pixels are there for a large one?",
            "layers * content * width is made for a small pixel; 2 (layers - 1) width^2 + 6 width for a large one.",
        ),
    },
]
