"""Time crops from the memory-mapped store beside decoding PNG files for each, on photographs.

The ways of making a batch run in turns, in one process. Cold means that the file of levels is on the disk and not in
memory: it was dropped from the page cache, where the operating system lets a program do so.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from restore_lib import data, images
from restore_lib.data import decoded
from restore_lib.data.opening import Item
from restore_lib.data.patches import PatchStore, augment, to_float
from restore_lib.data.prefetching import prefetch

SHAPES = ((32, 48), (16, 192))  # batch, size


class Decoding(Dataset):
    """One random crop of one random file, which is decoded for it; endless."""

    def __init__(self, items: list[Item], size: int, length: int):
        self.items, self.size, self.length = items, size, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(index)
        picture = self.items[int(torch.randint(len(self.items), (), generator=generator))].image  # (3, h, w)
        top, left = (int(torch.randint(side - self.size + 1, (), generator=generator)) for side in picture.shape[-2:])
        return picture[:, top : top + self.size, left : left + self.size].contiguous()


class Mapped(Dataset):
    """A whole batch from the store as one item, for the workers of a DataLoader."""

    def __init__(self, store: PatchStore, batch: int, size: int, length: int):
        self.store, self.batch, self.size, self.length = store, batch, size, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.store.crops(index, batch=self.batch, size=self.size, seed=0)


def each(batches, count: int) -> float:
    """Seconds a batch, over ``count`` batches after the first one, for which workers and threads have to start."""
    source = iter(batches)
    next(source)
    start = time.perf_counter()
    for _ in range(count):
        next(source)
    return (time.perf_counter() - start) / count


def drop(path: Path) -> bool:
    """Ask for a file to be taken out of memory."""
    if not hasattr(os, "posix_fadvise"):
        return False
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def ready(store: PatchStore, batch: int, size: int, step: int) -> torch.Tensor:
    """What training takes: turned floats."""
    return to_float(augment(*store.crops(step, batch=batch, size=size, seed=0)))


def ways(store: PatchStore, files: list[Item], batch: int, size: int, count: int) -> dict:
    """Functions that give seconds a batch."""
    crops, workers = Decoding(files, size, 10**9), {"num_workers": 2, "prefetch_factor": 2}

    def ahead(make):
        batches = prefetch(make)
        seconds = each(batches, count)
        batches.close()
        return seconds

    def direct(make, number):
        return each(map(make, range(number + 1)), number)

    return {
        "store": lambda: direct(lambda step: store.crops(step, batch=batch, size=size, seed=0), count),
        "store, turned floats": lambda: direct(lambda step: ready(store, batch, size, step), count),
        "store, ahead in a thread": lambda: ahead(lambda step: store.crops(step, batch=batch, size=size, seed=0)),
        "store, DataLoader of 2": lambda: each(
            DataLoader(Mapped(store, batch, size, count + 9), batch_size=None, **workers), count
        ),
        "PNG": lambda: direct(lambda step: torch.stack([crops[step * batch + i] for i in range(batch)]), 2),
        "PNG, DataLoader of 2": lambda: each(DataLoader(crops, batch_size=batch, **workers), 30),
    }


def warm(store: PatchStore, files: list[Item], rounds: int, count: int) -> dict:
    """All ways for each shape, fastest and median round."""
    rows = {}
    for batch, size in SHAPES:
        contestants = ways(store, files, batch, size, count)
        seconds = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, run in contestants.items():
                seconds[name].append(run())
        rows[f"{batch} x {size}"] = {
            name: figures(min(values), batch, size) | {"median ms": 1000 * statistics.median(values)}
            for name, values in seconds.items()
        }
    return rows


def figures(seconds: float, batch: int, size: int) -> dict:
    """A batch's time in the units of the table."""
    return {"ms": 1000 * seconds, "crops/s": batch / seconds, "MB/s": 3 * batch * size**2 / seconds / 1e6}


def cold(store: PatchStore, count: int) -> dict:
    """Opening a store that is not in memory with and without reading it through, and the first crops after that."""
    rows = {}
    for batch, size in SHAPES:
        for check in (False, True):
            with tempfile.TemporaryDirectory(dir=store.folder) as copy:  # what somebody has mapped stays in memory
                for name in (decoded.PIXELS, decoded.INDEX):
                    shutil.copy(store.folder / name, copy)
                dropped = drop(Path(copy) / decoded.PIXELS)
                start = time.perf_counter()
                fresh = PatchStore(copy, min_size=store.min_size, check=check)
                opening = time.perf_counter() - start
                start = time.perf_counter()
                for step in range(count):
                    fresh.crops(step, batch=batch, size=size, seed=1)
                row = figures((time.perf_counter() - start) / count, batch, size)
            name = f"{batch} x {size}, {'read through' if check else 'not read'}"
            rows[name] = row | {"opening ms": 1000 * opening, "dropped": dropped}
    return rows


def building(pictures, folder: Path) -> tuple[PatchStore, dict]:
    """Decode into an empty folder, then open that."""
    start = time.perf_counter()
    store = PatchStore.build(pictures, folder, min_size=max(size for _, size in SHAPES))
    decoding = time.perf_counter() - start
    start = time.perf_counter()
    PatchStore.build(pictures, folder)
    return store, {
        "build s": decoding,
        "open s": time.perf_counter() - start,
        "MB": sum(3 * h * w for h, w in store.sizes) / 1e6,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="bsds500", help="an image set (default bsds500)")
    parser.add_argument("--split", help="a split of it")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each way (default 7)")
    parser.add_argument("--count", type=int, default=200, help="batches a turn from the store (default 200)")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads (default 1)")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pictures = data.open(options.data, options.split)
    with tempfile.TemporaryDirectory() as place:
        store, report = building(pictures, Path(place) / "store")
        (Path(place) / "png").mkdir()
        files = []
        for index, name in enumerate(store.names):
            path = Path(place) / "png" / f"{index}.png"
            images.write(path, to_float(store.picture(index)))
            files.append(Item(name, {"image": path}))
        print(f"{len(store)} pictures, " + ", ".join(f"{name} {value:.2f}" for name, value in report.items()))
        report |= {"warm": warm(store, files, options.rounds, options.count), "cold": cold(store, 20)}
    for part in ("warm", "cold"):
        for shape, row in report[part].items():
            for name, found in row.items() if part == "warm" else [("first 20 batches", row)]:
                print(f"{part} {shape:22s} {name:25s} " + "  ".join(f"{v:10,.2f} {k}" for k, v in found.items()))
    report |= {"data": repr(pictures), "torch": torch.__version__, "python": platform.python_version()}
    report |= {"machine": platform.machine(), "threads": options.threads}
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
