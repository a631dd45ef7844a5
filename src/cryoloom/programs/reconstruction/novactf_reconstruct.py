"""Reconstruct with NovaCTF: every voxel from images corrected at the defocus of its own depth.

It takes a series after apply_alignment. NovaCTF writes a defocus file for each plane of the specimen,
corrects the stack for each, filters them, and back-projects. Its z runs against ours, as IMOD's
(``ctf3d.cpp``: -sin). Handedness +1 is NovaCTF's own; for -1 the planes take each other's defocus (both
confirmed by the program on points with known truth). Without a known handedness all depths share one defocus.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin
from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Program, Workplace, arguments_of, option, setting, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import Stack, TiltSeries, Tomogram
from cryoloom.procedures.tomogram_volumes import TILTS_IN_TOMOGRAM
from cryoloom.programs.handover import ProgramParams, keep_volume, make_calls, workplace_of
from cryoloom.programs.included_tilts import series_centred_on_voxel
from cryoloom.programs.reconstruction.upright_stack import (
    angles_of,
    require_upright,
    used_tilts,
    write_flipped,
    write_upright,
)

__all__ = ["NOVACTF", "NovactfReconstructParams", "calls", "novactf_reconstruct"]

NOVACTF = Program(
    name="NovaCTF",
    suite="NovaCTF",
    executables=("novaCTF", "novactf"),
    purpose="reconstruction with CTF correction at every depth",
    versions=("1.0",),
    version_arguments=None,
    citation="Turonova, B. et al. (2017) Efficient 3D-CTF correction for cryo-electron tomography using "
    "NovaCTF. J. Struct. Biol. 199, 187-195, doi:10.1016/j.jsb.2017.07.007",
    homepage="https://github.com/turonova/novaCTF",
    errors=(r"has to be set!", r"^Could not open", r"^Unknown type of"),
)


class NovactfReconstructParams(ProgramParams):
    """Options of NovaCTF."""

    thickness_angstrom: float = option(
        "-THICKNESS", 4000.0, gt=0, kind="computed", description="Extent along the beam at zero tilt."
    )
    defocus_step_nm: float = option(
        "-DefocusStep", 15.0, gt=0, kind="computed", description="Thickness of the planes of one defocus."
    )
    correction: Literal["phaseflip", "multiplication"] = option(
        "-CorrectionType", "phaseflip", kind="computed", description="How the CTF is corrected."
    )
    correct_astigmatism: bool = option(
        "-CorrectAstigmatism", True, kind="computed", description="Heed the direction of the defocus."
    )
    radial: tuple[float, float] = option(
        "-RADIAL", (0.3, 0.05), kind="comma",
        description="Frequency from which the ramp falls off, and the width of the fall-off.",
    )  # fmt: skip
    sirt_like_iterations: int | None = option(
        "-FakeSIRTiterations", None, ge=1, description="Make the filter look like so many iterations."
    )
    multiscale: bool = setting(True, description="Also write an OME-Zarr pyramid.")


def n_planes(series: TiltSeries, params: NovactfReconstructParams) -> int:
    """Planes of one defocus: an odd number (``microscopeGeometry.cpp``)."""
    if series.handedness.applied is None:
        return 1
    stack = series.best_stack
    n_z = volume_shape(stack, params)[0]
    n = max(1, math.floor(n_z * stack.pixel_size_angstrom / 10 / params.defocus_step_nm))
    return n if n % 2 else n - 1


def volume_shape(stack: Stack, params: NovactfReconstructParams) -> tuple[int, int, int]:
    """(z, y, x) in voxels, of the size of the aligned pixels."""
    return max(2, 2 * round(params.thickness_angstrom / stack.pixel_size_angstrom / 2)), *stack.shape_yx


def calls(series: TiltSeries, params: NovactfReconstructParams, workplace: Workplace) -> tuple[Call, ...]:
    """Defocus of the planes; correction and filter of each; back-projection."""
    n = n_planes(series, params)
    return (
        _defocus(series, params, n),
        *(_correction(series, params, i, n) for i in range(n)),
        *(_filter(series, params, i) for i in range(n)),
        _projection(series, params, n),
    )


def _common(series: TiltSeries, params: NovactfReconstructParams) -> list[str]:
    n_z, n_y, n_x = volume_shape(series.best_stack, params)
    pixel_nm = series.best_stack.pixel_size_angstrom / 10
    return [
        "-TILTFILE", "stack.tlt", "-FULLIMAGE", f"{n_x},{n_y}", "-THICKNESS", str(n_z), "-SHIFT", "0.0,0.0",
        "-PixelSize", *text_of(pixel_nm), "-VolumeThicknessType", "minimal",
    ]  # fmt: skip


def _of_ctf(params: NovactfReconstructParams) -> list[str]:
    return [
        "-CorrectionType", params.correction, "-DefocusFileFormat", "ctffind4",
        "-CorrectAstigmatism", "1" if params.correct_astigmatism else "0",
    ]  # fmt: skip


def _defocus(series: TiltSeries, params: NovactfReconstructParams, n: int) -> Call:
    # The program gets the number of planes, not their distance, so that both count the same.
    return Call(
        program=NOVACTF,
        arguments=(
            "-Algorithm", "defocus", "-InputProjections", "images.mrc", "-DefocusFile", "stack.defocus",
            "-NumberOfInputStacks", str(n), "-DefocusStep", "0" if n == 1 else _step_nm(series, params, n),
            *_common(series, params), *_of_ctf(params),
        ),
        files={"stack.tlt": angles_of(series), "stack.defocus": _defocus_table(series)},
        writes=tuple(f"stack.defocus_{i}" for i in range(n)),
    )  # fmt: skip


def _step_nm(series: TiltSeries, params: NovactfReconstructParams, n: int) -> str:
    """A step that gives exactly ``n`` planes: a hair less than the thickness over their number."""
    n_z = volume_shape(series.best_stack, params)[0]
    return f"{n_z * series.best_stack.pixel_size_angstrom / 10 / n * 0.9999:.6f}"


def _correction(series: TiltSeries, params: NovactfReconstructParams, i: int, n: int) -> Call:
    microscope = series.microscope
    plane = n - 1 - i if series.handedness.applied == -1 else i
    return Call(
        program=NOVACTF,
        arguments=(
            "-Algorithm", "ctfCorrection", "-InputProjections", "images.mrc",
            "-DefocusFile", f"stack.defocus_{plane}", "-OutputFile", f"corrected.mrc_{i}",
            "-TILTFILE", "stack.tlt", *_of_ctf(params),
            "-PixelSize", *text_of(series.best_stack.pixel_size_angstrom / 10),
            "-AmplitudeContrast", *text_of(microscope.amplitude_contrast),
            "-Cs", *text_of(microscope.spherical_aberration_mm),
            "-Volt", *text_of(round(microscope.voltage_kv)),
        ),
        writes=(f"corrected.mrc_{i}",),
    )  # fmt: skip


def _filter(series: TiltSeries, params: NovactfReconstructParams, i: int) -> Call:
    return Call(
        program=NOVACTF,
        arguments=(
            "-Algorithm", "filterProjections", "-InputProjections", f"flipped.mrc_{i}",
            "-OutputFile", f"filtered.mrc_{i}", "-TILTFILE", "stack.tlt", "-StackOrientation", "xz",
            *arguments_of(params),
        ),
        writes=(f"filtered.mrc_{i}",),
    )  # fmt: skip


def _projection(series: TiltSeries, params: NovactfReconstructParams, n: int) -> Call:
    return Call(
        program=NOVACTF,
        arguments=(
            "-Algorithm", "3dctf", "-InputProjections", "filtered.mrc", "-OutputFile", "tomogram.rec",
            "-NumberOfInputStacks", str(n), "-Use3DCTF", "1", *_common(series, params),
        ),
        writes=("tomogram.rec",),
    )  # fmt: skip


def _defocus_table(series: TiltSeries) -> str:
    """The CTF of each tilt in use, as CTFFIND 4 writes it."""
    rows = []
    for i, tilt in enumerate(used_tilts(series), start=1):
        if tilt.ctf is None:
            raise DataUnfitError(
                f"the tilt of acquisition index {tilt.acquisition_index} of {series.name} has no CTF; "
                "estimate the CTF before, or exclude the tilt"
            )
        ctf = tilt.ctf
        rows.append(
            f"{i:f} {ctf.defocus_u_angstrom:f} {ctf.defocus_v_angstrom:f} {ctf.astigmatism_angle_deg:f} "
            f"{math.radians(ctf.phase_shift_deg):f} 0.5 10.0\n"
        )
    return "".join(rows)


FIGURES = (
    TILTS_IN_TOMOGRAM,
    Figure("n_planes", "", "Planes of one defocus", "Depths at which the images were corrected."),
)


@step(
    "novactf_reconstruct",
    per="tilt_series",
    needs=TiltSeries,
    gives=Tomogram,
    bytes_needed=lambda series, params: 4 << 30,
    methods="Tomograms were reconstructed with 3D-CTF correction by NovaCTF.",
    figures=FIGURES,
    programs=(NOVACTF,),
    calls=calls,
    beside="reconstruct",
)
def novactf_reconstruct(
    series: TiltSeries, params: NovactfReconstructParams, context: StepContext
) -> Tomogram:
    """Make a tomogram with NovaCTF from the aligned images and CTFs of a series."""
    series = with_defocus_at_origin(series, assume_centred=True)
    require_upright(series, NOVACTF.name)
    folder, stack = context.scratch(), series.best_stack
    pixel_size, shape = stack.pixel_size_angstrom, volume_shape(series.best_stack, params)
    if series.handedness.applied is None:
        context.warn(f"the handedness of {series.name} is not known, so all depths share one defocus")
    write_upright(stack.images, series, folder / "images.mrc", pixel_size)
    made, n = calls(series, params, workplace_of(context)), n_planes(series, params)
    make_calls(made[: 1 + n], params, context)
    for i in range(n):
        write_flipped(folder / f"corrected.mrc_{i}", folder / f"flipped.mrc_{i}", pixel_size)
        (folder / f"corrected.mrc_{i}").unlink()
    make_calls(made[1 + n :], params, context)
    volume = keep_volume(
        context, "tomogram", folder / "tomogram.rec", shape, pixel_size, sections_are="y", mirror_z=True,
        multiscale=params.multiscale,
    )  # fmt: skip
    context.figure("n_tilts", len(used_tilts(series)))
    context.figure("n_planes", n)
    placed = series_centred_on_voxel(series, shape, pixel_size)
    return replace(Tomogram(placed, volume, pixel_size), method="3D-CTF (NovaCTF)")
