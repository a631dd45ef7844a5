"""Reconstruct the tomogram with IMOD: newstack, ctfphaseflip where wanted, and tilt.

The alignment is written as IMOD's files (`formats.imod.export`), so poses of any alignment will do. tilt
writes sections along y whose rows are z, mirrored against ours (conventions.md); its centre lies half a voxel
from ours where a size is even, which the poses kept with the tomogram say. Nothing is resampled. Excluded
tilts are given and named in EXCLUDELIST, so views stay sections.
"""

from __future__ import annotations

from dataclasses import replace

from cryoloom.algorithms.series.specimen_frame import series_from_frame, with_defocus_at_origin
from cryoloom.contract.program import Call, Workplace, arguments_of, option, setting
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.placement import poses_by_section
from cryoloom.formats.imod.export import write_imod
from cryoloom.model import Pixels, PixelSink, Stack, TiltSeries, Tomogram
from cryoloom.procedures.tomogram_volumes import TILTS_IN_TOMOGRAM
from cryoloom.programs.handover import (
    ProgramParams,
    keep_volume,
    make_calls,
    place_float32,
    tilts_by_section,
    workplace_of,
)
from cryoloom.programs.imod.imod_programs import CTFPHASEFLIP, NEWSTACK, TILT
from cryoloom.programs.imod.phase_flip import phase_flip_call
from cryoloom.programs.included_tilts import (
    ImageChoice,
    chosen_stack,
    names_of_images,
    series_centred_on_voxel,
)

__all__ = ["ImodReconstructParams", "calls", "imod_reconstruct"]

ROLES = {"images": "tomogram", "even": "tomogram_even", "odd": "tomogram_odd"}
_OF_TILT = (
    "radial",
    "falloff_is_sigma",
    "sirt_like_iterations",
    "exact_objects",
    "super_sample",
    "hamming_like_start",
)


class ImodReconstructParams(ProgramParams):
    """Options of newstack, ctfphaseflip and tilt."""

    images: ImageChoice = setting("best", description="Images that are reconstructed.")
    binning: int = option("-BinByFactor", 4, ge=1, le=32, description="newstack: pixels per voxel.")
    antialias: int = option(
        "-AntialiasFilter", -1, ge=-1, le=6, description="newstack: filter of the reduction; -1: IMOD's best."
    )
    thickness_angstrom: float = option(
        "-THICKNESS", 4000.0, gt=0, kind="computed", description="tilt: extent along the beam."
    )
    radial: tuple[float, float] = option(
        "-RADIAL", (0.35, 0.035), kind="comma",
        description="tilt: frequency from which the ramp falls off, and the width of the fall-off.",
    )  # fmt: skip
    falloff_is_sigma: bool = option(
        "-FalloffIsTrueSigma", True, kind="flag",
        description="tilt: the width is a Gaussian's sigma (IMOD 4.10 or later), else half of it.",
    )  # fmt: skip
    sirt_like_iterations: int | None = option(
        "-FakeSIRTiterations", None, ge=1, description="tilt: make the filter look like so many iterations."
    )
    exact_objects: int | None = option(
        "-ExactFilterSize", None, ge=2, description="tilt: exact filter for objects of this size in voxels."
    )
    hamming_like_start: float | None = option(
        "-HammingLikeFilter", None, ge=0, le=0.5, description="tilt: frequency where a Hamming filter starts."
    )
    super_sample: int | None = option(
        "-SuperSampleFactor", None, ge=1, le=8, description="tilt: sampling of rays and pixels."
    )
    density_weights: int | None = option(
        "-DENSWEIGHT", None, ge=0, le=10, kind="computed",
        description="tilt: intervals on each side whose density weights a view.",
    )  # fmt: skip
    centre_height_angstrom: float = setting(
        0.0,
        description="Height above the origin of the poses that the tomogram is centred at; the transforms "
        "are written for it, so that SHIFT stays 0.",
    )
    ctf_correction: bool = option(
        "-DefocusFile", False, kind="computed", description="Flip the phases of the aligned images in strips."
    )
    defocus_tolerance_angstrom: float = option(
        "-DefocusTol", 2000.0, gt=0, kind="computed", description="ctfphaseflip: defocus within a strip."
    )
    interpolation_px: int = option(
        "-InterpolationWidth", 15, ge=1, description="ctfphaseflip: distance between strips."
    )
    use_gpu: bool = option("-UseGPU", False, kind="computed", description="tilt, ctfphaseflip: use the GPU.")
    halves: bool = setting(True, description="Also make even and odd tomograms where the stack has halves.")
    multiscale: bool = setting(True, description="Also write an OME-Zarr pyramid.")


def calls(series: TiltSeries, params: ImodReconstructParams, workplace: Workplace) -> tuple[Call, ...]:
    """newstack, ctfphaseflip and tilt, for the images and for each half."""
    stack = chosen_stack(series, params.images)
    names = names_of_images(stack, halves=params.halves)
    return tuple(call for name in names for call in _calls_of(name, stack, series, params, workplace))


