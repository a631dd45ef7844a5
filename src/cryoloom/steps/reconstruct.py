"""Reconstruct the tomogram by weighted back-projection, strip by strip in bounded memory.

Every image becomes contrast (its mean subtracted, then divided by it), is binned in Fourier space and
sampled by cubic B-splines in the frame of its tilt axis (shift, in-plane rotation, magnification and x-tilt
removed), filtered across the axis by a ramp with cut-off and the angle the tilt stands for, and smeared back
along its beam. A voxel holds the contrast of one voxel, of which the images are sums; protein stays dark.
Radermacher, Electron Tomography (2006), ch. 8; filter as IMOD's RADIAL, and its SIRT-like filter.

With `ctf_correction` the images are corrected for the contrast transfer at several depths, and every voxel
takes what belongs to its own (3D-CTF: NovaCTF's method, Turonova et al., J. Struct. Biol. 199, 2017, with a
polynomial in depth instead of a filtered stack per step). It needs a CTF on every tilt and the handedness.

Figures: `half_correlation` is the mean Fourier shell correlation of the even and odd tomogram's middle up to
half of Nyquist; `half_resolution_angstrom` is where it falls below 0.143. Both need halves. With 3D-CTF,
`ctf_step_angstrom` is the thickness of a slab that shares one mixture of corrections and
`ctf_corrections_per_tilt` how many depths an image is corrected at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field, model_validator

from cryoloom.algorithms.back_projection import WeightedBackProjection, plan_back_projection
from cryoloom.algorithms.ctf_correction import Correction
from cryoloom.algorithms.depth_correction import DepthCorrectedBackProjection, plan_depth_correction
from cryoloom.algorithms.half_correlation import shell_correlation, smoothed_crossing_per_px
from cryoloom.algorithms.radial_filter import RadialFilter
from cryoloom.algorithms.tomogram_grid import TomogramGrid, aligned_rows, tomogram_grid
from cryoloom.errors import DataUnfitError
from cryoloom.kernels.backproject import STRIP_ROWS
from cryoloom.model import Ctf, Pixels, PixelSink, TiltSeries, Tomogram
from cryoloom.steps.declaration import StepContext, StepParams, step

__all__ = ["ReconstructParams", "reconstruct"]


class ReconstructParams(StepParams):
    """What a user may choose."""

    binning: float | None = Field(
        None,
        ge=1,
        le=64,
        description="Stack pixels per voxel; need not be whole. Unset: whole, for voxels of about 10 A.",
    )
    voxel_size_angstrom: float | None = Field(
        None, gt=0, description="Voxel size wanted, instead of a binning; at least the stack's pixel size."
    )
    thickness_angstrom: float = Field(
        4000.0, gt=0, description="Extent of the tomogram along the beam at zero tilt. Ice is 1000 to 3000."
    )
    width_angstrom: float | None = Field(
        None, gt=0, description="Extent across the tilt axis (x). Unset: what the camera's field covers."
    )
    length_angstrom: float | None = Field(
        None, gt=0, description="Extent along the tilt axis (y). Unset: what the camera's field covers."
    )
    cutoff_per_px: float = Field(
        0.35, gt=0, le=0.5, description="Frequency from which the ramp falls off, in cycles per voxel."
    )
    falloff_per_px: float = Field(
        0.05, gt=0, le=0.5, description="Width of the Gaussian fall-off, in cycles per voxel."
    )
    sirt_like_iterations: int = Field(
        0, ge=0, le=1000, description="Damp the ramp to look like SIRT after so many iterations; 0: do not."
    )
    tilt_weighting: Literal["increments", "exact"] = Field(
        "increments",
        description="How uneven tilts are weighted: by the angle each stands for, or exactly for the "
        "tomogram's thickness (Harauz & van Heel), where the ramp ends at Crowther's resolution.",
    )
    ctf_correction: Literal["none", "phase_flip", "multiply", "wiener"] = Field(
        "none",
        description="Correct every voxel's images at its own depth (3D-CTF): only the sign, by the transfer "
        "function (weights by signal; the fastest), or divided by it where it is strong.",
    )
    ctf_snr: float = Field(5.0, gt=0, description="wiener: signal to noise ratio, the same everywhere.")
    ctf_resolution_angstrom: float | None = Field(
        None,
        gt=0,
        description="Finest detail whose depth is heeded exactly. Unset: the end of the filter's fall-off.",
    )
    ctf_step_angstrom: float | None = Field(
        None, gt=0, description="Thickness of slabs of one correction. Unset: from the resolution."
    )
    halves: bool = Field(
        True,
        description="Also make even and odd tomograms where the stack has halves (to denoise, to measure).",
    )
    dtype: Literal["float32", "float16"] = Field(
        "float32", description="How voxels are stored; float16 halves the disk space."
    )
    multiscale: bool = Field(True, description="Write an OME-Zarr pyramid beside the MRC file.")

    @model_validator(mode="after")
    def _cutoff_is_seen(self) -> ReconstructParams:
        if self.cutoff_per_px + 3 * self.falloff_per_px < 0.05:
            raise ValueError(
                "the filter passes almost nothing; choose a larger cutoff_per_px (0.35 is usual)"
            )
        return self


# numba's code, FFT plans, threads' heaps and the correlation of the halves (benchmarks/reconstruct_memory.py)
_BESIDES_BYTES = 400_000_000
_ROWS_AT_ONCE = 256
"""Rows corrected for depth at a time where memory is not told: the halo is then a small part of them."""


def bytes_needed(series: TiltSeries, params: ReconstructParams) -> int:
    """All aligned images, one image's work or some rows' and a strip's; with less, rows go in bands."""
    grid = _grid(series, params)
    projection = _projection(series, grid, params)
    rows = min(_ROWS_AT_ONCE, grid.volume_shape[1])
    work = _strip_bytes(grid, projection) + (rows * projection.row_bytes if _corrects(params) else 0)
    return grid.volume_shape[1] * grid.row_bytes + max(grid.image_bytes, work) + _BESIDES_BYTES


