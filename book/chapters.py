"""Work on the chapters' files: store their outputs, number their equations and figures, copy them without solutions.

The chapters are plain Markdown, which JupyterLab, Colab and GitHub show without any extension. Outputs are stored at
tier smoke: the text that tests compare, and small copies of figures that have a caption. Widgets, and text in cells
tagged ``nbval-ignore-output``, are made when a chapter runs, never kept.
"""

import argparse
import base64
import io
import os
import re
from collections.abc import Sequence
from importlib.metadata import metadata
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

ANCHOR = re.compile(r'^<a id="([^"]+)"></a>\n*', re.MULTILINE)
CAPTION = re.compile(r'<a id="(?P<name>fig-[^"]+)"></a>\s*(?P<caption>\*\*Figure \d+\.\d+\.\*\* .*)', re.DOTALL)
SOLUTION = re.compile(r"^<details>\n<summary>Solution.*?^</details>$\n*", re.MULTILINE | re.DOTALL)
NUMBERED = re.compile(  # an equation's tag, or a figure's caption, and the anchor before it
    r'<a id="(?P<name>[^"]+)"></a>\s*(?:\$\$(?:(?!\$\$).)*?\\tag\{|\*\*Figure )(?P<number>\d+\.\d+)(?=\}|\.)', re.DOTALL
)
REFERENCE = re.compile(r"\[(?P<before>\(|Figure )\d+\.\d+(?P<after>\)?)\]\((?P<file>[^()#\s]*)#(?P<name>[^()\s]+)\)")
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}  # tags: the book folds or drops the code
PICTURES = 210_000  # bytes a notebook, before base64 makes them a third larger
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


