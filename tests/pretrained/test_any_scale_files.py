"""Files of DIINN's, LIIF's and Meta-SR's code, as it saves them, and files that are refused."""

import os
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional

from restore_lib import data, nets
from restore_lib.errors import CheckpointError
from restore_lib.experiments.protocols import LIIF as LIIF_PROTOCOL
from restore_lib.experiments.runs import evaluate
from restore_lib.implicit import DIINN, LIIF, MetaSR
from restore_lib.pretrained import load_author_checkpoint, load_author_weights


@pytest.fixture
def liif_file(photos):
    path = photos.parent / "weights" / "liif" / "edsr-baseline-liif_model-only.pth"
    if not path.is_file():
        pytest.skip("needs the authors' LIIF checkpoint")
    return path


def test_the_authors_liif_scores_what_their_code_scores(liif_file):
    model = load_author_checkpoint(liif_file)
    butterfly = [item for item in data.open("set5") if "butterfly" in item.name]
    found = evaluate(
        lambda lr, size: model(lr[None], size)[0], butterfly, replace(LIIF_PROTOCOL, conditions={"x4": 4.0})
    )
    assert found[0].value == pytest.approx(28.685, abs=0.005)  # with it, Set5's mean is the published 32.24 dB


# Small networks under their official names, and what the official code makes of them, written out once more.


def official(shapes, rng):
    return {key: torch.randn(shape, generator=rng) / max(1, np.prod(shape[1:])) ** 0.5 for key, shape in shapes.items()}


def layer(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def rdn_shapes(blocks=2, layers=3, growth=4, width=6):
    shapes = layer("SFENet1", width, 3, 3, 3) | layer("SFENet2", width, width, 3, 3)
    for i in range(blocks):
        for j in range(layers):
            shapes |= layer(f"RDBs.{i}.convs.{j}.conv.0", growth, width + j * growth, 3, 3)
        shapes |= layer(f"RDBs.{i}.LFF", width, width + layers * growth, 1, 1)
    return shapes | layer("GFF.0", width, blocks * width, 1, 1) | layer("GFF.1", width, width, 3, 3)


def edsr_shapes(blocks=2, width=6):
    shapes = layer("head.0", width, 3, 3, 3) | layer(f"body.{blocks}", width, width, 3, 3)
    for i in range(blocks):
        shapes |= layer(f"body.{i}.body.0", width, width, 3, 3) | layer(f"body.{i}.body.2", width, width, 3, 3)
    return shapes


def mlp_shapes(name, *widths):
    shapes = {}
    for i, (a, b) in enumerate(pairwise(widths)):
        shapes |= layer(f"{name}{2 * i}", b, a)
    return shapes


def diinn_shapes(mode, positional, channels=6, width=8):
    content = 9 * channels
    shapes = layer("first_layer.0", content, 3, 1, 1) if positional else {}
    for i in range(3):
        shapes |= layer(f"K.{i}.0", width, content if i == 0 else width + (0 if mode == 1 else content), 1, 1)
        shapes |= layer(f"Q.{i}.0", width, width if i else (content if positional else 3), 1, 1)
    kernel = (3, 3) if mode == 4 else (1, 1)
    return shapes | layer("last_layer", 3, width, *kernel)


def conv(state, name, x):
    weight = state[f"{name}.weight"]
    return functional.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)


def edsr_forward(state, x, blocks=2, residual_scale=1.0):
    shallow = x = conv(state, "head.0", x)
    for i in range(blocks):
        x = x + residual_scale * conv(state, f"body.{i}.body.2", conv(state, f"body.{i}.body.0", x).relu())
    return conv(state, f"body.{blocks}", x) + shallow


def rdn_forward(state, x, blocks=2, layers=3):
    shallow = conv(state, "SFENet1", x)
    x, outputs = conv(state, "SFENet2", shallow), []
    for i in range(blocks):
        grown = x
        for j in range(layers):
            grown = torch.cat([grown, conv(state, f"RDBs.{i}.convs.{j}.conv.0", grown).relu()], dim=1)
        x = x + conv(state, f"RDBs.{i}.LFF", grown)
        outputs.append(x)
    return conv(state, "GFF.1", conv(state, "GFF.0", torch.cat(outputs, dim=1))) + shallow


def under(prefix, shapes):
    return {prefix + key: shape for key, shape in shapes.items()}


def saved(tmp_path, content):
    torch.save(content, tmp_path / "file.pth")
    return tmp_path / "file.pth"


