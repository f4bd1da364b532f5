"""Opening sets: what is at hand is read right, what is not at hand is said in one sentence."""

import pickle
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import loadmat

from restore_lib import data
from restore_lib.errors import DataError


def decoded(path) -> torch.Tensor:
    """A picture as Pillow decodes it, (3, H, W) in [0, 1]."""
    with Image.open(path) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1) / 255


@pytest.fixture
def copies(monkeypatch, tmp_path) -> Path:
    """A folder that RESTORE_DATA names, with something of the right names: opening looks at names only."""
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path / "copies"))
    (tmp_path / "copies").mkdir()
    return tmp_path / "copies"


def fill(folder: Path, name: str, keep=lambda path: True):
    for file in data.find(name).files:
        if keep(file.path):
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6), (50, 100, 150)).save(path)


def test_embedded_photographs_are_those_of_the_packages():
    photos = data.open("embedded")
    assert [item.name for item in photos][:3] == ["astronaut", "chelsea", "coffee"] and len(photos) == 8
    for package, folder, name in (("skimage", "data", "coffee.png"), ("restore_lib", "data/pictures", "china.jpg")):
        path = Path(find_spec(package).submodule_search_locations[0]) / folder / name
        torch.testing.assert_close(photos[path.stem].image, decoded(path))
    assert {item.name for item in data.open("embedded", "grey")} == {
        "camera",
        "brick",
        "grass",
        "gravel",
        "coins",
        "moon",
    }
    camera = data.open("embedded", "grey")["camera"]
    assert camera.read(channels="native").shape == (1, 512, 512) and camera.image.shape == (3, 512, 512)
    with pytest.raises(ValueError, match="no split 'train'; it has photos, science, grey"):
        data.open("embedded", "train")


