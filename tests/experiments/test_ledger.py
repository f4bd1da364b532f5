"""The ledger: rows that add up, and pages on which no number can hide."""

import io
import re
from decimal import Decimal
from html import unescape

import pytest
from made_up import record
from rich.console import Console
from unbacked import unbacked_numbers

from restore_lib import experiments
from restore_lib.errors import RecordError
from restore_lib.experiments import ledger, load_all, pages, published, save
from restore_lib.experiments.ledger import BLANK, NOT_RUN, SAME
from restore_lib.experiments.protocols import CLASSIC, PROTOCOLS
from restore_lib.experiments.records import over_seeds

PSNR = {"x2": 33.6614, "x3": 30.3822, "x4": 28.4207}


def classic(dataset="set5", **changes):
    values = {c: {"psnr": [v], "ssim": [0.92988 if c == "x2" else 0.8]} for c, v in PSNR.items()}
    return record(values, dataset=dataset, images=["a"], **changes)


@pytest.fixture
def results(tmp_path):
    for dataset in ("set5", "urban100_every8th"):
        save(classic(dataset), tmp_path)
    for seed, shift in enumerate((0.0, 0.25)):
        values = {c: {"psnr": [25 + shift], "ssim": [0.5], "lr_psnr": [40.0]} for c in PROTOCOLS["diinn"].conditions}
        save(record(values, images=["a"], protocol="diinn", seed=seed), tmp_path)
    return tmp_path


def lines(results, section="classic", metric="psnr"):
    part = experiments.find("bicubic").section(section)
    rows = ledger.entries(part, load_all(results), metric)
    return {(row.line.dataset, row.line.condition): row.cells() for row in rows}


def test_a_row_shows_theirs_ours_and_a_difference_that_adds_up(results):
    cells = lines(results)
    x2, x3 = (cells["set5", scale] for scale in ("x2", "x3"))
    assert [x2[c].text for c in ("paper", "ours", "difference", "why")] == ["33.66", "33.66", "0.00", SAME]
    assert [x3[c].text for c in ("paper", "ours", "difference")] == ["30.39", "30.38", "−0.01"]
    assert x3["why"].text  # a difference is never left without a word
    assert lines(results, metric="ssim")["set5", "x2"]["ours"].text == "0.9299"


def test_blanks_are_said_and_never_filled(results):
    cells = lines(results)
    assert cells["set14", "x2"]["ours"].text == NOT_RUN
    assert cells["set14", "x2"]["difference"].text == ""
    assert cells["set5", "x2"]["official log"].text == BLANK
    diinn = lines(results, "diinn")["set5", "x2"]
    assert diinn["paper"].text == BLANK and not diinn["paper"].source
    assert diinn["difference"].text == "" and diinn["why"].text


def test_a_subset_is_shown_but_not_subtracted(results):
    urban = lines(results)["urban100_every8th", "x2"]
    assert urban["paper"].text == "26.88" and urban["ours"].text == "33.66"
    assert urban["difference"].text == "" and "not comparable" in urban["why"].text


def test_runs_with_several_seeds_show_mean_and_spread(results):
    assert lines(results, "diinn")["set5", "x2"]["ours"].text == "25.12 ± 0.18"


def test_the_largest_run_is_shown_and_runs_are_not_mixed(results):
    small, large = (record(recipe="r", steps=steps, tier=tier) for steps, tier in ((10, "cpu"), (900, "gpu")))
    assert ledger.newest([small, large]) == [large]
    assert ledger.newest([]) == []


@pytest.mark.parametrize(("ours", "theirs", "shown"), [(33.6614, "33.66", "0.00"), (1.236, "1.20", "+0.04")])
def test_differences_have_the_published_digits(ours, theirs, shown):
    number = published.Number(theirs, published.tables()["liif-div2k"], "", "")
    assert ledger.signed(ledger.subtract(ours, number)) == shown
    assert ledger.signed(Decimal("-0.3")) == "−0.3"


PARTS = [("ledger", "bicubic", name) for name in PROTOCOLS] + [("comparison", "bicubic", "psnr", ("x2", "x3", "x4"))]


def page(results) -> str:
    parts = [getattr(pages, name)(*arguments, folder=results).html for name, *arguments in PARTS]
    return "".join([*parts, pages.waiting().html, pages.index(results).html])


