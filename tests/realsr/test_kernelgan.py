"""KernelGAN: the authors' networks, the composed step against the plain one, terms, schedule, and known kernels."""

import functools

import numpy as np
import pytest
import torch
from scipy import signal

from restore_lib import realsr
from restore_lib.fast.kernelgan import ComposedStep
from restore_lib.pretrained import load_author_weights
from restore_lib.realsr import kernel_crops, kernelgan
from restore_lib.realsr.kernel_crops import CropSampler
from restore_lib.realsr.kernelgan import KernelSettings, LayerByLayer, Schedule, bicubic_reference
from restore_lib.realsr.kernels import diagnose, gaussian_kernel
from restore_lib.resampling import imresize

# networks


def test_networks_have_as_many_parameters_as_the_released_ones():
    assert sum(p.numel() for p in realsr.KernelGenerator().parameters()) == 150_656
    assert sum(p.numel() for p in realsr.KernelDiscriminator().parameters()) == 30_977


def official_discriminator() -> torch.nn.ModuleDict:
    """The released layers under their names, with PyTorch's own spectral norm."""
    norm = torch.nn.utils.spectral_norm
    blocks = []
    for _ in range(5):
        blocks += [norm(torch.nn.Conv2d(64, 64, 1)), torch.nn.BatchNorm2d(64), torch.nn.ReLU()]
    parts = {"first_layer": norm(torch.nn.Conv2d(3, 64, 7)), "feature_block": torch.nn.Sequential(*blocks)}
    parts["final_layer"] = torch.nn.Sequential(norm(torch.nn.Conv2d(64, 1, 1)), torch.nn.Sigmoid())
    return torch.nn.ModuleDict(parts)


@pytest.mark.parametrize("training", [False, True])
def test_the_discriminator_is_the_authors_layers(training, rng):
    theirs = official_discriminator()
    x = torch.rand(1, 3, 30, 26, generator=rng)
    for part in theirs.values():  # moves running statistics and singular vectors away from their start
        x = part(x)
    theirs.train(training)
    ours = load_author_weights(realsr.KernelDiscriminator(), theirs.state_dict()).train(training)
    for _ in range(2):  # in training, the second pass comes after a power iteration
        x = torch.rand(2, 3, 30, 26, generator=rng)
        y = theirs["final_layer"](theirs["feature_block"](theirs["first_layer"](x)))
        torch.testing.assert_close(ours(x), y)
        assert y.shape == (2, 1, 24, 20)


# the composed step


def narrow_networks(seed: int) -> tuple[realsr.KernelGenerator, realsr.KernelDiscriminator]:
    """In float64, with few channels: all of them in float64 would take seconds a step."""
    torch.manual_seed(seed)
    return realsr.KernelGenerator(12).double(), realsr.KernelDiscriminator(10).double()


def composed_step(pairs, settings: KernelSettings) -> ComposedStep:
    terms = functools.partial(kernelgan.generator_terms, settings=settings)
    return ComposedStep(pairs, terms, lr=settings.learning_rate, betas=kernelgan.BETAS)


def side_by_side(composed: ComposedStep, generator, discriminator):
    """Each tensor that the composed form trains, and the plain form's parameters that hold the same values."""
    yield from zip(composed.generators, ([layer.weight] for layer in generator.layers), strict=True)
    beside = {
        "first": [discriminator.first.weight_orig],
        "middle": [conv.weight_orig for conv in discriminator.middle],
        "last": [discriminator.last.weight_orig],
        "bias": [discriminator.last.bias],
        "gamma": [norm.weight for norm in discriminator.norms],
        "beta": [norm.bias for norm in discriminator.norms],
    }
    yield from ((stacked, beside[name]) for name, stacked in composed.discriminators._asdict().items())


def stacked_weights(weights: dict[str, float], count: int = 1) -> dict[str, torch.Tensor]:
    return {name: torch.full((count,), value, dtype=torch.float64) for name, value in weights.items()}


