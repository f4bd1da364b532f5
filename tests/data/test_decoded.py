"""A store of decoded pictures is whole, or built anew, or refused: never half and never another's."""

import contextlib
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from restore_lib import files
from restore_lib.data import decoded
from restore_lib.data.opening import Item
from restore_lib.data.patches import PatchStore
from restore_lib.errors import DataError, ImageError, RestoreError


@pytest.fixture
def items(draw):
    return draw([(20, 31), (17, 18), (40, 9)])


@pytest.fixture
def decodings(monkeypatch):
    """Names of the pictures that were decoded, in any order."""
    seen, levels_of = [], decoded.levels_of
    monkeypatch.setattr(decoded, "levels_of", lambda item: seen.append(item.name) or levels_of(item))
    return seen


def holds(store, items) -> bool:
    """Whether every picture in the store is its item's."""
    pairs = zip(items, range(len(store)), strict=True)
    return all(torch.equal(store.picture(index).float() / 255, item.image) for item, index in pairs)


def test_pictures_are_decoded_once(tmp_path, items, decodings):
    first = PatchStore.build(items, tmp_path / "store")
    assert sorted(decodings) == ["a0", "a1", "a2"]
    second = PatchStore.build(iter(items), tmp_path / "store")
    assert len(decodings) == 3
    assert second.folder == first.folder and second.sources == first.sources and holds(second, items)
    assert sorted(path.name for path in first.folder.iterdir()) == ["index.json", "pixels.u8"]


def test_the_file_is_the_pictures_levels_in_order(tmp_path, items):
    store = PatchStore.build(items, tmp_path / "store")
    raw = b"".join(Image.open(item.parts["image"]).tobytes() for item in items)
    assert (store.folder / "pixels.u8").read_bytes() == raw
    index = json.loads((store.folder / "index.json").read_text())
    assert index["sha256"] == files.sha256(store.folder / "pixels.u8")
    assert index["pictures"][1] == ["a1", 17, 18, files.sha256(items[1].parts["image"])]


def test_other_sources_have_another_store(tmp_path, items, draw):
    stores = [PatchStore.build(chosen, tmp_path / "store") for chosen in (items, items[::-1], items[:2])]
    odd = [Item(item.name, item.parts, even=True) for item in items]
    stores.append(PatchStore.build(odd, tmp_path / "store"))
    assert stores[-1].sizes == [(20, 30), (16, 18), (40, 8)]
    assert len({store.folder for store in stores}) == len({store.sources for store in stores}) == 4
    assert holds(stores[1], items[::-1]) and holds(stores[3], odd)
    draw([(20, 31)])  # the file's content changes under the same name
    changed = PatchStore.build(items, tmp_path / "store")
    assert changed.sources != stores[0].sources and holds(changed, items) and not holds(stores[0], items)


