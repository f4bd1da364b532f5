"""Chapters: reference outputs exist, nothing heavy is stored, and the printed solutions pass their own checks."""

import ast
import base64
import importlib.util
import io
import re
import shutil
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from restore_lib import teaching
from restore_lib.teaching.checks import all_exercises

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "book"))
import chapters  # noqa: E402

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXERCISE = re.compile(r"^### Exercise (?P<id>\d+\.\d+) \((?P<kind>\w+)\)\n(?P<text>.*?)(?=^<details>)", re.S | re.M)
SOLUTION = re.compile(
    r"^<details>\n<summary>Solution to exercise (?P<id>\S+)</summary>\n(?P<text>.*?)^</details>\n", re.S | re.M
)


NOISE = """import torch
from restore_lib import plots
plots.image_row([torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(0))])"""


def cells(path: Path, kind: str) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def prose(path: Path) -> str:
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


def exercises(path: Path) -> dict[str, dict]:
    return {match["id"]: match.groupdict() for match in EXERCISE.finditer(prose(path) + "\n")}


def solutions(path: Path) -> dict[str, str]:
    return {match["id"]: match["text"] for match in SOLUTION.finditer(prose(path) + "\n")}


def test_the_table_of_contents_lists_every_chapter():
    listed = set(re.findall(r"notebooks/(\S+)", (ROOT / "_toc.yml").read_text()))
    assert listed == {path.stem for path in CHAPTERS}
    assert CHAPTERS


