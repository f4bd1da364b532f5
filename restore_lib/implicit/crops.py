"""What super-resolution at any scale trains on: crops of photos, each with its own reduction, and pixels to ask for.

Crops are as large as they must be for their reductions to be equally large, whatever the scale: one batch for the
encoder. A batch is a pure function of (seed, step), as all batches of the library are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from restore_lib.data.patches import PatchStore, augment, random_words, share
from restore_lib.resampling import resize_antialiased

STREAM = 0x616E7973  # sets these random numbers apart from others that are seeded by the same (seed, step)


@dataclass(frozen=True)
class AnyScaleCrops:
    """Pairs of crops at several scales."""

    store: PatchStore  #: photos, each as likely as any other
    scales: Sequence[float]  #: DIINN's protocol: every photo gives a crop, of its own place, for each of these
    continuous: bool  #: LIIF's instead: every photo gives one crop, of a scale between the first of these and the last
    size: int  #: side of the reductions in pixels; crops have ``round(scale * size)``
    queries: int  #: pixels that are asked for in each crop, no pixel twice; 0: all of them

    def batch(self, step: int, rank: int = 0, processes: int = 1, *, photos: int, seed: int) -> tuple[Tensor, ...]:
        """This process's part of a step's batch, of so many ``photos`` in all processes together.

        First the reductions in uint8, (n, 3, size, size), scale by scale. With ``queries``: height and width of each
        crop, (n, 2); some of its pixels as ``y * width + x``, (n, queries); their levels, (n, 3, queries). Without:
        the crops, (m, 3, h, w) for each scale.
        """
        count = 1 if self.continuous else len(self.scales)
        words = random_words(STREAM, seed, step, (photos, 2 + 4 * count))[share(photos, rank, processes)]
        which = (words[:, 0] % np.uint64(len(self.store))).tolist()
        draws = words[:, 2:].reshape(-1, count, 4)
        if self.continuous:
            low, high = self.scales[0], self.scales[-1]
            groups = [
                ([photo], low + (high - low) * (int(word) / 2**64), draw)
                for photo, word, draw in zip(which, words[:, 1], draws, strict=True)
            ]
        else:
            groups = [(which, scale, draws[:, i]) for i, scale in enumerate(self.scales)]
        return self._together([self._pairs(*group) for group in groups], np.concatenate([g[2][:, 3] for g in groups]))

    def _pairs(self, which: list[int], scale: float, draws: np.ndarray) -> tuple[Tensor, Tensor]:
        """Crops of some photos at one scale, and their reductions, turned and mirrored alike."""
        side = round(scale * self.size)
        crops, sizes = [], self.store.sizes
        for photo, (down, right) in zip(which, draws[:, :2].tolist(), strict=True):
            height, width = sizes[photo]
            top, left = down % (height - side + 1), right % (width - side + 1)
            crops.append(self.store.picture(photo, slice(top, top + side), slice(left, left + side)))
        hr = torch.stack(crops)  # (m, 3, side, side)
        codes = torch.from_numpy((draws[:, 2] >> np.uint64(61)).astype(np.int64))
        return augment(resize_antialiased(hr, (self.size, self.size)), codes), augment(hr, codes)

    def _together(self, pairs: list[tuple[Tensor, Tensor]], seeds: np.ndarray) -> tuple[Tensor, ...]:
        lr, crops = torch.cat([lr for lr, _ in pairs]), [hr for _, hr in pairs]
        if not self.queries:
            return lr, *crops
        each = [crop for group in crops for crop in group]
        pixels = torch.stack(
            [chosen(crop[0].numel(), self.queries, int(seed)) for crop, seed in zip(each, seeds, strict=True)]
        )
        colours = torch.stack([crop.flatten(1)[:, asked] for crop, asked in zip(each, pixels, strict=True)])
        return lr, torch.tensor([crop.shape[1:] for crop in each]), pixels, colours


def chosen(pixels: int, count: int, seed: int) -> Int64[Tensor, " count"]:
    """Some of the numbers below ``pixels``, each set of them as likely as any other; in order."""
    if count > pixels:
        raise ValueError(f"{count} of {pixels} pixels cannot be asked for: ask for fewer, or for larger crops")
    words = np.random.PCG64(seed).random_raw(pixels)
    return torch.from_numpy(np.sort(np.argpartition(words, count - 1)[:count]))
