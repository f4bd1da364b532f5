"""Estimating kernels: known ones are found, bad ones are not passed off as good, and held-out crops choose."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from restore_lib import realsr
from restore_lib.errors import ImageError
from restore_lib.realsr import kernelgan
from restore_lib.realsr.kernel_crops import hold_out
from restore_lib.realsr.kernelgan import KernelSettings, Schedule
from restore_lib.realsr.kernels import (
    Trajectory,
    average,
    choose,
    diagnose,
    dissimilarity,
    gaussian_kernel,
    kernel_error,
)
from restore_lib.resampling import align_kernel, downscale, imresize


def textured(generator: torch.Generator, side: int = 300) -> torch.Tensor:
    """Edges at every scale and in every direction: random discs and boxes over each other, drawn twice as large."""
    image = torch.rand(3, 1, 1, generator=generator) * torch.ones(3, 2 * side, 2 * side)
    for _ in range(side * side // 40):
        size = 3 / float(torch.rand((), generator=generator).clamp(min=0.03))  # many small, few large
        n = int(size)
        y, x = torch.meshgrid(torch.arange(-n, n + 1), torch.arange(-n, n + 1), indexing="ij")
        round_one = bool(torch.rand((), generator=generator) < 0.5)
        shape = y**2 + x**2 < size**2 if round_one else (y.abs() < size) & (x.abs() < 0.7 * size)
        top, left = torch.randint(2 * side - 2 * n - 1, (2,), generator=generator).tolist()
        part = image[:, top : top + 2 * n + 1, left : left + 2 * n + 1]
        part.copy_(torch.where(shape, torch.rand(3, 1, 1, generator=generator), part))
    return imresize(image, scale=0.5).clamp(0, 1)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.rand(3, 85, 200), "at least 86"),
        (torch.full((3, 200, 200), 0.3), "flat"),
        (torch.rand(3, 120, 120) / 0, "NaN or infinite"),
    ],
)
def test_photos_that_show_no_kernel_are_refused(image, words):
    with pytest.raises(ImageError, match=words):
        realsr.estimate_kernel(image)


SHORT = KernelSettings(steps=500, check_every=50, rate_every=300, learning_rate=1e-3)


@pytest.mark.filterwarnings("ignore::restore_lib.realsr.KernelWarning")  # so few steps may end off the centre
def test_a_known_kernel_is_recovered_better_than_bicubic_and_kept_with_its_story():
    rng = torch.Generator().manual_seed(2002)  # so short an estimation fails on one photo in twenty
    true = align_kernel(gaussian_kernel(13, (2.0, 1.0), 0.6), 2)
    image = downscale(textured(rng, 460), true, 2).clamp(0, 1)
    seen = []
    found = realsr.estimate_kernel(
        image, seed=3, restarts=2, settings=SHORT, progress=lambda done, total: seen.append((done, total))
    )
    error = kernel_error(found.kernel, true)
    assert error < 0.8 * kernel_error(realsr.kernels.bicubic_kernel(), true)
    assert found.kernel.sum().item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(align_kernel(found.kernel, 2), found.kernel)  # aligned already
    assert len(found.candidates) in (2, 3)  # an unsound restart is left out of the average
    assert found.chosen == (2 if len(found.candidates) == 3 else [c.sound for c in found.candidates].index(True))
    assert found.trajectory.steps.tolist() == [0, *range(50, 501, 50)]
    assert found.trajectory.kernels.shape == (11, 13, 13)
    assert set(found.trajectory.losses) == {*Schedule(SHORT).weights, "discriminator"}
    assert all(loss.shape == (500,) and loss.isfinite().all() for loss in found.trajectory.losses.values())
    assert found.diagnostics.switch_step % 50 == 0 and seen[-1] == (1000, 1000)


@pytest.mark.filterwarnings("ignore::restore_lib.realsr.KernelWarning")
def test_several_runs_are_averaged_or_chosen_among():
    image, settings = textured(torch.Generator().manual_seed(7), 200), KernelSettings(steps=3, shave=0)
    mean = realsr.estimate_kernel(image, seed=5, restarts=3, settings=settings)
    alone = [c.kernel for c in mean.candidates[:3]]
    sound = [c.sound for c in mean.candidates[:3]]
    wanted = [k for k, good in zip(alone, sound, strict=True) if good] if any(sound) else alone
    expected = average(wanted) if len(wanted) > 1 else wanted[0]
    torch.testing.assert_close(mean.kernel, expected)
    first = realsr.estimate_kernel(image, seed=5, settings=settings)  # the first restart is the single run
    assert kernel_error(first.kernel, alone[0]) < 0.02  # but for rounding

    chosen = realsr.estimate_kernel(image, seed=5, restarts=3, settings=settings, rule="choice")
    assert chosen.candidates[chosen.chosen].score == min(
        c.score for c in chosen.candidates if c.sound or not any(sound)
    )
    assert kernel_error(chosen.candidates[0].kernel, alone[0]) > 0.02  # trained on less of the photo


def test_both_forms_and_both_ways_agree_from_the_same_seed(rng):
    image = textured(rng, 110)
    for form in ("released", "realsr"):
        settings = KernelSettings(form=form, steps=4, shave=0)
        found = [run(image, settings=settings, fast=fast) for fast in (True, False)]
        for name, loss in found[0].trajectory.losses.items():  # later, Adam makes much of rounding
            torch.testing.assert_close(loss[0], found[1].trajectory.losses[name][0], rtol=1e-4, atol=1e-6)
    again = run(image, settings=settings)
    assert torch.equal(again.kernel, found[0].kernel)
    assert not torch.equal(run(image, settings=settings, seed=1).kernel, found[0].kernel)


def run(image, **options):
    """An estimation that is too short to be trusted, and says so."""
    with pytest.warns(realsr.KernelWarning, match="Do not trust"):
        return realsr.estimate_kernel(image, **options)


def test_a_photo_without_a_kernel_does_not_lose_the_others(rng, monkeypatch):
    def one_vanishes(samplers, *_, **__):
        runs = []
        for i, _ in enumerate(samplers):
            raw = torch.from_numpy(ndimage.shift(gaussian_kernel(13, (2, 1)).numpy(), (0.5, 0.5))) * (i != 1)
            runs.append((Trajectory(torch.tensor([0]), raw[None], {}), diagnose(raw, 400)))
        return runs

    monkeypatch.setattr(kernelgan, "train", one_vanishes)
    photos = list(torch.rand(3, 3, 100, 100, generator=rng))
    with pytest.raises(ImageError, match="No kernel was found"):
        realsr.estimate_kernels(photos)
    first, second, third = realsr.estimate_kernels(photos, strict=False)
    assert second is None and not first.diagnostics.problems
    assert torch.equal(first.kernel, third.kernel)


def test_scale_4_is_the_same_kernel_twice(rng):
    image, settings = textured(rng, 110), KernelSettings(steps=2)
    two, four = (run(image, scale=scale, settings=settings).kernel for scale in (2, 4))
    torch.testing.assert_close(four, realsr.kernels.analytic_x4(two))
    with pytest.raises(ValueError, match="2 or 4"):
        realsr.estimate_kernel(image, scale=3)


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (ndimage.shift(gaussian_kernel(13, (1, 1)).numpy(), (2.5, 0.5)), "centre of mass lies at 8.5"),
        (0.03 * ndimage.shift(gaussian_kernel(13, (1, 1)).numpy(), (0.5, 0.5)), "sums to 0.03"),
        (np.zeros((13, 13)), "centre of mass lies at nan"),
    ],
)
def test_a_bad_kernel_is_never_passed_off_as_a_good_one(kernel, words):
    assert any(words in problem for problem in diagnose(torch.from_numpy(kernel), 400).problems)


# choosing


def test_the_true_kernel_beats_wrong_ones_on_what_was_held_back(rng):
    true = align_kernel(gaussian_kernel(13, (1.6, 1.6)), 2)
    image = downscale(textured(rng, 500), true, 2).clamp(0, 1)
    held = hold_out(image)
    narrow, wide = (align_kernel(gaussian_kernel(17, (s, s)), 2) for s in (0.8, 3.0))
    candidates, chosen = choose(image, [narrow, true, wide], [True, True, True], held)
    assert len(candidates) == 4 and chosen in (1, 3)
    assert candidates[1].score < min(candidates[0].score, candidates[2].score)
    assert dissimilarity(image, true, held) == candidates[1].score
    candidates, chosen = choose(image, [narrow, true, wide], [True, False, True], held)
    assert chosen != 1 and not candidates[1].sound


def test_a_quarter_is_held_back_at_one_end(rng):
    assert hold_out(torch.rand(3, 90, 400, generator=rng)) in {(0, 0, 90, 100), (0, 300, 90, 400)}
    assert hold_out(torch.rand(3, 400, 90, generator=rng)) in {(0, 0, 100, 90), (300, 0, 400, 90)}
    with pytest.raises(ImageError, match="one restart"):
        hold_out(torch.rand(3, 130, 130))


def test_an_average_errs_no_more_than_its_kernels_do_on_average(rng):
    true = align_kernel(gaussian_kernel(13, (1.5, 1.0), 0.4), 2)
    kernels = [realsr.kernels.random_kernel(rng, 2, size) for size in (11, 12, 15)]
    mean = average(kernels)
    assert mean.sum().item() == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(align_kernel(mean, 2), mean)
    assert kernel_error(mean, true) <= sum(kernel_error(k, true) for k in kernels) / 3 + 1e-6