@pytest.mark.parametrize("settings", [{}, {"official_defects": True}, {"form": "realsr"}])
def test_the_composed_step_is_the_plain_step(settings, rng):
    settings = KernelSettings(**settings)
    pairs = [[narrow_networks(7)] for _ in range(2)]
    plain, composed = LayerByLayer(pairs[0], settings), composed_step(pairs[1], settings)
    weights = Schedule(settings).weights
    for near in (1e-10, 1e-6):  # Adam makes much of rounding where a gradient is nearly 0: less near after its step
        batch = [torch.rand(1, 3, n, n, generator=rng, dtype=torch.float64) for n in (64, 26, 26)]
        ours, expected = (form.step(*batch, stacked_weights(weights)) for form in (composed, plain))
        assert ours.keys() == expected.keys()
        for name in ours:
            torch.testing.assert_close(ours[name], expected[name], rtol=near, atol=1e-12, msg=name)
        for stacked, beside in side_by_side(composed, *pairs[0][0]):
            gradient = torch.cat([weight.grad.flatten() for weight in beside])
            assert (stacked.grad.flatten() - gradient).abs().max() <= near * gradient.abs().max()
            weight = torch.cat([weight.detach().flatten() for weight in beside])
            torch.testing.assert_close(stacked.detach().flatten(), weight, rtol=0, atol=1e-8)
        if settings.form == "released":  # the second phase
            weights = weights | {"bicubic": 0.01, "centre": 1.0, "sparse": 5.0}
    torch.testing.assert_close(composed.kernels(), plain.kernels(), rtol=1e-6, atol=1e-12)


def test_estimations_do_not_feel_their_neighbours(rng):
    settings, weights = KernelSettings(), Schedule(KernelSettings()).weights
    batch = [torch.rand(2, 3, n, n, generator=rng, dtype=torch.float64) for n in (64, 26, 26)]
    pairs = [narrow_networks(seed) for seed in (0, 1)]
    both, alone = composed_step(pairs, settings), composed_step(pairs[1:], settings)
    for _ in range(2):
        both.step(*batch, stacked_weights(weights, 2))
        alone.step(*(part[1:] for part in batch), stacked_weights(weights))
    torch.testing.assert_close(both.generators[1][1], alone.generators[1][0], rtol=0, atol=1e-12)


def test_kernels_are_composed_as_two_convolutions_are(rng):
    first, second = (torch.rand(n, n, generator=rng, dtype=torch.float64) for n in (4, 3))
    expected = signal.convolve2d(first.numpy(), second.numpy())
    torch.testing.assert_close(kernelgan.compose([first[None, None], second[None, None]]), torch.from_numpy(expected))


def test_the_reference_is_matlabs_bicubic(rng):
    crop = torch.rand(1, 3, 64, 64, generator=rng)
    torch.testing.assert_close(bicubic_reference(crop), imresize(crop, scale=0.5)[..., 3:-3, 3:-3])
    torch.testing.assert_close(bicubic_reference(crop, True)[:, 1], imresize(crop, scale=0.5)[..., 3:-3, 3:-3].sum(1))


# terms and schedule


def test_the_boundary_mask_has_the_released_codes_values():
    mask = kernelgan.boundary_mask(13)
    assert mask[0, 0].item() == pytest.approx(5.76, abs=0.005)
    assert mask[0, 6].item() == pytest.approx(3.03, abs=0.005)
    assert mask[1, 6].item() == pytest.approx(2.14, abs=0.005)
    assert not mask[2:-2, 2:-2].any() and torch.equal(mask, mask.T)


