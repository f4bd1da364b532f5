"""The loop: stopped anywhere and continued, it ends with the same bits; what goes wrong is said and harms nothing."""

import dataclasses
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from toy import Toy, ToyGAN

from restore_lib.errors import RestoreError, TrainingError
from restore_lib.training import Run, fit, read_metrics, state
from restore_lib.training.health import Health
from restore_lib.training.precision import PLAIN, Speed
from restore_lib.training.task import mix

TOY = Path(__file__).with_name("toy.py")
ROOT = TOY.parent.parent.parent


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(folder, recipe=None, **options):
    fabric = Fabric(accelerator="cpu", devices=1, precision=options.get("speed", PLAIN).precision)
    return fit(recipe or Toy(), folder, fabric=fabric, quiet=True, **options)


def weights(folder) -> dict[str, torch.Tensor]:
    """All tensors of the last state, by name."""
    tensors = {}
    state._flatten(state.load_state(state.states(folder)[-1])[0], tensors)
    return tensors


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def start(folder, *words: str, **options) -> subprocess.Popen:
    command = [sys.executable, str(TOY), str(folder), *words]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT), "CI": "1"}, **options)


def finish(folder, *words: str) -> None:
    with start(folder, *words) as process:
        out, err = process.communicate(timeout=240)
    assert process.returncode == 0 and "done" in out, err


@pytest.mark.parametrize("recipe", [Toy(), ToyGAN()], ids=["toy", "gan"])
def test_a_run_in_pieces_ends_with_the_bits_of_a_run_in_one(tmp_path, recipe):
    train(tmp_path / "whole", recipe, seed=3)
    for _ in range(20):
        run = train(tmp_path / "pieces", recipe, seed=3, max_minutes=0)  # stops at the first look
        if run.step == recipe.steps:
            break
    assert run.step == recipe.steps
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "pieces"))
    whole, pieces = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "pieces"))
    for line in whole + pieces:
        line.pop("images_per_second", None)
    assert {json.dumps(line) for line in whole} <= {json.dumps(line) for line in pieces}
    assert [line["step"] for line in pieces] == sorted(line["step"] for line in pieces)


def validations(folder) -> dict[int, float]:
    return {line["step"]: line["error"] for line in read_metrics(folder / "metrics.jsonl") if "error" in line}


def test_the_best_weights_are_kept_and_patience_ends_a_run(tmp_path):
    for rate in (0.01, 0.1):
        folder = tmp_path / str(rate)
        recipe = Toy(steps=400, patience=3, learning_rate=rate)
        run = train(folder, recipe, seed=3)
        errors = validations(folder)
        best = min(errors, key=errors.get)
        assert run.ended and 0 in errors and run.best["step"] == best and run.best["value"] == errors[best]
        assert run.step == min(best + 3 * recipe.validate_every, recipe.steps) == max(errors)
        net = run.task.networks["net"]
        net.load_state_dict(run.best["weights"])
        with torch.no_grad():
            assert float(run.task.validate({"net": net.eval()})["error"]) == errors[best]


def test_patience_survives_stops(tmp_path):
    recipe = Toy(steps=400, patience=3)
    whole = train(tmp_path / "whole", recipe, seed=3)
    for _ in range(60):
        run = train(tmp_path / "pieces", recipe, seed=3, max_minutes=0)
        if run.ended:
            break
    assert run.step == whole.step < recipe.steps and run.best["step"] == whole.best["step"]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "pieces"))
    assert "/best/weights/body.0.weight" in weights(tmp_path / "pieces")
    again = train(tmp_path / "pieces", recipe, seed=3)
    assert again.ended and again.step == whole.step, "it is not trained further"


def test_another_seed_is_another_run_and_the_same_seed_the_same(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tmp_path / name, Toy(steps=10), seed=seed)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_it_learns(tmp_path):
    train(tmp_path, Toy(steps=200, dropout=0.0))
    losses = [line["loss"] for line in read_metrics(tmp_path / "metrics.jsonl") if "loss" in line]
    assert losses[-1] < 0.7 * 0.1**2, "a good part of the noise is gone"


