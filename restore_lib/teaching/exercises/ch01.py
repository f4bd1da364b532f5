"""Exercises of chapter 1, how images degrade."""

import torch
from scipy import ndimage

from restore_lib import noise, resampling


def _kernel(generator, side=5):
    kernel = torch.rand(side, side, generator=generator)
    return kernel / kernel.sum()


def _blur_inputs(generator):
    return torch.rand(3, 13, 16, generator=generator), _kernel(generator)


def _degrade_inputs(generator):
    scale = int(torch.randint(2, 5, (), generator=generator))
    sigma, seed = torch.randint(10, 60, (2,), generator=generator).tolist()
    return torch.rand(3, 24, 36, generator=generator), _kernel(generator), scale, sigma, seed


def _clean_and_noisy(generator):
    clean = torch.rand(3, 20, 20, generator=generator)
    return clean, noise.gaussian(clean, 20, generator)


def _frequencies(generator):
    return 0.5 * torch.rand(40, generator=generator), int(torch.randint(3, 7, (), generator=generator))


def _by_scipy(function, mode):
    return lambda x, kernel: torch.stack(
        [torch.from_numpy(function(plane.numpy(), kernel.numpy(), mode=mode)) for plane in x]
    )


def _degrade(x, kernel, scale, sigma, seed):
    return noise.gaussian(resampling.downscale(x, kernel, scale), sigma, torch.Generator().manual_seed(seed))


def _noise_first(x, kernel, scale, sigma, seed):
    return resampling.downscale(noise.gaussian(x, sigma, torch.Generator().manual_seed(seed)), kernel, scale)


def _ratio_in_db(factor, top, bottom):
    return factor * torch.log10(top / bottom)


EXERCISES = [
    {
        "id": "1.1",
        "reference": lambda x, kernel: resampling.downscale(x, kernel, 1, align=False),
        "inputs": _blur_inputs,
        "mistakes": (
            (
                _by_scipy(ndimage.convolve, "reflect"),
                "You flipped the kernel: that is the mathematician's convolution. The book correlates.",
            ),
            (
                _by_scipy(ndimage.correlate, "constant"),
                "Right inside, dark at the edges: beyond the border you assumed black. Mirror the image instead.",
            ),
            (
                _by_scipy(ndimage.correlate, "mirror"),
                "Almost: your mirror stands on the middle of the border pixel. Ours repeats it: c b a | a b c.",
            ),
            (
                _by_scipy(ndimage.correlate, "nearest"),
                "Almost: beyond the border you repeat its pixel. Ours mirrors the image: c b a | a b c.",
            ),
        ),
        "hints": (
            "Each channel is blurred by itself. What lies beyond the border? The mirror image, border pixel included.",
            '`scipy.ndimage.correlate(plane, kernel, mode="reflect")` does one channel.',
        ),
    },
    {
        "id": "1.2",
        "reference": _degrade,
        "inputs": _degrade_inputs,
        "mistakes": (
            (_noise_first, "You add the noise before shrinking, which averages it away. In the model it comes last."),
            (
                lambda x, k, s, sigma, seed: _degrade(x, k, s, sigma * 255, seed),
                "The noise is 255 times too strong: sigma is given on the scale 0 to 255.",
            ),
            (
                lambda x, k, s, sigma, seed: noise.gaussian(
                    resampling.downscale(x, k, s, align=False), sigma, torch.Generator().manual_seed(seed)
                ),
                "Shifted by (s - 1) / 2 pixels: the kernel has to be aligned with the blocks.",
            ),
            (
                lambda x, k, s, sigma, seed: noise.gaussian(
                    resampling.imresize(x, scale=1 / s), sigma, torch.Generator().manual_seed(seed)
                ),
                "You shrank with bicubic. The model uses the kernel that was given.",
            ),
        ),
        "hints": (
            "Read the model from the inside: blur, keep every s-th pixel, then add noise.",
            "`resampling.downscale` does the first two; `noise.gaussian`, with a seeded generator, the third.",
        ),
    },
    {
        "id": "1.3",
        "reference": lambda clean, noisy: _ratio_in_db(10, clean.var(), (noisy - clean).var()),
        "inputs": _clean_and_noisy,
        "mistakes": (
            (
                lambda clean, noisy: _ratio_in_db(20, clean.var(), (noisy - clean).var()),
                "Twice too large: 20 belongs to a ratio of standard deviations, 10 to one of powers (variances).",
            ),
            (
                lambda clean, noisy: _ratio_in_db(10, clean.std(), (noisy - clean).std()),
                "Half of it: 10 belongs to a ratio of variances, 20 to one of standard deviations.",
            ),
            (
                lambda clean, noisy: _ratio_in_db(10, clean.var(), noisy.var()),
                "You compare the clean with the noisy image. The noise is their difference.",
            ),
            (
                lambda clean, noisy: _ratio_in_db(10, (clean**2).mean(), ((noisy - clean) ** 2).mean()),
                "You count the mean brightness as signal. The variance leaves it out.",
            ),
            (
                lambda clean, noisy: _ratio_in_db(10, (noisy - clean).var(), clean.var()),
                "Upside down: signal above noise.",
            ),
        ),
        "hints": ("First find the noise: what is the difference of the two images?",),
    },
    {
        "id": "1.4",
        "reference": lambda frequency, scale: frequency < 1 / (2 * scale),
        "inputs": _frequencies,
        "mistakes": (
            (
                lambda frequency, scale: frequency < 1 / scale,
                "One pixel a period is not enough: a grid needs more than two samples in every period.",
            ),
            (
                lambda frequency, scale: frequency > 1 / (2 * scale),
                "Upside down: coarse patterns survive, fine ones do not.",
            ),
            (
                lambda frequency, scale: frequency < 0.5,
                "That is the limit of the large image. The small one has its pixels `scale` times further apart.",
            ),
        ),
        "hints": ("After shrinking, pixels are `scale` old pixels apart. How many must fall into one period?",),
    },
    {
        "id": "1.5",
        "reference": lambda kernel, sigma: sigma * kernel.square().sum().sqrt(),
        "inputs": lambda generator: (_kernel(generator), int(torch.randint(5, 60, (), generator=generator))),
        "mistakes": (
            (lambda kernel, sigma: sigma * kernel.sum(), "Errors do not add up like that: some cancel. Add variances."),
            (
                lambda kernel, sigma: sigma * kernel.square().sum(),
                "That factor is for the variance. sigma is a standard deviation: take the square root.",
            ),
            (
                lambda kernel, sigma: torch.as_tensor(sigma / kernel.numel() ** 0.5),
                "That holds for a kernel with equal weights. Here each neighbour counts with its own.",
            ),
        ),
        "hints": (
            "The variance of a sum of independent errors is the sum of their variances.",
            "Scaling an error by k scales its variance by k squared.",
        ),
    },
]
