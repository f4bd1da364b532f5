"""What a run says about itself."""

from dataclasses import replace

import pytest
import torch

from restore_lib import data, images
from restore_lib.errors import DataError
from restore_lib.experiments import load, run, runs, save
from restore_lib.experiments.protocols import BICUBIC_TABLE, LIIF

QUICK = replace(LIIF, conditions={"x2": 2.0}, prepare=lambda item, scale, generator: (torch.zeros(1, 2, 2),) * 2)
QUICK = replace(QUICK, measure=lambda sr, hr, scale: {"psnr": 30.0})


def test_a_run_is_described_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_TIER", "smoke")
    seen = []
    trial = runs.trial("Zeros", lambda: lambda lr, size: lr, "embedded", QUICK, seed=7, steps=12)
    record = trial.record(tell=seen.append)
    pictures = data.open("embedded")
    assert list(record.images) == [item.name for item in pictures] == seen
    assert record.dataset_hash == pictures.digest()
    assert (record.recipe, record.tier, record.seed, record.steps) == ("Zeros", "smoke", 7, 12)
    assert record.versions["torch"] == torch.__version__ and record.rules == LIIF.rules
    path = save(record, tmp_path)
    assert path.name == "zeros__embedded__liif__smoke__seed7.json"
    assert load(path).find("x2", "psnr").per_image == (30.0,) * len(pictures)


def test_a_missing_set_is_said_before_any_work(tmp_path):
    with pytest.raises(DataError, match="restore data fetch set14"):
        run(BICUBIC_TABLE, tmp_path, sets=["embedded", "set14"])
    assert not list(tmp_path.iterdir())


def test_crops_of_results_are_kept_beside_the_records(tmp_path):
    protocol = replace(QUICK, prepare=lambda item, scale, generator: (item.image, item.image))
    inverted = runs.trial(
        "inverted", lambda: lambda lr, size: 1 - lr, "embedded", protocol, crops={"astronaut": (2, 3, 5)}
    )
    run(replace(BICUBIC_TABLE, trials=lambda sets, tier: [inverted], sets=("embedded",)), tmp_path, tier="smoke")
    kept = {path.name: images.read(path) for path in (tmp_path / "pictures").iterdir()}
    assert set(kept) == {"inverted__liif__astronaut.png", "truth__liif__astronaut.png"}
    crop = data.open("embedded")["astronaut"].image[:, 2:7, 3:8]
    torch.testing.assert_close(kept["truth__liif__astronaut.png"], crop, atol=1e-6, rtol=0)
    torch.testing.assert_close(kept["inverted__liif__astronaut.png"], 1 - crop, atol=1e-6, rtol=0)
