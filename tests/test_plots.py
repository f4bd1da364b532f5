"""Figures: what is drawn is what was given, once, on white, in the book's style and nobody else's."""

import math

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from nbclient import NotebookClient

from restore_lib import images, plots


@pytest.fixture
def pictures(rng):
    return [torch.rand(3, 40, 60, generator=rng) for _ in range(3)]


def shown(figure: Figure) -> list:
    return [ax.images[0].get_array() for ax in figure.axes if ax.images]


def every(rng) -> dict[str, Figure]:
    photo = torch.rand(3, 40, 60, generator=rng)
    signal = torch.linspace(0.1, 0.9, 9)
    return {
        "image_row": plots.image_row([photo] * 6, list("abcdef"), list("uvwxyz"), zoom=(5, 5, 10, 20)),
        "kernel_map": plots.kernel_map([torch.rand(7, 7, generator=rng)], ["k"]),
        "noise_patches": plots.noise_patches([photo - 0.5], ["n"]),
        "psnr_lpips_scatter": plots.psnr_lpips_scatter({"a": (30.0, 0.1)}),
        "line_profile": plots.line_profile([photo], ["p"], 3),
        "spectrum": plots.spectrum([photo, photo], ["s", "t"]),
        "noise_curve": plots.noise_curve({"n": (signal, signal)}, {"l": (1.0, 0.0)}),
        "heat_map": plots.heat_map(photo[0], photo, "m"),
        "training_curve": plots.training_curve({"a": [(1, 20.0), (2, 21.0)], "b": [(1, 20.0)]}),
        "dot_plot": plots.dot_plot(["a", "b"], {"x": {"ours": [(1.0, 0.1), None], "paper": [(2.0, math.nan), None]}}),
    }


def test_every_figure_is_white_legible_and_forgotten_by_pyplot(rng):
    before = dict(mpl.rcParams)
    plt.style.use("dark_background")
    mpl.rcParams["font.size"] = 4
    try:
        for name, figure in every(rng).items():
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            assert figure.get_facecolor() == (1.0, 1.0, 1.0, 1.0), name
            texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
            assert min((text.get_fontsize() for text in texts), default=9) >= 9, name
            assert {text.get_color() for text in texts} <= {"black", "#555555"}, name
            pixels = np.asarray(canvas.buffer_rgba())
            assert pixels.shape[1] == pytest.approx(plots.WIDTH * 120, abs=2) or name == "heat_map", name
            assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 3, name
            assert plt.get_fignums() == []
        assert mpl.rcParams["font.size"] == 4, "the caller's style was changed"
    finally:
        mpl.rcParams.update(before)


def test_every_public_function_is_drawn_above(rng):
    assert set(every(rng)) == set(plots.__all__) - {"COLOURS", "WIDTH"}


def test_everything_drawn_stays_within_the_figure(rng):
    for name, figure in every(rng).items():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn, frame = figure.get_tightbbox(canvas.get_renderer()), figure.bbox_inches.padded(0.02)
        assert frame.contains(drawn.x0, drawn.y0) and frame.contains(drawn.x1, drawn.y1), name


def test_an_image_row_shows_every_picture_as_it_is(pictures):
    figure = plots.image_row(pictures, ["one", "two", "three"], ["1 dB", "2 dB", "3 dB"])
    for drawn, picture in zip(shown(figure), pictures, strict=True):
        np.testing.assert_array_equal(drawn, images.to_uint8(picture))
    assert [ax.get_title() for ax in figure.axes] == ["one", "two", "three"]
    assert [ax.texts[0].get_text() for ax in figure.axes] == ["1 dB", "2 dB", "3 dB"]


def test_the_enlarged_part_is_the_marked_part(pictures):
    small = pictures[0][:, ::2, ::2]
    figure = plots.image_row([pictures[0], small], zoom=(8, 20, 10, 16))
    whole, whole_small, part, part_small = shown(figure)
    np.testing.assert_array_equal(part, whole[8:18, 20:36])
    np.testing.assert_array_equal(part_small, whole_small[4:9, 10:18])
    frame = next(patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle))
    assert frame.get_bbox().bounds == (19.5, 7.5, 16, 10)


