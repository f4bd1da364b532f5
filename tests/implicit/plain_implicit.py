"""DIINN, LIIF and Meta-SR as their papers read: every layer at every pixel of the large picture, nothing reused.

Slow and large, and independent of the library's way: the reference of tests and the opponent in benchmarks. Each takes
the library's decoder for its weights only.
"""

import torch
from torch.nn import functional


def unfolded(feature):
    """The 3x3 features around each, (b, 9 c, h, w), zeros outside."""
    return functional.unfold(feature, 3, padding=1).unflatten(2, feature.shape[2:])


def centres(n, like):
    """Pixel centres of [-1, 1]."""
    return -1 + (2 * torch.arange(n, device=like.device).to(like.dtype) + 1) / n


def liif_centres(n, like):
    """The same, rounded as LIIF's code rounds."""
    return (-1 + 1 / n) + (2 / n) * torch.arange(n, device=like.device).float()


def plane(rows, cols):
    """Coordinates (2, h, w) from those on two axes."""
    return torch.stack(torch.meshgrid(rows, cols, indexing="ij"))


def conv(x, layer):
    """A linear layer at every pixel."""
    return functional.conv2d(x, layer.weight[:, :, None, None], layer.bias)


def diinn(decoder, feature, size):
    """Eqs. 1 to 9."""
    b, _, h, w = feature.shape
    small = plane(centres(h, feature), centres(w, feature))[None]
    large = plane(centres(size[0], feature), centres(size[1], feature))[None]
    local = large - functional.interpolate(small, size=size, mode="nearest-exact")
    local = local * local.new_tensor([h, w])[:, None, None]
    third = h * w / (size[0] * size[1])
    third = third if decoder.third == "area" else third**0.5
    p = torch.cat([local, torch.full_like(local[:, :1], third)], dim=1).expand(b, -1, -1, -1)  # (b, 3, H, W)
    z = functional.interpolate(unfolded(feature), size=size, mode="nearest-exact")  # (b, 9 c, H, W)
    if decoder.position is not None:
        p = torch.sin(conv(p, decoder.position))
        z = p * z
    m = torch.relu(conv(z, decoder.modulation[0]))
    s = m * torch.sin(conv(p, decoder.synthesis[0]))
    for modulation, synthesis in zip(decoder.modulation[1:], decoder.synthesis[1:], strict=True):
        reads = {"previous": [m], "previous+content": [m, z], "synthesis+content": [s, z]}[decoder.reads]
        m = torch.relu(conv(torch.cat(reads, dim=1), modulation))
        s = m * torch.sin(conv(s, synthesis))
    if decoder.variant == "mode4":
        return functional.conv2d(
            functional.pad(s, (1, 1, 1, 1), mode="reflect"), decoder.last.weight, decoder.last.bias
        )
    return conv(s, decoder.last)


def liif(decoder, feature, size):
    """Eqs. 1 and 3 to 5, with the official code's way of asking the four neighbours."""
    b, c, h, w = feature.shape
    if decoder.content == 9 * c:
        feature = unfolded(feature)
    # Places in float32, as in the official code: at x3 the shares in the last row and column are rounding errors.
    ruler = feature[0, 0, 0, 0].float()
    small = plane(liif_centres(h, ruler), liif_centres(w, ruler))[None]
    large = plane(liif_centres(size[0], ruler), liif_centres(size[1], ruler))[None]
    number = torch.arange(h * w, device=ruler.device).float().view(1, 1, h, w)
    answers, areas = [], []
    shifts = [(down, right) for down in (-1, 1) for right in (-1, 1)] if decoder.ensemble else [(0, 0)]
    for down, right in shifts:
        nudge = 1e-6 if decoder.ensemble else 0
        asked = torch.stack([large[:, 0] + (down / h + nudge), large[:, 1] + (right / w + nudge)], dim=1)
        asked = asked.clamp(-1 + 1e-6, 1 - 1e-6).flip(1).permute(0, 2, 3, 1)  # (1, H, W, 2), x before y
        nearest = functional.grid_sample(number, asked, mode="nearest", align_corners=False).long()[0, 0]
        if feature.dtype == torch.float32:  # as the official code does
            everywhere = asked.expand(b, -1, -1, -1)
            z = functional.grid_sample(feature, everywhere, mode="nearest", align_corners=False)  # (b, 9 c, H, W)
        else:
            z = feature.flatten(2)[:, :, nearest]
        place = large - functional.grid_sample(small, asked, mode="nearest", align_corners=False)
        place = (place * place.new_tensor([h, w])[:, None, None]).to(feature.dtype).expand(b, -1, -1, -1)
        x = [z, place]
        if decoder.cell:
            x.append(place.new_tensor([2 * h / size[0], 2 * w / size[1]])[:, None, None].expand_as(place))
        x = torch.cat(x, dim=1).permute(0, 2, 3, 1)  # (b, H, W, 9 c + 4)
        for layer in decoder.layers[:-1]:
            x = torch.relu(layer(x))
        answers.append(decoder.layers[-1](x))
        areas.append((place[:, 0] * place[:, 1]).abs() + 1e-9)
    total = sum(areas)
    mixed = sum(a * (area / total)[..., None] for a, area in zip(answers, reversed(areas), strict=True))
    return mixed.permute(0, 3, 1, 2)


def metasr(decoder, feature, size):
    """A filter of 9 c x 3 weights for each pixel, made and applied."""
    b, c, h, w = feature.shape
    rows, cols = torch.arange(size[0]) * h, torch.arange(size[1]) * w  # upper left corners, times H and W
    z = unfolded(feature)[:, :, rows // size[0]][:, :, :, cols // size[1]]  # (b, 9 c, H, W)
    place = plane((rows % size[0]).to(feature.dtype) / size[0], (cols % size[1]).to(feature.dtype) / size[1])
    place = torch.cat([place, torch.full_like(place[:1], h / size[0])]).to(feature.device)
    weights = decoder.layers[1](torch.relu(decoder.layers[0](place.permute(1, 2, 0).reshape(-1, 3))))
    weights = weights.view(-1, 9 * c, 3)  # (H W, 9 c, 3)
    colours = [torch.bmm(one.reshape(9 * c, 1, -1).permute(2, 1, 0), weights)[:, 0] for one in z]
    return torch.stack(colours).permute(0, 2, 1).reshape(b, 3, *size)
