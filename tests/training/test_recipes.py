"""Recipes are instances: they pickle, vary, take a tier's values, and say where each value comes from."""

import pickle

import pytest

from restore_lib.errors import TrainingError
from restore_lib.recipes import RECIPES, find
from restore_lib.tiers import TIERS
from restore_lib.training.recipes import at_tier, fingerprint, provenance, values, variant
from tests.training.toy import Toy


def test_every_recipe_pickles_and_has_its_own_name_and_values_at_each_tier():
    seen = set()
    for name, recipe in RECIPES.items():
        assert recipe.name == name and recipe.title and find(name) is recipe
        for tier in TIERS:
            one = at_tier(recipe, tier)
            again = pickle.loads(pickle.dumps(one))
            assert again == one and fingerprint(again) == fingerprint(one)
            assert all(row["source"] and row["meaning"] for row in provenance(one))
            seen.add((name, fingerprint(one)))
    assert len({print_ for _, print_ in seen}) == len(seen)  # no two recipes continue each other's runs


def test_a_variant_overrides_values_and_their_sources_and_nothing_else():
    base = Toy(spoilt=0.0)
    changed = variant(base, "toy-slow", "Slow", learning_rate=(0.5, "paper Sec. 2"))
    assert (changed.name, changed.title, changed.learning_rate) == ("toy-slow", "Slow", 0.5)
    assert {key for key, value in values(changed).items() if values(base)[key] != value} == {"learning_rate"}
    source = {row["field"]: row["source"] for row in provenance(changed)}
    assert source["learning_rate"] == "paper Sec. 2"
    twice = variant(changed, "toy-slower", "Slower", {"smoke": {"steps": 3}}, batch_size=(2, "ours: small"))
    source = {row["field"]: row["source"] for row in provenance(twice)}
    assert (source["learning_rate"], source["batch_size"]) == ("paper Sec. 2", "ours: small")
    assert at_tier(twice, "gpu").steps == 3 and at_tier(changed, "gpu").steps == 50
    with pytest.raises(TypeError):
        variant(base, "other", "Other", depth=(3, "ours"))


def test_the_fingerprint_is_of_name_and_values_alone():
    assert fingerprint(Toy(title="x", cost={"cpu": "1 s"})) == fingerprint(Toy())
    assert fingerprint(Toy(steps=61)) != fingerprint(Toy()) != fingerprint(Toy(name="other"))


def test_changes_that_do_not_fit_are_refused():
    for changes, words in (
        ({"depth": 3}, "Recipe toy has no field depth"),
        ({"title": "x"}, "Recipe toy has no field title"),
        ({"steps": 1.5}, "Field steps of recipe toy is of type int, got 1.5"),
        ({"norm": 1}, "Field norm of recipe toy is of type bool, got 1"),
    ):
        with pytest.raises(TrainingError, match=words):
            at_tier(Toy(), "cpu", **changes)
    with pytest.raises(TrainingError, match="no tier huge"):
        at_tier(Toy(), "huge")
    with pytest.raises(TrainingError, match="no recipe called nothing"):
        find("nothing")
