"""A network as plain data, and back: the builder's name and its arguments, as cards keep them.

Only networks of this library can be named, and ``torch.nn``'s own layers: a card from a stranger builds a network or
is refused; it never calls anything else.
"""

import importlib
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from restore_lib.errors import CheckpointError
from restore_lib.pretrained import checkpoints

ROOMS = ("restore_lib.nets", "restore_lib.denoising", "restore_lib.realsr", "restore_lib.implicit", "torch.nn.modules")


def describe(builder: Callable[..., nn.Module], **arguments: object) -> dict[str, object]:
    """What a card's ``architecture`` holds for the network ``builder(**arguments)``.

    Parameters
    ----------
    builder : class or function
        A network class, or a function whose annotated result is one, in a room of this library that holds networks.
    **arguments
        Numbers, texts, truth values, None, and lists and dicts of these.

    Examples
    --------
    >>> describe(nn.Conv2d, in_channels=3, out_channels=3, kernel_size=3)["builder"]
    'torch.nn.modules.conv.Conv2d'
    """
    name = f"{builder.__module__}.{builder.__qualname__}"
    try:
        kept = json.loads(json.dumps(arguments, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"arguments of {name} must be JSON values ({error})") from error
    if _find(name) is not builder:
        raise ValueError(f"{name} is no network that cards can name: put it into one of {', '.join(ROOMS)}")
    return {"builder": name, "arguments": kept}


def build(architecture: Mapping[str, object]) -> nn.Module:
    """The network that :func:`describe` described, with fresh weights.

    Raises
    ------
    CheckpointError
        The builder is unknown, is no network of this library, or does not take these arguments.
    """
    name, arguments = str(architecture.get("builder")), architecture.get("arguments")
    builder = _find(name)
    if builder is None:
        raise CheckpointError(f"{name} is no network of this library: use the version that trained these weights.")
    try:
        return builder(**arguments)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{name} does not take the arguments on the card ({error}): use the version that trained these weights."
        ) from error


def load_network(name: str | Path, *, folder: Path | str | None = None) -> nn.Module:
    """The network of a checkpoint: built as its card says, with its weights, in evaluation mode.

    Parameters
    ----------
    name, folder
        As for :func:`~restore_lib.pretrained.checkpoints.load_weights`.

    Raises
    ------
    CheckpointError
        The checkpoint is not a good one, or its card does not describe a network of this library.
    """
    card = checkpoints.card(name, folder=folder)
    network = build(card.architecture)
    checkpoints.load_into(network, name, folder=folder)
    return network.eval()


def _find(name: str) -> Callable[..., nn.Module] | None:
    """The public class or function of that name, when it makes networks and lies where networks may lie."""
    module, _, last = name.rpartition(".")
    if last.startswith("_") or not any(module == room or module.startswith(f"{room}.") for room in ROOMS):
        return None
    try:
        found = getattr(importlib.import_module(module), last, None)
    except ImportError:
        return None
    if getattr(found, "__module__", None) != module:
        return None
    made = found if inspect.isclass(found) else _result(found)
    return found if inspect.isclass(made) and issubclass(made, nn.Module) else None


def _result(function: object) -> object:
    try:
        return typing.get_type_hints(function).get("return")
    except (TypeError, NameError):
        return None
