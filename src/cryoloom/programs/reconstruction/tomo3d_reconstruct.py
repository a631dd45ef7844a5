"""Reconstruct with tomo3d on the processor: weighted back-projection or SIRT.

It takes a series after apply_alignment. tomo3d takes the place of IMOD's tilt: it writes sections along y, z
running as IMOD's, against ours.
"""

from __future__ import annotations

from typing import Literal

from cryoloom.contract.program import Call, Program, Workplace, option, setting
from cryoloom.contract.step import StepContext, step
from cryoloom.model import PixelSink, TiltSeries, Tomogram
from cryoloom.procedures.tomogram_volumes import TILTS_IN_TOMOGRAM
from cryoloom.programs.handover import ProgramParams, keep_volume, make_calls, workplace_of
from cryoloom.programs.included_tilts import series_centred_on_voxel
from cryoloom.programs.reconstruction.upright_stack import (
    angles_of,
    require_upright,
    used_tilts,
    write_upright,
)

__all__ = ["TOMO3D", "Tomo3dReconstructParams", "calls", "tomo3d_reconstruct"]

ROLES = {"images": "tomogram", "even": "tomogram_even", "odd": "tomogram_odd"}
TOMO3D = Program(
    name="tomo3d",
    suite="tomo3d",
    executables=("tomo3d",),
    purpose="back-projection and SIRT on the processor",
    versions=("2.0", "2.2"),
    version_arguments=None,
    citation="Agulleiro, J.I. & Fernandez, J.J. (2015) Tomo3D 2.0: exploitation of advanced vector "
    "extensions (AVX) for 3D reconstruction. J. Struct. Biol. 189, 147-152, doi:10.1016/j.jsb.2014.11.009",
    homepage="https://sites.google.com/site/3demimageprocessing/tomo3d",
)


class Tomo3dReconstructParams(ProgramParams):
    """Options of tomo3d."""

    thickness_angstrom: float = option(
        "-z", 4000.0, gt=0, kind="computed", description="Extent along the beam at zero tilt."
    )
    method: Literal["wbp", "sirt"] = option(
        "-S", "sirt", kind="computed", description="Weighted back-projection, or SIRT."
    )
    iterations: int = option("-l", 30, ge=1, kind="computed", description="sirt: iterations.")
    halves: bool = setting(True, description="Also make even and odd tomograms where the stack has halves.")
    multiscale: bool = setting(True, description="Also write an OME-Zarr pyramid.")


def calls(series: TiltSeries, params: Tomo3dReconstructParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run for the images and one for each half."""
    stack = series.best_stack
    names = [name for name in stack.present if name == "images" or params.halves]
    sirt = ["-S", "-l", str(params.iterations)] if params.method == "sirt" else []
    return tuple(
        Call(
            program=TOMO3D,
            arguments=(
                "-i", f"{name}.mrc", "-a", "stack.tlt", "-o", f"{name}.rec", "-t", str(workplace.n_threads),
                "-z", str(_n_z(series, params)), *sirt,
            ),
            files={"stack.tlt": angles_of(series)},
            writes=(f"{name}.rec",),
        )
        for name in names
    )  # fmt: skip


def _n_z(series: TiltSeries, params: Tomo3dReconstructParams) -> int:
    """Planes, an even number."""
    return max(2, 2 * round(params.thickness_angstrom / series.best_stack.pixel_size_angstrom / 2))


@step(
    "tomo3d_reconstruct",
    per="tilt_series",
    needs=TiltSeries,
    gives=Tomogram,
    bytes_needed=lambda series, params: 4 << 30,
    methods="Tomograms were reconstructed with tomo3d.",
    figures=(TILTS_IN_TOMOGRAM,),
    programs=(TOMO3D,),
    calls=calls,
    beside="reconstruct",
)
def tomo3d_reconstruct(series: TiltSeries, params: Tomo3dReconstructParams, context: StepContext) -> Tomogram:
    """Make a tomogram, and even and odd ones, with tomo3d from the aligned images of a series."""
    require_upright(series, TOMO3D.name)
    folder, stack = context.scratch(), series.best_stack
    made = calls(series, params, workplace_of(context))
    names = [call.writes[0].removesuffix(".rec") for call in made]
    for name in names:
        write_upright(stack.present[name], series, folder / f"{name}.mrc", stack.pixel_size_angstrom)
    make_calls(made, params, context)
    shape = (_n_z(series, params), *stack.shape_yx)
    kept: dict[str, PixelSink] = {}
    for name in names:
        kept[name] = keep_volume(
            context, ROLES[name], folder / f"{name}.rec", shape, stack.pixel_size_angstrom, sections_are="y",
            mirror_z=True, multiscale=params.multiscale and name == "images",
        )  # fmt: skip
    context.figure("n_tilts", len(used_tilts(series)))
    placed = series_centred_on_voxel(series, shape, stack.pixel_size_angstrom)
    method = "SIRT (tomo3d)" if params.method == "sirt" else "weighted back-projection (tomo3d)"
    return Tomogram(
        placed, kept["images"], stack.pixel_size_angstrom, kept.get("even"), kept.get("odd"), method
    )
