"""Writing a file either succeeds whole or changes nothing."""

import errno
import hashlib
import signal
import subprocess
import sys

import pytest

from restore_lib import files
from restore_lib.errors import RestoreError


def test_a_written_file_replaces_the_old_one(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    for text in ("one", "two"):
        with files.atomic_write(target) as temporary:
            assert temporary.suffix == ".txt"
            temporary.write_text(text)
    assert target.read_text() == "two"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, OSError("an encoder's own complaint")])
def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, stop):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(stop if isinstance(stop, type) else OSError), files.atomic_write(target) as temporary:
        temporary.write_text("half")
        raise stop
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("code", "message"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "permissions"), (errno.EIO, "mend the folder")]
)
def test_the_operating_systems_refusal_is_one_sentence(tmp_path, code, message):
    with pytest.raises(RestoreError, match=message), files.atomic_write(tmp_path / "a.txt"):
        raise OSError(code, "reason")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_way_is_reported(tmp_path):
    (tmp_path / "a.txt").write_text("a file, not a folder")
    with pytest.raises(RestoreError, match="not written"), files.atomic_write(tmp_path / "a.txt" / "b.txt"):
        pass


def test_sha256_and_prefixes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 3_000_000)
    digest = hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert files.sha256(path) == digest
    assert files.matches(path, digest[:8].upper())
    assert not files.matches(path, "0" * 8)


def test_local_copies_are_looked_for_in_the_users_folder_first(tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path / "mine" / "data"))
    for folder in ("cache", "mine/data", "mine/weights"):
        (tmp_path / folder / "set").mkdir(parents=True)
    (tmp_path / "cache/set/a").touch()
    assert files.locate("set/a") == tmp_path / "cache/set/a"
    (tmp_path / "mine/weights/set/a").touch()
    assert files.locate("set/a") == tmp_path / "mine/weights/set/a"
    (tmp_path / "mine/data/set/a").touch()
    assert files.locate("set/a") == tmp_path / "mine/data/set/a"
    assert files.locate("set/b") is None


KILLED = """
import os, signal, sys
from restore_lib import files
with {block} as temporary:
    {write}
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
@pytest.mark.parametrize(
    ("block", "write"),
    [
        ("files.atomic_write(sys.argv[1] + '/a.png')", "temporary.write_text('half')"),
        (
            "files.temporary_folder(__import__('pathlib').Path(sys.argv[1]), '.a.')",
            "(temporary / 'x').write_text('half')",
        ),
    ],
)
def test_what_a_killed_process_left_is_swept_and_what_a_running_one_needs_is_not(block, write, tmp_path):
    words = [sys.executable, "-c", KILLED.format(block=block, write=write), str(tmp_path)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    (left,) = tmp_path.iterdir()

    def write_again():
        with files.atomic_write(tmp_path / "a.png") as temporary:
            temporary.write_text("whole")
        with files.temporary_folder(tmp_path, ".a."):
            pass

    write_again()
    assert left.exists()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left.exists()
    write_again()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("letter", ["x", "é", "写"])
def test_names_as_long_as_the_file_system_has_them(letter, tmp_path):
    longest = letter * ((files.LONGEST_NAME - 4) // len(letter.encode())) + ".txt"
    with files.atomic_write(tmp_path / longest) as temporary:
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == [longest]
