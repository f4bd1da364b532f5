"""Pairs in training: shares of processes, levels of 8 bits, the loop that goes on, kernels that would move images."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from restore_lib import images, noise
from restore_lib.compat import import_torchvision
from restore_lib.nets.edsr import EDSR
from restore_lib.realsr.degradation import (
    TRACK1,
    TRACK2,
    Degradation,
    Pair,
    PairedData,
    Track,
    algorithm_1,
    clean_up,
    cut_off,
    off_centre,
    read_pairs,
    write_pairs,
)
from restore_lib.realsr.kernels import analytic_x4, gaussian_kernel, random_kernel
from restore_lib.realsr.noise_pool import NoisePool
from restore_lib.resampling import align_kernel, downscale, imresize
from restore_lib.training import Task, fit
from restore_lib.training.recipes import Recipe


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(generator: torch.Generator) -> PairedData:
    """Three smooth photos, each with an LR image of noise alone, and a small pool."""
    pairs = []
    for i, (height, width) in enumerate(((10, 14), (16, 9), (12, 12))):
        hr = imresize(torch.rand(3, height, width, generator=generator), scale=4).clamp(0, 1)
        pairs.append(Pair(f"photo{i}", hr, imresize(hr, scale=0.25).clamp(0, 1)))
    patches = [0.5 + 0.02 * torch.randn(3, 12, 12, generator=generator) for _ in range(4)]
    return PairedData(pairs, NoisePool(patches, ["p"] * 4))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_batch_of_one(world, rng):
    made = data(rng)
    whole = made.crops(7, batch=12, size=24, seed=3)
    shares = [made.crops(7, rank, world, batch=12, size=24, seed=3) for rank in range(world)]
    for part in (0, 1):
        assert torch.equal(torch.cat([share[part] for share in shares]), whole[part])
    with pytest.raises(ValueError, match="give a multiple"):
        made.crops(7, 0, 5, batch=12, size=24)


def test_every_pair_place_and_position_comes_up(rng):
    hr = torch.arange(3 * 24 * 28.0).reshape(3, 24, 28) / 3000  # every pixel has its own value
    made = PairedData([Pair(name, hr / k, torch.zeros(3, 6, 7)) for k, name in ((1, "a"), (2, "b"))], NoisePool())
    corners = set()
    for step in range(40):
        for crop in made.crops(step, batch=64, size=20, seed=5)[0]:
            corners.add(tuple((3000 * crop[0, [0, 0, -1], [0, -1, 0]]).round().tolist()))
    assert len(corners) == 2 * 2 * 3 * 8  # pairs, rows, columns, positions
    for turned, crop in zip(*(made.crops(1, size=20, turned=choice)[0] for choice in (True, False)), strict=True):
        assert bool((crop.diff(dim=1) > 0).all() and (crop.diff(dim=2) > 0).all()), "as it lies in the photo"
        assert turned.sum().item() == pytest.approx(crop.sum().item(), rel=1e-4)


def test_a_batch_stays_the_same_from_version_to_version():
    """Places drawn by hand from NumPy's raw words, which it promises to keep."""
    made = PairedData([Pair("a", torch.arange(3 * 64.0).reshape(3, 8, 8), torch.rand(3, 2, 2))], NoisePool())
    words = np.random.PCG64(np.random.SeedSequence(6, spawn_key=(0x70616972, 2))).random_raw((3, 4))
    for crop, (_, down, right, position) in zip(
        made.crops(2, batch=2, size=4, seed=6)[0], words[:2].tolist(), strict=True
    ):
        expected = made.pairs[0].hr[:, 4 * (down % 2) :, 4 * (right % 2) :][:, :4, :4].numpy()
        expected = expected[:, :, ::-1] if position >> 61 & 1 else expected
        expected = expected[:, ::-1] if position >> 62 & 1 else expected
        expected = expected.swapaxes(1, 2) if position >> 63 else expected
        assert np.array_equal(crop.numpy(), expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_levels_take_a_quarter_and_give_the_same_crops(bits, rng, tmp_path):
    folder = write_pairs(tmp_path / "set", data(rng), bits=bits)
    floats, levels = read_pairs(folder), read_pairs(folder, levels=True)
    assert levels.pairs[0].hr.dtype == (torch.uint8 if bits == 8 else torch.float32)
    for a, b in zip(*(each.crops(1, batch=4, size=24) for each in (floats, levels)), strict=True):
        assert a.dtype == b.dtype == torch.float32 and torch.equal(a, b)


@dataclass(frozen=True)
class OnPairs(Recipe):
    """Four steps on pairs."""

    name: str = "on-pairs"
    steps: int = 4
    batch_size: int = 4
    validate_every: int = 2

    def task(self, seed: int) -> Task:
        made, network = data(seeded(1)), EDSR(1, 4, 1.0, 4)

        def step(run, batch):
            hr, lr = batch
            loss = (run.networks["sr"](lr) - hr).abs().mean()
            run.update("sr", loss)
            return {"loss": loss.detach()}

        return Task(
            networks={"sr": network},
            optimizers={"sr": torch.optim.Adam(network.parameters(), 1e-3)},
            step=step,
            batches=lambda step, rank, world: made.crops(step, rank, world, batch=self.batch_size, size=24, seed=seed),
        )


def test_training_on_pairs_goes_on_as_if_it_had_not_stopped(tmp_path):
    whole = fit(OnPairs(), tmp_path / "whole", seed=2, quiet=True)
    stopped = fit(OnPairs(), tmp_path / "parts", seed=2, quiet=True, max_minutes=0)
    assert stopped.step == 2
    again = fit(OnPairs(), tmp_path / "parts", seed=2, quiet=True)
    assert again.step == whole.step == 4
    for a, b in zip(again.networks["sr"].parameters(), whole.networks["sr"].parameters(), strict=True):
        assert torch.equal(a, b)


def test_kernels_that_move_the_image_are_refused(rng):
    centred = gaussian_kernel(9, (1.5, 1.0))
    assert off_centre(centred, 2) == pytest.approx(np.hypot(0.5, 0.5))
    assert off_centre(centred, 4) == pytest.approx(np.hypot(1.5, 1.5))
    assert off_centre(gaussian_kernel(8, (1.5, 1.0)), 2) == pytest.approx(0, abs=1e-9)
    for scale in (2, 4):
        with pytest.raises(ValueError, match=r"kernel 0 has its centre .* align_kernel"):
            Degradation(scale, [centred])
        Degradation(scale, [align_kernel(centred, scale), random_kernel(rng, scale)])
    photo = [("a", torch.rand(3, 80, 80, generator=rng))]
    with pytest.raises(ValueError, match="align_kernel"):
        algorithm_1(photo, track=TRACK2, estimate=lambda photo: centred)


def test_a_whole_photo_with_noise_from_the_pool(rng):
    hr = torch.full((3, 160, 200), 0.5)
    patches = list(noise.gaussian(torch.full((3, 3, 24, 24), 0.4), 6, rng))
    kernel = random_kernel(rng, 4)
    degradation = Degradation(4, [kernel], NoisePool(patches, [""] * 3))
    lr = degradation.degrade(hr, rng)
    assert lr.shape == (3, 40, 50)
    assert lr.mean().item() == pytest.approx(0.5, abs=0.01)
    assert 255 * (lr - 0.5).std().item() == pytest.approx(6, rel=0.15)
    quiet = Degradation(4, [kernel]).degrade(hr, rng)
    torch.testing.assert_close(quiet, downscale(hr, kernel, 4, align=False))


def test_what_the_released_code_cuts_off(rng):
    """HR of both tracks and LR lie on levels below; and Track 2's LR half a level below its HR, Track 1's not."""
    photo = noise.gaussian(torch.rand(3, 1, 1, generator=rng).mul(0.4).add(0.3).expand(3, 256, 256), 8, rng).clamp(0, 1)
    kernel = analytic_x4(random_kernel(rng, 2, 7))
    for track, gap in ((TRACK1, 0.0), (TRACK2, -0.5)):
        settings = {"track": track, "estimate": lambda photo: kernel, "seed": 1}
        (ours,), (theirs,) = (
            algorithm_1([("a", photo)], official_uint8=cut, **settings).pairs for cut in (False, True)
        )
        assert 255 * (theirs.hr - ours.hr).mean().item() == pytest.approx(-0.5, abs=0.03)
        assert 255 * (ours.lr.mean() - ours.hr.mean()).item() == pytest.approx(0, abs=0.1)
        assert 255 * (theirs.lr.mean() - theirs.hr.mean()).item() == pytest.approx(gap, abs=0.1)
        assert torch.equal(theirs.hr, cut_off(clean_up(photo)))


def test_cutting_off_is_what_torchvision_does(rng):
    import_torchvision()
    from torchvision.transforms.functional import to_pil_image

    image = torch.rand(3, 20, 30, generator=rng)
    theirs = torch.from_numpy(np.array(to_pil_image(image))).permute(2, 0, 1)
    assert torch.equal((cut_off(image) * 255).round().to(torch.uint8), theirs)
    levels = images.from_uint8(theirs.permute(1, 2, 0).numpy())
    assert torch.equal(cut_off(levels), levels)


def test_tracks_carry_the_settings_of_the_released_code():
    assert Track().scale == 4 and Track().clean_up == 2
    assert (TRACK1.kernels, TRACK1.use_targets, TRACK2.kernels, TRACK2.use_targets) == (False, True, True, False)
