"""What to make of several estimated kernels, without knowing the true one.

Their average: the error of a mean is at most the mean of the errors. Or a choice: a quarter of the photo is kept from
training; reduced with the right kernel it looks as sharp as the photo itself, in every direction, which is compared by
spectra.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib.errors import ImageError
from restore_lib.realsr.kernel_crops import GREY, Box, crop_chances
from restore_lib.realsr.kernelgan import CROP
from restore_lib.realsr.kernels import lay
from restore_lib.resampling import downscale

WINDOW = 32  # side of the windows whose spectra are compared


@dataclass(frozen=True)
class Candidate:
    """A kernel that could be chosen.

    Attributes
    ----------
    kernel : Tensor
        Aligned for a reduction by 2.
    score : float
        Distance between the held-out photo's details and those of its reduction; the smallest wins.
    sound : bool
        Whether the estimation's own diagnostics found nothing wrong.
    """

    kernel: Float[Tensor, "kh kw"] = field(repr=False)
    score: float
    sound: bool


def hold_out(image: Float[Tensor, "3 h w"]) -> list[Box]:
    """A strip at one end of the longer side, a quarter of it or 66 pixels, that training must not see.

    The end with more edges, as long as the rest keeps half of them.
    """
    height, width = image.shape[-2:]
    longer = max(height, width)
    strip = max(longer // 4, CROP + 2)
    if longer - strip < CROP + 4:
        raise ImageError(
            f"{width} x {height} pixels are too few to keep some from training: give a larger photo or one restart."
        )
    chances = crop_chances(image)[1]
    along = chances.sum(0) if width >= height else chances.sum(1)  # (longer,)
    ends = [(float(along[:strip].sum()), 0), (float(along[-strip:].sum()), longer - strip)]
    allowed = [end for end in ends if end[0] <= 0.5] or [min(ends)]
    start = max(allowed)[1]
    return [(0, start, height, start + strip) if width >= height else (start, 0, start + strip, width)]


def choose(
    image: Float[Tensor, "3 h w"],
    kernels: Sequence[Float[Tensor, "_ _"]],
    sound: Sequence[bool],
    held: Sequence[Box],
) -> tuple[list[Candidate], int]:
    """Score every kernel and the average of the sound ones on what was held back.

    Parameters
    ----------
    image : Tensor
        In [0, 1], as large as the boxes count.
    kernels : sequence of Tensor
        Aligned for a reduction by 2.
    sound : sequence of bool
        Whether each may be chosen and averaged; if none is, all may.
    held : sequence of (top, left, bottom, right)
        Parts of the image that training did not see.

    Returns
    -------
    candidates : list of Candidate
        One for each kernel and, of two or more, their average last.
    chosen : int
        The sound one with the smallest score.
    """
    sound = list(sound) if any(sound) else [True] * len(kernels)
    kernels = [*kernels]
    averaged = [kernel for kernel, good in zip(kernels, sound, strict=True) if good]
    if len(averaged) > 1:
        kernels, sound = [*kernels, average(averaged)], [*sound, True]
    candidates = [
        Candidate(kernel, dissimilarity(image, kernel, held), good) for kernel, good in zip(kernels, sound, strict=True)
    ]
    return candidates, min((i for i, c in enumerate(candidates) if c.sound), key=lambda i: candidates[i].score)


def average(kernels: Sequence[Float[Tensor, "_ _"]]) -> Float[Tensor, "kh kw"]:
    """Mean of aligned kernels, laid on the cell ``(k - 1) // 2`` that a reduction counts from.

    As the error of a mean is at most the mean of the errors, it spares the worst of single runs.
    """
    before = [max((k.shape[i] - 1) // 2 for k in kernels) for i in (0, 1)]
    after = [max(k.shape[i] // 2 for k in kernels) for i in (0, 1)]
    return torch.stack([lay(k, before, after) for k in kernels]).mean(0)


def dissimilarity(image: Float[Tensor, "3 h w"], kernel: Float[Tensor, "kh kw"], held: Sequence[Box]) -> float:
    """How unlike the photo its reduction with a kernel is, in the parts ``held``.

    Both power spectra are averaged over overlapping windows of 32 pixels, and the absolute difference of their
    logarithms over all frequencies but the lowest. Photos are alike at every scale, so the right kernel makes the
    spectra alike; a narrow one leaves too much at high frequencies, a wide one too little, in each direction.
    """
    grey = (image * image.new_tensor(GREY)[:, None, None]).sum(0)  # (h, w)
    differences = []
    for top, left, bottom, right in held:
        part = grey[top:bottom, left:right]
        reach = kernel.shape[-1] // 2  # what the mirrored border would reach
        small = downscale(part, kernel.to(part), 2, align=False)[reach // 2 : -(reach // 2), reach // 2 : -(reach // 2)]
        if min(small.shape) < WINDOW:  # a narrow strip: the border is better than nothing
            small = downscale(part, kernel.to(part), 2, align=False)
        differences.append((spectrum(part) / spectrum(small)).log().abs())
    frequency = torch.hypot(torch.fft.fftfreq(WINDOW)[:, None], torch.fft.rfftfreq(WINDOW)[None])
    counted = (frequency >= 2 / WINDOW) & (frequency <= 0.5)  # the lowest are the window's own, the corners few
    return float(torch.stack(differences).mean(0)[counted].mean())


def spectrum(grey: Float[Tensor, "h w"]) -> Float[Tensor, "n m"]:
    """Mean power spectrum of windows of 32 x 32 pixels under a bell, each without its mean."""
    step = 4 if min(grey.shape) < 8 * WINDOW else 8
    tiles = grey.unfold(0, WINDOW, step).unfold(1, WINDOW, step).reshape(-1, WINDOW, WINDOW)
    bell = torch.hann_window(WINDOW, periodic=False, dtype=grey.dtype)
    tiles = (tiles - tiles.mean((1, 2), keepdim=True)) * torch.outer(bell, bell)
    return torch.fft.rfft2(tiles).abs().square().mean(0).clamp(min=1e-9)
