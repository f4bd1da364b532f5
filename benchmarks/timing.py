"""What the benchmarks share: a clock that waits for the device, and the option that names one."""

import argparse
import time

import torch

from restore_lib.training.precision import best_device


def now(device: torch.device | str) -> float:
    """The time when everything asked of the device is done."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def device_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``: a GPU, where there is one that torch can use."""
    parser.add_argument("--device", default=best_device(), help="cpu or cuda; the GPU by default, if there is one.")


def device_name(device: torch.device | str) -> str:
    """For the record: the GPU's model, or ``cpu``."""
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "cpu"
