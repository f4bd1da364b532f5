"""Cards: read strictly, written short, and the networks they name."""

import json
from dataclasses import fields

import pytest
import torch
from cards_made_up import CONV, Small, card, conv, rewrite_card, sentence

from restore_lib.denoising.dncnn import DnCNN
from restore_lib.errors import CheckpointError
from restore_lib.pretrained import build, checkpoints, describe, longest
from restore_lib.pretrained.model_card import Card, card_text
from restore_lib.pretrained.networks import MODULES, network_class

NAME = "small"


def test_the_card_is_short_enough_to_read(home, saved):
    text = (home / f"{NAME}.json").read_text()
    assert text.count("\n") < 40 and text.count('"condition"') == 2
    assert all(line.count("{") == line.count("}") for line in text.splitlines() if '"condition"' in line)


def test_a_saved_card_is_its_own_text(home):
    written = checkpoints.save_checkpoint(conv(), card(), home)
    assert card_text(written) == (home / f"{NAME}.json").read_text() == card_text(checkpoints.card(NAME, folder=home))


CARDS = {
    "missing": (lambda p: p.unlink(), "weights without a card are not used"),
    "truncated": (lambda p: p.write_text(p.read_text()[:100]), "is damaged"),
    "no text": (lambda p: p.write_bytes(b"\xff\xfe\x00\x80"), "is damaged"),
    "nan": (lambda p: p.write_text(p.read_text().replace("30.5", "NaN")), "is damaged"),
    "brackets": (lambda p: p.write_text("[" * 200_000), "is damaged|not one JSON object"),
    "list": (lambda p: p.write_text("[]"), "it is not one JSON object"),
}


@pytest.mark.parametrize("how", CARDS)
def test_damaged_cards_are_refused(home, saved, how):
    damage, words = CARDS[how]
    path = home / f"{NAME}.json"
    damage(path)
    for attempt in (checkpoints.load_weights, checkpoints.verify, checkpoints.card):
        with pytest.raises(CheckpointError, match=words) as error:
            attempt(NAME, folder=home)
        assert str(path) in sentence(error)


SCORE = {"dataset": "a", "protocol": "b", "condition": "c", "metric": "psnr", "value": 1.0, "record": ""}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": "12"}, "the field steps is '12'"),
        ({"steps": -1}, "the field steps is -1"),
        ({"steps": True}, "the field steps is True"),
        ({"seed": 1.5}, "the field seed is 1.5"),
        ({"name": "../small"}, "the field name is '../small' .string should match pattern"),
        ({"tier": "huge"}, "the field tier is 'huge' .*smoke.cpu.gpu.paper"),
        ({"sha256": "abc"}, "the field sha256 is 'abc' .string should match"),
        ({"dataset_hash": "F" * 64}, "the field dataset_hash is 'FFF"),
        ({"licence": ""}, "the field licence is '' .string should have at least 1 character"),
        ({"date": "yesterday"}, "the field date is 'yesterday'"),
        ({"versions": {"torch": 2}}, "the field versions.torch is 2 .input should be a valid string"),
        ({"architecture": {"builder": "x"}}, "needs a builder and its arguments"),
        ({"extra": 1}, "the field extra is unknown"),
        ({"metrics": [SCORE | {"value": "30"}]}, "the field metrics.0.value is '30'"),
        ({"metrics": [SCORE, SCORE | {"record": "../a.json"}]}, "the field metrics.1.record is '../a.json'"),
        ({"metrics": [{"value": 1.0}]}, "the field metrics.0.dataset is missing"),
        ({"metrics": ["psnr"]}, "the field metrics.0 is 'psnr'"),
        ({"metrics": {}}, "the field metrics is {}"),
    ],
)
def test_cards_with_wrong_fields_are_refused(home, saved, changes, words):
    rewrite_card(home, **changes)
    with pytest.raises(CheckpointError, match="is not a good card: .*" + words.replace("{}", r"\{\}")) as error:
        checkpoints.load_weights(NAME, folder=home)
    sentence(error)


@pytest.mark.parametrize("name", [field.name for field in fields(Card)])
def test_no_field_of_a_card_may_be_missing(home, saved, name):
    path = home / f"{NAME}.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != name}))
    with pytest.raises(CheckpointError, match=f"the field {name} is missing"):
        checkpoints.card(NAME, folder=home)


def test_a_network_comes_back_from_its_description():
    network = build(describe(DnCNN, **CONV))
    assert isinstance(network, DnCNN) and len(network.convs) == 2
    with pytest.raises(ValueError, match="no network that cards can name"):
        describe(Small)
    with pytest.raises(ValueError, match="must be JSON values"):
        describe(DnCNN, depth=torch.ones(1))


@pytest.mark.parametrize("name", MODULES)
def test_every_network_is_where_the_table_says(name):
    assert network_class(name) is network_class(f"some.old.place.{name}")
    assert (network_class(name).__module__, network_class(name).__name__) == (MODULES[name], name)


@pytest.mark.parametrize(
    "builder",
    [
        "os.system",
        "restore_lib.files.sha256",
        "restore_lib.nets.os.system",
        "torch.hub.load",
        "torch.nn.modules.conv.os",
        "torch.nn.modules.no.No",
        "torch.nn.modules.module.register_module_forward_hook",
        "Conv2d",
        "",
    ],
)
def test_a_strangers_card_builds_networks_and_nothing_else(builder):
    with pytest.raises(CheckpointError, match="is no network of this library"):
        build({"builder": builder, "arguments": {"command": "true"}})


def test_arguments_that_a_network_does_not_take_are_one_sentence():
    with pytest.raises(CheckpointError, match="does not take the arguments on the card") as error:
        build(describe(DnCNN, **CONV) | {"arguments": {"sizes": 1}})
    sentence(error)


def test_of_each_recipe_the_longest_training_is_taken_with_every_seed():
    known = [
        card(name, recipe=recipe, tier=tier, steps=steps, seed=seed)
        for name, recipe, tier, steps, seed in (
            ("x-again", "x", "cpu", 30, 1),
            ("x-cpu", "x", "cpu", 30, 0),
            ("x-seed1", "x", "cpu", 30, 1),
            ("x-short", "x", "cpu", 20, 2),
            ("x-smoke", "x", "smoke", 3, 0),
            ("y", "y", "smoke", 3, 5),
            ("z", "z", "cpu", 90, 0),
        )
    ]
    assert [one.name for one in longest(iter(known), ["y", "none", "x"])] == ["y", "x-cpu", "x-again"]
