"""Named checkpoints: trained weights as safetensors, beside a card that says what they are. Nothing here ever
unpickles.

``NAME.safetensors`` and ``NAME.json`` become one step so: the new card is written as ``.NAME.new.json`` (pending), the
new weights replace the old ones, then the card takes its name. A reader takes the pending card if the weights are
already its own: whenever the writer is killed, there is a card that fits the weights.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from restore_lib import files
from restore_lib.errors import CheckpointError
from restore_lib.pretrained.model_card import GET_AGAIN, NAME, Card, card_text, read_card
from restore_lib.pretrained.networks import build

if TYPE_CHECKING:  # torch takes seconds, and cards do without it
    import torch
    from torch import Tensor, nn

WEIGHTS, CARD = ".safetensors", ".json"
PACKAGE = Path(files.__file__).resolve().parent  # restore_lib
NOT_WEIGHTS = {  # how files begin that are taken for weights by mistake
    (b"pk\x03\x04", b"\x80"): f"is a PyTorch (pickle) file, which could run any code and is never loaded: {GET_AGAIN}.",
    (b"<!doctype", b"<html", b"<?xml"): f"is a web page, not weights, so a download went wrong: {GET_AGAIN}.",
    (b"version https://git-lfs",): "is a pointer of Git LFS: run `git lfs pull` to get the weights.",
}


def checkpoints_folder() -> Path:
    """Where new checkpoints are written: the first of :func:`search_folders`."""
    return search_folders()[0]


def search_folders() -> list[Path]:
    """Folders in which named checkpoints are looked for, in this order.

    The folder that ``RESTORE_CHECKPOINTS`` names; ``checkpoints/`` of the repository that holds this library; the same
    in the user's cache, where an installed library writes; and what came with an installed library: all cards, and
    the weights that the chapters and commands use. Others are downloaded when they are asked for.
    """
    named, repository = os.environ.get("RESTORE_CHECKPOINTS"), PACKAGE.parent
    folders = [Path(named).expanduser()] if named else []
    if (repository / "pyproject.toml").exists():
        folders.append(repository / "checkpoints")
    return [*folders, files.cache_folder() / "checkpoints", PACKAGE / "checkpoints"]


def names(folder: Path | str | None = None) -> list[str]:
    """Names of all checkpoints of a folder, or of all :func:`search_folders`, whole or not."""
    places = search_folders() if folder is None else [Path(folder)]
    paths = [path for place in places for suffix in (WEIGHTS, CARD) for path in place.glob(f"*{suffix}")]
    return sorted({p.name.removesuffix(p.suffix) for p in paths if p.name[0] != "."})


def cards(folder: Path | str | None = None) -> list[Card]:
    """Cards of all checkpoints, by name, from where :func:`names` looks; CheckpointError where one is no good card."""
    return [card(name, folder=folder) for name in names(folder)]


def card(name: str | Path, *, folder: Path | str | None = None) -> Card:
    """The card of one checkpoint; parameters and errors as for :func:`load_weights`. The weights are not verified."""
    folder, stem = _locate(name, folder)
    return _pending_card(folder, stem) or read_card(folder / f"{stem}{CARD}", stem)


def load(name: str | Path, *, folder: Path | str | None = None) -> nn.Module:
    """The network of a checkpoint: built as its card says, with its weights, in evaluation mode.

    Parameters and errors as for :func:`load_weights`; the card may also name a network that this library lacks.
    """
    weights, card = _read(name, folder)
    network = build(card.architecture)
    _fill(network, weights, card)
    return network.eval()


def load_weights(name: str | Path, *, folder: Path | str | None = None) -> dict[str, Tensor]:
    """Weights of a checkpoint, on the CPU, after they have been compared with their card.

    ``name`` may also be the path of a ``.safetensors`` file that has its card beside it; others are looked for in
    ``folder``, or in all of :func:`search_folders`. CheckpointError says what is missing, damaged or foreign;
    DataError, that weights did not come with the installed library and cannot be downloaded.
    """
    return _read(name, folder)[0]


def load_into(network: nn.Module, name: str | Path, *, folder: Path | str | None = None) -> Card:
    """Put the weights of a checkpoint into a network, in the kind of number and on the device of its own weights.

    The network stays as it was when CheckpointError is raised: the checkpoint is not a good one, or does not fit.
    """
    weights, card = _read(name, folder)
    _fill(network, weights, card)
    return card


def verify(name: str | Path, *, folder: Path | str | None = None) -> Card:
    """Check card, size, SHA-256, format and finite weights; parameters and errors as for :func:`load_weights`."""
    return _read(name, folder)[1]


def save_checkpoint(
    network: nn.Module | Mapping[str, Tensor],
    card: Card,
    folder: Path | str | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Card:
    """Write weights and card; both, or neither, so that an older checkpoint of that name stays as it was.

    ``network`` may be compiled, or weights as ``state_dict`` names them. Of ``card``, which is returned, parameters,
    SHA-256 and bytes are filled in. CheckpointError where a weight is NaN, infinite or too large for ``dtype``, or the
    card holds something impossible; RestoreError where the disk is full.
    """
    from torch import nn

    if not NAME.fullmatch(card.name):
        raise ValueError(f"a checkpoint cannot be named {card.name!r}: use small letters, digits and . _ + -")
    folder = Path(folder) if folder is not None else checkpoints_folder()
    tensors = {}  # contiguous, on the CPU, each with memory of its own, as the format wants them
    for key, value in (_state(network) if isinstance(network, nn.Module) else network).items():
        kind = dtype if dtype is not None and value.is_floating_point() else value.dtype
        tensors[key] = value.detach().to("cpu", kind).contiguous().clone()
    _refuse_bad_numbers(tensors, f"{card.name} was not saved")
    content = packed(tensors, {"format": "pt", "name": card.name, "licence": card.licence})
    count = sum(p.numel() for p in network.parameters()) if isinstance(network, nn.Module) else card.parameters
    card = replace(
        card,
        parameters=count or sum(tensor.numel() for tensor in tensors.values()),
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
    )
    text = card_text(card)
    _finish_save(folder, card.name)
    try:
        with files.atomic_write(folder / f"{card.name}{WEIGHTS}") as temporary:
            temporary.write_bytes(content)
            with files.atomic_write(_pending(folder, card.name)) as temporary_card:
                temporary_card.write_text(text, encoding="utf-8")
    finally:
        _finish_save(folder, card.name)
    return card


def update_card(name: str | Path, *, folder: Path | str | None = None, **changes: object) -> Card:
    """Change what a card says (``metrics=...``) and leave the weights alone; errors as for :func:`save_checkpoint`."""
    if fixed := {"name", "parameters", "sha256", "bytes"} & changes.keys():
        raise ValueError(f"{', '.join(sorted(fixed))} of a card belong to the weights: save them again")
    new = replace(verify(name, folder=folder), **changes)
    folder, stem = _locate(name, folder)
    text = card_text(new)
    _finish_save(folder, stem)
    with files.atomic_write(folder / f"{stem}{CARD}") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return new


def packed(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> bytes:
    """A safetensors file with texts in its header, sorted, so that the same content has the same bytes and SHA-256."""
    import safetensors.torch

    content = safetensors.torch.save(dict(tensors))
    size = int.from_bytes(content[:8], "little")
    header = {"__metadata__": dict(sorted(texts.items()))} | json.loads(content[8 : 8 + size])
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # numbers begin at multiples of eight bytes, as the library places them
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def misfit(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Why weights do not fit a network's ``own``, in words; empty when they do."""
    problems = []
    for keys, who in ((weights.keys() - own.keys(), "it"), (own.keys() - weights.keys(), "the checkpoint")):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            problems.append(f"{who} has no {min(keys)}{more}")
    if wrong := [key for key in own if key in weights and own[key].shape != weights[key].shape]:
        theirs, ours = (tuple(tensors[wrong[0]].shape) for tensors in (weights, own))
        problems.append(f"{wrong[0]} is {theirs} in the checkpoint, {ours} in the network")
    return ", and ".join(problems)


