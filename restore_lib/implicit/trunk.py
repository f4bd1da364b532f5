"""A frozen encoder: its features of every training photo, computed once, and single pixels to ask for.

Where the encoder does not learn, a photo's features never change. They are computed once for each scale and kept in a
memory-mapped file; a training step then costs the decoder alone, and draws each pixel from any photo, scale and place.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from restore_lib import files
from restore_lib.data.patches import PatchStore, random_words, share, to_float
from restore_lib.errors import DataError
from restore_lib.fast.decoders import along
from restore_lib.implicit.anyscale import AnyScale
from restore_lib.implicit.coordinates import Axis
from restore_lib.resampling import resize_antialiased

FORMAT = "restore_lib features 1"
STREAM = 0x7472756E  # sets these random numbers apart from others that are seeded by the same (seed, step)

Place = Callable[[int, int], Axis]


class FeatureCache:
    """Features of photos at several scales, and random pixels with the features around them.

    The file at ``path``, which :meth:`build` writes, holds ``features`` in float16, pixel by pixel and row by row, with
    a border of zeros around each picture. A matrix ``mix`` (c, c) multiplies them when they are asked for.
    """

    def __init__(self, store: PatchStore, scales: Sequence[float], path: Path | str):
        self.store, self.scales, self.path = store, tuple(scales), Path(path)
        self.large = np.array(store.sizes)  # (n, 2)
        self.small = small_sizes(store, scales)  # (s, n, 2)
        counts = (self.small + 2).prod(2)  # (s, n) small pixels of a picture with its border
        self.starts = np.concatenate([[0], counts.flatten().cumsum()])  # (s n + 1,), and the end
        channels, rest = divmod(self.path.stat().st_size, 2 * int(self.starts[-1]))
        if rest or not channels:
            raise DataError(f"{path} is damaged: delete it, and the same command makes it again.")
        # Mapped for writing in memory alone: PyTorch wants no tensors that cannot be written to.
        self.features = torch.from_numpy(np.memmap(self.path, np.float16, "c").reshape(-1, channels))  # (pixels, c)
        self.mix: Tensor | None = None
        self._places: dict[Place, tuple[Axis, np.ndarray]] = {}

    @classmethod
    def build(
        cls,
        store: PatchStore,
        network: AnyScale,
        scales: Sequence[float],
        folder: Path | str | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> "FeatureCache":
        """Compute the features of every photo, made smaller by each scale, or open what an earlier call computed.

        The network's encoder makes them, on its device. The file lies in ``folder``, by default ``features`` in the
        library's cache, and holds 128 bytes for each small pixel if the encoder has 64 channels. ``progress`` is told
        (pictures done, pictures).
        """
        home = files.cache_folder() / "features" if folder is None else Path(folder)
        path = home / f"{_key(store, network.encoder, scales)}.f16"
        if not path.exists():
            sizes, device = small_sizes(store, scales), next(network.encoder.parameters()).device
            with files.atomic_write(path) as temporary, open(temporary, "wb") as stream, torch.inference_mode():
                for i, size in enumerate(sizes.reshape(-1, 2).tolist()):
                    lr = to_float(resize_antialiased(store.picture(i % len(store)), size)).to(device)
                    feature = network.encoder(network.normalise(lr[None]))  # (1, c, h, w)
                    padded = nn.functional.pad(feature, (1, 1, 1, 1))[0].permute(1, 2, 0)  # (h + 2, w + 2, c)
                    stream.write(padded.half().cpu().contiguous().numpy().tobytes())
                    if progress is not None:
                        progress(i + 1, sizes.size // 2)
        return cls(store, scales, path)

    def batch(
        self, place: Place, step: int, rank: int = 0, world: int = 1, *, queries: int, seed: int
    ) -> tuple[Float32[Tensor, "p c 3 3"], Float32[Tensor, "k q 2"], Float32[Tensor, "q 2"], UInt8[Tensor, "q 3"]]:
        """This process's part of a step's batch: every photo and scale alike, and every pixel of a photo.

        ``place`` is the decoder's rule, ``queries`` the pixels of a step in all processes together. Gives what
        ``AnyScale.colours_around`` takes, and the levels of the large pixels.
        """
        words = random_words(STREAM, seed, step, (queries, 3))[share(queries, rank, world)]
        photo = below(words[:, 0], len(self.store))
        scale = below(words[:, 1], len(self.scales))
        y, x = np.divmod(below(words[:, 2], self.large[photo].prod(1)), self.large[photo, 1])
        return (*self.around(place, photo, scale, y, x), self.store.pixels(photo, y, x))

    def around(
        self, place: Place, photo: np.ndarray, scale: np.ndarray, y: np.ndarray, x: np.ndarray
    ) -> tuple[Float32[Tensor, "p c 3 3"], Float32[Tensor, "k q 2"], Float32[Tensor, "q 2"]]:
        """What a decoder needs for q large pixels, each of a photo, a scale (both by number), a row and a column."""
        axis, starts = self._on_all_sides(place)  # (k, m), (s, n, 2)
        rows, cols = (axis.part(torch.from_numpy(starts[scale, photo, i] + n)) for i, n in enumerate((y, x)))
        size = torch.from_numpy(self.small[scale, photo])  # (q, 2)
        wide = size[:, 1] + 2
        first, away = rows.paired(cols, wide)  # (k^2, q), (k^2, q, 2)
        first = first + torch.from_numpy(self.starts[scale * len(self.store) + photo])  # upper left of the 3x3
        nine = torch.arange(3)[:, None] * wide[None, :, None, None] + torch.arange(3)  # (1, q, 3, 3)
        around = self.features[(first[..., None, None] + nine).flatten()].float()  # (9 p, c)
        if self.mix is not None:
            around = around @ self.mix.T
        around = around.view(-1, 3, 3, around.shape[1]).permute(0, 3, 1, 2)  # (p, c, 3, 3)
        return around, away.float(), (size / torch.from_numpy(self.large[photo])).float()

    def sample(self, count: int = 2**16) -> Float32[Tensor, "n c"]:
        """Some features, evenly chosen, without those of borders."""
        chosen = self.features[:: max(1, len(self.features) // count)].float()
        return chosen[chosen.abs().sum(1) > 0]

    def _on_all_sides(self, place: Place) -> tuple[Axis, np.ndarray]:
        """Places on all sides of all pictures, one after the other, and where those of each side begin."""
        if place not in self._places:
            large = np.broadcast_to(self.large, self.small.shape)
            sides = list(zip(self.small.flatten().tolist(), large.flatten().tolist(), strict=True))
            axis, starts = along(place, sides)
            self._places[place] = axis, np.array([starts[side] for side in sides]).reshape(large.shape)
        return self._places[place]


def below(words: np.ndarray, count: int | np.ndarray) -> np.ndarray:
    """Raw words as whole numbers below ``count``."""
    return (words % np.asarray(count, np.uint64)).astype(np.int64)


def small_sizes(store: PatchStore, scales: Sequence[float]) -> np.ndarray:
    """Height and width of every photo at every scale, (scales, photos, 2)."""
    return np.array([[[round(n / scale) for n in size] for size in store.sizes] for scale in scales])


def _key(store: PatchStore, encoder: nn.Module, scales: Sequence[float]) -> str:
    """A name for features of these photos by these weights."""
    digest = hashlib.sha256(f"{FORMAT} {store.sources} {store.min_size} {list(map(float, scales))}\n".encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}\n".encode() + value.cpu().float().numpy().tobytes())
    return digest.hexdigest()[:32]
