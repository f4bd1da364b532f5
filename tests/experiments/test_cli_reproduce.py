"""``restore reproduce`` as a user meets it: tables listed, measured and shown; words for what cannot be done."""

import re
import subprocess
import sys

import pytest
import torch
from made_up import record

from restore_lib import cli, data
from restore_lib.experiments import load_all, save


def call(capsys, *arguments):
    """Exit code, standard output and standard error of ``restore reproduce ARGUMENTS``."""
    with pytest.raises(SystemExit) as end:
        cli.main(["reproduce", *map(str, arguments)])
    return end.value.code or 0, *capsys.readouterr()


def test_list_counts_what_has_a_record(capsys, tmp_path):
    code, out, err = call(capsys, "list", "--results", tmp_path)
    assert code == 0 and not err
    assert "0 of 128" in out and "liu2018-kodak" in out and "not available here" in out
    save(record(), tmp_path)
    assert "4 of 128" in call(capsys, "list", "--results", tmp_path)[1]


def test_show_puts_ours_beside_theirs(capsys, tmp_path):
    save(record(), tmp_path)
    code, out, err = call(capsys, "show", "bicubic", "--results", tmp_path)
    assert code == 0 and not err
    assert "33.66" in out and "33.81" in out and "+0.15" in out and "not run yet" in out
    assert "LIIF's benchmark protocol" in out
    assert "39.59" not in out and "34.99" in call(capsys, "show", "liif-div2k", "--results", tmp_path)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "bicubicle"), "`restore reproduce list` shows what there is"),
        (("show", "nguyen2023-integer"), "not available here"),
        (("run", "liif-div2k"), "no recipe for it is here yet"),
        (("run", "bicubic", "--tier", "huge"), "choose one of smoke, cpu, gpu, paper"),
        (("run", "bicubic"), "Set5 is not on this computer: run `restore data fetch set5`"),
        (("run", "bicubic", "--sets", "sett5"), "did you mean set5?"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(capsys, tmp_path, arguments, words):
    code, out, err = call(capsys, *arguments, "--results", tmp_path / "results")
    assert code == 2 and out == "" and err.startswith("restore: ") and err.count("\n") == 1 and words in err
    assert not (tmp_path / "results").exists()


def test_a_damaged_record_is_one_line_and_exit_code_2(capsys, tmp_path):
    save(record(), tmp_path).write_text('{"recipe": "bicubic"')
    for command in (("list",), ("show", "bicubic")):
        code, _, err = call(capsys, *command, "--results", tmp_path)
        assert code == 2 and "bicubic__set5__classic.json is damaged" in err and err.count("\n") == 1


def restore(*arguments) -> str:
    """What ``restore reproduce ARGUMENTS`` prints in a process of its own, without run-time checks: much faster."""
    words = [sys.executable, "-m", "restore_lib", "reproduce", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def test_a_full_circle_from_photos_to_the_ledger(tmp_path, photos):
    """Set5 is small enough to measure here; every number must come out with its published digits."""
    out = restore("run", "bicubic", "--tier", "smoke", "--results", tmp_path)
    names = [f"bicubic__set5__{protocol}.json" for protocol in ("classic", "liif", "diinn")]
    assert [line.rpartition("/")[2] for line in out.split()] == names
    shown = restore("show", "bicubic", "--results", tmp_path)
    assert len(re.findall(r"│ 0\.00(?:00)? +│", shown)) == 6  # no difference: three scales, PSNR and SSIM
    for stored in load_all(tmp_path):
        assert stored.tier == "smoke" and stored.seed is None and stored.steps == 0
        assert stored.images == ("baby", "bird", "butterfly", "head", "woman")
        assert stored.dataset_hash == data.open("set5").digest()
        assert stored.versions["torch"] == torch.__version__
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", stored.commit)


def test_output_in_a_pipe_is_plain_and_whole(tmp_path):
    out = restore("show", "bicubic", "--results", tmp_path)
    assert "\x1b" not in out and "…" not in out