def _calls_of(
    name: str, stack: Stack, series: TiltSeries, params: ImodReconstructParams, workplace: Workplace
) -> list[Call]:
    n_z, n_y, n_x = volume_shape(stack, params)
    binned_angstrom = stack.pixel_size_angstrom * params.binning
    aligned = f"{name}_ali.mrc"
    newstack = Call(
        program=NEWSTACK,
        arguments=(
            "-InputFile", f"{name}.mrc", "-OutputFile", aligned, "-TransformFile", "stack/stack.xf",
            "-SizeToOutputInXandY", f"{n_x},{n_y}", "-OffsetsInXandY", "0,0", "-TaperAtFill", "1,1",
            "-AdjustOrigin", "-ImagesAreBinned", "1", "-BinByFactor", str(params.binning),
            *(["-AntialiasFilter", str(params.antialias)] if params.binning > 1 else []),
        ),
        writes=(aligned,),
    )  # fmt: skip
    made = [newstack]
    gpu = ["-UseGPU", str((workplace.gpu or 0) + 1)] if params.use_gpu else []
    if params.ctf_correction:
        made.append(
            phase_flip_call(
                name, aligned, binned_angstrom, series, gpu,
                defocus_tolerance_angstrom=params.defocus_tolerance_angstrom,
                interpolation_px=params.interpolation_px,
            )
        )  # fmt: skip
        aligned = made[-1].writes[0]
    excluded = [str(i + 1) for i, t in enumerate(tilts_by_section(series, stack)) if t.is_excluded]
    weights = ["-DENSWEIGHT", f"{params.density_weights},0.7"] if params.density_weights is not None else []
    has_x_tilt = any(t.pose is not None and t.pose.x_tilt_deg for t in series.tilts)
    tilt = Call(
        program=TILT,
        arguments=(
            "-InputProjections", aligned, "-OutputFile", f"{name}.rec",
            "-IMAGEBINNED", str(params.binning),
            "-FULLIMAGE", f"{n_x * params.binning},{n_y * params.binning}",
            "-THICKNESS", str(n_z * params.binning), "-TILTFILE", "stack/stack.tlt",
            *(["-XTILTFILE", "stack/stack.xtilt"] if has_x_tilt else []),
            "-SHIFT", "0.0,0.0",
            "-PERPENDICULAR", "-MODE", "2", "-AdjustOrigin",
            "-SCALE", "0.0,1.0", *weights, *arguments_of(params, only=_OF_TILT), *gpu,
            *(["-EXCLUDELIST", ",".join(excluded)] if excluded else []),
        ),
        writes=(f"{name}.rec",),
    )  # fmt: skip
    return [*made, tilt]


def volume_shape(stack: Stack, params: ImodReconstructParams) -> tuple[int, int, int]:
    """(z, y, x) in voxels: the whole field, as thick as asked for, an even number along z."""
    n_y, n_x = stack.shape_yx
    voxel = stack.pixel_size_angstrom * params.binning
    return (
        max(2, 2 * round(params.thickness_angstrom / voxel / 2)),
        n_y // params.binning,
        n_x // params.binning,
    )


FIGURES = (TILTS_IN_TOMOGRAM,)


@step(
    "imod_reconstruct",
    per="tilt_series",
    needs=TiltSeries,
    gives=Tomogram,
    bytes_needed=lambda series, params: 4 << 30,
    gpu="optional",
    methods="Tomograms were reconstructed with tilt of IMOD.",
    figures=FIGURES,
    programs=(NEWSTACK, CTFPHASEFLIP, TILT),
    calls=calls,
    beside="reconstruct",
)
def imod_reconstruct(series: TiltSeries, params: ImodReconstructParams, context: StepContext) -> Tomogram:
    """Make a tomogram, and even and odd ones, with IMOD from the poses of a series."""
    series = series_from_frame(
        with_defocus_at_origin(series, assume_centred=True), (0.0, 0.0, params.centre_height_angstrom)
    )
    folder, stack = context.scratch(), chosen_stack(series, params.images)
    _require_fit(series, params, context)
    for name, pixels in stack.present.items():
        place_float32(pixels, folder / f"{name}.mrc", stack.pixel_size_angstrom)
    given = replace(series, name="stack", stack=stack, weighted=None, corrected=None)
    write_imod([(given, None)], folder)
    make_calls(calls(series, params, workplace_of(context)), params, context)
    shape, voxel = volume_shape(stack, params), stack.pixel_size_angstrom * params.binning
    kept: dict[str, PixelSink | Pixels] = {}
    for name in ("images", "even", "odd") if params.halves else ("images",):
        if name in stack.present:
            kept[name] = keep_volume(
                context, ROLES[name], folder / f"{name}.rec", shape, voxel, sections_are="y", mirror_z=True,
                multiscale=params.multiscale and name == "images",
            )  # fmt: skip
    context.figure("n_tilts", sum(tilt.pose is not None for tilt in series.included))
    placed = series_centred_on_voxel(series, shape, voxel)
    method = "weighted back-projection (IMOD)"
    return Tomogram(placed, kept["images"], voxel, kept.get("even"), kept.get("odd"), method)


def _require_fit(series: TiltSeries, params: ImodReconstructParams, context: StepContext) -> None:
    """Refuse what IMOD cannot reconstruct, and warn of what it leaves out."""
    if poses_by_section(series)[1] is None:
        raise DataUnfitError(f"{series.name} has no poses; align the series first")
    if params.ctf_correction and not any(tilt.ctf is not None for tilt in series.included):
        raise DataUnfitError(f"{series.name} has no CTF to correct; estimate it, or leave ctf_correction off")
    if any(tilt.pose is not None and tilt.pose.warp is not None for tilt in series.included):
        context.warn("the local displacements of the images are not given to IMOD and are left out")
