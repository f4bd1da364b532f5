"""The index of equations: nothing that the papers number is missing, and every link leads to what it names."""

import importlib.util
import inspect
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
NUMBERED = {  # what the papers number, as far as their text could be seen
    "A": {"Figure 2", "Table 1", "Table 2", "Table 3"},
    "B": {"Algorithm 1", "Eq. 4", "Eq. 7", "Table 1"},
    "C": {*(f"Eq. {n}" for n in range(1, 10)), *(f"Table {n}" for n in range(1, 6))},
}


@pytest.fixture(scope="module")
def equations():
    spec = importlib.util.spec_from_file_location("equations", ROOT / "book" / "equations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("paper", NUMBERED)
def test_every_numbered_item_of_a_paper_has_a_place(equations, paper):
    places = next(places for title, places in equations.PAPERS.items() if title.startswith(paper))
    assert NUMBERED[paper] <= {place.number for place in places}


def test_every_place_is_code_that_exists_and_the_page_is_current(equations):
    for places in equations.PAPERS.values():
        for place in places:
            assert equations.code_of(place) is not None
            assert equations.chapter_file(place.chapter).exists()
    written = (ROOT / "book" / "equations.md").read_text(encoding="utf-8")
    assert written == equations.page(), "run `python book/equations.py`"


def test_equations_are_marked_where_the_index_says(equations):
    """The source that an equation's number leads to shows that number."""
    for title, places in equations.PAPERS.items():
        for place in places:
            if title.startswith("C") and place.number.startswith("Eq."):
                source = inspect.getsource(equations.code_of(place))
                numbers = {int(n) for n in re.findall(r"Eq\. (\d)", source)}
                for first, last in re.findall(r"Eqs\. (\d) to (\d)", source):
                    numbers |= set(range(int(first), int(last) + 1))
                assert int(place.number[4:]) in numbers, place


def test_links_to_sources_lead_somewhere_on_the_built_page(equations):
    folder = ROOT / "_build" / "html" / "book"
    if not folder.is_dir() and not os.environ.get("RESTORE_REQUIRE_BOOK"):
        pytest.skip("the book is not built: run `make book` first")
    for places in equations.PAPERS.values():
        for place in places:
            file, _, anchor = equations.source_page(place).partition("#")
            text = (folder / file).resolve().read_text(encoding="utf-8")
            assert not anchor or f'id="{anchor}"' in text, place
