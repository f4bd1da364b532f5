"""A state file gives back what was put in, bit for bit, or says why not."""

import json

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_lib.errors import TrainingError
from restore_lib.training import state
from restore_lib.training.logging import read_metrics

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.integers(0, 4).map(lambda n: torch.arange(n, dtype=torch.float32) / 3)
    | st.just(torch.tensor(7, dtype=torch.int64))
    | st.just(torch.ones(2, 3, 2, 2).to(torch.bfloat16).to(memory_format=torch.channels_last))
)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=12,
)


def equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


@settings(max_examples=60, deadline=None)
@given(tree=st.dictionaries(st.text(max_size=5), trees, max_size=4), step=st.integers(0, 10**8))
def test_what_goes_in_comes_out(tree, step, tmp_path_factory):
    path = state.save_state(tree, step, tmp_path_factory.mktemp("state"))
    found, at = state.load_state(path)
    assert at == step and equal(found, tree)


def test_the_last_two_are_kept_in_order_of_their_steps(tmp_path):
    for step in (9, 10, 100):
        state.save_state({"step": step}, step, tmp_path)
    (tmp_path / "state-abc.safetensors").write_bytes(b"somebody else's")
    assert [state.load_state(path)[1] for path in state.states(tmp_path)] == [10, 100]


@pytest.mark.parametrize("cut", [0, 5, 60, -1])
def test_a_truncated_state_is_refused(tmp_path, cut):
    path = state.save_state({"w": torch.rand(100)}, 3, tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(TrainingError, match="damaged or no training state: delete it"):
        state.load_state(path)


def test_a_single_flipped_bit_is_noticed(tmp_path, rng):
    path = state.save_state({"w": torch.rand(100, generator=rng), "v": torch.rand(3, generator=rng)}, 3, tmp_path)
    content = bytearray(path.read_bytes())
    for _ in range(20):
        place = len(content) - 1 - int(torch.randint(0, 412, (), generator=rng))
        flipped = content.copy()
        flipped[place] ^= 1 << int(torch.randint(0, 8, (), generator=rng))
        path.write_bytes(flipped)
        with pytest.raises(TrainingError, match="altered"):
            state.load_state(path)


def test_other_peoples_files_are_refused(tmp_path):
    path = tmp_path / "state-000000001.safetensors"
    safetensors.torch.save_file({"w": torch.rand(3)}, path)
    with pytest.raises(TrainingError, match="no training state of this library"):
        state.load_state(path)
    torch.save({"w": torch.rand(3)}, path)
    with pytest.raises(TrainingError, match="damaged or no training state"):
        state.load_state(path)
    path.write_text(json.dumps({"w": 1}))
    with pytest.raises(TrainingError, match="damaged or no training state"):
        state.load_state(path)
    with pytest.raises(TrainingError, match="cannot be read"):
        state.load_state(tmp_path / "missing")


def test_what_json_cannot_hold_is_a_programming_error(tmp_path):
    with pytest.raises(TypeError, match="/optimizer is a set"):
        state.save_state({"optimizer": {1, 2}}, 1, tmp_path)
    assert list(tmp_path.iterdir()) == []


def mutants(content: bytes, rng, count: int):
    """Copies with a bit flipped, a part cut out or doubled, or a value in the place of another."""
    for _ in range(count):
        at, other = (int(torch.randint(len(content), (), generator=rng)) for _ in range(2))
        kind = int(torch.randint(5, (), generator=rng))
        first, last = sorted((at, other))
        yield [
            content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :],
            content[:first] + content[last:],
            content[:last] + content[first:],
            content[:at],
            content[:first] + [b"[]", b"null", b"1e999", b'"x"', b"[" * 5000][other % 5] + content[last:],
        ][kind]


def test_a_damaged_file_of_a_run_is_one_sentence(tmp_path, rng):
    path = tmp_path / "run.json"
    whole = {"recipe": "a", "seed": 0, "fingerprint": "f", "values": {"steps": "5"}}
    for content in mutants(json.dumps(whole).encode(), rng, 400):
        path.write_bytes(content)
        try:
            assert set(state.read_run(tmp_path)) == set(whole)
        except TrainingError as error:
            assert str(error).count("\n") == 0
    lines = b"".join(json.dumps({"step": i, "loss": i / 3}).encode() + b"\n" for i in range(4))
    for content in mutants(lines, rng, 400):
        path.write_bytes(content)
        assert all(isinstance(line, dict) for line in read_metrics(path))


def test_no_bit_of_a_state_changes_unseen(tmp_path, rng):
    tree = {"networks": {"a": {"weight": torch.rand(3, generator=rng)}}, "optimizers": {"a": {"lr": 0.001}}}
    path = state.save_state(tree, 5, tmp_path)
    whole = path.read_bytes()
    for content in mutants(whole, rng, 400):
        path.write_bytes(content)
        try:
            found, step = state.load_state(path)
        except TrainingError as error:
            assert str(error).count("\n") == 0
        else:  # nothing that matters was touched
            assert step == 5 and found["optimizers"] == tree["optimizers"]
            assert torch.equal(found["networks"]["a"]["weight"], tree["networks"]["a"]["weight"])
