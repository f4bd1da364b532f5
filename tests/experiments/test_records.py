"""Run records: what is written is what is read, and nothing that is not a record passes for one."""

import json
import statistics
from dataclasses import replace

import pytest
import torch
from made_up import record

from restore_lib.errors import RecordError, RestoreError
from restore_lib.experiments import Measurement, load, load_all, over_seeds, save
from restore_lib.experiments.records import measurement


def test_what_is_saved_is_what_is_loaded(tmp_path, rng):
    values = {"x2": {"psnr": (40 * torch.rand(7, generator=rng)).tolist()}}
    written = record(
        values, images=tuple("abcdefg"), seed=3, steps=1000, tier="gpu", settings={"learning_rate": 1e-4, "sets": ["a"]}
    )
    path = save(written, tmp_path)
    read = load(path)
    assert replace(read, measurements=()) == replace(written, measurements=())
    assert read.measurements == tuple(written.measurements)
    assert load_all(tmp_path) == [read]


def test_names_tell_runs_apart_and_let_a_repetition_overwrite():
    assert record().file == "bicubic__set5__classic.json"
    assert record(tier="gpu").file == record().file  # nothing was trained: the tier changes nothing
    trained = record(recipe="DIINN (f)", steps=5, seed=2)
    assert trained.file == "diinn-f-__set5__classic__cpu__seed2.json"
    names = {trained.file, *(replace(trained, **c).file for c in ({"seed": 1}, {"tier": "gpu"}, {"protocol": "liif"}))}
    assert len(names) == 4


def test_a_measurement_is_the_mean_of_its_images(rng):
    values = torch.rand(50, generator=rng, dtype=torch.float64)
    actual = measurement("x2", "ssim", values.tolist())
    assert actual.value == pytest.approx(values.mean().item(), abs=1e-6)
    assert actual.spread == pytest.approx(values.std().item(), abs=1e-6)
    assert measurement("x2", "ssim", [0.5]).spread is None


def test_the_file_is_short_enough_to_read(tmp_path):
    many = record({"x2": {"psnr": [30.123456] * 100}}, images=[f"image {n}" for n in range(100)])
    text = save(many, tmp_path).read_text()
    assert text.count("\n") < 60
    assert json.loads(text)["images"] == list(many.images)


def test_no_folder_holds_no_records(tmp_path):
    assert load_all(tmp_path / "nowhere") == []


def damaged(text: str, how: str) -> str:
    content = json.loads(text)
    first = content["measurements"][0]
    match how:
        case "truncated":
            return text[: len(text) // 2]
        case "empty":
            return ""
        case "a list":
            return "[1, 2]"
        case "NaN":
            return text.replace("33.125", "NaN")
        case "infinity":
            return text.replace("33.125", "1e999")
        case "missing":
            del content["dataset_hash"]
        case "unknown":
            content["colour"] = "blue"
        case "edited":
            first["value"] += 0.01
        case "lost image":
            first["per_image"] = first["per_image"][:1]
        case "text for a number":
            first["value"] = "33.8"
        case "true for a number":
            content["steps"] = True
        case "not a hash":
            content["dataset_hash"] = "0123"
        case "twice":
            content["measurements"].append(first)
        case "same names":
            content["images"] = ["baby", "baby"]
        case "half a measurement":
            del first["metric"]
        case "no versions":
            content["versions"] = {}
        case "negative":
            content["steps"] = -1
        case "other set":
            content["dataset"] = "set14"
    return json.dumps(content)


@pytest.mark.parametrize(
    "how",
    [
        *("truncated", "empty", "a list", "NaN", "infinity", "missing", "unknown", "edited", "lost image"),
        *("text for a number", "true for a number", "not a hash", "twice", "same names", "half a measurement"),
        *("no versions", "negative", "other set"),
    ],
)
def test_a_damaged_record_is_refused_in_one_sentence(tmp_path, how):
    path = save(record(), tmp_path)
    load(path)
    path.write_text(damaged(path.read_text(), how))
    with pytest.raises(RecordError) as caught:
        load(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(RecordError):
        load_all(tmp_path)


def test_binary_rubbish_is_refused(tmp_path):
    path = tmp_path / "bicubic__set5__classic.json"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(RecordError, match="damaged"):
        load(path)
    with pytest.raises(RecordError, match="cannot be read"):
        load(tmp_path / "gone.json")


def test_a_record_that_could_not_be_read_back_is_not_written(tmp_path):
    nan = [Measurement("x2", "psnr", float("nan"), ())]
    with pytest.raises(RecordError, match="finite"):
        save(record(measurements=nan), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_said(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(RestoreError, match="results"):
        save(record(), tmp_path / "results")


def test_spread_over_seeds_is_computed_from_the_records(rng):
    values = (30 + torch.rand(4, generator=rng, dtype=torch.float64)).tolist()
    runs = [record({"x2": {"psnr": [v]}}, images=["a"], seed=n, steps=9) for n, v in enumerate(values)]
    actual = over_seeds(runs, "x2", "psnr")
    assert actual.value == pytest.approx(statistics.mean(values), abs=1e-6)
    assert actual.spread == pytest.approx(statistics.stdev(values), abs=1e-5)
    assert actual.runs == 4
    assert over_seeds(runs[:1], "x2", "psnr").spread is None
    assert over_seeds(runs, "x4", "psnr") is None
    with pytest.raises(ValueError, match="seed only"):
        over_seeds([runs[0], replace(runs[1], dataset_hash="a" * 64)], "x2", "psnr")
