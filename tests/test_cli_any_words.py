"""Every command with random words for all it takes: exit code 0, 2 or 130, and a sentence instead of a traceback."""

import random

import pytest
import requests
import torch
import typer

from restore_lib import cli, images

NONSENSE = (
    "",
    " ",
    "nonsense",
    "-1",
    "0",
    "nan",
    "1e99",
    "é",
    "a\0b",
    "*",
    "[",
    "{}",
    "=",
    "a/b",
    "steps=0",
    "x" * 300,
)
FILES = ("p.png", "text.png", "half.png", "gone.png", "folder", "empty", "folder/*.png", "w.safetensors", "c.json")
NAMES = ("denoiser-all-cpu", "diinn-cpu", "denoiser-25", "set5", "div2k", "realsr", "bicubic", "cpu", "auto", "tif")
GOOD = {"number": ("1", "2", "4"), "text": (*FILES, *NAMES, "25", "40x50")}
DRAWS = 5  # of each command


def commands(group, *words):
    """Every command with the words that lead to it, from Typer's own tree."""
    for name, command in sorted(getattr(group, "commands", {}).items()):
        yield from commands(command, *words, name)
    if not hasattr(group, "commands"):
        yield words, group


def value(parameter, chance):
    kind = str(getattr(parameter, "type", "") or parameter.type_descriptor.annotation).lower()  # by Typer's version
    number = "int" in kind or "float" in kind
    return chance.choice(GOOD["number" if number else "text"] if chance.random() < 0.7 else NONSENSE)


def words_for(command, chance):
    """Some of its options, each with a value where it takes one, and about as many arguments as it wants."""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            for _ in range(chance.choice((1, 1, 1, 0, 2) if parameter.nargs < 0 else (1, 1, 1, 1, 0))):
                yield value(parameter, chance)
        elif parameter.name != "help" and chance.random() < 0.25:
            yield chance.choice([*parameter.opts, *parameter.secondary_opts])
            if not parameter.is_flag:
                yield value(parameter, chance)


def stop(*words, **options):
    raise KeyboardInterrupt  # whatever would take long is stopped, as by Ctrl-C


def no_network(*words, **options):
    raise requests.ConnectionError("no network in this test")


@pytest.fixture
def desk(tmp_path, monkeypatch, rng):
    """A folder with good and bad files, and nothing that takes long, leaves it or reaches the network."""
    for name in ("runs", "cache", "shelf", "results"):
        monkeypatch.setenv(f"RESTORE_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("RESTORE_CHECKPOINTS", str(tmp_path / "shelf"))
    (tmp_path / "desk/folder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "desk")
    (tmp_path / "desk/empty").mkdir()
    images.write("p.png", torch.rand(3, 14, 13, generator=rng))
    for name, content in (("text.png", b"text"), ("w.safetensors", b"no weights"), ("c.json", b"{}")):
        (tmp_path / "desk" / name).write_bytes(content)
    (tmp_path / "desk/half.png").write_bytes((tmp_path / "desk/p.png").read_bytes()[:200])
    (tmp_path / "desk/folder/a.png").write_bytes((tmp_path / "desk/p.png").read_bytes())
    for long in ("training.fit", "training.loop.fit", "experiments.run", "realsr.kernelgan.train", "realsr.adapt.fit"):
        monkeypatch.setattr(f"restore_lib.{long}", stop, raising=False)
    for long in ("experiments.paper_a.evaluate_denoiser", "data.checking.verify", "pretrained.export.export_weights"):
        monkeypatch.setattr(f"restore_lib.{long}", stop)
    monkeypatch.setattr(requests.Session, "send", no_network)


def test_any_words_end_with_a_sentence(desk, rng, capsys):
    chance, wrong = random.Random(int(torch.randint(2**30, (), generator=rng))), []
    for leading, command in commands(typer.main.get_command(cli.app)):
        for _ in range(DRAWS):
            words, code = [*leading, *words_for(command, chance)], "none"
            try:
                cli.main(words)
            except BaseException as end:  # whatever it raises is what this test is about
                code = (end.code or 0) if isinstance(end, SystemExit) else repr(end)
            err = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Reading ")]  # a step
            told = all(line.startswith("restore: ") for line in err)
            many = leading[0] in ("denoise", "upscale")  # which tell of each photo
            if code not in (0, 2, 130) or not told or (code and (not err or (len(err) > 1 and not many))):
                wrong.append((words, code, err))
    assert not wrong, "\n".join(map(str, wrong))
