"""Exercises of chapter 13, train on what you will see."""

import torch
from torch import Tensor
from torch.nn import functional

from restore_lib.realsr.dsgan import WINDOW, high
from restore_lib.resampling import imresize

SCALE = 4
POSITIONS = tuple((turns, mirrored) for turns in range(4) for mirrored in (False, True))
SIDE, CUT = 20, 8  # of photos and of crops


def _worlds(generator):
    """Power of photos, and what truly is and what was assumed of blur and noise, for twelve frequencies."""
    power, blur, noise, assumed_blur, assumed_noise = torch.rand(5, 12, generator=generator, dtype=torch.float64)
    return 1 + power, 0.2 + 0.7 * blur, 0.2 + noise, 0.2 + 0.7 * assumed_blur, 0.2 + assumed_noise


def _wiener(power, blur, noise):
    return power * blur / (power * blur**2 + noise)


def _error(gain, power, blur, noise):
    return (power * (1 - gain * blur) ** 2 + gain**2 * noise).sum()


def _mismatch(power, blur, noise, assumed_blur, assumed_noise):
    """Squared error of the filter that would be best under the assumptions."""
    return _error(_wiener(power, assumed_blur, assumed_noise), power, blur, noise)


def _photo_and_patch(generator):
    """A photo that reaches black and white, so that clamping shows, and a tinted patch of noise."""
    hr = (1.4 * torch.rand(3, 8 * SCALE, 10 * SCALE, generator=generator) - 0.2).clamp(0, 1)
    hr[:, : 3 * SCALE], hr[:, 3 * SCALE : 5 * SCALE] = 0.0, 1.0
    tint = torch.tensor([0.35, 0.5, 0.65])[:, None, None]
    return hr, tint + 0.05 * torch.randn(3, 8, 10, generator=generator)


def _reduced(hr: Tensor) -> Tensor:
    return imresize(hr, scale=1 / SCALE).clamp(0, 1)


def _centred(patch: Tensor) -> Tensor:
    return patch - patch.mean((1, 2), keepdim=True)


def _spread(noise: Tensor) -> Tensor:
    return noise.repeat_interleave(SCALE, 1).repeat_interleave(SCALE, 2)


def _make_pair(hr, patch):
    return hr, (_reduced(hr) + _centred(patch)).clamp(0, 1)


def _into_both(hr, noise):
    noisy = (hr + _spread(noise)).clamp(0, 1)
    return noisy, _reduced(noisy)


def _both_parts(returned, hr, patch):
    return torch.cat([part.flatten() for part in returned])


def _position(crop: Tensor, turns: int, mirrored: bool) -> Tensor:
    crop = crop.flip(-1) if mirrored else crop
    return crop.rot90(turns, (-2, -1))


def _levels(generator, *shape):
    return torch.randint(256, shape, generator=generator) / 255


def _photos_and_tests(generator):
    """Four training photos; a crop of them in each position, and four that only have a crop's colours."""
    train = _levels(generator, 4, 3, SIDE, SIDE)
    kept = []
    for turns, mirrored in POSITIONS:
        photo, top, left = (int(torch.randint(n, (), generator=generator)) for n in (4, SIDE - CUT, SIDE - CUT))
        crop = train[photo, :, top + 1 : top + 1 + CUT, left + 1 : left + 1 + CUT]  # never a photo's first corner
        kept.append(_position(crop, turns, mirrored))
    for photo in train:
        order = torch.randperm(CUT * CUT, generator=generator)
        kept.append(photo[:, :CUT, :CUT].flatten(1)[:, order].view(3, CUT, CUT))
    test = torch.stack(kept)
    return train, test[torch.randperm(len(test), generator=generator)]


def _found(train, test, *, positions=POSITIONS, step=1):
    """Whether each crop lies in one of the photos, in one of these positions, at every ``step``-th place."""
    places = functional.unfold(train, CUT, stride=step).transpose(1, 2).reshape(-1, 3 * CUT * CUT)
    found = torch.zeros(len(test), dtype=torch.bool)
    for turns, mirrored in positions:
        turned = _position(test, turns, mirrored).flatten(1)
        found |= ((turned[:, None] - places).abs().amax(2) < 1e-3).any(1)
    return found


