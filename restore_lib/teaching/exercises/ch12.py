"""Exercises of chapter 12, from L1 to GAN."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from restore_lib.realsr.losses import discriminator_loss, generator_loss

KERNEL, PADDING = 4, 1  # of every convolution of the patch discriminator


def _logits(generator):
    """Maps of logits for photos and for results that are told apart, but not well."""
    real, fake = 2 * torch.randn(2, 3, 1, 4, 5, generator=generator)
    return real + 1.0, fake - 0.5


def _bce(logits, wanted):
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, wanted))


def _halves(a, b):
    return (_bce(a, 1.0) + _bce(b, 0.0)) / 2


def _by_picture(logits):
    return logits.mean((1, 2, 3), keepdim=True)


def _answers(generator):
    """Seven answers for each of twelve pixels, and how likely each is; none is more likely than all others."""
    answers, chances = torch.rand(2, 12, 7, generator=generator, dtype=torch.float64)
    return answers, (0.2 + chances) / (0.2 + chances).sum(1, keepdim=True)


def _mean(answers, chances):
    return (answers * chances).sum(1)


def _first_half(values, chances):
    """The first value of each line at which half of the chances is reached."""
    at = (chances.cumsum(1) >= 0.5).int().argmax(1)
    return values.gather(1, at[:, None])[:, 0]


def _median(answers, chances):
    values, order = answers.sort(1)
    return _first_half(values, chances.gather(1, order))


def _likeliest(answers, chances):
    return answers.gather(1, chances.argmax(1, keepdim=True))[:, 0]


def _best(answers, chances):
    return torch.stack([_mean(answers, chances), _median(answers, chances)])


def _place(generator):
    return tuple(torch.randint(1, n, (), generator=generator).item() for n in (14, 5))


def _window(index, layers, *, strides=None, padding=PADDING, kernel=KERNEL):
    """From the logit back to the photo, one convolution after the other."""
    first = last = index
    for stride in reversed(strides or [2] * layers + [1, 1]):
        first = stride * first - padding
        last = stride * last - padding + kernel - 1
    return first, last


def _centred(index, layers):
    """As wide as it should be, around the middle of the logit's cell."""
    first, last = _window(index, layers)
    width = last - first + 1
    middle = 2**layers * index + 2**layers // 2
    return middle - width // 2, middle - width // 2 + width - 1


def _players(generator):
    """A small judge without batch norm, results that a generator could still change, and photos."""
    judge = nn.Sequential(nn.Conv2d(3, 6, 4, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(6, 1, 3))
    with torch.no_grad():
        for values in judge.parameters():
            values.normal_(0, 0.5, generator=generator)
    sr, hr = torch.rand(2, 2, 3, 10, 10, generator=generator)
    return judge, sr.clone().requires_grad_(), hr


def _gradient(loss: Tensor, wanted: list[Tensor]) -> Tensor:
    """By each of several tensors, in a row; zero where the loss does not depend on them."""
    if not loss.requires_grad:
        found = [torch.zeros_like(x) for x in wanted]
    else:
        found = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in found])


def _watch(returned, discriminator, sr, hr):
    """Both losses, what each asks of the results, and what the discriminator is to learn."""
    for_generator, for_discriminator = returned
    pulls = [_gradient(loss, [sr]) * sr.numel() for loss in (for_generator, for_discriminator)]
    learnt = _gradient(for_discriminator, list(discriminator.parameters()))
    values = torch.stack([for_generator.detach(), for_discriminator.detach()])
    return torch.cat([values, *pulls, learnt]).double()


def _losses(discriminator, sr, hr):
    real, fake = discriminator(hr), discriminator(sr)
    return generator_loss(real.detach(), fake), discriminator_loss(real, discriminator(sr.detach()))


def _as_printed(discriminator, sr, hr):
    real, fake = discriminator(hr).sigmoid(), discriminator(sr).sigmoid()
    return generator_loss(real, fake), discriminator_loss(real, fake)


