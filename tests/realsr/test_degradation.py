"""Pairs: Algorithm 1 with both tracks' settings, crops that fit on each other, and the folder on the disk."""

import json
import re

import pytest
import torch
from scipy import ndimage

from restore_lib import images, noise
from restore_lib.errors import DataError
from restore_lib.realsr.degradation import (
    TRACK1,
    TRACK2,
    Degradation,
    PairedData,
    Track,
    algorithm_1,
    clean_up,
    read_pairs,
    turn,
    write_pairs,
)
from restore_lib.realsr.kernels import analytic_x4, random_kernel
from restore_lib.realsr.noise_pool import NoisePool, NoiseRule, collect
from restore_lib.resampling import downscale, imresize


def photos(rng, count: int = 2, height: int = 202, width: int = 290, sigma: float = 3.0):
    """Flat colours with a little noise."""
    for i in range(count):
        flat = torch.rand(3, 1, 1, generator=rng) * 0.4 + 0.3
        yield f"photo{i}", noise.gaussian(flat.expand(3, height, width), sigma, rng).clamp(0, 1)


RULE = NoiseRule(patch=64, stride=64, mean=50.0)


def test_clean_up_averages_noise_away(rng):
    ((_, photo),) = photos(rng, 1)
    clean = clean_up(photo)
    assert clean.shape == (3, 100, 144)
    assert clean.std((1, 2)).mean() < 0.6 * photo.std((1, 2)).mean()
    torch.testing.assert_close(clean, imresize(photo, scale=0.5).clamp(0, 1)[:, :100, :144])


def test_track_2_is_algorithm_1(rng):
    made = []

    def estimate(photo):
        made.append(analytic_x4(random_kernel(rng, 2, 7)))
        return made[-1]

    real = list(photos(rng, 3))
    track = Track(name="t", use_targets=False, rule=RULE)
    data = algorithm_1(real, [("clean", torch.rand(3, 64, 64, generator=rng))], track=track, estimate=estimate, seed=4)
    assert [pair.name for pair in data.pairs] == ["photo0", "photo1", "photo2"] and len(made) == 3
    assert len(data.noises) == 3 * 3 * 4
    for pair, (_, photo) in zip(data.pairs, real, strict=True):
        torch.testing.assert_close(pair.hr, clean_up(photo))
        torch.testing.assert_close(pair.lr, downscale(pair.hr, made[pair.kernel], 4, align=False).clamp(0, 1))
    again = algorithm_1(real, track=track, estimate=lambda photo: made[0], seed=4)
    assert [pair.kernel for pair in again.pairs] == [pair.kernel for pair in data.pairs]
    with pytest.raises(ValueError, match="estimate"):
        algorithm_1(real, track=TRACK2)


def test_track_1_reduces_bicubically_and_takes_the_clean_photos_too(rng):
    sharp = torch.rand(3, 66, 70, generator=rng)
    data = algorithm_1(photos(rng, 1), [("clean", sharp)], track=TRACK1)
    assert [pair.name for pair in data.pairs] == ["photo0", "clean"]
    assert data.pairs[1].hr.shape == (3, 64, 68) and data.pairs[1].kernel is None
    torch.testing.assert_close(data.pairs[1].lr, imresize(sharp[:, :64, :68], scale=0.25).clamp(0, 1))
    assert (TRACK1.rule.mean, TRACK2.rule.mean, TRACK1.rule.variance, TRACK1.rule.patch) == (0, 50, 20, 256)


def test_the_released_code_darkens_by_half_a_level_and_floats_do_not(rng):
    hr = (torch.rand(3, 96, 96, generator=rng) * 255).round() / 255
    kernel = analytic_x4(random_kernel(rng, 2, 7))
    ours, theirs = (Degradation(kernels=[kernel], official_uint8=cut).reduce(hr, 0) for cut in (False, True))
    assert (theirs - ours).mean().item() * 255 == pytest.approx(-0.5, abs=0.05)
    levels = images.to_uint8(hr)[..., 0]
    scipy = ndimage.correlate(levels, kernel.numpy(), mode="reflect")[::4, ::4]  # cuts off, as the released code does
    middle = slice(8, -8)
    shift = kernel.shape[0] % 2  # SciPy counts even kernels from another cell
    assert shift == 1
    apart = ((theirs[0] * 255)[middle, middle] - torch.from_numpy(scipy).float()[middle, middle]).abs()
    # a sum that is a whole number but for rounding may be cut off on either side of it
    assert apart.max() < 1 + 1e-4 and (apart > 1e-4).float().mean() < 0.1


