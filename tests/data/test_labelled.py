"""Batches of labelled pictures: a function of seed and step, with classes that stay with their pixels."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restore_lib import data
from restore_lib.data import labelled, scenes
from restore_lib.data.labelled import IGNORED, Labelled


@pytest.fixture
def made(rng) -> Labelled:
    """Six pictures of 20 x 30 whose mask can be read off each pixel: the red level modulo 7; every label once."""
    pictures = torch.randint(256, (6, 3, 20, 30), generator=rng, dtype=torch.uint8)
    masks = pictures[:, 0] % 7
    return Labelled("made", "train", [f"p{n}" for n in range(6)], pictures, masks, [*"abcdefg"], "0" * 64)


def with_labels(found: Labelled) -> Labelled:
    """The same pictures with a class each: their number, which is written into their blue level, too."""
    pictures = found.pictures.clone()
    pictures[:, 2] = torch.arange(6, dtype=torch.uint8).view(-1, 1, 1)
    return Labelled("made", "train", found.names, pictures, torch.arange(6), [*"abcdef"], found.digest)


def test_a_batch_depends_on_seed_and_step_alone(made):
    ask = {"batch": 8, "size": 12}
    first = made.batch(3, seed=5, **ask)
    made.batch(4, seed=5, **ask)
    torch.rand(10)
    np.random.default_rng().random(3)
    again = made.batch(3, seed=5, **ask)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (made.batch(4, seed=5, **ask), made.batch(3, seed=6, **ask)):
        assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_shares_of_processes_make_the_whole(made, world):
    ask = {"batch": 8, "size": 9, "seed": 1}
    whole = made.batch(2, **ask)
    shares = [made.batch(2, **ask, rank=rank, world=world) for rank in range(world)]
    assert all(len(share[0]) == 8 // world for share in shares)
    for place in (0, 1):
        assert torch.equal(torch.cat([share[place] for share in shares]), whole[place])


def test_classes_of_pixels_stay_with_them(made):
    for step in range(5):
        crops, masks = made.batch(step, batch=16, size=11, seed=0)
        assert crops.shape == (16, 3, 11, 11) and masks.dtype == torch.int64
        assert torch.equal(masks, crops[:, 0].long() % 7)


def test_classes_of_pictures_stay_with_them(made):
    crops, labels = with_labels(made).batch(0, batch=32, size=11, seed=0)
    assert labels.shape == (32,) and torch.equal(labels, crops[:, 2, 0, 0].long()) and len(labels.unique()) > 3


def test_every_place_and_both_directions_come_up(rng):
    """One picture of 4 x 5 levels that say where they are: 3 x 4 windows of 2 x 2, each as it is and mirrored."""
    where = torch.arange(20, dtype=torch.uint8).view(1, 1, 4, 5).repeat(1, 3, 1, 1)
    found = Labelled("made", "train", ["p"], where, torch.zeros(1, dtype=torch.int64), ["a"], "0")
    crops, _ = found.batch(0, batch=1200, size=2, seed=int(torch.randint(10**6, (1,), generator=rng)))
    counts = {}
    for crop in crops[:, 0].flatten(1).tolist():
        counts[tuple(crop)] = counts.get(tuple(crop), 0) + 1
    expected = {(n, n + 1, n + 5, n + 6) for n in range(15) if n % 5 < 4}
    expected |= {(b, a, d, c) for a, b, c, d in expected}
    assert set(counts) == expected and len(expected) == 24
    assert max(counts.values()) < 50 + 7 * 50**0.5  # 50 each, by seven standard deviations


def test_what_does_not_fit_is_refused(made):
    with pytest.raises(ValueError, match="crops of 21 pixels do not fit into pictures of 20 x 30"):
        made.batch(0, batch=2, size=21, seed=0)
    with pytest.raises(ValueError, match="batch is 5 for 2 processes"):
        made.batch(0, batch=5, size=4, seed=0, world=2)


def test_a_part_keeps_pictures_and_classes_together(made):
    part = with_labels(made).part([4, 1])
    assert part.names == ["p4", "p1"] and part.targets.tolist() == [4, 1] and len(part) == 2
    assert part.pictures[:, 2, 0, 0].tolist() == [4, 1]


def test_tiny_pictures_with_their_classes(photos):
    found = labelled.classified("tiny_imagenet10", "val")
    items = data.open("tiny_imagenet10", "val")
    assert found.pictures.shape == (500, 3, 64, 64) and len(found.classes) == 10 and found.digest == items.digest()
    assert torch.bincount(found.targets).tolist() == [50] * 10
    for number in (0, 123, 499):
        stored = np.array(Image.open(items[number].parts["image"]).convert("RGB"))
        np.testing.assert_array_equal(found.pictures[number].permute(1, 2, 0).numpy(), stored)
        assert found.names[number] == items[number].name and found.targets[number] == items[number].label


def test_street_scenes_with_their_masks(photos):
    found, items = labelled.camvid("test"), data.open("camvid", "test")
    assert found.pictures.shape == (24, 3, 180, 240) and found.targets.shape == (24, 180, 240)
    assert set(found.targets.unique().tolist()) <= {*range(11), IGNORED} and len(found.classes) == 11
    item = items[7]
    stored = np.array(Image.open(item.parts["mask"]))
    expected = np.where(stored < 11, stored, IGNORED)
    np.testing.assert_array_equal(found.targets[7].numpy(), expected[1::2, 1::2])
    small = torch.nn.functional.avg_pool2d(item.image, 2)  # close to what any good filter gives
    assert (found.pictures[7] / 255 - small).abs().mean() < 0.02


def test_scenes_are_those_that_cards_name():
    """The drawing code's bytes are part of the hash of what it draws: a change would make other scenes of old names."""
    card = json.loads(Path(__file__).parents[2].joinpath("checkpoints/classifier-scenes-cpu.json").read_text())
    order = "3600 scenes of 96 x 96, split train, seed 0"
    assert hashlib.sha256(Path(scenes.__file__).read_bytes() + order.encode()).hexdigest() == card["dataset_hash"]
