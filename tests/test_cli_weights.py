"""`restore weights` and `restore upscale`, with a small network in the place of a published one."""

import re

import numpy as np
import pytest
import torch
from made_up_weights import as_authors
from ncnn_made_up import small_rrdbnet, write_rrdbnet
from PIL import Image

from restore_lib import cli, files, images, metrics, nets
from restore_lib.pretrained import published
from restore_lib.pretrained.published import Published

RULE = metrics.Protocol(channels="rgb", border=0, quantize=True)


def restore(*words):
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    return end.value.code


def left_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """Files of a network that counts as RealSR's."""
    pair = write_rrdbnet(small_rrdbnet(), tmp_path / "theirs")
    about = ("realsr-df2k", "RealSR x4", "Apache-2.0", [files.sha256(pair[1])])
    models = {"realsr-df2k": Published(*about, archive="realsr.tar.gz")}
    models["edsr-x9"] = Published("edsr-x9", "EDSR x9", "MIT", ["0" * 8], address="https://a.invalid/b")
    monkeypatch.setattr(published, "PUBLISHED", models)
    return pair


@pytest.fixture
def known(theirs):
    """The network that has been imported."""
    published.import_weights(theirs[0])
    return small_rrdbnet()


def test_weights_are_imported_and_listed(theirs, capsys):
    assert restore("weights", "list") == 0
    said = capsys.readouterr().out
    assert re.search(r"realsr-df2k +RealSR x4 +- +Apache-2.0 +realsr.tar.gz", said) and "https://a.invalid/b" in said
    assert restore("weights", "import", theirs[1]) == 0
    assert re.search(r"realsr-df2k: 0\.0 MB in .*realsr-df2k\.safetensors\n", capsys.readouterr().out)
    assert restore("weights", "import", theirs[1], "--out", "mine", "--quiet") == 0
    assert capsys.readouterr().err == ""
    assert restore("weights", "list") == 0
    said = capsys.readouterr().out
    assert re.search(r"realsr-df2k +RealSR x4 +yes", said) and re.search(r"mine +imported .* yes", said)


def test_a_bad_import_is_told_in_one_sentence(theirs, tmp_path, capsys):
    theirs[1].write_bytes(theirs[1].read_bytes()[:-3])
    for words, sentence in (
        (("nonsense",), "`restore weights list`"),
        (("realsr-df2k",), "in a browser"),
        ((theirs[1], "--out", "a"), "truncated"),
    ):
        assert restore("weights", "import", "--quiet", *words) == 2
        error = capsys.readouterr().err
        assert error.startswith("restore: ") and sentence in error and error.count("\n") == 1, error
    assert published.imported() == {}


def test_stopping_an_import_leaves_what_was_there(theirs, known, monkeypatch, capsys):
    def stop(*words):
        raise KeyboardInterrupt

    monkeypatch.setattr(published, "load_author_checkpoint", stop)
    assert restore("weights", "import", theirs[0]) == 130
    assert "stopped; models that were here are as they were" in capsys.readouterr().err
    assert left_in(files.cache_folder()) == ["realsr-df2k.safetensors"]


# enlarging


REALSR = ("--model", "realsr")


def photo_in(folder, rng, size=(21, 18), name="my photo.png"):
    images.write(folder / name, torch.rand(3, *size, generator=rng))
    return folder / name


def test_a_photo_is_enlarged(known, tmp_path, rng, capsys):
    photo = photo_in(tmp_path, rng)
    assert restore("upscale", photo, *REALSR) == 0
    target = tmp_path / "my photo-x4.png"
    assert f"{target}: 72 x 84 pixels, by realsr-df2k" in capsys.readouterr().out
    with torch.no_grad():
        expected = known(images.read(photo)[None])[0]
    images.write(tmp_path / "expected.png", expected)
    assert metrics.psnr(images.read(target), images.read(tmp_path / "expected.png"), RULE) > 60
    assert restore("upscale", photo, "--fast", "--model", "realsr-df2k", "--out", tmp_path / "new" / "fast.webp") == 0
    assert metrics.psnr(images.read(tmp_path / "new" / "fast.webp"), images.read(target), RULE) > 20


