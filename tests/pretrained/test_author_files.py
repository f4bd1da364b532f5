"""Official files: every form of names is recognised, sizes come from the weights, and what is wrong is told."""

import pytest
import torch
from made_up_weights import as_authors
from torch import nn

from restore_lib import nets
from restore_lib.errors import CheckpointError
from restore_lib.nets.edsr import MEAN
from restore_lib.nets.rrdbnet import RRDBNet
from restore_lib.pretrained import load_author_weights
from restore_lib.pretrained.authors import network_in, weights_in


def shaken(network, rng):
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=rng))
    return network.eval()


FORMS = {"esrgan": 0, "old-esrgan": 1, "basicsr": 2, "official": 0, "edsr in basicsr": 1}


def official(network, form):
    return as_authors(network, FORMS[form])


SMALL = {
    ("rrdb", form, scale): (lambda scale=scale: RRDBNet(2, 5, 3, scale))
    for form in ("esrgan", "old-esrgan", "basicsr")
    for scale in (1, 2, 4)
} | {
    ("edsr", form, scale): (lambda scale=scale: nets.EDSR(2, 6, 1.0, scale))
    for form in ("official", "edsr in basicsr")
    for scale in (None, 2, 3, 4)
}


@pytest.mark.parametrize("what", SMALL, ids=str)
def test_a_network_is_built_from_its_weights_alone(what, rng):
    network = shaken(SMALL[what](), rng)
    state = official(network, what[1])
    found = network_in(state)
    assert type(found) is type(network) and found.scale == network.scale and not found.training
    assert {k: v.shape for k, v in found.state_dict().items()} == {k: v.shape for k, v in network.state_dict().items()}
    image = torch.rand(1, 3, 5, 4, generator=rng)
    assert torch.equal(found(image), network(image))  # the mean of EDSR's colours included
    again = SMALL[what]()
    assert load_author_weights(again, {"params_ema": state, "params": {}}) is again
    assert torch.equal(again(image), network(image))


class MeanShift(nn.Conv2d):
    """Takes the mean colour off (-1) or puts it back (1), as a convolution of 1 x 1."""

    def __init__(self, sign):
        super().__init__(3, 3, 1)
        self.weight.data = torch.eye(3)[:, :, None, None]
        self.bias.data = sign * 255 * torch.tensor(MEAN)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x):
        return x + self.body(x)


class TheirEDSR(nn.Module):
    """The layers of EDSR-PyTorch under its names; colours from 0 to 255."""

    def __init__(self, blocks, width, scale):
        super().__init__()
        conv = lambda out=width: nn.Conv2d(width, out, 3, padding=1)  # noqa: E731
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(1)
        self.head = nn.Sequential(nn.Conv2d(3, width, 3, padding=1))
        self.body = nn.Sequential(*(Block(width) for _ in range(blocks)), conv())
        ups = []
        for factor in {2: [2], 3: [3], 4: [2, 2]}[scale]:
            ups += [conv(width * factor**2), nn.PixelShuffle(factor)]
        self.tail = nn.Sequential(nn.Sequential(*ups), conv(3))

    def forward(self, x):
        x = self.head(self.sub_mean(x))
        return self.add_mean(self.tail(x + self.body(x)))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_edsr_is_the_official_layers(scale, rng):
    theirs = TheirEDSR(2, 6, scale)
    found = network_in(theirs.state_dict())
    image = torch.rand(2, 3, 6, 5, generator=rng)
    torch.testing.assert_close(found(image), theirs(255 * image) / 255, rtol=0, atol=1e-5)


def test_the_paper_sizes_scale_their_residuals_by_a_tenth():
    for make, share in ((nets.edsr_baseline, 1.0), (lambda scale: nets.EDSR(1, 256, 0.1, scale), 0.1)):
        assert network_in(official(make(2), "official")).blocks[0].residual_scale == share


def test_other_colours_are_refused(rng):
    state = TheirEDSR(1, 4, 2).state_dict()
    for name, value in (
        ("sub_mean.bias", torch.zeros(3)),
        ("add_mean.bias", state["add_mean.bias"] * 1.01),
        ("sub_mean.weight", state["sub_mean.weight"] / 255),
        ("add_mean.weight", torch.zeros(3)),
    ):
        with pytest.raises(CheckpointError, match=f"authors' {name} is .* other colours"):
            network_in(state | {name: value})


def test_wrappings_come_off():
    weight = {"a.weight": torch.ones(2)}
    for content in (
        weight,
        {"params": weight},
        {"params_ema": weight, "params": {"b": torch.zeros(1)}},
        {"state_dict": weight, "epoch": 3},
        {"model": {"name": "liif", "sd": weight}},
    ):
        assert weights_in(content) == weight


def broken(rng):
    state = official(shaken(RRDBNet(1, 5, 3), rng), "esrgan")
    last, first = "conv_last.bias", "conv_first.weight"
    yield {}, "no weights by name"
    yield [1, 2], "no weights by name"
    yield {"epoch": 3, "net": state}, "which is no weight"
    yield {3: torch.zeros(2)}, "which is no weight"
    yield {"fc.weight": torch.zeros(2, 2)}, "not the names of the weights of .* fc.weight"
    yield {k: v for k, v in state.items() if k != last}, f"has no {last}"
    yield state | {"conv_more.bias": torch.zeros(2)}, "has conv_more.bias"
    yield state | {first: state[first][:, :1]}, r"authors' conv_first.weight is \(5, 1, 3, 3\)"
    yield state | {first: torch.zeros(0, 3, 3, 3)}, "sizes or settings that no such network can have"
    yield state | {first: torch.tensor(1.0)}, "sizes or settings that no such network can have"
    yield state | {last: torch.full((3,), torch.nan)}, "not all finite"
    yield (
        state | {f"upconv{i}.weight": torch.zeros(5, 5, 3, 3) for i in range(3, 70)},
        "sizes or settings that no such network can have",
    )


def test_what_is_wrong_is_told_in_one_sentence(rng):
    for content, words in broken(rng):
        with pytest.raises(CheckpointError, match=words) as told:
            network_in(content)
        assert "\n" not in str(told.value)


def test_a_file_of_the_other_network_is_refused(rng):
    state = official(nets.EDSR(1, 4, scale=2), "official")
    with pytest.raises(CheckpointError, match=r"has no .*which RRDBNet needs"):
        load_author_weights(RRDBNet(1, 4, 2), state)
