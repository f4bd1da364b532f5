"""The joint loss, the frozen network that must not move, and the recipes built on them."""

import copy
import math

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from restore_lib import images
from restore_lib.data import labelled
from restore_lib.data.labelled import IGNORED
from restore_lib.denoising import (
    Cascade,
    Denoiser,
    freeze,
    joint_step,
    same_size,
    segmentation_loss,
    task_gradient,
    vision_recipes,
)
from restore_lib.denoising.recipes import HALVES
from restore_lib.nets.largefov import DeepLabLargeFOV
from restore_lib.nets.vgg import SmallVGG
from restore_lib.training import at_tier, fit
from restore_lib.training.task import Run, mix


def small(task: str = "classify") -> nn.Module:
    """A network with batch norm and dropout, which both betray whoever forgets to freeze them."""
    torch.manual_seed(0)
    return SmallVGG(12, 4) if task == "classify" else DeepLabLargeFOV(12, 8, 16, 2, norm=True)


def bits(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_a_cascade_in_training_leaves_its_second_half_alone(rng):
    denoiser, vision = Denoiser(variant="released", width=8), small()
    before = bits(vision)
    both = Cascade(denoiser, vision).train()
    assert denoiser.training and not any(part.training for part in vision.modules())
    x = torch.rand(2, 3, 32, 32, generator=rng)
    denoised, scores = both(x)
    assert denoised.shape == x.shape and scores.shape == (2, 12)
    functional.cross_entropy(scores, torch.tensor([1, 2])).backward()
    assert all(p.grad is None for p in vision.parameters())
    assert all(p.grad is not None for p in denoiser.parameters())
    assert all(torch.equal(value, before[name]) for name, value in vision.state_dict().items())


def test_without_freezing_batch_norm_moves(rng):
    vision = small().train()
    before = bits(vision)
    vision(torch.rand(4, 3, 32, 32, generator=rng))
    assert not all(torch.equal(value, before[name]) for name, value in vision.state_dict().items())


@pytest.mark.parametrize("goal", ["classify", "segment"])
@pytest.mark.parametrize("seed", [0, 1])
def test_not_one_bit_of_the_frozen_network_moves_in_training(goal, seed, tmp_path):
    recipe = at_tier(vision_recipes.RECIPES[f"scenes-{goal}-30"], "smoke")
    torch.manual_seed(mix(seed, 0))  # as the loop does before it builds the task
    task = recipe.task(seed)
    before = bits(task.frozen["vision"])
    run = fit(recipe, tmp_path / "run", seed=seed, quiet=True)
    after = run.frozen["vision"].state_dict()
    assert before.keys() == after.keys() and all(torch.equal(value, before[name]) for name, value in after.items())
    start = bits(task.networks["denoiser"])
    assert not torch.equal(run.networks["denoiser"].state_dict()["first.weight"], start["first.weight"])


class Recorder(Run):
    """What a step asks of a run, kept to be looked at."""

    def __init__(self, denoiser: nn.Module, vision: nn.Module | None):
        self.task = self
        self.networks, self.frozen, self.fabric, self.speed = {"denoiser": denoiser}, {"vision": vision}, self, self
        self.loss = None

    def autocast(self):
        return torch.autocast("cpu", enabled=False)

    def layout(self, x):
        return x

    def randn(self, like):
        return torch.randn(like.shape, generator=torch.Generator().manual_seed(5))

    def update(self, name, loss):
        assert name == "denoiser"
        self.loss = float(loss.detach())


@pytest.mark.parametrize(("mse", "task"), [(1.0, 0.25), (50.6, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_the_loss_is_the_papers(mse, task, rng):
    denoiser, vision = Denoiser(variant="released", width=8).eval(), freeze(small())
    levels = torch.randint(256, (3, 3, 32, 32), generator=rng).to(torch.uint8)
    labels = torch.randint(12, (3,), generator=rng)
    run = Recorder(denoiser, vision if task else None)  # with a weight of 0 nobody asks the network
    numbers = joint_step(30, "classify", mse, task)(run, (levels, labels))
    clean = levels / 255
    noisy = clean + 30 / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        denoised = same_size(denoiser, noisy)
        log_probabilities = vision(denoised).double().log_softmax(1)
    expected = mse * float((denoised - clean).double().square().mean())
    expected -= task * sum(float(row[label]) for row, label in zip(log_probabilities, labels, strict=True)) / 3
    assert float(numbers["loss"]) == pytest.approx(expected, rel=1e-4)
    assert run.loss == pytest.approx(expected, rel=1e-4)


def test_a_crop_keeps_its_size_through_the_network_that_cuts_a_border(rng):
    x = torch.rand(1, 3, 24, 36, generator=rng)
    denoiser = Denoiser(variant="released", width=8).eval()
    with torch.no_grad():
        assert same_size(denoiser, x).shape == x.shape and denoiser(x).shape == (1, 3, 18, 30)


def test_segmentation_counts_every_eighth_pixel_that_has_a_class(rng):
    vision = small("segment").eval()
    x = torch.rand(2, 3, 40, 32, generator=rng)
    mask = torch.randint(12, (2, 40, 32), generator=rng)
    mask[:, :9] = IGNORED
    with torch.no_grad():
        loss = float(segmentation_loss(vision(x), mask))
        scores = vision.scores(x).double().log_softmax(1)
        assert float(segmentation_loss(vision(x), torch.full_like(mask, IGNORED))) == 0
    terms = [
        -float(scores[b, mask[b, 8 * i, 8 * j], i, j])
        for b in range(2)
        for i in range(5)
        for j in range(4)
        if mask[b, 8 * i, 8 * j] != IGNORED
    ]
    assert len(terms) == 24 and loss == pytest.approx(math.fsum(terms) / 24, rel=1e-4)


def test_the_task_gradient_is_that_of_finite_differences(rng):
    vision = freeze(small().double())
    x, label = torch.rand(1, 3, 16, 16, generator=rng).double(), torch.tensor([3])
    wanted = task_gradient(vision.float(), x.float(), label, "classify")
    vision = vision.double()
    for place in ((0, 0, 3, 4), (0, 2, 9, 15), (0, 1, 8, 8)):
        step = torch.zeros_like(x)
        step[place] = 1e-4
        slope = (
            functional.cross_entropy(vision(x + step), label) - functional.cross_entropy(vision(x - step), label)
        ) / 2e-4
        assert float(wanted[place]) == pytest.approx(-float(slope), rel=2e-2, abs=1e-5)


def test_the_official_weight_in_these_units():
    # Caffe: 5e-9 times half the sum of squares on the scale 0 to 255, over 3 channels of 322 x 322 pixels
    assert pytest.approx(50.6, abs=0.05) == 5e-9 / 2 * 255**2 * 3 * 322**2
    official = at_tier(vision_recipes.RECIPES["scenes-segment-30-official"], "cpu")
    assert (official.mse_weight, official.task_weight) == (50.6, 1.0)


def test_recipes_name_networks_that_other_recipes_train():
    trained = {f"{recipe.name}-cpu" for recipe in (*vision_recipes.VISION, *HALVES)}
    for recipe in (*vision_recipes.CASCADES, *vision_recipes.OFFICIAL, *vision_recipes.SWEEP):
        chosen = at_tier(recipe, "cpu")
        assert {chosen.start, chosen.vision} <= trained and chosen.name.startswith(chosen.source)
        assert f"-{chosen.sigma:.0f}" in chosen.name and chosen.start.endswith(f"-{chosen.sigma:.0f}-cpu")
        assert ("separate" in chosen.name) == (chosen.task_weight == 0)
    assert len({recipe.name for recipe in vision_recipes.CASCADES}) == 28


def test_pictures_for_validation_and_test_are_others(photos):
    for source, goals in vision_recipes.GOALS.items():
        parts = [vision_recipes.pictures(source, goals[0], part, 24) for part in ("train", "held", "test")]
        hashes = [{bytes(picture.contiguous().numpy()) for picture in part.pictures} for part in parts]
        assert not (hashes[0] & hashes[1] or hashes[0] & hashes[2] or hashes[1] & hashes[2])


def test_scenes_are_kept_and_drawn_again_when_the_copy_is_damaged(monkeypatch, tmp_path):
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path))
    first = labelled.drawn("train", 12, 32, of="mask", seed=4)
    (kept,) = (tmp_path / "scenes").iterdir()
    monkeypatch.setattr(labelled.scenes, "batch", lambda *a, **k: pytest.fail("drawn twice"))
    assert torch.equal(labelled.drawn("train", 12, 32, of="mask", seed=4).targets, first.targets)
    monkeypatch.undo()
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path))
    kept.write_bytes(kept.read_bytes()[:100])
    again = labelled.drawn("train", 12, 32, of="mask", seed=4)
    assert torch.equal(again.pictures, first.pictures) and torch.equal(again.targets, first.targets)