def test_labels_are_of_one_place_each():
    """Sphinx says so only at the end of a whole build."""
    labels = [label for path in CHAPTERS for label in chapters.ANCHOR.findall(prose(path))]
    assert len(labels) > 150 and sorted(labels) == sorted(set(labels))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_reference_outputs_exist(path):
    """A notebook without stored outputs passes nbval without being compared at all."""
    code = cells(path, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run `make outputs`"
    compared = [cell for cell in code if cell.outputs and "nbval-ignore-output" not in tags(cell)]
    assert len(compared) >= 5, "too few cells print something that a test can compare"
    for cell in code:
        if re.search(r"^print\(", cell.source, re.M) and "nbval-ignore-output" not in tags(cell):
            assert cell.outputs, f"no stored output: {cell.source[:60]!r}; run `make outputs`"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_only_text_and_small_pictures_are_stored(path):
    pictures = 0
    for cell in cells(path, "code"):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert set(output.get("data", {})) <= {"text/plain", "image/png", "image/jpeg"}
            assert output.get("name") != "stderr", f"a warning is stored: {output.get('text')}"
            pictures += sum(len(data) for kind, data in output.get("data", {}).items() if kind.startswith("image/"))
    assert pictures <= 300_000
    assert path.stat().st_size - pictures < 200_000


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_cells_are_short_and_import_the_library(path):
    for cell in cells(path, "code"):
        build_it = "build-it" in tags(cell)  # a network that a reader writes, and check_network compares
        assert cell.source.count("\n") < (40 if build_it else 26), cell.source[:80]
        code = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", cell.source)
        bases = {
            ast.unparse(b) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ClassDef) for b in node.bases
        }
        assert build_it or not bases & {"nn.Module", "torch.nn.Module"}, "models live in restore_lib"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_figure_has_alt_text_a_caption_and_a_stored_picture(path):
    everything = nbformat.read(path, as_version=4).cells
    captions = 0
    for cell, below in zip(everything, [*everything[1:], nbformat.v4.new_markdown_cell()], strict=True):
        if cell.cell_type != "code":
            continue
        caption = chapters.CAPTION.fullmatch(below.source.strip())
        captions += caption is not None
        shown = [output.data for output in cell.outputs if "data" in output]
        assert "figure" not in cell.metadata.get("mystnb", {}), "a caption is a cell of its own, below the figure"
        if caption or any("Figure" in str(data.get("text/plain")) for data in shown):
            assert caption, f"a figure without a caption: {cell.source[:80]}"
            assert len(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")) > 30, cell.source[:80]
        for data in shown:
            stored = {"image/png", "image/jpeg"} & set(data)
            assert stored or "Figure" not in data.get("text/plain", ""), f"run `make outputs`: {cell.source[:80]}"
    assert captions == len(re.findall(r"^\*\*Figure \d", prose(path), re.M)), "a caption does not follow a code cell"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_each_exercise_has_a_folded_solution(path):
    asked = exercises(path)
    assert len(asked) >= 3
    assert asked.keys() == solutions(path).keys()
    chapter = str(int(path.stem.split("_")[0]))
    assert list(asked) == [f"{chapter}.{n}" for n in range(1, len(asked) + 1)]


def checked() -> list:
    return [
        pytest.param(path, number, id=number)
        for path in CHAPTERS
        for number, exercise in exercises(path).items()
        if f'check("{number}"' in exercise["text"]
    ]


def test_three_exercises_of_each_chapter_check_themselves():
    for path in CHAPTERS:
        assert sum(param.values[0] == path for param in checked()) >= 3, path.stem


@pytest.mark.parametrize(("path", "number"), checked())
def test_the_printed_solution_passes_its_check(path, number):
    name = re.search(rf'check\("{re.escape(number)}", (\w+)\)', exercises(path)[number]["text"])[1]
    space = {}
    imports = [cell.source for cell in cells(path, "code") if "import" in cell.source and "%pip" not in cell.source]
    for source in imports:
        for node in ast.parse(source).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                exec(compile(ast.Module([node], []), path.name, "exec"), space)
    exec("\n".join(re.findall(r"```python\n(.*?)```", solutions(path)[number], re.S)), space)
    result = teaching.check(number, space[name])
    assert result.passed, str(result)


def test_outputs_are_compared_with_a_tolerance_for_decimals():
    spec = importlib.util.spec_from_file_location("notebooks_conftest", ROOT / "notebooks" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    same = [("a 1.20 dB", "a 1.22 dB"), ("x  0.001", "x -0.001"), ("1,234.5 b", "1,234.3 b"), ("1.2e-05", "1.4e-05")]
    apart = [
        ("a 1.20 dB", "a 1.23 dB"),
        ("12 of 24", "13 of 24"),
        ("True", "False"),
        ("1.2e-05", "1.2e-04"),
        ("1.0", ""),
    ]
    assert all(module.Near(one) == two for one, two in same)
    assert all(module.Near(one) != two for one, two in apart)


def test_the_tool_that_stores_outputs_keeps_text_and_small_figures(tmp_path, monkeypatch):
    book = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell("import os; print(os.environ['RESTORE_TIER'])"),
        nbformat.v4.new_code_cell("from IPython.display import HTML\nHTML('<b>x</b>')"),
        nbformat.v4.new_code_cell("print('secret')", metadata={"tags": ["nbval-ignore-output", "hide-input"]}),
        nbformat.v4.new_code_cell(NOISE, metadata={"mystnb": {"image": {"alt": "Grain."}}}),
        nbformat.v4.new_markdown_cell('<a id="fig-a"></a>\n\n**Figure 3.1.** Noise.'),
    ])  # fmt: skip
    path = tmp_path / "a.ipynb"
    nbformat.write(book, path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{__import__('os').environ['PATH']}")
    chapters.store_outputs(path)
    stored = cells(path, "code")
    assert stored[0].outputs[0].text == "smoke\n"
    assert set(stored[1].outputs[0].data) == {"text/plain"}
    assert stored[2].outputs == [] and stored[2].execution_count == 3
    assert [cell.metadata.get("jupyter", {}) for cell in stored] == [{}, {}, {"source_hidden": True}, {}]
    figure = stored[3].outputs[0]
    assert figure.data["text/plain"].startswith("Figure, ") and figure.metadata["image/jpeg"]["alt"] == "Grain."
    with Image.open(io.BytesIO(base64.b64decode(figure.data["image/jpeg"]))) as picture:
        assert min(picture.size) > 100
    first = path.read_bytes()
    chapters.store_outputs(path)
    assert path.read_bytes() == first


def png_of(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_a_drawing_keeps_its_pixels_and_a_photo_fits_its_limit():
    drawing = np.full((400, 600, 3), 255, np.uint8)
    drawing[100:110, :, :] = (0, 114, 178)
    kind, data = chapters.small_picture(png_of(drawing), 20_000)
    assert kind == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), drawing)
    photo = np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)
    kind, data = chapters.small_picture(png_of(photo), 40_000)
    assert kind == "image/jpeg" and len(data) <= 40_000


