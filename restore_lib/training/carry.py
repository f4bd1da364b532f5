"""States in pieces small enough to be carried: where a computer is borrowed, what returns from it may be limited."""

import re
from pathlib import Path

from restore_lib.errors import TrainingError
from restore_lib.files import atomic_write
from restore_lib.training.state import states

LIMIT = 15 * 2**20  # bytes
PART = re.compile(r"(state-\d{9}\.safetensors)\.part(\d{2})of(\d{2})")


def split(folder: Path | str, limit: int = LIMIT) -> list[Path]:
    """Replace the last state of a run, where it is larger than ``limit`` bytes, by pieces; drop the state before it.

    Returns
    -------
    list of Path
        What has to be carried: the state or its pieces.

    Raises
    ------
    RestoreError
        The disk is full; the state stays whole.
    """
    found = states(folder)
    if not found:
        return sorted(path for path in Path(folder).glob("state-*") if PART.fullmatch(path.name))
    *older, last = found
    pieces = [last]
    if last.stat().st_size > limit:
        content = last.read_bytes()
        count = -(-len(content) // limit)
        pieces = [last.with_name(f"{last.name}.part{n + 1:02d}of{count:02d}") for n in range(count)]
        for number, path in enumerate(pieces):
            with atomic_write(path) as temporary:
                temporary.write_bytes(content[number * limit : (number + 1) * limit])
        last.unlink()
    for path in older:
        path.unlink()
    return pieces


def join(folder: Path | str) -> None:
    """Put pieces that :func:`split` made together again; nothing happens where there are none.

    Raises
    ------
    TrainingError
        A piece is missing.
    """
    pieces: dict[str, dict[int, Path]] = {}
    wanted: dict[str, int] = {}
    for path in Path(folder).glob("state-*.part*"):
        match = PART.fullmatch(path.name)
        if match:
            pieces.setdefault(match[1], {})[int(match[2])] = path
            wanted[match[1]] = int(match[3])
    for name, found in pieces.items():
        missing = sorted(set(range(1, wanted[name] + 1)) - set(found))
        if missing:
            raise TrainingError(
                f"{Path(folder) / name} lacks piece {missing[0]} of {wanted[name]}: carry it here, too."
            )
        with atomic_write(Path(folder) / name) as temporary, open(temporary, "wb") as whole:
            for number in sorted(found):
                whole.write(found[number].read_bytes())
        for path in found.values():
            path.unlink()
