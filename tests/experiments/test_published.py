"""The file of published numbers: digits as printed, each with a source, nothing from memory."""

import re
from pathlib import Path
from statistics import mean

import pytest

from restore_lib import experiments
from restore_lib.experiments import published

TABLES = published.tables()
ROOT = Path(__file__).resolve().parent.parent.parent
KEYS = set(re.findall(r"@\w+\{([^,]+),", (ROOT / "book" / "references.bib").read_text(encoding="utf-8")))
every_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


@every_table
def test_every_table_names_its_source(table):
    assert re.search(r"github\.com/[\w.-]+/[\w.-]+|stored notes", table.seen), "where the digits were read"
    assert table.where and table.protocol and table.title
    assert not table.citation or table.citation in KEYS


@every_table
def test_cells_are_digits_as_printed(table):
    assert len(set(table.columns)) == len(table.columns)
    for name, cells in table.rows.items():
        assert len(cells) == len(table.columns), name
        assert all(cell is None or re.fullmatch(r"\d+(\.\d+)?", cell) for cell in cells), name
        assert any(cell is not None for cell in cells), name
    assert not any(mark in text for text in (*table.columns, *table.rows) for mark in "/#|")  # they part references


@every_table
def test_numbers_of_a_column_have_the_same_digits_and_size(table):
    """What a typing error or a shifted column would break."""
    for position, column in enumerate(table.columns):
        cells = [row[position] for row in table.rows.values() if row[position]]
        if "rank" not in column and "IQA" not in column:
            assert len({len(cell.partition(".")[2]) for cell in cells}) <= (
                1 if table.name == "liu2018-kodak" else 2
            ), column
        if "PSNR" in column and "rank" not in column:
            assert all(15 < float(cell) < 45 for cell in cells), column
        if "SSIM" in column and "rank" not in column:
            assert all(0 < float(cell) < 1 for cell in cells), column


def test_columns_of_the_kodak_table_have_the_averages_that_are_printed():
    table = TABLES["liu2018-kodak"]
    images = [row for name, row in table.rows.items() if name != "average"]
    assert len(images) == 24
    for position, column in enumerate(table.columns):
        average = mean(float(row[position]) for row in images)
        assert abs(average - float(table.rows["average"][position])) < 0.025, column


def test_the_log_and_its_trajectory_end_alike():
    last, path = TABLES["diinn-log"], TABLES["diinn-log-trajectory"]
    for name, row in (("DIINN", "DIINN (f), mode 3"), ("LIIF", "LIIF"), ("Meta-SR", "Meta-SR")):
        for scale in ("x2", "x3", "x4"):
            end = published.number("diinn-log-trajectory", f"{name} {scale}", "epoch 50")
            assert end.text == published.number("diinn-log", row, scale).text
    assert all(float(row[0]) < float(row[-1]) for row in path.rows.values())
    assert last.kind == "official code's own log"


def test_ranks_of_the_leaderboards_order_the_values():
    for name in ("ntire2020-track1", "ntire2020-track2"):
        table = TABLES[name]
        for position, column in enumerate(table.columns):
            if column.endswith(" rank"):
                ranked = [(int(r[position]), float(r[position - 1])) for r in table.rows.values() if r[position]]
                assert len({rank for rank, _ in ranked}) == len(ranked), column
                values = [value for _, value in sorted(ranked)]
                assert values in (sorted(values), sorted(values, reverse=True)), f"{name} {column}"


def test_larger_scales_score_lower():
    for name in ("liif-div2k", "liif-benchmarks", "edsr-div2k"):
        for row, cells in TABLES[name].rows.items():
            values = [float(cell) for cell in cells if cell]
            assert values == sorted(values, reverse=True), (name, row)


def test_numbers_known_from_memory_only_are_not_there():
    """Rows that circulate without a source that was seen stay out: KernelGAN's comparison, FFDNet's Kodak row."""
    for name in ("div2krk-dan", "div2krk-rerun"):
        assert not {"bicubic", "EDSR", "RCAN"} & set(TABLES[name].rows)
    cells = {cell for table in TABLES.values() for row in table.rows.values() for cell in row}
    assert not {"34.63", "32.13", "30.57"} <= cells


def test_looking_up_a_number():
    number = published.number("liif-div2k", "bicubic", "x2")
    assert (number.text, number.value, number.decimals) == ("31.01", 31.01, 2)
    assert published.number("liif-div2k", "EDSR-baseline (one per scale)", "x6") is None
    for wrong in (("liif", "bicubic", "x2"), ("liif-div2k", "bicubics", "x2"), ("liif-div2k", "bicubic", "x5")):
        with pytest.raises((KeyError, ValueError)):
            published.number(*wrong)


def test_what_is_missing_is_not_also_there():
    assert not set(published.missing()) & set(TABLES)
    assert all(lost.citation in KEYS for lost in published.missing().values())
    assert "nguyen2023-integer" in published.missing()
    assert not set(published.missing()) & set(experiments.all_tables())