@pytest.mark.parametrize("with_noise", [False, True])
def test_crops_lie_on_each_other_and_depend_on_seed_and_step_alone(with_noise, rng):
    smooth = imresize(torch.rand(3, 30, 40, generator=rng), scale=8).clamp(0, 1)
    data = algorithm_1([], [("smooth", smooth)], track=TRACK1)
    if with_noise:
        data.noises = collect(photos(rng, 1), RULE)
    hr, lr = data.crops(5, batch=8, size=64, seed=2)
    assert hr.shape == (8, 3, 64, 64) and lr.shape == (8, 3, 16, 16)
    difference = (imresize(hr, scale=0.25).clamp(0, 1) - lr)[..., 3:-3, 3:-3].abs().mean()
    assert difference < (4 / 255 if with_noise else 1e-6)
    for x, y in zip(data.crops(5, batch=8, size=64, seed=2), (hr, lr), strict=True):
        assert torch.equal(x, y)
    assert not torch.equal(data.crops(6, batch=8, size=64, seed=2)[0], hr)
    with pytest.raises(ValueError, match="multiple"):
        data.crops(0, size=66)
    with pytest.raises(DataError, match="smaller crops"):
        data.crops(0, size=512)


def test_all_eight_positions_of_a_square_come_up():
    x = torch.arange(12.0).reshape(3, 2, 2)
    found = {tuple(turn(x, [bool(i & b) for b in (1, 2, 4)]).flatten().tolist()) for i in range(8)}
    assert len(found) == 8


def pairs(rng) -> PairedData:
    return algorithm_1(photos(rng, 2), track=Track(kernels=False, rule=RULE))


def test_pairs_come_back_from_the_disk(rng, tmp_path):
    data = pairs(rng)
    folder = write_pairs(tmp_path / "set", data)
    assert sorted(p.name for p in folder.iterdir()) == ["hr", "lr", "manifest.json", "noise"]
    back = read_pairs(folder)
    assert len(back.noises) == len(data.noises) and back.noises.sources == data.noises.sources and back.scale == 4
    for a, b in zip(back.pairs, data.pairs, strict=True):
        assert (a.name, a.kernel) == (b.name, b.kernel)
        assert (a.hr - b.hr).abs().max() <= 0.502 / 255 and (a.lr - b.lr).abs().max() <= 0.502 / 255
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(DataError, match="holds something already"):
        write_pairs(folder, data)


def test_a_write_that_fails_leaves_nothing(rng, tmp_path, monkeypatch):
    calls, write = [], images.write

    def breaks(*arguments, **options):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        write(*arguments, **options)

    monkeypatch.setattr(images, "write", breaks)
    with pytest.raises(KeyboardInterrupt):
        write_pairs(tmp_path / "set", pairs(rng))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_set_is_refused(rng, tmp_path):
    folder = write_pairs(tmp_path / "set", pairs(rng))
    entry = json.loads((folder / "manifest.json").read_text())["pairs"][1]["lr"]
    images.write(folder / entry["path"], torch.zeros(3, 5, 5))
    with pytest.raises(DataError, match="not the file that was written"):
        read_pairs(folder)
    (folder / entry["path"]).unlink()
    with pytest.raises(DataError, match="no complete set"):
        read_pairs(folder)
    with pytest.raises(DataError, match="no complete set"):
        read_pairs(tmp_path / "nowhere")


def test_any_change_of_a_manifest_ends_in_a_sentence_or_changes_nothing_that_counts(rng, tmp_path):
    data = pairs(rng)
    data.pairs = data.pairs[:1]
    data.noises = NoisePool(data.noises.patches[:1], data.noises.sources[:1])
    manifest = write_pairs(tmp_path / "set", data) / "manifest.json"
    whole, odd = manifest.read_text(), [None, -1, 0, 3, 1e9, "", "../x", [], {}, [[]], True, {"path": "/dev/zero"}]
    places = re.findall(r'"(\w+)": ("[^"]*"|-?\d+|null)', whole)
    assert len(places) > 8
    for key, value in places:
        for other in odd:
            manifest.write_text(whole.replace(f'"{key}": {value}', f'"{key}": {json.dumps(other)}', 1))
            try:
                back = read_pairs(tmp_path / "set")
            except DataError:
                continue
            assert torch.equal(back.pairs[0].hr, read_back(whole, manifest).pairs[0].hr) and back.scale == 4
    for cut in torch.randint(len(whole), (30,), generator=rng).tolist():
        manifest.write_text(whole[:cut])
        with pytest.raises(DataError):
            read_pairs(tmp_path / "set")


def read_back(text, manifest):
    manifest.write_text(text)
    return read_pairs(manifest.parent)


def test_a_pool_without_noise_leaves_images_alone(rng):
    data = pairs(rng)
    data.noises = NoisePool()
    _, lr = data.crops(0, batch=2, size=32)
    assert any(
        torch.equal(lr[0], turn(pair.lr[:, i : i + 8, j : j + 8], [bool(t & b) for b in (1, 2, 4)]))
        for pair in data.pairs
        for i in range(pair.lr.shape[1] - 7)
        for j in range(pair.lr.shape[2] - 7)
        for t in range(8)
    )
