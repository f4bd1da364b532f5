"""References of chapter 17 against loops over pixels, counted multiplications, and trainings that are thrown."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from restore_lib.implicit import DIINN
from restore_lib.teaching import check
from restore_lib.teaching.checks import all_exercises
from restore_lib.teaching.exercises import ch17

LR_PSNR, JUMP, WHOLE, CLAIM = (all_exercises()[f"17.{number}"] for number in (1, 2, 3, 4))


def test_the_small_pictures_are_those_that_differ_by_hand(rng):
    sr, hr, scale = LR_PSNR.inputs(rng)
    assert LR_PSNR.reference(sr, hr, scale) == pytest.approx(float(ch17._reduced(sr, hr, scale)), abs=1e-4)
    # what only shows at the large size is forgiven: a pattern that the reduction cannot see
    fine = 0.01 * (torch.arange(hr.shape[2]) % 2 - 0.5)
    kept = hr.clamp(0.1, 0.9)
    assert LR_PSNR.reference(kept + fine, kept, 3.3) > 20 * math.log10(1 / 0.005) + 10


def test_jumps_pixel_by_pixel(rng):
    image, cell = JUMP.inputs(rng)
    border, inside = [], []
    for x in (image, image.transpose(1, 2)):
        for i in range(1, x.shape[2] - 2):  # between pixel i and i + 1
            steps = [x[..., k + 1] - x[..., k] for k in (i - 1, i, i + 1)]
            jump = (steps[1] - (steps[0] + steps[2]) / 2).abs().flatten()
            owners = {k // cell for k in (i - 1, i, i + 1, i + 2)}
            if len(owners) == 1:
                inside.append(jump)
            elif (i + 1) % cell == 0:
                border.append(jump)
    expected = float(torch.cat(border).mean() / torch.cat(inside).mean())
    assert float(JUMP.reference(image, cell)) == pytest.approx(expected, rel=1e-4)


def multiplied(network, lr, size):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(lr, size)
    return counter.get_total_flops() / 2


def test_what_the_tables_save_of_a_whole_network_is_counted():
    scale, network = 4, DIINN("f", "small", width=32).eval()
    lr = torch.rand(1, 3, 8, 8)
    ours = multiplied(network, lr, (8 * scale, 8 * scale)) / 64
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.encoder(network.normalise(lr))
    encoder = counter.get_total_flops() / 2 / 64
    content, rest = 4 * 576 * 32, 2 * 3 * 32 * 32 + 2 * 3 * 32
    assert ours == pytest.approx(encoder + content + scale**2 * rest)
    plain = encoder + scale**2 * (content + rest)
    assert float(WHOLE.reference(encoder, content, rest, scale)) == pytest.approx(plain / ours)


def test_the_error_is_what_repetitions_show():
    """Thrown many times, differences of means scatter by the error that is computed from a few seeds."""
    dice = torch.Generator().manual_seed(0)
    found = []
    for _ in range(600):
        a, b = (28 + s * torch.randn(n, 1, generator=dice) + torch.linspace(-3, 3, 9) for s, n in ((0.1, 5), (0.2, 4)))
        found.append(CLAIM.reference(a.double(), b.double()))
    difference, error = torch.stack(found).T
    assert float(error.square().mean().sqrt()) == pytest.approx(float(difference.std()), rel=0.1)


def whole_in_words(encoder, content, rest, scale):
    large_pixels = scale * scale
    return (encoder + large_pixels * rest + large_pixels * content) / (encoder + content + large_pixels * rest)


def claim_by_sums(a, b):
    spread = 0
    for x in (a, b):
        means = x.mean(1)
        spread = spread + (means - means.mean()).square().sum() / (len(means) - 1) / len(means)
    return torch.stack([a.mean() - b.mean(), spread**0.5])


@pytest.mark.parametrize(("number", "answer"), [("17.3", whole_in_words), ("17.4", claim_by_sums)])
def test_other_ways_to_write_it_pass(number, answer):
    assert check(number, answer, seed=1).passed
