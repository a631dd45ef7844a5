"""Cut particles out of the tilt images for other programs: RELION's stacks and volumes.

The project's own averaging cuts particles itself, at the pixel size and position it needs; nothing else in
a workflow waits for this step. `cryoloom export --format relion5` exports the result: a stack of the tilts
that show the particle, or a volume with its weights, and their tables.

Sizes are in binned pixels, as in RELION. The CTF is multiplied in a box of `box_px`, which must contain the
signal spread by the defocus; the product is cropped to `crop_px`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.averaging.extracted_particles import ParticleCutter, binned_layout
from cryoloom.algorithms.averaging.particle_images import BoxLayout, delocalisation_angstrom
from cryoloom.algorithms.images.fourier import good_fft_size
from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.relion.particles import subtomogram_frames
from cryoloom.model import ExtractedImages, ParticleRows, Particles, TiltSeries
from cryoloom.procedures.particle_passes import image_stack, warn_of_unknown_hands

__all__ = ["ExtractParticlesParams", "extract_particles"]

_DIAMETERS_IN_CROP = 1.5
"""Chosen: room for the solvent that programs measure noise in."""
_VOLUMES_AT_ONCE = 32
"""Chosen: bounds memory."""


class ExtractParticlesParams(StepParams):
    """Parameters of the extraction."""

    binning: float = Field(
        1.0, ge=1.0, description="Binning of the extracted images relative to the tilt images."
    )
    box_px: int | None = Field(
        None,
        ge=8,
        description="Side of the box in which the CTF is multiplied, in binned pixels. Unset: the diameter "
        "plus the spread by the defocus on either side.",
    )
    crop_px: int | None = Field(
        None,
        ge=8,
        description="Side of the box after cropping, in binned pixels. Unset: box_px if it is set, "
        "otherwise 1.5 diameters.",
    )
    output: Literal["stacks", "volumes"] = Field(
        "stacks",
        description="Images of every tilt (RELION's 2D stacks), or volumes made of them (3D).",
    )
    multiply_ctf: bool = Field(
        True,
        description="Multiply images by their CTF and dose weight. Set to false for cryoDRGN and tomoDRGN.",
    )
    float16: bool = Field(False, description="Write 16-bit floats: half the space.")
    max_dose_per_angstrom2: float | None = Field(
        None, gt=0, description="Leave out tilts that begin after this dose. Unset: none."
    )
    min_tilts: int = Field(1, ge=1, description="Leave out particles that are visible in fewer tilts.")
    diameter_angstrom: float | None = Field(
        None,
        gt=0,
        description="Diameter of the particle, used for box sizes that are unset. Unset: the value set "
        "when picking.",
    )


def _layout(series: TiltSeries, diameter: float | None, params: ExtractParticlesParams) -> BoxLayout:
    """Sizes as requested, or from the particle's diameter."""
    pixel = image_stack(series).pixel_size_angstrom * params.binning
    box, crop = params.box_px, params.crop_px
    if box is None:
        if diameter is None and crop is None:
            raise DataUnfitError(
                "the particles' diameter is not known; set box_px or diameter_angstrom of extract_particles"
            )
        wanted = crop * pixel if diameter is None and crop is not None else diameter or 0.0
        crop = crop or good_fft_size(math.ceil(_DIAMETERS_IN_CROP * wanted / pixel))
        apart = delocalisation_angstrom(series, 2.0 * pixel)
        largest = int(min(image_stack(series).shape_yx) / params.binning) // 2 * 2
        box = max(crop, min(good_fft_size(math.ceil((wanted + 2.0 * apart) / pixel)), largest))
    return binned_layout(image_stack(series).pixel_size_angstrom, params.binning, box, crop)


