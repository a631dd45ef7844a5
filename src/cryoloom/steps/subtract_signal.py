"""Subtract the average from the tilt images at the poses of its particles.

The projection of the average, or of the part of it within a mask, is multiplied by the CTF at the
particle's depth and by radiation damage, and subtracted from every tilt image at every particle. The images
of the result can be averaged, classified or picked as any others: for example a complex without its
dominant part, or a tomogram without the known particles.

The amplitude with which the whole average is in the images is measured first, and used; how much is left is
measured afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.averaging.evaluation import particle_mask
from cryoloom.algorithms.averaging.fourier_cube import cube_of_map
from cryoloom.algorithms.averaging.maps import map_on_grid
from cryoloom.algorithms.averaging.particle_images import (
    choose_boxes,
    delocalisation_angstrom,
    extract_images,
    usable_tilts,
)
from cryoloom.algorithms.averaging.signal_images import SignalImages
from cryoloom.algorithms.series_refinement.shift_scores import shell_terms
from cryoloom.contract import Figure, Outputs
from cryoloom.contract.step import Shared, StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.model import Average, ParticleRows, Particles, Pixels, Stack, TiltSeries
from cryoloom.procedures.given_mask import given_mask
from cryoloom.procedures.particle_passes import image_stack, warn_of_unknown_hands

__all__ = ["SubtractSignalParams", "subtract_signal"]

Array = NDArray[np.float64]

_LEAST_RESOLUTION_ANGSTROM = 20.0
"""Chosen: of a map whose resolution is not known."""


class SubtractSignalParams(StepParams):
    """Parameters of the subtraction."""

    mask: Path | None = Field(
        None, description="Mask (.mrc, 0 to 1) of what is subtracted. Unset: the whole average."
    )
    classes: tuple[int, ...] = Field((), description="Classes whose particles are subtracted. Unset: all.")
    per_particle: bool = Field(
        True, description="Use the amplitude that refine measured for each particle, if there is one."
    )


def _bytes_needed(particles: Particles, params: SubtractSignalParams) -> int:
    """A few images, and the samples of all particles of the largest series."""
    largest = 0
    for series in particles.series:
        n_y, n_x = image_stack(series).shape_yx
        pixel = image_stack(series).pixel_size_angstrom
        resolution = max(2.05 * pixel, 6.0)
        apart = delocalisation_angstrom(series, resolution)
        layout = choose_boxes(particles.diameter_angstrom or 200.0, resolution, pixel, apart)
        images = particles.n_particles * len(series.included) * 24 * len(layout.plane.kxy)
        box = 12 * 4 * (2 * layout.box_px + 5) ** 3
        largest = max(largest, images + box + 24 * (n_y + 2 * layout.cut_px) * (n_x + 2 * layout.cut_px))
    return (600 << 20) + largest


FIGURES = (
    Figure("n_particles", "particles", "Particles", "Particles that were subtracted."),
    Figure(
        "amplitude_before",
        "",
        "Amplitude before",
        "Amplitude of the whole average in the images, relative to the map; the subtraction uses it. 1 for "
        "an average of these particles with correct poses and CTF.",
        good="near 1",
    ),
    Figure(
        "amplitude_left",
        "",
        "Amplitude left",
        "Amplitude in the images after subtraction, divided by that before. Not measured for a part, "
        "because the rest overlaps with it.",
        good="near 0",
    ),
)


@step(
    "subtract_signal",
    per="particle_set",
    needs=Particles,
    gives=Particles,
    also_needs={"average_from": Shared(Average)},
    also_gives={"series": TiltSeries},
    bytes_needed=_bytes_needed,
    bytes_stored=lambda particles, params: sum(
        4 * int(np.prod(image_stack(series).images.shape)) for series in particles.series
    ),
    outside=lambda name, params: file_digests([params.mask] if params.mask else []),
    citations=(
        "Bai, X. et al. (2015) Sampling the conformational space of the catalytic subunit of human "
        "gamma-secretase. eLife 4, e11182, doi:10.7554/eLife.11182",
    ),
    methods="Projections of the average were subtracted at {total_n_particles:.0f} particles.",
    figures=FIGURES,
)
def subtract_signal(
    particles: Particles, params: SubtractSignalParams, context: StepContext, *, average_from: Average
) -> Outputs:
    """Subtract the projections of an average, or of a part of it, from the tilt images."""
    rows = _chosen(particles.rows(), params)
    warn_of_unknown_hands(particles.series, context)
    whole, diameter, resolution = _density(average_from)
    part = (
        whole
        if params.mask is None
        else whole * given_mask(params.mask, tuple(whole.shape), "subtract_signal")
    )
    changed: list[TiltSeries] = []
    before: list[float] = []
    left: list[float] = []
    n_done = 0
    for series in particles.series:
        mine = rows.take(np.flatnonzero(rows.tomogram == series.name))
        if not mine.n:
            changed.append(series)
            continue
        one = _Subtraction(series, mine, average_from.voxel_size_angstrom, diameter, resolution, params)
        amplitude = one.amplitude(whole, image_stack(series).images)
        if amplitude <= 0:
            raise DataUnfitError(
                f"the particles of {series.name} do not correlate with the average; check their poses, and "
                "that the average's density is positive (white)",
                series=series.name,
            )
        made = one.subtracted(part * amplitude, context)
        before.append(amplitude)
        if params.mask is None:
            left.append(one.amplitude(whole, made) / amplitude)
        changed.append(_with_images(series, made))
        n_done += mine.n
    context.figure("n_particles", n_done)
    nobody = "there are no particles"
    context.figure("amplitude_before", float(np.mean(before)) if before else None, reason=nobody)
    reason = nobody if params.mask is None else "only a part was subtracted, and the rest overlaps with it"
    context.figure("amplitude_left", float(np.mean(left)) if left else None, reason=reason)
    after = replace(particles, series=tuple(changed), images=())
    return Outputs(after, {"series": after.series})


def _chosen(rows: ParticleRows, params: SubtractSignalParams) -> ParticleRows:
    if not params.classes:
        return rows
    if rows.class_number is None:
        raise DataUnfitError("the particles have no classes; leave classes unset, or run classify before")
    return rows.take(np.flatnonzero(np.isin(rows.class_number, params.classes)))


def _density(average: Average) -> tuple[torch.Tensor, float, float]:
    """The average within its mask on its own grid, its diameter, and the resolution to work at."""
    values = np.asarray(average.map[...], dtype=np.float32)
    n, voxel = values.shape[0], average.voxel_size_angstrom
    if values.shape != (n, n, n) or not np.isfinite(values).all():
        raise DataUnfitError(
            f"the map of {average.name} has the shape {values.shape}; expected a cube of finite values"
        )
    diameter = average.diameter_angstrom or 0.6 * n * voxel
    if average.mask is not None:
        mask = np.asarray(average.mask[...], dtype=np.float32)
    else:
        mask = particle_mask(n, voxel, diameter).numpy()
    outside = mask <= 0
    level = float(values[outside].mean()) if outside.any() else 0.0
    resolution = average.resolution_angstrom or max(_LEAST_RESOLUTION_ANGSTROM, 2.0 * voxel)
    return torch.tensor((values - level) * mask), diameter, resolution


class _Subtraction:
    """Subtracts from one series."""

    def __init__(
        self,
        series: TiltSeries,
        rows: ParticleRows,
        voxel: float,
        diameter: float,
        resolution: float,
        params: SubtractSignalParams,
    ) -> None:
        self._series, self._rows = series, rows
        pixel = image_stack(series).pixel_size_angstrom
        finest = max(resolution / 1.2, 2.05 * pixel)
        apart = delocalisation_angstrom(series, finest)
        self._layout = choose_boxes(diameter, finest, pixel, apart)
        self._voxel = voxel
        scale = (rows.others or {}).get("scale") if params.per_particle else None
        self._amplitudes = np.ones(rows.n) if scale is None else np.clip(scale.astype(np.float64), 0.0, 3.0)

    def subtracted(self, density: torch.Tensor, context: StepContext) -> Pixels:
        """The series' images without a density at the particles."""
        images = image_stack(self._series).images
        sink = context.new_pixels(
            f"subtracted_{self._series.name}",
            (int(images.shape[0]), int(images.shape[1]), int(images.shape[2])),
            image_stack(self._series).pixel_size_angstrom,
        )
        signal = SignalImages(
            self._series,
            self._layout,
            self._on_grid(density, self._layout.box_px),
            self._rows.positions_xyz_angstrom,
            self._rows.rotations,
            self._amplitudes,
        )
        by_section = {tilt.section: tilt for tilt in usable_tilts(self._series, np.inf)}
        for section in range(int(images.shape[0])):
            image = np.asarray(images[section], dtype=np.float32)
            tilt = by_section.get(section)
            if tilt is not None:
                mean, deviation = float(image.mean()), float(image.std())
                unit = mean if mean > deviation else deviation
                image = image - unit * signal.of_tilt(tilt, (image.shape[0], image.shape[1]))
            sink[section] = image
            context.progress(section + 1, int(images.shape[0]))
        return sink

    def amplitude(self, density: torch.Tensor, images: Pixels) -> float:
        """Amplitude of a density in images, relative to the density itself."""
        found = extract_images(self._series, images, self._rows.positions_xyz_angstrom, self._layout)
        highest = float(found.plane.radius[-1])
        cube = cube_of_map(self._on_grid(density, self._layout.crop_px), highest)
        n_used, which = len(found.plane.kxy), np.zeros(self._rows.n, np.int64)
        terms = shell_terms(found, (cube, cube), which, self._rows.rotations, n_used).sum(axis=(1, 2))
        expected = (self._amplitudes * terms[:, 1]).sum()
        return float(terms[:, 0].sum() / expected) if expected > 0 else 0.0

    def _on_grid(self, density: torch.Tensor, n: int) -> torch.Tensor:
        """A density on a box of the layout's pixels, in units of the images' contrast."""
        pixel = self._layout.pixel_size_angstrom
        return map_on_grid(density, self._voxel, n, pixel) * (pixel / self._voxel)


def _with_images(series: TiltSeries, images: Pixels) -> TiltSeries:
    """The series with other images. Dose-weighted, corrected and half images still show the particles."""
    stack = Stack(images, image_stack(series).pixel_size_angstrom)
    return replace(series, stack=stack, weighted=None, corrected=None)