@pytest.mark.parametrize(
    ("mode", "positional", "variant"),
    [
        (1, True, "a"),
        (1, False, "b"),
        (2, True, "c"),
        (2, False, "d"),
        (3, True, "e"),
        (3, False, "f"),
        (4, False, "mode4"),
    ],
)
def test_diinns_lightning_files(mode, positional, variant, rng, tmp_path):
    state = official(under("encoder.", rdn_shapes()) | under("decoder.", diinn_shapes(mode, positional)), rng)
    half = torch.full((1, 1, 1, 1), 0.5)
    content = {
        "epoch": 49,
        "state_dict": {f"net.{key}": value for key, value in state.items()} | {"sub": half, "div": half},
        "hyper_parameters": {"arch": "diinn", "mode": mode, "init_q": positional, "lr": 1e-4},
    }
    model = load_author_checkpoint(saved(tmp_path, content))
    assert isinstance(model, DIINN) and model.decoder.variant == variant and not model.training
    x = torch.rand(1, 3, 6, 7, generator=rng)
    features = rdn_forward({key.removeprefix("encoder."): value for key, value in state.items()}, x)
    torch.testing.assert_close(model.encoder(x), features)
    part = {key: value for key, value in state.items() if key.startswith("decoder.")}
    alone = DIINN(variant, model.encoder, width=8, layers=3).decoder
    load_author_weights(alone, part)
    torch.testing.assert_close(alone(features, (9, 16)), model.decoder(features, (9, 16)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["decoder.", "imnet.layers."])
def test_liif_and_meta_sr_by_diinns_code(name, rng, tmp_path):
    for widths, kind in (((58, 8, 8, 3), LIIF), ((3, 8, 6 * 27), MetaSR)):
        state = official(under("net.encoder.", rdn_shapes()) | mlp_shapes(f"net.{name}", *widths), rng)
        model = load_author_checkpoint(saved(tmp_path, {"state_dict": state}))
        assert type(model) is kind
        for i, own in enumerate(model.decoder.layers):
            assert torch.equal(own.weight, state[f"net.{name}{2 * i}.weight"])


@pytest.mark.parametrize(
    ("cell", "unfold", "ensemble"), [(True, True, True), (False, True, False), (True, False, True)]
)
def test_liifs_own_files(cell, unfold, ensemble, rng, tmp_path):
    inputs = (54 if unfold else 6) + (4 if cell else 2)
    shapes = under("encoder.", edsr_shapes()) | mlp_shapes("imnet.layers.", inputs, 8, 3)
    shapes |= under("encoder.", layer("sub_mean", 3, 3, 1, 1) | layer("add_mean", 3, 3, 1, 1))
    state = official(shapes, rng)
    args = {"local_ensemble": ensemble, "encoder_spec": {"name": "edsr", "args": {"res_scale": 0.25}}}
    content = {"model": {"name": "liif", "args": args, "sd": state}, "epoch": 1000}
    model = load_author_checkpoint(saved(tmp_path, content))
    assert isinstance(model, LIIF) and (model.decoder.cell, model.decoder.ensemble) == (cell, ensemble)
    x = torch.rand(1, 3, 5, 6, generator=rng)
    inner = {key.removeprefix("encoder."): value for key, value in state.items()}
    torch.testing.assert_close(model.encoder(x), edsr_forward(inner, x, residual_scale=0.25))


@pytest.mark.parametrize("kind", ["rdn", "edsr"])
def test_meta_srs_own_files(kind, rng, tmp_path):
    shapes, forward = {"rdn": (rdn_shapes(), rdn_forward), "edsr": (edsr_shapes(), edsr_forward)}[kind]
    state = official(shapes | mlp_shapes("P2W.meta_block.", 3, 8, 6 * 27), rng)
    mean = torch.tensor([0.4488, 0.4371, 0.4040])
    eye = torch.eye(3)[..., None, None]
    shifts = {"sub_mean.weight": eye, "add_mean.weight": eye, "sub_mean.bias": -255 * mean, "add_mean.bias": 255 * mean}
    model = load_author_checkpoint(saved(tmp_path, state | shifts))
    lr, (height, width) = torch.rand(1, 3, 4, 5, generator=rng), (10, 13)
    features = functional.unfold(forward(state, 255 * (lr - mean[:, None, None])), 3, padding=1)[0].T  # (20, 54)
    y, x = 7, 4  # one pixel, by hand: 1 / scale comes first there
    place = torch.tensor([4 / height, (y * 4 % height) / height, (x * 5 % width) / width])
    hidden = (state["P2W.meta_block.0.weight"] @ place + state["P2W.meta_block.0.bias"]).relu()
    filters = (state["P2W.meta_block.2.weight"] @ hidden + state["P2W.meta_block.2.bias"]).view(54, 3)
    colour = features[(y * 4 // height) * 5 + x * 5 // width] @ filters / 255 + mean
    torch.testing.assert_close(model(lr, (height, width))[0, :, y, x], colour, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_edsr_with_its_upsampler(scale, rng):
    factors = {2: (2,), 3: (3,), 4: (2, 2)}[scale]
    shapes = edsr_shapes() | layer("tail.1", 3, 6, 3, 3)
    for i, f in enumerate(factors):
        shapes |= layer(f"tail.0.{2 * i}", 6 * f * f, 6, 3, 3)
    state, net = official(shapes, rng), nets.EDSR(2, 6, scale=scale)
    mean = torch.tensor([0.4488, 0.4371, 0.4040])
    load_author_weights(net, state | {"sub_mean.bias": -255 * mean, "sub_mean.weight": torch.eye(3)[..., None, None]})
    lr = torch.rand(1, 3, 5, 4, generator=rng)
    x = edsr_forward(state, 255 * (lr - mean[:, None, None]))
    for i, f in enumerate(factors):
        x = functional.pixel_shuffle(conv(state, f"tail.0.{2 * i}", x), f)
    torch.testing.assert_close(net(lr), conv(state, "tail.1", x) / 255 + mean[:, None, None], rtol=1e-4, atol=1e-4)
    with pytest.raises(CheckpointError, match="wants other colours"):
        load_author_weights(net, state | {"sub_mean.bias": -mean})


def test_loading_is_strict_and_leaves_the_module_alone(rng):
    decoder = DIINN("d", torch.nn.Identity(), width=8, layers=3).decoder
    state = official(diinn_shapes(2, False, channels=64), rng)
    before = {key: value.clone() for key, value in decoder.state_dict().items()}
    wrong = {
        "has no K.1.0.bias": {key: value for key, value in state.items() if key != "K.1.0.bias"},
        "has first_layer.*and 1 more": state
        | {"first_layer.1.weight": torch.ones(2), "first_layer.2.weight": torch.ones(2)},
        r"last_layer.bias is \(4,\)": state | {"last_layer.bias": torch.ones(4)},
        "not all finite": state | {"last_layer.bias": torch.full((3,), torch.nan)},
        "mode.*which is no weight": state | {"mode": 3},
        "has no .*which DIINNDecoder needs": {f"decoder.{key}": value for key, value in state.items()}
        | {"encoder.x": torch.ones(1)},
    }
    for words, content in wrong.items():
        with pytest.raises(CheckpointError, match=words):
            load_author_weights(decoder, content)
    assert all(torch.equal(value, before[key]) for key, value in decoder.state_dict().items())
    load_author_weights(decoder, state)
    assert torch.equal(decoder.last.weight, state["last_layer.weight"][..., 0, 0])


class Stranger:
    """What a pickle may not bring along."""

    def __reduce__(self):
        return os.getcwd, ()


def test_bad_files_are_refused_in_one_sentence(rng, tmp_path):
    state = official(under("net.encoder.", rdn_shapes()) | under("net.decoder.", diinn_shapes(3, False)), rng)
    good = saved(tmp_path, {"state_dict": state}).read_bytes()
    contents = {
        "empty": b"",
        "text": b"no checkpoint at all",
        "cut": good[: len(good) // 2],
        "flipped": good[:200] + bytes(200) + good[400:],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    objects = {
        "stranger": {"state_dict": state, "x": Stranger()},
        "no mode": {"state_dict": state},
        "list": [1, 2],
        "foreign": {"conv.weight": torch.ones(3, 3)},
        "numbers": {"model": {"name": "liif", "args": 5, "sd": 7}},
        "nothing": {},
    }
    for name, content in objects.items():
        torch.save(content, tmp_path / name)
    for name in ("missing", *contents, *objects):
        with pytest.raises(CheckpointError) as caught:
            load_author_checkpoint(tmp_path / name)
        message = str(caught.value)
        assert message.endswith(".") and "\n" not in message and str(tmp_path / name) in message, message
