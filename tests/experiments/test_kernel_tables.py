"""Photos of known kernels: what is measured of an estimate, what is kept, and what each setting leaves out."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from restore_lib.experiments import load_all, run
from restore_lib.experiments import paper_b_kernels as kernels
from restore_lib.experiments.paper_b_kernels import Estimate, ReducedPhoto, estimated, kernel_measurements, reduced
from restore_lib.realsr.kernelgan import Schedule
from restore_lib.realsr.kernels import bicubic_kernel, random_kernel
from restore_lib.resampling import align_kernel, downscale

SHORT = replace(kernels.SINGLE, steps=3)


def reduced_photo(rng: torch.Generator, name: str) -> ReducedPhoto:
    hr, kernel = torch.rand(3, 192, 336, generator=rng), random_kernel(rng)
    return ReducedPhoto(name, hr, reduced(hr, kernel), kernel)


def cell(row: int, column: int) -> torch.Tensor:
    kernel = torch.zeros(13, 13, dtype=torch.float64)
    kernel[row, column] = 1
    return kernel


def test_measures_of_kernels_that_are_known_by_hand(rng):
    photos = [
        replace(reduced_photo(rng, name), kernel=align_kernel(k, 2)) for name, k in (("a", two(0, 1)), ("b", two(0, 5)))
    ]
    estimates = [Estimate(align_kernel(two(0, 1), 2), 1.0, (6.5, 6.25), 400, True)]
    estimates += [Estimate(align_kernel(two(0, 1), 2), 0.8, (7.5, 6.5), None, False)]
    got = {m.metric: m for m in kernel_measurements(photos, estimates, 3000)}
    first, second = got["kernel_error"].per_image
    assert first == pytest.approx(0, abs=1e-6)
    # bars of two cells and of two cells five apart, centre on centre: nothing overlaps
    assert second > 1.5
    assert got["kernel_error_median"].value == pytest.approx((first + second) / 2, abs=1e-6)
    assert got["kernel_error_worst"].value == second
    assert got["off_centre"].per_image == (0.25, 1.0) and got["sum"].per_image == (1.0, 0.8)
    assert got["switch_step"].per_image == (400, 3000) and got["distrusted"].per_image == (0, 1)
    assert got["psnr_worst"].value == min(got["psnr"].per_image)


def two(first: int, second: int) -> torch.Tensor:
    """Two cells of one row, ``second - first`` apart, about the middle of 13."""
    start = 6 - (second - first) // 2
    return (cell(6, start) + cell(6, start + second - first)) / 2


def test_the_psnr_is_of_the_photo_reduced_with_the_estimate(rng):
    photo = reduced_photo(rng, "a")
    wrong = bicubic_kernel()
    got = {m.metric: m.value for m in kernel_measurements([photo], [Estimate(wrong, 1.0, (6.5, 6.5), None, True)], 0)}
    again = downscale(photo.hr, wrong.float(), 2, align=False).clamp(0, 1)
    again = np.rint(255 * again.double().numpy())[:, 8:-8, 8:-8]
    truth = np.rint(255 * photo.lr.double().numpy())[:, 8:-8, 8:-8]
    assert got["psnr"] == pytest.approx(20 * np.log10(255 / np.sqrt(((again - truth) ** 2).mean())), abs=1e-3)


def test_estimates_are_kept_and_not_made_again(rng, monkeypatch):
    counts, real = [], kernels.estimate_kernels

    def counting(images, *args, **options):
        counts.append(len(images))
        return real(images, *args, **options)

    monkeypatch.setattr(kernels, "estimate_kernels", counting)
    photos = [reduced_photo(rng, "a").hr, reduced_photo(rng, "b").hr]
    first = estimated(photos[:1], SHORT, seed=1)
    both = estimated(photos, SHORT, seed=1)
    assert counts == [1, 1] and torch.equal(first[0].kernel, both[0].kernel) and first[0].centre == both[0].centre
    assert not torch.equal(both[0].kernel, both[1].kernel)
    kept = kernels._cached(photos[0], SHORT, 1, 1, "average")
    kept.write_bytes(kept.read_bytes()[:100])  # cut short: made again, with the same bits
    again = estimated(photos, SHORT, seed=1)
    assert counts == [1, 1, 1] and torch.equal(again[0].kernel, first[0].kernel)
    assert not torch.equal(estimated(photos[:1], SHORT, seed=2)[0].kernel, first[0].kernel)


def test_each_row_leaves_one_constraint_out():
    weights = {name: Schedule(settings) for name, (_, settings, *_) in kernels.CONSTRAINTS.items()}
    for name, schedule in weights.items():
        for step in range(1000):
            schedule.after(step, 0.0)  # as near to bicubic as can be: as early a switch as can be
        part = name.removeprefix("kernelgan-no-")
        if part != name:
            assert schedule.weights[part] == 0
            assert all(weight > 0 for other, weight in schedule.weights.items() if other != part)
    assert weights["kernelgan-never-switches"].switch_step is None
    titles = [title for title, *_ in (kernels.METHODS | kernels.CONSTRAINTS).values()]
    assert len(set(titles)) == len(titles)


@dataclass(frozen=True)
class Set:
    name: str

    def digest(self) -> str:
        return "0" * 64


def test_the_run_writes_a_record_for_each_method_and_set(rng, monkeypatch, tmp_path):
    photo = reduced_photo(rng, "a")
    monkeypatch.setattr(kernels, "known_kernels", lambda name: [replace(photo, name=f"of {name}")])
    monkeypatch.setattr(kernels.data, "open", Set)
    reports = []
    written = run(
        kernels.KERNEL_TABLE, tmp_path, tier="smoke", progress=lambda name, total: reports.append((name, total))
    )
    records = load_all(tmp_path)
    assert len(written) == len(records) == 2 * 4 and {total for _, total in reports} == {len(reports)} == {8}
    for record in records:
        assert record.images == (f"of {record.dataset}",)
        metrics = {m.metric for m in record.measurements}
        assert ("switch_step" in metrics) == (record.recipe != "bicubic-kernel")
        assert record.seed == (None if record.recipe == "bicubic-kernel" else 0)
    single = next(r for r in records if r.recipe == "kernelgan")
    assert single.settings["steps"] == single.steps == 3 and single.settings["restarts"] == 1


def test_known_kernels_make_the_photos(photos):
    for dataset, count in (("kodak24", 4), ("div2krk", 4)):
        photos_of_set = kernels.known_kernels(dataset)
        assert len(photos_of_set) == count
        for photo in photos_of_set[:2]:
            again = reduced(photo.hr, photo.kernel)
            error = (again - photo.lr)[:, 8:-8, 8:-8].square().mean().sqrt()
            assert error == 0 if dataset == "kodak24" else error < 10 ** (-44 / 20)
