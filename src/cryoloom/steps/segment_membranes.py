"""Find membranes without a network: sheets of density, linked, and turned outward where they close.

The images are whitened, multiplied by their transfer function at every voxel's depth and back-projected, as
for `pick_by_template`. A short sheet is compared with that volume in all directions of half a sphere; crests
of the best response are linked to membranes. One that an ellipsoid fits from most sides is a vesicle, with
outward normals. Caps whose normals lie near the beam are not seen (missing wedge): `pick_on_surfaces` closes
vesicles by the surface it fits.

What is given are points on the membranes with their normals, numbered by membrane, as `pick_by_hand` gives
them: `pick_on_surfaces` fits and samples them, and `select_by_distance` uses them as what is near or far.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from cryoloom.algorithms.picking.membranes import Membrane, membranes_of, strongest_across, thinned
from cryoloom.algorithms.picking.ridges import ridge_points, ridge_response
from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.geometry.frames import position_from_index
from cryoloom.geometry.rotations import rotation_y, rotation_z
from cryoloom.model import ParticleRows, Particles, Tomogram
from cryoloom.procedures.ridge_volume import bytes_for_ridges, ridge_volume

__all__ = ["SegmentMembranesParams", "segment_membranes"]

_DIRECTIONS = 90
_RIM_ANGSTROM = 140.0
_RIM_FRACTION = 0.85
_NORMAL_WIDTH_DEG = 15.0


class SegmentMembranesParams(StepParams):
    """What a user may choose."""

    thickness_angstrom: float = Field(40.0, gt=0, description="Distance between the leaflets.")
    voxel_size_angstrom: float = Field(20.0, gt=0, description="Voxel size of the search.")
    patch_angstrom: float = Field(
        60.0, gt=0, description="Radius over which a membrane is taken as flat: less for small vesicles."
    )
    least_score: float = Field(
        6.0, gt=0, description="Response of a membrane's points, in deviations of the response's noise."
    )
    sure_score: float = Field(8.0, gt=0, description="Response that some point of every membrane reaches.")
    min_area_angstrom2: float = Field(60_000.0, gt=0, description="Smallest membrane kept.")
    spacing_angstrom: float = Field(60.0, gt=0, description="Distance between the points that are given.")
    fill_beads: bool = Field(True, description="Find gold beads and fill them with their surroundings.")
    species: str = Field("membrane", description="Name of what is found.")


@step(
    "segment_membranes",
    per="tomogram",
    needs=Tomogram,
    gives=Particles,
    bytes_needed=lambda tomogram, params: bytes_for_ridges(tomogram, params.voxel_size_angstrom),
    methods="Membranes were found as sheets of density ({total_n_membranes:.0f} membranes).",
    figures=(
        Figure(
            "n_membranes", "membranes", "Membranes", "Sheets found.", column=Column("Membranes", digits=0)
        ),
        Figure("n_vesicles", "vesicles", "Vesicles", "Membranes that close about a centre."),
        Figure("area_um2", "um2", "Membrane area", "Of all membranes, as far as it is seen."),
        Figure(
            "median_score", "", "Median response", "Of all points, in deviations of noise.", good="above 8"
        ),
    ),
    records=(
        Record("membranes", "Area, number of points and whether it closes, of every membrane."),
        Record("picks", "Position in angstrom from the tomogram's centre, and membrane, of every point."),
    ),
)
def segment_membranes(tomogram: Tomogram, params: SegmentMembranesParams, context: StepContext) -> Particles:
    """Find membranes as sheets of density and give points on them, with normals."""
    matched, voxel = ridge_volume(
        tomogram, params.voxel_size_angstrom, fill_beads=params.fill_beads, context=context
    )
    total = len(matched.filters) + 2
    across = max(0.5 * params.thickness_angstrom / voxel, 0.8)
    response = ridge_response(
        matched.volume.cpu(), "sheet", across, params.patch_angstrom / voxel, _DIRECTIONS
    )
    context.progress(total - 1, total)
    points = ridge_points(response, "sheet", params.least_score)
    points = strongest_across(points, _RIM_ANGSTROM / voxel, _RIM_FRACTION)
    positions = position_from_index(points.index_zyx, tuple(matched.volume.shape), voxel)
    found = membranes_of(
        points,
        positions,
        voxel,
        patch_angstrom=params.patch_angstrom,
        sure_score=params.sure_score,
        least_area_angstrom2=params.min_area_angstrom2,
    )
    context.figure("n_membranes", len(found))
    context.figure("n_vesicles", sum(one.is_closed for one in found))
    context.figure("area_um2", sum(one.area_angstrom2 for one in found) * 1e-8)
    scores = np.concatenate([np.zeros(0), *(one.score for one in found)])
    context.figure(
        "median_score", float(np.median(scores)) if len(scores) else None, reason="no membrane was found"
    )
    if not found:
        context.warn(f"no membrane was found in {tomogram.name}; lower least_score or min_area_angstrom2")
    thin = [thinned(one, params.spacing_angstrom) for one in found]
    context.record(
        "membranes",
        [
            {"area_angstrom2": round(one.area_angstrom2), "points": len(one.score), "closes": one.is_closed}
            for one in thin
        ],
    )
    rows = _rows(tomogram.name, thin)
    context.record(
        "picks",
        {
            "xyz_angstrom": rows.positions_xyz_angstrom.round(1).tolist(),
            "model": [] if rows.surface is None else rows.surface.tolist(),
        },
    )
    context.progress(total, total)
    return Particles(
        tomogram.name,
        context.new_table("particles", rows.columns()),
        (tomogram.series,),
        (tomogram,),
        species=params.species,
    )


def _rows(name: str, membranes: list[Membrane]) -> ParticleRows:
    """Points of all membranes, turned so that z is the normal."""
    normals = np.concatenate([np.zeros((0, 3)), *(one.normals for one in membranes)])
    azimuth = np.rad2deg(np.arctan2(normals[:, 1], normals[:, 0]))
    polar = np.rad2deg(np.arccos(np.clip(normals[:, 2], -1.0, 1.0)))
    counts = [len(one.score) for one in membranes]
    rows = ParticleRows.of(
        name,
        np.concatenate([np.zeros((0, 3)), *(one.points_xyz_angstrom for one in membranes)]),
        rotations=rotation_z(azimuth) @ rotation_y(polar),
        prior_directions=normals,
        prior_width_deg=np.full(len(normals), _NORMAL_WIDTH_DEG),
        surface=np.repeat(np.arange(1, len(membranes) + 1), counts),
        score=np.concatenate([np.zeros(0), *(one.score for one in membranes)]),
    )
    shape = np.repeat(
        np.array(["ellipsoid" if one.is_closed else "open" for one in membranes], dtype=np.str_), counts
    )
    return replace(rows, others={"shape": shape})
