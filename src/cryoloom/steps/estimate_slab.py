"""Find thickness, height and pretilt of the specimen: where the ice or the lamella lies in the tomogram.

A small tomogram is made of the aligned images (gold beads filled first), and of all slabs within reach those
count that hold what it has more than noise of the same images would, see `algorithms/slab`. Nothing is moved
unless `apply` is on: then the poses, and the defoci, are those of the specimen lying flat about z = 0, which
a tomogram made from them shows, and the tilt offset of the series is what was found. Otherwise `position` of
reconstruct does it.

Figures: ``thickness_angstrom``; ``z_offset_angstrom``, the height of the slab's middle above the origin of
the poses; ``pretilt_x_deg`` and ``pretilt_y_deg``, its inclination about the specimen's x and about the tilt
axis; ``pretilt_error_deg``, the standard error of either; ``slab_contrast``, how much more often the tomogram
holds something inside the slab than outside.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.alignment.bead_positions import beads_of_poses
from cryoloom.algorithms.alignment.slab import (
    LARGEST_TILT_ERROR_DEG,
    LEAST_CONTRAST,
    SlabFit,
    energies_of_series,
    fit_slab,
)
from cryoloom.algorithms.images.fill_discs import fill_discs, plan_filling
from cryoloom.algorithms.series.specimen_frame import series_in_slab
from cryoloom.algorithms.series.tilt_images import TiltImages, load_tilt_images
from cryoloom.contract.figures import Column, Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.frames import index_from_position
from cryoloom.model import Slab, Sourced, TiltSeries

__all__ = ["EstimateSlabParams", "estimate_slab"]

WORKING_PIXEL_ANGSTROM = 15.0
VOXEL_ANGSTROM = 20.0
LARGEST_SIDE_VOXELS = 280
# Gold is seen at 9 and more (the scale ends at 15), dense particles at up to 5.
LEAST_BEAD_SIGNIFICANCE = 6.0
BEAD_RADIUS_DIAMETERS = 1.1
PICTURE_SIDE = 140


class EstimateSlabParams(StepParams):
    """What a user may choose."""

    search_height_angstrom: float = Field(
        5000.0, ge=1000, description="Height of the tomogram in which the specimen is looked for."
    )
    fill_beads: bool = Field(True, description="Fill gold beads first, so that they do not lead.")
    apply: bool = Field(
        False, description="Turn and move the poses so that the specimen lies flat about z = 0."
    )


def _bytes_needed(series: TiltSeries, params: EstimateSlabParams) -> int:
    """Working images with their spectra, and the tomogram and its control."""
    stack = series.best_stack
    n_y, n_x = stack.shape_yx
    field = max(n_y, n_x) * stack.pixel_size_angstrom
    voxel = max(VOXEL_ANGSTROM, field / LARGEST_SIDE_VOXELS)
    working = len(series.tilts) * n_y * n_x * (stack.pixel_size_angstrom / WORKING_PIXEL_ANGSTROM) ** 2
    volume = (field / voxel) ** 2 * params.search_height_angstrom / voxel
    return 400_000_000 + 24 * n_y * n_x + int(24 * working + 16 * volume)


FIGURES = (
    Figure(
        "n_beads",
        "",
        "Gold beads",
        "Gold beads found in the aligned images and filled before the specimen is measured.",
    ),
    Figure(
        "thickness_angstrom",
        "angstrom",
        "Thickness",
        "Thickness of the ice or lamella, between the planes that enclose its contents.",
        column=Column("Thickness", digits=0, unit="nm", divide_by=10.0),
    ),
    Figure(
        "z_offset_angstrom",
        "angstrom",
        "Height of the specimen",
        "Height of the middle of the specimen above the origin of the poses.",
    ),
    Figure("pretilt_x_deg", "deg", "Pretilt about x", "Inclination of the specimen along the tilt axis."),
    Figure(
        "pretilt_y_deg",
        "deg",
        "Pretilt about the tilt axis",
        "Inclination of the specimen across the tilt axis. Lamellae often lie at 8 to 12 degrees, "
        "plunge-frozen ice within 3.",
    ),
    Figure(
        "slab_contrast",
        "",
        "Slab, contrast",
        "How much more often the tomogram shows something inside the slab than outside.",
        good="10 or more; below, the slab is a guess",
    ),
    Figure(
        "pretilt_error_deg",
        "deg",
        "Pretilt, error",
        "Standard error of each of the two pretilts.",
        good="below 3.2 degrees; above, the slab is a guess",
    ),
)
RECORDS = (
    Record(
        "slab",
        "Slice across the middle of a small tomogram with the surfaces of the specimen, and what lies at "
        "each depth.",
        shows="slab",
    ),
)


@step(
    "estimate_slab",
    version=3,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    gpu="optional",
    methods="The specimen was found in the aligned series[; it was {thickness_angstrom:.0f} Å thick].",
    figures=FIGURES,
    records=RECORDS,
)
def estimate_slab(series: TiltSeries, params: EstimateSlabParams, context: StepContext) -> TiltSeries:
    """Measure where the specimen lies, and by option lay it flat."""
    stack = series.best_stack
    usable = [tilt for tilt in series.included if tilt.pose is not None and tilt.section is not None]
    if len(usable) < 5:
        raise DataUnfitError(
            "a slab needs at least 5 aligned tilts; run align_series first",
            series=series.name,
            n_tilts=len(usable),
        )
    images = load_tilt_images(
        stack.images, stack.pixel_size_angstrom, WORKING_PIXEL_ANGSTROM, device=context.device
    )
    context.progress(1, 4)
    if params.fill_beads:
        images = _without_beads(series, images, context)
    context.progress(2, 4)
    pixel = images.pixel_size_angstrom
    voxel = max(VOXEL_ANGSTROM, pixel, max(images.shape_yx) * pixel / LARGEST_SIDE_VOXELS)
    energies, volume = energies_of_series(
        series,
        images,
        context.rng,
        voxel_size_angstrom=voxel,
        height_angstrom=params.search_height_angstrom,
    )
    context.progress(3, 4)
    fit = fit_slab(energies)
    context.progress(4, 4)
    _report(fit, volume, voxel, context)
    measured = {
        "thickness_angstrom": fit.thickness_angstrom,
        "z_offset_angstrom": fit.z_offset_angstrom,
        "tilt_x_deg": fit.tilt_x_deg,
        "tilt_y_deg": fit.tilt_y_deg,
    }
    by = "estimate_slab"
    slab = Slab(**{name: Sourced().with_measured(value, by, apply=False) for name, value in measured.items()})
    known = replace(series, slab=slab)
    if not params.apply:
        return known
    if not fit.is_told:
        context.warn("no clear slab was found, so nothing was turned or moved; look at the slice")
        return known
    offset = (series.tilt_offset_deg.applied or 0.0) + fit.tilt_y_deg
    flat = series_in_slab(known)
    return replace(flat, tilt_offset_deg=series.tilt_offset_deg.with_measured(offset, by, apply=True))


def _without_beads(series: TiltSeries, images: TiltImages, context: StepContext) -> TiltImages:
    """Working images with the gold beads' discs filled."""
    tilts = [tilt for tilt in series.included if tilt.pose is not None and tilt.section is not None]
    sections = [tilt.section or 0 for tilt in tilts]
    seen = replace(images, images=images.images[sections])
    poses = [tilt.pose for tilt in tilts if tilt.pose is not None]
    diameter, beads = beads_of_poses(seen, poses, np.ones(len(tilts), dtype=bool))
    gold = beads.significance >= LEAST_BEAD_SIGNIFICANCE
    context.figure("n_beads", int(gold.sum()))
    if not gold.any():
        return images
    filled = images.images.clone()
    radius_px = BEAD_RADIUS_DIAMETERS * diameter / images.pixel_size_angstrom
    for view, section in enumerate(sections):
        places = index_from_position(
            beads.seen_xy_angstrom[view][gold], images.shape_yx, images.pixel_size_angstrom
        )
        filling = plan_filling(images.shape_yx, places, radius_px, places, context.rng)
        image = fill_discs(images.images[section].cpu().numpy(), filling, places)
        filled[section] = torch.from_numpy(image).to(filled.device)
    return replace(images, images=filled)