@step(
    "reconstruct",
    per="tilt_series",
    needs=TiltSeries,
    gives=Tomogram,
    bytes_needed=bytes_needed,
    gpu="optional",
    citations=(
        "Radermacher, M. (2006) Weighted back-projection methods. In: Electron Tomography, 2nd ed., 245-273.",
        "Harauz, G. & van Heel, M. (1986) Exact filters for general geometry. Optik 73, 146-156.",
        "Turonova, B. et al. (2017) Efficient 3D-CTF correction for cryo-electron tomography using NovaCTF. "
        "J. Struct. Biol. 199, 187-195.",
    ),
)
def reconstruct(series: TiltSeries, params: ReconstructParams, context: StepContext) -> Tomogram:
    """Make a tomogram, and even and odd ones, from the aligned images of every tilt not excluded."""
    grid = _grid(series, params)
    projection = _projection(series, grid, params)
    stack = series.best_stack
    sources: dict[str, Pixels] = {"tomogram": stack.images}
    if params.halves and stack.even is not None and stack.odd is not None:
        sources |= {"tomogram_even": stack.even, "tomogram_odd": stack.odd}
    bands = _bands(grid, projection, context.memory_bytes)
    total = len(sources) * (len(bands) * len(grid.tilts) + grid.volume_shape[1])
    done = 0
    sinks: dict[str, PixelSink] = {}
    for role, images in sources.items():
        sink = context.new_pixels(
            role,
            grid.volume_shape,
            grid.voxel_size_angstrom,
            dtype=params.dtype,
            multiscale=params.multiscale,
        )
        for band in bands:
            rows = _rows_at_once(grid, projection, band, context.memory_bytes)
            for amount in _reconstruct_band(images, grid, projection, band, rows, sink, context.device):
                done += amount
                context.progress(done, total)
        sinks[role] = sink
    context.figure("n_tilts", len(grid.tilts))
    if isinstance(projection, DepthCorrectedBackProjection):
        context.figure("ctf_step_angstrom", projection.slab_voxels * grid.voxel_size_angstrom)
        context.figure("ctf_corrections_per_tilt", projection.n_nodes / len(grid.tilts))
    even, odd = sinks.get("tomogram_even"), sinks.get("tomogram_odd")
    if even is not None and odd is not None:
        _compare_halves(even, odd, grid.voxel_size_angstrom, context)
    return Tomogram(series, sinks["tomogram"], grid.voxel_size_angstrom, even, odd, _method(params))


def _method(params: ReconstructParams) -> str:
    name = "weighted back-projection"
    if params.sirt_like_iterations:
        name += f", SIRT-like filter of {params.sirt_like_iterations} iterations"
    return f"{name}, 3D-CTF by {params.ctf_correction}" if _corrects(params) else name


def _corrects(params: ReconstructParams) -> bool:
    return params.ctf_correction != "none"


def _grid(series: TiltSeries, params: ReconstructParams) -> TomogramGrid:
    return tomogram_grid(
        series,
        series.best_stack,
        binning=params.binning,
        voxel_size_angstrom=params.voxel_size_angstrom,
        thickness_angstrom=params.thickness_angstrom,
        length_angstrom=params.length_angstrom,
        width_angstrom=params.width_angstrom,
    )


Projection = WeightedBackProjection | DepthCorrectedBackProjection


def _projection(series: TiltSeries, grid: TomogramGrid, params: ReconstructParams) -> Projection:
    """Geometry and filters; with the correction of the transfer function where it is asked for."""
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
        handedness=_known_handedness(series),
        voxel_size_angstrom=grid.voxel_size_angstrom,
        resolution_angstrom=params.ctf_resolution_angstrom or finest,
        step_angstrom=params.ctf_step_angstrom,
    )