def test_every_number_on_the_page_is_backed(results):
    html = page(results)
    assert unbacked_numbers(html, results) == []
    shown = re.findall(r'<td data-source="([^"]*)"[^>]*>([^<]*)<', html)
    assert len(shown) > 700
    assert {source.partition(":")[0] for source, _ in shown} == {"published", "record", "difference", "range"}


def test_every_single_number_is_checked(results):
    """Change the last digit of each number of a ledger in turn: each time exactly that number is reported."""
    html = pages.ledger("bicubic", "classic", results).html
    html += pages.comparison("bicubic", "psnr", ("x2",), results).html
    matches = list(re.finditer(r'<td data-source="[^"]*"[^>]*>[^<]*?(\d)<', html))
    assert len(matches) > 30
    for match in matches:
        other = str((int(match[1]) + 1) % 10)
        changed = html[: match.start(1)] + other + html[match.end(1) :]
        assert len(unbacked_numbers(changed, results)) == 1, match[0]


@pytest.mark.parametrize(
    "fake",
    [
        "<table><tr><td>31.415</td></tr></table>",
        "<table><tr><td>31</td></tr></table>",
        "<table><tr><td>33.66</td></tr></table>",  # a true number without its reference
        "<table><tr><td>about 31.4 dB</td></tr></table>",
        "<table><tr><th>31.415</th></tr></table>",
        "<table><tr><td data-source='record:gone.json#x2/psnr'>31.41</td></tr></table>",
        "<table><tr><td data-source='record:bicubic__set5__classic.json#x9/psnr'>33.66</td></tr></table>",
        "<table><tr><td data-source='published:liif-div2k#bicubic/x9'>31.01</td></tr></table>",
        "<table><tr><td data-source='published:liif-div2k#bicubic/x2'>31.0100</td></tr></table>",
        "<table><tr><td data-source='published:bicubic'>31.01</td></tr></table>",
        "<table><tr><td data-source='rumour:31.01'>31.01</td></tr></table>",
        "<table><tr><td data-source='difference:published:liif-div2k#bicubic/x2'>+0.01</td></tr></table>",
        "<table><tr><td><span data-source='published:liif-div2k#bicubic/x2'>31.01</span> or 31.42</td></tr></table>",
        "<p>We reach 31.415.</p>",
        "<p>We reach <b>31.415</b> dB.</p>",
        "<p>We reach 31 dB.</p>",
        "<p>It is 31 % better.</p>",
        "<p>max31.415</p>",
        "<li>31.<em>415</em></li>",
        "<div>31.415",
        "<p><br>31.415<img alt='x'></p></b>",
        "<figcaption>PSNR 31.415</figcaption>",
    ],
)
def test_a_number_nobody_measured_is_found(results, fake):
    assert len(unbacked_numbers(page(results) + fake, results)) == 1


@pytest.mark.parametrize(
    "honest",
    [
        "<p>Scales ×2.5 and x3.5 on B100, Set14, 13 of 100 images, in 2018, Table 1.</p>",
        "<p>LIIF prints 31.01 for it and we found 33.66, or 33.661.</p>",
        "<p>Install <code>torch 2.10.0</code>, call <code>f(0.25)</code>.</p>",
        '<p>For <span class="math notranslate nohighlight">\\(a = 31.415\\)</span> it holds.</p>',
        "<pre>31.415 <b>dB</b></pre><script>var a = 31.415</script><style>p {margin: 1.5em}</style>",
        "<table><tr><th>×2</th><td>13 of 100 images</td><td></td><td>not available here</td></tr></table>",
        "<table><tr><td data-source='published:liif-div2k#bicubic/x2'>31.01</td></tr></table>",
        "<table><tr><td data-source='record:bicubic__set5__classic.json#x3/psnr'>30.4</td></tr></table>",
        "<p>[0, 1], (16, 235), 8 bit, commit 33e66, 481 × 321</p>",
    ],
)
def test_honest_text_is_left_alone(results, honest):
    assert unbacked_numbers(honest, results) == []


def test_a_number_loses_its_backing_with_its_record(results):
    html = page(results)
    (results / "bicubic__set5__classic.json").unlink()
    assert "33.66" in unbacked_numbers(html, results)