@pytest.mark.parametrize("kind", ["grey", "alpha", "cmyk", "16 bit", "one pixel", "palette"])
def test_photos_of_every_kind_are_taken(kind, known, tmp_path, rng):
    values = images.to_uint8(torch.rand(3, 9, 8, generator=rng))
    photo = tmp_path / ("a.tif" if kind in ("cmyk", "16 bit") else "a.png")
    if kind == "16 bit":
        images.write(photo, torch.rand(3, 9, 8, generator=rng), bits=16)
    elif kind == "one pixel":
        images.write(photo, torch.rand(3, 1, 1, generator=rng))
    else:
        mode = {"grey": "L", "alpha": "RGBA", "cmyk": "CMYK", "palette": "P"}[kind]
        Image.fromarray(values).convert(mode).save(photo)
    assert restore("upscale", photo, *REALSR) == 0
    height, width = images.read(photo).shape[1:]
    assert images.read(tmp_path / "a-x4.png").shape == (3, 4 * height, 4 * width)


def bad_photos(folder, rng):
    photo = photo_in(folder, rng)
    (folder / "text.png").write_text("no photo")
    (folder / "file").write_text("no folder")
    (folder / "there.png").write_text("precious")
    values = torch.rand(9, 9, generator=rng).numpy()
    values[3, 4] = np.nan
    Image.fromarray(values).save(folder / "nan.tif")
    Image.new("1", (9000, 9000)).save(folder / "huge.png")
    return {
        ("gone.png",): "does not exist",
        ("text.png",): "text.png",
        ("nan.tif",): "nan.tif",
        ("huge.png",): "use a smaller image",
        (photo, "--out", folder / "file" / "a.png"): "name another file with --out",
        (photo, "--out", folder / "there.png"): "exists already: add --overwrite, or name another file",
        (photo, "--out", folder / "a.doc"): "a.doc cannot be written",
        (photo, "--scale", "3"): "scale is 3: realsr-df2k enlarges by 4 only",
        (photo, "--size", "30x30"): "size is 30x30: realsr-df2k enlarges by 4 only, use scale 4",
        (photo, "--scale", "nan"): "scale is nan",
        (photo, "--scale", "-4"): "scale is -4",
        (photo, "--model", "realsr-df2l"): "did you mean realsr-df2k",
        (photo, "--model", "edsr-x9"): "run `restore weights import edsr-x9`",
    }


def test_what_cannot_be_done_is_said_in_one_sentence_and_leaves_nothing(known, tmp_path, rng, capsys):
    cases = bad_photos(tmp_path, rng)
    before = left_in(tmp_path)
    for (name, *words), sentence in cases.items():
        assert restore("upscale", tmp_path / name, *REALSR, *words) == 2, name  # of two models, the last one counts
        error = capsys.readouterr().err
        assert error.startswith("restore: ") and sentence in error and error.count("\n") == 1, error
    assert left_in(tmp_path) == before and (tmp_path / "there.png").read_text() == "precious"


def test_a_result_is_replaced_on_demand_only(known, tmp_path, rng, capsys):
    photo = photo_in(tmp_path, rng)
    (tmp_path / "my photo-x4.png").write_text("precious")
    assert restore("upscale", photo, *REALSR) == 2
    assert restore("upscale", photo, *REALSR, "--overwrite") == 0
    assert images.read(tmp_path / "my photo-x4.png").shape == (3, 84, 72)


def test_stopping_leaves_nothing_behind(known, tmp_path, rng, monkeypatch, capsys):
    def stop(*words, **options):
        raise KeyboardInterrupt

    photo = photo_in(tmp_path, rng)
    before = left_in(tmp_path)
    monkeypatch.setattr("restore_lib.photos.write", stop)
    assert restore("upscale", photo, *REALSR) == 130
    assert "stopped; nothing was written" in capsys.readouterr().err and left_in(tmp_path) == before


def test_edsr_enlarges_by_its_own_factor(theirs, tmp_path, rng):
    network = nets.EDSR(1, 6, 1.0, 3).eval()
    torch.save(as_authors(network), tmp_path / "edsr.pt")
    published.import_weights(tmp_path / "edsr.pt", "mine")
    photo = photo_in(tmp_path, rng)
    assert restore("upscale", photo, "--scale", 3, "--model", "mine") == 0
    with torch.no_grad():
        images.write(tmp_path / "expected.png", network(images.read(photo)[None])[0])
    found = images.read(tmp_path / "my photo-x3.png")
    assert metrics.psnr(found, images.read(tmp_path / "expected.png"), RULE) > 60
