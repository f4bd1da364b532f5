"""What a training step asks of a GPU: kernels launched, copies and waits. A step that waits leaves the GPU idle.

Steps have the layers, crops and scales of tier gpu, and few pixels and channels, which do not change what is launched.
"""

import pytest
import torch
from make_believe import fabric

from restore_lib.realsr import kernelgan
from restore_lib.realsr.kernel_crops import CropSampler
from restore_lib.recipes import RECIPES
from restore_lib.training import at_tier
from restore_lib.training.health import Health
from restore_lib.training.precision import PLAIN, Speed
from restore_lib.training.task import Run

CROPS = {"dataset": "embedded", "split": "", "also": "", "held": 2, "width": 8}
ANY_SCALE = CROPS | {"crop": 6, "queries": 9}
PAIRS = {"world": "embedded", "sources": 2, "kernels": "true", "kernel_photos": 2, "start": ""}
PAIRS |= {"width": 8, "size": 32, "blocks": 2}  # tier gpu has 8 blocks: four times as many launches
GAN = PAIRS | {"features": "untrained", "judge_width": 8}
HALF, FULL = Speed("bf16-mixed", channels_last=True, fused=True), PLAIN
BUDGETS = {  # launches of a step at most; in bfloat16 a third of them are conversions of weights
    ("diinn", FULL): (ANY_SCALE, 320),  # measured: 312
    ("diinn", HALF): (ANY_SCALE, 500),  # 488
    ("liif", FULL): (ANY_SCALE, 250),  # 241
    ("metasr", FULL): (ANY_SCALE, 230),  # 221
    ("rrdb-l1-both", HALF): (PAIRS, 460),  # 447
    ("rrdb-gan-both", HALF): (GAN, 780),  # 751
    ("denoiser-25", HALF): (CROPS | {"patch_size": 16}, 230),  # 223
}
KERNELGAN = 390  # launches of a step of two estimations; measured: 379


def second_step(recipe, counts, speed) -> None:
    """Count a step, after another one that has made the optimiser's memory."""
    run = Run(recipe.task(0), fabric(speed.precision), speed, 0)
    health = Health(run.device)
    for run.step in (1, 2):
        batch = tuple(part.pin_memory() for part in run.task.batches(run.step, 0, 1))  # as the loop prefetches it
        counts.clear()
        losses = run.task.step(run, run.received(batch))
        run.update_averages()
        health.note(run.step, next(iter(losses.values())))


@pytest.mark.parametrize(("name", "speed"), BUDGETS, ids=lambda value: getattr(value, "precision", value))
def test_a_step_neither_waits_nor_launches_too_much(name, speed, gpu, small_photos):
    changes, budget = BUDGETS[name, speed]
    second_step(at_tier(RECIPES[name], "gpu", **changes), gpu, speed)
    print(name, speed.precision, gpu.launches, gpu.by_name.most_common(12))
    assert gpu.waits == 0 and gpu.blocking == 0, "the processor waits for the GPU"
    assert 0.8 * budget < gpu.launches <= budget, gpu.by_name


def test_kernelgan(gpu):
    photos, counted = torch.rand(2, 3, 70, 70), []
    for steps in (2, 3, 7):  # the first fills caches of filters
        settings = kernelgan.KernelSettings(steps=steps, check_every=1000)
        samplers = [CropSampler(photo.to("cuda"), (0, i), steps) for i, photo in enumerate(photos)]
        pairs = [tuple(network.to("cuda") for network in kernelgan.networks(i)) for i in range(2)]
        gpu.clear()
        kernelgan.train(samplers, pairs, settings)
        counted.append((gpu.launches, gpu.waits, gpu.blocking))
    launches, waits, blocking = (b - a for a, b in zip(*counted[1:], strict=True))  # of four steps
    print(launches / 4)
    assert waits == 0 and blocking == 0
    assert 0.8 * KERNELGAN < launches / 4 <= KERNELGAN


def test_kernelgans_schedule_is_that_of_a_look_at_every_step(rng):
    """Losses are looked at every ``check_every`` steps alone; weights change at the same steps as by a look at each."""
    settings = kernelgan.KernelSettings(steps=40, check_every=4, threshold=0.8)
    seen, losses = [], torch.rand(settings.steps, generator=rng)
    real = kernelgan.ComposedStep.step

    def step(self, crops, real_crops, noise, weights):
        seen.append({name: float(weight[0]) for name, weight in weights.items()})
        terms = real(self, crops, real_crops, noise, weights)
        return {**terms, "bicubic": losses[len(seen) - 1 : len(seen)]}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernelgan.ComposedStep, "step", step)
        kernelgan.train([CropSampler(torch.rand(3, 70, 70), (0, 1), 40)], [kernelgan.networks(0)], settings)
    schedule, expected = kernelgan.Schedule(settings), []
    for number, loss in enumerate(losses.tolist()):
        expected.append(dict(schedule.weights))
        schedule.after(number, loss)
    assert seen == [pytest.approx(each) for each in expected] and expected[0] != expected[-1]