def test_damaged_records_do_not_pass_unseen(results):
    (results / "bicubic__set14__classic.json").write_text("{")
    with pytest.raises(RecordError, match="set14"):
        pages.ledger("bicubic", "classic", results)
    with pytest.raises(RecordError, match="set14"):
        unbacked_numbers("", results)


def test_the_protocol_is_printed_above_its_numbers(results):
    html = unescape(pages.ledger("bicubic", "classic", results).html)
    for text in CLASSIC.rules.values():
        assert html.index(text) < html.index("<table")
    assert "results/bicubic__set5__classic.json" in html


def test_tables_scroll_on_their_own_and_have_names(results):
    html = page(results)
    assert html.count("<table") == html.count("<caption>") == html.count('role="region" tabindex="0" aria-label="')
    assert html.count("<details>") == html.count("<summary>") == html.count("</details>")
    for row in re.findall(r"<tr[ >].*?</tr>", html):
        assert "<th scope=" in row, row


def test_the_terminal_shows_the_same(results):
    records = load_all(results)
    out = Console(file=io.StringIO(), width=200)
    ledger.print_table(experiments.find("bicubic"), records, out)
    text = out.file.getvalue()
    assert re.search(r"Set5 +│ x2 +│ 33\.66 +│ 33\.66 +│ 0\.00 +│ same digits", text)
    assert all(protocol.title in text for protocol in PROTOCOLS.values())
    out = Console(file=io.StringIO(), width=200)
    ledger.print_table(experiments.find("liif-div2k"), records, out)
    assert "31.01" in out.file.getvalue()


def test_tables_know_how_much_of_them_is_measured(results):
    records = load_all(results)
    measured = {entry["table"]: entry["measured"] for entry in pages.overview(records)}
    assert measured["bicubic"] == f"{6 + 6 + 21} of {24 + 20 + 84}"
    means = {"psnr": 3 + 3 + 2 + 3 + 3 + 1 + 3 + 3 + 3, "ssim": 19, "lpips_alex": 19}
    assert measured["liu2018-kodak"] == f"0 of {sum(means.values()) + 24 * 13}"
    assert measured["nguyen2023-integer"] == BLANK


def test_tables_that_do_not_exist_are_said():
    with pytest.raises(RecordError, match="restore reproduce list"):
        experiments.find("bicubicle")
    with pytest.raises(RecordError, match=r"Table 1.*not seen"):
        experiments.find("nguyen2023-integer")
    with pytest.raises(KeyError, match="dinn"):
        experiments.find("bicubic").section("dinn")


def kodak_record(recipe, sigmas, **changes):
    images = [f"kodim{n:02}" for n in range(1, 25)]
    values = {f"sigma {s}": {"psnr": [30 + n / 10 + s / 1000 for n in range(24)]} for s in sigmas}
    return record(values, recipe=recipe, dataset="kodak24", protocol="liu2018", images=images, seed=0, **changes)


def test_the_kodak_table_finds_means_and_single_photos(tmp_path):
    save(kodak_record("cbm3d", (25, 35, 50)), tmp_path)
    save(kodak_record("denoiser-35", (35,), steps=100), tmp_path)
    table, records = experiments.find("liu2018-kodak"), load_all(tmp_path)
    means = {(r.line.group, r.line.condition): r for r in ledger.entries(table.section("means"), records, "psnr")}
    assert means["CBM3D", "sigma 50"].ours.value == pytest.approx(31.2)
    assert means["paper A, as released", "sigma 35"].ours.value == pytest.approx(31.185)
    assert means["paper A, as released", "sigma 25"].cells()["ours"].text == NOT_RUN
    assert means["TNRD", "sigma 25"].cells()["ours"].text == ledger.PUBLISHED_ONLY
    assert means["noisy photo", "sigma 25"].cells()["paper"].text == ""  # the paper has no such row
    single = {(r.line.image, r.line.condition): r for r in ledger.entries(table.section("photos"), records)}
    third = next(r for r in ledger.entries(table.section("photos"), records) if r.line.group == "CBM3D, photo 03")
    assert third.line.paper.text == "34.54" and third.ours.value == pytest.approx(30.225)
    assert third.cells()["difference"].text in ("−4.31", "−4.32")  # 30.225 minus 34.54
    assert len({image for image, _ in single}) == 24


