"""Find membranes without a network: linked sheets of density, with outward normals where they close.

The images are whitened, multiplied by their CTF at every voxel's depth and back-projected, as in
`pick_by_template`; an imported tomogram, which has none, is whitened itself. A short sheet is compared with
that volume in all directions of half a sphere; crests of the best response are linked to membranes. A
membrane that an ellipsoid fits on most sides is a vesicle, with outward normals. Caps with normals near the
beam are not visible (missing wedge); the surface fitted by `pick_on_surfaces` closes them.

The result is points on the membranes with their normals, numbered by membrane, as from `pick_by_hand`:
`pick_on_surfaces` fits and samples them, and `select_by_distance` measures distances to them.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from cryoloom.algorithms.picking.membranes import membranes_of, strongest_across
from cryoloom.algorithms.picking.ridges import ridge_points, ridge_response
from cryoloom.contract import Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.geometry.frames import position_from_index
from cryoloom.model import Particles, Tomogram
from cryoloom.procedures.membrane_points import (
    MEMBRANE_FIGURES,
    MEMBRANE_RECORDS,
    points_on_membranes,
)
from cryoloom.procedures.ridge_volume import bytes_for_ridges, ridge_volume

__all__ = ["SegmentMembranesParams", "segment_membranes"]

_DIRECTIONS = 90
_RIM_ANGSTROM = 140.0
_RIM_FRACTION = 0.85
"""Chosen: directions over half a sphere, about 15 degrees apart; the rim beside a membrane that filters leave
has this reach and at most this part of its response."""


class SegmentMembranesParams(StepParams):
    """Parameters of the search for membranes."""

    thickness_angstrom: float = Field(40.0, gt=0, description="Distance between the leaflets.")
    voxel_size_angstrom: float = Field(20.0, gt=0, description="Voxel size of the search.")
    patch_angstrom: float = Field(
        60.0,
        gt=0,
        description="Radius over which a membrane is assumed to be flat; use less for small vesicles.",
    )
    least_score: float = Field(
        6.0,
        gt=0,
        description="Smallest response at points of a membrane, in standard deviations of its noise.",
    )
    sure_score: float = Field(
        8.0, gt=0, description="Smallest peak response of a membrane, in standard deviations of its noise."
    )
    min_area_angstrom2: float = Field(
        60_000.0, gt=0, description="Area of the smallest membrane that is kept."
    )
    spacing_angstrom: float = Field(60.0, gt=0, description="Distance between the resulting points.")
    fill_beads: bool = Field(True, description="Find gold beads and fill them with their surroundings.")
    species: str = Field("membrane", description="Name of the membranes.")


@step(
    "segment_membranes",
    version=2,
    per="tomogram",
    needs=Tomogram,
    gives=Particles,
    bytes_needed=lambda tomogram, params: bytes_for_ridges(tomogram, params.voxel_size_angstrom),
    methods="Membranes were found as sheets of density ({total_n_membranes:.0f} membranes).",
    figures=(
        *MEMBRANE_FIGURES,
        Figure(
            "median_score",
            "",
            "Median response",
            "Median response of all points, in standard deviations of noise.",
            good="above 8",
        ),
    ),
    records=MEMBRANE_RECORDS,
)
def segment_membranes(tomogram: Tomogram, params: SegmentMembranesParams, context: StepContext) -> Particles:
    """Find membranes as sheets of density and give points on them, with normals."""
    searched = ridge_volume(
        tomogram, params.voxel_size_angstrom, fill_beads=params.fill_beads, context=context
    )
    voxel, total = searched.voxel_size_angstrom, searched.n_parts + 2
    across = max(0.5 * params.thickness_angstrom / voxel, 0.8)
    response = ridge_response(
        searched.volume.cpu(), "sheet", across, params.patch_angstrom / voxel, _DIRECTIONS
    )
    context.progress(total - 1, total)
    points = ridge_points(response, "sheet", params.least_score)
    points = strongest_across(points, _RIM_ANGSTROM / voxel, _RIM_FRACTION)
    positions = position_from_index(points.index_zyx, tuple(searched.volume.shape), voxel)
    found = membranes_of(
        points,
        positions,
        voxel,
        patch_angstrom=params.patch_angstrom,
        sure_score=params.sure_score,
        least_area_angstrom2=params.min_area_angstrom2,
    )
    scores = np.concatenate([np.zeros(0), *(one.score for one in found)])
    context.figure(
        "median_score", float(np.median(scores)) if len(scores) else None, reason="no membrane was found"
    )
    if not found:
        context.warn(f"no membrane was found in {tomogram.name}; lower least_score or min_area_angstrom2")
    made = points_on_membranes(
        tomogram, found, spacing_angstrom=params.spacing_angstrom, species=params.species, context=context
    )
    context.progress(total, total)
    return made
