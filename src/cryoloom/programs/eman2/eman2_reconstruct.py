"""Reconstruct the tomogram with EMAN2 from poses of any alignment.

``e2tomogram.py`` loads the poses (``--load``, no iteration), reconstructs in Fourier space by tiles, and
writes HDF, which ``e2proc3d.py`` turns into MRC. Its field is a square about the middle of the images, its
voxel size that of the binning that gives about 1024, 2048 or 4096 pixels. With a CTF, phases are flipped tile
by tile at the depth of each.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from cryoloom.algorithms.series.specimen_frame import series_from_frame, with_defocus_at_origin
from cryoloom.contract.program import Call, Workplace, arguments_of, option, setting, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import PixelSink, Stack, TiltSeries, Tomogram
from cryoloom.procedures.tomogram_volumes import TILTS_IN_TOMOGRAM
from cryoloom.programs.eman2.eman2_project import (
    E2PROC3D,
    E2TOMOGRAM,
    info_file,
    info_name,
    require_size,
    stack_name,
)
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.included_tilts import ImageChoice, chosen_stack, names_of_images, written

__all__ = ["Eman2ReconstructParams", "calls", "eman2_reconstruct"]

ROLES = {"images": "tomogram", "even": "tomogram_even", "odd": "tomogram_odd"}
_LONGEST_PX = {"1k": 1024, "2k": 2048, "4k": 4096}


class Eman2ReconstructParams(ProgramParams):
    """Options of e2tomogram.py's reconstruction."""

    images: ImageChoice = setting("best", description="Images that are reconstructed.")
    size: Literal["1k", "2k", "4k"] = option(
        "--outsize", "1k", description="About how many pixels the images are binned to."
    )
    thickness_angstrom: float = option(
        "--clipz", 4000.0, gt=0, kind="computed", description="Extent of the tomogram along the beam."
    )
    tilts_kept: float = option(
        "--tltkeep", 1.0, gt=0, le=1, description="Part of the tilts that is used; the steepest are left out."
    )
    finest_angstrom: float = option(
        "--filterres", 40.0, gt=0, description="Resolution that the tomogram is filtered to."
    )
    more_tiles: bool = option(
        "--moretile", False, kind="flag", description="More tiles: slower, fewer artefacts at their borders."
    )
    extra_padding: bool = option(
        "--extrapad", False, kind="flag", description="More padding of tiles: slower, for thick specimens."
    )
    even_contrast: bool = option(
        "--normslice", False, kind="flag", description="Even out the contrast along z."
    )
    bead_sigma: float = option(
        "--rmbeadthr", -1.0, description="Density, in deviations, above which beads are removed; -1: none."
    )
    correct_ctf: bool = option(
        "defocus", False, kind="computed", description="Flip phases by the CTF of every tilt."
    )
    halves: bool = setting(True, description="Also make even and odd tomograms where the stack has halves.")
    multiscale: bool = setting(True, description="Also write an OME-Zarr pyramid.")


def calls(series: TiltSeries, params: Eman2ReconstructParams, workplace: Workplace) -> tuple[Call, ...]:
    """Reconstruction and conversion, for the images and for each half. The series is of the tilts in use."""
    stack = chosen_stack(series, params.images)
    names = names_of_images(stack, halves=params.halves)
    return tuple(call for name in names for call in _calls_of(name, stack, series, params, workplace))


def _calls_of(
    name: str, stack: Stack, series: TiltSeries, params: Eman2ReconstructParams, workplace: Workplace
) -> tuple[Call, Call]:
    binning = _binning(stack, params)
    made = f"tomograms/{name}{f'__bin{binning}' if binning > 1 else ''}.hdf"
    info = info_file(
        name, series, upside_down=_is_upside_down(series), binning=binning, with_ctf=params.correct_ctf
    )
    return (
        Call(
            program=E2TOMOGRAM,
            arguments=(
                stack_name(name), "--load", "--niter", "0,0,0,0", "--notmp", "--bytile",
                "--compressbits", "-1", "--clipz", str(_n_z(stack, params)),
                "--threads", *text_of(max(2, workplace.n_threads)), *arguments_of(params),
            ),
            files={info_name(name): info},
            writes=(made,),
        ),
        Call(program=E2PROC3D, arguments=(made, f"{name}.mrc"), writes=(f"{name}.mrc",)),
    )  # fmt: skip


