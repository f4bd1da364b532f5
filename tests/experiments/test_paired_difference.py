"""Paired differences against a plain computation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up import record

from restore_lib.experiments.records import by_picture, measurement, paired_difference


def record_of(recipe: str, seed: int, values: dict[str, float]):
    one = measurement("sigma 30", "top1_each", values.values())
    return record(recipe=recipe, seed=seed, dataset="scenes", images=tuple(values), measurements=(one,))


def test_seeds_are_averaged_and_pictures_matched_by_name(rng):
    names = [f"scene-{i}" for i in range(40)]
    a, b, c = (dict(zip(names, torch.rand(40, generator=rng).tolist(), strict=True)) for _ in range(3))
    c = dict(list(c.items())[::-1][:30])  # fewer pictures, in another order
    records = [
        record_of("joint+x", 0, a),
        record_of("joint+x", 1, b),
        record_of("cbm3d+x", 0, c),
        record_of("joint+y", 0, c),
    ]
    difference = paired_difference(records, "joint+x", "cbm3d+x", "scenes", "sigma 30", "top1_each")
    differences = np.array([(a[name] + b[name]) / 2 - c[name] for name in c])
    assert difference.pictures == 30 and difference.mean == pytest.approx(differences.mean(), abs=1e-5)
    error = 1.96 * differences.std() / 30**0.5
    assert difference.low == pytest.approx(difference.mean - error, abs=0.4 * error)
    assert difference.high == pytest.approx(difference.mean + error, abs=0.4 * error)
    assert difference.sure == (difference.low > 0 or difference.high < 0)
    assert str(difference).startswith(f"{difference.mean:+.1f} (")
    assert paired_difference(records, "joint+x", "nobody", "scenes", "sigma 30", "top1_each") is None
    assert by_picture(records, "joint+x", "scenes", "sigma 60", "top1_each") == {}


def test_protocols_are_not_mixed():
    one, two = record_of("joint+x", 0, {"a": 1.0}), replace(record_of("joint+x", 0, {"a": 2.0}), protocol="another")
    assert by_picture([two], "joint+x", "scenes", "sigma 30", "top1_each") == {"a": 2.0}
    with pytest.raises(ValueError, match="give the records of one"):
        by_picture([one, two], "joint+x", "scenes", "sigma 30", "top1_each")