@pytest.mark.parametrize(("count", "columns", "lines"), [(1, 1, 1), (4, 4, 1), (5, 3, 2), (8, 4, 2), (9, 3, 3)])
def test_many_pictures_wrap_into_even_lines(rng, count, columns, lines):
    figure = plots.image_row([torch.rand(1, 8, 8, generator=rng)] * count)
    grid = figure.axes[0].get_gridspec()
    assert (grid.ncols, grid.nrows) == (columns, lines)
    assert len(shown(figure)) == count
    assert plots.image_row([torch.rand(1, 8, 8, generator=rng)] * count, columns=2).axes[0].get_gridspec().ncols <= 2


def test_a_kernel_map_marks_the_centre_of_mass(rng):
    kernel = torch.zeros(9, 11)
    kernel[2, 3], kernel[6, 7] = 0.25, 0.75
    far = torch.tensor([[1.0, -0.9], [0.0, 0.0]])
    figure = plots.kernel_map([kernel, -kernel, torch.zeros(3, 3), far], ["a", "b", "c", "d"])
    for ax in figure.axes[:2]:
        cross = next(line for line in ax.lines if line.get_gid() == "centre of mass")
        assert (cross.get_xdata()[0], cross.get_ydata()[0]) == pytest.approx((6.0, 5.0))
        assert ax.get_xlabel() == "9 x 11"
    assert figure.axes[2].lines[:] == [], "weights without a sum have no centre of mass"
    assert figure.axes[3].lines[:] == [], "a cross outside would squeeze the picture"
    low, high = figure.axes[0].images[0].get_clim()
    assert low == -high, "zero keeps the neutral colour"


def test_noise_is_raised_around_grey_and_its_strength_printed(rng):
    patch = 0.02 * torch.randn(3, 64, 64, generator=rng)
    figure = plots.noise_patches([patch], gain=5)
    np.testing.assert_array_equal(shown(figure)[0], images.to_uint8(0.5 + 5 * patch))
    expected = 255 * np.std(patch.double().numpy())
    assert figure.axes[0].texts[0].get_text() == f"sigma {expected:.1f}"


def test_a_scatter_names_its_methods():
    figure = plots.psnr_lpips_scatter({"bicubic": (28.0, 0.4), "EDSR": (32.0, 0.2)})
    bicubic, edsr = figure.axes[0].lines
    assert (edsr.get_xdata()[0], edsr.get_ydata()[0]) == (32.0, 0.2) and edsr.get_color() != bicubic.get_color()
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["bicubic", "EDSR"]
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > top, "less LPIPS is better and stands higher"


def test_a_profile_is_the_row(pictures):
    figure = plots.line_profile([pictures[0], pictures[1][:, ::2, ::2]], ["x", "y"], 10)
    first, second = figure.axes[0].lines
    np.testing.assert_allclose(first.get_ydata(), 255 * pictures[0][1, 10].numpy())
    np.testing.assert_allclose(second.get_ydata(), 255 * pictures[1][1, 10, ::2].numpy())
    np.testing.assert_allclose(first.get_xdata(), np.arange(60), atol=1e-12)
    np.testing.assert_allclose(second.get_xdata(), np.arange(0, 60, 2) + 0.5)


def test_a_spectrum_peaks_at_the_pattern(rng):
    waves = torch.cos(2 * math.pi * (torch.arange(64) / 8))[None, None, :].expand(3, 64, 64)
    figure = plots.spectrum([waves, torch.full((3, 64, 64), 0.3)])
    power = shown(figure)[0]
    row, column = np.unravel_index(power.argmax(), power.shape)
    assert row == 32 and abs(column - 32) == 8, "eight pixels a period are 64 / 8 periods in the picture"
    assert power.max() == 0
    assert shown(figure)[1].max() < -80 + 1e-6, "a flat picture holds no frequency but zero"


