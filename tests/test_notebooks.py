"""Chapters: reference outputs exist, nothing heavy is stored, and the printed solutions pass their own checks."""

import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest

from restore_lib import teaching
from restore_lib.teaching.checks import all_exercises

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "book"))
import chapters  # noqa: E402

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXERCISE = re.compile(
    r":{3,}\{exercise\}.*?\n:label: (?P<label>\S+)\n"
    r".*?\*\*(?P<id>\d+\.\d+) \((?P<kind>\w+)\)\*\*(?P<text>.*?)\n:{3,}\n",
    re.S,
)
SOLUTION = re.compile(r":{4,}\{solution\} (?P<label>\S+)\n:class: dropdown\n(?P<text>.*?)\n:{4,}(?:\n|$)", re.S)


def cells(path: Path, kind: str) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def prose(path: Path) -> str:
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


def exercises(path: Path) -> dict[str, dict]:
    return {match["label"]: match.groupdict() for match in EXERCISE.finditer(prose(path) + "\n")}


def solutions(path: Path) -> dict[str, str]:
    return {match["label"]: match["text"] for match in SOLUTION.finditer(prose(path) + "\n")}


def test_the_table_of_contents_lists_every_chapter():
    listed = set(re.findall(r"notebooks/(\S+)", (ROOT / "_toc.yml").read_text()))
    assert listed == {path.stem for path in CHAPTERS}
    assert CHAPTERS


def test_labels_are_of_one_place_each():
    """Sphinx says so only at the end of a whole build."""
    labels = []
    for path in CHAPTERS:
        shown = [cell.metadata.get("mystnb", {}).get("figure") for cell in cells(path, "code")]
        labels += [figure["name"] for figure in shown if figure]
        labels += re.findall(r"^:label: (\S+)$", prose(path), re.M)
    labels = [label for label in labels if not label.startswith("ex-")]  # a solution repeats its exercise's
    assert labels and sorted(labels) == sorted(set(labels))


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
def test_only_text_is_stored(path):
    assert path.stat().st_size < 200_000
    for cell in cells(path, "code"):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert set(output.get("data", {})) <= {"text/plain"}
            assert output.get("name") != "stderr", f"a warning is stored: {output.get('text')}"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_cells_are_short_and_import_the_library(path):
    for cell in cells(path, "code"):
        assert cell.source.count("\n") <= 25, cell.source[:80]
        code = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", cell.source)
        bases = {
            ast.unparse(b) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ClassDef) for b in node.bases
        }
        assert not bases & {"nn.Module", "torch.nn.Module"}, "models live in restore_lib"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_figure_has_alt_text_and_a_caption(path):
    for cell in cells(path, "code"):
        if any("Figure" in str(output.get("data", {})) for output in cell.outputs):
            shown = cell.metadata.get("mystnb", {})
            assert len(shown.get("image", {}).get("alt", "")) > 30, cell.source[:80]
            assert shown["figure"]["caption"] and shown["figure"]["name"].startswith("fig-")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_each_exercise_has_a_folded_solution(path):
    asked = exercises(path)
    assert len(asked) >= 3
    assert asked.keys() == solutions(path).keys()
    chapter = str(int(path.stem.split("_")[0]))
    assert all(exercise["id"].split(".")[0] == chapter for exercise in asked.values())


def checked() -> list:
    return [
        pytest.param(path, label, exercise["id"], id=exercise["id"])
        for path in CHAPTERS
        for label, exercise in exercises(path).items()
        if f'check("{exercise["id"]}"' in exercise["text"]
    ]


def test_three_exercises_of_each_chapter_check_themselves():
    for path in CHAPTERS:
        assert sum(param.values[0] == path for param in checked()) >= 3, path.stem


@pytest.mark.parametrize(("path", "label", "number"), checked())
def test_the_printed_solution_passes_its_check(path, label, number):
    name = re.search(rf'check\("{re.escape(number)}", (\w+)\)', exercises(path)[label]["text"])[1]
    space = {}
    imports = [cell.source for cell in cells(path, "code") if "import" in cell.source and "%pip" not in cell.source]
    for source in imports:
        for node in ast.parse(source).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                exec(compile(ast.Module([node], []), path.name, "exec"), space)
    exec("\n".join(re.findall(r"```python\n(.*?)```", solutions(path)[label], re.S)), space)
    result = teaching.check(number, space[name])
    assert result.passed, str(result)


def test_the_tool_that_stores_outputs_keeps_text_only(tmp_path, monkeypatch):
    book = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell("import os; print(os.environ['RESTORE_TIER'])"),
        nbformat.v4.new_code_cell("from IPython.display import HTML\nHTML('<b>x</b>')"),
        nbformat.v4.new_code_cell("print('secret')", metadata={"tags": ["nbval-ignore-output"]}),
    ])  # fmt: skip
    path = tmp_path / "a.ipynb"
    nbformat.write(book, path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{__import__('os').environ['PATH']}")
    chapters.store_outputs(path)
    stored = cells(path, "code")
    assert stored[0].outputs[0].text == "smoke\n"
    assert set(stored[1].outputs[0].data) == {"text/plain"}
    assert stored[2].outputs == [] and stored[2].execution_count == 3


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_copy_for_students_has_every_exercise_and_no_solution(path, tmp_path):
    copy = chapters.without_solutions(path, tmp_path / "for-students")
    assert len(solutions(path)) >= 4 and "{solution}" not in prose(copy)
    assert list(exercises(copy)) == list(exercises(path)) == list(solutions(path))
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
        before = re.search(r"\*\*Before you start\*\*:.*?\n\n", prose(path), re.S)[0]
        assert re.findall(r"\d+", needs) == [str(int(n)) for n in sorted(re.findall(r"<(\d\d)_", before))]
