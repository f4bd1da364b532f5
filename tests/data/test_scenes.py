"""Scenes: exact masks, disjoint sources, balanced labels, colour that tells nothing and texture that tells much."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from restore_lib.data import opening, scenes
from restore_lib.data.scenes import CLASSES, SPLITS, TEXTURES

N = len(CLASSES)


@pytest.fixture(scope="module")
def many():
    """(images, masks, labels) of 432 train scenes and of 240 test scenes."""
    return {"train": scenes.batch(range(36 * N)), "test": scenes.batch(range(20 * N), split="test")}


@pytest.fixture
def fresh_sources():
    """Textures read again in this test, and again after it, since it changes what they are read from."""
    caches = scenes._rectangle, scenes._reduced
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def index(rng) -> int:
    return int(torch.randint(10**9, (), generator=rng))


# What a scene is


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("size", [16, 33, 64])
def test_a_scene_has_the_promised_shapes_types_and_ranges(index, split, size):
    image, mask, label = scenes.scene(index, split=split, size=size)
    assert image.shape == (3, size, size) and image.dtype == torch.float32
    assert 0 <= image.min() < image.max() <= 1
    assert mask.shape == (size, size) and mask.dtype == torch.int64
    assert type(label) is int and label == mask[size // 2, size // 2]
    assert set(mask.unique().tolist()) <= set(range(N))


def test_the_same_arguments_give_the_same_bits_and_any_other_argument_another_scene(index):
    first = scenes.scene(index, split="train", size=32, seed=1)
    np.random.default_rng().random(), torch.rand(1)  # global state plays no part
    again = scenes.scene(index, split="train", size=32, seed=1)
    assert torch.equal(first.image, again.image) and torch.equal(first.mask, again.mask) and first.label == again.label
    for other in (dict(index=index + 1, seed=1), dict(index=index, seed=2), dict(index=index, seed=1, split="test")):
        assert not torch.equal(first.image, scenes.scene(size=32, **other).image)


def test_a_batch_is_its_scenes(index):
    images, masks, labels = scenes.batch([index, 3], split="test", size=24, seed=5)
    assert images.shape == (2, 3, 24, 24) and masks.shape == (2, 24, 24) and labels.dtype == torch.int64
    for k, number in enumerate((index, 3)):
        one = scenes.scene(number, split="test", size=24, seed=5)
        assert torch.equal(images[k], one.image) and torch.equal(masks[k], one.mask) and labels[k] == one.label


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(split="val"), "split must be 'train' or 'test', got 'val'"),
        (dict(size=15), "size must be a whole number of at least 16, got 15"),
        (dict(index=-1), "index must be a whole number of at least 0, got -1"),
        (dict(seed=-2), "seed must be a whole number of at least 0, got -2"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(wrong, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        scenes.scene(**{"index": 0, **wrong})


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="at least one scene"):
        scenes.batch([])


# Labels and masks


@pytest.mark.parametrize("split", SPLITS)
def test_every_stretch_of_as_many_indices_as_classes_has_each_label_once(index, split):
    start = index // N * N
    for seed in (0, 7):
        labels = [scenes.scene(k, split=split, size=16, seed=seed).label for k in range(start, start + N)]
        assert sorted(labels) == list(range(N))


def test_every_class_covers_its_share_of_the_pixels(many):
    for _, masks, _ in many.values():
        share = torch.bincount(masks.flatten(), minlength=N) / masks.numel()
        assert share.min() > 0.5 / N and share.max() < 1.5 / N


def test_the_label_is_the_class_at_the_centre_and_of_most_of_the_middle(many):
    for _, masks, labels in many.values():
        assert torch.equal(masks[:, 32, 32], labels)
        assert ((masks == labels[:, None, None])[:, 16:48, 16:48].float().mean((1, 2)) > 0.5).all()


def test_a_scene_shows_two_to_four_classes(many):
    counts = torch.tensor([len(mask.unique()) for mask in torch.cat([many["train"][1], many["test"][1]])])
    assert set(counts.tolist()) == {2, 3, 4}


def test_the_mask_is_exact_a_larger_drawing_has_the_same_class_at_the_same_points(many):
    # A pixel's centre is also the centre of the middle one of the 3 x 3 pixels that replace it.
    for k in range(N):
        large = scenes.scene(k, size=192)
        assert torch.equal(large.mask[1::3, 1::3], many["train"][1][k])


@pytest.fixture
def flat(monkeypatch):
    """Textures without structure and light without a gradient: a region's colour then says whose pixel it is."""
    monkeypatch.setattr(scenes, "_texture", lambda layer, grid, split, size: torch.zeros(3, size, size))
    monkeypatch.setattr(scenes, "_lighting", lambda rng, size: torch.ones(size, size))


def test_the_image_agrees_with_the_mask(flat):
    """Away from outlines a pixel has its class's colour; between two classes it has mostly the colour of its own."""
    agree, total = 0, 0
    for k in range(4 * N):
        image, mask, _ = scenes.scene(k)
        near = mask.unfold(0, 3, 1).unfold(1, 3, 1).flatten(2)  # (h - 2, w - 2, 9)
        image, mask = image[:, 1:-1, 1:-1], mask[1:-1, 1:-1]
        classes = mask.unique().tolist()
        colours = {c: image[:, mask == c].median(1).values[:, None] for c in classes}
        for own in classes:
            inside = image[:, (near == own).all(-1)]
            agree += ((inside - colours[own]).abs().amax(0) < 1e-6).sum()
            for other in set(classes) - {own}:
                edge = image[:, (mask == own) & ((near == own) | (near == other)).all(-1) & (near == other).any(-1)]
                agree += ((edge - colours[own]).norm(dim=0) <= (edge - colours[other]).norm(dim=0)).sum()
                total += edge.shape[1]
            total += inside.shape[1]
    # What remains are tips and slivers of a third region that hold no pixel's centre.
    assert total > 0.99 * 4 * N * 62**2 and agree > 0.995 * total


