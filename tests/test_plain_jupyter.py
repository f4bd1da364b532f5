"""The chapters without the book: what GitHub, Colab and JupyterLab show of them, which know nothing of MyST."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbconvert.filters import markdown2html_mistune

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "book"))
import bibliography  # noqa: E402
import chapters  # noqa: E402

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = sorted((ROOT / "book").glob("**/*.md"))
LINK = re.compile(r"\[(?P<text>(?:[^\[\]]|\\.)*)\]\((?P<file>[^()#\s]*)(?:#(?P<name>[^()\s]+))?\)")
CODE = re.compile(r"^(```+).*?^\1|`[^`\n]+`", re.S | re.M)
MATH = re.compile(r"(?<!\\)\$\$.+?\$\$|(?<![\\$])\$(?!\s)[^$]+?(?<!\s)\$(?!\d)", re.S)
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def texts(path: Path) -> list[str]:
    """The Markdown cells of a chapter, or the one text of a page."""
    if path.suffix == ".md":
        return [path.read_text(encoding="utf-8")]
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]


def raw_markup(text: str) -> list[str]:
    """What only MyST reads: directives, roles, targets, options, comments."""
    without = re.sub(r"^```(?!\{).*?^```", "", text, flags=re.S | re.M)
    pattern = r"^\s*>?\s*(?::{3,}.*|```\{.*|\([\w-]+\)=|:\w+:.*|%.*|\+\+\+.*)|\{[a-z:]+\}`.*|\$\$ *\([\w-]+\)"
    return [found.strip() for found in re.findall(pattern, without, re.M)]


def anchors(path: Path) -> set[str]:
    """The names that a link may give after ``#``: anchors, and the headings of a page."""
    text = "\n\n".join(texts(path))
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return set(chapters.ANCHOR.findall(text)) | slugs


