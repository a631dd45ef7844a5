"""Place the average into the tomogram at the poses of its particles, for viewing.

The volume has the grid of the tomogram that the particles were picked in, so both overlap in any viewer.
Scripts for ChimeraX and napari open it with the particles' positions and the directions of their z axes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from pydantic import Field

from cryoloom.algorithms.averaging.placement import place_map
from cryoloom.contract import Column, Figure
from cryoloom.contract.step import Shared, StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.picks.viewer_scripts import bild_arrows, chimerax_script, napari_script, positions_csv
from cryoloom.geometry.frames import index_from_position
from cryoloom.model import Average, ParticleRows, Particles, Tomogram

__all__ = ["MapBackParams", "map_back"]

_MARGIN_ANGSTROM = 50.0
_VOXEL_ANGSTROM = 10.0
"""Chosen: room above and below the particles, and voxels where the user gives none."""


class MapBackParams(StepParams):
    """Parameters of the placement."""

    voxel_size_angstrom: float | None = Field(
        None, gt=0, description="Voxel size of the volume. Unset: that of the tomogram, or 10 A without one."
    )
    classes: tuple[int, ...] = Field((), description="Classes whose particles are placed. Unset: all.")
    masked: bool = Field(True, description="Place only the part of the average inside its mask.")


def _grid(particles: Particles, params: MapBackParams) -> tuple[tuple[int, int, int], float]:
    """Shape and voxel size of the volume."""
    if particles.tomograms:
        tomogram = particles.tomograms[0]
        voxel = params.voxel_size_angstrom or tomogram.voxel_size_angstrom
        ratio = tomogram.voxel_size_angstrom / voxel
        z, y, x = (max(2, round(n * ratio)) for n in tomogram.volume.shape)
        return (z, y, x), voxel
    voxel = params.voxel_size_angstrom or _VOXEL_ANGSTROM
    stack = particles.series[0].unweighted_stack
    y, x = (2 * math.ceil(n * stack.pixel_size_angstrom / voxel / 2) for n in stack.shape_yx)
    rows = particles.rows()
    reach = float(np.abs(rows.positions_xyz_angstrom[:, 2]).max(initial=0.0)) + _MARGIN_ANGSTROM
    reach += particles.diameter_angstrom or 0.0
    return (2 * math.ceil(reach / voxel), y, x), voxel


@step(
    "map_back",
    per="particle_set",
    needs=Particles,
    gives=Tomogram,
    also_needs={"average_from": Shared(Average)},
    bytes_needed=lambda particles, params: 8 * math.prod(_grid(particles, params)[0]) + (400 << 20),
    bytes_stored=lambda particles, params: 4 * math.prod(_grid(particles, params)[0]) + (1 << 20),
    methods="The average was placed into the tomograms at the poses of {total_n_placed:.0f} particles.",
    figures=(
        Figure(
            "n_placed", "particles", "Particles placed", "Copies of the average in the volume.",
            column=Column("Placed", digits=0),
        ),
        Figure("voxel_size_angstrom", "angstrom", "Voxel size", "Voxel size of the volume."),
    ),
)  # fmt: skip
def map_back(
    particles: Particles, params: MapBackParams, context: StepContext, *, average_from: Average
) -> Tomogram:
    """Place the average into a volume at the poses of a tomogram's particles."""
    rows, series = particles.rows(), particles.series
    names = sorted(set(rows.tomogram.tolist())) or [one.name for one in series]
    if len(names) != 1 or not series:
        raise DataUnfitError(
            f"the set {particles.name} has particles of {len(names)} tomograms ({', '.join(names)}), but "
            "map_back fills the volume of one; connect it to a step that gives the particles of each "
            "tomogram"
        )
    if params.classes:
        if rows.class_number is None:
            raise DataUnfitError("the particles have no classes; leave classes unset, or run classify before")
        rows = rows.take(np.flatnonzero(np.isin(rows.class_number, params.classes)))
    shape, voxel = _grid(particles, params)
    density, radius = _density(average_from, params.masked)
    volume = np.zeros(shape, np.float32)
    inside = _inside(rows, shape, voxel)
    if not inside.all():
        context.warn(f"{int((~inside).sum())} of {rows.n} particles lie outside the volume of {names[0]}")
    placed = rows.take(np.flatnonzero(inside))
    place_map(
        density,
        average_from.voxel_size_angstrom,
        placed.positions_xyz_angstrom,
        placed.rotations,
        volume,
        voxel,
        radius,
    )
    sink = context.new_pixels("map_back", shape, voxel, kind="volume")
    sink[...] = volume
    context.figure("n_placed", placed.n)
    context.figure("voxel_size_angstrom", voxel)
    level = 0.3 * float(volume.max()) if placed.n else 0.0
    _write_scripts(particles, placed, shape, voxel, level, radius, context)
    return Tomogram(particles.series_of(names[0]), sink, voxel, method="average at the poses of particles")


def _density(average: Average, masked: bool) -> tuple[torch.Tensor, float]:
    """The average, and the radius about its centre that is copied, in angstrom."""
    density = torch.tensor(np.asarray(average.map[...], dtype=np.float32))
    n, voxel = density.shape[0], average.voxel_size_angstrom
    if not bool(torch.isfinite(density).all()):
        raise DataUnfitError(f"the map of {average.name} contains values that are not finite")
    radius = (n // 2 - 1) * voxel
    if masked and average.mask is not None:
        mask = np.asarray(average.mask[...], dtype=np.float32)
        if mask.shape != tuple(density.shape):
            raise DataUnfitError(
                f"the mask of {average.name} has the shape {mask.shape}, the map {tuple(density.shape)}"
            )
        density = density * torch.tensor(mask)
        filled = np.argwhere(mask > 0) - n // 2
        radius = float(np.linalg.norm(filled, axis=1).max(initial=1.0)) * voxel + voxel
    return density, radius


def _inside(rows: ParticleRows, shape: tuple[int, int, int], voxel: float) -> Any:
    index = index_from_position(rows.positions_xyz_angstrom, shape, voxel)
    return ((index >= 0) & (index <= np.array(shape) - 1)).all(axis=1)


def _write_scripts(
    particles: Particles,
    rows: ParticleRows,
    shape: tuple[int, int, int],
    voxel: float,
    level: float,
    radius: float,
    context: StepContext,
) -> None:
    """Scripts and positions that open with the volume, which lies beside them."""
    # Viewers use coordinates from the first voxel of the file.
    corner = index_from_position(rows.positions_xyz_angstrom, shape, voxel)[:, ::-1] * voxel
    tomogram = particles.tomograms[0].volume if particles.tomograms else None
    path = str(getattr(tomogram, "path", "") or "")
    arrows = bild_arrows(corner, rows.rotations[:, :, 2], 0.7 * radius)
    context.new_file("positions.bild").write_text(arrows, encoding="utf-8")
    table = positions_csv(rows.particle, corner, rows.rotations)
    context.new_file("positions.csv").write_text(table, encoding="utf-8")
    chimerax = chimerax_script("map_back.mrc", "positions.bild", level, path)
    context.new_file("open_in_chimerax.cxc").write_text(chimerax, encoding="utf-8")
    napari = napari_script("map_back.mrc", "positions.csv", voxel, level, 0.7 * radius, path)
    context.new_file("open_in_napari.py").write_text(napari, encoding="utf-8")
