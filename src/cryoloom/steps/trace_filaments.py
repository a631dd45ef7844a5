"""Trace filaments without a network, and place particles along them with direction and twist.

The images are whitened, multiplied by their CTF at every voxel's depth and back-projected, as in
`pick_by_template`; an imported tomogram, which has none, is whitened itself. A short rod is compared with
that volume in all directions of half a sphere. Points on the crest of the best response are linked where they
continue each other, also across gaps, and a smooth curve is fitted to each chain. Particles are placed along
it at the rise, each rotated by the twist relative to the last one.

A rod does not show the direction of a filament: all particles of one filament point the same way, which may
be the wrong one. The axis is stored as their prior, with the number of the filament and the distance along
it. Filaments along the beam are in the missing wedge and are not found.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.picking.filament_tracing import TracedFilament, trace_rods
from cryoloom.algorithms.picking.filaments import sample_filament
from cryoloom.algorithms.picking.ridges import ridge_points, ridge_response
from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.geometry.frames import position_from_index
from cryoloom.model import ParticleRows, Particles, Tomogram
from cryoloom.procedures.placed_particles import particles_in
from cryoloom.procedures.ridge_volume import bytes_for_ridges, ridge_volume

__all__ = ["TraceFilamentsParams", "trace_filaments"]

_DIRECTIONS = 220
"""Chosen: over half a sphere, about 10 degrees apart."""
_SD_OF_DIAMETER = 0.35
"""Chosen: width of the Gaussian ridge that matches a solid rod best, in diameters."""
_PRIOR_WIDTH_DEG = 10.0
"""Chosen: standard deviation of a direction, the prior of a later search."""


class TraceFilamentsParams(StepParams):
    """Parameters of the tracing."""

    diameter_angstrom: float = Field(100.0, gt=0, description="Diameter of the filaments.")
    spacing_angstrom: float = Field(
        50.0,
        gt=0,
        description="Distance between particles along a filament: the helical rise, or a multiple of it.",
    )
    twist_deg: float = Field(
        0.0, description="Helical twist: rotation about the axis from one particle to the next."
    )
    min_length_angstrom: float = Field(
        400.0, gt=0, description="Length of the shortest filament that is kept."
    )
    max_gap_angstrom: float = Field(150.0, ge=0, description="Longest gap that is bridged.")
    segment_angstrom: float = Field(
        60.0,
        gt=0,
        description="Length over which a filament is assumed to be straight; use less for bent filaments.",
    )
    voxel_size_angstrom: float = Field(20.0, gt=0, description="Voxel size of the search.")
    least_score: float = Field(
        6.0,
        gt=0,
        description="Smallest response at points of a filament, in standard deviations of its noise.",
    )
    sure_score: float = Field(
        9.0, gt=0, description="Smallest peak response of a filament, in standard deviations of its noise."
    )
    fill_beads: bool = Field(True, description="Find gold beads and fill them with their surroundings.")
    species: str = Field("filament", description="Name of the filaments.")


@step(
    "trace_filaments",
    version=2,
    per="tomogram",
    needs=Tomogram,
    gives=Particles,
    bytes_needed=lambda tomogram, params: bytes_for_ridges(tomogram, params.voxel_size_angstrom),
    methods="Filaments were traced as rods of density ({total_n_filaments:.0f} filaments).",
    figures=(
        Figure(
            "n_filaments", "filaments", "Filaments", "Curves found.", column=Column("Filaments", digits=0)
        ),
        Figure("n_particles", "particles", "Particles", "Places along all filaments."),
        Figure("length_um", "um", "Length", "Total length of all filaments."),
        Figure(
            "median_score",
            "",
            "Median response",
            "Median response of all points, in standard deviations of noise.",
            good="above 8",
        ),
    ),
    records=(
        Record("filaments", "Length, smallest radius of curvature, and response of every filament."),
        Record("picks", "Position in angstrom from the tomogram's centre, and filament, of every particle."),
    ),
)
def trace_filaments(tomogram: Tomogram, params: TraceFilamentsParams, context: StepContext) -> Particles:
    """Trace filaments as rods of density and give particles along them, with their axis as a prior."""
    searched = ridge_volume(
        tomogram, params.voxel_size_angstrom, fill_beads=params.fill_beads, context=context
    )
    voxel, total = searched.voxel_size_angstrom, searched.n_parts + 2
    across = max(_SD_OF_DIAMETER * params.diameter_angstrom / voxel, 0.8)
    response = ridge_response(
        searched.volume.cpu(), "rod", across, params.segment_angstrom / voxel, _DIRECTIONS
    )
    context.progress(total - 1, total)
    points = ridge_points(response, "rod", params.least_score)
    found = trace_rods(
        points,
        position_from_index(points.index_zyx, tuple(searched.volume.shape), voxel),
        voxel,
        diameter_angstrom=params.diameter_angstrom,
        sure_score=params.sure_score,
        least_length_angstrom=params.min_length_angstrom,
        largest_gap_angstrom=params.max_gap_angstrom,
    )
    rows = _rows(tomogram.name, found, params, context.rng)
    _report(tomogram.name, found, rows, context)
    context.progress(total, total)
    return particles_in(
        tomogram,
        rows,
        context,
        species=params.species,
        diameter_angstrom=params.diameter_angstrom,
    )


def _rows(
    name: str, filaments: list[TracedFilament], params: TraceFilamentsParams, rng: np.random.Generator
) -> ParticleRows:
    """Particles along all filaments, numbered from 1."""
    positions, rotations = [np.zeros((0, 3))], [np.zeros((0, 3, 3))]
    tube, along, score = [np.zeros(0, np.int64)], [np.zeros(0)], [np.zeros(0)]
    for number, one in enumerate(filaments, start=1):
        places = sample_filament(
            one.curve, params.spacing_angstrom, params.twist_deg, float(rng.uniform(0.0, 360.0))
        )
        n = len(places.along_angstrom)
        positions.append(places.positions_xyz_angstrom)
        rotations.append(places.rotations)
        tube.append(np.full(n, number))
        along.append(places.along_angstrom)
        score.append(np.full(n, one.median_score))
    turned = np.concatenate(rotations)
    others: dict[str, NDArray[Any]] = {"along_angstrom": np.concatenate(along)}
    rows = ParticleRows.of(
        name,
        np.concatenate(positions),
        rotations=turned,
        prior_directions=turned[:, :, 2].copy(),
        prior_width_deg=np.full(len(turned), _PRIOR_WIDTH_DEG),
        tube=np.concatenate(tube),
        score=np.concatenate(score),
    )
    return replace(rows, others={**others, "shape": np.full(rows.n, "filament")})


def _report(name: str, found: list[TracedFilament], rows: ParticleRows, context: StepContext) -> None:
    context.figure("n_filaments", len(found))
    context.figure("n_particles", rows.n)
    context.figure("length_um", sum(one.curve.length_angstrom for one in found) * 1e-4)
    scores = [one.median_score for one in found]
    context.figure(
        "median_score", float(np.median(scores)) if scores else None, reason="no filament was found"
    )
    if not found:
        context.warn(
            f"no filament was found in {name}; check the diameter, or lower least_score or "
            "min_length_angstrom"
        )
    context.record(
        "filaments",
        [
            {
                "filament": number,
                "length_angstrom": round(one.curve.length_angstrom),
                "bend_radius_angstrom": (
                    "straight" if one.bend_radius_angstrom > 1e5 else round(one.bend_radius_angstrom)
                ),
                "response": round(one.median_score, 1),
            }
            for number, one in enumerate(found, start=1)
        ],
    )
    context.record(
        "picks",
        {
            "xyz_angstrom": rows.positions_xyz_angstrom.round(1).tolist(),
            "model": [] if rows.tube is None else rows.tube.tolist(),
        },
    )
