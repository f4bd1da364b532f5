"""The cases before networks that see: who gets which pictures, and what is written down."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from restore_lib import data, metrics, noise
from restore_lib.data import labelled
from restore_lib.data.patches import to_float
from restore_lib.denoising import baselines
from restore_lib.denoising.denoiser import Denoiser, denoise
from restore_lib.denoising.recipes import HALVES
from restore_lib.denoising.vision_recipes import CASCADES, NOISY, OFFICIAL, OTHERS, SWEEP, VISION
from restore_lib.errors import DataError
from restore_lib.experiments import load_all, paper_a, records, run
from restore_lib.experiments import paper_a_vision as vision
from restore_lib.nets.largefov import DeepLabLargeFOV
from restore_lib.nets.vgg import SmallVGG


@pytest.fixture
def little(monkeypatch, rng):
    """Few small scenes, and networks with random weights under the names of real ones."""
    monkeypatch.setattr(vision, "test_pictures", scenes)
    monkeypatch.setattr(vision, "network", untrained)
    monkeypatch.setattr(vision, "CBM3D_PICTURES", {"scenes": 3})
    vision.restored.cache_clear()
    vision.quality.cache_clear()
    monkeypatch.setattr(vision, "card", lambda name: type("Card", (), {"sha256": "0" * 64}))
    monkeypatch.setattr(metrics, "lpips", lambda a, b, net: torch.zeros(len(a)))  # its weights are not here


def scenes(source: str, goal: str) -> labelled.Labelled:
    return labelled.drawn("test", 12, 32, of={"classify": "label", "segment": "mask"}[goal])


def untrained(name: str) -> torch.nn.Module:
    torch.manual_seed(sum(map(ord, name)))
    if "classifier" in name:
        return SmallVGG(12, 4).eval()
    if "segmenter" in name:
        return DeepLabLargeFOV(12, 8, 16, 2, norm=True).eval()
    return Denoiser(variant="released", width=8).eval()


def test_every_case_names_a_recipe():
    trained = {f"{r.name}-cpu" for r in (*HALVES, *VISION, *NOISY, *OTHERS, *CASCADES, *OFFICIAL, *SWEEP)}
    pairs = [(task, case) for task in vision.VISION_TASKS for case in task.cases]
    for task, case in pairs:
        assert task.network in trained | {"efficientnet-lite0"}
        for sigma in task.levels(case):
            name = vision.denoiser_of(case, task.source, task.goal, sigma)
            assert (name is None) == (case in ("clean", "noisy", "cbm3d")) and name in trained | {None}
            if case == "cross":
                assert task.goal not in name
            if case == "joint" or case in vision.WEIGHTED:
                assert task.goal in name


@pytest.mark.parametrize("goal", ["classify", "segment"])
def test_cross_task_is_the_other_tasks_joint_denoiser(goal):
    for sigma in vision.SIGMAS:
        other = {"classify": "segment", "segment": "classify"}[goal]
        assert vision.denoiser_of("cross", "scenes", goal, sigma) == vision.denoiser_of("joint", "scenes", other, sigma)


def test_all_cases_see_the_same_noise_and_denoisers_are_as_for_single_photos(little, monkeypatch):
    monkeypatch.setattr(vision, "has_bfloat16", lambda device: False)
    labelled = scenes("scenes", "classify")
    x = vision.restored("noisy", "scenes", "classify", 30, 1)
    added = (x - to_float(labelled.pictures)) * 255
    assert 28 < float(added.std()) < 32 and (x < 0).any()
    assert torch.equal(x, vision.restored("noisy", "scenes", "segment", 30, 1))
    assert not torch.equal(x, vision.restored("noisy", "scenes", "classify", 30, 2))
    result = vision.restored("scenes-classify-30-cpu", "scenes", "classify", 30, 1)
    network = untrained("scenes-classify-30-cpu")
    for picture, seen in zip(x, result, strict=True):
        torch.testing.assert_close(denoise(network, picture), seen, rtol=0, atol=1e-4)


def test_noise_does_not_depend_on_which_pictures_are_asked():
    labelled = scenes("scenes", "classify")
    some = labelled.part([3, 7])
    assert torch.equal(vision.noisy(labelled, 45, 0)[[3, 7]], vision.noisy(some, 45, 0))


def test_accuracies_are_scikit_learns_and_lie_in_their_intervals(rng):
    scores, labels = torch.rand(60, 8, generator=rng), torch.randint(8, (60,), generator=rng)
    actual = {m.metric: m for m in vision.accuracies(scores, labels, "classify", 8, "sigma 30")}
    for k in (1, 5):
        expected = 100 * reference.top_k_accuracy_score(labels, scores, k=k, labels=range(8))
        assert actual[f"top{k}"].value == pytest.approx(expected, abs=1e-4)
    assert actual["top1_low"].value <= actual["top1"].value <= actual["top1_high"].value
    assert len(actual["top1_each"].per_image) == 60 and actual["top1"].per_image == ()

    masks, truth = torch.randint(4, (9, 8, 8), generator=rng), torch.randint(4, (9, 8, 8), generator=rng)
    actual = {m.metric: m for m in vision.accuracies(masks, truth.to(torch.uint8), "segment", 4, "sigma 30")}
    expected = 100 * reference.jaccard_score(truth.flatten(), masks.flatten(), average="macro")
    assert actual["miou"].value == pytest.approx(expected, abs=1e-4)
    assert actual["miou_low"].value <= actual["miou"].value <= actual["miou_high"].value
    assert np.mean(actual["pixel_accuracy_each"].per_image) == pytest.approx(actual["pixel_accuracy"].value, abs=1e-4)


def test_a_whole_source_becomes_records(little, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(paper_a, "find_spec", lambda name: True)
    monkeypatch.setattr(baselines, "cbm3d", lambda x, sigma: calls.append(sigma) or x)
    tasks = [task for task in vision.VISION_TASKS if "noisy" not in task.network and task.sigmas == vision.SIGMAS]
    monkeypatch.setattr(vision, "VISION_TASKS", tuple(replace(task, sigmas=(30, 60)) for task in tasks))
    seen = []
    paths = run(
        vision.VISION_TABLE, tmp_path, sets=["scenes"], tier="cpu", progress=lambda image, total: seen.append(total)
    )
    assert len(set(seen)) == 1 and len(seen) == seen[0] and sorted(calls) == [30] * 9 + [60] * 9  # three draws
    by_file = {path.name: records.load(path) for path in paths}
    joint = by_file["joint+classifier-scenes__scenes__liu2018-vision__seed2.json"]
    assert len(joint.images) == 12 and joint.find("sigma 60", "top1") and not joint.find("sigma 60", "psnr")
    first = by_file["joint+classifier-scenes__scenes__liu2018-vision__seed0.json"]
    x, clean = (
        vision.restored("scenes-classify-60-cpu", "scenes", "classify", 60, 0),
        to_float(scenes("", "classify").pictures),
    )
    x = (x.clamp(0, 1) * 255).round() / 255
    psnr = [-10 * math.log10(float((a - b).double().square().mean())) for a, b in zip(x, clean, strict=True)]
    assert first.find("sigma 60", "psnr").value == pytest.approx(math.fsum(psnr) / 12, abs=1e-3)
    cbm3d = by_file["cbm3d+segmenter-scenes__scenes__liu2018-vision__seed0.json"]
    assert list(cbm3d.images) == ["scene-0", "scene-4", "scene-8"] and cbm3d.find("sigma 30", "miou")
    clean = by_file["clean+classifier-scenes__scenes__liu2018-vision.json"]
    assert clean.seed is None and clean.find("clean", "top1") and not clean.find("sigma 30", "top1")
    crossed = by_file["cross+segmenter-scenes__scenes__liu2018-vision__seed0.json"]
    assert crossed.find("sigma 60", "psnr").value == first.find("sigma 60", "psnr").value  # the same denoiser
    for section in vision.VISION_TABLE.sections[:2]:
        for line in section.lines:
            if (
                "official" not in line.group
                and "noise" not in line.group.partition(",")[2]
                and line.condition in ("clean", "sigma 30", "sigma 60")
            ):
                assert line.answered_by(list(by_file.values())), line


def test_what_cannot_run_is_left_out_and_said(monkeypatch, capsys):
    monkeypatch.setattr(paper_a, "find_spec", lambda name: None)

    def lost(name):
        raise DataError("It is not installed.")

    monkeypatch.setattr(vision, "network", lost)
    monkeypatch.setattr(vision, "test_pictures", scenes)
    monkeypatch.setattr(vision, "card", lambda name: type("Card", (), {"sha256": "0" * 64}))
    assert not list(vision.vision_trials(["imagenet"], "cpu"))
    assert not [trial for trial in vision.vision_trials(["camvid"], "cpu") if "cbm3d" in trial.recipe]
    words = capsys.readouterr().err
    assert "left out ImageNet. It is not installed." in words and "left out CBM3D" in words
    with pytest.raises(DataError, match="scenes, tiny, camvid, camvid-train, imagenet"):
        run(vision.VISION_TABLE, "nowhere", sets=["set5"])


def test_the_middle_of_a_photo_is_what_classifiers_expect(rng):
    photo = torch.rand(3, 300, 401, generator=rng)
    crop = vision.imagenet_crop(photo)
    assert crop.shape == (3, 224, 224)
    from restore_lib.resampling import resize_antialiased

    whole = resize_antialiased(photo, (256, 342)).clamp(0, 1)
    assert torch.equal(crop, whole[:, 16:240, 59:283])


def test_noise_is_the_librarys(rng):
    labelled = scenes("scenes", "classify").part([0])
    import zlib

    generator = torch.Generator().manual_seed(zlib.crc32(f"2 {labelled.names[0]} sigma 15".encode()))
    assert torch.equal(vision.noisy(labelled, 15, 2)[0], noise.gaussian(to_float(labelled.pictures[0]), 15, generator))


def test_cases_have_names_of_their_own():
    keys = {(task.source, task.recipe(case)) for task in vision.VISION_TASKS for case in task.cases}
    assert len(keys) == sum(len(task.cases) for task in vision.VISION_TASKS)
    assert vision.VISION_TASKS[7].recipe("joint") == "joint+classifier-tiny"


def test_detail_is_counted_right_or_wrong(monkeypatch, rng):
    monkeypatch.setattr(metrics, "lpips", lambda a, b, net: 0.25)
    clean = 0.25 + 0.5 * torch.rand(3, 24, 30, generator=rng)
    actual = vision.detail_metrics(clean, clean, 30.0)
    assert (actual["detail"], actual["fine_power"]) == pytest.approx((100, 100), abs=1e-6)
    flat = vision.detail_metrics(torch.full_like(clean, 0.4), clean, 30.0)
    assert (flat["detail"], flat["fine_power"]) == pytest.approx((0, 0), abs=1e-6) and flat["lpips_alex"] == 0.25
    # brute force: windows of 5 x 5, cut at the border
    x, expected = clean[0, :9, :7].double(), torch.empty(9, 7, dtype=torch.float64)
    for i in range(9):
        for j in range(7):
            expected[i, j] = x[i, j] - x[max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3].mean()
    torch.testing.assert_close(vision.fine_structure(x[None])[0], expected)
    doubled = vision.detail_metrics((2 * clean - 0.5).clamp(0, 1), clean, 30.0)  # twice the contrast, nothing cut
    assert (doubled["detail"], doubled["fine_power"]) == pytest.approx((200, 400), rel=1e-4)


def test_sharpness_runs_at_the_smallest_tier(tmp_path, monkeypatch):
    few = data.open("embedded")[:1]
    monkeypatch.setattr(data, "open", lambda name, split=None: few)
    monkeypatch.setattr(metrics, "lpips", lambda a, b, net: 0.5)
    (path,) = run(vision.SHARPNESS_TABLE, tmp_path, tier="smoke")
    (record,) = load_all(tmp_path)
    assert path.name == record.file and record.recipe == "half-denoiser-30" and record.seed == 0
    assert 20 < record.find("sigma 30", "detail").value < 110 and record.find("sigma 30", "psnr").value > 24
    with pytest.raises(DataError, match="leave out --sets"):
        run(vision.SHARPNESS_TABLE, tmp_path, sets=["set5"])