def test_a_package_without_its_pictures_is_named(monkeypatch, tmp_path):
    from types import SimpleNamespace

    from restore_lib.data import checking

    monkeypatch.setattr(checking, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    with pytest.raises(DataError, match=r"skimage lacks its picture astronaut\.png: install"):
        data.open("embedded")


def test_items_are_a_sequence_that_can_be_sliced_and_sent_to_workers():
    photos = data.open("embedded")
    assert photos[-1].name == "flower" and [item.name for item in photos[1:3]] == ["chelsea", "coffee"]
    assert len(photos[1:3]) == 2 and repr(photos[1:3]) == "<embedded photos: 2 items>"
    again = pickle.loads(pickle.dumps(photos[2]))
    assert torch.equal(again.image, photos[2].image)
    with pytest.raises(IndexError):
        photos[len(photos)]
    with pytest.raises(KeyError):
        photos["nobody"]
    with pytest.raises(ValueError, match="coffee has no part 'mask'; it has image"):
        photos["coffee"].read("mask")


def test_the_digest_knows_content_and_order(copies):
    fill(copies, "set5")
    first = data.open("set5")
    assert first.digest() == data.open("set5").digest() != first[:4].digest()
    Image.new("RGB", (8, 6), (50, 100, 151)).save(copies / "set5/bird.png")
    assert data.open("set5").digest() != first[:0].digest() and data.open("set5").digest() != first[::-1].digest()


def test_what_is_not_here_is_said_with_the_command(copies, monkeypatch):
    with pytest.raises(DataError) as caught:
        data.open("set5")
    assert str(caught.value) == (
        "Set5 is not on this computer: run `restore data fetch set5`, or name a folder that holds it in RESTORE_DATA."
    )
    fill(copies, "set5", keep=lambda path: "b" in Path(path).name[0])
    with pytest.raises(DataError, match=r"2 of 5 files are missing \(set5/head\.png, set5/woman\.png\): run `restore"):
        data.open("set5")
    monkeypatch.setenv("RESTORE_DATA", str(copies / "nowhere"))
    with pytest.raises(DataError, match=r"RESTORE_DATA names .*nowhere, which is not a folder"):
        data.open("set5")


def test_a_split_needs_only_its_own_files(copies):
    fill(copies, "bsds500", keep=lambda path: "/val/" in path)
    assert len(data.open("bsds500", "val")) == len(data.open("b100")) == 100
    with pytest.raises(DataError, match="400 of 500 files are missing"):
        data.open("bsds500")
    with pytest.raises(DataError, match="not on this computer"):
        data.open("bsds500", "train")
    with pytest.raises(ValueError, match=r"it has .*train400"):
        data.open("bsds500", "validation")


def test_the_cache_completes_local_copies(copies, monkeypatch):
    fill(copies, "set5", keep=lambda path: "bird" not in path)
    monkeypatch.setenv("RESTORE_CACHE", str(copies.parent / "cache"))
    fill(copies.parent / "cache", "set5", keep=lambda path: "bird" in path)
    assert {item.parts["image"].parents[1].name for item in data.open("set5")} == {"copies", "cache"}


def test_weights_and_unknown_sets_are_not_opened():
    with pytest.raises(DataError, match="did you mean set5"):
        data.open("seet5")


def test_sets_by_hand_open_by_their_layout(copies):
    with pytest.raises(DataError, match=r"DIV2K is not on this computer: download it at https://data\.vision"):
        data.open("div2k")
    for number in range(801, 901):
        path = copies / f"div2k/DIV2K_valid_HR/{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert [item.name for item in data.open("div2k", "val")] == [f"{n:04d}" for n in range(801, 901)]
    with pytest.raises(DataError, match=r"800 files are missing|DIV2K is not on this computer"):
        data.open("div2k", "train")
    for wnid in ("n01440764", "n01443537"):
        for name in ("a", "b"):
            path = copies / f"ilsvrc2012/train/{wnid}/{wnid}_{name}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    assert [item.label for item in data.open("ilsvrc2012", "train")] == [0, 0, 1, 1]


# From here on: the real sets.

COUNTS = {
    "set5": 5, "set14": 14, "b100": 100, "cbsd68": 68, "bsds500": 500, "urban100_every8th": 13, "kodak24": 24,
    "set12_gray": 12, "camvid": 86, "div2k_test_lr_x4": 25, "div2krk": 4, "kernels_kair": 15, "dnd_noisy": 12,
    "polyu_crops": 100, "realsr_x4_crops": 25, "realsrset": 20, "phone_photos": 17, "imagenet_sample200": 200,
    "tiny_imagenet10": 5500,
}  # fmt: skip


def test_every_set_opens_with_all_its_items(photos):
    fetched = {"div2k_test_x4"}  # a part of it is staged, under a name of its own
    assert {*COUNTS, *fetched} == {*data.names("set"), *data.names("view")}
    for name, count in COUNTS.items():
        opened = data.open(name)
        assert len(opened) == count and len({item.name for item in opened}) == count
        for part in opened[count // 2].parts:
            assert torch.isfinite(opened[count // 2].read(part).double()).all()


def test_b100_has_even_sides_and_cbsd68_whole_pictures(photos):
    b100, whole = data.open("b100"), data.open("cbsd68")
    assert {tuple(item.image.shape) for item in b100} == {(3, 320, 480), (3, 480, 320)}
    item = next(item for item in b100 if item.name == whole[0].name)
    height, width = item.image.shape[1:]
    torch.testing.assert_close(item.image, whole[0].image[:, :height, :width])
    assert {tuple(item.image.shape) for item in whole} == {(3, 321, 481), (3, 481, 321)}


def test_bsds500_splits(photos):
    names = {split: [i.name for i in data.open("bsds500", split)] for split in ("train", "val", "test", "train400")}
    assert [len(names[split]) for split in names] == [200, 100, 200, 400]
    assert sorted(names["train400"]) == sorted(names["train"] + names["test"])
    assert not set(names["train400"]) & {item.name for item in data.open("b100")}


def test_grey_files_keep_one_channel_when_asked(photos):
    bridge = data.open("set14")["bridge"]
    grey = torch.from_numpy(np.array(Image.open(photos / "set14/bridge.png"))) / 255
    torch.testing.assert_close(bridge.read(channels="native"), grey[None])
    torch.testing.assert_close(bridge.image, grey.expand(3, -1, -1))
    assert {item.read(channels="native").shape[0] for item in data.open("set12_gray")} == {1}


def test_kernels_are_the_arrays_of_the_matlab_files(photos):
    pair = data.open("div2krk")[0]
    assert set(pair.parts) == {"image", "lr_x2", "lr_x4", "kernel_x2", "kernel_x4"}
    for scale, side in ((2, 11), (4, 31)):
        kernel = pair.read(f"kernel_x{scale}")
        stored = loadmat(photos / f"div2krk/gt_k_x{scale}/kernel_{pair.name}.mat")["Kernel"]
        assert kernel.shape == (side, side) and kernel.dtype == torch.float64
        np.testing.assert_array_equal(kernel.numpy(), stored)
        assert abs(kernel.sum().item() - 1) < 1e-6
        assert pair.read(f"lr_x{scale}").shape == (3, *(side // scale for side in pair.image.shape[1:]))
    every = data.open("div2krk", "kernels")
    assert [item.name for item in every] == [str(n) for n in range(1, 101)]
    assert set(every[0].parts) == {"kernel_x2", "kernel_x4"}


def test_files_of_several_kernels(photos):
    twelve = data.open("kernels_kair", "12")
    stored = loadmat(photos / "kernels_kair/kernels_12.mat")["kernels"]
    assert [item.name for item in twelve] == [f"12-{n}" for n in range(1, 13)]
    for number, item in enumerate(twelve):
        np.testing.assert_array_equal(item.read("kernel").numpy(), stored[0, number])
    assert len(data.open("kernels_kair", "bicubicx234")) == 3


def test_masks_are_class_numbers_of_the_picture_beside_them(photos):
    train, test = data.open("camvid", "train"), data.open("camvid", "test")
    assert (len(train), len(test)) == (62, 24) and not {i.name for i in train} & {i.name for i in test}
    for item in (train[0], test[-1]):
        mask = item.read("mask")
        assert mask.dtype == torch.int64 and mask.shape == item.image.shape[1:] == (360, 480)
        assert set(mask.unique().tolist()) <= set(range(12))
        np.testing.assert_array_equal(mask.numpy(), np.array(Image.open(item.parts["mask"])))


def test_pairs_belong_together(photos):
    for item in data.open("realsr_x4_crops")[::6]:
        small = torch.nn.functional.avg_pool2d(item.image, 4)
        assert item.read("lr").shape == (3, 128, 128) and (small - item.read("lr")).abs().mean() < 0.1
    levels = [10 * -torch.log10((i.image - i.read("noisy")).square().mean()) for i in data.open("polyu_crops")[::10]]
    assert 30 < torch.stack(levels).mean() < 42  # 35.97 dB over all pairs


def test_labels_are_those_of_the_staged_tables(photos):
    tiny = data.open("tiny_imagenet10", "val")
    rows = [line.split("\t") for line in (photos / "tiny_imagenet10/val_labels.tsv").read_text().splitlines()]
    wnids = [line.split("\t")[0] for line in (photos / "tiny_imagenet10/classes.tsv").read_text().splitlines()]
    assert {item.name: item.label for item in tiny} == {name[:-5]: wnids.index(wnid) for name, wnid in rows}
    assert tiny.classes[0] == "goldfish" and len(tiny.classes) == 10
    train = data.open("tiny_imagenet10", "train")
    assert torch.bincount(torch.tensor([item.label for item in train])).tolist() == [500] * 10
    sample = data.open("imagenet_sample200")
    rows = [line.split("\t") for line in (photos / "imagenet_sample200/labels.tsv").read_text().splitlines()]
    assert {item.parts["image"].name: item.label for item in sample} == {name: int(label) for name, _, label in rows}
    assert sample.classes[0] == "tench"


def test_damaged_kernels_and_masks_are_said_to_be_so(photos, copies):
    for name in ("kernels_kair", "camvid"):
        shutil.copytree(photos / name, copies / name)
    whole = (copies / "kernels_kair/kernels_12.mat").read_bytes()
    for content in (b"", b"no kernels", b"x" * 1000, whole[: len(whole) // 2], whole[:200]):
        (copies / "kernels_kair/kernels_12.mat").write_bytes(content)
        with pytest.raises(DataError, match=r"kernels_12\.mat is not a file of kernels"):
            data.open("kernels_kair", "12")[0].read("kernel")
    item = data.open("camvid", "test")[0]
    item.parts["mask"].write_bytes(b"no mask")
    with pytest.raises(DataError, match="not a readable label image"):
        item.read("mask")
    shutil.copy(item.parts["image"], item.parts["mask"])
    with pytest.raises(DataError, match="is a colour picture"):
        item.read("mask")
