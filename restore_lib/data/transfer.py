"""One file over HTTP: goes on where it stopped, tries again, and says in one sentence what went wrong.

The downloader that pooch is given. What arrives is kept beside the target as ``NAME.part``, so that a broken download
is continued by the next one; only whole files leave that name, and pooch compares their hash before they get theirs.
"""

import os
import threading
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import requests

from restore_lib import files
from restore_lib.errors import DataError
from restore_lib.files import KnownFile

TRIES = 4
PAUSE = 0.5  # seconds before the second try, doubled before each further one
TIMEOUT = (10.0, 20.0)  # seconds to connect, and without a byte arriving
BLOCK = 1 << 14  # bytes written at once; at most so many are fetched twice when a connection breaks
WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}


class Stopped(Exception):
    """The user, or a failure of another file, asked all transfers to end."""


class Passing(Exception):
    """A fault that may be gone at the next try; its text ends the sentence when it is not."""


class Transfer:
    """Download one file: pooch calls it with an address and the name to write.

    Parameters
    ----------
    file : KnownFile
        What to download.
    part : Path
        Where its bytes gather.
    session : requests.Session
        Keeps connections open between files.
    stop : threading.Event
        Ends the transfer between two blocks when it is set.
    moved : callable
        Told the change in the number of bytes at hand.

    Attributes
    ----------
    resumed : bool
        Whether the last download began with bytes of an earlier one: then a wrong hash may be the fault of those.
    """

    def __init__(self, file: KnownFile, part: Path, session: requests.Session, stop: threading.Event, moved: Callable):
        self.file, self.part, self.session, self.stop, self.moved = file, part, session, stop, moved
        self.resumed = False

    def __call__(self, url: str, output_file: str, pooch) -> None:
        """Fetch ``url`` into ``output_file``; raises DataError, RestoreError (disk), Stopped, or ValueError (hash)."""
        reason = ""
        for attempt in range(TRIES):
            if self.stop.wait(PAUSE * 2 ** (attempt - 1) if attempt else 0):
                raise Stopped
            try:
                self._once(url)
                break
            except Passing as fault:
                reason = str(fault)
            except requests.RequestException as error:
                reason = _network_words(error, url)
        else:
            raise DataError(f"{self.file.path} was not downloaded in {TRIES} tries: {reason}")
        if len(self.file.sha256) < 64 and not files.matches(self.part, self.file.sha256):
            self.part.unlink()
            raise ValueError("the published prefix of the hash differs")  # pooch compares whole digests only
        os.replace(self.part, output_file)

    def _once(self, url: str) -> None:
        """One request, appended to what is there; raises Passing or requests' errors where another try may help."""
        have = self.part.stat().st_size if self.part.exists() else 0
        if have and have == self.file.size:
            self.resumed = True
            self.moved(have)
            return
        headers = {"Accept-Encoding": "identity"}  # a compressed body has another length and other byte positions
        if have:
            headers["Range"] = f"bytes={have}-"
        with self.session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            offset = answer.headers.get("Content-Range", "")
            if answer.status_code == 416 or (answer.status_code == 206 and not offset.startswith(f"bytes {have}-")):
                self.part.unlink(missing_ok=True)  # what is here cannot be the start of what is there
                raise Passing("the server's file has another length than the known one; look for a changing proxy.")
            if answer.status_code in WORTH_ANOTHER_TRY:
                raise Passing(f"the server answers {answer.status_code}; wait some minutes and run the command again.")
            if not answer.ok:
                raise DataError(_refusal(self.file, url, answer.status_code))
            if "html" in answer.headers.get("Content-Type", "").lower():
                raise DataError(_web_page(self.file, url))
            self._keep(answer, have if answer.status_code == 206 else 0, url)

    def _keep(self, answer: requests.Response, have: int, url: str) -> None:
        """Write the body behind the first ``have`` bytes of the part file."""
        length = answer.headers.get("Content-Length")
        whole = self.file.size or (have + int(length) if length else 0)
        self.resumed, arrived = have > 0, have
        self.moved(have)
        try:
            blocks = answer.iter_content(BLOCK)
            first = next(blocks, b"")
            if not have and first.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
                raise DataError(_web_page(self.file, url))
            with open(self.part, "ab" if have else "wb") as stream:
                for block in chain([first], blocks):
                    stream.write(block)
                    arrived += len(block)
                    self.moved(len(block))
                    if self.stop.is_set():
                        raise Stopped
                stream.flush()
                os.fsync(stream.fileno())
        except requests.RequestException:
            self.moved(-arrived)
            raise
        except OSError as error:
            raise files.writing_failed(self.part, error) from error
        if arrived < whole:
            self.moved(-arrived)
            raise Passing(f"the connection ended after {arrived:,} of {whole:,} bytes; run the command again to go on.")


def _refusal(file: KnownFile, url: str, status: int) -> str:
    reason = {404: "does not have it (404)", 410: "no longer has it (410)", 403: "refuses it (403)"}
    words = reason.get(status, f"answers {status}")
    return (
        f"{file.path} was not downloaded, the server {words}: open {url} in a browser to see why, or put a "
        "copy of the file below a folder that RESTORE_DATA names."
    )


def _web_page(file: KnownFile, url: str) -> str:
    return (
        f"{file.path} was not downloaded, a web page came in its place (a proxy's or a login page?): open {url} in a "
        "browser to see it, then run the command again."
    )


def _network_words(error: requests.RequestException, url: str) -> str:
    """What a network error means to the user, and what to do."""
    host = urlsplit(url).netloc
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy does not let {host} through; check HTTPS_PROXY and HTTP_PROXY."
    if isinstance(error, requests.exceptions.SSLError):
        return f"the certificate of {host} is not trusted; check the clock, the proxy, or REQUESTS_CA_BUNDLE."
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"{host} does not answer; check the network or the proxy (HTTPS_PROXY)."
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return f"{host} stopped sending; run the command again to go on where it stopped."
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"{host} broke off; run the command again to go on where it stopped."
    if isinstance(error, requests.exceptions.ConnectionError):
        return f"there is no connection to {host}; check the network, or name a folder with copies in RESTORE_DATA."
    return f"the request to {host} failed ({type(error).__name__}); run the command again."
