"""Checkpoints: what is saved is what is loaded, and nothing else is ever taken for it."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from cards_made_up import Small, card, content, conv, randomised, rewrite_card, same, sentence
from torch import nn

from restore_lib import files
from restore_lib.errors import CheckpointError
from restore_lib.pretrained import checkpoints

NAME = "small"


def test_weights_come_back_bit_for_bit(home, saved):
    assert same(checkpoints.load_weights(NAME, folder=home), saved.state_dict())
    other = Small()
    found = checkpoints.load_into(other, NAME, folder=home)
    assert same(other.state_dict(), saved.state_dict())
    assert found == checkpoints.verify(NAME, folder=home) == checkpoints.card(NAME, folder=home)
    path = home / f"{NAME}.safetensors"
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and found.bytes == path.stat().st_size
    assert found.parameters == sum(p.numel() for p in saved.parameters())
    assert replace(found, sha256="", bytes=0, parameters=0) == card()
    assert sorted(content(home)) == [f"{NAME}.json", f"{NAME}.safetensors"]


def test_a_network_is_built_as_its_card_says(home, rng):
    network = conv().eval()
    checkpoints.save_checkpoint(network, card(), home)
    found = checkpoints.load(NAME, folder=home)
    image = torch.rand(1, 3, 9, 7, generator=rng)
    assert not found.training and torch.equal(found(image), network(image))


@pytest.mark.parametrize("name", ["path", "text"])
def test_a_path_does_as_a_name(home, saved, name):
    path = home / f"{NAME}.safetensors"
    assert same(checkpoints.load_weights(path if name == "path" else str(path)), saved.state_dict())


def test_odd_values_and_layouts_survive(home, rng):
    tensors = {
        "half": torch.rand(3, 4, generator=rng).half(),
        "bfloat": torch.rand(5, generator=rng).bfloat16(),
        "denormal": torch.tensor([1e-45, -0.0, 3.4e38]),
        "count": torch.tensor(2**62),
        "last": torch.rand(2, 3, 4, 5, generator=rng).to(memory_format=torch.channels_last),
        "slice": torch.rand(8, 8, generator=rng)[::2, 1::3],
    }
    tensors["shared"] = tensors["last"]
    written = checkpoints.save_checkpoint(tensors, card(), home)
    read = checkpoints.load_weights(NAME, folder=home)
    assert same(read, tensors) and torch.signbit(read["denormal"])[1]
    assert written.parameters == sum(t.numel() for t in tensors.values())


def test_half_precision_is_a_wish_at_saving(home, rng):
    network = randomised(Small(), rng)
    whole = checkpoints.save_checkpoint(network, card(), home)
    half = checkpoints.save_checkpoint(network, card(), home, dtype=torch.float16)
    assert half.bytes < 0.7 * whole.bytes and half.parameters == whole.parameters
    other = Small()
    checkpoints.load_into(other, NAME, folder=home)
    for key, value in other.state_dict().items():
        expected = network.state_dict()[key]
        assert value.dtype == expected.dtype and torch.equal(value, expected.half().to(expected.dtype)), key
    with torch.no_grad():
        network.first.bias[0] = 1e6
    with pytest.raises(CheckpointError, match=r"first\.bias are NaN or too large for torch\.float16"):
        checkpoints.save_checkpoint(network, card(), home, dtype=torch.float16)


def test_a_compiled_network_is_saved_under_its_plain_names(home, rng):
    network = randomised(Small(), rng)
    plain = {key: value.clone() for key, value in network.state_dict().items()}
    checkpoints.save_checkpoint(torch.compile(network), card(), home)
    assert same(checkpoints.load_weights(NAME, folder=home), plain)
    network.down = torch.compile(network.down)
    checkpoints.save_checkpoint(network, card(), home)
    assert same(checkpoints.load_weights(NAME, folder=home), plain)
    other = torch.compile(Small())
    checkpoints.load_into(other, NAME, folder=home)
    assert same(other._orig_mod.state_dict(), plain)


def test_names_and_cards_of_a_folder(home, saved):
    for name in ("b.1", "a"):
        checkpoints.save_checkpoint(saved, card(name), home)
    assert checkpoints.names(home) == ["a", "b.1", NAME] == [c.name for c in checkpoints.cards(home)]
    assert checkpoints.names(home / "nowhere") == checkpoints.cards(home / "nowhere") == []


def test_where_checkpoints_are_looked_for(monkeypatch, tmp_path):
    repository = Path(checkpoints.__file__).resolve().parents[2]
    cache = files.cache_folder() / "checkpoints"
    inside = [repository / "checkpoints", cache, repository / "restore_lib" / "checkpoints"]
    assert checkpoints.search_folders() == inside and checkpoints.checkpoints_folder() == inside[0]
    monkeypatch.setattr(checkpoints, "PACKAGE", tmp_path / "restore_lib")  # as if installed
    assert checkpoints.search_folders() == [cache, tmp_path / "restore_lib" / "checkpoints"]
    monkeypatch.setenv("RESTORE_CHECKPOINTS", str(tmp_path / "mine"))
    assert checkpoints.checkpoints_folder() == tmp_path / "mine" and checkpoints.search_folders()[1] == cache


def test_the_first_folder_that_has_a_name_counts(monkeypatch, tmp_path, rng):
    monkeypatch.setattr(checkpoints, "PACKAGE", tmp_path / "restore_lib")
    shipped = tmp_path / "restore_lib" / "checkpoints"
    old, new = randomised(Small(), rng), randomised(Small(), rng)
    for name in (NAME, "other"):
        checkpoints.save_checkpoint(old, card(name), shipped)
    checkpoints.save_checkpoint(new, card(steps=99))
    assert checkpoints.names() == ["other", NAME] and [one.steps for one in checkpoints.cards()] == [12, 99]
    assert same(checkpoints.load_weights(NAME), new.state_dict())
    assert same(checkpoints.load_weights("other"), old.state_dict())


def test_weights_that_were_not_installed_are_downloaded_once(monkeypatch, tmp_path, rng):
    monkeypatch.setattr(checkpoints, "PACKAGE", tmp_path / "restore_lib")
    network = randomised(Small(), rng)
    card_there = checkpoints.save_checkpoint(network, card(), tmp_path / "restore_lib" / "checkpoints")
    weights = tmp_path / "restore_lib" / "checkpoints" / f"{NAME}.safetensors"
    asked = []

    def fetch(known):
        asked.extend(known)
        return [tmp_path / "arrived"]

    weights.rename(tmp_path / "arrived")
    monkeypatch.setattr("restore_lib.data.downloading.fetch_files", fetch)
    assert checkpoints.card(NAME) == card_there and asked == []
    assert same(checkpoints.load_weights(NAME), network.state_dict())
    assert asked[0].url.endswith(f"/checkpoints/{NAME}.safetensors") and asked[0].url.startswith("https://")
    assert (asked[0].sha256, asked[0].size) == (card_there.sha256, card_there.bytes)
    (tmp_path / "arrived").write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="arrived is not a safetensors file"):
        checkpoints.load_weights(NAME)


def pickled(path: Path, protocol=None) -> None:
    if protocol:
        torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    else:
        torch.save({"a": torch.zeros(3)}, path)


DAMAGE = {
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-100]), r"is cut short, [\d,]+ of [\d,]+ bytes"),
    "header only": (lambda p: p.write_bytes(p.read_bytes()[:30]), "is cut short, 30 of"),
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "longer": (lambda p: p.write_bytes(p.read_bytes() + b"x"), "is damaged or was changed"),
    "pickle": (pickled, r"PyTorch \(pickle\) file, which could run any code and is never loaded"),
    "old pickle": (lambda p: pickled(p, 2), r"PyTorch \(pickle\) file"),
    "web page": (lambda p: p.write_bytes(b"\n<!DOCTYPE html><html>404</html>"), "is a web page"),
    "pointer": (lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "run `git lfs pull`"),
    "random": (lambda p: p.write_bytes(b"\x01" + os.urandom(7) + b"\x00" + os.urandom(5000)), "not a safetensors file"),
    "missing": (lambda p: p.unlink(), r"small\.safetensors cannot be read \(No such file"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), r"cannot be read \(Is a directory"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_files_that_are_not_the_weights_are_refused(home, saved, how):
    damage, words = DAMAGE[how]
    path = home / f"{NAME}.safetensors"
    damage(path)
    network = Small()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for attempt in (
        checkpoints.load_weights,
        checkpoints.verify,
        lambda n, folder: checkpoints.load_into(network, n, folder=folder),
    ):
        with pytest.raises(CheckpointError, match=words) as error:
            attempt(NAME, folder=home)
        assert str(path) in sentence(error)
    assert same(network.state_dict(), before)


def test_any_flipped_bit_is_noticed(home, saved, rng):
    path = home / f"{NAME}.safetensors"
    good = path.read_bytes()
    for at in [0, 8, 9, *torch.randint(len(good), (30,), generator=rng).tolist(), len(good) - 1]:
        bad = bytearray(good)
        bad[at] ^= 1 << int(torch.randint(8, (1,), generator=rng))
        path.write_bytes(bad)
        with pytest.raises(CheckpointError) as error:
            checkpoints.load_weights(NAME, folder=home)
        assert str(path) in sentence(error)
    path.write_bytes(good)
    checkpoints.verify(NAME, folder=home)


@pytest.mark.parametrize("foreign", ["pickle", "random", "web page", "nan", "fewer"])
def test_a_card_made_for_a_bad_file_does_not_help_it(home, saved, foreign):
    path = home / f"{NAME}.safetensors"
    words = {"nan": "1 of 3 numbers of a are NaN", "fewer": "holds fewer weights than the"}
    if foreign in words:
        bad = torch.tensor([1.0, float("nan") if foreign == "nan" else 2.0, 3.0])
        path.write_bytes(safetensors.torch.save({"a": bad}))
    else:
        DAMAGE[foreign][0](path)
    parameters = {"parameters": 3} if foreign == "nan" else {}
    rewrite_card(home, sha256=files.sha256(path), bytes=path.stat().st_size, **parameters)
    with pytest.raises(CheckpointError, match=words.get(foreign) or DAMAGE[foreign][1]) as error:
        checkpoints.load_weights(NAME, folder=home)
    sentence(error)


def test_renamed_and_mixed_up_files_are_told_apart(home, saved):
    checkpoints.save_checkpoint(randomised(Small(), torch.Generator().manual_seed(1)), card("other"), home)
    for suffix in (".json", ".safetensors"):
        (home / f"{NAME}{suffix}").rename(home / f"renamed{suffix}")
    with pytest.raises(CheckpointError, match="is the card of small: give both files that name") as error:
        checkpoints.load_weights("renamed", folder=home)
    sentence(error)
    (home / "other.safetensors").write_bytes((home / "renamed.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="holds the weights of small: give it that name") as error:
        checkpoints.load_weights("other", folder=home)
    sentence(error)


def test_an_unknown_name_is_answered_with_the_nearest(home, saved):
    with pytest.raises(CheckpointError, match="did you mean small"):
        checkpoints.load_weights("smal", folder=home)
    for call in (checkpoints.card, checkpoints.verify):
        with pytest.raises(CheckpointError, match="`restore checkpoints list` shows what there is") as error:
            call("xyz", folder=home / "nowhere")
        sentence(error)


def test_a_network_that_does_not_fit_is_left_alone(home, saved):
    wrong = {
        Small(width=8): r"first\.weight is \(6, 3, 3, 3\) in the checkpoint, \(8, 3, 3, 3\) in the network",
        nn.Sequential(
            nn.Conv2d(3, 3, 3)
        ): r"it has no down\.bias and \d+ more, and the checkpoint has no 0\.bias and 1 more",
    }
    for network, words in wrong.items():
        before = {key: value.clone() for key, value in network.state_dict().items()}
        with pytest.raises(CheckpointError, match=words) as error:
            checkpoints.load_into(network, NAME, folder=home)
        assert "build it as its card says, restore_lib.denoising.dncnn.DnCNN(depth=2" in sentence(error)
        assert same(network.state_dict(), before)
