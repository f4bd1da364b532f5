"""Adapting a network to a camera: what its photos give, what is trained, when it stops, and what users do wrong."""

from dataclasses import replace

import pytest
import torch

from restore_lib import api, cli, images
from restore_lib.errors import DataError
from restore_lib.nets import EDSR
from restore_lib.nets.rrdbnet import RRDBNet
from restore_lib.pretrained import Card, card, describe, load, save_checkpoint
from restore_lib.realsr import adapt as adapting
from restore_lib.realsr.adapt import ADAPT, adapt, prepare, thinned
from restore_lib.resampling import imresize
from restore_lib.training import at_tier, fit
from restore_lib.training.recipes import provenance
from restore_lib.training.state import load_state, states

LEARNS = {"kernel_photos": 0, "learning_rate": 0.01, "warmup": 1, "pixel_weight": 1.0}  # fast from fresh weights


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A small network with fresh weights under the name of a published one, and an empty folder to work in."""
    monkeypatch.setenv("RESTORE_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.chdir(tmp_path)
    keep("tiny", RRDBNet(3, 8, 4), describe(RRDBNet, blocks=3, width=8, growth=4))
    keep("other", EDSR(1, 8, 1.0, 4), describe(EDSR, blocks=1, width=8, residual_scale=1.0, scale=4))
    return load("tiny")


def keep(name, network, architecture):
    about = ("d", "0" * 64, architecture, {"torch": "2"}, "cpu", "2026-01-01T00:00:00Z", "unknown", "CC0")
    save_checkpoint(network, Card(name, "r", "smoke", 1, 0, *about))


@pytest.fixture
def folder(tmp_path, rng):
    """Six photos with a grey wall and noise, one that is too small, one that is none, and a text."""
    place = tmp_path / "My Camera"
    for i in range(6):
        images.write(place / f"photo{i}.png", photo(rng, 128 + 8 * i, 128))
    images.write(place / "small.png", photo(rng, 120, 128))
    (place / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    (place / "list.txt").write_text("photo0.png")
    return place


def photo(rng, height, width, flat=True):
    picture = imresize(torch.rand(3, height // 8, width // 8, generator=rng), size=(height, width))
    if flat:
        picture[:, :, : width // 2] = 0.5
    return (picture + 0.02 * torch.randn(picture.shape, generator=rng)).clamp(0, 1)


def smoke(**changes):
    """Without kernels, which are slow, if not asked for them."""
    return at_tier(ADAPT, "smoke", **{"start": "tiny", "kernel_photos": 0} | changes)


def prepared(folder, **changes):
    recipe = smoke(**changes)
    return replace(recipe, material=prepare(recipe, folder))


def test_photos_give_kernels_noise_and_pairs_and_held_ones_are_not_trained_on(folder, rng):
    said = []
    material = prepare(smoke(kernel_photos=1, kernel_steps=10), folder, tell=said.append)
    assert "small.png, torn.jpg" in said[0] and "64 pixels" in said[2] and "list" not in "".join(said)
    assert (material.photos, material.kernels, len(material.held)) == (6, 1, 2)
    assert {pair.name for pair in material.pairs.pairs} == {f"photo{i}.png" for i in range(1, 5)}  # 5 and 0 are held
    assert not {source.split()[0] for source in material.pairs.noises.sources} & {"photo0.png", "photo5.png"}
    for pair in material.pairs.pairs:
        assert tuple(pair.hr.shape[1:]) == tuple(4 * side for side in pair.lr.shape[1:])
    for hr, lr in material.held:  # the LR picture shows what the HR one shows
        assert float((imresize(hr, scale=0.25) - lr).abs().mean()) < 0.1
    assert str(prepare(smoke(), folder)) == str(material)
    images.write(folder / "photo3.png", photo(rng, 128, 128))
    assert str(prepare(smoke(), folder)) != str(material)


def test_clean_photos_are_added_and_serve_alone_where_the_cameras_are_small(folder, tmp_path, rng):
    for i in range(3):
        images.write(tmp_path / "clean" / f"sharp{i}.png", photo(rng, 96, 96))
    both = prepare(smoke(), folder, tmp_path / "clean").pairs.pairs
    # the camera's photos are 64 to 84 pixels high after the clean-up
    alone = prepare(smoke(size=96), folder, tmp_path / "clean").pairs.pairs
    assert {pair.name[:5] for pair in both} == {"photo", "sharp"}
    assert {pair.name for pair in alone} == {"sharp0.png", "sharp1.png"}
    with pytest.raises(DataError, match="192 x 192 pixels"):
        prepare(smoke(size=96), folder)


def test_sky_does_not_fill_the_memory(rng):
    pool = adapting.NoisePool()
    flat = 0.5 + 0.01 * torch.randn(3, 768, 768, generator=rng)
    adapting.collect_some(pool, flat, adapting.ADAPTIVE, "sky")
    assert len(pool) == len(pool.sources) == adapting.PATCHES < (768 // 64) ** 2
    assert len({source for source in pool.sources}) == adapting.PATCHES
    assert thinned(range(10), 3) == [0, 3, 6] and thinned(range(2), 3) == [0, 1]


def test_only_the_last_blocks_move(start, folder, tmp_path):
    recipe = prepared(folder, **LEARNS)
    run = fit(recipe, tmp_path / "run", quiet=True)
    before, after = start.state_dict(), run.task.networks["generator"].state_dict()
    moved = {name.split(".")[0] + name.split(".")[1] * name.startswith("blocks") for name in after
             if not torch.equal(before[name], after[name])}  # fmt: skip
    assert moved == {"blocks2", "body", "ups", "detail", "last"}
    assert all(p.requires_grad for p in prepared(folder, trained_blocks=3).task(0).networks["generator"].parameters())
    assert all(row["source"] and row["meaning"] for row in provenance(recipe))


def test_an_adaptation_in_pieces_ends_with_the_same_bits(start, folder, tmp_path):
    whole = fit(prepared(folder), tmp_path / "whole", quiet=True)
    for _ in range(3):
        run = fit(prepared(folder), tmp_path / "pieces", quiet=True, max_minutes=0)
    assert run.ended and run.step == whole.step == 4
    trees = [load_state(states(tmp_path / name)[-1])[0] for name in ("whole", "pieces")]
    for part in ("generator", "discriminator"):
        for name, value in trees[0]["networks"][part].items():
            assert torch.equal(value, trees[1]["networks"][part][name]), name
    assert trees[0]["best"]["step"] == trees[1]["best"]["step"]


def test_the_best_weights_are_kept_under_a_name_that_upscale_takes(start, folder, tmp_path):
    kept = adapt(folder, model="tiny", tier="smoke", **LEARNS)
    assert kept.name == "tiny-my-camera" and kept.licence == "CC0" and kept.recipe == "adapt"
    before, after = (score.value for score in kept.metrics)
    assert [score.condition for score in kept.metrics] == ["tiny", "adapted"] and after > before
    assert kept.dataset == "photos in My Camera" and "0 kernels" in kept.note
    assert not states("runs/adapt-tiny-my-camera")
    lr = torch.rand(3, 20, 24)
    sr = api.upscale(lr, model="tiny-my-camera")
    torch.testing.assert_close(sr, load("tiny-my-camera")(lr[None])[0].detach().clamp(0, 1), rtol=1e-4, atol=1e-4)


def test_where_nothing_is_better_nothing_is_kept(start, folder, tmp_path):
    assert adapt(folder, "mine", model="tiny", tier="smoke", learning_rate=0.0, kernel_photos=0) is None
    assert not (tmp_path / "checkpoints" / "mine.safetensors").exists()


def restore(capsys, *words):
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    return end.value.code, capsys.readouterr()


def test_the_command(start, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(adapting, "ADAPT", replace(ADAPT, tiers={"smoke": ADAPT.tiers["smoke"] | LEARNS}))
    words = ("adapt", folder, "--model", "tiny", "--tier", "smoke")
    code, said = restore(capsys, *words, "--name", "mine")
    assert code == 0 and "6 photos, 0 kernels" in said.out and "restore upscale PHOTO --model mine" in said.out
    assert card("mine").seed == 0
    code, said = restore(capsys, "upscale", folder / "photo0.png", "--model", "mine", "--out", tmp_path / "x4.png")
    assert code == 0 and images.size(tmp_path / "x4.png") == (512, 512)
    code, said = restore(capsys, *words, "--name", "mine")
    assert code == 2 and "There is a model mine already" in said.err
    monkeypatch.setattr(adapting, "fit", lambda *words, **options: fit(*words, **options | {"max_minutes": 0}))
    code, said = restore(capsys, *words, "--name", "none", "--quiet")
    assert code == 0 and said.out.startswith(("Nothing was kept", "none: "))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere",), "There is no folder nowhere"),
        (("empty",), "empty holds no photo of at least 128 x 128 pixels"),
        (("one",), "take two at least"),
        (("busy",), "has a flat place to collect noise from: add some of sky or walls"),
        (("My Camera", "--model", "realsr"), "run `restore weights import realsr-df2k`"),
        (("My Camera", "--model", "nonsense"), "There is no checkpoint nonsense"),
        (("My Camera", "--model", "other"), "other is no RRDBNet that enlarges by 4"),
        (("My Camera", "--name", "other"), "There is a model other already"),
        (("My Camera", "--name", "realsr-df2k"), "There is a model realsr-df2k already"),
        (("My Camera", "--name", "Ä"), "cannot be called Ä"),
        (("My Camera", "--clean", "empty"), "empty holds no photo of at least 64 x 64 pixels"),
    ],
)
def test_mistakes_get_one_sentence_before_anything_long(words, sentence, start, folder, rng, capsys):
    images.write(folder.parent / "one" / "a.png", photo(rng, 128, 128))
    ramps = (torch.arange(128.0) / 16 % 2 - 1).abs().expand(3, 128, 128)  # steep everywhere, and without noise
    images.write(folder.parent / "busy" / "a.png", ramps)
    images.write(folder.parent / "busy" / "b.png", ramps.mT)
    (folder.parent / "empty").mkdir()
    code, said = restore(capsys, "adapt", *(("--model", "tiny") if "--model" not in words else ()), "--tier", "smoke",
                         "--quiet", *words)  # fmt: skip
    assert code == 2 and said.err.startswith("restore: ") and sentence in said.err and said.err.count("\n") == 1
    assert not (folder.parent / "runs").exists()