def test_photos_stand_in_a_wide_table_with_sources(tmp_path):
    save(kodak_record("cbm3d", (25, 35, 50)), tmp_path)
    html = pages.photos("liu2018-kodak", "sigma 35", tmp_path).html
    assert unbacked_numbers(html, tmp_path) == []
    assert html.count("<tr>") == 25 and html.count("data-source") == 48  # CBM3D alone has been measured
    assert "DnCNN" not in html
    forged = html.replace(">31.07<", ">31.08<", 1)
    assert unbacked_numbers(forged, tmp_path) == ["31.08"]


def test_a_single_photo_is_averaged_over_seeds(tmp_path):
    records = [record({"x2": {"psnr": [20.0 + s, 30.0]}}, images=["a", "b"], seed=s) for s in (0, 1)]
    actual = over_seeds(records, "x2", "psnr", "a")
    assert actual.value == 20.5 and actual.runs == 2
    assert over_seeds(records, "x2", "psnr", "c") is None


def test_a_sentence_holds_the_numbers_of_its_places_and_refuses_others(results):
    text = "Set5: {a.ours} dB, printed {a.paper}, {a.difference}; twice as large {b.ours}."
    html = pages.sentence(text, "bicubic", "classic", "psnr", results, a=("Set5", "x3"), b=("Set5", "x2")).html
    assert re.sub("<.*?>", "", html) == "Set5: 30.38 dB, printed 30.39, −0.01; twice as large 33.66."
    assert unbacked_numbers(html, results) == []
    assert unbacked_numbers(html.replace(">30.38<", ">30.40<"), results) == ["30.40"]
    with pytest.raises(KeyError, match="Set6"):
        pages.sentence("{a.ours}", "bicubic", "classic", "psnr", results, a=("Set6", "x3"))


@pytest.mark.parametrize(("metric", "first"), [("psnr", "EDSR (small)"), ("lpips_alex", "ZSSR")])
def test_an_order_begins_with_the_best_by_that_metric(tmp_path, metric, first):
    values = {"edsr-l1-bicubic": {"psnr": [25.0], "lpips_alex": [0.5]}, "zssr": {"psnr": [24.5], "lpips_alex": [0.25]}}
    part = experiments.find("realsr-track1").section("weak")
    for line in part.lines:
        name = {"EDSR (small)": "edsr-l1-bicubic", "ZSSR": "zssr"}.get(line.group)
        if name and line.metric == metric:
            about = {"recipe": line.recipe, "dataset": line.dataset, "protocol": line.protocol}
            save(record({line.condition: values[name]}, images=["a"], **about), tmp_path)
    html = pages.order("By this metric", "realsr-track1", "weak", metric, "x4", folder=tmp_path).html
    assert re.findall(r"EDSR \(small\)|ZSSR", html)[0] == first
    assert unbacked_numbers(html, tmp_path) == []


def test_a_chart_names_what_it_shows_and_keeps_to_what_was_asked_for(results):
    html = pages.chart("bicubic", "classic", conditions=["x2", "x3"], groups=["Set5"], folder=results).html
    assert 'src="data:image/svg+xml;base64,' in html
    alt = re.search(r'alt="([^"]+)"', html)[1]
    assert "×2 PSNR in dB" in alt and "×3 PSNR in dB" in alt and "×4" not in alt


def test_what_is_not_measured_is_listed_and_not_shown_in_tables(tmp_path):
    name, part = "realsr-track1", experiments.find("realsr-track1").section("pairs")
    first = part.lines[0]
    about = {"recipe": first.recipe, "dataset": first.dataset, "protocol": first.protocol}
    save(record({first.condition: {m: [0.5] for m in part.metrics}}, images=["a"], **about), tmp_path)
    shown, waiting = pages.pivot(name, "pairs", folder=tmp_path).html, unescape(pages.unmeasured(tmp_path).html)
    others = {line.group for line in part.lines} - {first.group}
    assert first.group in unescape(shown) and others
    assert all(group not in unescape(shown) and group in waiting for group in others)