def _binning(stack: Stack, params: Eman2ReconstructParams) -> int:
    """Pixels per voxel, as e2tomogram.py chooses it by the short side of the images."""
    least = min(stack.shape_yx)
    first = least // 4096 if least > 4096 else 1
    longest = 4096 if least > 2048 else 2048 if least > 1024 else 1024
    return first * max(1, longest // _LONGEST_PX[params.size])


def _n_z(stack: Stack, params: Eman2ReconstructParams) -> int:
    """Planes, an even number."""
    voxel = stack.pixel_size_angstrom * _binning(stack, params)
    return max(2, 2 * round(params.thickness_angstrom / voxel / 2))


def _is_upside_down(series: TiltSeries) -> bool:
    """Which of EMAN2's two frames has our handedness (`eman2_project`)."""
    return series.handedness.applied != 1


@step(
    "eman2_reconstruct",
    per="tilt_series",
    needs=TiltSeries,
    gives=Tomogram,
    bytes_needed=lambda series, params: 16 << 30,
    methods="Tomograms were reconstructed with EMAN2.",
    figures=(TILTS_IN_TOMOGRAM,),
    programs=(E2TOMOGRAM, E2PROC3D),
    calls=calls,
    beside="reconstruct",
)
def eman2_reconstruct(series: TiltSeries, params: Eman2ReconstructParams, context: StepContext) -> Tomogram:
    """Make a tomogram, and even and odd ones, with EMAN2 from the poses of a series."""
    series = with_defocus_at_origin(series, assume_centred=True)
    require_size(series)
    if params.correct_ctf and any(tilt.ctf is None for tilt in series.included):
        raise DataUnfitError(f"not every tilt of {series.name} has a CTF to correct; estimate it first")
    if any(tilt.pose is not None and tilt.pose.warp is not None for tilt in series.included):
        context.warn("the local displacements of the images are not given to EMAN2 and are left out")
    folder, stack = context.scratch(), chosen_stack(series, params.images)
    names = [name for name in stack.present if name == "images" or params.halves]
    used = series
    (folder / "tiltseries").mkdir(exist_ok=True)
    for name in names:
        half = Stack(stack.present[name], stack.pixel_size_angstrom)
        used = written(series, half, folder / stack_name(name), least=5)
    given = params.model_copy(update={"images": "unweighted"})
    made = calls(replace(used, stack=stack), given, workplace_of(context))
    make_calls(made, params, context)
    upside_down, voxel = _is_upside_down(series), stack.pixel_size_angstrom * _binning(stack, params)
    shape = _shape(folder / "images.mrc", _n_z(stack, params))
    kept = {
        name: _keep(context, name, folder / f"{name}.mrc", shape, voxel, params, upside_down=upside_down)
        for name in names
    }
    context.figure("n_tilts", len(used.tilts))
    # Reversed, index n // 2 of an even number of voxels lies one voxel above EMAN2's origin.
    reversed_xyz = (False, False, True) if upside_down else (True, True, False)
    offset = [
        voxel if is_reversed and n % 2 == 0 else 0.0
        for is_reversed, n in zip(reversed_xyz, shape[::-1], strict=True)
    ]
    return Tomogram(
        series_from_frame(series, offset), kept["images"], voxel, kept.get("even"), kept.get("odd"),
        "Fourier inversion (EMAN2)",
    )  # fmt: skip


def _shape(path: Path, n_z: int) -> tuple[int, int, int]:
    """(z, y, x) of the volume, as thick as requested; EMAN2 chooses the rest."""
    shape = MrcPixels(path).shape
    if shape[0] != n_z:
        raise DataUnfitError(
            f"EMAN2 made a volume of {shape[0]} planes, expected {n_z}; the result is not used"
        )
    return shape[0], shape[1], shape[2]


def _keep(
    context: StepContext,
    name: str,
    path: Path,
    shape: tuple[int, int, int],
    voxel_size_angstrom: float,
    params: Eman2ReconstructParams,
    *,
    upside_down: bool,
) -> PixelSink:
    """Take a volume, turned into our frame."""
    pixels = MrcPixels(path)
    if pixels.shape != shape:
        raise DataUnfitError(f"{path.name} has the shape {pixels.shape}, expected {shape}; nothing is taken")
    sink = context.new_pixels(
        ROLES[name], shape, voxel_size_angstrom, kind="volume", dtype="float32",
        multiscale=params.multiscale and name == "images",
    )  # fmt: skip
    for z in range(shape[0]):
        plane = pixels[z]
        sink[shape[0] - 1 - z if upside_down else z] = (
            plane if upside_down else np.ascontiguousarray(plane[::-1, ::-1])
        )
    return sink
