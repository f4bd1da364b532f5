"""Trained networks for other programs: weights under the names that those know, or ONNX that has been compared."""

import copy
import importlib
import io
import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib.errors import CheckpointError, RestoreError
from restore_lib.files import atomic_write
from restore_lib.pretrained import checkpoints
from restore_lib.pretrained.author_names import names_of
from restore_lib.pretrained.model_card import Card

WEIGHTS = (".safetensors", ".pth", ".pt")
INPUT, OUTPUT = "image", "restored"
TOLERANCE = 1e-4  # two libraries sum in different orders; a wrong operator is off by far more
EXAMPLE = (2, 3, 48, 64)  # sides that two, four, eight and sixteen divide, as networks with strides want


@dataclass(frozen=True)
class Parity:
    """How nearly a file of ONNX answers what the network answers."""

    sizes: tuple[tuple[int, ...], ...]  #: Shapes (batch, channels, height, width) of the fresh inputs.
    difference: float  #: Largest absolute one of outputs, relative to the largest output where that is above 1.


def export_weights(name: str | Path, path: Path | str, *, folder: Path | str | None = None) -> Path:
    """Write the weights of a checkpoint, verified, under the names that other programs know.

    Where several are in use, BasicSR's; networks that no other program has keep their own names.
    ``restore weights import`` reads the file.

    Parameters
    ----------
    name, folder
        As for :func:`restore_lib.pretrained.checkpoints.load_weights`.
    path : path
        File to write; returned. ``.safetensors`` carries the card as texts in its header; ``.pth`` is PyTorch's own
        format, with the weights in ``"params"``.

    Raises
    ------
    CheckpointError
        The checkpoint is not a good one, or ``path`` lies in its folder, or ends in something else.
    RestoreError
        The disk is full or the folder cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() not in WEIGHTS:
        raise CheckpointError(f"{path} cannot be written: choose a name that ends in {', '.join(WEIGHTS)} or .onnx.")
    card = checkpoints.verify(name, folder=folder)
    _refuse_folder_of_checkpoints(path, name, folder)
    weights = known_elsewhere(checkpoints.load(name, folder=folder))
    if path.suffix.lower() == ".safetensors":
        content = checkpoints.packed(weights, {"format": "pt"} | card_texts(card))
    else:
        torch.save({"params": weights}, stream := io.BytesIO())
        content = stream.getvalue()
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return path


def known_elsewhere(network: nn.Module) -> dict[str, Tensor]:
    """A network's weights under its authors' names, or its own where there are none."""
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    try:
        namings = list(names_of(network))
    except ValueError:  # no other program has this network
        return weights
    names = namings[-1 if type(network).__name__ in ("RRDBNet", "EDSR") else 0]
    return {names[key]: value for key, value in weights.items()}


def export_checkpoint_onnx(name: str | Path, path: Path | str, *, folder: Path | str | None = None) -> Parity:
    """Write the network of a checkpoint as ONNX.

    Parameters as for :func:`export_weights`; result and errors as for :func:`export_onnx`.
    """
    network = checkpoints.load(name, folder=folder)
    if getattr(network, "noise_map", False):
        raise CheckpointError(
            f"{name} takes sigma beside the picture, which ONNX is not written for: use .safetensors."
        )
    _refuse_folder_of_checkpoints(Path(path), name, folder)
    texts = card_texts(checkpoints.card(name, folder=folder))
    return export_onnx(network, torch.rand(EXAMPLE), path, metadata=texts)


def export_onnx(
    network: nn.Module,
    example: Float[Tensor, "b c h w"],
    path: Path | str,
    *,
    metadata: Mapping[str, str] | None = None,
) -> Parity:
    """Write a network of one picture as ONNX, in float32, with free batch, height and width.

    Before the file takes its name, onnxruntime runs it on fresh random pictures of two sizes, and the answers are
    compared with the network's own. ``example`` is any picture (b, c, h, w) that the network takes; the second size is
    twice as high and three times as wide. ``metadata`` are texts to keep in the file.

    Raises
    ------
    CheckpointError
        onnx, onnxruntime or onnxscript is missing; the network has a part that ONNX cannot say, or is bound to one
        size; the answers differ.
    RestoreError
        The disk is full or the folder cannot be written to. An older file stays as it was.
    """
    for name in ("onnx", "onnxruntime", "onnxscript"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise CheckpointError(
                f'Export to ONNX needs {name}, which is not installed: run `pip install "restore_lib[export]"`.'
            ) from error
    frozen = copy.deepcopy(network).to("cpu", torch.float32).eval()
    example = example.detach().to("cpu", torch.float32)
    if example.shape[0] == 1:
        example = torch.cat([example, example])  # the exporter takes a side of one for a fixed number
    with torch.no_grad():
        program = _exported(frozen, example)
        program.model.metadata_props.update(metadata or {})
        with atomic_write(path) as temporary:
            program.save(str(temporary), external_data=False)
            parity = _compare(frozen, example, temporary)
            if not parity.difference <= TOLERANCE:
                raise CheckpointError(
                    f"{path} was not written: onnxruntime's answers differ from the network's by "
                    f"{parity.difference:.2g}, more than {TOLERANCE:.2g}; a part of the network means something "
                    "else in ONNX."
                )
    return parity


def card_texts(card: Card) -> dict[str, str]:
    """A card as texts, for formats that keep nothing else; numbers and lists are JSON."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in asdict(card).items()
        if key not in ("sha256", "bytes")  # of the named checkpoint's file, not of this one
    }


def _exported(network: nn.Module, example: Tensor) -> torch.onnx.ONNXProgram:
    free = torch.export.Dim.DYNAMIC
    shapes = ({0: free, 2: free, 3: free},)
    names: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT]}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # its warnings concern the exporter itself
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(network, (example,), dynamo=True, dynamic_shapes=shapes, verbose=False, **names)
        assert program is not None  # so it is with dynamo
        return program
    except Exception as error:  # the exporter raises whatever the network's code meets in it
        cause = error.__cause__ or error
        line = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        raise CheckpointError(
            f"This network cannot be written as ONNX ({line.strip().rstrip('.:')[:200]}): use the safetensors format."
        ) from error


def _compare(network: nn.Module, example: Tensor, path: Path) -> Parity:
    import onnxruntime

    batch, channels, height, width = example.shape
    sizes = ((batch, channels, height, width), (1, channels, 2 * height, 3 * width))
    differences = []
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for size in sizes:
            picture = torch.rand(size)
            expected = network(picture)
            answer = torch.from_numpy(session.run(None, {INPUT: picture.numpy()})[0])
            if answer.shape != expected.shape:
                raise CheckpointError(
                    f"This network is bound to one size in ONNX: from {size} came {tuple(answer.shape)} instead of "
                    f"{tuple(expected.shape)}; use the safetensors format."
                )
            differences.append((answer - expected).abs().max() / expected.abs().max().clamp(min=1))
    except (OSError, RestoreError):
        raise
    except Exception as error:  # onnxruntime has an exception for each of its status codes
        line = str(error).splitlines()[0][:200]
        raise CheckpointError(f"onnxruntime cannot run this network ({line}): use the safetensors format.") from error
    return Parity(sizes, float(torch.stack(differences).max()))  # NaN where one of them is


def _refuse_folder_of_checkpoints(path: Path, name: str | Path, folder: Path | str | None) -> None:
    home = Path(name).parent if Path(name).suffix else Path(folder or checkpoints.checkpoints_folder())
    if path.expanduser().resolve().parent == home.expanduser().resolve():
        raise CheckpointError(f"{path} lies among the checkpoints themselves: export to another folder.")