def _still_twice(discriminator, sr, hr):
    return _losses(lambda x: discriminator(x).sigmoid(), sr, hr)


def _still_attached(discriminator, sr, hr):
    real, fake = discriminator(hr), discriminator(sr)
    return generator_loss(real, fake), discriminator_loss(real, fake)


def _detached_for_both(discriminator, sr, hr):
    real, fake = discriminator(hr), discriminator(sr.detach())
    return generator_loss(real, fake), discriminator_loss(real, fake)


def _logits_detached(discriminator, sr, hr):
    real, fake = discriminator(hr), discriminator(sr)
    return generator_loss(real, fake), discriminator_loss(real, fake.detach())


def _opposed(discriminator, sr, hr):
    loss = discriminator_loss(discriminator(hr), discriminator(sr))
    return -loss, _losses(discriminator, sr, hr)[1]


def _same_for_both(discriminator, sr, hr):
    loss = discriminator_loss(discriminator(hr), discriminator(sr))
    return loss, _losses(discriminator, sr, hr)[1]


EXERCISES = [
    {
        "id": "12.1",
        "reference": discriminator_loss,
        "inputs": _logits,
        "mistakes": (
            (
                lambda real, fake: _halves(real, fake),
                "That judges each by itself. Relativistic: how much more real than the *mean* of the other side?",
            ),
            (
                lambda real, fake: _halves(real - fake, fake - real),
                "You compare each photo with one result. The average in the name: subtract the mean of all.",
            ),
            (
                lambda real, fake: _halves(real - real.mean(), fake - fake.mean()),
                "You subtract a side's own mean: then it does not matter how the two sides compare.",
            ),
            (
                lambda real, fake: _halves(real - _by_picture(fake), fake - _by_picture(real)),
                "You take a mean for each picture. It is one mean, over the batch and over the map.",
            ),
            (
                lambda real, fake: _halves(real - fake.mean(0), fake - real.mean(0)),
                "You take a mean for each place of the map. It is one mean, over the batch and over the map.",
            ),
            (
                lambda real, fake: _halves(fake - real.mean(), real - fake.mean()),
                "That is what the *generator* minimises. Here photos are to look more real.",
            ),
            (
                lambda real, fake: 2 * _halves(real - fake.mean(), fake - real.mean()),
                "That is the sum of both halves. Here, as in the released code, it is their mean.",
            ),
            (
                lambda real, fake: _bce(real - fake.mean(), 1.0),
                "That is the half for photos. Results should look less real than photos: the other half.",
            ),
            (
                lambda real, fake: _halves((real - fake.mean()).sigmoid(), (fake - real.mean()).sigmoid()),
                "The sigmoid is in `binary_cross_entropy_with_logits` already: you take it twice.",
            ),
            (
                lambda real, fake: (_bce(real - fake.mean(), 1.0) + _bce(fake - real.mean(), 1.0)) / 2,
                "Both halves have the target 1. Results are to look less real: their target is 0.",
            ),
        ),
        "hints": (
            "Two differences: photos minus the mean of results, results minus the mean of photos. Targets 1 and 0.",
            "functional.binary_cross_entropy_with_logits(real - fake.mean(), torch.ones_like(real)) is one half.",
        ),
    },
    {
        "id": "12.2",
        "reference": _best,
        "inputs": _answers,
        "mistakes": (
            (
                lambda answers, chances: _best(answers, chances).flip(0),
                "The other way round: first the answer for squared errors, then that for absolute ones.",
            ),
            (
                lambda answers, chances: _best(answers, torch.full_like(chances, 1 / 7)),
                "You count all answers alike; some are likelier than others.",
            ),
            (
                lambda answers, chances: torch.stack([_mean(answers, chances), answers.median(1).values]),
                "The first line is right. In the second, half of the *chances* must lie on each side.",
            ),
            (
                lambda answers, chances: torch.stack([_mean(answers, chances), _first_half(answers, chances)]),
                "The first line is right. For the second, sort the answers first.",
            ),
            (
                lambda answers, chances: torch.stack(
                    [_mean(answers, chances), _first_half(answers.sort(1).values, chances)]
                ),
                "You sort the answers, but each has to take its chance along: `chances.gather(1, order)`.",
            ),
            (
                lambda answers, chances: torch.stack([_mean(answers, chances), _likeliest(answers, chances)]),
                "The second line is the most likely answer: that minimises neither. It is what a game would like.",
            ),
            (
                lambda answers, chances: _mean(answers, chances).expand(2, -1),
                "The mean minimises squared errors only. For absolute ones, pulls up and down count equally much.",
            ),
        ),
        "hints": (
            "Set the derivative of the expected error to zero: for squares a weighted mean, for absolute values a "
            "point with as much chance above as below.",
            "values, order = answers.sort(1); then chances.gather(1, order).cumsum(1) >= 0.5 for the first time.",
        ),
    },
    {
        "id": "12.3",
        "reference": _window,
        "inputs": _place,
        "mistakes": (
            (
                lambda index, layers: _window(index, layers, padding=0),
                "You leave out the padding: each convolution begins one pixel before its input.",
            ),
            (
                lambda index, layers: _window(index, layers, strides=[2] * (layers + 2)),
                "All your strides are 2. The last two convolutions have stride 1.",
            ),
            (
                lambda index, layers: _window(index, layers, strides=[2] * layers),
                "Two convolutions are missing: after those that halve come two of stride 1.",
            ),
            (
                lambda index, layers: _window(index, layers, strides=[1, 1] + [2] * layers),
                "You begin at the photo's end of the network. From the logit back, the strides of 1 come first.",
            ),
            (
                lambda index, layers: _window(index, layers, kernel=KERNEL + 1),
                "The last pixel is one too far in every layer: four cells from a are a, ..., a + 3.",
            ),
            (
                lambda index, layers: (_window(index, layers)[0], _window(index, layers)[1] + 1),
                "Your second number is the first pixel that it does *not* see.",
            ),
            (_centred, "The width is right, but the window is not around the cell's middle: padding moves it."),
        ),
        "hints": (
            "Go back layer by layer: cell i of an output sees 4 cells of its input. Which is the first?",
            "first = stride * first - 1, last = stride * last + 2, for strides 1, 1 and then 2 as often as it halves.",
        ),
    },
    {
        "id": "12.4",
        "reference": _losses,
        "seen": _watch,
        "inputs": _players,
        "mistakes": (
            (_as_printed, "That is the function as printed. Two things are wrong in it; begin with the sigmoid."),
            (_still_twice, "One of two is mended. The losses take logits: they have the sigmoid inside."),
            (
                _still_attached,
                "One of two is mended. The discriminator's loss still reaches the generator, and teaches it to be "
                "caught.",
            ),
            (
                _detached_for_both,
                "Now nothing reaches the generator, not even its own loss. It needs results that are attached.",
            ),
            (
                _logits_detached,
                "You detach the logits: so the discriminator does not learn from results either. Detach its input.",
            ),
            (
                _opposed,
                "The discriminator's loss with a minus is another game: its gradient fades when the generator loses.",
            ),
            (_same_for_both, "Both minimise the same loss: the generator helps to be caught."),
            (
                lambda discriminator, sr, hr: _losses(discriminator, sr, hr)[::-1],
                "The other way round: first the generator's loss, then the discriminator's.",
            ),
            (
                lambda discriminator, sr, hr: (
                    _losses(discriminator, sr, hr)[0],
                    discriminator_loss(discriminator(sr.detach()), discriminator(hr)),
                ),
                "The discriminator takes results for photos: its first argument is what it makes of photos.",
            ),
        ),
        "hints": (
            "Ask of each loss: whose weights should its gradient reach? And what does it expect, logits or chances?",
            "The discriminator judges twice: sr for the generator's loss, sr.detach() for its own.",
        ),
    },
]