def _ctfs(series: TiltSeries, grid: TomogramGrid) -> list[Ctf]:
    """Of every tilt; refused where one is missing or the images are corrected already."""
    done = series.best_stack.ctf_correction
    if done:
        raise DataUnfitError(
            f"the images are corrected already, by {done}; leave out correct_ctf, or use ctf_correction=none",
            series=series.name,
        )
    without = [tilt.acquisition_index for tilt in grid.tilts if tilt.ctf is None]
    if without:
        raise DataUnfitError(
            f"{len(without)} of {len(grid.tilts)} tilts have no CTF; run estimate_ctf first, exclude them, "
            "or use ctf_correction=none",
            series=series.name,
            acquisition_indices=without[:10],
        )
    return [tilt.ctf for tilt in grid.tilts if tilt.ctf is not None]


def _known_handedness(series: TiltSeries) -> float:
    if series.handedness.applied is None:
        raise DataUnfitError(
            "correction at every depth needs the handedness, and it is not known; set it at the import, "
            "measure it with estimate_ctf after the alignment, or use ctf_correction=none",
            series=series.name,
        )
    return series.handedness.applied


def _strip_bytes(grid: TomogramGrid, projection: Projection) -> int:
    """Peak while a strip is made: its rows' work, its images and its voxels."""
    n_z, _, n_x = grid.volume_shape
    rows = grid.row_bytes if isinstance(projection, WeightedBackProjection) else 0
    plain = projection if isinstance(projection, WeightedBackProjection) else projection.plain
    return STRIP_ROWS * (rows + plain.row_bytes + 4 * n_z * n_x)


def _bands(grid: TomogramGrid, projection: Projection, memory_bytes: int) -> list[range]:
    """Rows of the volume whose aligned images fit in memory together."""
    n_y = grid.volume_shape[1]
    work = _strip_bytes(grid, projection)
    if isinstance(projection, DepthCorrectedBackProjection):
        # At least as many corrected rows at once as there are rows of halo, lest most work be halo.
        work += max(STRIP_ROWS, 2 * projection.halo_rows) * projection.row_bytes
    free = memory_bytes - max(grid.image_bytes, work) - _BESIDES_BYTES
    rows = int(free // grid.row_bytes) - 2 * projection.halo_rows
    rows = max(STRIP_ROWS, rows // STRIP_ROWS * STRIP_ROWS)
    return [range(start, min(n_y, start + rows)) for start in range(0, n_y, rows)]


def _rows_at_once(grid: TomogramGrid, projection: Projection, band: range, memory_bytes: int) -> int:
    """Rows of a band given to the projection together: whole strips, as many as memory holds corrected."""
    if isinstance(projection, WeightedBackProjection):
        return STRIP_ROWS
    aligned = (len(band) + 2 * projection.halo_rows) * grid.row_bytes
    free = memory_bytes - aligned - _strip_bytes(grid, projection) - _BESIDES_BYTES
    rows = int(free // projection.row_bytes) // STRIP_ROWS * STRIP_ROWS
    return min(len(band), max(STRIP_ROWS, rows))


def _reconstruct_band(
    images: Pixels,
    grid: TomogramGrid,
    projection: Projection,
    band: range,
    rows_at_once: int,
    sink: PixelSink,
    device: str,
) -> Iterator[int]:
    """Align the images' rows of a band, back-project them strip by strip; yields progress."""
    halo = projection.halo_rows
    aligned = torch.empty((len(grid.tilts), len(band) + 2 * halo, grid.n_columns), dtype=torch.float32)
    for i, tilt in enumerate(grid.tilts):
        aligned[i] = aligned_rows(images, grid, tilt, band.start - halo, aligned.shape[1], device)
        yield 1
    for start in range(0, len(band), rows_at_once):
        n_rows = min(rows_at_once, len(band) - start)
        rows = aligned[:, start : start + n_rows + 2 * halo].to(device)
        first = band.start + start
        for strip in projection.strips(rows, first):
            sink[:, first : first + strip.shape[1], :] = strip.cpu().numpy()
            first += strip.shape[1]
            yield strip.shape[1]


def _compare_halves(even: Pixels, odd: Pixels, voxel_size_angstrom: float, context: StepContext) -> None:
    """Fourier shell correlation of the middle of the halves, as figures and a curve."""
    middle = tuple(slice((n - min(n, 192)) // 2, (n - min(n, 192)) // 2 + min(n, 192)) for n in even.shape)
    boxes = [torch.from_numpy(half[middle].astype("float32")) for half in (even, odd)]
    frequency, correlation = shell_correlation(boxes[0], boxes[1])
    context.record(
        "half_correlation",
        {
            "frequency_per_angstrom": (frequency / voxel_size_angstrom).tolist(),
            "correlation": correlation.tolist(),
        },
    )
    context.figure("half_correlation", float(correlation[frequency < 0.25].mean()))
    crossing = smoothed_crossing_per_px(frequency, correlation, 0.143)
    if crossing > 0:
        context.figure("half_resolution_angstrom", voxel_size_angstrom / crossing)
