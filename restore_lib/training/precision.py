"""Number format, memory layout and compilation: what makes a step faster and leaves the network what it is."""

import os
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Speed:
    """Options of a run."""

    #: Of matrix products; the rest stays in float32. In ``16-mixed`` the loss is scaled: small gradients would vanish.
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = False  #: Images as (B, H, W, C) in memory, which is what fast convolutions want.
    compile: bool = False  #: ``torch.compile``: a minute at the start, faster steps after.
    fused: bool = False  #: One kernel for all of an optimiser's update.

    def layout(self, x: Tensor) -> Tensor:
        """Bring a batch of images into the layout of the run."""
        if self.channels_last and x.ndim == 4:
            return x.contiguous(memory_format=torch.channels_last)
        return x

    def laid_out(self, network: nn.Module) -> nn.Module:
        """Bring a network into the layout of the run."""
        return network.to(memory_format=torch.channels_last) if self.channels_last else network  # pyright: ignore[reportCallIssue]

    def prepare(self, network: nn.Module) -> nn.Module:
        """Bring a network into the layout of the run, and compile it where asked to."""
        return cast(nn.Module, torch.compile(self.laid_out(network))) if self.compile else self.laid_out(network)


PLAIN = Speed()


def fastest(device: torch.device | str = "cpu", *, compiled: bool = False) -> Speed:
    """The fastest options that a device supports without harm to the result.

    bfloat16 is used where the processor multiplies it natively: GPUs from Ampere on, CPUs with AVX512-BF16 or AMX.
    Elsewhere it would be emulated, and slower than float32. Older GPUs with tensor cores, such as a T4, take float16.
    """
    kind = torch.device(device).type
    float16 = kind == "cuda" and torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (7, 0)
    return Speed(
        precision="bf16-mixed" if has_bfloat16(device) else "16-mixed" if float16 else "32-true",
        channels_last=True,
        compile=compiled,
        fused=kind in ("cuda", "cpu"),
    )


def deterministic() -> None:
    """Make a GPU compute the same bits each time, in this process; call it before the first operation.

    The same seed then gives the same bits on the same model of GPU with the same versions of PyTorch, CUDA and driver.
    PyTorch warns of an operation that has no such form. CPUs do so anyway.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False  # which would choose algorithms by a race


def best_device() -> str:
    """``"cuda"`` where there is a GPU that torch can use, else ``"cpu"``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def has_bfloat16(device: torch.device | str) -> bool:
    """Whether a device multiplies bfloat16 natively."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability(device)[0] >= 8
    if kind == "cpu":
        checks = (getattr(torch.cpu, f"_is_{name}_supported", lambda: False) for name in ("avx512_bf16", "amx_tile"))
        return any(check() for check in checks)
    return False


PRECISIONS = ("exact", "bf16")


def in_bfloat16(precision: str, device: torch.device | str) -> bool:
    """Whether inference multiplies in bfloat16: ``precision`` is ``"bf16"``, not ``"exact"``, and the device can."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}: choose one of {', '.join(PRECISIONS)}")
    return precision == "bf16" and has_bfloat16(device)