def _state(network: nn.Module) -> dict[str, Tensor]:
    """Weights by name, without what compiling a network or a part of it adds to the names."""
    return {key.replace("_orig_mod.", ""): value for key, value in network.state_dict().items()}


def _fill(network: nn.Module, weights: Mapping[str, Tensor], card: Card) -> None:
    import torch

    own = _state(network)
    if problem := misfit(weights, own):
        raise CheckpointError(
            f"The weights of {card.name} do not fit this network: {problem}; build it as its card says, {card.builder}."
        )
    with torch.no_grad():
        for key in own:
            own[key].copy_(weights[key])


def _refuse_bad_numbers(tensors: Mapping[str, Tensor], what: str) -> None:
    """Refuse NaN and infinity, in one sentence that begins with ``what``."""
    import torch

    for key, value in tensors.items():
        if bad := int((~torch.isfinite(value)).sum()):
            raise CheckpointError(
                f"{what}: {bad:,} of {value.numel():,} numbers of {key} are NaN or too large for {value.dtype}; "
                "go back to weights from before."
            )


def _read(name: str | Path, folder: Path | str | None) -> tuple[dict[str, Tensor], Card]:
    """Weights and card of a checkpoint, compared with each other."""
    import safetensors.torch

    from restore_lib.data import downloading

    folder, stem = _locate(name, folder)
    path = folder / f"{stem}{WEIGHTS}"
    if folder == PACKAGE / "checkpoints" and not path.exists():  # it did not come with the installed library
        about, file = card(stem, folder=folder), f"checkpoints/{path.name}"
        known = files.KnownFile(f"downloaded-{file}", about.sha256, files.repository_url(file), about.bytes)
        path = downloading.fetch_files([known])[0]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): {GET_AGAIN}.") from error
    digest = hashlib.sha256(content).hexdigest()
    about = _pending_card(folder, stem, digest) or read_card(folder / f"{stem}{CARD}", stem)
    if digest != about.sha256:
        raise CheckpointError(f"{path} {_damage(content, about)}")
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, RuntimeError) as error:  # the card is of a file that is none such
        raise CheckpointError(f"{path} {_damage(content, about)}") from error
    if sum(tensor.numel() for tensor in tensors.values()) < about.parameters:
        raise CheckpointError(f"{path} holds fewer weights than the {about.parameters:,} of its card: {GET_AGAIN}.")
    _refuse_bad_numbers(tensors, f"{path} is not used")
    return tensors, about


