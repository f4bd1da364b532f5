"""MAT-files: the same arrays as SciPy reads, and nothing but ValueError for damaged ones."""

import io

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from restore_lib.data import matlab
from restore_lib.data.opening import read_kernel
from restore_lib.errors import DataError

KINDS = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")


@pytest.fixture
def dice(rng):
    return np.random.default_rng(rng.initial_seed())


def saved(arrays, packed):
    stream = io.BytesIO()
    savemat(stream, arrays, do_compression=packed)
    return stream.getvalue()


def cell(parts, shape):
    made = np.empty(shape, object)
    for place, part in zip(np.ndindex(shape), parts, strict=True):
        made[place] = part
    return made


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_every_kind_are_as_scipy_reads_them(kind, packed, dice):
    shape = tuple(dice.integers(1, 9, size=dice.integers(2, 4)))
    content = saved({"one": (100 * dice.random(shape)).astype(kind), "two": dice.random((1, 3))}, packed)
    theirs = [value for key, value in loadmat(io.BytesIO(content)).items() if not key.startswith("__")]
    for ours, other in zip(matlab.load(content), theirs, strict=True):
        np.testing.assert_array_equal(ours, other)
        assert ours.shape == other.shape


@pytest.mark.parametrize("packed", [False, True])
def test_cells_hold_their_arrays_in_matlab_s_order(packed, dice):
    parts = [dice.random((3 + i, 5)) for i in range(6)]
    content = saved({"kernels": cell(parts, (2, 3))}, packed)
    (ours,), theirs = matlab.load(content), loadmat(io.BytesIO(content))["kernels"]
    assert ours.shape == theirs.shape == (2, 3)
    for place in np.ndindex(2, 3):
        np.testing.assert_array_equal(ours[place], theirs[place])


def test_what_is_no_array_of_real_numbers_is_refused(dice):
    for other in ({"a": "text"}, {"a": dice.random((2, 2)) + 1j}, {"a": {"b": 1.0}}):
        with pytest.raises(ValueError, match="real numbers"):
            matlab.load(saved(other, False))
    with pytest.raises(ValueError, match="version 5"):
        matlab.load(b"MATLAB 7.3 MAT-file".ljust(200))


def test_a_file_that_unpacks_to_more_than_the_limit_is_refused(monkeypatch):
    content = saved({"a": np.zeros((400, 400))}, True)
    assert len(content) < 5000
    monkeypatch.setattr(matlab, "MOST", 100_000)
    with pytest.raises(ValueError, match="100000 bytes"):
        matlab.load(content)


def test_damaged_files_end_in_a_sentence(tmp_path, dice):
    whole = [
        saved({"Kernel": dice.random((11, 11))}, False),
        saved({"kernels": cell([dice.random((9, 9)) for _ in range(3)], (1, 3))}, False),
        saved({"Kernel": dice.random((11, 11))}, True),
    ]
    path, refused = tmp_path / "kernel.mat", 0
    for i in range(1500):
        content = bytearray(whole[i % 3])
        at = int(dice.integers(len(content) if i % 2 else 260))
        way = dice.integers(3)
        if way == 0:
            content[at] ^= 1 << int(dice.integers(8))
        elif way == 1:
            del content[at : at + int(dice.integers(1, 200))]
        else:
            content[at : at + 4] = dice.bytes(4)
        path.write_bytes(bytes(content))
        try:
            read_kernel(path, 1 if i % 3 == 1 else 0)
        except DataError as error:
            refused += 1
            assert "delete it and fetch" in str(error)
    assert 200 < refused < 1500
