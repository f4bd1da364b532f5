"""Exercises of chapter 9, noise you can collect."""

import torch

WEIGHTS = torch.tensor([0.299, 0.587, 0.114])
SQUARES = float(WEIGHTS.square().sum())  # 0.447
# Luma variance and mean of the patches to judge, in units of the limits. Each mistake is wrong about one of them.
PATCHES = ((0.3, 1.6), (0.6, 0.5), (0.97, 1.5), (0.97, 0.7), (1.6, 1.4), (3.5, 1.8), (0.5, 1.3))


def _luma(patches):
    return 255 * (patches * WEIGHTS[:, None, None]).sum(1)  # (n, h, w)


def _kept(patches, variance, mean):
    grey = _luma(patches)
    return (grey.var((1, 2), correction=0) < variance) & (grey.mean((1, 2)) > mean)


def _patches(generator):
    """Small patches with noise whose luma has a known variance, in an order that says nothing."""
    draw = torch.rand(2, generator=generator)
    variance, mean = 15 + 15 * float(draw[0]), 50 + 15 * float(draw[1])
    units = torch.tensor([*PATCHES, (2 * variance, 1.7)])  # the last has a standard deviation above the limit, too
    noise = torch.randn(len(units), 3, 4, 4, generator=generator)
    noise = noise - noise.mean((2, 3), keepdim=True)
    noise = noise * (units[:, 0] * variance / _luma(noise).var((1, 2), correction=0)).sqrt()[:, None, None, None]
    grey = noise + (units[:, 1] * mean / 255)[:, None, None, None]
    same = noise[1].mean(0)  # in all channels, on a strong colour: it varies little, its values vary much
    same = same * (0.5 * variance / _luma(same.expand(1, 3, 4, 4)).var(correction=0)).sqrt()
    colours = mean / 255 * torch.tensor([[0.6, 0.6, 3.0], [2.5, 1.0, 0.4]])[:, :, None, None]
    patches = torch.cat([grey, noise[:1] + colours[:1], same + colours[1:]])  # the blue one is dark as luma
    order = torch.randperm(len(patches), generator=generator)
    return patches[order], variance, mean


def _crops(generator):
    """Crops of several colours, each channel at another level, in a pool whose strength is not 1."""
    levels = torch.rand(6, 3, 1, 1, generator=generator)
    return (levels + 0.05 * torch.randn(6, 3, 7, 9, generator=generator),)


def _field(generator):
    """Noise that is like its neighbours, on a ground that is not zero, and how far to look."""
    wide = torch.randn(1, 1, 18, 16, generator=generator)
    x = torch.nn.functional.avg_pool2d(wide, (2, 3), 1)[0, 0]
    return x + 1 + torch.rand((), generator=generator), int(torch.randint(2, 5, (), generator=generator))


def _lags(x, reach, *, pad=2, mean=True, pairs=True, divide=True, conjugate=True):
    height, width = x.shape
    x = x - x.mean() if mean else x
    transform = torch.fft.fft2(x, s=(pad * height, pad * width))
    sums = torch.fft.ifft2(transform.abs().square() if conjugate else transform * transform).real
    count = torch.full((reach + 1, reach + 1), float(x.numel()))
    if pairs and pad > 1:
        lags = torch.arange(reach + 1)
        count = (height - lags)[:, None] * (width - lags)[None, :]
    found = sums[: reach + 1, : reach + 1] / count
    return found / found[0, 0] if divide else found


def _strengths(generator):
    draw = torch.rand(2, generator=generator)
    return float(3 + 20 * draw[0]), float(0.1 + 0.7 * draw[1])


def _luma_sigma(sigma, rho):
    return sigma * (SQUARES + rho * (1 - SQUARES)) ** 0.5


