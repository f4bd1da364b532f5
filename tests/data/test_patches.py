"""Crops are the pictures' own pixels, equally likely everywhere, and depend on seed and step alone."""

import hashlib
import pickle
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from restore_lib import data, files, images
from restore_lib.data.opening import Item
from restore_lib.data.patches import PatchStore, augment, to_float
from restore_lib.errors import DataError


def numbered(folder, sizes) -> list[Item]:
    """Pictures whose every pixel tells its picture (red), row (green) and column (blue)."""
    folder.mkdir(exist_ok=True)
    items = []
    for number, (height, width) in enumerate(sizes):
        rows, columns = np.mgrid[:height, :width]
        Image.fromarray(np.stack([np.full_like(rows, number), rows, columns], -1).astype(np.uint8)).save(
            folder / f"{number}.png"
        )
        items.append(Item(str(number), {"image": folder / f"{number}.png"}))
    return items


def places(crops) -> torch.Tensor:
    """Picture, row and column of the first pixel of crops of ``numbered`` pictures, (b, 3)."""
    return crops[:, :, 0, 0].long()


def fresh(rng) -> int:
    return int(torch.randint(2**31, (), generator=rng))


# --- what a crop holds


def test_crops_are_slices_of_the_decoded_pictures(tmp_path, draw, rng):
    sizes = [(20, 31), (17, 17), (40, 18)]
    items = draw(sizes)
    store = PatchStore.build(items, tmp_path / "store")
    whole = [torch.from_numpy(np.array(Image.open(item.parts["image"]))).permute(2, 0, 1) for item in items]
    assert (store.names, store.sizes, len(store)) == (["a0", "a1", "a2"], sizes, 3)
    for picture, index in zip(whole, range(3), strict=True):
        assert torch.equal(store.picture(index), picture)
    for size in (1, 5, 17):
        windows = [p.unfold(1, size, 1).unfold(2, size, 1).permute(1, 2, 0, 3, 4).flatten(0, 1) for p in whole]
        known = {window.numpy().tobytes() for window in torch.cat(windows)}
        crops, codes = store.crops(3, batch=40, size=size, seed=fresh(rng))
        assert crops.shape == (40, 3, size, size) and crops.dtype == torch.uint8
        assert crops.is_contiguous(memory_format=torch.channels_last)
        assert codes.shape == (40,) and codes.dtype == torch.int64
        assert all(crop.contiguous().numpy().tobytes() in known for crop in crops)


def test_a_crop_lies_where_its_first_pixel_says(tmp_path, rng):
    store = PatchStore.build(numbered(tmp_path, [(30, 9), (9, 50), (25, 25)]), tmp_path / "store")
    crops, _ = store.crops(0, batch=200, size=7, seed=fresh(rng))
    ramp = torch.arange(7)
    for crop, (number, row, column) in zip(crops.long(), places(crops).tolist(), strict=True):
        assert (crop[0] == number).all()
        assert torch.equal(crop[1], (row + ramp)[:, None].expand(7, 7))
        assert torch.equal(crop[2], (column + ramp).expand(7, 7))


def test_embedded_photographs_survive_to_the_last_bit(tmp_path, rng):
    pictures = data.open("embedded")[:4]
    store = PatchStore.build(pictures)
    assert store.folder.parent == files.cache_folder() / "patches"
    for item, index in zip(pictures, range(4), strict=True):
        assert torch.equal(to_float(store.picture(index)), item.image)


def test_grey_deep_and_transparent_files_are_levels_of_their_pictures(tmp_path, rng):
    grey = torch.rand(1, 12, 13, generator=rng)
    images.write(tmp_path / "deep.png", grey, bits=16)
    Image.fromarray(np.full((12, 12, 4), (10, 20, 30, 0), np.uint8)).save(tmp_path / "clear.png")
    items = [Item(name, {"image": tmp_path / f"{name}.png"}) for name in ("deep", "clear")]
    store = PatchStore.build(items, tmp_path / "store")
    deep, clear = store.picture(0), store.picture(1)
    assert torch.equal(deep[0], deep[1]) and torch.equal(deep[0], deep[2])
    assert (deep[0].float() / 255 - grey[0]).abs().max() <= 0.5 / 255 + 1 / 65535
    assert (clear == 255).all()  # transparent pixels show the white that images.read puts behind them


# --- chances


