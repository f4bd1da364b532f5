"""VGG-16 and DeepLab-LargeFOV against computations without modules, and against torchvision."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from restore_lib import compat, data, files, metrics
from restore_lib.data import checking
from restore_lib.errors import DataError
from restore_lib.files import KnownFile
from restore_lib.nets import vgg
from restore_lib.nets.largefov import DeepLabLargeFOV, start_from_vgg
from restore_lib.nets.receptive import receptive_field
from restore_lib.nets.vgg import VGG16, SmallVGG

BLOCKS = (2, 2, 3, 3, 3)  # convolutions before each pooling
SINGLE = [torch.tensor(n).double().view(-1, 1, 1) for n in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]


def randomise(network: nn.Module, rng) -> nn.Module:
    """Random weights under which numbers neither vanish nor explode, and random statistics."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.weight.data.normal_(0, (2 / layer.weight[0].numel()) ** 0.5, generator=rng)
            if layer.bias is not None:
                layer.bias.data.uniform_(-0.1, 0.1, generator=rng)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.uniform_(0.8, 1.2, generator=rng)
            layer.bias.data.uniform_(-0.3, 0.3, generator=rng)
            layer.running_mean.uniform_(-0.2, 0.2, generator=rng)
            layer.running_var.uniform_(0.5, 1.5, generator=rng)
    return network.eval()


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def pooled_to_seven(x):
    """Means over 7 x 7 fields that overlap where the sides are no multiples of 7."""
    height, width = x.shape[2:]
    rows = [slice(i * height // 7, -(-(i + 1) * height // 7)) for i in range(7)]
    columns = [slice(i * width // 7, -(-(i + 1) * width // 7)) for i in range(7)]
    return torch.stack([torch.stack([x[:, :, r, c].mean((2, 3)) for c in columns], -1) for r in rows], -2)


def test_vgg_is_what_is_written_out(rng):
    with torch.device("meta"):
        assert parameters(VGG16()) == 138_357_544
    network = randomise(VGG16(5), rng).double()
    x = torch.rand(1, 3, 64, 96, generator=rng, dtype=torch.float64)
    values = iter(network.state_dict().values())
    y = (x - SINGLE[0]) / SINGLE[1]
    for count in BLOCKS:
        for _ in range(count):
            y = functional.conv2d(y, next(values), next(values), padding=1).clamp(min=0)
        y = torch.stack([y[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]).amax(0)
    y = pooled_to_seven(y).flatten(1)
    for last in (False, False, True):
        y = y @ next(values).T + next(values)
        y = y if last else y.clamp(min=0)
    assert not list(values) and y.std() > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(network(x), y, rtol=1e-9, atol=1e-9)


def test_small_vgg_is_what_is_written_out(rng):
    network = randomise(SmallVGG(7, width=6), rng).double()
    x = torch.rand(2, 3, 33, 48, generator=rng, dtype=torch.float64)
    values = iter(network.state_dict().values())
    y = (x - SINGLE[0]) / SINGLE[1]
    for _ in range(4):
        for _ in range(2):
            y = functional.conv2d(y, next(values), padding=1)
            gain, shift, mean, var, _ = (next(values) for _ in range(5))
            gain = (gain / (var + 1e-5).sqrt()).view(-1, 1, 1)
            y = ((y - mean.view(-1, 1, 1)) * gain + shift.view(-1, 1, 1)).clamp(min=0)
        height, width = (n // 2 * 2 for n in y.shape[2:])
        y = torch.stack([y[:, :, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]).amax(0)
    y = y.mean((2, 3)) @ next(values).T + next(values)
    assert not list(values) and y.shape == (2, 7) and y.std() > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(network(x), y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm", [False, True])
def test_deeplab_is_what_is_written_out(rng, norm):
    network = randomise(DeepLabLargeFOV(5, 8, 12, 3, norm=norm), rng).double()
    x = torch.rand(2, 3, 41, 66, generator=rng, dtype=torch.float64)
    values = iter(network.state_dict().values())

    def layer(y, spread, reach=1):
        y = functional.conv2d(y, next(values), None if norm else next(values), padding=spread * reach, dilation=spread)
        if norm:
            gain, shift, mean, var, _ = (next(values).view(-1, 1, 1) if i < 4 else next(values) for i in range(5))
            y = (y - mean) / (var + 1e-5).sqrt() * gain + shift
        return y.clamp(min=0)

    y = (x - SINGLE[0]) / SINGLE[1]
    for number, count in enumerate(BLOCKS):
        for _ in range(count):
            y = layer(y, 2 if number == 4 else 1)
        windows = functional.pad(y, (1,) * 4, value=-torch.inf).unfold(2, 3, 1).unfold(3, 3, 1)
        y = windows.amax((4, 5))
        y = y[..., ::2, ::2] if number < 3 else y
    y = functional.pad(y, (1,) * 4).unfold(2, 3, 1).unfold(3, 3, 1).mean((4, 5))  # zeros at the border count
    y = layer(layer(y, 3), 1, reach=0)
    y = functional.conv2d(y, next(values), next(values))
    assert not list(values) and y.shape == (2, 5, 6, 9) and y.std() > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(network.scores(x), y, rtol=1e-9, atol=1e-9)


def test_deeplab_parameters():
    with torch.device("meta"):
        assert parameters(DeepLabLargeFOV()) == 20_505_429


class Scores(nn.Module):
    """The coarse map alone."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network.scores(x)


@pytest.mark.parametrize("at", [(20, 20), (0, 40), (7, 31)])
@pytest.mark.parametrize("dilation", [1, 4])
def test_deeplab_scores_look_around_every_eighth_pixel(at, dilation):
    """Reach by block: its convolutions, then its pooling, at 1, 2, 4, 8, 8 pixels a step; then mean and head."""
    reach = (2 + 1) + 2 * (2 + 1) + 4 * (3 + 1) + 8 * (3 + 1) + 8 * (2 * 3 + 1) + 8 + 8 * dilation
    seen = receptive_field(Scores(DeepLabLargeFOV(2, 2, 2, dilation)), 321, at=at)
    # The box, not every pixel in it: five poolings in a row let far corners through for few inputs only.
    for axis, n in enumerate(at):
        rows = seen.any(1 - axis).nonzero().flatten()
        assert rows[0] == max(8 * n - reach, 0) and rows[-1] == min(8 * n + reach, 320)


@pytest.mark.parametrize("size", [(321, 321), (64, 72), (50, 45)])
def test_deeplabs_map_goes_through_its_scores(rng, size):
    network = randomise(DeepLabLargeFOV(3, 4, 6, 2), rng).double()
    x = torch.rand(1, 3, *size, generator=rng, dtype=torch.float64)
    with torch.no_grad():
        fine, coarse = network(x), network.scores(x)
    assert fine.shape[2:] == size and coarse.shape[2:] == tuple(-(-n // 8) for n in size)
    torch.testing.assert_close(fine[..., ::8, ::8], coarse)
    between = 0.25 * coarse[..., :-1, :-1] + 0.75 * coarse[..., :-1, 1:]
    torch.testing.assert_close(fine[..., :-8:8, 6:][..., : between.shape[2], ::8][..., : between.shape[3]], between)
    last = [8 * (n - 1) for n in coarse.shape[2:]]
    assert (fine[..., last[0] :, :] == fine[..., last[0] : last[0] + 1, :]).all()
    assert (fine[..., last[1] :] == fine[..., last[1] : last[1] + 1]).all()


@pytest.fixture(scope="module")
def big():
    return VGG16(2).eval()


def test_deeplab_starts_from_vgg(big, rng):
    network = DeepLabLargeFOV(2, hidden=4).eval()
    head = {key: value.clone() for key, value in network.head.state_dict().items()}
    start_from_vgg(network, big)
    x = torch.rand(1, 3, 24, 24, generator=rng)
    with torch.no_grad():
        assert torch.equal(network.features[:4](x), big.features[:4](x))  # up to the first pooling
    own, theirs = ([v for k, v in n.features.state_dict().items()] for n in (network, big))
    assert len(own) == 26 and all(torch.equal(a, b) for a, b in zip(own, theirs, strict=True))
    assert all(torch.equal(head[key], value) for key, value in network.head.state_dict().items())


@pytest.mark.parametrize("options", [{"width": 8}, {"norm": True}])
def test_deeplab_of_another_form_does_not_start_from_vgg(big, options):
    with pytest.raises(ValueError, match="only a network of width 64 without batch norm"):
        start_from_vgg(DeepLabLargeFOV(2, hidden=4, **options), big)


def test_torchvisions_file_loads_and_answers_as_torchvision_does(rng, tmp_path, monkeypatch):
    compat.import_torchvision()
    from torchvision.models import vgg16

    official = next(file for file in metrics.TRUNKS["vgg"] if file.url)
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    path = tmp_path / official.path
    with pytest.raises(DataError, match="run `restore data fetch vgg16`"):
        vgg.pretrained()
    twin = vgg16(weights=None, init_weights=False).eval()  # of random weights
    path.parent.mkdir()
    torch.save(twin.state_dict(), path)
    with pytest.raises(DataError, match="damaged or not what it says"):
        vgg.pretrained()
    monkeypatch.setitem(metrics.TRUNKS, "vgg", (KnownFile(official.path, files.sha256(path), official.url),))
    network, x = vgg.pretrained(), torch.rand(1, 3, 224, 224, generator=rng)
    mean, std = (torch.tensor(n).view(-1, 1, 1) for n in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = twin((x - mean) / std)
        assert not network.training and torch.equal(network(x), expected) and expected.std() > 1e-3


def test_a_file_with_the_right_hash_and_no_weights_is_refused(tmp_path, monkeypatch):
    """Eight digits are all that is published of the hash."""
    official = next(file for file in metrics.TRUNKS["vgg"] if file.url)
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    path = tmp_path / official.path
    path.parent.mkdir()
    path.write_bytes(b"no weights")
    monkeypatch.setitem(metrics.TRUNKS, "vgg", (KnownFile(official.path, files.sha256(path)[:8], official.url),))
    with pytest.raises(DataError, match="damaged or not what it says: delete it and run `restore data fetch vgg16`"):
        vgg.pretrained()


def test_the_card_of_vgg_has_the_whole_network_only(tmp_path, monkeypatch):
    card = data.find("vgg16")
    (file,) = card.files
    assert file.path == "torchvision/vgg16-397923af.pth" and file.url.endswith(file.path.rsplit("/")[-1])
    assert file in data.find("lpips-vgg").files and "restore data fetch vgg16" in data.card("vgg16")
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    halves = tmp_path / next(f.path for f in data.find("lpips-vgg").files if not f.url)
    halves.parent.mkdir()
    halves.write_bytes(b"convolutions alone do not do")
    assert checking.status(card) == (0, 1, "") and checking.status(data.find("lpips-vgg")) == (1, 1, "local")
