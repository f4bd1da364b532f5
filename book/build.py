"""Build the book: execute the chapters (or reuse their cached outputs) and write HTML. Called by ``make book``.

Jupyter Book's own cache looks at the text of the cells only. A change in the library, in a run record or in the
environment must run the cells again, so the cache folder is named after a hash of all of these.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import nbformat
from chapters import captioned
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
CACHE = ROOT / ".cache" / "book"
INPUTS = [f"restore_lib/**/*.{kind}" for kind in ("py", "json", "tsv", "css", "js")] + [
    "results/*.json",
    "checkpoints/*",
]
SETTINGS = ("RESTORE_TIER", "RESTORE_DATA")
AT_ONCE = 2  # chapters: each needs about a gigabyte
EVERY = 60  # seconds between lines that say what is being waited for


def cache_key() -> str:
    """Hash of everything but the cells that decides what a cell prints."""
    digest = hashlib.sha256()
    for name in SETTINGS:
        digest.update(f"{name}={os.environ.get(name, '')}\0".encode())
    digest.update(sys.version.encode())
    for path in sorted({ROOT / "requirements.txt", *(p for pattern in INPUTS for p in ROOT.glob(pattern))}):
        if path.is_file():
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def prepare(key: str) -> Path:
    """Drop caches of other keys and write the configuration that names this key's cache."""
    folder = CACHE / key
    if not folder.exists():
        shutil.rmtree(CACHE, ignore_errors=True)
        shutil.rmtree(BUILD, ignore_errors=True)  # pages read earlier hold outputs of the old library
        folder.mkdir(parents=True)
    config = (ROOT / "_config.yml").read_text()
    config = re.sub(r"(?m)^(\s+cache:).*$", rf"\1 {(folder / 'outputs').as_posix()}", config, count=1)
    # Jupyter Book looks for extensions beside the configuration, which lies in the cache's folder.
    config = re.sub(r"(?m)(: )book/extensions$", rf"\1{(ROOT / 'book' / 'extensions').as_posix()}", config)
    generated = folder / "_config.yml"
    generated.write_text(config)
    return generated


@contextmanager
def kernel_sockets() -> Iterator[Config]:
    """Settings by which a kernel is talked to through files in a folder, on systems that can.

    Ports, which are usual, are chosen before the kernel opens them: another kernel may have been given the same ones.
    """
    if os.name != "posix":
        yield Config()
        return
    # Whatever TMPDIR says: such a file's name has room for a hundred characters.
    with tempfile.TemporaryDirectory(prefix="kernels-", dir="/tmp") as folder:
        yield Config(KernelManager={"transport": "ipc", "ip": str(Path(folder, "kernel"))})


def execute(chapter: Path, outputs: Path) -> str:
    """Run a chapter's cells and keep what they print in the cache, unless it is there already; say how it went.

    A cell may take as long as it likes: computers differ, and some are busy. RuntimeError for a chapter that fails,
    with the cell, its error and the command that runs this chapter alone.
    """
    cache, notebook = get_cache(outputs), captioned(nbformat.read(chapter, as_version=4))
    try:
        cache.match_cache_notebook(notebook)
        return "unchanged"
    except KeyError:
        quiet = ["--log-level=ERROR"]  # kernels warn that they talk to us unencrypted, inside this computer
        with kernel_sockets() as config:
            result = single_nb_execution(
                notebook, str(chapter.parent), None, False, extra_arguments=quiet, config=config
            )
    if result.err is not None:
        alone = f"RESTORE_TIER={os.environ['RESTORE_TIER']} {sys.executable} -m jupyter execute {chapter}"
        raise RuntimeError(f"failed after {result.time:.0f} s:\n{result.err}\nTo run it alone: {alone}")
    bundle = CacheBundleIn(notebook, str(chapter), data={"execution_seconds": result.time})
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    return f"{result.time:.0f} s"


def execute_all(outputs: Path) -> list[str]:
    """Run the chapters that are not in the cache, some side by side; return what went wrong with each that failed.

    One by one they would leave processors idle. Now and then a line tells which chapters are being waited for.
    """
    get_cache(outputs).db  # noqa: B018 - the data base is made here, before several processes would make it
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // AT_ONCE)))
    # later chapters take longer: begun first, they do not leave one process to work alone at the end
    chapters = sorted((ROOT / "notebooks").glob("*.ipynb"), reverse=True)
    failures, start = [], time.monotonic()
    with ProcessPoolExecutor(AT_ONCE) as pool:
        waiting = {pool.submit(execute, chapter, outputs): chapter.name for chapter in chapters}
        while waiting:
            for done in wait(waiting, timeout=EVERY, return_when=FIRST_COMPLETED).done or [None]:
                if done is None:
                    running = [name for future, name in waiting.items() if future.running()][:AT_ONCE]
                    print(f"... {time.monotonic() - start:.0f} s: {', '.join(running)} at work", flush=True)
                    continue
                name = waiting.pop(done)
                said = f"{name}: {done.exception() or done.result()}"
                failures += [said] if done.exception() else []
                print(said.partition("\n")[0].rstrip(":"), flush=True)
    return failures


def main() -> int:
    """Exit status of the build: 0 only when no cell failed and Sphinx had nothing to warn about."""
    start = time.monotonic()
    os.environ.setdefault("RESTORE_TIER", "cpu")
    os.environ["RESTORE_LABS"] = "still"  # no kernel answers in the book
    config = prepare(cache_key())
    print(
        f"Building the book at tier {os.environ['RESTORE_TIER']} (unchanged chapters come from the cache).", flush=True
    )
    if failures := execute_all(config.parent / "outputs"):
        print("\nThe book was not built; the other chapters are kept.", *failures, sep="\n\n", file=sys.stderr)
        return 1
    command = [
        Path(sys.executable).parent / "jupyter-book",
        "build",
        ".",
        "--config",
        config,
        "-W",
        "-n",
        "--keep-going",
    ]
    status = subprocess.run(command, cwd=ROOT).returncode
    page = BUILD / "html" / "book" / "intro.html"
    if status or not page.exists():
        print("\nThe book was not built: the first warning or error above says why.", file=sys.stderr)
        for report in sorted((BUILD / "html" / "reports").rglob("*.log")):
            print(f"\n--- {report.relative_to(ROOT)}\n{report.read_text()}", file=sys.stderr)
        # Pages that have been read do not warn again: without this, a second run would pass.
        shutil.rmtree(BUILD / ".doctrees", ignore_errors=True)
        return status or 1
    print(f"\nThe book was built in {time.monotonic() - start:.0f} s. Open it:\n  {page}\n  {page.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
