"""Scripts of others in the repository: what was published, unchanged, each beside its licence."""

import hashlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = [ROOT / "book" / "static" / "vendor", ROOT / "tests" / "book" / "vendor"]
OURS = {"VENDORED.json", ".gitattributes"}
FIRST_WORDS = {"Apache-2.0": "Apache License", "MPL-2.0": "Mozilla Public License"}

ENTRIES = [(folder, entry) for folder in FOLDERS for entry in json.loads((folder / "VENDORED.json").read_text())]


@pytest.mark.parametrize(("folder", "entry"), ENTRIES, ids=[entry["file"] for _, entry in ENTRIES])
def test_a_script_is_the_published_one_and_has_its_licence(folder, entry):
    assert hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
    licence = (folder / entry["licence_file"]).read_text(encoding="utf-8")
    assert FIRST_WORDS[entry["licence"]] in licence
    assert entry["npm"] and entry["version"] and entry["source"].endswith(entry["file"])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_nothing_lies_there_unlisted(folder):
    listed = {name for owner, e in ENTRIES if owner == folder for name in (e["file"], e["licence_file"])}
    assert {path.name for path in folder.iterdir()} - OURS == listed
