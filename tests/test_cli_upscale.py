"""`restore upscale` by any factor and to any size, with small networks in the place of those that are shipped."""

import json

import pytest
import torch
from PIL import Image

from restore_lib import cli, files, images, implicit
from restore_lib.implicit.inference import upscale
from restore_lib.pretrained import Card, checkpoints, describe, published

SMALL = {
    "diinn": (implicit.DIINN, {"encoder": "small", "width": 8, "layers": 2}),
    "liif": (implicit.LIIF, {"encoder": "small", "hidden": [8]}),
    "metasr": (implicit.MetaSR, {"encoder": "small", "width": 4}),
}


def restore(*words):
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    return end.value.code


def left_in(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def keep(name, recipe, folder, tier="cpu", steps=10, seed=0):
    """A checkpoint of a small network; which network it is depends on the name alone."""
    kind, arguments = SMALL[recipe.partition("-")[0]]
    torch.manual_seed(sum(map(ord, name)))
    network = kind(**arguments).eval()
    about = {"name": name, "recipe": recipe, "tier": tier, "steps": steps, "seed": seed, "dataset": "embedded"}
    about |= {"dataset_hash": "0" * 64, "architecture": describe(kind, **arguments), "versions": {"torch": "2"}}
    about |= {"device": "cpu", "date": "2026-01-02T03:04:05Z", "commit": "0" * 40, "licence": "MIT"}
    checkpoints.save_checkpoint(network, Card(**about), folder)
    return network


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of checkpoints of its own."""
    monkeypatch.setattr(checkpoints, "search_folders", lambda: [tmp_path / "shelf"])
    return tmp_path / "shelf"


def photo_in(folder, rng, size=(21, 18), name="my photo.png"):
    images.write(folder / name, torch.rand(3, *size, generator=rng))
    return folder / name


def expected(network, photo, size, folder):
    """The file that the network's answer makes."""
    images.write(folder / "expected.png", upscale(network, images.read(photo), size))
    return images.read(folder / "expected.png")


def test_a_photo_is_enlarged_by_any_factor_and_to_any_size(shelf, tmp_path, rng, capsys):
    network, photo = keep("diinn-cpu", "diinn", shelf), photo_in(tmp_path, rng)
    for words, name, size in (
        ((), "my photo-x4.png", (84, 72)),
        (("--scale", 2.7), "my photo-x2.7.png", (57, 49)),
        (("--scale", 1), "my photo-x1.png", (21, 18)),
        (("--size", "40x30"), "my photo-40x30.png", (30, 40)),
        (("--size", "18x21", "--fast", "--out", tmp_path / "a.tif"), "a.tif", (21, 18)),
    ):
        assert restore("upscale", photo, *words) == 0
        assert f"{tmp_path / name}: {size[1]} x {size[0]} pixels, by diinn-cpu" in capsys.readouterr().out
        found = images.read(tmp_path / name)
        assert found.shape == (3, *size)
        if size == (21, 18):
            assert torch.equal(found, images.read(photo))
        elif "--fast" not in words:
            assert torch.equal(found, expected(network, photo, size, tmp_path))


@pytest.mark.parametrize("name", SMALL)
def test_every_decoder_has_its_name(name, shelf, tmp_path, rng, capsys):
    networks = {other: keep(f"{other}-cpu", other, shelf) for other in SMALL}
    photo = photo_in(tmp_path, rng)
    assert restore("upscale", photo, "--model", name, "--size", "31x33") == 0
    assert f"by {name}-cpu" in capsys.readouterr().out
    result = images.read(tmp_path / "my photo-31x33.png")
    assert torch.equal(result, expected(networks[name], photo, (33, 31), tmp_path))


def test_of_several_checkpoints_the_best_is_taken_and_any_can_be_named(shelf, tmp_path, rng, capsys):
    for name, tier, steps, seed in (("diinn-smoke", "smoke", 99, 0), ("diinn-cpu-1", "cpu", 10, 1)):
        keep(name, "diinn", shelf, tier, steps, seed)
    keep("diinn-cpu", "diinn", shelf)
    keep("diinn-light-gpu", "diinn-light", shelf, "gpu")
    photo = photo_in(tmp_path, rng)
    for model, said in (
        ("diinn", "diinn-cpu"),
        ("diinn-smoke", "diinn-smoke"),
        ("diinn-light", "diinn-light-gpu"),
    ):
        assert restore("upscale", photo, "--model", model, "--overwrite") == 0
        assert f", by {said}\n" in capsys.readouterr().out


def test_the_authors_liif_is_used_where_it_was_imported(shelf, tmp_path, rng, capsys):
    photo = photo_in(tmp_path, rng)
    assert restore("upscale", photo, "--model", "liif-authors") == 2
    assert "run `restore weights import liif-authors`" in capsys.readouterr().err
    arguments = {"encoder": "edsr-baseline", "hidden": [4]}
    network = implicit.LIIF(**arguments).eval()
    about = {"builder": "restore_lib.implicit.liif.LIIF", "arguments": arguments}
    content = published.packed(network.state_dict(), {"architecture": json.dumps(about)})
    (files.cache_folder() / published.FOLDER).mkdir(parents=True)
    (files.cache_folder() / published.FOLDER / "liif-authors.safetensors").write_bytes(content)
    assert restore("upscale", photo, "--model", "liif-authors", "--scale", 1.5) == 0
    found = images.read(tmp_path / "my photo-x1.5.png")
    assert torch.equal(found, expected(network, photo, (32, 27), tmp_path))


def test_photos_of_every_kind_are_taken(shelf, tmp_path, rng):
    keep("diinn-cpu", "diinn", shelf)
    values = images.to_uint8(torch.rand(3, 9, 8, generator=rng))
    for kind in ("L", "RGBA", "P", "1"):
        Image.fromarray(values).convert(kind).save(tmp_path / f"{kind}.png")
    Image.fromarray(values).convert("CMYK").save(tmp_path / "C.tif")
    images.write(tmp_path / "16.tif", torch.rand(3, 9, 8, generator=rng), bits=16)
    images.write(tmp_path / "one.png", torch.rand(3, 1, 1, generator=rng))
    for photo in list(tmp_path.glob("*.*")):
        assert restore("upscale", photo, "--scale", 2.5) == 0
        size = (2, 2) if photo.stem == "one" else (22, 20)  # 2.5 and 22.5 go to the even neighbour
        assert images.read(tmp_path / f"{photo.stem}-x2.5.png").shape == (3, *size)


def test_a_photo_that_lies_on_its_side_is_measured_upright(shelf, tmp_path, rng, capsys):
    keep("diinn-cpu", "diinn", shelf)
    picture = Image.fromarray(images.to_uint8(torch.rand(3, 10, 30, generator=rng)))
    exif = picture.getexif()
    exif[274] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)  # 10 wide and 30 high
    assert restore("upscale", tmp_path / "a.jpg", "--size", "12x31") == 0
    assert images.read(tmp_path / "a-12x31.png").shape == (3, 31, 12)
    assert restore("upscale", tmp_path / "a.jpg", "--size", "31x12") == 2
    assert "has 10 x 30 pixels" in capsys.readouterr().err


