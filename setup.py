"""What pyproject.toml cannot say: an installed library brings the book's records and checkpoints along.

A clone keeps them in results/ and checkpoints/. A wheel holds all records, pictures and cards, and the weights that
chapters and commands use; lines ``exclude`` of MANIFEST.in name the others, which are downloaded when asked for.
"""

from fnmatch import fnmatch
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithData(build_py):
    def run(self):
        super().run()
        if self.editable_mode:
            return
        lines = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
        left_out = [line.removeprefix("exclude ") for line in lines if line.startswith("exclude ")]
        for pattern in ("checkpoints/*.json", "checkpoints/*.safetensors", "results/*.json", "results/pictures/*.png"):
            for path in sorted(ROOT.glob(pattern)):
                name = path.relative_to(ROOT).as_posix()
                if not any(fnmatch(name, one) for one in left_out):
                    target = Path(self.build_lib, "restore_lib", name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self.copy_file(str(path), str(target))


setup(cmdclass={"build_py": BuildWithData})
