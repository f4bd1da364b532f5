"""Folders of photos: what is read, what is refused, what a kill leaves, and what is said."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from restore_lib import api, batch, cli, decoders, images, photos
from restore_lib.errors import ImageError, RestoreError

BICUBIC = ("--scale", "1.05")  # small scales need no network's time


def restore(*words):
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    return end.value.code or 0


def photo(path, rng, size=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(images.to_uint8(torch.rand(3, *size, generator=rng))).save(path)
    return path


def left_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def spoilt(folder):
    """A folder's bad files, that are told, and what is no file at all."""
    (folder / "bad-text.png").write_text("no photo")
    (folder / "bad-empty.jpg").touch()
    (folder / "bad-phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    whole = (folder / "p0.png").read_bytes()
    (folder / "bad-half.png").write_bytes(whole[: len(whole) // 2])
    (folder / "bad-closed.png").write_bytes(whole)
    (folder / "x.png").mkdir()
    (folder / ".hidden.png").write_text("no photo")
    return {"bad-text.png", "bad-empty.jpg", "bad-phone.heic", "bad-half.png", "bad-closed.png"}


def closed(path, *mode):
    """``open`` of a user without rights; that of these tests may be root's, who has them all."""
    if "closed" in str(path):
        raise PermissionError(13, "Permission denied", str(path))
    return open(path, *mode)


def test_bad_files_are_told_twice_and_the_others_are_done(tmp_path, rng, capsys, monkeypatch):
    monkeypatch.setattr(decoders, "open", closed, raising=False)
    for i in range(5):
        photo(tmp_path / f"p{i}.png", rng)
    bad = spoilt(tmp_path)
    assert restore("upscale", tmp_path, *BICUBIC) == 2
    out, err = capsys.readouterr()
    assert out.count("13 x 10 pixels") + out.count("10 x 13 pixels") == 5 == len(list(tmp_path.glob("*-x1.05.png")))
    assert all(err.count(f"{name}") == 2 for name in bad) and "5 of 10 photos could not be restored" in err
    assert "HEIC" in err and "closed.png may not be read" in err and "Traceback" not in err
    before = left_in(tmp_path)
    assert restore("upscale", tmp_path, *BICUBIC) == 2  # the bad ones are tried again, the others not
    assert left_in(tmp_path) == before and capsys.readouterr().out == ""
    for name in bad:
        (tmp_path / name).unlink()
    assert restore("upscale", tmp_path, *BICUBIC) == 0
    assert "Nothing is left to do: results of 5 photos" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_told(tmp_path, capsys):
    (tmp_path / "closed").mkdir(mode=0)
    assert restore("upscale", tmp_path / "closed", *BICUBIC) == 2
    assert "closed may not be read" in capsys.readouterr().err


def test_what_is_meant_and_where_results_go(tmp_path, rng):
    for name in ("b.png", "a.jpg", "sub/c.png", "c-x2.png", "a-denoised.png", "deep/er/d.webp", ".d.png", "note.txt"):
        photo(tmp_path / name, rng) if name[-3:] != "txt" else (tmp_path / name).touch()

    def names(pairs):
        return [tuple(str(path.relative_to(tmp_path)) for path in pair) for pair in pairs]

    here = [("a.jpg", "a-x2.png"), ("b.png", "b-x2.png"), ("c-x2.png", "c-x2-x2.png")]  # there is no photo c
    assert names(batch.plan([tmp_path], "-x2")) == here
    assert names(batch.plan([str(tmp_path / "[ab].*"), tmp_path / "b.png"], "-x2")) == here[:2]
    far = names(batch.plan([tmp_path], "-x2", out=tmp_path / "out", ending=".tif", recursive=True))
    assert far[2:] == [("c-x2.png", "out/c-x2-x2.tif"), ("deep/er/d.webp", "out/deep/er/d-x2.tif"), *far[4:]]
    assert far[4:] == [("sub/c.png", "out/sub/c-x2.tif")]
    photo(tmp_path / "out/sub/c-x2.tif", rng)
    assert names(batch.plan([tmp_path], "-x2", out=tmp_path / "out", ending=".tif", recursive=True)) == far
    result = photo(tmp_path / "b-x2.png", rng)
    assert names(batch.plan([tmp_path / "b.png", result], "-x2")) == here[1:2]  # as a shell's *.png would give it
    assert names(batch.plan([result], "-x2")) == [("b-x2.png", "b-x2-x2.png")]


def test_what_would_be_lost_is_refused_before_any_work(tmp_path, rng, capsys):
    for name in ("a.png", "a.jpg", "sub/a.png", "empty/note.txt"):
        photo(tmp_path / name, rng) if name[-3:] != "txt" else (tmp_path / "empty").mkdir()
    a, before = tmp_path / "a.png", left_in(tmp_path)
    cases = {
        (tmp_path,): "a.jpg and {0}/a.png would both become {0}/a-x1.05.png",
        (a, tmp_path / "sub", "-o", tmp_path / "o"): "would both become",
        (a, "--suffix", ""): "a.png is one of the photos",
        (tmp_path / "a.jpg", a, "--suffix", ""): "would",
        (a, "--out", a, "--overwrite"): "a.png is one of the photos",
        (tmp_path / "empty",): "empty holds no photos",
        (tmp_path / "*.gif",): "No file has a name like",
        ("",): "One of the names is empty",
        (a, ""): "One of the names is empty",
        (a, "--format", "gif"): "cannot be written",
        (a, "--format", "jpg", "--bits", "16"): "--bits is 16 for JPEG",
        (a, "--bits", "12"): "--bits is 12 for PNG",
        (a, "--quality", "0"): "--quality",
        (a, "--tile", "9"): "tile is 9: give 128 pixels or more",
        (a, "--device", "cudda"): "There is no device cudda here: choose",
        (a, "--device", "meta"): "There is no device meta here: choose",
        (a, "--suffix", "/../../b"): "--suffix",
        (tmp_path / "sub", "-o", a): "name another folder with --out",
    }
    for words, sentence in cases.items():
        assert restore("upscale", *words, *BICUBIC) == 2, words
        err = capsys.readouterr().err
        assert sentence.format(tmp_path) in err and err.startswith("restore: ") and err.count("\n") == 1, err
    assert left_in(tmp_path) == before


def test_a_dry_run_writes_nothing_and_says_what_would_be(tmp_path, rng, capsys):
    a, b = (photo(tmp_path / name, rng) for name in ("a.png", "b.jpg"))
    photo(tmp_path / "b-x3.tif", rng)
    before = left_in(tmp_path)
    assert restore("upscale", tmp_path, "--scale", 3, "--dry-run", "-o", tmp_path / "o", "--format", "tif") == 0
    assert capsys.readouterr().out.splitlines() == [f"{p} -> {tmp_path}/o/{p.stem}-x3.tif" for p in (a, b)]
    assert restore("upscale", tmp_path, "--scale", 3, "-n", "--format", "tif") == 0
    assert capsys.readouterr().out.splitlines() == [f"{a} -> {tmp_path}/a-x3.tif"]
    assert left_in(tmp_path) == before


def test_formats_bits_and_quality_reach_the_files(tmp_path, rng):
    photo(tmp_path / "a.png", rng, (40, 40))
    for words in (("--format", "jpg", "--quality", 5), ("--format", "webp"), ("--format", "tif", "--bits", 16)):
        assert restore("upscale", tmp_path / "a.png", *BICUBIC, "-o", tmp_path / "results", *words) == 0
    results = {path.suffix: path for path in (tmp_path / "results").iterdir()}
    assert set(results) == {".jpg", ".webp", ".tif"} and photos.read(results[".tif"]).bits == 16
    assert restore("upscale", tmp_path, *BICUBIC, "-o", tmp_path / "best", "--format", "jpg") == 0
    assert (tmp_path / "best/a-x1.05.jpg").stat().st_size > 2 * results[".jpg"].stat().st_size


def test_one_is_read_and_one_written_beside_the_computing(tmp_path, rng, monkeypatch):
    pairs = batch.plan([photo(tmp_path / f"{i}.png", rng) for i in range(6)], "-x")
    seen, write = [], photos.write
    monkeypatch.setattr(photos, "write", lambda *a, **k: seen.append(("write", a[0].stem)) or write(*a, **k))

    def read(path):
        seen.append(("read", path.stem))
        return photos.read(path)

    def work(picture):
        for _ in range(200):  # what is asked for beside it comes while it works
            if ("read", "5") in seen or len([kind for kind, _ in seen if kind == "read"]) > len(worked) + 1:
                break
            time.sleep(0.01)
        worked.append(len([kind for kind, _ in seen if kind == "read"]))
        return api.Restored(picture, "as it was")

    worked: list[int] = []
    results = list(batch.restore(pairs, work, read=read))
    assert worked == [2, 3, 4, 5, 6, 6]  # never more than one ahead
    assert [result.photo.stem for result in results] == list("012345") and not any(r.error for r in results)
    assert all(target.exists() for _, target in pairs) and not list(batch.restore(pairs, work))


def test_memory_is_one_photos_business_and_a_full_disk_everybodys(tmp_path, rng, monkeypatch):
    pairs = batch.plan([photo(tmp_path / f"{i}.png", rng) for i in range(3)], "-x")

    def work(picture):
        if picture.name.endswith("1.png"):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return api.Restored(picture, "")

    errors = [str(result.error or "") for result in batch.restore(pairs, work)]
    assert [bool(error) for error in errors] == [False, True, False] and "give --tile" in errors[1]

    def full(*words, **options):
        raise RestoreError("The disk is full")

    monkeypatch.setattr(photos, "write", full)
    with pytest.raises(RestoreError, match="disk is full"):
        list(batch.restore(pairs, work, overwrite=True))
    with pytest.raises(RuntimeError, match="a bug"):
        list(batch.restore(pairs, lambda picture: 1 / 0 if not picture else exec("raise RuntimeError('a bug')")))


def test_a_network_is_loaded_once_as_long_as_its_file_stays(monkeypatch):
    loaded, load = [], api.load
    monkeypatch.setattr(api, "load", lambda name: loaded.append(name) or load(name))
    api._loaded.cache_clear()
    noisy = np.full((20, 20), 0.5) + np.random.default_rng(0).normal(0, 0.1, (20, 20))
    first, second = (api.denoise(noisy, 25) for _ in range(2))
    assert np.array_equal(first, second) and len(loaded) == 1
    stamped = api.checkpoints.search_folders()[0] / f"{loaded[0]}.safetensors"
    os.utime(stamped)
    api.denoise(noisy, 25)
    assert len(loaded) == 2


def test_eight_ways_is_the_mean_over_turned_and_mirrored_pictures(rng):
    kernel = torch.rand(3, 3, 3, 3, generator=rng)
    image = torch.rand(3, 7, 9, generator=rng)

    def fn(x, turned):
        assert (x.shape[1:] == (9, 7)) == turned
        return torch.nn.functional.conv2d(x[None], kernel, padding=1)[0]

    total = np.zeros((3, 7, 9))
    for turns in range(4):
        for flip in (False, True):
            seen = np.rot90(image.numpy(), turns, (1, 2))
            seen = seen[:, :, ::-1] if flip else seen
            result = fn(torch.from_numpy(seen.copy()), bool(turns % 2)).numpy()
            total += np.rot90(result[:, :, ::-1] if flip else result, -turns, (1, 2)) / 8
    assert np.allclose(images.eight_ways(fn, image), total, atol=1e-5)


def test_self_ensemble_and_tiles_reach_the_networks(rng):
    image = torch.rand(3, 150, 140, generator=rng)
    whole, tiled, mean = (api.denoise(image, 30, **how) for how in ({}, {"tile": 130}, {"self_ensemble": True}))
    assert torch.allclose(whole, tiled, atol=1e-4) and not torch.equal(whole, mean)
    turned = api.denoise(image.rot90(1, (1, 2)), 30, self_ensemble=True).rot90(-1, (1, 2))
    assert torch.allclose(turned, mean, atol=1e-4)
    with pytest.raises(ImageError, match="tile is 100"):
        api.denoise(image, 30, tile=100)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_killed_twice_and_resumed_a_folder_ends_whole_and_without_litter(tmp_path, rng):
    for i in range(150):
        photo(tmp_path / f"p{i:03}.png", rng, (200, 200))
    bad, results, chance = spoilt_few(tmp_path), tmp_path / "results", random.Random(int(torch.randint(2**30, ())))
    words = [sys.executable, "-m", "restore_lib", "upscale", str(tmp_path), *BICUBIC, "-o", str(results)]
    for _ in range(2):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 60)):
            assert process.stdout.readline()
        time.sleep(chance.random() / 50)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done = [path for path in results.iterdir() if path.name[0] != "."]
        assert 0 < len(done) < 150 and all(images.read(path).shape == (3, 210, 210) for path in done)
    (results / ".p001-x1.05.abcdefgh.webp").touch()  # of another format, once
    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.returncode == 2 and all(ended.stderr.count(name) == 2 for name in bad)
    assert sorted(os.listdir(results)) == [f"p{i:03}-x1.05.png" for i in range(150)]
    assert all(images.read(path).shape == (3, 210, 210) for path in results.iterdir())


def spoilt_few(folder):
    (folder / "x.png").mkdir()
    (folder / "p004a.png").write_text("no photo")
    (folder / "p140a.png").write_bytes((folder / "p140.png").read_bytes()[:900])
    return ("p004a.png", "p140a.png")
