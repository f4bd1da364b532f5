"""Saving a checkpoint: both files or neither, whatever stops it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from cards_made_up import Small, card, content, randomised, same, sentence
from safetensors import safe_open

from restore_lib.errors import CheckpointError, RestoreError
from restore_lib.pretrained import Score, checkpoints
from restore_lib.pretrained.trained import following
from restore_lib.recipes import RECIPES

NAME = "small"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_numbers_are_not_saved(home, saved, value):
    before = content(home)
    with torch.no_grad():
        saved.up.weight[0, 0, 0, 0] = value
    with pytest.raises(CheckpointError, match=r"small was not saved: 1 of .* numbers of up\.weight are NaN") as error:
        checkpoints.save_checkpoint(saved, card(), home)
    sentence(error)
    assert content(home) == before


def test_a_card_that_could_not_be_read_back_is_not_written(home, saved):
    before = content(home)
    for changes in ({"metrics": (Score("a", "b", "c", "psnr", float("nan")),)}, {"recipe": ""}, {"tier": "huge"}):
        with pytest.raises(CheckpointError, match="The card of small is not a good card"):
            checkpoints.save_checkpoint(saved, card(**changes), home)
    for name in ("a/b", "", "Big", ".hidden"):
        with pytest.raises(ValueError, match="cannot be named"):
            checkpoints.save_checkpoint(saved, card(name), home)
    assert content(home) == before


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
@pytest.mark.parametrize("old", [True, False])
def test_a_full_disk_leaves_the_old_pair_and_nothing_else(home, saved, monkeypatch, suffix, old):
    if not old:
        for path in home.iterdir():
            path.unlink()
    before = content(home)
    kind = {".safetensors": "write_bytes", ".json": "write_text"}[suffix]
    write = getattr(Path, kind)

    def full(self, data, **options):
        write(self, data[: len(data) // 2], **options)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, kind, full)
        with pytest.raises(RestoreError, match="The disk is full") as error:
            checkpoints.save_checkpoint(Small(), card(steps=99), home)
    sentence(error)
    assert content(home) == before
    checkpoints.save_checkpoint(saved, card(steps=99), home)
    assert checkpoints.verify(NAME, folder=home).steps == 99


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_a_really_full_device_speaks_the_same_sentence(home, saved, monkeypatch):
    before = content(home)

    def to_full_device(self, data):
        with open("/dev/full", "wb", buffering=0) as stream:
            stream.write(data)

    monkeypatch.setattr(Path, "write_bytes", to_full_device)
    with pytest.raises(RestoreError, match="The disk is full"):
        checkpoints.save_checkpoint(Small(), card(), home)
    assert content(home) == before


@pytest.mark.parametrize("at", range(1, 9))
def test_a_writer_cut_off_before_any_renaming_leaves_a_whole_checkpoint(home, saved, monkeypatch, at):
    """Dies (here: an exception that nothing cleans up after) at its ``at``-th change of the folder."""
    old, new = saved.state_dict(), randomised(Small(), torch.Generator().manual_seed(3)).state_dict()
    calls = 0

    class Killed(BaseException):
        pass

    def deadly(function):
        def wrapped(*args, **options):
            nonlocal calls
            calls += 1
            if calls >= at:
                raise Killed  # and every later call too: a dead process cleans nothing up
            return function(*args, **options)

        return wrapped

    with monkeypatch.context() as patch:
        for where, name in ((os, "replace"), (os, "unlink"), (Path, "unlink"), (os, "fsync")):
            patch.setattr(where, name, deadly(getattr(where, name)))
        try:
            checkpoints.save_checkpoint(new, card(steps=99), home)
            finished = True
        except Killed:
            finished = False
    for _ in range(2):  # once as the dead left it, once after the next save has tidied up
        found = checkpoints.load_weights(NAME, folder=home)
        steps = checkpoints.card(NAME, folder=home).steps
        assert same(found, new if steps == 99 else old) and (steps == 99 or not finished)
        assert checkpoints.names(home) == [NAME]
        checkpoints.save_checkpoint(found, card(steps=steps), home)
        assert sorted(content(home)) == [f"{NAME}.json", f"{NAME}.safetensors"]


def test_a_killed_process_leaves_a_whole_checkpoint(home, rng):
    """SIGKILL at random moments of a process that does nothing but save."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import torch\nfrom cards_made_up import card\nfrom restore_lib.pretrained import checkpoints\n"
        "for n in range(int(sys.argv[2]), 10**9):\n"
        "    checkpoints.save_checkpoint({'n': torch.full((1000,), n)}, card('n', steps=n), sys.argv[1])\n"
        "    print(n, flush=True)\n"
    )
    steps = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", code, home, str(steps + 1)], stdout=subprocess.PIPE, text=True
        )
        with process:
            first = process.stdout.readline()
            time.sleep(0.3 * float(torch.rand(1, generator=rng)))
            process.send_signal(signal.SIGKILL)
            told = int(([first] + [line for line in process.stdout if line.endswith("\n")])[-1])
        steps = checkpoints.verify("n", folder=home).steps
        assert steps in (told, told + 1)
        assert checkpoints.load_weights("n", folder=home)["n"].tolist() == [steps] * 1000


