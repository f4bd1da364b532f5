"""A card and a small network made up for tests, and how tests look at folders and errors."""

import contextlib
import io
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from restore_lib import cli
from restore_lib.denoising.dncnn import DnCNN
from restore_lib.pretrained import Card, Score, describe


class Small(nn.Module):
    """Halves a picture, doubles it again, and adds what it found; its sides must be even."""

    def __init__(self, width: int = 6, channels: int = 3):
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1)
        self.last = nn.Conv2d(2 * width, channels, 3, padding=1)

    def forward(self, x):
        first = torch.relu(self.first(x))
        deep = self.up(torch.relu(self.norm(self.down(first))))
        return x + self.last(torch.cat([first, deep], 1))


CONV = {"depth": 2, "width": 4, "norm": False}


def conv() -> nn.Module:
    return DnCNN(**CONV)


def card(name="small", **changes) -> Card:
    fields = {
        "name": name,
        "recipe": "denoiser",
        "tier": "smoke",
        "steps": 12,
        "seed": 0,
        "dataset": "bsds500",
        "dataset_hash": "0123456789abcdef" * 4,
        "architecture": describe(DnCNN, **CONV),
        "versions": {"torch": "2.10.0"},
        "device": "cpu: x86_64, 2 threads",
        "date": "2026-01-02T03:04:05Z",
        "commit": "f" * 40,
        "licence": "CC BY 4.0",
        "metrics": (
            Score("set12", "gray", "sigma 25", "psnr", 30.5, "denoiser__set12__gray__smoke__seed0.json"),
            Score("cbsd68", "color", "sigma 25", "psnr", 29.25),
        ),
    }
    return Card(**fields | changes)


def rewrite_card(folder: Path, **changes) -> None:
    path = folder / "small.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def randomised(network: nn.Module, rng: torch.Generator) -> nn.Module:
    """The network with every weight and buffer drawn anew."""
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=rng) + 0.1)
    return network


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def sentence(error) -> str:
    """The message of an error, which must be one clear line."""
    text = str(error.value)
    assert "\n" not in text and text.endswith((".", "?")) and len(text) < 700
    return text


def run(*arguments):
    """Exit code, standard output and standard error of ``restore checkpoints ARGUMENTS``, run in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        cli.main(["checkpoints", *map(str, arguments)])
    return end.value.code or 0, out.getvalue(), err.getvalue()


def answers(path, picture):
    """What onnxruntime makes of a picture."""
    import onnxruntime  # heavy, and most tests do without

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"image": picture.numpy()})[0])
