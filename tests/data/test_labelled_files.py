"""ILSVRC2012 and VOC 2012 in folders as their archives make them, with a few made pictures."""

import numpy as np
import pytest
import torch
from PIL import Image

from restore_lib import data
from restore_lib.data.labelled import IGNORED, MEAN, VOC, LabelledFiles, ilsvrc, voc
from restore_lib.errors import DataError, ImageError

WNIDS = ("n01440764", "n01443537", "n02102040")


@pytest.fixture
def copies(monkeypatch, tmp_path):
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path / "copies"))
    return tmp_path / "copies"


def keep(path, levels):
    """Write levels without loss, whatever the name says: formats are told by content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels).save(path, format="PNG")


def shades(rng, height, width):
    """A picture whose red level says, modulo 21, which class its pixel has."""
    return torch.randint(256, (height, width, 3), generator=rng, dtype=torch.uint8).numpy()


@pytest.fixture
def voc_folder(copies, rng):
    """Train has a and b, val c; the augmented masks know these three and two more, one of them smaller than a crop."""
    home = copies / "voc2012/VOCdevkit/VOC2012"
    sizes = {"2007_a": (50, 70), "2007_b": (64, 41), "2008_c": (48, 48), "2009_d": (30, 55), "2010_e": (60, 60)}
    for name, size in sizes.items():
        levels = shades(rng, *size)
        keep(home / f"JPEGImages/{name}.jpg", levels)
        mask = Image.fromarray(levels[..., 0] % 21)
        keep(home / f"SegmentationClassAug/{name}.png", np.array(mask))
        if name < "2009":
            mask.putpalette(torch.randint(256, (768,), generator=rng).tolist())  # colours must not matter
            (home / "SegmentationClass").mkdir(exist_ok=True)
            mask.save(home / f"SegmentationClass/{name}.png")
    (home / "ImageSets/Segmentation").mkdir(parents=True)
    (home / "ImageSets/Segmentation/train.txt").write_text("2007_b\n2007_a\n")
    (home / "ImageSets/Segmentation/val.txt").write_text("2008_c\n")
    return home


@pytest.fixture
def imagenet(copies, rng):
    """Three pictures of two sizes in each of three classes; those of val lie flat. Blue says which class it is."""
    for label, wnid in enumerate(WNIDS):
        for number, size in enumerate([(40, 60), (70, 32), (36, 36)]):
            levels = shades(rng, *size)
            levels[..., 2] = 80 * label
            keep(copies / f"ilsvrc2012/train/{wnid}/{wnid}_{number}.JPEG", levels)
            keep(copies / f"ilsvrc2012/val/ILSVRC2012_val_{label}{number}.JPEG", levels)
    return copies / "ilsvrc2012"


def test_splits_of_voc(voc_folder):
    names = {s: [item.name for item in data.open("voc2012", s)] for s in ("train", "val", "trainval", "train_aug")}
    assert names == {
        "train": ["2007_a", "2007_b"],
        "val": ["2008_c"],
        "trainval": ["2007_a", "2007_b", "2008_c"],
        "train_aug": ["2007_a", "2007_b", "2009_d", "2010_e"],
    }
    for split, folder in (("train", "SegmentationClass"), ("train_aug", "SegmentationClassAug")):
        item = data.open("voc2012", split)["2007_b"]
        assert set(item.parts) == {"image", "mask"} and item.parts["mask"].parent.name == folder
        levels = np.array(Image.open(item.parts["image"]))
        np.testing.assert_array_equal(item.read("mask").numpy(), levels[..., 0] % 21)
    assert [item.name for item in data.open("voc2012")] == names["train"]


def test_what_is_missing_of_voc_is_said(voc_folder):
    with pytest.raises(ValueError, match="no split 'test'; it has train, val, train_aug, trainval"):
        data.open("voc2012", "test")
    (voc_folder / "JPEGImages/2008_c.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 2 files are missing \(JPEGImages/2008_c\.jpg\)"):
        data.open("voc2012", "val")
    for path in (voc_folder / "SegmentationClassAug").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="SegmentationClassAug must hold what split train_aug is made of: download it"):
        data.open("voc2012", "train_aug")
    (voc_folder / "ImageSets/Segmentation/train.txt").unlink()
    with pytest.raises(DataError, match="Segmentation must hold what split train is made of"):
        data.open("voc2012", "train")


def test_train_aug_needs_the_list_of_val(voc_folder):
    """Without it, pictures of val would be trained on."""
    (voc_folder / "ImageSets/Segmentation/val.txt").unlink()
    with pytest.raises(DataError, match=r"val\.txt is missing or no list of names"):
        data.open("voc2012", "train_aug")


def test_masks_stay_with_their_pixels_and_small_pictures_are_filled(voc_folder):
    found = voc("train_aug")
    assert len(found) == 4 and found.classes == VOC and len(VOC) == 21
    mean, filled = torch.tensor(MEAN).view(3, 1), 0
    for step in range(4):
        crops, masks = found.batch(step, batch=12, size=44, seed=3)
        assert crops.shape == (12, 3, 44, 44) and masks.shape == (12, 44, 44) and masks.dtype == torch.int64
        outside = masks == IGNORED
        assert torch.equal(masks[~outside], crops[:, 0][~outside].long() % 21)
        assert (crops.permute(1, 0, 2, 3)[:, outside] == mean).all()
        for mask in outside:
            rows, columns = (mask.all(axis).sum().item() for axis in (1, 0))
            assert (rows, columns) in ((0, 0), (14, 0), (0, 3)) and mask.sum() == 44 * (rows + columns)
            filled += rows + columns > 0
    assert 0 < filled < 48


def test_a_batch_depends_on_seed_and_step_alone(voc_folder):
    ask = {"batch": 8, "size": 30}
    whole = voc("train_aug").batch(5, seed=2, **ask)
    for threads in (1, 3):
        again = voc("train_aug", threads=threads).batch(5, seed=2, **ask)
        assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
    shares = [voc("train_aug").batch(5, seed=2, **ask, rank=rank, world=4) for rank in range(4)]
    for place in (0, 1):
        assert torch.equal(torch.cat([share[place] for share in shares]), whole[place])
    assert not torch.equal(voc("train_aug").batch(6, seed=2, **ask)[0], whole[0])
    with pytest.raises(ValueError, match="batch is 8 for 3 processes"):
        voc("train_aug").batch(5, seed=2, **ask, world=3)


def test_crops_are_windows_of_their_pictures_half_of_them_mirrored(voc_folder):
    found = voc("val")
    picture = found.whole(0)[0]
    windows = picture.unfold(1, 40, 1).unfold(2, 40, 1).permute(1, 2, 0, 3, 4).reshape(-1, 3, 40, 40)
    turned = 0
    for crop in found.batch(0, batch=64, size=40, seed=1)[0]:
        plain, mirrored = ((windows == c).flatten(1).all(1).any() for c in (crop, crop.flip(-1)))
        assert plain or mirrored
        turned += int(mirrored)
    assert 10 < turned < 54


def test_classes_of_ilsvrc(imagenet):
    found = ilsvrc("train", short_side=34)
    assert len(found) == 9 and found.classes == WNIDS and found.names[0] == "n01440764_0"
    crops, labels = found.batch(0, batch=40, size=32, seed=0)
    assert crops.shape == (40, 3, 32, 32) and labels.dtype == torch.int64 and set(labels.tolist()) == {0, 1, 2}
    assert torch.equal(crops[:, 2], (80 * labels).to(torch.uint8).view(-1, 1, 1).expand(-1, 32, 32))


@pytest.mark.parametrize(("which", "size"), [(0, (34, 51)), (1, (74, 34)), (2, (34, 34))])
def test_pictures_are_resized_as_pillow_does(imagenet, which, size):
    found = ilsvrc("train", short_side=34)
    picture, label = found.whole(which)
    source = Image.open(imagenet / f"train/{WNIDS[0]}/{WNIDS[0]}_{which}.JPEG")
    expected = np.array(source.resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)
    assert picture.shape[1:] == size and label == 0
    assert np.abs(picture.permute(1, 2, 0).numpy() - expected).max() <= 1  # newer Pillows: vertical pass first
    top, left = ((n - 30) // 2 for n in size)
    middle, again = found.centre(which, 30)
    assert torch.equal(middle, picture[:, top : top + 30, left : left + 30]) and again == 0


def test_flat_pictures_have_no_class(imagenet):
    with pytest.raises(DataError, match=r"ILSVRC2012, val, have no classes: sort them into one folder for each class"):
        ilsvrc("val")
    with pytest.raises(ValueError, match="have no masks"):
        LabelledFiles(data.open("ilsvrc2012", "val"), (), of="mask")


def test_the_digest_knows_names_classes_and_lengths(imagenet):
    first = ilsvrc("train").digest
    assert first == ilsvrc("train").digest != ilsvrc("train", short_side=200).digest
    path = imagenet / f"train/{WNIDS[1]}/{WNIDS[1]}_1.JPEG"
    path.write_bytes(path.read_bytes() + b"\0")
    second = ilsvrc("train").digest
    path.rename(path.with_name(f"{WNIDS[1]}_9.JPEG"))
    assert len({first, second, ilsvrc("train").digest}) == 3


def test_damaged_files_are_named(voc_folder, imagenet):
    keep(voc_folder / "SegmentationClass/2008_c.png", np.zeros((48, 47), dtype=np.uint8))
    with pytest.raises(DataError, match=r"2008_c\.png and its picture differ in size, \(48, 47\) and \(48, 48\)"):
        voc("val").batch(0, batch=2, size=20, seed=0)
    for path in imagenet.glob("train/*/*"):
        path.write_bytes(b"no picture")
    with pytest.raises(ImageError, match="JPEG"):
        ilsvrc("train").batch(0, batch=2, size=20, seed=0)
