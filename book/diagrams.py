"""Draw the networks and pipelines of the papers as SVG: ``python book/diagrams.py``; ``make outputs`` does it, too.

Every number of channels, pixels and parameters is read from the library's own networks. Each picture is 480 units wide
with letters of 14 and more, so that it can be read on a phone, and has paper of its own, so that it can in dark mode.
"""

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from restore_lib.denoising import Denoiser
from restore_lib.denoising.denoiser import FeatureModule
from restore_lib.implicit import DIINN, LIIFDecoder, MetaSRDecoder
from restore_lib.nets.receptive import extent, receptive_field
from restore_lib.realsr import TRACK2, KernelDiscriminator, KernelGenerator, PatchDiscriminator, RRDBNet
from restore_lib.realsr.kernelgan import SIZES
from restore_lib.realsr.losses import LossWeights

FOLDER = Path(__file__).resolve().parent / "static" / "diagrams"
WIDTH = 480
FILLS = {"data": "#ffffff", "net": "#d6e8f5", "other": "#fbe3d3", "fixed": "#e8e8e8"}
EDGES = {"data": "#555555", "net": "#0072B2", "other": "#B24E00", "fixed": "#555555"}


class Drawing:
    """Boxes, arrows and texts, in a coordinate system that grows downwards."""

    def __init__(self, title: str, height: int):
        self.title, self.height, self.parts = title, height, []

    def box(self, x: float, y: float, wide: float, lines: Sequence[str] | str, kind: str = "data") -> tuple:
        """A box with its middle at ``x`` and its top at ``y``, as high as its lines need; gives (x, top, bottom)."""
        lines = [lines] if isinstance(lines, str) else lines
        high = 12 + 19 * len(lines)
        self.parts.append(
            f'<rect x="{x - wide / 2:g}" y="{y:g}" width="{wide:g}" height="{high:g}" rx="5" '
            f'fill="{FILLS[kind]}" stroke="{EDGES[kind]}" stroke-width="1.6"/>'
        )
        for number, line in enumerate(lines):
            self.text(x, y + 21 + 19 * number, line, 15 if number == 0 else 14)
        return x, y, y + high

    def text(self, x: float, y: float, words: str, size: int = 14, anchor: str = "middle") -> None:
        """One line; ``y`` is its baseline."""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}">{escape(words)}</text>')

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """A line through all points with a head at the last."""
        way = " ".join(f"{x:g},{y:g}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<polyline points="{way}" class="way"{dash} marker-end="url(#head)"/>')

    def down(self, upper: tuple, lower: tuple, words: str = "") -> None:
        """An arrow from the bottom of a box straight down to the top of another."""
        self.arrow((lower[0], upper[2]), (lower[0], lower[1] - 1))
        if words:
            self.text(lower[0] + 8, (upper[2] + lower[1]) / 2 + 5, words, 14, "start")

    def svg(self) -> str:
        """The file's text."""
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{self.height}" '
            f'viewBox="0 0 {WIDTH} {self.height}" role="img" font-family="DejaVu Sans, Arial" fill="#111">\n'
            f"<title>{escape(self.title)}</title>\n"
            "<style>.way{fill:none;stroke:#444;stroke-width:1.5}</style>\n"
            '<defs><marker id="head" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
            '<path d="M0,0 L9,4 L0,8 z" fill="#444"/></marker></defs>\n'
            f'<rect width="{WIDTH}" height="{self.height}" rx="6" fill="#fff"/>\n{body}\n</svg>\n'
        )


def parameters(network: nn.Module) -> str:
    """How many, with commas."""
    return f"{sum(p.numel() for p in network.parameters()):,}"


def shape(x: torch.Tensor) -> str:
    """Channels, height and width of a batch."""
    return " x ".join(map(str, x.shape[1:]))


def layer(name: str, of: nn.Module) -> list[str]:
    """Lines for a module of the denoiser: what it is, and its channels."""
    if isinstance(of, FeatureModule):
        convs = of.residual.convs
        inside = [convs[0].in_channels, *(conv.out_channels for conv in convs)]
        kernels = "/".join(str(conv.kernel_size[0]) for conv in convs)
        return [
            name,
            f"3 x 3: {of.conv.in_channels} to {of.conv.out_channels}",
            f"{kernels}: {'/'.join(map(str, inside))}",
        ]
    side = of.kernel_size[0]
    return [name, f"{side} x {side}: {of.in_channels} to {of.out_channels}"]


def denoiser() -> Drawing:
    """Paper A's denoiser at three scales: the released network beside the one of the paper's figure."""
    d = Drawing("The denoiser at three scales, as released and as in Figure 2 of the paper", 760)
    names = {
        "first": "encode, full size",
        "encode_2": "encode, half size",
        "encode_3": "encode, quarter size",
        "up_3": "deconvolve to half",
        "decode_2": "decode, half size",
        "up_2": "deconvolve to full",
        "decode_1": "decode, full size",
        "last": "convolve",
    }
    tops = (58, 148, 238, 328, 400, 490, 562, 652)
    for variant, title, x, side in (
        ("released", "the released code", 125, -1),
        ("paper", "Figure 2 of the paper", 355, 1),
    ):
        with torch.device("meta"):
            network = Denoiser(variant)
        d.text(x, 24, title, 15)
        d.text(x, 44, f"{parameters(network)} parameters")
        boxes = {}
        for (name, words), top in zip(names.items(), tops, strict=True):
            part = getattr(network, name, None)
            if part is not None:
                plain = not isinstance(part, FeatureModule)
                boxes[name] = d.box(x, top, 206, layer(words, part), "other" if plain else "net")
        for upper, lower in pairwise(boxes.values()):
            d.arrow((x, upper[2]), (x, lower[1] - 1))
        joins = (("encode_2", "decode_2", 8), ("first", "decode_1" if variant == "paper" else "last", 15))
        for source, target, gap in joins:  # what was encoded at a size meets what comes up to it
            edge, line = x + side * 103, x + side * (103 + gap)
            start, end = boxes[source][1] + 20, boxes[target][1] + 14
            d.arrow((edge, start), (line, start), (line, end), (edge + side, end))
        d.text(x, 726, "+ the noisy photo")
    d.text(240, 750, "1/3/1: kernels of a bottleneck, then its channels", 14)
    return d


def cascade() -> Drawing:
    """A denoiser before a frozen network: what learns, and where its gradient comes from."""
    d = Drawing("The cascade: a denoiser that learns, before a network that is frozen", 470)
    clean = d.box(370, 12, 190, "clean picture x")
    noisy = d.box(125, 12, 200, ["noisy picture y", "fresh noise in each step"])
    net = d.box(125, 102, 200, ["denoiser F_D", "learns"], "net")
    out = d.box(125, 192, 200, "denoised picture")
    mse = d.box(370, 183, 190, ["MSE", "over all pixels"])
    seer = d.box(125, 272, 220, ["classifier, segmenter F_H", "frozen: weights and", "batch statistics"], "fixed")
    task = d.box(125, 380, 220, ["cross entropy L_H", "with the true classes"])
    total = d.box(370, 380, 190, ["L = MSE + \u03bb L_H", "minimised over F_D"])
    for upper, lower in ((noisy, net), (net, out), (out, seer), (seer, task)):
        d.down(upper, lower)
    d.arrow((clean[0], clean[2]), (370, mse[1] - 1))
    d.arrow((225, 207), (274, 207))
    d.arrow((370, mse[2]), (370, total[1] - 1))
    d.arrow((235, 405), (274, 405))
    d.arrow((380, total[2]), (380, 446), (8, 446), (8, 127), (24, 127), dashed=True)
    d.text(240, 464, "the gradient goes back through F_H, and changes F_D only", 14)
    return d


def kernelgan() -> Drawing:
    """KernelGAN's two networks, and what each is told."""
    with torch.device("meta"):
        generator, judge, crop = KernelGenerator(), KernelDiscriminator(), torch.empty(1, 3, 64, 64)
    fake = generator(crop)
    large = ", ".join(f"{n} x {n}" for n in SIZES if n > 1)
    field, seen = 1 + sum(n - 1 for n in SIZES), judge.first.kernel_size[0]
    d = Drawing("KernelGAN", 560)
    photo = d.box(240, 12, 300, ["the photo", "and nothing else"])
    left = d.box(130, 92, 220, ["a crop with edges", shape(crop)])
    right = d.box(370, 92, 190, ["a crop of the photo", shape(fake)])
    d.arrow((180, photo[2]), (140, 91))
    d.arrow((310, photo[2]), (360, 91))
    gen = d.box(
        130,
        178,
        240,
        ["generator G: linear", large, f"then {SIZES.count(1)} times 1 x 1", "stride 2 at the end"],
        "net",
    )
    d.down(left, gen)
    d.text(14, gen[2] + 18, f"{parameters(generator)} weights,", 14, "start")
    d.text(14, gen[2] + 36, f"worth one {field} x {field} kernel", 14, "start")
    made = d.box(130, 318, 220, ["reduced by 2", shape(fake)])
    d.arrow((236, gen[2]), (236, made[1] - 1))
    told = [f"{seen} x {seen}, then only 1 x 1", f"{parameters(judge)} parameters"]
    dis = d.box(310, 404, 300, [f"discriminator D: sees {seen} x {seen}", *told], "other")
    d.arrow((215, made[2]), (215, dis[1] - 1))
    d.arrow((420, right[2]), (420, dis[1] - 1))
    says = d.box(310, 512, 300, f"a map of {shape(judge(fake))[4:]}: real or made?")
    d.arrow((310, dis[2]), (310, says[1] - 1))
    d.arrow((160, 527), (40, 527), (40, gen[2] + 44), dashed=True)
    d.text(48, 517, "gradient for G", 14, "start")
    return d


def realsr() -> Drawing:
    """RealSR's whole pipeline: two pools, pairs, two stages of training, a network."""
    weights = LossWeights()
    with torch.device("meta"):
        network, judge = RRDBNet(), PatchDiscriminator()
    d = Drawing("RealSR: from photos to a network", 690)
    photos = d.box(240, 12, 300, ["real photos", "noisy, blurred; nothing clean"])
    kernel = d.box(85, 104, 152, ["KernelGAN", "a kernel a photo"], "net")
    noise = d.box(395, 104, 152, ["flat patches", f"luma variance < {TRACK2.rule.variance:g}"])
    clean = d.box(240, 104, 134, ["clean-up", "reduce by 2"])
    for box in (kernel, clean, noise):
        d.arrow((240 + (box[0] - 240) * 0.6, photos[2]), (box[0], 103))
    pool = d.box(85, 194, 152, ["pool of kernels", "k"])
    hr = d.box(240, 194, 134, ["HR picture", "I_HR"])
    grain = d.box(395, 194, 152, ["pool of noise", "n"])
    for upper, lower in ((kernel, pool), (clean, hr), (noise, grain)):
        d.down(upper, lower)
    blur = d.box(200, 286, 310, ["correlate with k, keep every 4th pixel"])
    d.arrow((85, pool[2]), (120, 285))
    d.arrow((240, hr[2]), (240, 285))
    add = d.box(240, 346, 390, ["add n without its mean, clamp to [0, 1]: I_LR"])
    d.arrow((200, blur[2]), (200, 345))
    d.arrow((420, grain[2]), (420, 345))
    first = d.box(
        240, 412, 390, ["stage 1: RRDBNet by absolute differences", f"{parameters(network)} parameters"], "net"
    )
    d.arrow((240, add[2]), (240, 411))
    total = f"{weights.pixel:g} L1 + {weights.features:g} Lper + {weights.adversarial:g} Ladv"
    second = d.box(240, 492, 390, ["stage 2: on from there, with a discriminator", total], "net")
    d.arrow((240, first[2]), (240, 491))
    patch = d.box(
        240, 572, 390, ["patch discriminator: 70 x 70 pixels a logit", f"{parameters(judge)} parameters"], "other"
    )
    d.arrow((150, second[2]), (150, 571))
    d.arrow((330, patch[1]), (330, second[2] + 1))
    d.text(240, 652, "Used: a photo in, enlarged by 4, one pass.", 15)
    d.text(240, 673, "No kernel and no noise is needed any more.", 14)
    return d


def rrdb() -> Drawing:
    """RRDBNet from outside to inside."""
    with torch.device("meta"):
        network, lr = RRDBNet(), torch.empty(1, 3, 32, 32)
    dense = network.blocks[0].dense[0]
    width, trunk = network.first.out_channels, f"{parameters(network.blocks)} weights"
    d = Drawing("RRDBNet, one of its blocks, and one of its dense blocks", 640)
    row = [
        d.box(240, 12, 330, [f"LR picture, {shape(lr)}"]),
        d.box(240, 60, 330, [f"conv 3 x 3, 3 to {width} channels"], "net"),
        d.box(240, 108, 330, [f"{len(network.blocks)} RRDBs, one after the other", trunk], "net"),
        d.box(240, 176, 330, ["conv 3 x 3, plus what went in above"], "net"),
        d.box(240, 224, 330, [f"{len(network.ups)} times: repeat pixels by 2, conv 3 x 3"], "net"),
        d.box(240, 272, 330, [f"2 convs 3 x 3: {shape(network(lr))}"], "net"),
    ]  # fmt: skip
    for upper, lower in pairwise(row):
        d.arrow((240, upper[2]), (240, lower[1] - 1))
    d.arrow((240, 99), (440, 99), (440, 191), (407, 191))
    d.text(240, 336, f"An RRDB: {len(network.blocks[0].dense)} dense blocks and a skip", 15)
    for n, x in enumerate((110, 240, 370)):
        d.box(x, 356, 104, ["dense", "block"], "net")
        d.arrow((x - 80 if n == 0 else x - 78, 381), (x - 53, 381))
    d.arrow((422, 381), (462, 381))
    d.arrow((40, 381), (40, 424), (442, 424), (442, 384))
    d.text(240, 443, "+ x, and what is added counts 0.2 only", 14)
    d.text(240, 482, "A dense block: each conv sees all before it", 15)
    for n, conv in enumerate(dense.convs):
        x = 56 + 92 * n
        d.box(x, 500, 78, [f"{conv.in_channels}", f"to {conv.out_channels}"], "net")
        if n:
            d.arrow((x - 52, 525), (x - 40, 525))
    d.arrow((8, 525), (16, 525))
    d.parts.append('<polyline points="12,525 12,572 424,572" class="way"/>')
    for n in range(1, 5):
        x = 56 + 92 * n
        d.arrow((x, 572), (x, 551))
    d.text(240, 594, "leaky ReLU after the first four; the last result", 14)
    d.text(240, 613, "counts 0.2 and is added to the input", 14)
    return d


def patch() -> Drawing:
    """How one logit of the patch discriminator comes to see 70 x 70 pixels."""
    judge = PatchDiscriminator(width=2)
    convs = [judge.first, *judge.convs, judge.last]
    seen, rows = 1, []
    for conv in reversed(convs):
        rows.append(seen)
        seen = (seen - 1) * conv.stride[0] + conv.kernel_size[0]
    assert (seen, seen) == extent(receptive_field(judge, 192))
    fields = [seen, *reversed(rows)]
    with torch.device("meta"):
        real = PatchDiscriminator()
        wide = [layer.out_channels for layer in (real.first, *real.convs, real.last)]
        x, sides = torch.empty(1, 3, 128, 128), [128]
        for conv in (real.first, *real.convs, real.last):
            x = conv(x)
            sides.append(x.shape[-1])
    d = Drawing("What one logit of the patch discriminator sees, layer by layer", 432)
    d.text(14, 26, "Backwards from one logit, every layer sees more:", 15, "start")
    names = ["pixels", *(f"map of conv {n + 1}" for n in range(len(convs)))]
    for n, (name, field, side) in enumerate(zip(names, fields, sides, strict=True)):
        y, size = 44 + 60 * n, max(2.2 * field / 2.6, 3)
        d.parts.append(
            f'<rect x="{60 - size / 2:g}" y="{y + 26 - size / 2:g}" width="{size:g}" height="{size:g}" '
            f'fill="{FILLS["other" if n else "data"]}" stroke="{EDGES["other"]}" stroke-width="1.6"/>'
        )
        d.text(112, y + 24, f"{name}: {field} x {field}", 15, "start")
        if n:
            layer = convs[n - 1]
            d.text(112, y + 43, f"4 x 4, stride {layer.stride[0]}, {wide[n - 1]} channels", 14, "start")
        d.text(470, y + 24, f"of {side} x {side}", 14, "end")
    d.text(14, 420, "Right: the whole map, for a crop of 128 x 128 pixels.", 14, "start")
    return d


def diinn() -> Drawing:
    """Paper C's whole way from a small picture to a colour at any place."""
    with torch.device("meta"):
        network, lr = DIINN(), torch.empty(1, 3, 48, 48)
        feature = network.encoder(lr)
    decoder = network.decoder
    m, s = decoder.modulation, decoder.synthesis
    d = Drawing("DIINN: from a small picture to a colour at any place", 640)
    small = d.box(150, 12, 262, [f"small picture, {shape(lr)}"])
    encoder = d.box(150, 66, 262, ["encoder RDN", f"{parameters(network.encoder)} weights"], "net")
    feat = d.box(150, 140, 262, [f"features, {shape(feature)}"])
    near = d.box(150, 194, 262, ["3 x 3 around the nearest pixel", f"content z: {m[0].in_features} numbers"])
    for upper, lower in zip((small, encoder, feat), (encoder, feat, near), strict=True):
        d.down(upper, lower)
    asked = d.box(395, 66, 150, ["a place (x, y)", "any size is a", "list of places"])
    place = d.box(395, 175, 150, ["way from the", "small pixel, and", f"1/s²: p, {s[0].in_features} numbers"])
    d.down(asked, place)
    d.text(120, 280, "modulation branch", 15)
    d.text(370, 280, "synthesis branch", 15)
    y = 292
    for n, (left, right) in enumerate(zip(m, s, strict=True)):
        a = d.box(120, y, 210, [f"{left.in_features} to {left.out_features}, ReLU: m{n}"], "net")
        b = d.box(370, y, 190, [f"{right.in_features} to {right.out_features}, sine"], "other")
        mid = y + 49
        d.box(300, mid - 7, 120, [f"s{n} = m{n} · sine"])
        d.arrow((200, a[2]), (239, mid + 6))
        d.arrow((390, b[2]), (361, mid + 6))
        if n == 0:
            d.arrow((120, near[2]), (120, 265))
            d.arrow((395, place[2]), (395, 265))
        else:
            d.arrow((12, 241), (12, y + 16), (14, y + 16))
        if n + 1 < len(m):
            d.arrow((262, mid + 24), (227, y + 106))
            d.arrow((340, mid + 24), (362, y + 91))
        y += 92
    d.parts.append('<polyline points="19,241 12,241" class="way"/>')
    last = d.box(300, y + 6, 190, [f"{decoder.last.in_features} to 3: the colour"], "net")
    d.arrow((300, y - 19), (300, y + 5))
    d.height = int(last[2] + 12)
    return d


def liif() -> Drawing:
    """LIIF: four small pixels answer, and their answers are mixed by areas."""
    with torch.device("meta"):
        decoder = LIIFDecoder()
    layers = [layer for layer in decoder.modules() if isinstance(layer, nn.Linear)]
    d = Drawing("LIIF: four small pixels answer for one place", 470)
    d.text(240, 28, "A place between four small pixels", 15)
    corners = [(70, 48), (300, 48), (70, 146), (300, 146)]
    for n, (x, y) in enumerate(corners):
        d.box(x + 55, y, 110, [f"z{n + 1}, p{n + 1}"], "net")
    d.parts.append('<circle cx="212" cy="120" r="6" fill="#111"/>')
    d.text(250, 125, "asked for", 14, "start")
    for x, y in ((180, 79), (298, 79), (180, 150), (298, 150)):
        d.arrow((212 + (x - 212) * 0.15, 120 + (y - 120) * 0.15), (x, y), dashed=True)
    content = 9 * 64
    one = d.box(
        240, 218, 400, ["each: [z ; p ; cell]", f"{content} + 2 + 2 = {layers[0].in_features} numbers in one list"]
    )
    widths = " to ".join(str(n) for n in [layers[0].in_features, *(layer.out_features for layer in layers)])
    mlp = d.box(
        240, 294, 400, ["the same MLP four times, with ReLU", widths, f"{parameters(decoder)} weights"], "other"
    )
    mix = d.box(240, 388, 400, ["four colours, mixed", "each by the area of the opposite rectangle"])
    d.arrow((240, 177), (240, 217))
    d.down(one, mlp)
    d.down(mlp, mix)
    d.height = int(mix[2] + 14)
    return d


def metasr() -> Drawing:
    """Meta-SR: a small network makes a filter for each place, and the filter is applied to the content."""
    with torch.device("meta"):
        decoder = MetaSRDecoder()
    first, last = (layer for layer in decoder.modules() if isinstance(layer, nn.Linear))
    content = last.out_features // 3
    d = Drawing("Meta-SR: a filter for each place", 330)
    place = d.box(120, 12, 210, ["place p in the pixel, 1/s", f"{first.in_features} numbers"])
    small = d.box(365, 12, 200, ["3 x 3 features", f"content z: {content} numbers"])
    hidden = d.box(120, 92, 210, [f"{first.in_features} to {first.out_features}, ReLU"], "other")
    made = d.box(120, 152, 210, [f"{last.in_features} to {last.out_features:,}", "a filter W(p)"], "other")
    d.down(place, hidden)
    d.down(hidden, made)
    product = d.box(240, 238, 400, ["colour = filter times content", f"{content} x 3 products; linear in z"])
    d.arrow((120, made[2]), (120, 237))
    d.arrow((365, small[2]), (365, 237))
    d.height = int(product[2] + 14)
    return d


DIAGRAMS = (denoiser, cascade, kernelgan, realsr, rrdb, patch, diinn, liif, metasr)

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for draw in DIAGRAMS:
        (FOLDER / f"{draw.__name__}.svg").write_text(draw().svg(), encoding="utf-8")
