"""The records that the book prints: readable, complete, and every difference from a paper explained."""

import ast
import re
from pathlib import Path

import pytest
from unbacked import unbacked_numbers

from restore_lib import experiments
from restore_lib.experiments import EXPERIMENTS, ledger, load_all, pages, results_folder

RECORDS = load_all(results_folder())
TABLES = list(EXPERIMENTS.values())


def rows():
    return [row for table in TABLES for section in table.sections for row in ledger.entries(section, RECORDS)]


def test_every_line_of_the_first_table_has_been_measured():
    table = EXPERIMENTS["bicubic"]
    assert table.measured(RECORDS) == len(table) == 128


@pytest.mark.parametrize(
    "table", [EXPERIMENTS["denoiser-ablation"], EXPERIMENTS["liu2018-vision"]], ids=lambda table: table.name
)
def test_every_line_without_a_published_number_has_been_measured(table):
    assert table.measured(RECORDS) == len(table) > 0


def test_every_difference_from_a_paper_has_a_reason():
    differing = [row for row in rows() if row.difference]
    assert not [row for row in differing if row.why in ("", ledger.UNEXPLAINED)]


def test_bicubic_has_the_published_digits_under_the_classic_protocol():
    comparable = [row for row in rows() if row.line.recipe == "bicubic" and row.difference is not None]
    assert len(comparable) == 3 * 3 * 2  # sets, scales, metrics
    assert all(row.difference == 0 for row in comparable)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.file)
def test_records_come_from_committed_code(record):
    assert record.commit != "unknown" and not record.commit.endswith("-dirty")


PAGES = sorted((Path(__file__).resolve().parent.parent.parent / "book").glob("results*.md"))


def measured(call):
    """How many measured numbers a call on a page must show."""
    call = ast.parse(call, mode="eval").body if isinstance(call, str) else call
    function = call.func.attr
    if function == "fold":
        return measured(call.args[1])
    arguments = [ast.literal_eval(argument) for argument in call.args]
    names = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    if function == "sentence":
        return len(re.findall(r"\{\w+\.ours\}", arguments[0]))
    if function in ("index", "waiting", "unmeasured", "chart"):
        return 0
    if function == "comparison":
        return 4 * 3 * 3  # sets, scales, protocols
    if function == "photos":
        lines = [x for x in experiments.find(arguments[0]).section("photos").lines if x.condition == arguments[1]]
    elif function == "order":
        _, table, section, metric, condition = arguments
        lines = experiments.find(table).section(section).lines
        lines = [x for x in lines if (x.metric, x.condition) == (metric, condition)]
        lines = [x for x in lines if x.group in names.get("groups", [x.group])]
    else:
        lines = experiments.find(arguments[0]).section(arguments[1]).lines
        if function == "ranking":
            lines = [x for x in lines if x.paper]
        elif names.get("columns") == "metric":
            lines = [x for x in lines if x.metric in names["metrics"]]
    return sum(bool(line.answered_by(RECORDS)) for line in lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_pages_are_backed_by_them(page):
    """A page's own cells and prose, without the builder; the built page is tested with the book."""
    source = page.read_text(encoding="utf-8")
    cells = re.findall(r"```{code-cell}[^\n]*\n(?::[^\n]*\n)*(.*?)```", source, re.S)
    calls = re.findall(r"^pages\.\w+\(.*\)$", "".join(cells), re.M)
    assert len(calls) == len(cells) >= 5
    html = "".join(eval(call, {"pages": pages}).html for call in calls)
    assert unbacked_numbers(html) == []
    assert html.count('data-source="record:') == sum(measured(call) for call in calls)
    prose = re.sub(r"^---.*?---$|```.*?```|`[^`]*`", "", source, flags=re.S | re.M)
    assert unbacked_numbers(f"<p>{prose}</p>") == []


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem[-2:] in ("_a", "_b", "_c")], ids=lambda page: page.stem)
def test_a_papers_page_opens_with_a_picture_and_sentences(page):
    calls = re.findall(r"^pages\.(\w+)\(", page.read_text(encoding="utf-8").partition("\n## ")[0], re.M)
    assert calls[0] == "chart" and 4 <= len(calls[1:]) <= 6
    assert set(calls[1:]) <= {"sentence", "order", "ranking"}
