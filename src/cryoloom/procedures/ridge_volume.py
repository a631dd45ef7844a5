"""The volume in which membranes and filaments are searched, as sheets and rods of density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cryoloom.algorithms.picking.matched_series import (
    find_gold,
    matched_filter_bytes,
    matched_filter_of,
    search_grid,
)
from cryoloom.algorithms.picking.whitened_volume import coarser_volume, whitened
from cryoloom.contract.step import StepContext
from cryoloom.model import Tomogram

__all__ = ["RidgeVolume", "bytes_for_ridges", "ridge_volume"]

COARSEST_OF_INTEREST_ANGSTROM = 600.0
"""Chosen: variation over more than 1.5 times this is removed: the ice, not membranes and filaments."""
_HIGHPASS = 1.5


@dataclass(frozen=True, slots=True)
class RidgeVolume:
    """A volume in which matter is positive and noise is white."""

    volume: torch.Tensor
    """``(z, y, x)`` float32."""
    voxel_size_angstrom: float
    n_parts: int
    """Parts of the progress that it took: tilts, or sections."""


def bytes_for_ridges(tomogram: Tomogram, voxel_size_angstrom: float) -> int:
    """Memory of the volume and of the responses of all directions; voxels are no finer than the images."""
    if not tomogram.series.tilts:
        n_voxels = float(np.prod(tomogram.volume.shape)) / _binning(tomogram, voxel_size_angstrom) ** 3
        return int(600_000_000 + 72 * n_voxels)
    voxel = max(voxel_size_angstrom, tomogram.series.unweighted_stack.pixel_size_angstrom)
    return 600_000_000 + 2 * matched_filter_bytes(tomogram, voxel)


def ridge_volume(
    tomogram: Tomogram, voxel_size_angstrom: float, *, fill_beads: bool, context: StepContext
) -> RidgeVolume:
    """Matched-filter tomogram (gold filled if requested); an imported tomogram itself, whitened.

    Progress counts the parts, one step more, and one for the ridges.
    """
    if not tomogram.series.tilts:
        return _of_imported(tomogram, voxel_size_angstrom, fill_beads=fill_beads, context=context)
    grid = search_grid(
        tomogram, voxel_size_angstrom, COARSEST_OF_INTEREST_ANGSTROM, usual_voxel_angstrom=voxel_size_angstrom
    )
    total = len(grid.tilts) + 2
    matched = matched_filter_of(
        tomogram,
        grid,
        COARSEST_OF_INTEREST_ANGSTROM,
        find_gold(tomogram.series, context.device) if fill_beads else None,
        context.rng,
        device=context.device,
        progress=lambda done, _: context.progress(done, total),
    )
    return RidgeVolume(matched.volume, grid.voxel_size_angstrom, len(grid.tilts))


def _of_imported(
    tomogram: Tomogram, voxel_size_angstrom: float, *, fill_beads: bool, context: StepContext
) -> RidgeVolume:
    """The volume of a tomogram that has no images. Its gold stays, and is reported to stay."""
    binning = _binning(tomogram, voxel_size_angstrom)
    voxel = binning * tomogram.voxel_size_angstrom
    coarse = coarser_volume(tomogram.volume, binning, lambda done, total: context.progress(done, total + 2))
    if fill_beads:
        context.warn(
            f"{tomogram.name} was imported without tilt images, so its noise is only estimated and gold is "
            "not filled; check what was found near beads"
        )
    return RidgeVolume(
        whitened(coarse, _HIGHPASS * COARSEST_OF_INTEREST_ANGSTROM / voxel), voxel, len(coarse)
    )


def _binning(tomogram: Tomogram, voxel_size_angstrom: float) -> int:
    return max(1, round(voxel_size_angstrom / tomogram.voxel_size_angstrom))