@pytest.mark.parametrize("size", [3, 8])
def test_every_place_of_every_picture_is_equally_likely(tmp_path, rng, size):
    sizes = [(8, 8), (11, 14), (30, 9)]  # with crops of 8: 1, 28 and 46 places
    store = PatchStore.build(numbered(tmp_path, sizes), tmp_path / "store")
    seed = fresh(rng)
    found = torch.cat([places(store.crops(step, batch=500, size=size, seed=seed)[0]) for step in range(80)])
    counts = [np.zeros((height - size + 1, width - size + 1)) for height, width in sizes]
    for number, row, column in found.tolist():
        counts[number][row, column] += 1
    assert stats.chisquare(np.concatenate([c.ravel() for c in counts])).pvalue > 1e-5
    assert (
        stats.chisquare([c.sum() for c in counts], [40000 * c.size / sum(k.size for k in counts) for c in counts])[1]
        > 1e-5
    )


def test_transforms_are_equally_likely_and_know_nothing_of_the_place(tmp_path, rng):
    store = PatchStore.build(numbered(tmp_path, [(4, 4), (5, 3)]), tmp_path / "store")  # crops of 3: 4 and 3 places
    seed = fresh(rng)
    table = np.zeros((7, 8))
    for step in range(40):
        crops, codes = store.crops(step, batch=500, size=3, seed=seed)
        for (number, row, column), code in zip(places(crops).tolist(), codes.tolist(), strict=True):
            table[4 + row if number else 2 * row + column, code] += 1
    assert stats.chisquare(table.ravel()).pvalue > 1e-5
    assert stats.chi2_contingency(table).pvalue > 1e-5


def test_neighbouring_steps_and_seeds_share_nothing(tmp_path, rng):
    store = PatchStore.build(numbered(tmp_path, [(250, 250)]), tmp_path / "store")
    seed = fresh(rng)
    pairs = [(seed, 0), (seed, 1), (seed + 1, 0), (seed + 1, 1), (0, seed), (1, seed)]
    drawn = [{tuple(p) for p in places(store.crops(step, batch=40, size=2, seed=s)[0]).tolist()} for s, step in pairs]
    for number, one in enumerate(drawn):
        for other in drawn[:number]:
            assert len(one & other) < 6  # 40 * 40 / 62001 are expected: 6 or more once in 10**11


# --- the same batch, whoever asks and whenever


def test_processes_together_see_the_batch_of_one(tmp_path, draw, rng):
    store = PatchStore.build(draw([(30, 40), (25, 60)]), tmp_path / "store")
    for step in (0, 7, 123456789):
        seed = fresh(rng)
        crops, codes = store.crops(step, batch=12, size=9, seed=seed)
        for world in (1, 2, 3, 4, 12):
            parts = [store.crops(step, batch=12, size=9, seed=seed, rank=r, world=world) for r in range(world)]
            assert torch.equal(torch.cat([part for part, _ in parts]), crops)
            assert torch.equal(torch.cat([part for _, part in parts]), codes)


def test_going_on_at_any_step_gives_what_an_unbroken_run_had(tmp_path, draw, rng):
    items = draw([(30, 40), (25, 60), (9, 9)])
    store, seed = PatchStore.build(items, tmp_path / "store"), fresh(rng)
    unbroken = [store.crops(step, batch=6, size=8, seed=seed) for step in range(30)]
    store.crops(3, batch=2, size=5, seed=1)  # what else was asked in between leaves no trace
    for start in (0, 1, 17, 29):
        again = PatchStore(store.folder)
        for step in range(start, 30):
            crops, codes = again.crops(step, batch=6, size=8, seed=seed)
            assert torch.equal(crops, unbroken[step][0]) and torch.equal(codes, unbroken[step][1])


def test_another_process_draws_the_same(tmp_path, draw):
    store = PatchStore.build(draw([(30, 40), (25, 60)]), tmp_path / "store")
    code = (
        "import sys, hashlib; from restore_lib.data.patches import PatchStore\n"
        "crops, codes = PatchStore(sys.argv[1]).crops(41, batch=8, size=10, seed=5)\n"
        "print(hashlib.sha256(crops.numpy().tobytes() + codes.numpy().tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store.folder)], capture_output=True, text=True, check=True)
    crops, codes = store.crops(41, batch=8, size=10, seed=5)
    assert done.stdout.strip() == hashlib.sha256(crops.numpy().tobytes() + codes.numpy().tobytes()).hexdigest()


def test_a_pickled_store_maps_the_same_file(tmp_path, draw):
    store = PatchStore.build(draw([(80, 90), (8, 90)]), tmp_path / "store", min_size=20)
    sent = pickle.dumps(store)
    assert len(sent) < 1000  # not the 21,600 bytes of levels
    other = pickle.loads(sent)
    assert other.names == ["a0"]
    assert torch.equal(other.crops(1, batch=4, size=20, seed=2)[0], store.crops(1, batch=4, size=20, seed=2)[0])


# --- turning


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3])
def test_augment_is_rot90_then_flip_one_by_one(rng, layout, dtype, channels):
    x = torch.randint(256, (16, channels, 7, 7), generator=rng).to(dtype).contiguous(memory_format=layout)
    codes = torch.randperm(16, generator=rng) % 8
    before = x.clone()
    y = augment(x, codes)
    for one, code, got in zip(x, codes.tolist(), y, strict=True):
        turned = torch.rot90(one, code % 4, (-2, -1))
        assert torch.equal(got, turned.flip(-1) if code >= 4 else turned)
    assert y.dtype == dtype and y.is_contiguous(memory_format=layout)
    assert torch.equal(x, before)