def test_edges_are_antialiased(flat):
    """A drawing averages like one nine times as large: pixels on an outline hold both colours in proportion."""
    for k in range(N):
        small, large = scenes.scene(k, size=32).image, scenes.scene(k, size=288).image
        mean = torch.nn.functional.avg_pool2d(large, 9)
        hard = large[:, 4::9, 4::9]  # without antialiasing: the colour at the pixel's centre
        assert (small - mean).abs().max() < 0.1
        assert (small - mean).square().mean() < 0.05 * (hard - mean).square().mean()


# Textures


def test_train_and_test_rectangles_lie_in_the_photograph_with_a_gap_between_them():
    for source in TEXTURES.values():
        height, width = opening.open("embedded", source.group)[source.photo].image.shape[1:]
        for top, left, bottom, right in (source.train, source.test):
            assert 0 <= top < bottom <= height and 0 <= left < right <= width
        low, high = np.maximum(source.train[:2], source.test[:2]), np.minimum(source.train[2:], source.test[2:])
        assert max(low - high) >= 8  # rows or columns that lie between the two


@pytest.mark.parametrize(("changed", "kept"), [SPLITS, SPLITS[::-1]])
def test_pixels_of_one_split_never_reach_a_scene_of_the_other(monkeypatch, fresh_sources, changed, kept):
    before = {split: scenes.batch(range(N), split=split)[0] for split in SPLITS}
    rectangles = {source.photo: getattr(source, changed) for source in TEXTURES.values()}
    read = opening.Item.read

    def spoilt(self, *arguments):
        photo = read(self, *arguments)
        top, left, bottom, right = rectangles[self.name]
        photo[:, top:bottom, left:right] = photo[:, top:bottom, left:right].flip(1) * 0.5
        return photo

    monkeypatch.setattr(opening.Item, "read", spoilt)
    scenes._rectangle.cache_clear(), scenes._reduced.cache_clear()
    after = {split: scenes.batch(range(N), split=split)[0] for split in SPLITS}
    assert torch.equal(after[kept], before[kept])
    assert not any(map(torch.equal, after[changed], before[changed]))


@pytest.mark.parametrize("zoom", [2.0, 3.3, 5.0])
def test_detail_finer_than_the_scene_s_pixels_does_not_alias(monkeypatch, fresh_sources, zoom):
    """Stripes too fine to draw turn to grey; stripes that can be drawn stay, and at their own frequency."""
    layer = scenes._Layer(np.random.default_rng(0), CLASSES.index("galaxies"), True, False)
    layer.angle, layer.mirror, layer.zoom = 0.0, 1, zoom / TEXTURES["galaxies"].step

    def drawn(frequency):
        """A row of a scene that shows stripes of so many cycles per pixel of the scene."""
        stripes = math.sqrt(2) * torch.sin(2 * math.pi * frequency / zoom * torch.arange(480))
        monkeypatch.setattr(scenes, "_rectangle", lambda name, split: stripes.expand(3, 872, 480).clone())
        scenes._reduced.cache_clear()
        return scenes._texture(layer, scenes._grids([layer], "train", 64)[0], "train", 64)[0, 32]

    coarse = drawn(1 / 8)
    assert coarse.std() > 0.5
    assert torch.fft.rfft(coarse).abs().argmax() == 8  # cycles across 64 pixels
    for frequency in np.linspace(0.8, 0.95 * zoom / 2, 8):
        assert drawn(frequency).std() < 0.25 * coarse.std()


def test_colour_does_not_give_the_class_away_but_texture_does(many):
    crops = {split: images[:, :, 20:44, 20:44] for split, (images, _, _) in many.items()}
    labels = {split: found[2].numpy() for split, found in many.items()}

    mean = {split: crop.mean((2, 3)).numpy() for split, crop in crops.items()}
    centroids = np.stack([mean["train"][labels["train"] == k].mean(0) for k in range(N)])  # (N, 3)
    nearest = np.square(mean["test"][:, None] - centroids).sum(-1).argmin(1)
    by_colour = (nearest == labels["test"]).mean()

    texture = {split: patterns(images) for split, (images, _, _) in many.items()}
    model = LogisticRegression(C=30, max_iter=2000).fit(texture["train"], labels["train"])
    by_texture = model.score(texture["test"], labels["test"])

    print(f"accuracy on test scenes: mean colour {by_colour:.2f}, local binary patterns {by_texture:.2f}")
    assert by_colour < 0.2
    assert by_texture > 0.55


def patterns(images) -> np.ndarray:
    """Histograms of local binary patterns around the centre, at three radii: blind to colour and to contrast."""
    from skimage.feature import local_binary_pattern

    found = []
    for grey in (images.mean(1)[:, 12:52, 12:52] * 255).byte().numpy():
        codes = [(points, local_binary_pattern(grey, points, r, "uniform")) for points, r in ((8, 1), (8, 2), (16, 3))]
        counts = [np.bincount(code[8:-8, 8:-8].astype(int).ravel(), minlength=p + 2) for p, code in codes]
        found.append(np.sqrt(np.concatenate(counts) / 24**2))
    return np.stack(found)
