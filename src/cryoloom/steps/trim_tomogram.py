"""Cut a tomogram to a region, or turn it over, keeping positions correct.

The region is given by its extents and its middle in angstrom. Positions are relative to the centre of the
volume, so the origin moves to the new centre, and the poses and defoci stored with the tomogram are changed
accordingly: a position in the trimmed tomogram projects to the same point of the images as its voxel. The
same is done when the volume is turned over by 180 degrees about one of its axes. The halves are cut and
turned in the same way.

Figures: ``origin_x_angstrom``, ``origin_y_angstrom`` and ``origin_z_angstrom`` of the new centre in the old
tomogram, and ``kept_percent`` of its volume.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from cryoloom.algorithms.series.specimen_frame import series_from_frame
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.model import Pixels, Tomogram
from cryoloom.procedures.tomogram_region import kept_voxels

__all__ = ["TrimTomogramParams", "trim_tomogram"]

# Signs of the new axes (z, y, x) in the old ones.
_HALF_TURNS = {"none": (1, 1, 1), "x": (-1, -1, 1), "y": (-1, 1, -1), "z": (1, -1, -1)}


class TrimTomogramParams(StepParams):
    """Parameters of trimming."""

    thickness_angstrom: float | None = Field(
        None, gt=0, description="Extent along z to keep. Unset: the whole tomogram."
    )
    length_angstrom: float | None = Field(
        None, gt=0, description="Extent along y. Unset: the whole tomogram."
    )
    width_angstrom: float | None = Field(None, gt=0, description="Extent along x. Unset: the whole tomogram.")
    middle_xyz_angstrom: tuple[float, float, float] = Field(
        (0.0, 0.0, 0.0),
        description="Middle of the region relative to the tomogram's centre, rounded to whole voxels.",
    )
    half_turn: Literal["none", "x", "y", "z"] = Field(
        "none", description="Turn the volume over, by 180 degrees about this axis."
    )


FIGURES = (
    Figure(
        "origin_x_angstrom",
        "angstrom",
        "New origin, x",
        "Centre of the trimmed tomogram along x, from the centre of the whole one.",
    ),
    Figure(
        "origin_y_angstrom",
        "angstrom",
        "New origin, y",
        "Centre of the trimmed tomogram along y, from the centre of the whole one.",
    ),
    Figure(
        "origin_z_angstrom",
        "angstrom",
        "New origin, z",
        "Centre of the trimmed tomogram along z, from the centre of the whole one.",
    ),
    Figure(
        "kept_percent",
        "percent",
        "Volume kept",
        "Volume of the trimmed tomogram, divided by that of the whole one.",
    ),
)


@step(
    "trim_tomogram",
    per="tomogram",
    needs=Tomogram,
    gives=Tomogram,
    bytes_needed=lambda tomogram, params: 8 * math.prod(tomogram.volume.shape) + (200 << 20),
    methods="Tomograms were cut to the specimen.",
    figures=FIGURES,
)
def trim_tomogram(tomogram: Tomogram, params: TrimTomogramParams, context: StepContext) -> Tomogram:
    """Keep a region of a tomogram and of its halves, by whole voxels."""
    voxel, shape = tomogram.voxel_size_angstrom, tomogram.volume.shape
    signs = _HALF_TURNS[params.half_turn]
    middle_zyx = [round(value / voxel) for value in params.middle_xyz_angstrom[::-1]]
    wanted = (params.thickness_angstrom, params.length_angstrom, params.width_angstrom)
    z, y, x = (
        kept_voxels(n, middle, sign, extent, voxel, name)
        for n, middle, sign, extent, name in zip(shape, middle_zyx, signs, wanted, "zyx", strict=True)
    )
    volumes = {"tomogram": tomogram.volume, "tomogram_even": tomogram.even, "tomogram_odd": tomogram.odd}
    present = {role: volume for role, volume in volumes.items() if volume is not None}
    made: dict[str, Pixels] = {}
    for done, (role, volume) in enumerate(present.items()):
        made[role] = _cut(role, volume, (z, y, x), voxel, context)
        context.progress(done + 1, len(present))
    origin = np.array(middle_zyx[::-1], dtype=np.float64) * voxel
    context.figure("origin_x_angstrom", float(origin[0]))
    context.figure("origin_y_angstrom", float(origin[1]))
    context.figure("origin_z_angstrom", float(origin[2]))
    context.figure("kept_percent", 100.0 * math.prod(made["tomogram"].shape) / math.prod(shape))
    turn = None if params.half_turn == "none" else np.diag(np.array(signs[::-1], dtype=np.float64))
    return replace(
        tomogram,
        series=series_from_frame(tomogram.series, origin, turn),
        volume=made["tomogram"],
        even=made.get("tomogram_even"),
        odd=made.get("tomogram_odd"),
    )


def _cut(
    role: str,
    volume: Pixels,
    kept: tuple[range, range, range],
    voxel_size_angstrom: float,
    context: StepContext,
) -> Pixels:
    z, y, x = kept
    sink = context.new_pixels(
        role,
        (len(z), len(y), len(x)),
        voxel_size_angstrom,
        kind="volume",
        dtype="float16" if volume.dtype == np.float16 else "float32",
    )
    low_y, low_x = min(y), min(x)
    for i, old in enumerate(z):
        part = np.asarray(volume[old, low_y : low_y + len(y), low_x : low_x + len(x)])
        sink[i] = np.ascontiguousarray(part[:: y.step, :: x.step])
    return sink