class Page(HTMLParser):
    """What a reader sees of a cell before anything is unfolded, what is folded, and what is code."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.seen, self.folded, self.tags = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("br", "img", "hr", "input", "col"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert tag in self.open, f"</{tag}> closes nothing"
        while self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if "code" not in self.open and "pre" not in self.open:
            folded = "details" in self.open and "summary" not in self.open
            (self.folded if folded else self.seen).append(data)


@pytest.mark.parametrize("markup", [
    "```{math}\n:label: eq-a\nx\n```", ":::{admonition} A", "{cite:p}`liu`", "see {doc}`/book/api`", "(eq-a)=",
    "$$x$$ (a)", "> :::{note}",
    ":class: tip", "% note",
])  # fmt: skip
def test_raw_markup_is_found(markup):
    assert raw_markup(f"Text.\n\n{markup}\n") != []


@every_chapter
def test_nothing_is_written_for_myst_alone(path):
    assert [found for text in texts(path) for found in raw_markup(text)] == []


@every_chapter
def test_plain_jupyter_typesets_every_equation(path):
    """Formulas stand between dollars, displayed ones in lines of their own, and no TeX is left outside of them."""
    for text in texts(path):
        without_code = CODE.sub("", text)
        for display in re.findall(r"\$\$.*?\$\$", without_code, re.S):
            assert re.fullmatch(r"\$\$\n(?:[^\n]+\n)+\$\$", display), f"blank lines, or dollars not alone: {display}"
            assert not re.search(r"^\s*>", display, re.M), f"quoted: {display}"
            assert "\\label" not in display and display.count("\\tag") <= 1
            for name in re.findall(r"\\begin\{(\w+)\}", display):
                assert name not in ("equation", "align", "gather"), f"these are displays of their own: {name}"
        left = MATH.sub("", without_code)
        assert "$" not in left, left[max(0, left.index("$") - 60) :][:120]
        assert not re.search(r"\\(?:frac|sum|sigma|begin|mathbb|operatorname|big|text)\b", left)


@every_chapter
def test_solutions_and_hints_are_folded(path):
    """As nbconvert, and so GitHub, renders the cells: details closed, Markdown inside of them rendered."""
    number = 0
    for text in texts(path):
        page = Page(markdown2html_mistune(text))
        assert page.open == [], f"not closed: {page.open}: {text[:80]}"
        assert all("open" not in attributes for tag, attributes in page.tags if tag == "details")
        number += sum(tag == "details" for tag, _ in page.tags)
        folded = MATH.sub("", "".join(page.folded))
        assert "**" not in folded and "```" not in folded and "](" not in folded, "Markdown inside is not rendered"
        if "### Exercise" in text and "<details>" in text:
            assert "Solution to" in "".join(page.seen)
            assert text.rstrip().endswith("</details>"), "a solution lies open below its exercise"
    assert number >= 4


@every_chapter
def test_code_that_the_book_folds_is_folded_in_jupyter(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            hidden = bool(chapters.HIDDEN & set(cell.metadata.get("tags", [])))
            folded = cell.metadata.get("jupyter", {})
            assert folded.get("source_hidden", False) == hidden, cell.source[:80]
            assert folded.get("outputs_hidden", False) == ("hide-output" in cell.metadata.get("tags", []))


OPTION = re.compile(r"^<details>\n<summary>(?P<guess>[^\n]+)</summary>\n\n(?P<says>.+?)\n\n</details>$", re.S | re.M)
QUIZ = [path for path in CHAPTERS if any("## Quiz" in text for text in texts(path))]


def test_a_quiz_explains_every_guess():
    """Five questions of three or four guesses, one of them right, each with its reason."""
    assert len(QUIZ) == len(CHAPTERS)
    for path in QUIZ:
        (quiz,) = (text for text in texts(path) if "## Quiz" in text)
        questions = re.split(r"^\*\*\d\.\*\* ", quiz, flags=re.M)[1:]
        assert len(questions) == 5, path.stem
        for question in questions:
            says = [match["says"].split(".")[0] for match in OPTION.finditer(question)]
            assert 3 <= len(says) <= 4 and sorted(set(says)) == ["No", "Right"] and says.count("Right") == 1, question
            assert all(len(match["says"]) > 25 for match in OPTION.finditer(question)), question


def verdicts(text: str) -> list[str]:
    """Lines that say no more than whether something is true."""
    return re.findall(r"^(?:.*: +)?(?:True|False)\b.*$", text, re.M)


@pytest.mark.parametrize(("text", "found"), [
    ("better by 8 dB: True", 1), ("False", 1), ("a:   False   b: True", 1), ("align=True 2.5 dB", 0),
    ("gain: 8.2 dB", 0),
])  # fmt: skip
def test_verdicts_are_found(text, found):
    assert len(verdicts(text)) == found


@every_chapter
def test_cells_print_values_and_no_verdicts(path):
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            assert verdicts(text) == [], cell.source[:80]


@pytest.mark.parametrize("path", [*CHAPTERS, *PAGES], ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    known = {}
    for text in texts(path):
        for match in LINK.finditer(MATH.sub("", CODE.sub(lambda m: m[0] if "\n" not in m[0] else "", text))):
            if ":" in match["file"]:
                continue
            target = (path.parent / match["file"]).resolve() if match["file"] else path
            assert target.is_file() and target.is_relative_to(ROOT), match[0]
            if match["name"]:
                assert match["name"] in known.setdefault(target, anchors(target)), match[0]


def test_the_bibliography_is_current():
    written = (ROOT / "book" / "bibliography.md").read_text(encoding="utf-8")
    assert written == bibliography.page(), "run `python book/bibliography.py`"
    assert anchors(ROOT / "book" / "bibliography.md") > set(bibliography.references().entries.keys())


def test_every_reference_has_a_doi_an_arxiv_number_or_an_address_of_its_own():
    month = r"(0[1-9]|1[0-2])"  # arXiv: year, month, and a number of four digits up to 2014, of five from 2015 on
    arxiv = rf"(0[7-9]|1[0-4]){month}\.\d{{4}}|(1[5-9]|2\d){month}\.\d{{5}}"
    form = {"doi": r"10\.\d{4,9}/\S+", "eprint": arxiv, "url": r"https://[\w.-]+/\S*"}
    written = bibliography.page()
    seen = {}
    for key, entry in bibliography.references().entries.items():
        found = {field: entry.fields[field] for field in form if field in entry.fields}
        assert found, f"{key} has neither doi, eprint nor url"
        for field, value in found.items():
            assert re.fullmatch(form[field], value), f"{key}: {field} = {value}"
            assert seen.setdefault(value.lower(), key) == key, f"{key} and {seen[value.lower()]} have {value}"
            start = {"doi": "https://doi.org/", "eprint": "https://arxiv.org/abs/", "url": ""}[field]
            assert f"]({start}{value})" in written, f"{key}: {field} is no link in the list"
        assert "eprint" not in found or entry.fields["archiveprefix"] == "arXiv", key
        assert not re.search("arxiv", entry.fields.get("note", ""), re.I), f"{key}: eprint holds the arXiv number"


@pytest.mark.parametrize("path", [*CHAPTERS, *PAGES], ids=lambda path: path.stem)
def test_citations_name_the_authors_and_the_year_of_what_they_lead_to(path):
    entries = bibliography.references().entries
    for text in texts(path):
        for match in LINK.finditer(text):
            if match["file"].endswith("bibliography.md") and match["name"]:
                entry = entries[match["name"]]
                who, year = bibliography.short_name(entry), entry.fields["year"]
                assert " ".join(match["text"].split()) in (f"{who}, {year}", f"{who} ({year})"), match[0]
