"""Figures that chapters share: pictures with an enlarged part, kernels, noise, spectra, and the two metrics' plane.

Every function returns a matplotlib ``Figure`` that nothing else holds: as the last value of a cell it is shown once. It
is drawn for white paper, in colours that colour-blind readers tell apart, with type that stays readable on a phone, and
pictures pixel by pixel, never smoothed. Functions refuse to draw nothing, and texts that are not one for each thing
shown (ValueError).
"""

from restore_lib.plots.curves import dot_plot, line_profile, noise_curve, psnr_lpips_scatter, spectrum, training_curve
from restore_lib.plots.pictures import heat_map, image_row, kernel_map, noise_patches
from restore_lib.plots.style import COLOURS, WIDTH

__all__ = [
    "COLOURS",
    "WIDTH",
    "dot_plot",
    "heat_map",
    "image_row",
    "kernel_map",
    "line_profile",
    "noise_curve",
    "noise_patches",
    "psnr_lpips_scatter",
    "spectrum",
    "training_curve",
]