def _same_colours(train, test):
    places = functional.unfold(train, CUT).transpose(1, 2).reshape(-1, 3, CUT * CUT).mean(2)
    return ((test.mean((2, 3))[:, None] - places).abs().amax(2) < 1e-3).any(1)


def _picture(generator):
    return (torch.rand(2, 3, 9, 11, generator=generator),)


def _low(x, window=WINDOW, **options):
    return functional.avg_pool2d(x, window, stride=1, padding=window // 2, **options)


def _split(low, x):
    return torch.stack([low, x - low])


def _separated(x):
    return _split(x - high(x), x)


EXERCISES = [
    {
        "id": "13.1",
        "reference": _mismatch,
        "inputs": _worlds,
        "mistakes": (
            (
                lambda power, blur, noise, a, b: _mismatch(power, blur, noise, blur, noise),
                "That is the error of whoever knows the truth. The filter is made from what was *assumed*.",
            ),
            (
                lambda power, blur, noise, a, b: _mismatch(power, a, b, a, b),
                "That is the error the network has on its own pairs. It is to meet the true blur and noise.",
            ),
            (
                lambda power, blur, noise, a, b: _mismatch(power, a, b, blur, noise),
                "You have exchanged the two: the filter comes from the assumed world, the photo from the true one.",
            ),
            (
                lambda power, blur, noise, a, b: (
                    power * (1 - _wiener(power, a, b) * blur) ** 2 + _wiener(power, a, b) * noise
                ).sum(),
                "Noise passes through the filter as well; its power is multiplied by the *square* of the gain.",
            ),
            (
                lambda power, blur, noise, a, b: (power * (1 - _wiener(power, a, b) * blur) ** 2 + noise).sum(),
                "The noise passes through the filter, too: multiply its power by the squared gain.",
            ),
            (
                lambda power, blur, noise, a, b: _error(_wiener(power, a, b), power, torch.ones_like(blur), noise),
                "Before the filter comes the true blur: of a wave the share gain * blur arrives.",
            ),
            (
                lambda power, blur, noise, a, b: _mismatch(power, blur, noise, a, b) / len(power),
                "That is the mean over frequencies; the sum is asked for.",
            ),
            (
                lambda power, blur, noise, a, b: (power * (1 - _wiener(power, a, b) * blur) ** 2).sum(),
                "That is what is missing of the photo. What the filter lets through of the noise is an error, too.",
            ),
        ),
        "hints": (
            "What comes out is gain * (blur * x + n). Subtract x, square, and take the mean: x and n are independent.",
            "gain = power * assumed_blur / (power * assumed_blur**2 + assumed_noise).",
        ),
    },
    {
        "id": "13.2",
        "reference": _make_pair,
        "seen": _both_parts,
        "inputs": _photo_and_patch,
        "mistakes": (
            (
                lambda hr, patch: _into_both(hr, patch - patch.mean()),
                "That is the function as printed. What is the network to make of the noise in its HR picture?",
            ),
            (
                lambda hr, patch: _into_both(hr, _centred(patch)),
                "One of two is mended: the tint is gone. But HR is noisy: the network learns to keep noise.",
            ),
            (
                lambda hr, patch: (hr, (_reduced(hr) + patch - patch.mean()).clamp(0, 1)),
                "One of two is mended. The patch has a colour of its own: each channel has its own mean.",
            ),
            (
                lambda hr, patch: (hr, _into_both(hr, _centred(patch))[1]),
                "HR is clean now, but noise that is reduced with the photo loses its grain. It belongs to LR pixels.",
            ),
            (
                lambda hr, patch: (hr, _reduced(hr) + _centred(patch)),
                "Nearly: no camera delivers less than black or more than white. Clamp the sum.",
            ),
            (
                lambda hr, patch: (hr, (_reduced(hr) + _centred(patch).clamp(0, 1)).clamp(0, 1)),
                "You clamp the noise itself, so that it only brightens. Clamp the sum.",
            ),
            (
                lambda hr, patch: (hr, (_reduced(hr) + patch).clamp(0, 1)),
                "You add the patch with its brightness. Only what varies is noise.",
            ),
            (lambda hr, patch: (hr, _reduced(hr)), "That is the bicubic pair: where is the noise?"),
            (
                lambda hr, patch: _make_pair(hr, patch)[::-1],
                "The other way round: first HR, then LR.",
            ),
        ),
        "hints": (
            "Which of the two pictures does the camera make? Only that one gets the camera's noise, after all else.",
            "patch.mean((1, 2), keepdim=True) is the mean of each channel; clamp at the very end.",
        ),
    },
    {
        "id": "13.3",
        "reference": _found,
        "inputs": _photos_and_tests,
        "mistakes": (
            (
                lambda train, test: _found(train, test, positions=POSITIONS[:1]),
                "You find only crops that lie upright. Training mirrors and turns: so did whoever made these tests.",
            ),
            (
                lambda train, test: _found(train, test, positions=POSITIONS[:2]),
                "Upright and mirrored is found; what is turned is not.",
            ),
            (
                lambda train, test: _found(train, test, positions=POSITIONS[::2]),
                "You turn, but do not mirror: there are eight positions, not four.",
            ),
            (
                lambda train, test: _found(train, test, positions=((0, False), (2, False), (0, True), (2, True))),
                "Mirrored both ways is found; a quarter turn is not.",
            ),
            (
                lambda train, test: _found(train, test, step=CUT),
                "You look at tiles that do not overlap. A crop may begin at any pixel.",
            ),
            (
                _same_colours,
                "You compare mean colours. Four of the crops have the colours of a training photo, and are others.",
            ),
            (
                lambda train, test: ~_found(train, test),
                "The other way round: true is for those that leaked.",
            ),
            (
                lambda train, test: _found(train, test).sum(),
                "That is how many. Which of them?",
            ),
        ),
        "hints": (
            "functional.unfold(train, 8) has every window of 8 x 8 as a column of 3 * 8 * 8 values.",
            "Turn the tests, not the photos: test.rot90(k, (2, 3)) for k in 0..3, and the same of test.flip(3).",
        ),
    },
    {
        "id": "13.4",
        "reference": _separated,
        "inputs": _picture,
        "mistakes": (
            (
                lambda x: _split(_low(x), x),
                "At the border zeros are counted in: dark rims. Divide by how many pixels there are.",
            ),
            (
                lambda x: _separated(x).flip(0),
                "The other way round: first the low frequencies, then the high ones.",
            ),
            (
                lambda x: _split(_low(x, 3, count_include_pad=False), x),
                "Your window is 3 x 3. Here it is 5 x 5, two pixels to each side.",
            ),
            (
                lambda x: torch.stack([x - high(x), x]),
                "The second is the whole picture: take the low frequencies out.",
            ),
            (
                lambda x: _split((x - high(x)).mean(1, keepdim=True).expand_as(x), x),
                "You average the colours as well. Each channel stays by itself.",
            ),
            (
                lambda x: _split(functional.avg_pool2d(functional.pad(x, (2,) * 4, mode="replicate"), 5, 1), x),
                "You repeat the border, so that its pixels count more often. Average those that are there.",
            ),
            (
                lambda x: _split(functional.avg_pool2d(functional.pad(x, (2,) * 4, mode="reflect"), 5, 1), x),
                "You mirror the border, so that pixels near it count twice. Average those that are there.",
            ),
        ),
        "hints": (
            "A mean with stride 1 and a padding of 2 keeps the size; see the options of functional.avg_pool2d.",
            "count_include_pad=False divides by the number of pixels inside.",
        ),
    },
]