def test_a_picture_that_looks_the_same_keeps_its_bytes():
    photo = np.random.default_rng(0).integers(0, 200, (60, 80, 3), np.uint8)

    def stored(pixels, before=()):
        shown = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(png_of(pixels)).decode()})
        return chapters.kept_outputs([shown], 10_000, before=before)

    first, near = stored(photo), photo.copy()
    near[10, 10] += 50
    assert stored(near, first) == first != stored(near)
    assert stored(photo + 20, first) != first


def test_equations_and_figures_are_numbered_in_order_and_references_say_the_same(tmp_path):
    one, two = tmp_path / "03_one.ipynb", tmp_path / "04_two.ipynb"
    equation = '<a id="eq-{0}"></a>\n\n$$\na_{{{0}}} = \\frac{{1}}{{2}}\n\\tag{{9.9}}\n$$\n\nBy [(8.8)](#eq-{0}).'
    figure = '<a id="fig-{0}"></a>\n\n**Figure 7.7.** Of [(5.5)](03_one.ipynb#eq-b) and [Figure 1.1](#fig-{0}).'
    for path, texts in ((one, [equation.format("a"), equation.format("b")]), (two, [figure.format("c")])):
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text) for text in texts]), path)
    chapters.number_labels([one, two])
    a, b = cells(one, "markdown")
    assert "\\tag{3.1}" in a.source and "[(3.1)](#eq-a)" in a.source
    assert "\\tag{3.2}" in b.source and "[(3.2)](#eq-b)" in b.source
    (c,) = cells(two, "markdown")
    assert c.source.endswith("**Figure 4.1.** Of [(3.2)](03_one.ipynb#eq-b) and [Figure 4.1](#fig-c).")


def test_the_chapters_are_numbered(tmp_path):
    copies = [Path(shutil.copy(path, tmp_path)) for path in CHAPTERS]
    chapters.number_labels(copies)
    for path, copy in zip(CHAPTERS, copies, strict=True):
        say = f"run `python book/chapters.py --number {path.relative_to(ROOT)}`"
        assert copy.read_bytes() == path.read_bytes(), say


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_copy_for_students_has_every_exercise_and_no_solution(path, tmp_path):
    copy = chapters.without_solutions(path, tmp_path / "for-students")
    assert len(solutions(path)) >= 4 and "Solution to" not in prose(copy)
    asked = re.findall(r"^### Exercise (\d+\.\d+) ", prose(copy), re.M)
    assert asked == list(exercises(path)) == list(solutions(path))
    left = SOLUTION.sub("", prose(path) + "\n").splitlines()
    assert [line for line in prose(copy).splitlines() if line] == [line for line in left if line]
    assert [cell.source for cell in cells(copy, "code")] == [cell.source for cell in cells(path, "code")]


def test_the_command_for_copies_refuses_in_one_sentence(tmp_path, capsys):
    chapters.main(["--without-solutions", str(tmp_path), *map(str, CHAPTERS[:2])])
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in CHAPTERS[:2]]
    for name, said in ((CHAPTERS[0].name, "name another folder"), ("none.ipynb", "there is no file")):
        with pytest.raises(SystemExit) as stopped:
            chapters.main(["--without-solutions", str(tmp_path), str(tmp_path / name)])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err


def test_the_page_for_teachers_says_what_is_in_the_chapters():
    page = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \{doc\}`/notebooks/(\S+)` \|[^|]*\|([^|]*)\| (\d+) \((\d+)\) \|$", page, re.M)
    assert [row[0] for row in rows] == [path.stem for path in CHAPTERS]
    for path, (_, needs, count, checked) in zip(CHAPTERS, rows, strict=True):
        ids = [exercise["id"] for exercise in exercises(path).values()]
        assert (int(count), int(checked)) == (len(ids), len(set(ids) & set(all_exercises())))
        before = re.search(r"\*\*Before you start\*\*:.*?\n>\n", prose(path), re.S)[0]
        assert re.findall(r"\d+", needs) == [str(int(n)) for n in sorted(re.findall(r"\((\d\d)_", before))]