def test_terms_in_closed_form(rng):
    kernel = torch.zeros(2, 13, 13, dtype=torch.float64)
    kernel[:, 6, 6] = 0.5
    kernel[:, 7, 7] = 0.5
    kernel[1, 0, 0] = 1.0
    crop = torch.rand(2, 3, 64, 64, generator=rng, dtype=torch.float64)
    fake, maps = bicubic_reference(crop) + 0.1, torch.full((2, 1, 3, 3), 0.25, dtype=torch.float64)
    terms = kernelgan.generator_terms(kernel, fake, crop, maps, KernelSettings())
    expected = {
        "gan": [0.75, 0.75],
        "bicubic": [0.01, 0.01],
        "sum": [0, 1],
        "boundaries": [0, 30 * (1 - np.exp(-((6 / 13) ** 2))) / 169],
        "centre": [0, 3.25**2],
        "sparse": [2 * 0.5**0.2 / 169, (1 + 2 * 0.5**0.2) / 169],
    }
    for name, values in expected.items():
        torch.testing.assert_close(terms[name], torch.tensor(values, dtype=torch.float64), msg=name)
    terms = kernelgan.generator_terms(-kernel, fake, crop, maps, KernelSettings(form="realsr"))
    assert set(terms) == {"gan", "bicubic", "sum", "boundaries"}
    assert terms["bicubic"].tolist() == pytest.approx([0.1, 0.1]) and terms["sum"].tolist() == pytest.approx([2, 3])
    assert terms["boundaries"][1].item() == pytest.approx(expected["boundaries"][1] * 169)


@pytest.mark.parametrize(("met", "switch"), [(3, 400), (199, 400), (200, 600), (399, 600), (10_000, None)])
def test_the_second_phase_begins_when_the_released_code_begins_it(met, switch):
    schedule = Schedule(KernelSettings(official_defects=True))
    for step in range(1000):
        schedule.after(step, 0.39 if step > met - 3 else 0.41)
    assert schedule.switch_step == switch
    assert (schedule.weights["sparse"], schedule.weights["centre"]) == ((5, 1) if switch else (0, 0))
    assert schedule.weights["bicubic"] == pytest.approx(5e-6 if switch else 5)


def test_one_good_step_does_not_end_the_first_phase():
    schedule = Schedule(KernelSettings())
    for step in range(1000):
        schedule.after(step, 0.01 if step % 3 else 1.0)
    assert schedule.switch_step is None and diagnose(gaussian_kernel(13, (1, 1)), None).problems


def test_learning_rates_fall_by_ten_every_750_steps():
    schedule = Schedule(KernelSettings())
    rates = [schedule.rate(step) for step in (0, 750, 751, 1500, 1501, 2999)]
    assert rates == pytest.approx([2e-4, 2e-4, 2e-5, 2e-5, 2e-6, 2e-7])


# crops


def test_chances_are_box_sums_of_edges(rng):
    edges = torch.rand(90, 101, generator=rng, dtype=torch.float64).numpy()
    for crop in (64, 26):
        brute = signal.convolve2d(edges, np.ones((crop // 2, crop // 2)), "same")
        half = crop // 2
        brute[:half], brute[-half:], brute[:, :half], brute[:, -half:] = 0, 0, 0, 0
        np.testing.assert_allclose(kernel_crops.centre_chances(edges, crop), brute / brute.sum(), atol=1e-12)


def test_crops_lie_at_even_places_where_edges_are_and_never_in_what_is_held_back(rng):
    image = torch.full((3, 140, 240), 0.5)
    image[:, 40:120, 120:220] = torch.rand(3, 80, 100, generator=rng)
    image = kernel_crops.shaved(image, 10)
    held = (0, 180, 120, 220)
    sampler = CropSampler(image, [1], 400, held=held)
    assert sampler.places.min() >= 0 and not (sampler.places % 2).any()
    for places, size in zip(sampler.places, (64, 26), strict=True):
        assert (places <= np.array([120, 220]) - size).all()
        rows, columns = places.T
        assert not ((columns + size > held[1]) & (columns < held[3])).any()
        assert (rows + size > 30).all() and (columns + size > 105).all()
    assert (CropSampler(image, [1], 400, held=held).places == sampler.places).all()


def test_noise_stays_in_the_image_only_as_the_released_code_lets_it(rng):
    image = torch.rand(3, 100, 100, generator=rng)
    kept, mended = CropSampler(image, [0], 5, noise_stays=True), CropSampler(image, [0], 5)
    before = mended.image.clone()
    real = kept.crops(0)[1], mended.crops(0)[1]
    torch.testing.assert_close(*real)
    assert torch.equal(mended.image, before) and not torch.equal(kept.image, before)
    assert (real[1] - before[:, mended.places[1, 0, 0] :, mended.places[1, 0, 1] :][:, :26, :26]).std().item() == (
        pytest.approx(2 / 255, rel=0.1)
    )