def bad(folder, rng):
    photo = photo_in(folder, rng)
    Image.new("1", (9000, 9000)).save(folder / "huge.png")
    yield (photo, "--scale", "0"), "scale is 0: give a number from 1 on"
    yield (photo, "--scale", "-2.5"), "scale is -2.5: give"
    yield (photo, "--scale", "0.99"), "only enlarge"
    yield (photo, "--scale", "nan"), "scale is nan: give"
    yield (photo, "--scale", "inf"), "scale is inf: give"
    yield (photo, "--scale", "1e300"), "choose a smaller scale"
    yield (photo, "--scale", "1000"), "18 x 21 pixels, and 1000 times higher and wider is more than the largest"
    yield (folder / "huge.png", "--scale", "2"), "choose a smaller scale"
    yield (photo, "--size", "40"), "--size is 40: give width and height"
    yield (photo, "--size", "40x-5"), "--size is 40x-5: give"
    yield (photo, "--size", "0x40"), "--size is 0x40: give"
    yield (photo, "--size", "1.5x40"), "such as 1920x1080"
    yield (photo, "--size", "99999x99999"), "more than the largest picture of 268,435,456 pixels"
    yield (photo, "--size", "17x40"), "my photo.png has 18 x 21 pixels: choose a size that is no smaller"
    yield (photo, "--size", "40x20"), "only enlarge"
    yield (photo, "--size", "40x40", "--scale", "2"), "not both"
    yield (photo, "--model", "liif"), "run `restore train liif --keep`"
    yield (photo, "--model", "diin"), "did you mean diinn?"
    yield (photo, "--model", "realsr-df2l"), "did you mean realsr-df2k?"
    yield (photo, "--model", "xyz"), "choose one of diinn, liif, metasr, realsr"
    yield (folder / "gone.png",), "does not exist"


def test_what_cannot_be_done_is_said_in_one_sentence_and_leaves_nothing(shelf, tmp_path, rng, capsys):
    keep("diinn-cpu", "diinn", shelf)
    cases = list(bad(tmp_path, rng))
    before = left_in(tmp_path)
    for words, sentence in cases:
        assert restore("upscale", *words) == 2, words
        error = capsys.readouterr().err
        assert error.startswith("restore: ") and sentence in error and error.count("\n") == 1, error
    assert left_in(tmp_path) == before


def test_a_result_is_replaced_on_demand_only_and_stopping_leaves_it(shelf, tmp_path, rng, monkeypatch, capsys):
    keep("diinn-cpu", "diinn", shelf)
    photo, target = photo_in(tmp_path, rng), tmp_path / "my photo-x2.png"
    target.write_text("precious")
    assert restore("upscale", photo, "--scale", 2) == 2
    monkeypatch.setattr("restore_lib.implicit.inference.upscale", stop)
    assert restore("upscale", photo, "--scale", 2, "--overwrite") == 130
    assert "stopped; nothing was written" in capsys.readouterr().err and target.read_text() == "precious"


def stop(*words, **options):
    raise KeyboardInterrupt


def test_weights_that_do_not_fit_their_card_are_told(shelf, tmp_path, rng, capsys):
    keep("diinn-cpu", "diinn", shelf)
    weights = shelf / "diinn-cpu.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    assert restore("upscale", photo_in(tmp_path, rng)) == 2
    assert "cut short" in capsys.readouterr().err
