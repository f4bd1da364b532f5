"""``restore checkpoints`` as a user meets it."""

import pytest
import torch
from cards_made_up import answers, card, conv, randomised, run
from torch import nn

from restore_lib import cli, files
from restore_lib.pretrained import checkpoints

NAME = "small"


@pytest.fixture
def saved(home, rng) -> nn.Module:
    """A network whose checkpoint lies in ``home``."""
    network = randomised(conv(), rng)
    checkpoints.save_checkpoint(network, card(), home)
    return network


@pytest.fixture
def call(capsys):
    """The same as ``run`` in this process, through main()."""

    def called(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(["checkpoints", *map(str, arguments)])
        return end.value.code or 0, *capsys.readouterr()

    return called


def test_errors_reach_the_shell(home, saved):
    code, out, err = run("verify", NAME, "--folder", home)
    assert (code, err) == (0, "") and out.startswith("small: whole and unchanged, ")
    path = home / f"{NAME}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    code, out, err = run("verify", "--folder", home)
    assert code == 2 and out == "small: not good\n" and err.count("\n") == 1
    assert err.startswith("restore: ") and "small.safetensors is cut short" in err


def test_list_and_show(home, saved, call):
    assert call("list", "--folder", home / "nowhere")[:2] == (0, f"There are no checkpoints in {home / 'nowhere'}.\n")
    checkpoints.save_checkpoint(saved, card("second", seed=None), home)
    code, out, _ = call("list", "--folder", home)
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == ["name", "second", NAME]
    assert "set12 sigma 25 psnr 30.5" in out and "CC BY 4.0" in out
    code, out, _ = call("show", NAME, "--folder", home)
    assert code == 0 and "restore_lib.denoising.dncnn.DnCNN(depth=2, " in out and "seed 0" in out
    assert files.sha256(home / f"{NAME}.safetensors") in out and "cbsd68 sigma 25 psnr 29.25 (color; while tr" in out
    (home / "second.json").unlink()
    (home / f"{NAME}.safetensors").unlink()
    code, out, err = call("list", "--folder", home)
    assert code == 2 and "weights missing" in out and err.count("\n") == 1 and "weights without a card" in err


@pytest.mark.parametrize("command", [("show",), ("verify",), ("export", "-o", "x.safetensors")])
def test_an_unknown_name_is_one_sentence_and_exit_code_2(call, home, saved, command):
    code, _, err = call(*command, "smal", "--folder", home)
    assert code == 2 and err == f"restore: There is no checkpoint smal in {home}: did you mean small?\n"


def test_the_command_exports_what_the_ending_says(home, saved, tmp_path, call):
    for suffix in ("safetensors", "onnx", "pth"):
        path = tmp_path / f"out.{suffix}"
        code, out, err = call("export", "small", "--output", path, "--folder", home)
        assert (code, err) == (0, "") and out.startswith(f"{path} written") and path.exists()
    network = conv()
    checkpoints.load_into(network, "small", folder=home)
    picture = torch.rand(1, 3, 17, 33)
    with torch.no_grad():
        torch.testing.assert_close(answers(tmp_path / "out.onnx", picture), network(picture), rtol=1e-4, atol=1e-4)
    code, _, err = call("export", "small", "-o", tmp_path / "a.bin", "--folder", home)
    assert code == 2 and "choose a name that ends in .safetensors, .pth, .pt or .onnx" in err


def test_errors_of_export_reach_the_shell(home, saved, tmp_path):
    torch.save({"a": torch.zeros(3)}, home / "small.safetensors")
    code, out, err = run("export", "small", "--output", tmp_path / "a.safetensors", "--folder", home)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("restore: ") and "PyTorch (pickle) file" in err
    assert not (tmp_path / "a.safetensors").exists()