def test_the_same_weights_are_the_same_bytes(home, rng):
    network = randomised(Small(), rng)
    first = checkpoints.save_checkpoint(network, card(), home)
    for _ in range(12):
        again = checkpoints.save_checkpoint(checkpoints.load_weights(NAME, folder=home), card(steps=13), home)
        assert again.sha256 == first.sha256
    # and numbers begin where readers that map the file want them
    assert int.from_bytes((home / f"{NAME}.safetensors").read_bytes()[:8], "little") % 8 == 0
    with safe_open(home / f"{NAME}.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt", "name": NAME, "licence": "CC BY 4.0"}


def test_a_card_learns_what_was_measured_since(home, saved, monkeypatch):
    weights = (home / f"{NAME}.safetensors").read_bytes()
    new = checkpoints.update_card(
        NAME, folder=home, metrics=(Score("set5", "rgb", "sigma 25", "psnr", 31.5),), note="x"
    )
    assert checkpoints.verify(NAME, folder=home) == new and [s.value for s in new.metrics] == [31.5]
    assert (home / f"{NAME}.safetensors").read_bytes() == weights
    before = content(home)
    with pytest.raises(ValueError, match="bytes, sha256 of a card belong to the weights"):
        checkpoints.update_card(NAME, folder=home, sha256="0" * 64, bytes=1)
    with pytest.raises(CheckpointError, match="the field licence is ''"):
        checkpoints.update_card(NAME, folder=home, licence="")
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(RestoreError, match="The disk is full"):
        checkpoints.update_card(NAME, folder=home, note="y")
    assert content(home) == before


@pytest.mark.parametrize("card", checkpoints.cards(), ids=lambda card: card.name)
def test_a_cards_licence_follows_its_pictures(card):
    assert card.licence == following(RECIPES[card.recipe].licence, card.dataset)
    if "camvid" in card.dataset:
        assert card.licence.startswith("CC BY-NC 4.0")
        with safe_open(str(checkpoints.checkpoints_folder() / f"{card.name}.safetensors"), "pt") as opened:
            assert opened.metadata()["licence"] == card.licence


@pytest.mark.parametrize(
    ("licence", "dataset", "expected"),
    [
        ("MIT", "scenes train", "MIT"),
        ("MIT", "camvid train", "CC BY-NC 4.0, as its pictures (camvid)"),
        ("MIT", "set5 + camvid train", "CC BY-NC 4.0, as its pictures (camvid)"),
        ("Apache-2.0", "bsds500 train", "Apache-2.0 (pictures: bsds500: non-commercial research and education)"),
    ],
)
def test_the_licence_of_weights_names_the_terms_of_their_pictures(licence, dataset, expected):
    assert following(licence, dataset) == expected
