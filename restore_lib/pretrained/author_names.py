"""What the authors' code calls the weights of each network: one table a network, our layer on the left.

A star stands for a number in a layer's name, ``{}`` for the same number in the authors' name, and a function where the
authors count differently. A network whose weights travel under several names has a table for each.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from restore_lib.nets.edsr import MEAN, RANGE

Table = Mapping[str, str | Callable[..., str]]


def decoder_in(prefix: str) -> Callable[[Any], Table]:
    """The decoders of LIIF and Meta-SR: a Sequential, in which every second layer is an activation."""
    return lambda network: {"layers.*": lambda i: f"{prefix}{2 * i}"}


def kernel_generator(network: Any) -> Table:
    """KernelGAN's generator."""
    inner = len(network.layers) - 2
    names = ["first_layer", *(f"feature_block.{i}" for i in range(inner)), "final_layer"]
    return {"layers.*": lambda i: names[i]}


MLP = tuple(map(decoder_in, ("imnet.layers.", "layers.", "", "P2W.meta_block.")))  # LIIF, DIINN's code, Meta-SR
TABLES: dict[str, tuple[Callable[[Any], Table], ...]] = {
    "RRDBNet": (
        lambda network: {  # the code of ESRGAN and RealSR
            "first": "conv_first",
            "blocks.*.dense.*.convs.*": lambda i, j, k: f"RRDB_trunk.{i}.RDB{j + 1}.conv{k + 1}",
            "body": "trunk_conv",
            "ups.*": lambda i: f"upconv{i + 1}",
            "detail": "HRconv",
            "last": "conv_last",
        },
        lambda network: {  # ESRGAN's first files, which count layers
            "first": "model.0",
            "blocks.*.dense.*.convs.*": lambda i, j, k: f"model.1.sub.{i}.RDB{j + 1}.conv{k + 1}.0",
            "body": f"model.1.sub.{len(network.blocks)}",
            "ups.*": lambda i: f"model.{3 * i + 3}",
            "detail": f"model.{3 * len(network.ups) + 2}",
            "last": f"model.{3 * len(network.ups) + 4}",
        },
        lambda network: {  # BasicSR and Real-ESRGAN
            "first": "conv_first",
            "blocks.*.dense.*.convs.*": lambda i, j, k: f"body.{i}.rdb{j + 1}.conv{k + 1}",
            "body": "conv_body",
            "ups.*": lambda i: f"conv_up{i + 1}",
            "detail": "conv_hr",
            "last": "conv_last",
        },
    ),
    "EDSR": (
        lambda network: {  # EDSR-PyTorch, and the encoder of LIIF, DIINN and Meta-SR
            "head": "head.0",
            "blocks.*.convs.*": lambda i, j: f"body.{i}.body.{2 * j}",
            "body": f"body.{len(network.blocks)}",
            "ups.*": lambda i: f"tail.0.{2 * i}",
            "tail": "tail.1",
        },
        lambda network: {  # BasicSR
            "head": "conv_first",
            "blocks.*.convs.*": lambda i, j: f"body.{i}.conv{j + 1}",
            "body": "conv_after_body",
            "ups.*": lambda i: f"upsample.{2 * i}",
            "tail": "conv_last",
        },
    ),
    "RDN": (
        lambda network: {
            "first": "SFENet1",
            "second": "SFENet2",
            "blocks.*.convs.*": "RDBs.{}.convs.{}.conv.0",
            "blocks.*.fuse": "RDBs.{}.LFF",
            "gather": "GFF.0",
            "last": "GFF.1",
        },
    ),
    "DIINNDecoder": (  # K modulates, Q synthesises
        lambda network: {
            "modulation.*": "K.{}.0",
            "synthesis.*": "Q.{}.0",
            "position": "first_layer.0",
            "last": "last_layer",
        },
    ),
    "LIIFDecoder": MLP,
    "MetaSRDecoder": MLP,
    "DnCNN": (lambda network: {"convs.*": lambda i: f"model.{2 * i}"},),  # KAIR, batch norm folded in
    "KernelGenerator": (kernel_generator,),
    "KernelDiscriminator": (  # with PyTorch's names for a spectral norm
        lambda network: {
            "first": "first_layer",
            "middle.*": lambda i: f"feature_block.{3 * i}",
            "norms.*": lambda i: f"feature_block.{3 * i + 1}",
            "last": "final_layer.0",
        },
    ),
    "PatchDiscriminator": (  # RealSR's (pix2pix's): convolution, batch norm, activation, and so on
        lambda network: {
            "first": "model.0",
            "convs.*": lambda i: f"model.{3 * i + 2}",
            "norms.*": lambda i: f"model.{3 * i + 3}",
            "last": f"model.{3 * len(network.convs) + 2}",
        },
    ),
    "VGGDiscriminator": (  # ESRGAN's and RealSR's: pairs of convolutions
        lambda network: {
            "convs.*": lambda i: f"conv{i // 2}_{i % 2}",
            "norms.*": lambda i: f"bn{(i + 1) // 2}_{(i + 1) % 2}",
            "hidden": "linear1",
            "last": "linear2",
        },
    ),
}
PARTS = (("encoder.", "decoder."), ("encoder.", ""), ("", ""))  # before names: DIINN's code, LIIF's, Meta-SR's


def names_of(network: nn.Module) -> Iterator[dict[str, str]]:
    """Own name of each weight and buffer, and the name in the authors' files; once for each naming that is known.

    The network is one of ``TABLES``, or an encoder and a decoder of these; ValueError for others.
    """
    kind = type(network).__name__
    if kind in TABLES:
        for table in TABLES[kind]:
            yield _renamed(network, table(network))
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


def _renamed(network: nn.Module, table: Table) -> dict[str, str]:
    names = {}
    for own in network.state_dict():
        layer, _, part = own.rpartition(".")
        pattern, numbers = re.sub(r"\d+", "*", layer), [int(number) for number in re.findall(r"\d+", layer)]
        whole = f"{pattern}.{part}" in table  # a table may also name a single weight
        theirs = table.get(f"{pattern}.{part}" if whole else pattern)
        if theirs is None:
            raise ValueError(f"the authors' {type(network).__name__} has no {own}: build it as they did")
        name = theirs.format(*numbers) if isinstance(theirs, str) else theirs(*numbers)
        names[own] = name if whole else f"{name}.{part}"
    return names
