"""Work on the chapters' files: store the outputs that tests compare, or copy chapters without their solutions.

Outputs are stored at tier smoke, text alone: pictures, widgets and anything in a cell tagged ``nbval-ignore-output``
are made when the book is built, never kept.
"""

import argparse
import os
import re
from collections.abc import Sequence
from importlib.metadata import metadata
from pathlib import Path

import nbformat
from nbclient import NotebookClient

KEPT = ("text/plain",)
SOLUTION = re.compile(r"^(:{3,})\{solution\}.*?^\1[ \t]*$\n*", re.MULTILINE | re.DOTALL)  # a block of MyST
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def install_cell() -> str:
    """The first cell of every chapter: on Colab it installs this version of the library, from its tagged source.

    The address is that of the installed package's metadata, so that it stands in one place, pyproject.toml.
    """
    about = metadata("restore_lib")
    address = dict(line.split(", ", 1) for line in about.get_all("Project-URL", []))["Repository"]
    return f"""# On Colab, install the library first; elsewhere it is installed already.
try:
    import restore_lib  # noqa: F401
except ImportError:
    %pip install -q "restore_lib @ git+{address}@v{about["Version"]}"
""".rstrip()


def text_only(outputs: list) -> list:
    """Outputs without pictures, widgets and HTML; what has no text left is dropped."""
    kept = []
    for output in outputs:
        if "data" in output:
            output.data = nbformat.from_dict({kind: v for kind, v in output.data.items() if kind in KEPT})
            output.metadata = nbformat.from_dict({})
            if not output.data:
                continue
        kept.append(output)
    return kept


def store_outputs(path: Path | str, tier: str = "smoke") -> None:
    """Execute a notebook in its own folder at ``tier`` and write its outputs into the file, unless a cell fails."""
    path = Path(path)
    notebook = nbformat.read(path, as_version=4)
    environment = os.environ | {"RESTORE_TIER": tier}
    client = NotebookClient(
        notebook, timeout=600, coalesce_streams=True, resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute(env=environment)
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        if cell.source.startswith("# On Colab"):
            cell.source = install_cell()
        count += 1
        cell.execution_count = count
        cell.metadata.pop("execution", None)
        ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
        cell.outputs = [] if ignored else text_only(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    notebook.metadata = nbformat.from_dict(METADATA)
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def without_solutions(path: Path | str, folder: Path | str) -> Path:
    """Copy a notebook into another ``folder``, made if it is missing, and leave out the text of its solutions."""
    path, target = Path(path), Path(folder, Path(path).name)
    if target.resolve() == path.resolve():
        raise ValueError(f"{folder} is where {path.name} lies: name another folder for the copies")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = SOLUTION.sub("", cell.source)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    return target


def main(words: Sequence[str] | None = None) -> None:
    """The command line: ``python book/chapters.py [--without-solutions FOLDER] NOTEBOOK ...``."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="book/chapters.py", description=about)
    parser.add_argument("notebook", nargs="+", type=Path)
    parser.add_argument("--without-solutions", metavar="FOLDER", type=Path, help="copy there, without solutions")
    given = parser.parse_args(words)
    if missing := [path for path in given.notebook if not path.is_file()]:
        parser.error(f"there is no file {missing[0]}")
    for path in given.notebook:
        if given.without_solutions is None:
            print(path, flush=True)
            store_outputs(path)
            continue
        try:
            print(without_solutions(path, given.without_solutions))
        except (ValueError, OSError) as error:
            parser.error(str(error))


if __name__ == "__main__":
    main()
