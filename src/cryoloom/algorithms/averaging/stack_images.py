"""Particles extracted by another program: stacks of one image per tilt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.particle_images import BoxLayout, ParticleImages, SampleFilters
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.depth import defocus_change
from cryoloom.geometry.projection import beam_coordinate
from cryoloom.model import TiltSeries

__all__ = ["images_of_stacks"]


def images_of_stacks(
    series: TiltSeries,
    stacks: Sequence[NDArray[np.float32]],
    positions_xyz_angstrom: NDArray[np.float64],
    pixel_size_angstrom: float,
    *,
    premultiplied: bool,
    bright: bool,
) -> ParticleImages:
    """Particles' data and weights from stacks ``(tilt, y, x)``, the particle at index ``n // 2`` of each.

    Sections are those of the series' tilts; excluded ones have no weight, and neither has an image of zeros,
    with which WarpTools marks a tilt that does not show the particle. premultiplied : whether the images are
    multiplied by their CTF (and damage) already. bright : whether protein is bright in them. Noise is taken
    as white and alike in all. Raises DataUnfitError for stacks that do not fit the series or are not finite.
    """
    shapes = {stack.shape for stack in stacks}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise DataUnfitError(f"expected stacks (tilt, y, x) of one shape, got {sorted(shapes)}")
    n_sections, box, width = next(iter(shapes))
    tilts = [tilt for tilt in series.included if tilt.section is not None and tilt.section < n_sections]
    if box != width or box % 2 or not tilts:
        raise DataUnfitError(
            f"expected square images of even size and tilts to go with them, got {box} x {width} and "
            f"{len(tilts)} tilts for {n_sections} sections of {series.name}"
        )
    layout = BoxLayout(box, box, box, pixel_size_angstrom)
    filters, plane = SampleFilters(series, layout), layout.plane
    matrices = np.array([tilt.pose.matrix for tilt in tilts if tilt.pose is not None])
    if len(matrices) != len(tilts):
        raise DataUnfitError(f"tilts of {series.name} have no pose")
    beam = beam_coordinate(positions_xyz_angstrom, matrices)
    heights = -defocus_change(beam, series.handedness.applied or 0.0)
    n, m = len(stacks), len(plane.kxy)
    visible = np.zeros((n, len(tilts)), bool)
    data, weights = np.zeros((n, len(tilts), m), np.complex64), np.zeros((n, len(tilts), m), np.float32)
    white = np.ones(box // 2 + 1)
    for t, tilt in enumerate(tilts):
        images = np.stack([np.asarray(stack[tilt.section], dtype=np.float32) for stack in stacks])
        if not np.isfinite(images).all():
            broken = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2)))
            raise DataUnfitError(
                f"section {tilt.section} of the stacks of {broken.size} particles of {series.name} (first: "
                f"particle {broken[0]}) holds values that are not finite; extract them again"
            )
        visible[:, t] = images.any(axis=(1, 2))
        spectra = torch.fft.rfft2(torch.fft.ifftshift(torch.tensor(images), dim=(1, 2)))
        taken = plane.take(spectra) * (1.0 if bright else -1.0) * (2.0 / box**2)
        transfer = filters.transfer(tilt, heights[t], damage=True)
        data[:, t] = (taken if premultiplied else taken * transfer).to(torch.complex64).numpy()
        weights[:, t] = filters.weights(tilt, heights[t], white, damage=True) * visible[:, t, None]
    acquisition = np.array([tilt.acquisition_index for tilt in tilts])
    return ParticleImages(plane, matrices, acquisition, data, weights, visible)
