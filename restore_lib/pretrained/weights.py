"""Weights between a network and a file: names without wrappings, copies of their own, and what does not fit."""

import json
from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor, nn

from restore_lib.errors import CheckpointError


def bare(network: nn.Module) -> nn.Module:
    """The network inside what compiling or several devices have wrapped around it."""
    while type(network).__name__ in ("OptimizedModule", "DistributedDataParallel", "_FabricModule"):
        parts = dict(network.named_children())
        network = next(parts[key] for key in ("_orig_mod", "_original_module", "module") if key in parts)
    return network


def plain(key: str) -> str:
    """A weight's name without what compiling a part of the network adds to it."""
    return key.replace("_orig_mod.", "")


def own_copies(network: nn.Module | Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Weights as the format wants them: contiguous, on the CPU, each with memory of its own."""
    state = bare(network).state_dict() if isinstance(network, nn.Module) else network
    copies = {}
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{key} is a {type(value).__name__}: a checkpoint holds tensors only")
        kind = dtype if dtype is not None and value.is_floating_point() else value.dtype
        copies[plain(key)] = value.detach().to("cpu", kind).contiguous().clone()
    if not copies:
        raise ValueError("a network without weights cannot be saved")
    return copies


def packed(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> bytes:
    """A safetensors file with texts in its header, the same bytes whenever the content is the same.

    The library writes its texts in an order that differs from call to call, which would change the SHA-256; here they
    are sorted.
    """
    content = safetensors.torch.save(dict(tensors))
    size = int.from_bytes(content[:8], "little")
    header = {"__metadata__": dict(sorted(texts.items()))} | json.loads(content[8 : 8 + size])
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # numbers begin at multiples of eight bytes, as the library places them
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def refuse_bad_numbers(tensors: Mapping[str, Tensor], what: str) -> None:
    """Refuse NaN and infinity.

    Raises
    ------
    CheckpointError
        One sentence that begins with ``what`` and names the first weight that is bad.
    """
    for key, value in tensors.items():
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            raise CheckpointError(
                f"{what}: {bad:,} of {value.numel():,} numbers of {key} are NaN or too large for {value.dtype}; "
                "go back to weights from before."
            )


def misfit(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], strict: bool) -> str:
    """Why weights do not fit a network's ``own``, in words; empty when they do. Names must agree when ``strict``."""

    def some(keys) -> str:
        keys = sorted(keys)
        return keys[0] + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")

    problems = []
    if strict and weights.keys() - own.keys():
        problems.append(f"it has no {some(weights.keys() - own.keys())}")
    if strict and own.keys() - weights.keys():
        problems.append(f"the checkpoint has no {some(own.keys() - weights.keys())}")
    shared = [key for key in own if key in weights]
    if not shared:
        problems.append("they have no name in common")
    for key in [key for key in shared if own[key].shape != weights[key].shape][:1]:
        problems.append(
            f"{key} is {tuple(weights[key].shape)} in the checkpoint, {tuple(own[key].shape)} in the network"
        )
    return ", and ".join(problems)
