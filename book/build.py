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
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
CACHE = ROOT / ".cache" / "book"
INPUTS = [f"restore_lib/**/*.{kind}" for kind in ("py", "json", "tsv", "css", "js")] + [
    "results/*.json",
    "checkpoints/*",
]
SETTINGS = ("RESTORE_TIER", "RESTORE_DATA")


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


def main() -> int:
    """Exit status of the build: 0 only when no cell failed and Sphinx had nothing to warn about."""
    start = time.monotonic()
    os.environ.setdefault("RESTORE_TIER", "cpu")
    config = prepare(cache_key())
    print(
        f"Building the book at tier {os.environ['RESTORE_TIER']} (unchanged chapters come from the cache).", flush=True
    )
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