def _report(fit: SlabFit, volume: torch.Tensor, voxel_size_angstrom: float, context: StepContext) -> None:
    """Figures, and a slice across the slab with its surfaces."""
    context.figure("thickness_angstrom", fit.thickness_angstrom)
    context.figure("z_offset_angstrom", fit.z_offset_angstrom)
    context.figure("pretilt_x_deg", fit.tilt_x_deg)
    context.figure("pretilt_y_deg", fit.tilt_y_deg)
    context.figure("slab_contrast", fit.contrast)
    context.figure("pretilt_error_deg", fit.tilt_error_deg)
    if not fit.is_told:
        context.warn(
            f"the tomogram holds something {fit.contrast:.1f} times as often inside the slab as outside, "
            f"expected {LEAST_CONTRAST:g} or more, and tells its pretilt to {fit.tilt_error_deg:.1f} deg, "
            f"expected {LARGEST_TILT_ERROR_DEG:g} or less; its place is a guess"
        )
    picture, step = _slice(volume, voxel_size_angstrom)
    n_z, n_x = picture.shape
    x = (np.arange(n_x) - n_x // 2) * step
    half = 0.5 * fit.thickness_angstrom * float(np.hypot(1.0, np.hypot(fit.slope_x, fit.slope_y)))
    middle = fit.z_offset_angstrom + fit.slope_x * x
    every = max(1, len(fit.profile) // 160)
    context.record(
        "slab",
        {
            "x_angstrom": x.round().tolist(),
            "z_angstrom": ((np.arange(n_z) - n_z // 2) * step).round().tolist(),
            "slice": picture.tolist(),
            "lower_angstrom": (middle - half).round(1).tolist(),
            "upper_angstrom": (middle + half).round(1).tolist(),
            "depth_angstrom": fit.depth_angstrom[::every].round(1).tolist(),
            "filled": fit.profile[::every].round(3).tolist(),
            "thickness_angstrom": round(fit.thickness_angstrom, 1),
        },
    )


def _slice(volume: torch.Tensor, voxel_size_angstrom: float) -> tuple[NDArray[np.int64], float]:
    """The xz slice through the middle as grey values 0 to 255, ``(z, x)``, and its pixel in angstrom."""
    n_z, n_y, n_x = (int(n) for n in volume.shape)
    block = max(1, -(-max(n_z, n_x) // PICTURE_SIDE))
    thin = volume[:, n_y // 2 - 2 : n_y // 2 + 3].mean(dim=1).numpy()
    kept = thin[: n_z // block * block, : n_x // block * block]
    small = kept.reshape(n_z // block, block, n_x // block, block).mean(axis=(1, 3))
    low, high = np.percentile(small, (0.5, 99.5))
    grey = np.clip((small - low) / max(high - low, 1e-9), 0, 1) * 255
    return grey.round().astype(np.int64), voxel_size_angstrom * block
