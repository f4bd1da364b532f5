"""Labelled scenes: objects cut from one photograph's texture lie on a texture of another.

For chapters in which a network looks at a denoised picture: every scene comes with a label for classification and a
mask for segmentation, both exact because the library drew the scene. Textures come from photographs that ship inside
scikit-image and scikit-learn, so nothing is downloaded. A scene has

- a background texture that fills the picture, so that every pixel belongs to one of ``CLASSES`` and there is no
  separate background class;
- one to three objects (discs, polygons, smooth blobs), all of different classes: up to two small ones near the border
  and, on top, one at the centre, whose class is the scene's label.

Textures are turned, mirrored and scaled. Each region has a random mean colour, tint and contrast, so that structure
and not colour tells the classes apart. Train and test scenes take their textures from disjoint rectangles of the
photographs.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from restore_lib.data import opening
from restore_lib.resampling import resize_antialiased


@dataclass(frozen=True)
class Texture:
    """Where a class comes from.

    Attributes
    ----------
    photo, group : str
        Name of a picture of the set ``embedded``, and the split of that set which holds it.
    train, test : tuple of int
        Disjoint rectangles of the photograph in pixels: top, left, bottom, right.
    step : float
        Pixels of the photograph from one pixel of a 64 by 64 scene to the next, before the random scaling.
    """

    photo: str
    group: str
    train: tuple[int, int, int, int]
    test: tuple[int, int, int, int]
    step: float


TEXTURES = {
    "brick": Texture("brick", "grey", (0, 0, 512, 240), (0, 272, 512, 512), 2.4),
    "coins": Texture("coins", "grey", (8, 16, 150, 366), (160, 16, 298, 366), 1.8),
    "fur": Texture("chelsea", "photos", (0, 167, 85, 262), (8, 78, 84, 155), 0.7),
    "galaxies": Texture("hubble_deep_field", "science", (0, 0, 872, 480), (0, 520, 872, 1000), 2.0),
    "grass": Texture("grass", "grey", (0, 0, 512, 240), (0, 272, 512, 512), 1.5),
    "gravel": Texture("gravel", "grey", (0, 0, 512, 240), (0, 272, 512, 512), 1.8),
    "lattice": Texture("rocket", "photos", (5, 30, 300, 86), (5, 570, 330, 638), 1.5),
    "pagoda": Texture("china", "photos", (85, 115, 235, 300), (250, 95, 345, 325), 1.5),
    "petals": Texture("flower", "photos", (115, 200, 335, 295), (115, 315, 335, 415), 1.6),
    "tissue": Texture("ihc", "science", (5, 5, 230, 260), (300, 45, 512, 130), 1.7),
    "vessels": Texture("retina", "science", (180, 340, 560, 1150), (770, 340, 1230, 1150), 4.5),
    "wood": Texture("coffee", "photos", (118, 0, 252, 72), (268, 0, 398, 78), 0.9),
}
"""Source of every class, in the order of ``CLASSES``.

