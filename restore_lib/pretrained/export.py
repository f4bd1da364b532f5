"""Trained networks for other programs: one safetensors file that carries its card, or ONNX that has been compared."""

import contextlib
import copy
import importlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from restore_lib.errors import CheckpointError, RestoreError
from restore_lib.files import atomic_write
from restore_lib.pretrained import checkpoints
from restore_lib.pretrained.checkpoints import packed
from restore_lib.pretrained.model_card import Card

INPUT, OUTPUT = "image", "restored"
TOLERANCE = 1e-4  # two libraries sum in different orders; a wrong operator is off by far more
EXAMPLE = (2, 3, 48, 64)  # sides that two, four, eight and sixteen divide, as networks with strides want


@dataclass(frozen=True)
class Parity:
    """How nearly a file of ONNX answers what the network answers.

    Attributes
    ----------
    sizes : tuple of tuple
        Shapes (batch, channels, height, width) of the fresh inputs.
    difference : float
        Largest absolute difference between outputs, relative to the largest output where that is above 1.
    """

    sizes: tuple[tuple[int, ...], ...]
    difference: float


def export_safetensors(name: str | Path, path: Path | str, *, folder: Path | str | None = None) -> Path:
    """Copy the weights of a checkpoint, verified, into one file whose header carries the card as texts.

    Parameters
    ----------
    name, folder
        As for :func:`restore_lib.pretrained.checkpoints.load_weights`.
    path : path
        File to write.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    CheckpointError
        The checkpoint is not a good one, or ``path`` is one of its own files.
    RestoreError
        The disk is full or the folder cannot be written to.
    """
    path = Path(path)
    card = checkpoints.verify(name, folder=folder)
    _keep_away(path, name, folder)
    content = packed(checkpoints.load_weights(name, folder=folder), {"format": "pt"} | card_texts(card))
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return path


def export_checkpoint_onnx(name: str | Path, path: Path | str, *, folder: Path | str | None = None) -> Parity:
    """Build the network of a checkpoint as its card says, load its weights, and write it as ONNX.

    The example's shape is the card's ``architecture["input"]`` where it has one. Parameters as for
    :func:`export_safetensors`; result and errors as for :func:`export_onnx`.
    """
    card = checkpoints.verify(name, folder=folder)
    _keep_away(Path(path), name, folder)
    network = checkpoints.load(name, folder=folder)
    shape = card.architecture.get("input", EXAMPLE)
    return export_onnx(network, torch.rand(*shape), path, metadata=card_texts(card))


def export_onnx(
    network: nn.Module,
    example: Float[Tensor, "b c h w"],
    path: Path | str,
    *,
    tolerance: float = TOLERANCE,
    metadata: Mapping[str, str] | None = None,
) -> Parity:
    """Write a network of one picture as ONNX, in float32, with free batch, height and width.

    Before the file takes its name, onnxruntime runs it on fresh random pictures of two sizes, and the answers are
    compared with the network's own. The network itself is left as it is.

    Parameters
    ----------
    network : Module
        Takes a picture (b, c, h, w) and returns a picture.
    example : Tensor
        Any picture that the network takes. The second size in the comparison is twice as high and three times as wide,
        so what divides the sides of the example divides it, too.
    path : path
        File to write.
    tolerance : float
        Largest difference that passes, see :class:`Parity`.
    metadata : mapping, optional
        Texts to keep in the file: who trained it, on what, under which licence.

    Returns
    -------
    Parity

    Raises
    ------
    CheckpointError
        onnx, onnxruntime or onnxscript is missing; the network has a part that ONNX cannot say, or is bound to one
        size; the answers differ.
    RestoreError
        The disk is full or the folder cannot be written to. An older file stays as it was.
    """
    _need_packages()
    frozen = copy.deepcopy(network).to("cpu", torch.float32).eval()
    example = example.detach().to("cpu", torch.float32)
    if example.shape[0] == 1:
        example = torch.cat([example, example])  # the exporter takes a side of one for a fixed number
    with torch.no_grad(), _quiet():
        program = _exported(frozen, example)
        program.model.metadata_props.update(metadata or {})
        with atomic_write(path) as temporary:
            program.save(str(temporary), external_data=False)
            parity = _compare(frozen, example, temporary)
            if not parity.difference <= tolerance:
                raise CheckpointError(
                    f"{path} was not written: onnxruntime's answers differ from the network's by "
                    f"{parity.difference:.2g}, more than {tolerance:.2g}; a part of the network means something "
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
    try:
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: free, 2: free, 3: free},),
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
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
    generator = torch.Generator()
    generator.seed()
    difference = 0.0
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for size in sizes:
            picture = torch.rand(size, generator=generator)
            expected = network(picture)
            found = torch.from_numpy(session.run(None, {INPUT: picture.numpy()})[0])
            if found.shape != expected.shape:
                raise CheckpointError(
                    f"This network is bound to one size in ONNX: from {size} came {tuple(found.shape)} instead of "
                    f"{tuple(expected.shape)}; use the safetensors format."
                )
            scale = max(1.0, float(expected.abs().max()))
            # NaN must not look like agreement, and max() would drop it
            difference = float(torch.tensor([difference, float((found - expected).abs().max()) / scale]).max())
    except (OSError, RestoreError):
        raise
    except Exception as error:  # onnxruntime has an exception for each of its status codes
        line = str(error).splitlines()[0][:200]
        raise CheckpointError(f"onnxruntime cannot run this network ({line}): use the safetensors format.") from error
    return Parity(sizes, difference)


def _need_packages() -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise CheckpointError(
                f'Export to ONNX needs {name}, which is not installed: run `pip install "restore_lib[export]"`.'
            ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings about its own insides; what concerns the user is raised as an error."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _keep_away(path: Path, name: str | Path, folder: Path | str | None) -> None:
    home = Path(name).parent if Path(name).suffix else Path(folder or checkpoints.checkpoints_folder())
    if path.expanduser().resolve().parent == home.expanduser().resolve():
        raise CheckpointError(f"{path} lies among the checkpoints themselves: export to another folder.")
