"""The house rules that a script can see: a room imports only from floors below it, and stays small."""

import ast
import re
from pathlib import Path

import pytest

from restore_lib import tiers

LIBRARY = Path(__file__).resolve().parent.parent / "restore_lib"
TABLE = (LIBRARY.parent / "CONTRIBUTING.md").read_text(encoding="utf-8").split("| room of `restore_lib`")[1]
ROWS = [re.findall(r"`([a-z_]+?)(?:/|\.py)`", row.split(" | ")[0]) for row in re.findall(r"^\|[^\n]*`.*$", TABLE, re.M)]
FLOORS = {name: len(ROWS) - number for number, row in enumerate(ROWS, 1) for name in row}  # the ground is 0
MOST_FILES = 12
FILES = sorted(LIBRARY.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imported_rooms(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "restore_lib"
                else [node.module]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "restore_lib" and len(parts) > 1:
                yield parts[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_a_room_imports_only_from_floors_below(path):
    own = room(path)
    for other in imported_rooms(path):
        if other != own and other != "__version__":
            below, here = FLOORS[other], FLOORS[own]
            assert below < here or below == here == 0, f"{own} (floor {here}) imports {other} (floor {below})"


def test_the_table_names_every_room_and_no_other():
    assert set(FLOORS) == {room(path) for path in FILES}
    assert FLOORS["errors"] == 0 < FLOORS["data"] < FLOORS["fast"] < FLOORS["implicit"] < FLOORS["__init__"]


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES} - {LIBRARY}), ids=lambda path: path.name)
def test_a_room_can_be_taken_in_at_a_glance(folder):
    assert folder.name == "exercises" or len(list(folder.glob("*.py"))) <= MOST_FILES


def test_the_rule_sees_the_rooms():
    seen = {room(path): set(imported_rooms(path)) for path in FILES}
    assert "errors" in seen["files"]  # else the parser above finds nothing and proves nothing


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_no_file_grows_beyond_a_readers_patience(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


def test_tier_comes_from_the_environment(monkeypatch):
    assert tiers.current() == "cpu"
    monkeypatch.setenv("RESTORE_TIER", "Smoke")
    assert tiers.current() == "smoke"
    assert tiers.pick(smoke=1, cpu=2) == 1
    monkeypatch.setenv("RESTORE_TIER", "huge")
    with pytest.raises(ValueError, match="set it to one of smoke, cpu, gpu, paper"):
        tiers.current()


@pytest.mark.parametrize(("tier", "expected"), [("smoke", 0), ("cpu", 2), ("gpu", 2), ("paper", 9)])
def test_pick_falls_back_to_the_next_smaller_tier(tier, expected):
    assert tiers.pick(smoke=0, cpu=2, paper=9, tier=tier) == expected
