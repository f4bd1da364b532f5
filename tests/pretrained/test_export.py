"""Export: the same bits as safetensors, the same answers as ONNX, or a refusal that leaves no file."""

import builtins
import json
import sys

import onnx
import pytest
import safetensors.torch
import torch
from cards_made_up import CONV, Small, answers, card, conv, randomised
from safetensors import safe_open
from torch import nn

from restore_lib.denoising.denoiser import Denoiser
from restore_lib.denoising.dncnn import DnCNN
from restore_lib.errors import CheckpointError, RestoreError
from restore_lib.implicit import LIIF
from restore_lib.nets import EDSR, RRDBNet
from restore_lib.pretrained import checkpoints, describe, export, published


@pytest.fixture
def home(tmp_path, rng):
    network = randomised(conv(), rng)
    checkpoints.save_checkpoint(network, card(), tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def test_one_file_of_safetensors_carries_weights_and_card(home, tmp_path):
    path = export.export_weights("small", tmp_path / "out" / "mine.safetensors", folder=home)
    weights = checkpoints.load_weights("small", folder=home)
    found = safetensors.torch.load_file(path)
    assert all(torch.equal(found[f"model.{2 * i}.weight"], weights[f"convs.{i}.weight"]) for i in range(2))
    assert len(found) == len(weights)
    with safe_open(path, "pt") as opened:
        texts = opened.metadata()
    assert texts["licence"] == "CC BY 4.0" and json.loads(texts["steps"]) == 12
    assert json.loads(texts["architecture"]) == describe(DnCNN, **CONV)
    assert json.loads(texts["metrics"])[0]["value"] == 30.5


def test_an_export_never_lands_among_the_checkpoints(home):
    for name, path in (("small", home / "small.safetensors"), (home / "small.safetensors", home / "b.safetensors")):
        with pytest.raises(CheckpointError, match="lies among the checkpoints themselves"):
            export.export_weights(name, path, folder=None if name != "small" else home)
    assert checkpoints.verify("small", folder=home) and checkpoints.names(home) == ["small"]


@pytest.mark.parametrize(("example", "other"), [((2, 3, 32, 48), (5, 3, 50, 26)), ((1, 3, 24, 24), (2, 3, 46, 80))])
def test_onnx_answers_as_the_network_does_at_any_size(tmp_path, rng, example, other):
    network = randomised(Small(), rng).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = tmp_path / "small.onnx"
    parity = export.export_onnx(network, torch.rand(example, generator=rng), path, metadata={"licence": "CC0"})
    assert len({size[-2:] for size in parity.sizes}) == 2 and parity.difference <= export.TOLERANCE
    picture = torch.rand(other, generator=rng)
    assert network.training  # left as it was, also its running means:
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    with torch.no_grad():
        expected = network.eval()(picture)
    torch.testing.assert_close(answers(path, picture), expected, rtol=1e-4, atol=1e-4)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert {entry.key: entry.value for entry in model.metadata_props}["licence"] == "CC0"
    assert list(tmp_path.iterdir()) == [path]  # no second file of weights


def test_half_precision_weights_are_exported_in_float32(tmp_path, rng):
    network = randomised(conv(), rng).bfloat16()
    export.export_onnx(network, torch.rand(2, 3, 8, 8, generator=rng), tmp_path / "a.onnx")
    assert network.convs[0].weight.dtype == torch.bfloat16
    picture = torch.rand(2, 3, 9, 7, generator=rng)
    with torch.no_grad():
        torch.testing.assert_close(answers(tmp_path / "a.onnx", picture), network.float()(picture))


class Odd(nn.Module):
    """Says something else each time, as a network whose export went wrong would."""

    def __init__(self, how):
        super().__init__()
        self.how, self.calls = how, 0

    def forward(self, x):
        if torch.compiler.is_exporting():
            return x * 2
        return {"other": x * 2.001, "nan": x * float("nan"), "larger": torch.cat([x, x], 2)}[self.how]


class Bound(nn.Module):
    """Works at one size alone."""

    def forward(self, x):
        return x.reshape(-1, 3, 8, 8) + torch.arange(8.0) if x.shape[-1] == 8 else x[..., :8]


class Asks(nn.Module):
    """Decides by what is in the picture: nothing that a graph can say."""

    def forward(self, x):
        return x if float(x.mean()) > 0.5 else -x


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Odd("other"), "onnxruntime's answers differ from the network's by"),
        (Odd("nan"), "onnxruntime's answers differ from the network's by nan"),
        (Odd("larger"), "instead of"),
        (Bound(), "cannot be written as ONNX|cannot run this network|answers differ|instead of"),
        (Asks(), "cannot be written as ONNX"),
    ],
    ids=lambda value: type(value).__name__ + getattr(value, "how", "") if isinstance(value, nn.Module) else "",
)
def test_a_wrong_graph_is_never_written(tmp_path, network, words, capfd):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"the old file")
    with pytest.raises(CheckpointError, match=words) as error:
        export.export_onnx(network, torch.rand(2, 3, 8, 8), path)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")
    assert path.read_bytes() == b"the old file" and list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr().out == ""


def test_a_full_disk_is_one_sentence_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"the old file")
    monkeypatch.setattr("os.fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(RestoreError, match="The disk is full"):
        export.export_onnx(conv(), torch.rand(2, 3, 8, 8), path)
    assert path.read_bytes() == b"the old file" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_named_with_what_installs_it(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CheckpointError) as error:
        export.export_onnx(conv(), torch.rand(2, 3, 8, 8), tmp_path / "a.onnx")
    assert str(error.value) == (
        f'Export to ONNX needs {package}, which is not installed: run `pip install "restore_lib[export]"`.'
    )
    assert builtins.list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    ("kind", "arguments", "name"),
    [
        (RRDBNet, {"blocks": 2, "width": 6, "growth": 4}, "body.1.rdb3.conv5.weight"),  # as BasicSR writes it
        (RRDBNet, {"blocks": 1, "width": 6, "growth": 4, "scale": 2}, "conv_up1.weight"),
        (EDSR, {"blocks": 2, "width": 6, "scale": 4}, "upsample.2.weight"),
        (DnCNN, CONV, "model.2.weight"),
        (LIIF, {"encoder": "small", "hidden": [8]}, None),
        (Denoiser, {"width": 4}, None),
    ],
)
def test_what_is_exported_can_be_imported_and_has_the_names_that_others_know(
    kind, arguments, name, suffix, tmp_path, rng
):
    network = randomised(kind(**arguments), rng).eval()
    checkpoints.save_checkpoint(network, card(architecture=describe(kind, **arguments)), tmp_path / "shelf")
    path = export.export_weights("small", tmp_path / f"a{suffix}", folder=tmp_path / "shelf")
    weights = (
        safetensors.torch.load_file(path) if suffix == ".safetensors" else torch.load(path, weights_only=True)["params"]
    )
    assert name is None or name in weights
    if suffix == ".pth" and kind not in (RRDBNet, EDSR):
        return  # other networks are known by their header
    assert published.import_weights(path, "mine") == ["mine"]
    found = published.load_published("mine")
    assert type(found) is kind
    own = network.state_dict()
    for key, value in found.state_dict().items():
        torch.testing.assert_close(value, own[key], rtol=0, atol=0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"builder": "RRDBNet", "arguments": {"blocks": 1000000000}}', "[[["])
def test_a_header_that_lies_is_refused(text, tmp_path, rng):
    content = checkpoints.packed({"a": torch.rand(3, generator=rng)}, {"architecture": text})
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError):
        published.import_weights(tmp_path / "a.safetensors", "mine")
