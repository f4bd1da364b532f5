"""The command as a user meets it: words on the right stream, exit codes, and no waiting for torch."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from restore_lib import __version__, cli, data
from restore_lib.cli.data import data_app
from restore_lib.data import downloading
from restore_lib.errors import RestoreError


def run(*arguments):
    """Exit code, standard output and standard error of ``restore ARGUMENTS``."""
    return subprocess.run([sys.executable, "-m", "restore_lib", *arguments], capture_output=True, text=True)


def call(capsys, *arguments):
    """The same in this process, through main()."""
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    return end.value.code or 0, *capsys.readouterr()


def test_help_and_version_do_not_wait_for_torch():
    code = "from restore_lib import cli; import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); "
    code += "cli.main(['--help'])"
    help_text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "data" in help_text and "info" in help_text and help_text.endswith("False\n")
    assert run("--version").stdout == f"restore_lib {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("data", "fetch", "div2k"), "DIV2K cannot be fetched for you: download it at https://data.vision.ee.ethz.ch"),
        (("data", "fetch", "sett5"), "did you mean set5?"),
        (("data", "where", "set5"), "Set5 is not on this computer: run `restore data fetch set5`"),
        (("data", "verify", "set5"), "Set5 is not on this computer"),
        (("data", "verify", "div2k", "--folder", "."), "holds nothing of DIV2K"),
        (("data", "card", "nothing-like-it"), "`restore data list` shows what there is"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(capsys, arguments, words):
    code, out, err = call(capsys, *arguments)
    assert code == 2 and out == "" and err.startswith("restore: ") and err.count("\n") == 1 and words in err


def test_errors_reach_the_shell():
    result = run("data", "fetch", "div2k")
    assert (result.returncode, result.stdout) == (2, "") and result.stderr.count("\n") == 1
    assert run("data", "fetch").returncode == run("nonsense").returncode == 2
    assert "Traceback" not in run("nonsense").stderr


def test_programming_errors_are_not_hidden(monkeypatch):
    monkeypatch.setattr("restore_lib.data.registry.card", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["data", "card", "set5"])


def test_card_and_where(capsys):
    assert call(capsys, "data", "card", "set5") == (0, data.card("set5"), "")
    code, out, _ = call(capsys, "data", "where", "embedded")
    assert code == 0 and out.splitlines()[0].endswith("data") and len(out.splitlines()) == 2
    assert call(capsys, "data", "fetch", "embedded")[:2] == (0, "Embedded photographs: installed\n")
    assert call(capsys, "data", "verify", "embedded")[1].endswith("Embedded photographs is complete and undamaged.\n")


def test_list_names_every_set_and_where_it_lies(capsys, photos):
    code, out, _ = call(capsys, "data", "list")
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert code == 0 and set(data.names()) <= set(rows)
    assert "local" in rows["set5"] and "installed" in rows["embedded"] and "local" not in rows["div2k"]
    assert "851.9 kB" in rows["set5"] and "5,500" in rows["tiny_imagenet10"]


def test_verify_says_what_is_wrong_after_what_it_saw(capsys, tmp_path, monkeypatch):
    (tmp_path / "set5").mkdir()
    (tmp_path / "set5/baby.png").write_bytes(b"damaged")
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    code, out, err = call(capsys, "data", "verify", "set5")
    assert code == 2 and out == "set5: 0 of 5 files have the right hash\n"
    assert "4 files are missing" in err and "1 file is damaged (set5/baby.png)" in err


def test_fetch_reports_and_can_be_stopped(capsys, photos, monkeypatch):
    assert call(capsys, "data", "fetch", "set5", "b100")[:2] == (
        0,
        "Set5: 5 files here and checked\nB100: 100 files here and checked\n",
    )
    assert call(capsys, "data", "fetch", "-q", "set5")[:2] == (0, "")

    def interrupted(*names, quiet):
        raise KeyboardInterrupt

    monkeypatch.setattr(downloading, "fetch", interrupted)
    code, out, err = call(capsys, "data", "fetch", "set5")
    assert (code, out) == (130, "") and err == "restore: stopped; run the command again to go on where it stopped.\n"


def test_info_says_what_this_computer_has(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("RESTORE_TIER", "smoke")
    code, out, _ = call(capsys, "info")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert code == 0 and "torch" in out and lines["tier"].endswith("smoke")
    assert "(not a folder!)" in lines["local"] and str(tmp_path / "cache") in lines["cache"]
    assert lines["data"].split()[1] == "embedded" and lines["device"].split()[1] in ("cpu:", "cuda:", "mps:")
    monkeypatch.setenv("RESTORE_TIER", "huge")
    code, _, err = call(capsys, "info")
    assert code == 2 and "set it to one of smoke, cpu, gpu, paper" in err


def test_a_further_group_of_commands_is_one_line():
    group = typer.Typer()

    @group.command()
    def fail():
        raise RestoreError("mend it.")

    @group.command()
    def other():
        pass

    app = typer.Typer()
    app.add_typer(data_app, name="data")
    app.add_typer(group, name="group")
    assert isinstance(CliRunner().invoke(app, ["group", "fail"]).exception, RestoreError)