def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path):
    """A few kills in every run of the tests; RESTORE_KILLS=50 for the long version."""
    kills = int(os.environ.get("RESTORE_KILLS", 4))
    steps, pace = 40 * kills + 40, 0.02
    words = ("toy", str(steps), "1", str(pace))
    finish(tmp_path / "whole", *words)
    done, seed = 0, random.SystemRandom().randrange(10**6)
    print("delays from seed", seed)
    dice = random.Random(seed)
    folder = tmp_path / "killed"
    while done < kills:
        with start(folder, *words) as process:
            begun = time.monotonic()
            known = state.states(folder)
            while process.poll() is None and state.states(folder)[-1:] == known[-1:]:  # it has come to life
                time.sleep(0.002)
                assert time.monotonic() - begun < 120
            time.sleep(dice.uniform(0, 1.5 * steps * pace / kills))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                done += 1
                process.communicate()
                continue
            assert process.communicate()[0].startswith("done"), "it ended by itself"
        break
    finish(folder, *words)
    print("killed", done, "times")
    assert done >= kills // 2
    assert same(weights(tmp_path / "whole"), weights(folder))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, None)])
def test_a_signal_saves_first(tmp_path, number, code):
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    script += f"import sys; sys.argv = ['toy', {str(tmp_path)!r}, 'toy', '100000', '1', '0.005']; "
    script += f"import runpy; runpy.run_path({str(TOY)!r}, run_name='__main__')"
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
    )
    with process:
        while not state.states(tmp_path):
            time.sleep(0.01)
            assert process.poll() is None
        process.send_signal(number)
        error = process.communicate(timeout=60)[1]
    assert process.returncode == code if code else "KeyboardInterrupt" in error
    last = state.load_state(state.states(tmp_path)[-1])[1]
    assert last >= max((line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")), default=0) - 2
    assert not list(tmp_path.glob(".state*")), "nothing half written is left"


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf"), 1e9])
def test_a_loss_gone_wrong_names_the_step_and_keeps_the_state_before(tmp_path, spoilt):
    recipe = Toy(poison=33, spoilt=spoilt)
    with pytest.raises(TrainingError, match=r"in step 33; the state before it is kept .*state-000000030"):
        train(tmp_path, recipe, save_minutes=0)
    kept = weights(tmp_path)
    assert all(torch.isfinite(tensor.float()).all() for tensor in kept.values())
    train(tmp_path / "sound", dataclasses.replace(recipe, steps=30), save_minutes=0)
    assert same(kept, weights(tmp_path / "sound"))


def test_a_folder_of_another_run_is_refused_and_left_alone(tmp_path):
    train(tmp_path, Toy(steps=10))
    before = weights(tmp_path)
    for recipe, seed, words in (
        (Toy(steps=10), 1, "seed 0, which is another run"),
        (Toy(steps=10, learning_rate=0.5), 0, "whose values have changed since"),
        (ToyGAN(), 0, "recipe toy with seed 0, which is another run"),
    ):
        with pytest.raises(TrainingError, match=words):
            train(tmp_path, recipe, seed=seed)
    assert same(before, weights(tmp_path))
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(TrainingError, match=r"run.json is damaged"):
        train(tmp_path, Toy(steps=10))


def test_a_finished_run_is_not_trained_further(tmp_path):
    train(tmp_path, Toy(steps=10))
    before = state.states(tmp_path)[-1].stat().st_mtime_ns
    assert train(tmp_path, Toy(steps=10)).step == 10
    assert state.states(tmp_path)[-1].stat().st_mtime_ns == before


def test_a_full_disk_stops_the_run_and_keeps_the_last_state(tmp_path, monkeypatch):
    train(tmp_path, Toy(steps=60), max_minutes=0)
    kept = weights(tmp_path)
    write = Path.write_bytes

    def full(self, content):
        if self.suffix == ".safetensors":
            write(self, content[:1000])
            raise OSError(28, "No space left on device")
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RestoreError, match=r"[Dd]isk|space"):
        train(tmp_path, Toy(steps=60), save_minutes=0)
    monkeypatch.undo()
    assert same(kept, weights(tmp_path))
    assert train(tmp_path, Toy(steps=60)).step == 60


def test_the_average_is_the_closed_form(tmp_path, monkeypatch):
    seen = []
    average = Run.update_averages

    def watched(self):
        seen.append({name: t.clone() for name, t in self.task.networks["net"].state_dict().items()})
        average(self)

    monkeypatch.setattr(Run, "update_averages", watched)
    run = train(tmp_path, Toy(steps=12))
    assert not any(p.requires_grad for p in run.averaged["net"].parameters()), "its history would fill the memory"
    torch.manual_seed(mix(0, 0))
    first = Toy().task(0).networks["net"].state_dict()
    for name, mean in run.averaged["net"].state_dict().items():
        if mean.is_floating_point():
            decays = [min(0.9, (1 + step) / (10 + step)) for step in range(1, 13)]
            expected = first[name].double() * math.prod(decays)
            for step, now in enumerate(seen):
                expected += (1 - decays[step]) * math.prod(decays[step + 1 :]) * now[name].double()
            torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(mean, seen[-1][name])


def test_frozen_networks_do_not_change_and_both_players_do(tmp_path):
    run = train(tmp_path, ToyGAN(steps=10))
    torch.manual_seed(mix(0, 0))
    fresh = ToyGAN().task(0)
    for name, network in run.task.networks.items():
        moved = [not torch.equal(a, b) for a, b in zip(network.parameters(), fresh.networks[name].parameters())]  # noqa: B905
        assert all(moved), name
    eyes = run.task.frozen["eyes"].state_dict(), fresh.frozen["eyes"].state_dict()
    assert same(*eyes)
    assert not any(p.requires_grad for p in run.task.frozen["eyes"].parameters())


def test_two_processes_train_as_one_with_the_whole_batch(tmp_path):
    finish(tmp_path / "one", "even", "40", "1")
    finish(tmp_path / "two", "even", "40", "2")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=2e-3, atol=2e-5)


