"""Cut a tomogram and its halves to a region with IMOD's trimvol.

The region is given as in trim_tomogram, by extents and middle in angstrom, and goes to trimvol as the first
and last voxel along each axis, counted from 1. Our tomograms lie with sections along z, so trimvol's ``-rx``
is not needed; grey values stay 32-bit floats.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from cryoloom.algorithms.series.specimen_frame import series_from_frame
from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Workplace, option
from cryoloom.contract.step import StepContext, step
from cryoloom.model import Pixels, Tomogram
from cryoloom.procedures.tomogram_region import kept_voxels
from cryoloom.programs.handover import (
    ProgramParams,
    keep_volume,
    make_calls,
    place_float32,
    workplace_of,
)
from cryoloom.programs.imod.imod_programs import TRIMVOL

__all__ = ["ImodTrimTomogramParams", "calls", "imod_trim_tomogram"]


class ImodTrimTomogramParams(ProgramParams):
    """Options of trimvol."""

    thickness_angstrom: float | None = option(
        "-z", None, gt=0, kind="computed", description="Extent along z to keep. Unset: the whole tomogram."
    )
    length_angstrom: float | None = option(
        "-y", None, gt=0, kind="computed", description="Extent along y. Unset: the whole tomogram."
    )
    width_angstrom: float | None = option(
        "-x", None, gt=0, kind="computed", description="Extent along x. Unset: the whole tomogram."
    )
    middle_xyz_angstrom: tuple[float, float, float] = option(
        "-x", (0.0, 0.0, 0.0), kind="computed",
        description="Middle of the region, from the tomogram's centre, to whole voxels.",
    )  # fmt: skip


def calls(tomogram: Tomogram, params: ImodTrimTomogramParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run for the tomogram and one for each half."""
    z, y, x = _region(tomogram, params)
    return tuple(
        Call(
            program=TRIMVOL,
            arguments=(
                "-x", f"{x[0] + 1},{x[-1] + 1}", "-y", f"{y[0] + 1},{y[-1] + 1}",
                "-z", f"{z[0] + 1},{z[-1] + 1}", f"{role}.mrc", f"{role}_trimmed.mrc",
            ),
            writes=(f"{role}_trimmed.mrc",),
        )
        for role in _volumes(tomogram)
    )  # fmt: skip


def _volumes(tomogram: Tomogram) -> dict[str, Pixels]:
    volumes = {"tomogram": tomogram.volume, "tomogram_even": tomogram.even, "tomogram_odd": tomogram.odd}
    return {role: volume for role, volume in volumes.items() if volume is not None}


def _middle_zyx(tomogram: Tomogram, params: ImodTrimTomogramParams) -> list[int]:
    return [round(value / tomogram.voxel_size_angstrom) for value in params.middle_xyz_angstrom[::-1]]


def _region(tomogram: Tomogram, params: ImodTrimTomogramParams) -> tuple[range, range, range]:
    """Voxels kept along z, y and x."""
    wanted = (params.thickness_angstrom, params.length_angstrom, params.width_angstrom)
    z, y, x = (
        kept_voxels(n, middle, 1, extent, tomogram.voxel_size_angstrom, name)
        for n, middle, extent, name in zip(
            tomogram.volume.shape, _middle_zyx(tomogram, params), wanted, "zyx", strict=True
        )
    )
    return z, y, x


@step(
    "imod_trim_tomogram",
    per="tomogram",
    needs=Tomogram,
    gives=Tomogram,
    bytes_needed=lambda tomogram, params: (1 << 28) + 8 * math.prod(tomogram.volume.shape[1:]),
    methods="Tomograms were cut to the specimen with trimvol of IMOD.",
    figures=(
        Figure("kept_percent", "percent", "Volume kept", "Volume of the trimmed tomogram over the whole."),
    ),
    programs=(TRIMVOL,),
    calls=calls,
    beside="trim_tomogram",
)
def imod_trim_tomogram(tomogram: Tomogram, params: ImodTrimTomogramParams, context: StepContext) -> Tomogram:
    """Keep a region of a tomogram and of its halves with trimvol."""
    folder, voxel = context.scratch(), tomogram.voxel_size_angstrom
    for role, volume in _volumes(tomogram).items():
        place_float32(volume, folder / f"{role}.mrc", voxel)
    make_calls(calls(tomogram, params, workplace_of(context)), params, context)
    z, y, x = _region(tomogram, params)
    shape = (len(z), len(y), len(x))
    made = {
        role: keep_volume(context, role, folder / f"{role}_trimmed.mrc", shape, voxel)
        for role in _volumes(tomogram)
    }
    context.figure("kept_percent", 100.0 * math.prod(shape) / math.prod(tomogram.volume.shape))
    origin = np.array(_middle_zyx(tomogram, params)[::-1], dtype=np.float64) * voxel
    return replace(
        tomogram,
        series=series_from_frame(tomogram.series, origin),
        volume=made["tomogram"],
        even=made.get("tomogram_even"),
        odd=made.get("tomogram_odd"),
    )