def cut(path):
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path):
    with open(path, "ab") as stream:
        stream.write(b"\0")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "cut levels": ("pixels.u8", cut),
    "no levels": ("pixels.u8", lambda path: os.truncate(path, 0)),
    "long levels": ("pixels.u8", lengthen),
    "a wrong bit in the levels": ("pixels.u8", flip),
    "lost levels": ("pixels.u8", Path.unlink),
    "cut index": ("index.json", lambda path: os.truncate(path, path.stat().st_size // 2)),
    "no index": ("index.json", lambda path: os.truncate(path, 0)),
    "lost index": ("index.json", Path.unlink),
    "a wrong bit in the index": ("index.json", flip),
    "an index of another program": ("index.json", lambda path: path.write_text('{"pictures": [["a", 2, 2, ""]]}')),
    "an index that is a list": ("index.json", lambda path: path.write_text("[1, 2]")),
    "an index that is no text": ("index.json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_refused_by_name_and_built_anew(tmp_path, items, decodings, damage):
    store = PatchStore.build(items, tmp_path / "store")
    before = store.crops(3, batch=8, size=5, seed=1)
    name, spoil = DAMAGES[damage]
    spoil(store.folder / name)
    with pytest.raises(DataError, match="build the store") as refusal:
        PatchStore(store.folder)
    assert str(refusal.value).count(str(store.folder)) == 1 and "\n" not in str(refusal.value)
    again = PatchStore.build(items, tmp_path / "store")
    assert len(decodings) == 6 and holds(again, items) and holds(PatchStore(store.folder), items)
    assert all(map(torch.equal, before, again.crops(3, batch=8, size=5, seed=1)))


def test_swapped_heights_are_noticed(tmp_path, items):
    """The same number of bytes, another picture: only the index's own hash tells."""
    folder = PatchStore.build(items, tmp_path / "store").folder
    index = json.loads((folder / "index.json").read_text())
    index["pictures"][0][1:3] = index["pictures"][0][2:0:-1]
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="its index is damaged"):
        PatchStore(folder, check=False)


def test_another_format_is_not_read(tmp_path, items, monkeypatch):
    folder = PatchStore.build(items, tmp_path / "store").folder
    monkeypatch.setattr(decoded, "FORMAT", decoded.FORMAT + 1)
    with pytest.raises(DataError, match="another program"):
        PatchStore(folder)
    assert holds(PatchStore.build(items, tmp_path / "store"), items)


def test_a_good_store_of_other_pictures_in_its_place_is_replaced(tmp_path, items, draw):
    right = PatchStore.build(items, tmp_path / "store")
    wrong = PatchStore.build(draw([(20, 31), (17, 18), (40, 9)], folder="other"), tmp_path / "store")
    for path in wrong.folder.iterdir():
        shutil.copy(path, right.folder)
    again = PatchStore.build(items, tmp_path / "store")
    assert again.folder == right.folder and again.sources == right.sources and holds(again, items)


def test_without_check_a_wrong_bit_passes_but_a_wrong_length_does_not(tmp_path, items):
    folder = PatchStore.build(items, tmp_path / "store").folder
    flip(folder / "pixels.u8")
    assert not holds(PatchStore(folder, check=False), items)
    cut(folder / "pixels.u8")
    with pytest.raises(DataError, match="wrong length"):
        PatchStore(folder, check=False)


def test_a_file_put_in_place_of_the_mapped_one_changes_nothing_for_who_has_it(tmp_path, items):
    store = PatchStore.build(items, tmp_path / "store")
    decoded.write(store.folder, store.sources, items[::-1], ["", "", ""])
    assert holds(store, items)


def test_sources_that_cannot_be_used_are_named(tmp_path, items):
    with pytest.raises(ValueError, match="at least one"):
        PatchStore.build([], tmp_path / "store")
    with pytest.raises(DataError, match=r"gone\.png cannot be read"):
        PatchStore.build([Item("gone", {"image": tmp_path / "gone.png"})], tmp_path / "store")
    items[1].parts["image"].write_bytes(items[1].parts["image"].read_bytes()[:200])
    with pytest.raises(ImageError, match=r"a1\.png"):
        PatchStore.build(items, tmp_path / "store")
    with pytest.raises(DataError, match="holds no decoded pictures"):
        PatchStore(tmp_path / "nowhere")
    assert not list((tmp_path / "store").rglob("*")), "a failed build leaves nothing"


@contextlib.contextmanager
def room_for(count):
    """Files may have ``count`` bytes at most: the operating system refuses more, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("count", [0, 1, 2000, 3857])  # of 3858 bytes
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, items, count):
    with room_for(count), pytest.raises(RestoreError, match="disk is full"):
        PatchStore.build(items, tmp_path / "store")
    assert not list((tmp_path / "store").rglob("*"))
    assert holds(PatchStore.build(items, tmp_path / "store"), items)


def test_levels_do_not_stay_when_their_index_finds_no_room(tmp_path, draw):
    items = draw([(1, 1), (2, 2)])  # 15 bytes, far fewer than their names and hashes
    with room_for(100), pytest.raises(RestoreError, match="disk is full"):
        PatchStore.build(items, tmp_path / "store")
    assert not list((tmp_path / "store").rglob("*"))


def test_a_full_disk_leaves_an_older_store_as_it_was(tmp_path, items):
    store = PatchStore.build(items, tmp_path / "store")
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    with room_for(2000), pytest.raises(RestoreError, match="disk is full"):
        decoded.write(store.folder, store.sources, items[::-1], ["", "", ""])
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before


def test_ctrl_c_leaves_nothing(tmp_path, items, monkeypatch):
    levels_of = decoded.levels_of

    def interrupted(item):
        if item.name == "a2":
            raise KeyboardInterrupt
        return levels_of(item)

    monkeypatch.setattr(decoded, "levels_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        PatchStore.build(items, tmp_path / "store")
    assert not list((tmp_path / "store").rglob("*"))


def test_a_file_where_the_folder_should_be_is_said(tmp_path, items):
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(RestoreError, match="not written"):
        PatchStore.build(items, tmp_path / "store")
    assert (tmp_path / "store").read_text() == "in the way"


# Builds a store slowly, after saying that it has begun to write and being told to go on.
BUILDER = """
import sys, time
from pathlib import Path
from restore_lib.data import decoded
from restore_lib.data.opening import Item
from restore_lib.data.patches import PatchStore
levels_of = decoded.levels_of
def slowly(item):
    if item.name == "a1":
        print("begun", flush=True)
        sys.stdin.readline()
    time.sleep(0.02)
    return levels_of(item)
decoded.levels_of = slowly
store = PatchStore.build([Item(p.stem, {"image": p}) for p in sorted(Path(sys.argv[1]).iterdir())], sys.argv[2])
print(store.folder, decoded.hashlib.sha256(store._pixels).hexdigest(), flush=True)
"""


def builder(tmp_path):
    arguments = [sys.executable, "-c", BUILDER, str(tmp_path / "png"), str(tmp_path / "store")]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_builders_at_the_same_time_both_get_the_whole_store(tmp_path, draw):
    items = draw([(20 + number, 30) for number in range(10)])
    raw = b"".join(Image.open(item.parts["image"]).tobytes() for item in items)
    with builder(tmp_path) as one, builder(tmp_path) as other, builder(tmp_path) as killed:
        for process in (one, other, killed):
            assert process.stdout.readline() == "begun\n"  # all are in the middle of their files now
        killed.kill()
        said = []
        for process in (one, other):
            process.stdin.write("go on\n")
            process.stdin.flush()
        for process in (one, other):
            said.append(process.stdout.readline().split())
            assert process.wait() == 0
    store = PatchStore.build(items, tmp_path / "store")
    assert said == 2 * [[str(store.folder), hashlib.sha256(raw).hexdigest()]]
    assert holds(store, items)
    hidden = [path for path in store.folder.iterdir() if path.name.startswith(".")]
    assert len(list(store.folder.iterdir())) - len(hidden) == 2 and len(hidden) <= 2  # the killed one's remains
