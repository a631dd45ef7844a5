"""Reconstruct the tomogram by weighted back-projection or iteratively, strip by strip in bounded memory.

Every image is converted to contrast (mean subtracted, divided by the mean), binned in Fourier space, sampled
by cubic B-splines in the frame of its tilt axis (shift, in-plane rotation, magnification and x-tilt removed),
filtered across the axis by a ramp with cut-off and the angle that the tilt represents, and back-projected
along its beam. The value of a voxel is its contrast, so that an image is the sum along the beam; protein is
dark. Radermacher, Electron Tomography (2006), ch. 8.

With `ctf_correction` the images are corrected for the CTF at several depths, and every voxel uses the
correction for its own depth (3D-CTF: NovaCTF's method, Turonova et al., J. Struct. Biol. 199, 2017, with a
polynomial in depth instead of a filtered stack per step). It needs a CTF on every tilt, and the handedness:
if that is not known, every image is corrected at one defocus, with a warning.

SIRT and SART compare projections of the tomogram with the images and correct it, repeatedly; the number of
iterations is determined on the tomogram's middle rows and used everywhere.

Without a given thickness, the tomogram contains the specimen as measured after the alignment, over the whole
field and with a margin. If that is not known well enough, the tomogram is 4000 A thick.

Figures: `half_correlation` is the mean Fourier shell correlation of the even and odd tomogram's middle up to
half of Nyquist; `half_resolution_angstrom` is where it falls below 0.143. Both need images of even and odd
frames. If no half tomograms are requested, only their middle is computed for these figures. With 3D-CTF,
`ctf_step_angstrom` is the thickness of a slab that shares one mixture of corrections and
`ctf_corrections_per_tilt` is the number of depths at which an image is corrected. For iterative methods,
`residual` is the rms difference between projections and images, relative to the images.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from cryoloom.algorithms.ctf.correction import Correction
from cryoloom.algorithms.images.radial_filter import RadialFilter
from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.reconstruction.back_projection import plan_back_projection
from cryoloom.algorithms.reconstruction.depth_correction import (
    DepthCorrectedBackProjection,
    plan_depth_correction,
)
from cryoloom.algorithms.reconstruction.iterative_reconstruction import (
    IterativeReconstruction,
    plan_iterations,
)
from cryoloom.algorithms.reconstruction.reconstruction_bands import (
    BESIDES_BYTES,
    Part,
    Reconstructor,
    bands_of,
    reconstruct_band,
)
from cryoloom.algorithms.reconstruction.tomogram_grid import TomogramGrid, binning_and_voxel, tomogram_grid
from cryoloom.algorithms.reconstruction.tomogram_thickness import (
    SAFE_THICKNESS_ANGSTROM,
    is_slab_known,
    thickness_around,
)
from cryoloom.algorithms.series.aligned_images import aligned_band, low_band
from cryoloom.algorithms.series.derived_pixels import centre_of, reading_bytes
from cryoloom.algorithms.series.prepared_arrays import Prepared, made_now
from cryoloom.algorithms.series.specimen_frame import (
    series_in_slab,
    series_moved,
    with_defocus_at_origin,
)
from cryoloom.algorithms.series.tilt_ctfs import ctfs_of
from cryoloom.algorithms.series.wanted_resolution import wanted_resolution
from cryoloom.contract.citations import CitedFor
from cryoloom.contract.figures import Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.contract.usual_time import UsualTime
from cryoloom.errors import DataUnfitError
from cryoloom.model import Ctf, Pixels, PixelSink, TiltSeries, Tomogram
from cryoloom.procedures.half_tomograms import (
    COMPARED_VOXELS,
    HALF_FIGURES,
    HALF_RECORD,
    compare_halves,
    tell_tilts_without_halves,
)
from cryoloom.procedures.prepared_images import PreparedImages
from cryoloom.procedures.tomogram_volumes import TILTS_IN_TOMOGRAM, middle_rows, new_volume, stored_type

__all__ = ["ReconstructParams", "reconstruct"]


class ReconstructParams(StepParams):
    """Parameters of the reconstruction."""

    binning: float | None = Field(
        None,
        ge=1,
        le=64,
        description="Stack pixels per voxel; fractions are allowed. Unset: a whole number that gives "
        "voxels of about 10 A.",
    )
    voxel_size_angstrom: float | None = Field(
        None, gt=0, description="Voxel size, instead of a binning; at least the stack's pixel size."
    )
    thickness_angstrom: float | None = Field(
        None,
        gt=0,
        description="Extent of the tomogram along z. Unset: the measured specimen with a margin, or 4000 if "
        "it was not measured well enough.",
    )
    width_angstrom: float | None = Field(
        None, gt=0, description="Extent across the tilt axis (x). Unset: the field of the camera."
    )
    length_angstrom: float | None = Field(
        None, gt=0, description="Extent along the tilt axis (y). Unset: the field of the camera."
    )
    method: Literal["wbp", "sirt", "sart"] = Field(
        "wbp",
        description="wbp: weighted back-projection. sirt: iterations over all tilts at once. sart: "
        "iterations over subsets of the tilts in turn (ordered subsets).",
    )
    iterations: int = Field(30, ge=1, le=1000, description="sirt, sart: largest number of iterations.")
    subsets: int = Field(8, ge=2, le=100, description="sart: number of subsets of the tilts.")
    relaxation: float = Field(
        1.0, gt=0, lt=2, description="sirt, sart: fraction of each correction that is applied."
    )
    stop_change: float = Field(
        0.002,
        ge=0,
        lt=1,
        description="sirt, sart: iterations end when the residual decreases by less than this fraction.",
    )
    cutoff_per_px: float = Field(
        0.35,
        gt=0,
        le=0.5,
        description="wbp: frequency at which the ramp begins to fall off, cycles per voxel.",
    )
    falloff_per_px: float = Field(
        0.05, gt=0, le=0.5, description="Width of the Gaussian fall-off, in cycles per voxel."
    )
    sirt_like_iterations: int = Field(
        0,
        ge=0,
        le=1000,
        description="wbp: attenuate low frequencies like SIRT with this many iterations; 0: off.",
    )
    tilt_weighting: Literal["increments", "exact"] = Field(
        "increments",
        description="Weights of unevenly spaced tilts. angle: the angular range of each tilt. exact: "
        "Harauz & van Heel's weights for the tomogram's thickness, with the ramp up to Crowther's "
        "resolution.",
    )
    ctf_correction: Literal["none", "phase_flip", "multiply", "wiener"] = Field(
        "none",
        description="Correct the CTF of every voxel at its own depth (3D-CTF). phase_flip: only the sign. "
        "multiply: by the CTF, which weights by signal; the fastest. wiener: divide by the CTF where it is "
        "strong.",
    )
    ctf_snr: float = Field(
        5.0, gt=0, description="wiener: signal-to-noise ratio, the same at all frequencies."
    )
    ctf_resolution_angstrom: float | None = Field(
        None,
        gt=0,
        description="Finest detail whose depth is treated exactly. Unset: the end of the filter's fall-off.",
    )
    ctf_step_angstrom: float | None = Field(
        None, gt=0, description="Thickness of slabs that share a correction. Unset: from the resolution."
    )
    position: Literal["cell", "slab"] = Field(
        "cell",
        description="Frame of the tomogram. cell: that of the poses. slab: rotated and shifted so that the "
        "specimen, as measured by estimate_slab, is flat and in the middle.",
    )
    z_shift_angstrom: float = Field(
        0.0, description="Shift the specimen up by this distance in the tomogram."
    )
    z_shift_px: float = Field(
        0.0, description="z_shift_angstrom in pixels of the images; give one of the two."
    )
    tilt_offset_deg: float = Field(
        0.0,
        gt=-90,
        lt=90,
        description="Angle added to all tilt angles; it rotates the specimen about the tilt axis (y).",
    )
    halves: bool = Field(
        False,
        description="Also make even and odd tomograms. Workflows with denoising request them; their "
        "correlation is measured in any case.",
    )
    halves_by: Literal["frames", "tilts"] = Field(
        "frames",
        description="frames: halves from the even and odd frames of every tilt. tilts: halves from every "
        "second tilt; works with any stack, but doubles the angle between tilts.",
    )
    dtype: Literal["float32", "float16"] = Field(
        "float16",
        description="Type of the stored voxels: float16 where it adds less than a ten-thousandth of their "
        "variance, else float32.",
    )
    orientation: Literal["xyz", "xzy"] = Field(
        "xyz",
        description="Order of the MRC file's axes, fastest first. xzy: also write tomogram_xzy.mrc "
        "as IMOD's tilt does, one section for each y, z mirrored.",
    )
    multiscale: bool = Field(False, description="Also write an OME-Zarr pyramid.")

    @model_validator(mode="after")
    def _correction_is_possible(self) -> ReconstructParams:
        if self.method != "wbp" and self.ctf_correction != "none":
            raise ValueError(
                f"method={self.method} cannot be combined with ctf_correction; use method=wbp, or the step "
                "correct_ctf before"
            )
        return self

    @model_validator(mode="after")
    def _one_shift(self) -> ReconstructParams:
        if self.z_shift_angstrom and self.z_shift_px:
            raise ValueError("give z_shift_angstrom or z_shift_px, not both")
        return self

    @model_validator(mode="after")
    def _cutoff_is_seen(self) -> ReconstructParams:
        if self.cutoff_per_px + 3 * self.falloff_per_px < 0.05:
            raise ValueError(
                "the filter passes almost no signal; choose a larger cutoff_per_px (0.35 is usual)"
            )
        return self


_ROWS_AT_ONCE = 256
"""Chosen: rows corrected for depth at a time if no memory limit is given: the halo is then a small part."""


_EDGE_VOXELS = 16
"""Chosen: aligned images have no values at their outermost pixels."""
_SHIFTS_ANGSTROM = 300.0
"""Chosen: step of the shifts for which the middle of an image is cut out. Most series lie within the
first, so this part is known before the poses and can be prepared."""


def bytes_needed(series: TiltSeries, params: ReconstructParams) -> int:
    """All aligned images, work for one image or some rows, and a strip; with less memory, bands of rows."""
    series = _placed(series, params)
    grid = _grid(series, params)
    reconstructor = _reconstructor(series, grid, params)
    rows = min(_ROWS_AT_ONCE, grid.volume_shape[1])
    work = reconstructor.strip_bytes + rows * reconstructor.held_row_bytes
    reading = reading_bytes(series.best_stack.images)
    return grid.volume_shape[1] * grid.row_bytes + max(grid.image_bytes, work) + BESIDES_BYTES + reading


def _bytes_stored(series: TiltSeries, params: ReconstructParams) -> int:
    """The tomogram and its halves, and on request the pyramid and the file in another axis order."""
    n_z, n_y, n_x = _grid(series, params).volume_shape
    volumes = (3 if params.halves else 1) * (2.2 if params.multiscale else 1) + (params.orientation == "xzy")
    return round(volumes * n_z * n_y * n_x * (2 if params.dtype == "float16" else 4))


def _prepared(series: TiltSeries, binning: float, context: StepContext) -> PreparedImages:
    """Data of the images prepared while the series grew."""
    stack = series.best_stack
    band = aligned_band(stack.shape_yx, (binning, binning))
    return PreparedImages(context, series, stack, "low frequencies", list(band), context.device)


def _prepare_ahead(series: TiltSeries, params: ReconstructParams, context: StepContext) -> None:
    """Low frequencies of the images that exist, all that a tomogram is made from."""
    stack = series.best_stack
    binning, _ = binning_and_voxel(stack, params.binning, params.voxel_size_angstrom)
    scratch = ScratchBuffers()
    sections = [tilt.section for tilt in series.tilts if tilt.section is not None]
    _prepared(series, binning, context).prepare(
        sections, lambda section: low_band(stack.images, section, binning, scratch, context.device)
    )
    if params.halves or params.halves_by != "frames":
        return
    pixel = stack.pixel_size_angstrom
    side = min(COMPARED_VOXELS, round(max(stack.shape_yx) / binning))
    seen_px = _middle_px(side, 0.0, pixel, binning)
    for half, pixels in (("even", stack.even), ("odd", stack.odd)):
        if pixels is not None:
            middle = centre_of(pixels, (seen_px, seen_px))
            make = functools.partial(
                low_band, middle, binning=binning, scratch=scratch, device=context.device
            )
            _prepared_middles(series, half, seen_px, binning, context).prepare(sections, make)


def _middle_px(side: int, shift_angstrom: float, pixel_size_angstrom: float, binning: float) -> int:
    """Side of the part of images that shows a box at any tilt, rotation and shift."""
    shifts = _SHIFTS_ANGSTROM * max(1, math.ceil(shift_angstrom / _SHIFTS_ANGSTROM))
    return round((1.5 * side + _EDGE_VOXELS) * binning + 2 * shifts / pixel_size_angstrom)


def _prepared_middles(
    series: TiltSeries, half: str, seen_px: int, binning: float, context: StepContext
) -> PreparedImages:
    """Data prepared from the middles of the images of one half."""
    kind = f"low frequencies of the middle, {half}"
    return PreparedImages(context, series, series.best_stack, kind, seen_px, binning, context.device)


FIGURES = (
    TILTS_IN_TOMOGRAM,
    Figure(
        "tomogram_thickness_angstrom",
        "angstrom",
        "Thickness of the tomogram",
        "Extent of the tomogram along z: as requested, or the measured specimen with a margin.",
    ),
    Figure(
        "ctf_step_angstrom",
        "angstrom",
        "Depth of one CTF correction",
        "Thickness of the slabs that are corrected at one defocus each (3D-CTF).",
    ),
    Figure(
        "ctf_corrections_per_tilt",
        "",
        "CTF corrections of a tilt",
        "Number of depths at which a tilt's image is corrected (3D-CTF), mean over tilts.",
    ),
    Figure(
        "iterations",
        "",
        "Iterations",
        "Number of iterations; then the middle of the tomogram changes little.",
    ),
    Figure(
        "residual",
        "",
        "Residual of the iterations",
        "Difference between the images and the projections of the tomogram, relative to the first "
        "difference.",
    ),
    *HALF_FIGURES,
)
RECORDS = (
    Record(
        "residual_course",
        "Residual after every iteration, on a strip through the middle of the tomogram.",
        shows="curves",
    ),
    HALF_RECORD,
)


@step(
    "reconstruct",
    takes_by_hand=("thickness",),
    version=5,
    per="tilt_series",
    needs=TiltSeries,
    gives=Tomogram,
    bytes_needed=bytes_needed,
    usual_time=UsualTime(6.0, 25.0),
    ahead=_prepare_ahead,
    bytes_stored=_bytes_stored,
    gpu="optional",
    citations=(
        CitedFor(
            "Radermacher, M. (2006) Weighted back-projection methods. In: Electron Tomography, 2nd ed., "
            "245-273, doi:10.1007/978-0-387-69008-7_9",
            "method",
            ("wbp",),
        ),
        CitedFor(
            "Harauz, G. & van Heel, M. (1986) Exact filters for general geometry. Optik 73, 146-156.",
            "tilt_weighting",
            ("exact",),
        ),
        CitedFor(
            "Turonova, B. et al. (2017) Efficient 3D-CTF correction for cryo-electron tomography using "
            "NovaCTF. J. Struct. Biol. 199, 187-195, doi:10.1016/j.jsb.2017.07.007",
            "ctf_correction",
            ("phase_flip", "multiply", "wiener"),
        ),
        CitedFor(
            "Gilbert, P. (1972) Iterative methods for the three-dimensional reconstruction of an object from "
            "projections. J. Theor. Biol. 36, 105-117, doi:10.1016/0022-5193(72)90180-4",
            "method",
            ("sirt", "sart"),
        ),
    ),
    methods=(
        "Tomograms were reconstructed by {reconstruction}, with voxels of {voxel_size_angstrom:.2f} Å"
        "[; even and odd halves agreed to {half_resolution_angstrom:.1f} Å (Fourier shell correlation "
        "0.143)]."
    ),
    figures=FIGURES,
    records=RECORDS,
)
def reconstruct(series: TiltSeries, params: ReconstructParams, context: StepContext) -> Tomogram:
    """Make a tomogram, and even and odd ones, from the aligned images of every tilt that is not excluded."""
    if params.position == "slab" and series.slab is None:
        context.warn(
            "no slab was measured, so the tomogram has the frame of the poses; run estimate_slab before, "
            "or use position=cell"
        )
    series = _placed(series, params)
    grid = _grid(series, params)
    _report_thickness(series, grid, params, context)
    reconstructor = _reconstructor(series, grid, params)
    if isinstance(reconstructor, DepthCorrectedBackProjection) and series.handedness.applied is None:
        context.warn(
            f"{series.name}: the handedness is not known, so every image is corrected at one defocus for all "
            "depths; set it at the import, or measure it with estimate_ctf after the alignment"
        )
    if isinstance(reconstructor, IterativeReconstruction):
        reconstructor = _settled(reconstructor, grid, series.best_stack.images, context)
    prepared = _prepared(series, grid.binning, context)
    parts = _parts(series, grid, reconstructor, params, prepared)
    if params.halves_by == "frames":
        if len(parts) > 1 and parts[1].role == "tomogram_even":
            tell_tilts_without_halves(series.name, grid.tilts, parts[1].grid.tilts, context)
    memory_bytes = context.memory_bytes - reading_bytes(series.best_stack.images)
    dtype = stored_type(series.best_stack.images, grid, params.dtype, context.device, prepared)
    bands = {part.role: bands_of(part.grid, part.reconstructor, memory_bytes) for part in parts}
    total = sum(len(bands[part.role]) * len(part.grid.tilts) + grid.volume_shape[1] for part in parts)
    done = 0
    sinks: dict[str, PixelSink] = {}
    for part in parts:
        also_xzy = part.role == "tomogram" and params.orientation == "xzy"
        sinks[part.role], target = new_volume(
            part.role, grid, dtype, context, multiscale=params.multiscale, also_xzy=also_xzy
        )
        for band in bands[part.role]:
            for amount in reconstruct_band(
                part, band, target, device=context.device, memory_bytes=memory_bytes
            ):
                done += amount
                context.progress(done, total)
    context.figure("n_tilts", len(grid.tilts))
    if isinstance(reconstructor, DepthCorrectedBackProjection):
        context.figure("ctf_step_angstrom", reconstructor.slab_voxels * grid.voxel_size_angstrom)
        context.figure("ctf_corrections_per_tilt", reconstructor.n_nodes / len(grid.tilts))
    even, odd = sinks.get("tomogram_even"), sinks.get("tomogram_odd")
    if even is not None and odd is not None:
        compare_halves(even, odd, grid.voxel_size_angstrom, context)
    elif not params.halves:
        _compare_middles(series, grid, reconstructor, params, context)
    return Tomogram(series, sinks["tomogram"], grid.voxel_size_angstrom, even, odd, _method(params, series))


def _parts(
    series: TiltSeries,
    grid: TomogramGrid,
    reconstructor: Reconstructor,
    params: ReconstructParams,
    prepared: Prepared = made_now,
    prepared_halves: tuple[Prepared, Prepared] = (made_now, made_now),
) -> list[Part]:
    """The tomogram, and its halves if they are requested and possible."""
    stack = series.best_stack
    parts = [Part("tomogram", stack.images, grid, reconstructor, prepared)]
    if not params.halves:
        return parts
    if params.halves_by == "tilts":
        for i, name in enumerate(("even", "odd")):
            some = replace(grid, tilts=grid.tilts[i::2])
            if len({pose.tilt_deg for pose in some.poses}) < 2:
                raise DataUnfitError(
                    f"halves by tilts need at least 4 different tilts, got {len(grid.tilts)}; "
                    "use halves_by=frames",
                    series=series.name,
                )
            way = _reconstructor_as(reconstructor, series, some, params)
            parts.append(Part(f"tomogram_{name}", stack.images, some, way))
    elif stack.even is not None and stack.odd is not None:
        halved = replace(grid, tilts=tuple(tilt for tilt in grid.tilts if tilt.has_halves))
        if len({pose.tilt_deg for pose in halved.poses}) < 2:
            return parts
        way = reconstructor
        if len(halved.tilts) < len(grid.tilts):
            way = _reconstructor_as(reconstructor, series, halved, params)
        parts.append(Part("tomogram_even", stack.even, halved, way, prepared_halves[0]))
        parts.append(Part("tomogram_odd", stack.odd, halved, way, prepared_halves[1]))
    return parts


def _method(params: ReconstructParams, series: TiltSeries) -> str:
    if params.method != "wbp":
        return {"sirt": "SIRT", "sart": f"SART, {params.subsets} subsets"}[params.method]
    name = "weighted back-projection"
    if params.sirt_like_iterations:
        name += f", SIRT-like filter of {params.sirt_like_iterations} iterations"
    if params.ctf_correction == "none":
        return name
    if series.handedness.applied is None:
        return f"{name}, CTF by {params.ctf_correction} at one defocus an image"
    return f"{name}, 3D-CTF by {params.ctf_correction}"


def _placed(series: TiltSeries, params: ReconstructParams) -> TiltSeries:
    """The series in the frame of its tomogram, and its defocus at that origin."""
    if params.position == "slab":
        series = series_in_slab(series)
    series = with_defocus_at_origin(series, assume_centred=True)
    z_shift = params.z_shift_angstrom + params.z_shift_px * series.best_stack.pixel_size_angstrom
    return series_moved(series, z_shift, params.tilt_offset_deg)


def _grid(series: TiltSeries, params: ReconstructParams) -> TomogramGrid:
    grid = tomogram_grid(
        series,
        series.best_stack,
        binning=params.binning,
        voxel_size_angstrom=params.voxel_size_angstrom,
        thickness_angstrom=params.thickness_angstrom or SAFE_THICKNESS_ANGSTROM,
        length_angstrom=params.length_angstrom,
        width_angstrom=params.width_angstrom,
    )
    slab = series.slab
    if params.thickness_angstrom is not None or slab is None or not is_slab_known(slab):
        return grid
    length, width = (n * grid.voxel_size_angstrom for n in grid.volume_shape[1:])
    return tomogram_grid(
        series,
        series.best_stack,
        binning=params.binning,
        voxel_size_angstrom=params.voxel_size_angstrom,
        thickness_angstrom=thickness_around(slab, length, width),
        length_angstrom=params.length_angstrom,
        width_angstrom=params.width_angstrom,
    )


def _report_thickness(
    series: TiltSeries, grid: TomogramGrid, params: ReconstructParams, context: StepContext
) -> None:
    context.figure("tomogram_thickness_angstrom", grid.volume_shape[0] * grid.voxel_size_angstrom)
    if params.thickness_angstrom is None and (series.slab is None or not is_slab_known(series.slab)):
        context.warn(
            "the place of the specimen is not known well enough to determine the tomogram's thickness, so "
            f"it is {SAFE_THICKNESS_ANGSTROM:g} A; set thickness_angstrom to change it"
        )


def _reconstructor(series: TiltSeries, grid: TomogramGrid, params: ReconstructParams) -> Reconstructor:
    """Geometry and filters, including the CTF correction if requested."""
    if params.method != "wbp":
        return plan_iterations(
            grid.volume_shape,
            grid.n_columns,
            [pose.tilt_deg for pose in grid.poses],
            [pose.x_tilt_deg for pose in grid.poses],
            n_subsets=1 if params.method == "sirt" else params.subsets,
            n_iterations=params.iterations,
            relaxation=params.relaxation,
            stop_change=params.stop_change,
        )
    plain = plan_back_projection(
        grid.volume_shape,
        grid.n_columns,
        [pose.tilt_deg for pose in grid.poses],
        [pose.x_tilt_deg for pose in grid.poses],
        RadialFilter(
            params.cutoff_per_px,
            params.falloff_per_px,
            params.sirt_like_iterations,
            grid.volume_shape[0] if params.tilt_weighting == "exact" else None,
        ),
    )
    if params.ctf_correction == "none":
        return plain
    finest = grid.voxel_size_angstrom / min(0.5, params.cutoff_per_px + params.falloff_per_px)
    return plan_depth_correction(
        plain,
        grid.poses,
        _ctfs(series, grid),
        series.microscope,
        Correction(params.ctf_correction, params.ctf_snr),
        handedness=series.handedness.applied or 0.0,
        voxel_size_angstrom=grid.voxel_size_angstrom,
        resolution_angstrom=wanted_resolution(
            params.ctf_resolution_angstrom,
            finest,
            parameter="ctf_resolution_angstrom",
            pixel_size_angstrom=grid.voxel_size_angstrom,
            series=series.name,
        ),
        step_angstrom=params.ctf_step_angstrom,
    )


def _reconstructor_as(
    whole: Reconstructor, series: TiltSeries, grid: TomogramGrid, params: ReconstructParams
) -> Reconstructor:
    """`_reconstructor` for a part of the data, with as many iterations as the whole has."""
    part = _reconstructor(series, grid, params)
    if isinstance(part, IterativeReconstruction) and isinstance(whole, IterativeReconstruction):
        return part.with_iterations(whole.n_iterations)
    return part


def _ctfs(series: TiltSeries, grid: TomogramGrid) -> list[Ctf]:
    """CTF of every tilt; refused if one is missing or the images are corrected already."""
    done = series.best_stack.ctf_correction
    if done:
        raise DataUnfitError(
            f"the images are corrected already, by {done}; leave out correct_ctf, or use ctf_correction=none",
            series=series.name,
        )
    return ctfs_of(grid.tilts, series.name, otherwise=", or use ctf_correction=none")


def _settled(
    iterations: IterativeReconstruction, grid: TomogramGrid, images: Pixels, context: StepContext
) -> IterativeReconstruction:
    """The method with the number of iterations after which the tomogram's middle changes little."""
    rows = [middle_rows(images, grid, i, context.device) for i in range(len(grid.tilts))]
    _, course = iterations.solve(torch.stack(rows).to(context.device))
    context.figure("iterations", len(course))
    context.figure("residual", course[-1])
    context.record(
        "residual_course",
        {
            "x_title": "iteration",
            "y_title": "residual over that at the start",
            "x": list(range(1, len(course) + 1)),
            "curves": {"residual": course},
        },
    )
    return iterations.with_iterations(len(course))