def _damage(content: bytes, card: Card) -> str:
    """The likeliest reason why a file does not hold the weights of a card, and what to do."""
    if content[8:9] != b"{":  # a header in JSON follows eight bytes of its length
        head = content[:512].lstrip().lower()
        if problem := next((NOT_WEIGHTS[starts] for starts in NOT_WEIGHTS if head.startswith(starts)), ""):
            return problem
        return f"is {'not a safetensors file' if content else 'empty'}: {GET_AGAIN}."
    if len(content) < card.bytes:
        return f"is cut short, {len(content):,} of {card.bytes:,} bytes: {GET_AGAIN}."
    other = re.match(rb'{"__metadata__":{[^}]*"name":"(%b)"' % NAME.pattern.encode(), content[8:])
    if other and other[1].decode() != card.name:
        return f"holds the weights of {other[1].decode()}: give it that name, and get those of {card.name} anew."
    return f"is damaged or was changed: {GET_AGAIN}."


def _locate(name: str | Path, folder: Path | str | None) -> tuple[Path, str]:
    """Folder and name of a checkpoint of which at least one file exists."""
    stem = str(name)
    if isinstance(name, Path) or stem.endswith(WEIGHTS) or "/" in stem or os.sep in stem:
        path = Path(name).expanduser()
        folder, stem = path.parent, path.name.removesuffix(WEIGHTS)
    folders = search_folders() if folder is None else [Path(folder)]
    for place in folders:
        if any((place / f"{stem}{suffix}").exists() for suffix in (WEIGHTS, CARD)):
            return place, stem
    close = difflib.get_close_matches(stem, names(folder), 1)
    advice = f"did you mean {close[0]}?" if close else "`restore checkpoints list` shows what there is."
    raise CheckpointError(f"There is no checkpoint {stem} in {folders[0]}: {advice}")


def _pending(folder: Path, stem: str) -> Path:
    return folder / f".{stem}.new{CARD}"


def _pending_card(folder: Path, stem: str, digest: str = "") -> Card | None:
    """The card of a save that was cut off after the weights had been replaced; None where there was no such save."""
    path = _pending(folder, stem)
    if path.exists():
        with contextlib.suppress(CheckpointError, FileNotFoundError):
            card = read_card(path, stem)
            if card.sha256 == (digest or files.sha256(folder / f"{stem}{WEIGHTS}")):
                return card
    return None


def _finish_save(folder: Path, stem: str) -> None:
    """Give a pending card its name if the weights are its own, else delete it."""
    pending, place = _pending(folder, stem), folder / f"{stem}{CARD}"
    try:
        if _pending_card(folder, stem):
            os.replace(pending, place)
        pending.unlink(missing_ok=True)
    except OSError as error:
        raise files.writing_failed(place, error) from error
