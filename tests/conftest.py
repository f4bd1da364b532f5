"""What every test shares: run-time checks of annotated shapes, one thread a worker, and the local image sets."""

import hashlib
import os
import random
from functools import cache
from pathlib import Path

from jaxtyping import install_import_hook

install_import_hook("restore_lib", "annotations.checked")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def pytest_configure(config):
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))))


@pytest.fixture(autouse=True)
def home_folders(monkeypatch, tmp_path):
    """No test reads or writes the user's own settings, data or cache."""
    for name in ("RESTORE_CHECKPOINTS", "RESTORE_DATA", "RESTORE_TIER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def global_generators():
    """Networks start the same whatever ran before on this worker; fresh randomness comes from `rng` alone."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - other packages draw from it
    torch.manual_seed(0)


@pytest.fixture
def photos(monkeypatch) -> Path:
    """Folder of real image sets; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("RESTORE_TEST_DATA", SHARED / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the image sets, which are not at {folder} (name their folder in RESTORE_TEST_DATA)")
    monkeypatch.setenv("RESTORE_DATA", str(folder))
    return folder


@pytest.fixture
def rng() -> torch.Generator:
    """Random inputs that change with every change of the code, and are the same for all who run the same code.

    ``RESTORE_TEST_SEED=17`` gives other inputs; ``RESTORE_TEST_SEED=fresh`` new ones in every test.
    """
    generator = torch.Generator()
    asked = os.environ.get("RESTORE_TEST_SEED") or str(_seed_of_the_code())
    seed = generator.seed() % 2**31 if asked == "fresh" else int(asked)
    print(f"RESTORE_TEST_SEED={seed}")
    return generator.manual_seed(seed)


@cache
def _seed_of_the_code() -> int:
    files = (path for folder in ("restore_lib", "tests") for path in sorted((ROOT / folder).rglob("*.py")))
    return int(hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:7], 16)