def _compare_middles(
    series: TiltSeries,
    grid: TomogramGrid,
    reconstructor: Reconstructor,
    params: ReconstructParams,
    context: StepContext,
) -> None:
    """Compare half tomograms of which only the middle is made, from the middle of the images."""
    stack, voxel = series.best_stack, grid.voxel_size_angstrom
    if stack.even is None or stack.odd is None or params.halves_by != "frames":
        return
    sides = [min(COMPARED_VOXELS, n) for n in grid.volume_shape]
    shift = max(float(np.abs(pose.shift_xy_angstrom).max()) for pose in grid.poses)
    seen_px = _middle_px(max(sides), shift, grid.pixel_size_angstrom, grid.binning)
    middle = replace(
        series,
        stack=stack.of_each(lambda pixels: centre_of(pixels, (seen_px, seen_px))),
        weighted=None,
        corrected=None,
    )
    extents = {
        f"{name}_angstrom": n * voxel for name, n in zip(("thickness", "length", "width"), sides, strict=True)
    }
    asked = params.model_copy(
        update={"halves": True, "voxel_size_angstrom": voxel, "binning": None, **extents}
    )
    small = _grid(middle, asked)
    way = _reconstructor_as(reconstructor, middle, small, asked)
    boxes = []
    halves = tuple(
        _prepared_middles(series, half, seen_px, small.binning, context) for half in ("even", "odd")
    )
    for part in _parts(middle, small, way, asked, prepared_halves=(halves[0], halves[1]))[1:]:
        box, band = np.zeros(part.grid.volume_shape, np.float32), range(part.grid.volume_shape[1])
        for _ in reconstruct_band(part, band, box, device=context.device, memory_bytes=context.memory_bytes):
            pass
        boxes.append(box)
    if len(boxes) == 2:
        compare_halves(boxes[0], boxes[1], voxel, context)
