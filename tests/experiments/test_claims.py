"""What chapter 13 says about orders and gains, judged by the records that its tables show."""

import pytest

from restore_lib import experiments
from restore_lib.experiments import ledger, load_all, published, results_folder
from restore_lib.experiments.paper_b import AUTHORS, EDSR, ENDS, ESRGAN, REALSR, STAGE_1


@pytest.fixture(scope="module")
def measured():
    """Our value by section, recipe and metric."""
    table, records = experiments.find("realsr-track1"), load_all(results_folder())
    return {
        (part.name, entry.line.recipe, entry.line.metric): entry.ours.value
        for part in table.sections
        for entry in ledger.entries(part, records)
        if entry.ours
    }


def gap(measured, first, second, metric="psnr", part="methods"):
    return measured[part, first, metric] - measured[part, second, metric]


def test_stage_1_with_kernels_and_noise_has_the_best_psnr_of_our_networks(measured):
    psnr = {
        recipe: value for (part, recipe, metric), value in measured.items() if (part, metric) == ("methods", "psnr")
    }
    assert max((name for name in psnr if name not in AUTHORS), key=psnr.__getitem__) == STAGE_1


def test_realsr_pays_more_than_the_paper_s_half_decibel_and_noise_alone_little_of_it(measured):
    both, noise = gap(measured, STAGE_1, REALSR), gap(measured, ENDS[0], ENDS[1])
    assert both > 2 and noise < both / 4  # "decibels"; "a small part of that price"
    assert abs(gap(measured, REALSR, ENDS[1], "lpips_alex")) < 0.01  # "nearly the same LPIPS"


def test_learned_pairs_give_a_worse_lpips_than_collected_ones(measured):
    for other in (REALSR, ENDS[1]):
        assert gap(measured, "rrdb-gan-learned", other, "lpips_alex") > 0


def test_kernels_without_noise_are_worse_than_doing_nothing(measured):
    for stage in ("l1", "gan"):
        recipe = f"rrdb-{stage}-kernel"
        assert measured["pairs", recipe, "psnr"] < measured["methods", "bicubic", "psnr"] - 2


def test_methods_that_train_on_each_photo(measured):
    assert abs(gap(measured, "zssr", "bicubic", part="few")) < 0.1
    assert gap(measured, "k-zssr", "bicubic", part="few") < -2


def test_at_weak_noise_the_authors_weights_do_what_they_were_trained_for(measured):
    """The chapter's picture of Table 1: little PSNR for less than half of EDSR's and ESRGAN's LPIPS."""
    assert -1.5 < gap(measured, "realsr-df2k", EDSR, part="weak") < 0
    assert 2 * measured["weak", "realsr-df2k", "lpips_alex"] < measured["weak", EDSR, "lpips_alex"]


def test_at_the_noisier_camera_published_weights_are_in_another_world(measured):
    assert abs(gap(measured, "realsr-df2k", "bicubic")) < 0.1  # "that of interpolation"
    assert gap(measured, "realsr-df2k", ESRGAN, "lpips_alex") > 0
    lpips = {recipe: v for (part, recipe, metric), v in measured.items() if (part, metric) == ("methods", "lpips_alex")}
    assert min(lpips, key=lpips.__getitem__) == "realesrgan-x4plus"
    for gan in (ESRGAN, REALSR, ENDS[1], "rrdb-gan-learned"):
        assert gap(measured, "realesrgan-x4plus", gan) > 0


def test_at_weak_noise_realsr_has_the_best_lpips(measured):
    lpips = {recipe: v for (part, recipe, metric), v in measured.items() if (part, metric) == ("weak", "lpips_alex")}
    assert min(lpips, key=lpips.__getitem__) == "realsr-df2k"


def test_sources_that_are_not_cleaned_up_have_no_lower_psnr(measured):
    for stage in ("l1", "gan"):
        assert gap(measured, f"rrdb-{stage}-uncleaned", f"rrdb-{stage}-both", part="pairs") >= 0


def test_what_the_discriminator_sees_trades_psnr_for_lpips_and_two_lines_are_better_in_both(measured):
    crop, both = "rrdb-gan-both-vgg-judge", ("rrdb-gan-both-adversarial-0.02", "rrdb-gan-both-joint-batch")
    assert gap(measured, crop, REALSR, part="weights") > 0 < gap(measured, crop, REALSR, "lpips_alex", "weights")
    for other in both:
        assert gap(measured, other, REALSR, part="weights") > 0 > gap(measured, other, REALSR, "lpips_alex", "weights")


def test_what_is_said_of_the_printed_table():
    def number(method, metric):
        return float(published.number("ji2020-track1", method, metric).text)

    assert 0 < number("EDSR", "PSNR") - number("ZSSR", "PSNR") < 0.2
    assert all(number("EDSR", "PSNR") - number(x, "PSNR") > 6 for x in ("ESRGAN", "K-ZSSR"))
    assert 0.4 < number("EDSR", "PSNR") - number("RealSR", "PSNR") < 0.6
    assert all(2 * number("RealSR", "LPIPS") < number(x, "LPIPS") for x in ("EDSR", "ESRGAN", "ZSSR", "K-ZSSR"))