def test_the_eight_transforms_are_a_group(rng):
    x = torch.rand(1, 1, 5, 5, generator=rng).expand(8, 1, 5, 5)
    every = torch.arange(8)
    once = augment(x, every)
    known = {picture.numpy().tobytes() for picture in once}
    assert len(known) == 8
    for code in range(8):
        twice = augment(once, every.new_full((8,), code))
        assert {picture.numpy().tobytes() for picture in twice} == known
    assert torch.equal(once[0], x[0])


def test_augment_takes_any_strides_and_an_empty_batch_but_no_oblong(rng):
    x = torch.rand(4, 3, 6, 6, generator=rng)
    codes = torch.tensor([1, 3, 6, 7])
    assert torch.equal(augment(x.transpose(2, 3), codes), augment(x.transpose(2, 3).contiguous(), codes))
    assert torch.equal(augment(x[:, ::2], codes), augment(x, codes)[:, ::2])
    assert augment(x[:0], codes[:0]).shape == (0, 3, 6, 6)
    with pytest.raises(ValueError, match="only square"):
        augment(x[..., :5], codes)


def test_levels_become_the_floats_that_images_reads():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_float(levels)[0], images.from_uint8(levels[0, 0].numpy()))
    assert [float(Fraction(k, 255)) for k in (0, 51, 255)] == pytest.approx(to_float(levels).flatten()[[0, 51, 255]])
    crops = levels.expand(2, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    assert to_float(crops).is_contiguous(memory_format=torch.channels_last)


# --- wrong arguments


def test_small_pictures_are_left_out_when_asked_and_refused_when_not(tmp_path, draw):
    items = draw([(30, 40), (25, 12), (11, 60), (24, 24)])
    store = PatchStore.build(items, tmp_path / "store")
    with pytest.raises(ValueError, match=r"do not fit into 2 of 4 pictures, such as a1 \(25 x 12\).*min_size=24"):
        store.crops(0, batch=1, size=24, seed=0)
    fitting = PatchStore.build(items, tmp_path / "store", min_size=24)
    assert fitting.folder == store.folder  # nothing was decoded again
    assert fitting.names == ["a0", "a3"]
    assert torch.equal(fitting.picture(1), store.picture(3))
    crops, _ = fitting.crops(0, batch=2000, size=24, seed=0)  # of 7 * 17 + 1 places, one is the whole of a3
    assert any(torch.equal(crop, store.picture(3)) for crop in crops)
    with pytest.raises(DataError, match="None of the 4 pictures is 31 pixels"):
        PatchStore.build(items, tmp_path / "store", min_size=31)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch": 5, "world": 2}, "give a multiple"),
        ({"batch": 0}, "give a multiple"),
        ({"world": 0}, "give a multiple"),
        ({"rank": 2, "world": 2}, "numbered from 0"),
        ({"rank": -1}, "numbered from 0"),
        ({"size": 0}, "at least 1 pixel"),
        ({"seed": -1}, "non-negative"),
        ({"step": -1}, "non-negative"),
    ],
)
def test_arguments_without_a_meaning_are_refused(tmp_path, draw, wrong, message):
    store = PatchStore.build(draw([(9, 9)]), tmp_path / "store")
    with pytest.raises(ValueError, match=message):
        store.crops(**{"step": 0, "batch": 4, "size": 3, "seed": 0} | wrong)


# --- real photographs


def test_bsds500_is_cropped_as_it_is_read(photos, rng):
    pictures = data.open("bsds500", "train400")[:12]
    store = PatchStore.build(pictures, min_size=48)
    assert len(store) == 12
    wholes = [images.to_uint8(item.image) for item in pictures]
    crops, _ = store.crops(9, batch=64, size=48, seed=fresh(rng))
    for crop in crops.permute(0, 2, 3, 1).numpy():
        assert any(lies_in(crop, whole) for whole in wholes)


def lies_in(crop: np.ndarray, whole: np.ndarray) -> bool:
    content, row, size = whole.tobytes(), crop[0].tobytes(), len(crop)
    at = content.find(row)
    while at >= 0:
        y, x = divmod(at // 3, whole.shape[1])
        if np.array_equal(whole[y : y + size, x : x + size], crop):
            return True
        at = content.find(row, at + 1)
    return False