def _bytes_needed(particles: Particles, params: ExtractParticlesParams) -> int:
    """An image, and a batch of boxes or volumes."""
    largest = 0
    for series in particles.series:
        n_y, n_x = image_stack(series).shape_yx
        box = params.box_px or params.crop_px or 256
        crop = params.crop_px or box
        boxes = 64 * 6 * 8 * box**2 + 64 * 4 * round(box * params.binning) ** 2
        volumes = _VOLUMES_AT_ONCE * (len(series.included) * 12 * box**2 // 2 + 12 * crop**3)
        volumes += 8 * 20 * crop**3
        largest = max(largest, 12 * n_y * n_x + boxes + (volumes if params.output == "volumes" else 0))
    return (400 << 20) + largest


FIGURES = (
    Figure(
        "n_particles",
        "particles",
        "Particles extracted",
        "Particles that are visible in enough tilts.",
        column=Column("Extracted", digits=0),
    ),
    Figure("n_left_out", "particles", "Not extracted", "Particles that are visible in too few tilts."),
    Figure("pixel_size_angstrom", "angstrom", "Pixel size", "Pixel size after binning."),
    Figure(
        "median_tilts",
        "tilts",
        "Tilts per particle",
        "Median number of tilts in which a particle is visible.",
    ),
    Figure(
        "delocalised_angstrom",
        "angstrom",
        "Spread by the defocus",
        "Largest distance to which the CTF spreads the finest detail of the pixels.",
    ),
)


@step(
    "extract_particles",
    per="particle_set",
    needs=Particles,
    gives=Particles,
    bytes_needed=_bytes_needed,
    citations=(
        "Burt, A. et al. (2024) An image processing pipeline for electron cryo-tomography in RELION-5. FEBS "
        "Open Bio 14, 1788-1804, doi:10.1002/2211-5463.13873",
    ),
    methods="{total_n_particles:.0f} particles were extracted at {pixel_size_angstrom:.2f} A per pixel.",
    figures=FIGURES,
    records=(Record("left_out", "Particles that are visible in too few tilts, by series."),),
)
def extract_particles(
    particles: Particles, params: ExtractParticlesParams, context: StepContext
) -> Particles:
    """Cut particles out of their tilt images, to be exported."""
    if not particles.n_particles:
        context.warn(f"{particles.name} has no particles to extract")
        return particles
    rows = particles.rows()
    warn_of_unknown_hands(particles.series, context)
    kept = np.zeros(rows.n, bool)
    images, n_tilts = [], []
    for series in particles.series:
        mine = np.flatnonzero(rows.tomogram == series.name)
        if not len(mine):
            continue
        made, shown, counts = _of_series(
            series, rows.take(mine), particles.diameter_angstrom, params, context
        )
        kept[mine[shown]] = True
        n_tilts += counts.tolist()
        images += [made] if made is not None else []
    if not kept.any():
        raise DataUnfitError(
            f"none of the {rows.n} particles of {particles.name} is wholly inside the images of "
            f"{params.min_tilts} tilts or more: the positions are outside the images, or the box is too "
            "large; choose a smaller crop_px",
            set=particles.name,
        )
    left_out = {
        str(name): rows.particle[(rows.tomogram == name) & ~kept].tolist()[:5000]
        for name in np.unique(rows.tomogram[~kept])
    }
    if left_out:
        context.warn(
            f"{int((~kept).sum())} of {rows.n} particles are left out: they are wholly visible in too few "
            "tilts"
        )
    context.record("left_out", left_out)
    context.figure("n_particles", int(kept.sum()))
    context.figure("n_left_out", int((~kept).sum()))
    context.figure("median_tilts", float(np.median(n_tilts)))
    table = context.new_table("particles", rows.take(np.flatnonzero(kept)).columns())
    return replace(particles, table=table, images=tuple(images))


def _of_series(
    series: TiltSeries,
    rows: ParticleRows,
    diameter: float | None,
    params: ExtractParticlesParams,
    context: StepContext,
) -> tuple[ExtractedImages | None, NDArray[np.int64], NDArray[np.int64]]:
    """Images of one series' particles, their particle numbers, and the number of tilts that show each."""
    layout = _layout(series, params.diameter_angstrom or diameter, params)
    _note_sizes(series, layout, params.diameter_angstrom or diameter, context)
    cutter = ParticleCutter(
        series,
        image_stack(series).images,
        rows.positions_xyz_angstrom,
        layout,
        max_dose_per_angstrom2=params.max_dose_per_angstrom2 or math.inf,
        multiply_ctf=params.multiply_ctf,
    )
    n_tilts = cutter.visible.sum(axis=1)
    cutter.leave_out(n_tilts < params.min_tilts)
    shown = np.flatnonzero(cutter.visible.any(axis=1))
    if not len(shown):
        return None, shown, n_tilts[shown]
    frames = subtomogram_frames(rows)
    visible = cutter.visible[shown]
    write = _write_volumes if params.output == "volumes" else _write_stacks
    pixels = write(cutter, layout, frames, series.name, params, context)
    acquisition = np.array([tilt.acquisition_index for tilt in cutter.tilts])
    of_particle, of_tilt = np.nonzero(visible)
    sections = {"particle": rows.particle[shown][of_particle], "acquisition_index": acquisition[of_tilt]}
    made = ExtractedImages(
        series=series.name,
        particles=context.new_table(f"extracted_{series.name}", _cut_columns(rows, frames, shown)),
        sections=context.new_table(f"sections_{series.name}", sections),
        pixel_size_angstrom=layout.pixel_size_angstrom,
        binning=layout.cut_px / layout.box_px,
        box_px=layout.box_px,
        crop_px=layout.crop_px,
        ctf_multiplied=params.multiply_ctf,
        **pixels,
    )
    return made, shown, n_tilts[shown]


def _write_stacks(
    cutter: ParticleCutter,
    layout: BoxLayout,
    frames: NDArray[np.float64],
    name: str,
    params: ExtractParticlesParams,
    context: StepContext,
) -> Mapping[str, Any]:
    """One image for each particle and tilt that shows it, particle after particle."""
    # Index of each image: images of earlier particles, then earlier tilts that show this one.
    counts = cutter.visible.sum(axis=1)
    place = (np.cumsum(counts) - counts)[:, None] + np.cumsum(cutter.visible, axis=1) - 1
    sink = context.new_pixels(
        f"stacks_{name}",
        (int(counts.sum()), layout.crop_px, layout.crop_px),
        layout.pixel_size_angstrom,
        dtype="float16" if params.float16 else "float32",
    )
    for t, batch, images in cutter.images():
        for particle, image in zip(batch, images, strict=True):
            sink[int(place[particle, t])] = image
        context.progress(t + 1, len(cutter.tilts))
    return {"pixels": sink}


def _write_volumes(
    cutter: ParticleCutter,
    layout: BoxLayout,
    frames: NDArray[np.float64],
    name: str,
    params: ExtractParticlesParams,
    context: StepContext,
) -> Mapping[str, Any]:
    """One volume for each particle and its weights, particle after particle."""
    crop, n = layout.crop_px, int(cutter.visible.any(axis=1).sum())
    kind: Literal["float16", "float32"] = "float16" if params.float16 else "float32"
    volumes = context.new_pixels(
        f"volumes_{name}", (n * crop, crop, crop), layout.pixel_size_angstrom, dtype=kind
    )
    weights = context.new_pixels(
        f"weights_{name}",
        (2 * n * crop, crop, crop // 2 + 1),
        1.0 / layout.pixel_size_angstrom,
        kind="volume",  # beyond the resolution of the images whole planes are 0
        dtype=kind,
    )
    done = 0
    for made in cutter.volumes(frames, _VOLUMES_AT_ONCE):
        n_made = len(made.particles)
        volumes[done * crop : (done + n_made) * crop] = made.volumes.reshape(-1, crop, crop)
        weights[2 * done * crop : 2 * (done + n_made) * crop] = made.weights.reshape(-1, crop, crop // 2 + 1)
        done += n_made
        context.progress(done, n)
    return {"pixels": volumes, "weights": weights}


def _cut_columns(
    rows: ParticleRows, frames: NDArray[np.float64], shown: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Place from which each particle was cut, and the axes of its volume."""
    columns: dict[str, NDArray[Any]] = {"particle": rows.particle[shown]}
    places = rows.positions_xyz_angstrom[shown]
    columns |= {f"{axis}_angstrom": places[:, i] for i, axis in enumerate("xyz")}
    columns |= {f"f{i}{j}": frames[shown, i, j] for i in range(3) for j in range(3)}
    return columns


def _note_sizes(series: TiltSeries, layout: BoxLayout, diameter: float | None, context: StepContext) -> None:
    """Figures of the layout; a warning if the box does not contain the signal spread by the defocus."""
    pixel = layout.pixel_size_angstrom
    apart = delocalisation_angstrom(series, 2.0 * pixel)
    context.figure("pixel_size_angstrom", pixel)
    context.figure("delocalised_angstrom", apart)
    free = 0.5 * (layout.box_px * pixel - (diameter or 0.0))
    if free < apart:
        wavelength_defocus = apart * 2.0 * pixel
        finest = f"{wavelength_defocus / free:.1f} A" if free > 0 else "no resolution at all"
        context.warn(
            f"{series.name}: the box of {layout.box_px * pixel:.0f} A contains the signal spread by the "
            f"defocus only to {finest}, but the pixels resolve {2.0 * pixel:.1f} A; choose a larger box_px, "
            "and crop_px for the final size"
        )