EXERCISES = [
    {
        "id": "9.1",
        "reference": _kept,
        "inputs": _patches,
        "mistakes": (
            (
                lambda p, v, m: ((255 * p).var((2, 3), correction=0).mean(1) < v) & (_luma(p).mean((1, 2)) > m),
                "You measure the variance of red, green and blue. The rule measures luma, where noise of three "
                "independent channels is less than half as strong.",
            ),
            (
                lambda p, v, m: ((255 * p).var((1, 2, 3), correction=0) < v) & (_luma(p).mean((1, 2)) > m),
                "You take the variance over all values, so a patch of one colour seems to vary between its channels. "
                "Mix the channels to luma first.",
            ),
            (
                lambda p, v, m: _luma(p).var((1, 2), correction=0) < v,
                "You keep dark patches: the mean luma has to be more than `mean`, too.",
            ),
            (
                lambda p, v, m: (_luma(p).var((1, 2), correction=0) < v) & (_luma(p).mean((1, 2)) < m),
                "You keep the dark patches and leave out the bright ones: the mean must be *more* than `mean`.",
            ),
            (
                lambda p, v, m: (_luma(p).var((1, 2), correction=0) < v) | (_luma(p).mean((1, 2)) > m),
                "One condition is not enough: both must hold.",
            ),
            (
                lambda p, v, m: _luma(p).mean((1, 2)) > m,
                "You only ask whether the patch is bright. (Or did you write 1 / 255 of the variance? Then everything "
                "is below the limit.)",
            ),
            (
                lambda p, v, m: ((_luma(p) / 255).var((1, 2), correction=0) < v) & (_luma(p).mean((1, 2)) / 255 > m),
                "Patches lie in [0, 1], both limits on the scale 0 to 255: multiply first.",
            ),
            (
                lambda p, v, m: (_luma(p).std((1, 2), correction=0) < v) & (_luma(p).mean((1, 2)) > m),
                "That is the standard deviation. The paper writes it like that, but its 20 is a variance.",
            ),
            (
                lambda p, v, m: (_luma(p).var((1, 2)) < v) & (_luma(p).mean((1, 2)) > m),
                "You divide by one pixel less than there are, which PyTorch does unless told `correction=0`. With "
                "256 x 256 pixels nobody would notice; these patches are small.",
            ),
            (
                lambda p, v, m: (_luma(p).var((1, 2), correction=0) < v) & (255 * p.mean((1, 2, 3)) > m),
                "The mean, too, is that of luma: a deep blue patch is darker than the mean of its channels.",
            ),
        ),
        "hints": (
            "Mix the channels with the three weights, multiply by 255, then look at variance and mean of each patch.",
            "grey.var((1, 2), correction=0) < variance, and with & the same for the mean.",
        ),
    },
    {
        "id": "9.2",
        "reference": lambda crops: crops - crops.mean((2, 3), keepdim=True),
        "inputs": _crops,
        "mistakes": (
            (
                lambda crops: crops - crops.mean(),
                "You take out one number, the mean of the whole pool: each crop would still change the brightness and "
                "the colour of an image.",
            ),
            (
                lambda crops: crops - crops.mean((1, 2, 3), keepdim=True),
                "You take out the mean over all channels: the crop's colour stays, and would tint an image.",
            ),
            (
                lambda crops: crops - crops.mean((0, 2, 3), keepdim=True),
                "You take out the mean of each channel over the whole pool: every single crop keeps its own level.",
            ),
            (
                lambda crops: crops - crops.mean(0, keepdim=True),
                "You average over the crops, pixel by pixel. The mean is over the pixels of a crop.",
            ),
            (
                lambda crops: (crops - crops.mean((2, 3), keepdim=True)) / crops.std((2, 3), keepdim=True),
                "You also divide by the standard deviation: how strong the noise is was worth collecting.",
            ),
            (lambda crops: crops.mean((2, 3), keepdim=True).expand_as(crops), "Those are the means: subtract them."),
        ),
        "hints": (
            "One mean for each crop and each channel: over which two dimensions?",
            "crops.mean((2, 3), keepdim=True) has the shape (n, 3, 1, 1).",
        ),
    },
    {
        "id": "9.3",
        "reference": _lags,
        "inputs": _field,
        "tolerance": 1e-4,
        "mistakes": (
            (
                lambda x, reach: _lags(x, reach, mean=False),
                "The mean is still in it: every pixel then seems to be like every other. Subtract it first.",
            ),
            (
                lambda x, reach: _lags(x, reach, divide=False),
                "That is the covariance. Divide by its value at distance zero.",
            ),
            (
                lambda x, reach: _lags(x, reach, pad=1),
                "The transform takes the field as one that repeats, and compares the last column with the first. Pad "
                "with zeros to twice the size: `torch.fft.fft2(x, s=...)`.",
            ),
            (
                lambda x, reach: _lags(x, reach, pairs=False),
                "At a distance of d rows there are d rows fewer to compare. Divide each sum by how many pairs it has.",
            ),
            (
                lambda x, reach: _lags(x, reach, pad=1, mean=False),
                "Two things are missing: subtract the mean, and pad with zeros to twice the size.",
            ),
            (
                lambda x, reach: _lags(x, reach, mean=False, divide=False),
                "Two things are missing: subtract the mean, and divide by the value at distance zero.",
            ),
            (
                lambda x, reach: _lags(x, reach, conjugate=False),
                "You square the transform. That is a convolution, which turns one copy round: take the square of its "
                "*magnitude*.",
            ),
        ),
        "hints": (
            "The autocorrelation's transform is the squared magnitude of the transform. Then come two divisions.",
            "sums = torch.fft.ifft2(torch.fft.fft2(x, s=(2 * h, 2 * w)).abs() ** 2).real; divide by (h - i) * (w - j).",
        ),
    },
    {
        "id": "9.4",
        "reference": _luma_sigma,
        "inputs": _strengths,
        "mistakes": (
            (
                lambda sigma, rho: sigma * SQUARES**0.5,
                "That is right for independent channels. Two channels i and j that are correlated add "
                "2 w_i w_j rho to the variance.",
            ),
            (
                lambda sigma, rho: sigma * (SQUARES + rho * (1 - SQUARES)),
                "That is the factor of the variance; the standard deviation takes its root.",
            ),
            (lambda sigma, rho: _luma_sigma(sigma, rho) ** 2, "That is the variance; asked for is its root."),
            (lambda sigma, rho: sigma * SQUARES, "Variances add up with squared weights: take the root in the end."),
            (lambda sigma, rho: sigma, "So it would be if all channels had the same noise, rho = 1."),
            (
                lambda sigma, rho: sigma * ((1 + 2 * rho) / 3) ** 0.5,
                "You weigh the channels alike. Luma takes 0.299 of red, 0.587 of green and 0.114 of blue.",
            ),
            (
                lambda sigma, rho: sigma * (SQUARES + rho * (1 - SQUARES) / 2) ** 0.5,
                "Each pair of channels occurs twice in the square of a sum: 2 w_i w_j.",
            ),
            (
                lambda sigma, rho: sigma * (SQUARES + rho) ** 0.5,
                "rho comes with the products of the weights, 2 (w_r w_g + w_g w_b + w_r w_b), not alone.",
            ),
        ),
        "hints": (
            "The variance of a weighted sum: squares of the weights, and for each pair twice their product times rho.",
            "The weights sum to 1, so the products of pairs, twice, are 1 minus the sum of squares.",
        ),
    },
]
