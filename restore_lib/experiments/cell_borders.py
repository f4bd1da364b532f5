"""Whether the small picture's grid shows in the large one: jumps and errors where cells of large pixels meet.

At a whole scale s, the s x s large pixels that lie on one small pixel are its cell. A network that asks one small pixel
for each large one changes its mind where cells meet.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib import images
from restore_lib.experiments.protocols import EvaluationProtocol, Pair, from_8bit, scales, to_8bit
from restore_lib.resampling import resize_antialiased

SMALLEST = 4  # pixels of a cell that has an inside
TINY = 1e-6  # so that pictures without any jump have none at borders either


def border_jump(image: Float[Tensor, "c h w"], cell: int) -> float:
    """How much more a picture jumps where cells meet than inside cells: 1 where the grid cannot be seen.

    A jump between two neighbours is their difference, less the mean of the differences on either side of it: nothing on
    a slope, however steep. The result is the mean size of jumps across borders, divided by the mean size of those whose
    three differences all lie within one cell; along rows and columns, over all channels.

    Notes
    -----
    Photos themselves have about 1, wherever a grid is laid over them, and so have smooth pictures at large scales. At
    x4 the only neighbours inside a cell are those in its middle, where two pieces of a bicubic interpolation meet and
    their jumps cancel in part, so that it has more.

    Raises
    ------
    ValueError
        Cells smaller than 4 pixels have no inside; a picture must be at least two cells high and wide.
    """
    if cell < SMALLEST or min(image.shape[1:]) < 2 * cell:
        raise ValueError(f"cells of {cell} on {tuple(image.shape[1:])} pixels: need {SMALLEST} or more, two each way")
    borders, insides = [], []
    for along in (image.double(), image.double().transpose(1, 2)):
        step = along.diff(dim=2)  # between pixel i and i + 1
        jump = (step[..., 1:-1] - (step[..., :-2] + step[..., 2:]) / 2).abs()  # the first one is at i = 1
        phase = (torch.arange(jump.shape[2]) + 1) % cell
        borders.append(jump[..., phase == cell - 1].flatten())
        insides.append(jump[..., (phase >= 1) & (phase <= cell - 3)].flatten())
    return (float(torch.cat(borders).mean()) + TINY) / (float(torch.cat(insides).mean()) + TINY)


def border_error(sr: Float[Tensor, "c h w"], hr: Float[Tensor, "c h w"], cell: int) -> float:
    """Root mean square error of the pixels that touch a cell's border, divided by that of all others.

    Interpolation of any kind has more than 1: pixels at borders are the furthest from what was measured.
    """
    if cell < SMALLEST:
        raise ValueError(f"cells of {cell} pixels: need at least {SMALLEST}")
    squared = (sr.double() - hr.double()).square().mean(0)  # (h, w)
    touches = [(torch.arange(n) + 1) % cell <= 1 for n in squared.shape]
    border = touches[0][:, None] | touches[1]
    return ((float(squared[border].mean()) + TINY**2) / (float(squared[~border].mean()) + TINY**2)) ** 0.5


def whole_cells(item, scale: float, generator: torch.Generator) -> Pair:
    """RGB cropped to a multiple of the scale, so that cells are whole; reduced in 8 bit by Pillow's bicubic."""
    hr = to_8bit(images.modcrop(item.image, int(scale)))  # (3, H, W)
    size = (hr.shape[-2] // int(scale), hr.shape[-1] // int(scale))
    return from_8bit(resize_antialiased(hr, size)), from_8bit(hr)


def measure(sr: Float[Tensor, "3 h w"], hr: Float[Tensor, "3 h w"], scale: float) -> dict[str, float]:
    """Jumps and errors at borders, of the clipped, unrounded result."""
    sr = sr.clamp(0, 1)
    return {"border_jump": border_jump(sr, int(scale)), "border_error": border_error(sr, hr, int(scale))}


PROTOCOL = EvaluationProtocol(
    name="cell-borders",
    title="where cells of the small picture's pixels meet",
    rules={
        "high resolution": "RGB, cropped to a multiple of the scale s",
        "low resolution": "8-bit RGB; antialiased bicubic of torchvision and Pillow",
        "result": "clipped to [0, 1], not rounded",
        "jump": "difference of neighbours, less the mean of the differences on either side; mean size across borders "
        "of s × s cells, divided by the mean size within cells: 1 where the grid cannot be seen",
        "error": "root mean square error of pixels that touch a border, divided by that of the others",
    },
    conditions=scales(4, 6, 8),
    prepare=whole_cells,
    measure=measure,
)
