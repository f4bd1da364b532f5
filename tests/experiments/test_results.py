"""The records that the book prints: readable, complete, and every difference from a paper explained."""

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


def measured(call):
    """How many measured numbers a call on the page must show."""
    function, arguments = re.fullmatch(r"pages\.(\w+)\((.*)\)", call).groups()
    if function in ("index", "waiting"):
        return 0
    names = eval(f"dict({arguments[arguments.index('columns=') :]})") if "columns=" in arguments else {}
    table, section, *_ = eval(f"({arguments.partition(', columns')[0]},)")
    if function == "comparison":
        return 4 * 3 * 3  # sets, scales, protocols
    if function == "photos":
        lines = [line for line in experiments.find(table).section("photos").lines if line.condition == section]
    elif function == "ranking":
        lines = [line for line in experiments.find(table).section(section).lines if line.paper]
    else:
        lines = experiments.find(table).section(section).lines
        lines = [line for line in lines if line.metric in names.get("metrics", [line.metric])]
    return sum(bool(line.answered_by(RECORDS)) for line in lines)


def test_the_page_is_backed_by_them():
    """The page's own cells and prose, without the builder; the built page is tested with the book."""
    source = (Path(__file__).resolve().parent.parent.parent / "book" / "results.md").read_text(encoding="utf-8")
    cells = re.findall(r"```{code-cell}[^\n]*\n(?::[^\n]*\n)*(.*?)```", source, re.S)
    calls = re.findall(r"^pages\.\w+\(.*\)$", "".join(cells), re.M)
    assert len(calls) == len(cells) >= 6
    html = "".join(eval(call, {"pages": pages}).html for call in calls)
    assert unbacked_numbers(html) == []
    assert html.count('data-source="record:') == sum(measured(call) for call in calls)
    prose = re.sub(r"^---.*?---$|```.*?```|`[^`]*`", "", source, flags=re.S | re.M)
    assert unbacked_numbers(f"<p>{prose}</p>") == []
