"""ncnn's files: numbers exactly as written, damage of every kind refused, and ncnn's own runtime beside our network."""

import os
from pathlib import Path

import pytest
import torch
from ncnn_made_up import Writer, runtime_answers, small_rrdbnet, write_rrdbnet
from torch import nn
from torch.nn import functional

from restore_lib.errors import CheckpointError
from restore_lib.pretrained.ncnn import read_ncnn, rrdbnet_from_ncnn


@pytest.mark.parametrize("tag", [0x01306B47, 0, 0x0002C056])
def test_numbers_come_back_exactly(tag, tmp_path, rng):
    file, x, written = Writer(), "", []
    x = file.add("Input", [])
    channels = 3
    for out, size, with_bias in ((1, (1, 1), True), (5, (3, 3), False), (3, (1, 3), True), (4, (5, 2), True)):
        weight = torch.randn(out, channels, *size, generator=rng)
        weight = weight.half().float() if tag == 0x01306B47 else weight
        bias = torch.randn(out, generator=rng) if with_bias else None
        x, channels = file.conv(x, weight, bias, tag), out
        written.append((x, weight, bias))
    found = read_ncnn(*file.write(tmp_path))
    assert [conv.name for conv in found] == [name for name, _, _ in written]
    for (_, weight, bias), conv in zip(written, found, strict=True):
        assert torch.equal(conv.weight, weight)
        assert conv.bias is None if bias is None else torch.equal(conv.bias, bias)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_network_comes_back_exactly(scale, tmp_path):
    network = small_rrdbnet(3, scale)
    found = rrdbnet_from_ncnn(*write_rrdbnet(network, tmp_path))
    assert found.scale == scale and not found.training
    state = found.state_dict()
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())


def changed(lines, old, new):
    assert old in lines
    return lines.replace(old, new, 1)


DAMAGE = {  # what happens to the text and to the numbers, and what is said
    "cut text": (lambda t: t[: len(t) // 2], lambda b: b, "damaged|impossible|announces"),
    "no magic": (lambda t: t[3:], lambda b: b, "give the .param file"),
    "empty text": (lambda t: "", lambda b: b, "give the .param file"),
    "only magic": (lambda t: "7767517", lambda b: b, "announces no"),
    "other layer": (lambda t: changed(t, "Concat ", "PReLU  "), lambda b: b, "layer PReLU, which is not read"),
    "no sizes": (lambda t: changed(t, " 0=5", " 0=0"), lambda b: b, "impossible sizes"),
    "uneven": (lambda t: changed(t, "6=135", "6=136"), lambda b: b, "impossible sizes"),
    "nan size": (lambda t: changed(t, "6=135", "6=nan"), lambda b: b, "damaged in the line of Convolution"),
    "8 bits": (lambda t: changed(t, "6=135", "6=135 8=1"), lambda b: b, "impossible sizes"),
    "cut numbers": (lambda t: t, lambda b: b[:-2], "truncated"),
    "cut at a tag": (lambda t: t, lambda b: b[: 4 + 272 + 20 + 2], "truncated"),
    "no numbers": (lambda t: t, lambda b: b"", "truncated"),
    "more numbers": (lambda t: t, lambda b: b + b"1234", "4 bytes more"),
    "shifted": (lambda t: t, lambda b: b[4:], "no 16- or 32-bit weights"),
    "not finite": (lambda t: t, lambda b: b[:4] + b"\x00\x7c" + b[6:], "not finite"),
    "foreign": (lambda t: t, lambda b: b"PK\x03\x04" + b[4:], "tag 0x04034B50"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_told_in_one_sentence(what, tmp_path):
    param, binary = write_rrdbnet(small_rrdbnet(), tmp_path)
    text, numbers, words = DAMAGE[what]
    param.write_text(text(param.read_text()))
    binary.write_bytes(numbers(binary.read_bytes()))
    with pytest.raises(CheckpointError, match=words) as told:
        rrdbnet_from_ncnn(param, binary)
    assert "\n" not in str(told.value) and str(told.value).endswith((".", "kind."))


def test_files_that_are_missing_or_binary_are_told(tmp_path):
    param, binary = write_rrdbnet(small_rrdbnet(), tmp_path)
    for pair in ((tmp_path / "gone.param", binary), (param, tmp_path / "gone.bin")):
        with pytest.raises(CheckpointError, match="gone"):
            read_ncnn(*pair)
    with pytest.raises(CheckpointError, match=r"give the \.param file"):
        read_ncnn(binary, binary)


def test_other_networks_are_no_rrdbnet(tmp_path, rng):
    file = Writer()
    x = file.add("Input", [])
    for _ in range(19):
        x = file.conv(x, torch.randn(4, 3 if x.startswith("input") else 4, 3, 3, generator=rng), torch.zeros(4))
    with pytest.raises(CheckpointError, match="no RRDBNet"):
        rrdbnet_from_ncnn(*file.write(tmp_path, "flat"))
    file = Writer()
    file.conv(file.add("Input", []), torch.randn(4, 3, 3, 3, generator=rng))
    with pytest.raises(CheckpointError, match="no RRDBNet"):
        rrdbnet_from_ncnn(*file.write(tmp_path, "single"))
    file = Writer()
    file.add("Input", [])
    with pytest.raises(CheckpointError, match="no convolution"):
        read_ncnn(*file.write(tmp_path, "none"))


def after_convolutions(network, image):
    """What our network computes after each convolution, activations included as ncnn's files have them."""
    answers, handles = [], []
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            plain = name in ("first", "body", "last") or name.endswith("convs.4")
            handles.append(
                layer.register_forward_hook(
                    lambda _, __, y, plain=plain: answers.append((y if plain else functional.leaky_relu(y, 0.2))[0])
                )
            )
    with torch.no_grad():
        network(image[None])
    for handle in handles:
        handle.remove()
    return answers


def agree(param, binary, size, rng):
    image = torch.rand(3, *size, generator=rng)
    theirs = runtime_answers(param, binary, image)
    ours = after_convolutions(rrdbnet_from_ncnn(param, binary), image)
    assert len(ours) == len(theirs)
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        near = 2e-5 * float(other.abs().max())  # sums in another order, layer after layer
        torch.testing.assert_close(mine, other, rtol=0, atol=near, msg=lambda text, n=number: f"layer {n}: {text}")


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_ncnns_own_runtime_computes_the_same_after_every_layer(scale, tmp_path, rng):
    agree(*write_rrdbnet(small_rrdbnet(1, scale), tmp_path), (9, 7), rng)


def test_ncnns_own_runtime_computes_the_same_with_published_weights(rng):
    folder = os.environ.get("RESTORE_TEST_NCNN")
    if not folder:
        pytest.skip("needs published .param and .bin files (name their folder in RESTORE_TEST_NCNN)")
    params = sorted(Path(folder).rglob("*.param"))
    assert params
    for param in params:
        agree(param, param.with_suffix(".bin"), (24, 17), rng)
