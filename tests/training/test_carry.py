"""A state in pieces is the state; a missing piece is named."""

import pytest
import torch
from toy import Toy

from restore_lib.errors import TrainingError
from restore_lib.training import carry, fit, state


def test_a_split_run_goes_on_as_if_it_had_stayed_whole(tmp_path):
    fit(Toy(steps=40), tmp_path / "whole", quiet=True)
    fit(Toy(steps=40), tmp_path / "carried", quiet=True, max_minutes=0)
    before = state.states(tmp_path / "carried")[-1].read_bytes()
    pieces = carry.split(tmp_path / "carried", limit=3000)
    assert len(pieces) == -(-len(before) // 3000) > 1 and max(p.stat().st_size for p in pieces) <= 3000
    assert state.states(tmp_path / "carried") == []
    assert carry.split(tmp_path / "carried", limit=3000) == pieces, "splitting twice changes nothing"
    run = fit(Toy(steps=40), tmp_path / "carried", quiet=True)
    assert run.step == 40 and not list((tmp_path / "carried").glob("*.part*"))
    a, b = (state.load_state(state.states(tmp_path / name)[-1])[0] for name in ("whole", "carried"))
    for key, value in a["networks"]["net"].items():
        assert torch.equal(value, b["networks"]["net"][key])


def test_joining_gives_the_same_bytes_and_needs_every_piece(tmp_path, rng):
    tree = {"weights": torch.rand(5000, generator=rng)}
    path = state.save_state(tree, 7, tmp_path)
    content = path.read_bytes()
    pieces = carry.split(tmp_path, limit=6000)
    lost = pieces[1].read_bytes()
    pieces[1].unlink()
    with pytest.raises(TrainingError, match=f"lacks piece 2 of {len(pieces)}"):
        carry.join(tmp_path)
    pieces[1].write_bytes(lost)
    carry.join(tmp_path)
    assert path.read_bytes() == content and sorted(tmp_path.iterdir()) == [path]


def test_small_states_stay_whole_and_older_ones_go(tmp_path, rng):
    for step in (1, 2):
        state.save_state({"w": torch.rand(4, generator=rng)}, step, tmp_path)
    (kept,) = carry.split(tmp_path)
    assert state.states(tmp_path) == [kept] and kept.name == "state-000000002.safetensors"
    carry.join(tmp_path)
    assert carry.split(tmp_path / "nothing") == []