def test_a_noise_curve_holds_the_points_and_the_line():
    signal = torch.linspace(0.1, 0.9, 5)
    figure = plots.noise_curve({"camera": (signal, 0.01 * signal + 0.001)}, {"model": (0.01, 0.001)})
    points, line = figure.axes[0].lines
    np.testing.assert_allclose(points.get_ydata(), np.interp(points.get_xdata(), line.get_xdata(), line.get_ydata()))


def test_a_dot_plot_has_a_mark_for_each_number_and_a_bar_for_each_spread():
    panels = {"x": {"ours": [(1.0, 0.1), None, (3.0, math.nan)], "paper": [None, (2.0, math.nan), None]}}
    figure = plots.dot_plot(["a", "b", "c"], panels | {"y": {"ours": [None] * 3, "paper": [(5.0, 0.5)] * 3}})
    left, right = figure.axes
    marks = [
        [list(zip(*line.get_data(), strict=True)) for line in (bar.lines[0] for bar in ax.containers)]
        for ax in (left, right)
    ]
    assert marks[0] == [[(1.0, 0), (3.0, 2)], [(2.0, 1)]]
    assert marks[1] == [[], [(5.0, 0), (5.0, 1), (5.0, 2)]]
    bars = [s for s in left.containers[0].lines[2][0].get_segments() if len(s) and np.isfinite(s).all()]
    ends = [bar[:, 0] for bar in bars]
    assert np.allclose(ends, [[0.9, 1.1]])
    assert [text.get_text() for text in left.get_yticklabels()] == ["a", "b", "c"] and left.yaxis_inverted()
    assert [ax.get_xlabel() for ax in figure.axes] == ["x", "y"]


def test_a_training_curve_holds_the_points():
    figure = plots.training_curve({"a": [(1, 0.5), (9, 0.25)], "b": [(2, 1.0)]}, "loss", log=True)
    first, second = figure.axes[0].lines
    np.testing.assert_array_equal(first.get_xydata(), [(1, 0.5), (9, 0.25)])
    np.testing.assert_array_equal(second.get_xydata(), [(2, 1.0)])
    assert first.get_linestyle() != second.get_linestyle() and figure.axes[0].get_yscale() == "log"


def test_a_heat_map_keeps_the_given_scale(rng):
    values = torch.rand(10, 12, generator=rng)
    assert plots.heat_map(values, low=-1, high=1).axes[0].images[0].get_clim() == (-1, 1)
    clim = plots.heat_map(values).axes[0].images[0].get_clim()
    assert clim == pytest.approx((values.min().item(), values.max().item()))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.image_row([]),
        lambda: plots.image_row([torch.rand(3, 8, 8)], ["a", "b"]),
        lambda: plots.image_row([torch.rand(3, 8, 8)], "a"),
        lambda: plots.image_row([torch.rand(3, 8, 8)], zoom=(4, 4, 5, 4)),
        lambda: plots.kernel_map([]),
        lambda: plots.psnr_lpips_scatter({}),
        lambda: plots.noise_curve({}),
        lambda: plots.training_curve({}),
        lambda: plots.dot_plot([], {"x": {"ours": []}}),
        lambda: plots.dot_plot(["a"], {}),
        lambda: plots.training_curve({"a": []}),
    ],
)
def test_what_cannot_be_drawn_is_said_and_leaves_nothing_behind(draw):
    with pytest.raises(ValueError, match=r"give|outside|leaves"):
        draw()
    assert plt.get_fignums() == []


def test_a_notebook_shows_each_figure_once(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "import torch\nfrom restore_lib import plots\nplots.image_row([torch.rand(3, 8, 8)])"
            ),
            nbformat.v4.new_code_cell("plots.kernel_map([torch.rand(5, 5)])"),
            nbformat.v4.new_code_cell("figure = plots.heat_map(torch.rand(5, 5))"),
        ]
    )
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [[o for o in cell.outputs if "image/png" in o.get("data", {})] for cell in notebook.cells]
    assert [len(found) for found in pictures] == [1, 1, 0]
    assert all(output.output_type != "stream" for cell in notebook.cells for output in cell.outputs)
