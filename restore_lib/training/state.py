"""What a run leaves in its folder: ``run.json``, which says whose it is, and its states, each whole or not there.

A state is everything the next step depends on, in one safetensors file: what is no tensor (step, schedules, the
optimiser's settings) is JSON in its header, beside a checksum over all tensors. Nothing is pickled.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import TypeAdapter
from pydantic_core import from_json
from safetensors import SafetensorError, safe_open
from torch import Tensor
from typing_extensions import TypedDict  # pydantic wants it before Python 3.12

from restore_lib.errors import TrainingError
from restore_lib.files import atomic_write
from restore_lib.training.recipes import Recipe, fingerprint, values

FORMAT = "restore_lib training state 2"
BEFORE = "restore_lib training state 1"  # whose checksum covers the tensors alone
KEPT = 2  # states on disk: the last one and, should that be damaged, the one before
NAME = re.compile(r"state-(\d{9})\.safetensors")


class RunFile(TypedDict):
    """Content of ``run.json``."""

    recipe: str
    seed: int
    fingerprint: str
    values: dict[str, str]


_RUN = TypeAdapter(RunFile)


def claim(folder: Path | str, recipe: Recipe, seed: int) -> None:
    """Make a folder this run's own; TrainingError where it holds a run of another recipe, of other values or seed."""
    path = Path(folder) / "run.json"
    ours = {"recipe": recipe.name, "seed": seed, "fingerprint": fingerprint(recipe)}
    if not path.exists():
        content = ours | {"values": {name: str(value) for name, value in values(recipe).items()}}
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return
    theirs = {key: value for key, value in read_run(folder).items() if key in ours}
    if theirs != ours:
        same_name = (theirs["recipe"], theirs["seed"]) == (recipe.name, seed)
        changed = "whose values have changed since" if same_name else "which is another run"
        raise TrainingError(
            f"{folder} holds a run of recipe {theirs['recipe']} with seed {theirs['seed']}, {changed}: train in "
            "another folder, or delete this one to start again."
        )


def read_run(folder: Path | str) -> RunFile:
    """What ``run.json`` says of a run; TrainingError where there is none or it is damaged."""
    path = Path(folder) / "run.json"
    try:
        return _RUN.validate_python(from_json(path.read_bytes()))
    except OSError as error:
        raise TrainingError(f"{folder} holds no run: name a folder that `restore train` made.") from error
    except ValueError as error:
        raise TrainingError(f"{path} is damaged: train in another folder, or delete this one.") from error


def save_state(tree: Mapping[str, Any], step: int, folder: Path | str) -> Path:
    """Write the state after ``step`` into a folder, then drop all but the last two; returns the file.

    ``tree`` is nested dicts and lists of tensors and JSON values; dicts may have integer keys, as optimisers' do.
    Whatever stops the saving, such as a full disk (RestoreError), leaves the earlier states as they were.
    """
    path = Path(folder) / f"state-{step:09d}.safetensors"
    tensors: dict[str, Tensor] = {}
    skeleton = _flatten(tree, tensors)
    content = {"format": FORMAT, "step": str(step), "tree": json.dumps(skeleton)}
    content["checksum"] = checksum(tensors, content["step"], content["tree"])
    with atomic_write(path) as temporary:
        # Bytes first: a full disk is then an error of the operating system, with its plain message.
        temporary.write_bytes(safetensors.torch.save(tensors, content))
    for old in states(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_state(path: Path | str) -> tuple[dict[str, Any], int]:
    """Read a state back, tensors on the CPU, and its step, after checking that it is whole and ours.

    TrainingError where the file is missing, truncated, altered or of another kind.
    """
    path = Path(path)
    advice = f"delete it to go on from the state before, or start again in another folder ({path.parent})."
    try:
        tensors = safetensors.torch.load(path.read_bytes())  # in memory: a run must not hang on an old state's file
        with safe_open(path, "pt") as stream:
            about = stream.metadata() or {}
    except OSError as error:
        raise TrainingError(f"{path} cannot be read ({error.strerror}).") from error
    except (SafetensorError, ValueError) as error:
        raise TrainingError(f"{path} is damaged or no training state: {advice}") from error
    kind, texts = about.get("format"), [about.get(key, "") for key in ("step", "tree")]
    if kind not in (FORMAT, BEFORE):
        raise TrainingError(f"{path} holds no training state of this library: {advice}")
    if about.get("checksum") != checksum(tensors, *texts if kind == FORMAT else ()):
        raise TrainingError(f"{path} has been altered since it was written: {advice}")
    try:
        return _restore(from_json(texts[1]), tensors), int(texts[0])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path} is damaged or no training state: {advice}") from error


def states(folder: Path | str) -> list[Path]:
    """States of a run, oldest first."""
    return sorted(path for path in Path(folder).glob("state-*.safetensors") if NAME.fullmatch(path.name))


def checksum(tensors: Mapping[str, Tensor], *texts: str) -> str:
    """SHA-256 over texts, and over names, types, shapes and bytes of tensors, in order of their names."""
    total = hashlib.sha256("".join(f"{text}\n" for text in texts).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _flatten(value: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """Move tensors into a flat dict; what remains is JSON in which each tensor left its name."""
    if isinstance(value, Tensor):
        # A copy with memory of its own: the format refuses tensors that share theirs, and would lose memory layouts.
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"items": [[key, _flatten(part, tensors, f"{name}/{key}")] for key, part in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list": [_flatten(part, tensors, f"{name}/{i}") for i, part in enumerate(value)]}
    if value is None or isinstance(value, (str, int, float, bool)):
        return {"value": value}
    raise TypeError(f"{name} is a {type(value).__name__}: a state holds tensors, numbers, texts, dicts and lists")


def _restore(skeleton: Any, tensors: Mapping[str, Tensor]) -> Any:
    if "tensor" in skeleton:
        return tensors[skeleton["tensor"]]
    if "items" in skeleton:
        return {key: _restore(part, tensors) for key, part in skeleton["items"]}
    if "list" in skeleton:
        return [_restore(part, tensors) for part in skeleton["list"]]
    return skeleton["value"]