def test_two_processes_killed_together_go_on_with_the_same_bits(tmp_path):
    words = ("even", "80", "2", "0.02")
    finish(tmp_path / "whole", *words)
    folder = tmp_path / "killed"
    with start(folder, *words, start_new_session=True) as process:
        begun = time.monotonic()
        while len(state.states(folder)) < 2 and process.poll() is None:
            time.sleep(0.005)
            assert time.monotonic() - begun < 120
        assert process.poll() is None, "it ended before it could be killed"
        os.killpg(process.pid, signal.SIGKILL)  # both processes at once, as a power cut would
        process.communicate()
    reached = state.load_state(state.states(folder)[-1])[1]
    assert 0 < reached < 80
    finish(folder, *words)
    assert same(weights(tmp_path / "whole"), weights(folder))


def test_options_of_speed_do_not_change_what_is_learnt(tmp_path):
    losses = {}
    for name, speed in {"plain": PLAIN, "fast": Speed("bf16-mixed", channels_last=True, fused=True)}.items():
        train(tmp_path / name, Toy(steps=100, dropout=0.0), speed=speed)
        losses[name] = [line["error"] for line in read_metrics(tmp_path / name / "metrics.jsonl") if "error" in line]
    assert losses["fast"][-1] == pytest.approx(losses["plain"][-1], rel=0.25)
    run = train(tmp_path / "fast", Toy(steps=100, dropout=0.0), speed=Speed("bf16-mixed", True, False, True))
    kernel = run.task.networks["net"].body[0].weight
    memory = run.task.optimizers["net"].state[kernel]["exp_avg"]
    assert memory.stride() == kernel.stride(), "fused kernels need the same layout"


def test_fast_runs_resume_exactly_too(tmp_path):
    speed = Speed("bf16-mixed", channels_last=True, fused=True)
    train(tmp_path / "whole", Toy(), speed=speed)
    while train(tmp_path / "pieces", Toy(), speed=speed, max_minutes=0).step < 60:
        pass
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "pieces"))


def test_health_looks_without_being_asked():
    health = Health(torch.device("cpu"))
    for step in range(1, 50):
        health.note(step, torch.tensor(0.0 if step == 7 else 1.0 + 0.1 * math.sin(step)))
    health.check(Path("."))
    health.note(50, torch.tensor(2e4))
    health.note(51, torch.tensor(float("nan")))
    with pytest.raises(TrainingError, match="step 50"):
        health.check(Path("no such folder"))
