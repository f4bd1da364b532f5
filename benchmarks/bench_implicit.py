"""Time fast decoders of DIINN, LIIF and Meta-SR beside their own ``forward``, on features of 48 x 48 pixels.

``forward`` runs every layer at every pixel of the large picture, as the official codes do.
Contestants take turns in one process; what counts is the fastest turn, as other programs only ever slow one down. Both
get the same weights, and their largest difference is printed.
"""

import argparse
import json
import platform
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
from timing import device_name, device_option, now
from torch import nn

from restore_lib.fast.decoders import decode, linear
from restore_lib.implicit import DIINNDecoder, LIIFDecoder, MetaSRDecoder

SIDE, CHANNELS = 48, 64
MACS = {  # multiplications for a large pixel and for a small one: what no way of ordering them saves
    "DIINN f": (3 * 256 * 512 + 3 * 256 + 3 * 256, 4 * 576 * 256),
    "LIIF": (4 * (3 * 256 * 256 + 4 * 256) + 3 * 256, 576 * 256),
    "Meta-SR": (3 * 256 + 3 * 256, 576 * 771),
}


def contestants() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Decoder and scales."""
    return {
        "DIINN f": (DIINNDecoder(), (2, 3, 4, 8)),
        "DIINN e": (DIINNDecoder(variant="e"), (4,)),
        "LIIF": (LIIFDecoder(), (2, 4)),
        "Meta-SR": (MetaSRDecoder(), (2, 4)),
    }


def seconds(run, device: str) -> float:
    """Wall time of one call."""
    start = now(device)
    run()
    return now(device) - start


def duel(fast, slow, rounds: int, device: str) -> tuple[float, float]:
    """Fastest turns in milliseconds, after one turn each to warm up."""
    fast(), slow()
    turns = [[seconds(run, device) for run in (fast, fast, slow)] for _ in range(rounds)]
    return 1000 * min(min(a, b) for a, b, _ in turns), 1000 * min(c for *_, c in turns)


def in_bfloat16(decoder: nn.Module, feature: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The decoder with its products in bfloat16."""
    with torch.autocast(feature.device.type, torch.bfloat16):
        return decode(decoder, feature, size)


def inference(rounds: int, device: str) -> dict[str, dict[str, float]]:
    """Pictures without gradients."""
    feature, rows, peak = torch.randn(1, CHANNELS, SIDE, SIDE, device=device), {}, product_speed(device)
    with torch.no_grad():
        for name, (decoder, scales) in contestants().items():
            decoder = decoder.to(device)
            for scale in scales:
                size = (SIDE * scale, SIDE * scale)
                slowly = partial(decoder, feature, size)
                fast, slow = duel(partial(decode, decoder, feature, size), slowly, rounds, device)
                expected = decoder(feature, size)
                away = float((decode(decoder, feature, size) - expected).abs().max() / expected.abs().max())
                row = {"ms": fast, "plain_ms": slow, "speedup": slow / fast, "difference": away}
                if name in MACS:
                    large, small = MACS[name]
                    limit = 2000 * SIDE**2 * (large * scale**2 + small) / peak
                    row["limit_ms"] = limit
                rows[f"{name} x{scale}"] = row
                show(f"{name} x{scale}", row)
                if feature.is_cuda:
                    fast, slow = duel(partial(in_bfloat16, decoder, feature, size), slowly, rounds, device)
                    away = float((in_bfloat16(decoder, feature, size) - expected).abs().max() / expected.abs().max())
                    row = {"ms": fast, "plain_ms": slow, "speedup": slow / fast, "difference": away}
                    rows[f"{name} x{scale}, bfloat16"] = row
                    show(f"{name} x{scale}, bfloat16", row)
    return rows | {"matrix product": {"gflops": peak / 1e9}}


def step(decoder: nn.Module, run, feature: torch.Tensor) -> None:
    """One picture at x2, x3 and x4, forward and back."""
    decoder.zero_grad()
    for scale in (2, 3, 4):
        run(feature, (SIDE * scale, SIDE * scale)).square().mean().backward()


def training(rounds: int, device: str) -> dict[str, dict[str, float]]:
    """Forward and back through the decoder alone."""
    feature, rows = torch.randn(1, CHANNELS, SIDE, SIDE, device=device, requires_grad=True), {}
    for name, (decoder, _) in contestants().items():
        decoder = decoder.to(device)
        fast, slow = duel(
            partial(step, decoder, partial(decode, decoder), feature),
            partial(step, decoder, decoder, feature),
            rounds,
            device,
        )
        rows[f"{name} step"] = {"ms": fast, "plain_ms": slow, "speedup": slow / fast}
        show(f"{name} step", rows[f"{name} step"])
    return rows


def product_speed(device: str) -> float:
    """Operations a second of the matrix product that the decoders use: n x 256 by 256 x 256, a block's n."""
    n = 1024 * (1 if device == "cpu" else 256)
    x, weight = torch.randn(n, 256, device=device), torch.randn(256, 256, device=device)
    return 2 * n * 256 * 256 / min(seconds(lambda: linear(x, weight, None), device) for _ in range(300))


def show(name: str, row: dict[str, float]) -> None:
    """One line of the table."""
    limit = f"  limit {row['limit_ms']:7.1f}" if "limit_ms" in row else ""
    away = f"  difference {row['difference']:.0e}" if "difference" in row else ""
    print(
        f"{name:24} {row['ms']:8.1f} ms  plain {row['plain_ms']:8.1f}  {row['speedup']:5.2f}x{limit}{away}", flush=True
    )


def memory() -> dict[str, float]:
    """Peak memory in MB, of a process each, of DIINN's decoder on 128 x 128 features, less the picture's own."""
    code = (
        "import sys, torch; from restore_lib.implicit import DIINNDecoder; torch.set_num_threads(1)\n"
        "from restore_lib.fast.decoders import decode; scale = int(sys.argv[1])\n"
        "with torch.no_grad(): decode(DIINNDecoder(), torch.randn(1, 64, 128, 128), (128 * scale, 128 * scale))\n"
        # Linux's own count: getrusage would begin with what the process that started this one had.
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(int(peak.split()[1]) / 1024 - 3 * 4 * (128 * scale) ** 2 / 2**20)"
    )
    rows = {}
    for scale in (1, 4, 12):
        done = subprocess.run([sys.executable, "-c", code, str(scale)], capture_output=True, text=True, check=True)
        rows[f"x{scale}"] = float(done.stdout)
        print(f"memory besides the picture, x{scale}: {rows[f'x{scale}']:.0f} MB", flush=True)
    return rows


def main() -> None:
    """Run all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="Also peak memory at three scales.")
    parser.add_argument("--json", type=Path)
    device_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    result = {"inference": inference(options.rounds, options.device)}
    result["training"] = training(max(1, options.rounds // 2), options.device)
    if options.memory:
        result["memory_mb"] = memory()
    if options.json:
        about = {
            "device": device_name(options.device),
            "machine": platform.machine(),
            "threads": options.threads,
            "rounds": options.rounds,
        }
        about |= {"torch": torch.__version__, "python": platform.python_version()}
        options.json.write_text(json.dumps({"about": about, **result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