def captioned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with each figure's caption in the metadata of the cell that draws it, where the book looks for it.

    In the files a caption is a cell of its own, below the figure, so that every Jupyter shows it.
    """
    cells = []
    for cell in notebook.cells:
        found = CAPTION.fullmatch(cell.source.strip()) if cell.cell_type == "markdown" else None
        if found and cells and cells[-1].cell_type == "code":
            cells[-1].metadata.setdefault("mystnb", nbformat.NotebookNode())["figure"] = found.groupdict()
        else:
            cells.append(cell)
    notebook.cells = cells
    return notebook


def number_labels(paths: Sequence[Path]) -> None:
    """Number the equations and figures of chapters in their order, and say the same numbers where they are referred to.

    ``paths`` are all chapters that refer to one another; each file's name begins with the chapter's number.
    """
    numbers: dict[str, str] = {}
    for path in paths:
        chapter, counts = int(path.name.split("_")[0]), {}

        def renumber(match: re.Match, chapter=chapter, counts=counts) -> str:
            kind = match["name"].split("-")[0]  # eq or fig
            counts[kind] = counts.get(kind, 0) + 1
            numbers[match["name"]] = f"{chapter}.{counts[kind]}"
            return match[0][: match.start("number") - match.start()] + numbers[match["name"]]

        _rewrite(path, lambda text, renumber=renumber: NUMBERED.sub(renumber, text))
    for path in paths:
        _rewrite(path, lambda text: REFERENCE.sub(lambda m: _refer(m, numbers), text))


def _refer(match: re.Match, numbers: dict[str, str]) -> str:
    number = numbers.get(match["name"])
    if number is None:
        return match[0]
    return f"[{match['before']}{number}{match['after']}]({match['file']}#{match['name']})"


def _rewrite(path: Path, change) -> None:
    """Apply a function of text to the Markdown cells of a file, which is written only if that changes something."""
    notebook = nbformat.read(path, as_version=4)
    before = [cell.source for cell in notebook.cells]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = change(cell.source)
    if before != [cell.source for cell in notebook.cells]:
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def small_picture(png: bytes, limit: int) -> tuple[str, bytes]:
    """A picture in at most ``limit`` bytes, or as near as it gets, and its MIME type: few colours, or JPEG.

    Parameters
    ----------
    png : bytes
        The picture as a figure made it.
    limit : int
        Bytes.

    Returns
    -------
    kind, data
        ``image/png`` or ``image/jpeg``, and the file.
    """
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    few = picture.quantize(48, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    few.save(stream, "PNG", optimize=True)
    data = stream.getvalue()
    if len(data) <= limit and _distance(few, picture) < 1.0:
        return "image/png", data
    for quality, part in ((85, 1), (75, 1), (60, 1), (60, 0.8), (50, 0.7), (45, 0.6), (40, 0.5)):
        stream = io.BytesIO()
        size = (round(picture.width * part), round(picture.height * part))
        picture.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=quality, optimize=True)
        data = stream.getvalue()
        if len(data) <= limit:
            break
    return "image/jpeg", data


def kept_outputs(
    outputs: list, picture_limit: int = 0, text: bool = True, alt: str = "", before: Sequence = ()
) -> list:
    """Outputs as a file keeps them: text, and a small copy of a figure. Widgets and HTML are dropped.

    Parameters
    ----------
    outputs : list
        What a cell showed.
    picture_limit : int
        Bytes of a picture at most; 0 keeps none.
    text : bool
        Keep text.
    alt : str
        What the picture shows, in words.
    before : sequence
        The cell's outputs in the file. A picture that looks the same stays byte for byte.
    """
    old = [(kind, value) for output in before for kind, value in output.get("data", {}).items() if "image/" in kind]
    kept = []
    for output in outputs:
        if "data" not in output:
            kept += [output] * text
            continue
        png = output.data.get("image/png")
        data = {"text/plain": output.data["text/plain"]} if "text/plain" in output.data else {}
        output.metadata = nbformat.NotebookNode()
        if png and picture_limit:
            kind, picture = small_picture(base64.b64decode(png), picture_limit)
            encoded = base64.b64encode(picture).decode()
            kind, encoded = next((same for same in old if _look_alike(same[1], encoded)), (kind, encoded))
            data[kind] = encoded
            output.metadata[kind] = {"alt": alt}
        elif not text:
            continue
        output.data = nbformat.from_dict(data)
        if output.data:
            kept.append(output)
    return kept


def _look_alike(one: str, two: str) -> bool:
    a, b = (Image.open(io.BytesIO(base64.b64decode(x))) for x in (one, two))
    return a.size == b.size and _distance(a, b) < 1.0


def _distance(one: Image.Image, two: Image.Image) -> float:
    """Mean absolute difference of two pictures of one size, in grey levels."""
    return float(np.abs(np.asarray(one.convert("RGB"), float) - np.asarray(two.convert("RGB"), float)).mean())


def store_outputs(path: Path | str, tier: str = "smoke") -> None:
    """Execute a notebook in its own folder at ``tier`` and write its outputs into the file, unless a cell fails."""
    path = Path(path)
    notebook = nbformat.read(path, as_version=4)
    environment = os.environ | {"RESTORE_TIER": tier, "RESTORE_LABS": "still"}
    client = NotebookClient(
        notebook, timeout=600, coalesce_streams=True, resources={"metadata": {"path": str(path.parent)}}
    )
    before = [list(cell.get("outputs", [])) for cell in notebook.cells]
    client.execute(env=environment)
    figures = sum(CAPTION.fullmatch(cell.source.strip()) is not None for cell in notebook.cells)
    count = 0
    for cell, below, old in zip(notebook.cells, [*notebook.cells[1:], None], before, strict=True):
        if cell.cell_type != "code":
            continue
        if cell.source.startswith("# On Colab"):
            cell.source = install_cell()
        count += 1
        cell.execution_count = count
        cell.metadata.pop("execution", None)
        tags = set(cell.metadata.get("tags", []))
        folded = {"source_hidden": bool(tags & HIDDEN), "outputs_hidden": "hide-output" in tags}
        folded = cell.metadata.pop("jupyter", {}) | folded
        if any(folded.values()):
            cell.metadata["jupyter"] = {kind: value for kind, value in folded.items() if value}
        captioned_below = below is not None and CAPTION.fullmatch(below.source.strip())
        limit = PICTURES // figures if captioned_below else 0
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        cell.outputs = kept_outputs(cell.outputs, limit, "nbval-ignore-output" not in tags, alt, old)
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
    """The command ``python book/chapters.py [--number | --without-solutions FOLDER] NOTEBOOK ...``."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="book/chapters.py", description=about)
    parser.add_argument("notebook", nargs="+", type=Path)
    parser.add_argument("--number", action="store_true", help="number equations and figures, and do nothing else")
    parser.add_argument("--without-solutions", metavar="FOLDER", type=Path, help="copy there, without solutions")
    given = parser.parse_args(words)
    if missing := [path for path in given.notebook if not path.is_file()]:
        parser.error(f"there is no file {missing[0]}")
    for path in given.notebook if given.without_solutions is None and not given.number else ():
        print(path, flush=True)
        store_outputs(path)
    if given.without_solutions is None:
        number_labels(
            sorted({chapter for path in given.notebook for chapter in path.parent.glob("[0-9][0-9]_*.ipynb")})
        )
        return
    for path in given.notebook:
        try:
            print(without_solutions(path, given.without_solutions))
        except (ValueError, OSError) as error:
            parser.error(str(error))


if __name__ == "__main__":
    main()
