"""Downloads against a real HTTP server on this computer that serves real photographs, well or badly."""

import errno
import hashlib
import io
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pooch
import pytest

from restore_lib import data, files
from restore_lib.data import downloading
from restore_lib.errors import DataError, RestoreError
from restore_lib.files import KnownFile

PHOTOS = Path(find_spec("skimage").submodule_search_locations[0]) / "data"
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"


class Handler(BaseHTTPRequestHandler):
    """Serves a photograph as the next fault in its script says; well when the script is empty."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        shop, name = self.server, self.path.lstrip("/")
        with shop.lock:
            script = shop.script.get(name) or ["well"]
            fault = script.pop(0) if len(script) > 1 else script[0]
        body = (PHOTOS / name).read_bytes()
        if shop.gate is not None:
            shop.gate.wait(10)  # every request waits for the others: only parallel clients get past it
        shop.log.append(name)
        if fault == "wrong":
            body = bytes(len(body))
        if fault.isdigit():
            return self.answer(int(fault), b"no", "text/plain")
        if fault == "page":
            return self.answer(200, b"<!-- log in --><form></form>", "text/html; charset=utf-8")
        if fault == "page in disguise":
            return self.answer(200, HTML, "image/png")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        rest = body
        if fault in ("truncate", "stall"):
            rest = rest[: len(rest) // 2]
        with suppress(OSError):  # a client that gives up closes the connection
            while fault == "drip" and rest and not shop.closing.wait(0.01):
                self.wfile.write(rest[:8192])
                rest = rest[8192:]
            self.wfile.write(rest)
            shop.served += len(rest)
            if fault == "stall":
                self.wfile.flush()
                shop.stalled.set()
                shop.closing.wait(20)
        if fault in ("truncate", "stall"):
            self.close_connection = True

    def answer(self, status, body, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def shop(monkeypatch):
    """The server: ``shop.script[name] = [fault, ...]``; the last fault of a script stays for good."""
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda seconds: None))  # between two tries
    monkeypatch.setattr(downloading, "TIMEOUT", (2.0, 0.4))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *arguments: None  # a client that gives up resets its connection
    server.daemon_threads = True
    server.script, server.log, server.served, server.gate = {}, [], 0, None
    server.lock, server.stalled, server.closing = threading.Lock(), threading.Event(), threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


def known(shop, name, **changes) -> KnownFile:
    content = (PHOTOS / name).read_bytes()
    url = f"http://127.0.0.1:{shop.server_address[1]}/{name}"
    fields = {"path": f"photos/{name}", "sha256": hashlib.sha256(content).hexdigest(), "url": url, "size": len(content)}
    return KnownFile(**{**fields, **changes})


def left(name="") -> list[str]:
    """Every file in the cache."""
    return sorted(path.name for path in files.cache_folder().rglob("*") if path.is_file())


def failing(shop, name="coffee.png", error=DataError, **changes) -> str:
    with pytest.raises(error) as caught:
        data.fetch_files([known(shop, name, **changes)])
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith((".", ")")) and name in sentence
    assert not (files.cache_folder() / "photos" / name).exists()
    return sentence


def arrived(name="coffee.png") -> bool:
    return (files.cache_folder() / "photos" / name).read_bytes() == (PHOTOS / name).read_bytes()


def test_many_files_arrive_whole_and_at_the_same_time(shop):
    names = [
        "astronaut.png",
        "chelsea.png",
        "coffee.png",
        "rocket.jpg",
        "camera.png",
        "brick.png",
        "moon.png",
        "ihc.png",
    ]
    shop.gate = threading.Barrier(4)
    paths = data.fetch_files([known(shop, name) for name in names], workers=4)
    assert [path.read_bytes() for path in paths] == [(PHOTOS / name).read_bytes() for name in names]
    assert left() == sorted(names)
    assert all(path.stat().st_mode & 0o777 == 0o666 & ~umask() for path in paths)


def umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_second_fetch_asks_the_server_for_nothing(shop):
    wanted = [known(shop, "coffee.png"), known(shop, "rocket.jpg")]
    first, asked = data.fetch_files(wanted), len(shop.log)
    assert data.fetch_files(wanted) == first
    assert len(shop.log) == asked == 2


@pytest.mark.parametrize("digits", [64, 8])
def test_a_wrong_hash_leaves_nothing(shop, digits):
    shop.script["coffee.png"] = ["wrong"]
    assert "wrong hash" in failing(shop, sha256=known(shop, "coffee.png").sha256[:digits])
    assert left() == [] and len(shop.log) == downloading.TRIES


def test_a_published_prefix_is_enough(shop):
    data.fetch_files([known(shop, "coffee.png", sha256=known(shop, "coffee.png").sha256[:8], size=None)])
    assert arrived()


def test_404_is_final(shop):
    shop.script["coffee.png"] = ["404"]
    assert "does not have it (404)" in failing(shop)
    assert len(shop.log) == 1 and left() == []


def test_500_then_success(shop):
    shop.script["coffee.png"] = ["500", "503", "well"]
    data.fetch_files([known(shop, "coffee.png")])
    assert arrived() and len(shop.log) == 3


def test_500_for_good(shop):
    shop.script["coffee.png"] = ["500"]
    assert f"in {downloading.TRIES} tries: the server answers 500" in failing(shop)
    assert len(shop.log) == downloading.TRIES and left() == []


@pytest.mark.parametrize("fault", ["truncate", "stall"])
def test_a_broken_download_is_tried_again(shop, fault):
    shop.script["coffee.png"] = [fault, "well"]
    data.fetch_files([known(shop, "coffee.png")])
    assert arrived() and left() == ["coffee.png"] and len(shop.log) == 2


@pytest.mark.parametrize(("fault", "words"), [("truncate", "broke off"), ("stall", "stopped sending")])
def test_a_server_that_always_breaks_off_leaves_nothing(shop, fault, words):
    shop.script["coffee.png"] = [fault]
    sentence = failing(shop)
    assert words in sentence and "run the command again" in sentence and left() == []


@pytest.mark.parametrize("fault", ["page", "page in disguise"])
def test_a_web_page_is_not_a_photograph(shop, fault):
    shop.script["coffee.png"] = [fault]
    assert "a web page came in its place" in failing(shop)
    assert left() == [] and len(shop.log) == 1


def test_a_full_disk(shop, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pooch.HTTPDownloader, "__call__", full)
        assert "The disk is full" in failing(shop, error=RestoreError)
    assert left() == []
    data.fetch_files([known(shop, "coffee.png")])
    assert arrived()


def test_a_cache_that_cannot_be_made(shop, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path / "file" / "cache"))
    assert "was not written" in failing(shop, error=RestoreError)


def test_no_network(shop):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/coffee.png"
    assert "there is no connection to 127.0.0.1" in failing(shop, url=url)


def test_a_proxy_that_is_not_there(shop, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert "HTTPS_PROXY" in failing(shop, url="http://photos.invalid/coffee.png")


def test_one_failure_ends_the_others_and_keeps_what_is_whole(shop):
    shop.script = {"rocket.jpg": ["404"], "coffee.png": ["drip"], "astronaut.png": ["stall"]}
    with pytest.raises(DataError, match=r"rocket\.jpg"):
        data.fetch_files([known(shop, name) for name in ("chelsea.png", "rocket.jpg", "camera.png")], workers=1)
    assert arrived("chelsea.png") and left() == ["chelsea.png"] and len(shop.log) == 2
    with pytest.raises(DataError, match=r"rocket\.jpg"):  # not after the slow one has come and the dead one given up
        data.fetch_files([known(shop, name) for name in ("coffee.png", "astronaut.png", "rocket.jpg")], workers=3)
    assert not {"coffee.png", "astronaut.png", "rocket.jpg"} & set(left())
    assert shop.log.count("astronaut.png") <= 1


def test_a_damaged_file_in_the_cache_is_replaced(shop):
    for digits in (64, 8):
        path = files.cache_folder() / "photos/coffee.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"damaged")
        data.fetch_files([known(shop, "coffee.png", sha256=known(shop, "coffee.png").sha256[:digits])])
        assert arrived() and left() == ["coffee.png"]


def test_local_copies_are_used_and_never_changed(shop, monkeypatch, tmp_path):
    copy = tmp_path / "copies/photos/coffee.png"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((PHOTOS / "coffee.png").read_bytes())
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path / "copies"))
    assert data.fetch_files([known(shop, "coffee.png")]) == [copy]
    copy.write_bytes(b"damaged")
    with pytest.raises(DataError, match="is damaged or another file of that name: delete it"):
        data.fetch_files([known(shop, "coffee.png")])
    assert copy.read_bytes() == b"damaged" and not shop.log


def test_ctrl_c_leaves_whole_files_only(shop):
    shop.script["coffee.png"] = ["drip"]
    wanted = [known(shop, "rocket.jpg"), known(shop, "coffee.png")]
    # A shell that starts tests in the background has them ignore Ctrl-C; the program under test must not inherit that.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; from restore_lib import data, files; data.fetch_files([files.{wanted[0]!r}, files.{wanted[1]!r}])"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        for _ in range(2000):
            if "rocket.jpg" in left() and "coffee.png" in shop.log:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.communicate(timeout=30)[1]
    assert left() == ["rocket.jpg"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_on_a_terminal_only(shop, monkeypatch, capsys):
    names = ["coffee.png", "rocket.jpg", "camera.png"]
    data.fetch_files([known(shop, name) for name in names])
    assert capsys.readouterr() == ("", "")
    for variable, quiet, expected in [("CI", False, False), ("OTHER", True, False), ("OTHER", False, True)]:
        for name in names:
            (files.cache_folder() / "photos" / name).unlink()
        screen = Terminal()
        with monkeypatch.context() as patch:
            patch.delenv("CI", raising=False)
            patch.setenv(variable, "true")
            patch.setattr(sys, "stderr", screen)
            downloading.fetch_files([known(shop, name) for name in names], quiet=quiet)
        assert ("3 of 3 files" in screen.getvalue()) is expected