:meta hide-value:
"""

CLASSES: tuple[str, ...] = tuple(TEXTURES)
"""Name of each class; masks and labels hold positions in this tuple."""

SPLITS = ("train", "test")


class Scene(NamedTuple):
    """A picture with its classes.

    Attributes
    ----------
    image : Float[Tensor, "3 h w"]
        RGB in [0, 1], float32.
    mask : Int64[Tensor, "h w"]
        Class of the region that covers the pixel's centre, a position in ``CLASSES``.
    label : int
        Class of the central object: always ``mask[h // 2, w // 2]``, and the class of more than half of the pixels in
        the middle quarter of the picture (its rows and columns from ``size // 4`` to ``size - size // 4``).
    """

    image: Float[Tensor, "3 h w"]
    mask: Int64[Tensor, "h w"]
    label: int


def scene(index: Integral, *, split: str = "train", size: Integral = 64, seed: Integral = 0) -> Scene:
    """Draw scene number ``index``: the same arguments give the same scene.

    Parameters
    ----------
    index : int
        Which scene, from 0 on without end. The labels of scenes ``12 * k`` to ``12 * k + 11`` are the twelve classes in
        random order, so that any such stretch is balanced.
    split : {"train", "test"}
        Which rectangles of the photographs the textures come from. Scenes of the two splits share no pixel of a source.
    size : int
        Height and width in pixels, at least 16. The layout does not depend on it; textures show more of the photograph
        in a larger scene, in proportion to the square root of ``size``, to stay sharp.
    seed : int
        Another seed gives another endless sequence of scenes.

    Returns
    -------
    Scene
        ``image`` (3, size, size) float32 in [0, 1], ``mask`` (size, size) int64, ``label`` int.

    Raises
    ------
    ValueError
        An argument is out of its range.
    DataError
        An installed package lacks one of its photographs.
    """
    _check(index, split, size, seed)
    index, size, seed, part = int(index), int(size), int(seed), SPLITS.index(split)
    rng = np.random.default_rng([seed, part, index, 0])
    label = _label(index, part, seed)
    others = rng.permutation([k for k in range(len(CLASSES)) if k != label])[: rng.integers(1, 4)]
    classes = [int(k) for k in [*others, label]]  # from bottom to top: background, small objects, central object
    layers = [_Layer(rng, k, i == 0, i == len(classes) - 1) for i, k in enumerate(classes)]

    grids = _grids(layers, split, size)  # (layers, h, w, 2)
    regions = [_paint(layer, _texture(layer, grid, split, size)) for layer, grid in zip(layers, grids, strict=True)]
    image, mask = regions[0], torch.full((size, size), classes[0])  # (3, h, w), (h, w)
    for layer, region in zip(layers[1:], regions[1:], strict=True):
        inside = _inside(layer.shape, size)  # (h, w)
        # A straight edge at distance d from a pixel's centre leaves about 1/2 + d of the pixel covered.
        image = image.lerp(region, (inside + 0.5).clamp(0, 1).float())
        mask[inside > 0] = layer.label
    return Scene((image * _lighting(rng, size)).clamp(0, 1), mask, label)


def batch(
    indices: Iterable[Integral], *, split: str = "train", size: Integral = 64, seed: Integral = 0
) -> tuple[Float[Tensor, "n 3 h w"], Int64[Tensor, "n h w"], Int64[Tensor, "n"]]:
    """Draw several scenes, as :func:`scene` draws each of them.

    Parameters
    ----------
    indices : iterable of int
        Numbers of the scenes, for instance ``range(12)``; at least one.
    split, size, seed
        As in :func:`scene`.

    Returns
    -------
    images, masks, labels : Tensor
        (n, 3, size, size) float32 in [0, 1]; (n, size, size) int64; (n,) int64.

    Raises
    ------
    ValueError, DataError
        As :func:`scene`, and if there are no indices.
    """
    found = [scene(index, split=split, size=size, seed=seed) for index in indices]
    if not found:
        raise ValueError("a batch needs the index of at least one scene")
    images, masks, labels = zip(*found, strict=True)
    return torch.stack(images), torch.stack(masks), torch.tensor(labels)


class _Layer:
    """Random choices for one region; lengths are fractions of the scene's side, so that they fit any size."""

    def __init__(self, rng: np.random.Generator, label: int, background: bool, central: bool):
        self.label = label
        if background:
            self.centre, self.radius = (0.5, 0.5), 0.5
        elif central:
            self.centre, self.radius = tuple(0.5 + rng.uniform(-0.06, 0.06, 2)), rng.uniform(0.26, 0.36)
        else:
            angle, distance = rng.uniform(0, 2 * math.pi), rng.uniform(0.38, 0.52)
            self.centre = 0.5 + distance * math.cos(angle), 0.5 + distance * math.sin(angle)
            self.radius = rng.uniform(0.12, 0.2)
        self.shape = None if background else _Shape(rng, self.centre, self.radius)
        self.zoom = 2 ** rng.uniform(-0.4, 0.4)
        self.angle = rng.uniform(0, 2 * math.pi)
        self.mirror = rng.choice([-1, 1])
        self.place = rng.uniform(0, 1, 2)  # of the window in the rectangle
        self.mean = rng.uniform(0.3, 0.7, 3)
        self.tint = rng.uniform(0.1, 0.2) * rng.uniform(0.75, 1.25, 3)
        self.saturation = rng.uniform(0, 1)

    def step(self, size: int) -> float:
        """How many pixels of the photograph lie from one pixel of the scene to the next."""
        return TEXTURES[CLASSES[self.label]].step * self.zoom * math.sqrt(64 / size)


class _Shape:
    """Outline of an object: a disc, a polygon of three to six sides or a blob, all of about the same area."""

    def __init__(self, rng: np.random.Generator, centre: tuple[float, float], radius: float):
        self.centre, self.kind = centre, rng.choice(["disc", "polygon", "blob"])
        turn = rng.uniform(0, 2 * math.pi)
        if self.kind == "polygon":
            n = rng.integers(3, 7)
            angles = turn + 2 * math.pi * (np.arange(n) + rng.uniform(-0.08, 0.08, n)) / n
            self.normals = np.stack([np.cos(angles), np.sin(angles)])  # (2, n)
            # A regular polygon has n tan(pi / n) times the area of the square over its apothem.
            apothem = radius * math.sqrt(math.pi / (n * math.tan(math.pi / n)))
            self.apothems = apothem * rng.uniform(0.92, 1.08, n)
        else:
            self.radius = radius
            bumps = rng.uniform(0, [0.14, 0.08, 0.05]) * (self.kind == "blob")
            self.waves = bumps * np.exp(1j * rng.uniform(0, 2 * math.pi, 3))  # of 2, 3 and 4 periods around


def _label(index: int, part: int, seed: int) -> int:
    """Class of the central object: a random order of all classes for each stretch of ``len(CLASSES)`` indices."""
    stretch, position = divmod(index, len(CLASSES))
    return int(np.random.default_rng([seed, part, stretch, 1]).permutation(len(CLASSES))[position])


def _inside(shape: _Shape, size: int) -> Float64[Tensor, "h w"]:
    """Distance in pixels from each pixel's centre to the outline, to first order; positive inside."""
    line = (np.arange(size) + 0.5) / size
    x, y = line[None, :] - shape.centre[0], line[:, None] - shape.centre[1]
    if shape.kind == "polygon":
        sides = zip(shape.apothems, *shape.normals, strict=True)
        distance = np.minimum.reduce([apothem - nx * x - ny * y for apothem, nx, ny in sides])
    else:
        z = x + 1j * y
        rho = np.abs(z)
        unit = z / np.maximum(rho, 1e-9)
        wave = unit * unit * (shape.waves[0] + unit * (shape.waves[1] + unit * shape.waves[2]))
        slope = unit * unit * (2 * shape.waves[0] + unit * (3 * shape.waves[1] + unit * 4 * shape.waves[2]))
        # r(angle) = R (1 + Re wave): the gradient of r - rho has length sqrt(1 + (r' / r)^2) on the outline.
        reach = 1 + wave.real
        distance = (shape.radius * reach - rho) / np.sqrt(1 + (slope.imag / reach) ** 2)
    return torch.from_numpy(distance * size)


def _grids(layers: list[_Layer], split: str, size: int) -> Float[Tensor, "n h w 2"]:
    """Where each layer's pixels lie in its rectangle, as ``grid_sample`` counts: -1 and 1 are the outer edges."""
    maps = []
    for layer in layers:
        top, left, bottom, right = getattr(TEXTURES[CLASSES[layer.label]], split)
        sides = np.array([right - left, bottom - top])
        cos, sin = math.cos(layer.angle), math.sin(layer.angle)
        turn = layer.step(size) * size * np.array([[cos, -sin], [sin, cos]]) * [layer.mirror, 1]  # scene to pixels
        half = np.minimum(layer.radius * np.abs(turn).sum(1), sides / 2)
        aim = half + layer.place * (sides - 2 * half)  # keeps the window inside the rectangle if it fits
        linear = turn / sides[:, None]  # affine_grid spans [-1, 1] across the scene, grid_sample across the rectangle
        shift = 2 * (aim + turn @ (0.5 - np.array(layer.centre))) / sides - 1
        maps.append(np.column_stack([linear, shift]))
    theta = torch.tensor(np.array(maps), dtype=torch.float32)  # (n, 2, 3)
    return F.affine_grid(theta, [len(layers), 1, size, size], align_corners=False)


def _texture(layer: _Layer, grid: Float[Tensor, "h w 2"], split: str, size: int) -> Float[Tensor, "3 h w"]:
    """Sample the rectangle, mirrored beyond its edges, from a copy small enough that no detail can alias."""
    level = max(0, math.ceil(2 * math.log2(layer.step(size))))
    source = _reduced(CLASSES[layer.label], split, level)
    return F.grid_sample(source[None], grid[None], padding_mode="reflection", align_corners=False)[0]


def _paint(layer: _Layer, texture: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """Give a texture of mean 0 and deviation 1 the layer's mean colour, tint and contrast."""
    mean, tint = torch.tensor(np.stack([layer.mean, layer.tint]), dtype=torch.float32)[..., None, None]  # (3, 1, 1)
    grey = texture.mean(0, keepdim=True)
    return mean + tint * torch.lerp(grey, texture, layer.saturation)


def _lighting(rng: np.random.Generator, size: int) -> Float[Tensor, "h w"]:
    """Light that falls off linearly across the scene, 1 at its centre."""
    strength, angle = rng.uniform(0, 0.25), rng.uniform(0, 2 * math.pi)
    line = (torch.arange(size) + 0.5) / size * 2 - 1
    return 1 + strength * (math.cos(angle) * line + math.sin(angle) * line[:, None])


@cache
def _rectangle(name: str, split: str) -> Float[Tensor, "3 h w"]:
    """A class's rectangle of its photograph, channels of mean 0, grey deviation 1, outliers bent to below 3."""
    source = TEXTURES[name]
    top, left, bottom, right = getattr(source, split)
    photo = opening.open("embedded", source.group)[source.photo].image  # (3, H, W)
    found = photo[:, top:bottom, left:right]
    found = (found - found.mean((1, 2), keepdim=True)) / found.mean(0).std()
    return 3 * torch.tanh(found / 3)


@cache
def _reduced(name: str, split: str, level: int) -> Float[Tensor, "3 h w"]:
    """The rectangle reduced by ``2 ** (level / 2)``, filtered before, and brought back to mean 0 and deviation 1.

    Reduced from the rectangle alone, so that no pixel beside it seeps in. Contrast is restored at every level because
    textures lose different amounts; but at most fourfold, or what the filter rightly removed would come back.
    """
    full = _rectangle(name, split)
    sides = [max(4, round(n / 2 ** (level / 2))) for n in full.shape[1:]]
    found = resize_antialiased(full, sides) if level else full
    return (found - found.mean((1, 2), keepdim=True)) / max(float(found.mean(0).std()), 0.25)


def _check(index: Integral, split: str, size: Integral, seed: Integral) -> None:
    if split not in SPLITS:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    for name, value, least in (("index", index, 0), ("size", size, 16), ("seed", seed, 0)):
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value}")
