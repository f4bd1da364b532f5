"""References of chapter 12 against sums written out, trying all answers, and the discriminator's own gradient."""

import numpy as np
import pytest
import torch

from restore_lib.nets.receptive import receptive_field
from restore_lib.realsr.losses import PatchDiscriminator, discriminator_loss, generator_loss
from restore_lib.teaching import check
from restore_lib.teaching.checks import all_exercises

RELATIVISTIC, BEST, WINDOW, LOSSES = (all_exercises()[f"12.{number}"] for number in (1, 2, 3, 4))


@pytest.fixture
def drawn(rng):
    """Fresh inputs of an exercise, three times."""
    return lambda exercise: [exercise.inputs(rng) for _ in range(3)]


def test_the_relativistic_loss_written_out(drawn):
    for real, fake in drawn(RELATIVISTIC):
        r, f = real.double().numpy(), fake.double().numpy()
        chances = [1 / (1 + np.exp(-(a - b.mean()))) for a, b in ((r, f), (f, r))]
        expected = -(np.log(chances[0]).mean() + np.log(1 - chances[1]).mean()) / 2
        assert float(RELATIVISTIC.reference(real, fake)) == pytest.approx(expected, rel=1e-4)


def test_only_the_difference_of_logits_matters(drawn):
    for real, fake in drawn(RELATIVISTIC):
        moved = float(RELATIVISTIC.reference(real + 3, fake + 3))
        assert float(RELATIVISTIC.reference(real, fake)) == pytest.approx(moved, rel=1e-4)


def test_no_other_answer_is_nearer(drawn):
    for answers, chances in drawn(BEST):
        squared, absolute = BEST.reference(answers, chances)
        lines = zip(answers.numpy(), chances.numpy(), squared.tolist(), absolute.tolist(), strict=True)
        for row, weights, mean, median in lines:
            tried = np.concatenate([np.linspace(0, 1, 501), row])
            for power, found in ((2, mean), (1, median)):
                costs = (np.abs(tried[:, None] - row) ** power) @ weights
                assert (np.abs(found - row) ** power) @ weights <= costs.min() + 1e-12


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_window_is_where_the_gradient_is(layers):
    """At the photo's rim a window is cut off by the padding; inside it has the width that the paper names."""
    network, side = PatchDiscriminator(layers, width=2), 48 + 32 * 2 ** (layers - 1)
    count = network.eval()(torch.zeros(1, 3, side, side)).shape[-1]
    for index in (0, count // 2, count - 1):
        first, last = WINDOW.reference(index, layers)
        assert last - first + 1 == (16, 34, 70, 142)[layers - 1]
        seen = receptive_field(network, side, at=(index, count // 2)).any(1).nonzero()[:, 0]
        assert (int(seen.min()), int(seen.max())) == (max(first, 0), min(last, side - 1))


def test_each_loss_reaches_its_own_player(drawn):
    for judge, sr, hr in drawn(LOSSES):
        for_generator, for_judge = LOSSES.reference(judge, sr, hr)
        (pull,) = torch.autograd.grad(for_generator, sr, retain_graph=True)
        assert pull.abs().sum() > 0
        assert torch.autograd.grad(for_judge, sr, retain_graph=True, allow_unused=True) == (None,)
        learnt = torch.autograd.grad(for_judge, list(judge.parameters()))
        written = discriminator_loss(judge(hr), judge(sr.detach()))
        for a, b in zip(learnt, torch.autograd.grad(written, list(judge.parameters())), strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def frozen_for_the_generator(discriminator, sr, hr):
    """As the library's own step does it: gradients go through the judge, not into it."""
    discriminator.requires_grad_(False)
    with torch.no_grad():
        real = discriminator(hr)
    for_generator = generator_loss(real, discriminator(sr))
    discriminator.requires_grad_(True)
    return for_generator, discriminator_loss(discriminator(hr), discriminator(sr.detach()))


def photos_attached(discriminator, sr, hr):
    real = discriminator(hr)
    return generator_loss(real, discriminator(sr)), discriminator_loss(real, discriminator(sr.detach()))


@pytest.mark.parametrize("answer", [frozen_for_the_generator, photos_attached])
def test_other_ways_to_write_it_pass(answer):
    assert check("12.4", answer).passed


def test_what_is_no_pair_of_losses_is_met_with_one_sentence():
    assert "which fails with" in check("12.4", lambda judge, sr, hr: judge(sr).mean()).message