def test_a_network_that_sees_learns_and_is_kept_in_half_precision(tmp_path):
    recipe = at_tier(vision_recipes.VISION[0], "smoke", steps=2)
    assert recipe.stored == "float16" and recipe.training_data()[0] == "scenes train"
    run = fit(recipe, tmp_path / "run", quiet=True)
    assert run.step == 2
    assert copy.deepcopy(run.task.networks["vision"]).classifier.out_features == 12


@pytest.fixture
def official_folders(tmp_path, monkeypatch, rng):
    """A few made pictures in the folders of VOC 2012 and ILSVRC2012."""
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    voc = tmp_path / "voc2012/VOCdevkit/VOC2012"
    for number, part in enumerate(("train", "train", "val")):
        name = f"2007_{number:06}"
        images.write(voc / f"JPEGImages/{name}.jpg", torch.rand(3, 70, 90, generator=rng))
        mask = torch.randint(21, (70, 90), generator=rng).to(torch.uint8)
        mask[:5] = 255
        for folder in ("SegmentationClass", "SegmentationClassAug"):
            (voc / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask.numpy()).save(voc / folder / f"{name}.png")
        (voc / "ImageSets/Segmentation").mkdir(parents=True, exist_ok=True)
        with open(voc / f"ImageSets/Segmentation/{part}.txt", "a") as stream:
            stream.write(name + "\n")
    for part in ("train", "val"):
        for wnid in ("n01440764", "n01443537"):
            path = tmp_path / f"ilsvrc2012/{part}/{wnid}/{wnid}_1.JPEG"
            images.write(path.with_suffix(".jpg"), torch.rand(3, 60, 80, generator=rng))
            path.with_suffix(".jpg").rename(path)
    vision_recipes.pictures.cache_clear()
    yield
    vision_recipes.pictures.cache_clear()


@pytest.mark.parametrize("goal", ["classify", "segment"])
def test_the_papers_own_pictures_train_a_denoiser(goal, official_folders, tmp_path):
    recipe = vision_recipes.RECIPES[{"classify": "ilsvrc-classify-30", "segment": "voc-segment-30"}[goal]]
    whole = at_tier(recipe, "cpu")
    assert (whole.width, whole.vision) == (128, {"classify": "vgg16", "segment": "segmenter-voc-gpu"}[goal])
    small_one = {"steps": 2, "width": 8, "start": "", "vision": "", "crop": 32, "batch_size": 2, "validate_every": 2}
    run = fit(at_tier(recipe, "cpu", **small_one), tmp_path / "run", quiet=True)
    assert run.step == 2 and "psnr" in (tmp_path / "run/metrics.jsonl").read_text()
