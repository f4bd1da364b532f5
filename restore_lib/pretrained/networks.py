"""A network as plain data, and back: the builder's name and its arguments, as cards keep them.

Only the networks listed here can be named: a card from a stranger builds one of them or is refused.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from restore_lib.errors import CheckpointError

if TYPE_CHECKING:
    from torch import nn

LARGEST = 25_088  # of the numbers in a description: what VGG-16 gives to its first full layer
#: Networks that cards can name, and the module of each. Modules are imported when a network of theirs is asked for.
MODULES = {
    "DIINN": "restore_lib.implicit.diinn",
    "LIIF": "restore_lib.implicit.liif",
    "MetaSR": "restore_lib.implicit.metasr",
    "DegradingNet": "restore_lib.realsr.dsgan",
    "KernelDiscriminator": "restore_lib.realsr.kernelgan",
    "KernelGenerator": "restore_lib.realsr.kernelgan",
    "PatchDiscriminator": "restore_lib.realsr.losses",
    "VGGDiscriminator": "restore_lib.realsr.losses",
    "Denoiser": "restore_lib.denoising.denoiser",
    "DnCNN": "restore_lib.denoising.dncnn",
    "DeepLabLargeFOV": "restore_lib.nets.largefov",
    "EDSR": "restore_lib.nets.edsr",
    "EfficientNetLite0": "restore_lib.nets.efficientnet",
    "RDN": "restore_lib.implicit.encoders",
    "RRDBNet": "restore_lib.nets.rrdbnet",
    "SmallResNet": "restore_lib.nets.resnet",
    "SmallVGG": "restore_lib.nets.vgg",
    "VGG16": "restore_lib.nets.vgg",
}


def network_class(name: str) -> type[nn.Module]:
    """The class that a name, or a dotted path's last part, has in ``MODULES``; CheckpointError for others."""
    last = name.rpartition(".")[2]
    if last not in MODULES:
        raise CheckpointError(f"{name} is no network of this library: use the version that trained these weights.")
    return getattr(importlib.import_module(MODULES[last]), last)


def describe(builder: Callable[..., nn.Module], **arguments: object) -> dict[str, Any]:
    """What a card's ``architecture`` holds for the network ``builder(**arguments)``, with arguments that JSON can say.

    Examples
    --------
    >>> from restore_lib.denoising.dncnn import DnCNN
    >>> describe(DnCNN, depth=5)
    {'builder': 'restore_lib.denoising.dncnn.DnCNN', 'arguments': {'depth': 5}}
    """
    name = f"{builder.__module__}.{builder.__qualname__}"
    try:
        arguments = json.loads(json.dumps(arguments, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"arguments of {name} must be JSON values ({error})") from error
    if builder.__qualname__ not in MODULES or network_class(builder.__qualname__) is not builder:
        raise ValueError(f"{name} is no network that cards can name: add it to {__name__}.MODULES")
    return {"builder": name, "arguments": arguments}


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """The network that :func:`describe` described, with fresh weights; CheckpointError where there is none such."""
    name = str(architecture.get("builder"))
    network = network_class(name)
    try:
        _check_numbers(architecture["arguments"])
        return network(**architecture["arguments"])
    except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError) as error:
        raise CheckpointError(
            f"{name} does not take the arguments on the card ({error}): use the version that trained these weights."
        ) from error


def _check_numbers(value: object) -> None:
    """Refuse numbers that no network here has, before memory, or hours, are asked for."""
    if isinstance(value, (Mapping, list)):
        for part in value.values() if isinstance(value, Mapping) else value:
            _check_numbers(part)
    elif isinstance(value, (int, float)) and not abs(value) <= LARGEST:
        raise ValueError(f"{value} is larger than {LARGEST}")
