"""What the authors' code calls the weights of each network: one table a network, our layer on the left.

A star stands for a number in a layer's name, ``{}`` for the same number in the authors' name; where the authors count
differently, a function of network and numbers gives the name. A tuple holds the names that one layer has in several
programs, always in the same order.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from restore_lib.nets.edsr import MEAN, RANGE

Name = str | Callable[..., str]


def _kernel_generator(net: Any, i: int) -> str:
    inner = len(net.layers) - 2
    return ["first_layer", *(f"feature_block.{i}" for i in range(inner)), "final_layer"][i]


# A Sequential, in which every second layer is an activation: of LIIF (whole, alone), DIINN's code and Meta-SR
MLP = {
    "layers.*": tuple(
        lambda net, i, before=before: f"{before}{2 * i}"
        for before in ("imnet.layers.", "layers.", "", "P2W.meta_block.")
    )
}
TABLES: dict[str, Mapping[str, Name | tuple[Name, ...]]] = {
    "RRDBNet": {  # the code of ESRGAN and RealSR; ESRGAN's first files, which count layers; BasicSR and Real-ESRGAN
        "first": ("conv_first", "model.0", "conv_first"),
        "blocks.*.dense.*.convs.*": (
            lambda net, i, j, k: f"RRDB_trunk.{i}.RDB{j + 1}.conv{k + 1}",
            lambda net, i, j, k: f"model.1.sub.{i}.RDB{j + 1}.conv{k + 1}.0",
            lambda net, i, j, k: f"body.{i}.rdb{j + 1}.conv{k + 1}",
        ),
        "body": ("trunk_conv", lambda net: f"model.1.sub.{len(net.blocks)}", "conv_body"),
        "ups.*": (
            lambda net, i: f"upconv{i + 1}",
            lambda net, i: f"model.{3 * i + 3}",
            lambda net, i: f"conv_up{i + 1}",
        ),
        "detail": ("HRconv", lambda net: f"model.{3 * len(net.ups) + 2}", "conv_hr"),
        "last": ("conv_last", lambda net: f"model.{3 * len(net.ups) + 4}", "conv_last"),
    },
    "EDSR": {  # EDSR-PyTorch, and the encoder of LIIF, DIINN and Meta-SR; BasicSR
        "head": ("head.0", "conv_first"),
        "blocks.*.convs.*": (lambda net, i, j: f"body.{i}.body.{2 * j}", lambda net, i, j: f"body.{i}.conv{j + 1}"),
        "body": (lambda net: f"body.{len(net.blocks)}", "conv_after_body"),
        "ups.*": (lambda net, i: f"tail.0.{2 * i}", lambda net, i: f"upsample.{2 * i}"),
        "tail": ("tail.1", "conv_last"),
    },
    "RDN": {
        "first": "SFENet1",
        "second": "SFENet2",
        "blocks.*.convs.*": "RDBs.{}.convs.{}.conv.0",
        "blocks.*.fuse": "RDBs.{}.LFF",
        "gather": "GFF.0",
        "last": "GFF.1",
    },
    "DIINNDecoder": {  # K modulates, Q synthesises
        "modulation.*": "K.{}.0",
        "synthesis.*": "Q.{}.0",
        "position": "first_layer.0",
        "last": "last_layer",
    },
    "LIIFDecoder": MLP,
    "MetaSRDecoder": MLP,
    "DnCNN": {"convs.*": lambda net, i: f"model.{2 * i}"},  # KAIR, batch norm folded in
    "KernelGenerator": {"layers.*": _kernel_generator},
    "KernelDiscriminator": {  # with PyTorch's names for a spectral norm
        "first": "first_layer",
        "middle.*": lambda net, i: f"feature_block.{3 * i}",
        "norms.*": lambda net, i: f"feature_block.{3 * i + 1}",
        "last": "final_layer.0",
    },
    "PatchDiscriminator": {  # RealSR's (pix2pix's): convolution, batch norm, activation, and so on
        "first": "model.0",
        "convs.*": lambda net, i: f"model.{3 * i + 2}",
        "norms.*": lambda net, i: f"model.{3 * i + 3}",
        "last": lambda net: f"model.{3 * len(net.convs) + 2}",
    },
    "VGGDiscriminator": {  # ESRGAN's and RealSR's: pairs of convolutions
        "convs.*": lambda net, i: f"conv{i // 2}_{i % 2}",
        "norms.*": lambda net, i: f"bn{(i + 1) // 2}_{(i + 1) % 2}",
        "hidden": "linear1",
        "last": "linear2",
    },
}
PARTS = (("encoder.", "decoder."), ("encoder.", ""), ("", ""))  # before names: DIINN's code, LIIF's, Meta-SR's


def names_of(network: nn.Module) -> Iterator[dict[str, str]]:
    """Own name of each weight and buffer, and the name in the authors' files; once for each naming that is known.

    The network is one of ``TABLES``, or an encoder and a decoder of these; ValueError for others.
    """
    kind = type(network).__name__
    if kind in TABLES:
        rows = {layer: name if isinstance(name, tuple) else (name,) for layer, name in TABLES[kind].items()}
        for names in zip(*rows.values(), strict=True):
            yield _renamed(network, dict(zip(rows, names, strict=True)))
    elif hasattr(network, "encoder") and hasattr(network, "decoder"):
        halves = product(*(names_of(network.get_submodule(half)) for half in ("encoder", "decoder")))
        for (inner, outer), (before, behind) in product(list(halves), PARTS):
            names = {f"encoder.{own}": before + theirs for own, theirs in inner.items()}
            yield names | {f"decoder.{own}": behind + theirs for own, theirs in outer.items()}
    else:
        raise ValueError(f"the authors' names of {kind} are not known: choose one of {', '.join(TABLES)}")


def constants_of(network: nn.Module) -> dict[str, Tensor]:
    """What files of an EDSR with upsampler hold beside weights: the mean colour, taken off and put back."""
    if type(network).__name__ != "EDSR" or network.scale is None:
        return {}
    mean, same = RANGE * torch.tensor(MEAN), torch.eye(3)[:, :, None, None]
    return {"sub_mean.weight": same, "sub_mean.bias": -mean, "add_mean.weight": same, "add_mean.bias": mean}


def _renamed(network: nn.Module, table: Mapping[str, Name]) -> dict[str, str]:
    names = {}
    for own in network.state_dict():
        layer, _, part = own.rpartition(".")
        pattern, numbers = re.sub(r"\d+", "*", layer), [int(number) for number in re.findall(r"\d+", layer)]
        theirs = table.get(pattern)
        if theirs is None:
            raise ValueError(f"the authors' {type(network).__name__} has no {own}: build it as they did")
        name = theirs.format(*numbers) if isinstance(theirs, str) else theirs(network, *numbers)
        names[own] = f"{name}.{part}"
    return names
