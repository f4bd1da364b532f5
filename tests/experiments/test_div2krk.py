"""DIV2KRK: which kernel each method gets, and what is measured."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from restore_lib import data, images
from restore_lib.errors import DataError
from restore_lib.experiments import evaluate, load_all, run
from restore_lib.experiments import paper_b_kernels as kernels
from restore_lib.realsr.zssr import ZSSRResult
from restore_lib.resampling import align_kernel, imresize


class Item:
    """A photo of the set, made up."""

    name = "1"

    def __init__(self, rng: torch.Generator):
        self.image = torch.rand(3, 96, 128, generator=rng)
        self.parts = {f"kernel_x{s}": torch.rand(11, 11, generator=rng, dtype=torch.float64) for s in (2, 4)}
        self.parts |= {
            f"lr_x{s}": (imresize(self.image, scale=1 / s) * 255).round().clamp(0, 255) / 255 for s in (2, 4)
        }

    def read(self, part: str) -> torch.Tensor:
        return self.parts[part]


@pytest.fixture
def calls(monkeypatch):
    """What ZSSR is asked for; it answers with interpolation."""
    seen = []

    def fake_zssr(lr, scales, kernels, settings, seed):
        seen.append((tuple(scales), kernels, settings, seed))
        return ZSSRResult(imresize(lr, scale=scales[-1]), ())

    def fake_k_zssr(lr, kernel, scale, settings, seed):
        seen.append((scale, kernel, settings, seed))
        return ZSSRResult(imresize(lr, scale=scale), ())

    def fake_estimates(lrs, seed=0, restarts=1):
        kernel = torch.full((3, 3), float(10 * restarts + seed))
        return [kernels.Estimate(kernel, 1.0, (6.5, 6.5), 400, True) for _ in lrs]

    monkeypatch.setattr(kernels, "zssr", fake_zssr)
    monkeypatch.setattr(kernels, "k_zssr", fake_k_zssr)
    monkeypatch.setattr(kernels, "estimated", fake_estimates)
    return seen


@pytest.mark.parametrize("scale", [2, 4])
def test_each_method_gets_its_kernel(rng, calls, scale):
    item = Item(rng)
    lr = item.read(f"lr_x{scale}")
    for recipe in kernels.ZSSR_TITLES:
        assert kernels.enlarged(recipe, item, lr, scale, 7).shape == item.image.shape
    plain, single, chosen, true = calls
    assert plain[:2] == ((2,) if scale == 2 else (2, 4), None) and plain[3] == 7
    assert single[0] == chosen[0] == scale
    assert single[1][0, 0] == 10 + 7 and chosen[1][0, 0] == 10 * kernels.RESTARTS + 7
    assert true[0] == (scale,)
    torch.testing.assert_close(true[1][0], align_kernel(item.read(f"kernel_x{scale}"), scale))


def evaluated(protocol, item, seed):
    """What a method is given."""
    inputs = []

    def method(lr, size):
        inputs.append(lr)
        return torch.zeros(3, *size)

    evaluate(method, [item], protocol, seed=seed)
    return inputs


def test_noise_depends_on_photo_and_seed_alone(rng):
    item = Item(rng)

    def photo(condition, seed):
        """The method's input, which evaluation draws from a generator of seed, photo and condition."""
        (given,) = evaluated(kernels.div2krk_protocol(condition), item, seed)
        return given

    one, same, other = (photo("x4-noisy", seed) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    clean = photo("x4", 0)
    inside = (clean > 0.25) & (clean < 0.75)
    assert 255 * (one - clean)[inside].std() == pytest.approx(kernels.SIGMA, rel=0.15)


def test_the_record_holds_luma_psnr_as_scikit_image_has_it(photos):
    record = kernels.div2krk_trial("bicubic", "x4", None).record("smoke")
    item = data.open("div2krk")[0]
    sr = (imresize(item.read("lr_x4"), scale=4).clamp(0, 1) * 255).round() / 255
    a, b = (255 * images.rgb_to_y(x)[0, 4:-4, 4:-4].double().numpy() for x in (sr, item.image))
    expected = peak_signal_noise_ratio(np.rint(b), np.rint(a), data_range=255)
    assert record.find("x4", "psnr_y").per_image[0] == pytest.approx(expected, abs=0.02)


def test_the_quick_tier_interpolates(photos, tmp_path):
    assert len(run(kernels.DIV2KRK_TABLE, tmp_path, tier="smoke")) == len(load_all(tmp_path)) == 3
    with pytest.raises(DataError, match="leave out --sets"):
        run(kernels.DIV2KRK_TABLE, tmp_path, sets=["set5"], tier="smoke")


def test_every_line_has_a_method_that_runs():
    for section in kernels.DIV2KRK_TABLE.sections:
        for line in section.lines:
            assert (
                line.recipe in kernels.ZSSR_TITLES
                and line.protocol == f"div2krk-{line.condition}" == f"div2krk-{section.name}"
            )
            assert not line.comparable and (line.paper is None or line.why)
    for settings in kernels.ZSSR_SETTINGS.values():
        assert replace(settings, steps=5).steps == 5
