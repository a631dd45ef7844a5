"""The volume in which membranes and filaments are searched, as sheets and rods of density."""

from __future__ import annotations

from cryoloom.algorithms.picking.matched_filter import MatchedFilter
from cryoloom.algorithms.picking.matched_series import (
    find_gold,
    matched_filter_bytes,
    matched_filter_of,
    search_grid,
)
from cryoloom.contract.step import StepContext
from cryoloom.model import Tomogram

__all__ = ["bytes_for_ridges", "ridge_volume"]

COARSEST_OF_INTEREST_ANGSTROM = 600.0
"""Variation over more than 1.5 times this is removed: the ice, not membranes and filaments."""


def bytes_for_ridges(tomogram: Tomogram, voxel_size_angstrom: float) -> int:
    """Memory of the volume and of the responses of all directions; voxels are no finer than the images."""
    voxel = max(voxel_size_angstrom, tomogram.series.unweighted_stack.pixel_size_angstrom)
    return 600_000_000 + 2 * matched_filter_bytes(tomogram, voxel)


def ridge_volume(
    tomogram: Tomogram, voxel_size_angstrom: float, *, fill_beads: bool, context: StepContext
) -> tuple[MatchedFilter, float]:
    """Matched-filter tomogram (gold filled if asked for), and its voxel size in angstrom.

    Progress counts the tilts, one step more, and one for the ridges.
    """
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
    return matched, grid.voxel_size_angstrom
