"""Leave out false picks: duplicates, picks at edges, on gold, and those without neighbours on a lattice.

Of two picks closer than `min_distance_angstrom` the one with the better score is kept (without scores, the
first). A pick must be visible in enough tilts, a margin inside their images, and lie inside the tomogram.
Gold beads are found in the tilt images. On a lattice (capsids, arrays) a pick has neighbours at the lattice's
distance, which is measured from the picks, with a similar axis; picks with too few neighbours are left out.
For distances to membranes or to another species see `select_by_distance`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.picking.cleaning import (
    distance_to,
    distinct,
    lattice_distance,
    lattice_neighbours,
    seen_fraction,
)
from cryoloom.algorithms.picking.matched_series import find_gold
from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import ParticleRows, Particles

__all__ = ["CleanParticlesParams", "clean_particles"]

Mask = NDArray[np.bool_]


class CleanParticlesParams(StepParams):
    """Parameters of cleaning."""

    min_distance_angstrom: float | None = Field(
        None,
        ge=0,
        description="Duplicates: smallest distance between two particles. Unset: 0.5 of the diameter.",
    )
    edge_angstrom: float = Field(
        0.0, ge=0, description="Smallest distance from the tomogram's faces and from the edges of the images."
    )
    min_seen_fraction: float = Field(
        0.5, ge=0, le=1, description="Smallest fraction of the tilts in which a particle must be visible."
    )
    gold_angstrom: float | None = Field(
        None, ge=0, description="Smallest distance from the centre of a gold bead. Unset: any."
    )
    min_score: float | None = Field(None, description="Smallest score. Unset: any.")
    lattice_min_neighbours: int = Field(
        0,
        ge=0,
        le=30,
        description="Number of neighbours that a particle must have at the lattice's distance; 0: no "
        "condition.",
    )
    lattice_distance_angstrom: float | None = Field(
        None, gt=0, description="Distance between neighbours on the lattice. Unset: measured from the picks."
    )
    lattice_max_angle_deg: float = Field(
        40.0, gt=0, le=180, description="Largest angle between the axes of neighbours on the lattice."
    )


FIGURES = (
    Figure("n_particles", "particles", "Particles kept", "Picks left.", column=Column("Kept", digits=0)),
    Figure("n_before", "particles", "Particles before", "Picks given."),
    Figure("n_duplicates", "particles", "Duplicates", "Picks too close to a better one."),
    Figure(
        "n_at_edges", "particles", "At edges", "Picks near the tomogram's faces or visible in too few tilts."
    ),
    Figure("n_at_gold", "particles", "At gold", "Picks too close to a gold bead."),
    Figure("n_low_score", "particles", "Low score", "Picks below the smallest score."),
    Figure("n_lonely", "particles", "Without neighbours", "Picks with too few neighbours on the lattice."),
    Figure(
        "lattice_distance_angstrom",
        "angstrom",
        "Lattice distance",
        "Distance between neighbours on the lattice, given or measured from the picks.",
    ),
)


@step(
    "clean_particles",
    takes_by_hand=("least_score",),
    per="particle_set",
    needs=Particles,
    gives=Particles,
    bytes_needed=lambda particles, params: 400_000_000 + 400 * particles.n_particles,
    methods="Picks were cleaned[; {total_n_duplicates:.0f} duplicates were left out].",
    figures=FIGURES,
    records=(Record("left_out", "Number of every particle left out, and why."),),
)
def clean_particles(particles: Particles, params: CleanParticlesParams, context: StepContext) -> Particles:
    """Leave out duplicates, picks at edges and gold, and those without neighbours."""
    rows = particles.rows()
    reasons = np.full(rows.n, "", dtype="<U16")
    distance = params.min_distance_angstrom
    if distance is None:
        distance = 0.5 * (particles.diameter_angstrom or 0.0)
    if params.min_score is not None:
        if rows.score is None:
            raise DataUnfitError(
                "the particles have no score; leave min_score of clean_particles unset", set=particles.name
            )
        _leave_out(reasons, ~(rows.score >= params.min_score), "score")
    for name in np.unique(rows.tomogram):
        own = rows.tomogram == name
        _leave_out(reasons, own & _at_edges(particles, rows, own, str(name), params), "edge")
        if params.gold_angstrom is not None:
            _leave_out(reasons, own & _at_gold(particles, rows, own, str(name), params, context), "gold")
        left = own & (reasons == "")
        kept = distinct(
            rows.positions_xyz_angstrom[left], None if rows.score is None else rows.score[left], distance
        )
        double = np.zeros(rows.n, dtype=bool)
        double[np.flatnonzero(left)[~kept]] = True
        _leave_out(reasons, double, "duplicate")
    lattice = _lonely(rows, reasons, params)
    context.figure("n_before", rows.n)
    context.figure("n_particles", int((reasons == "").sum()))
    context.figure("n_duplicates", int((reasons == "duplicate").sum()))
    context.figure("n_at_edges", int((reasons == "edge").sum()))
    context.figure("n_at_gold", int((reasons == "gold").sum()))
    context.figure("n_low_score", int((reasons == "score").sum()))
    context.figure("n_lonely", int((reasons == "lonely").sum()))
    context.figure("lattice_distance_angstrom", lattice, reason="no lattice was requested, or too few picks")
    out = np.flatnonzero(reasons)
    context.record(
        "left_out",
        [
            {"tomogram": str(rows.tomogram[i]), "particle": int(rows.particle[i]), "why": str(reasons[i])}
            for i in out[:5000]
        ],
    )
    if rows.n and not (reasons == "").any():
        context.warn(f"none of the {rows.n} picks of {particles.name} is left; check the reasons")
    kept_rows = rows.take(np.flatnonzero(reasons == ""))
    return replace(particles, table=context.new_table("particles", kept_rows.columns()))


def _leave_out(reasons: NDArray[np.str_], which: Mask, why: str) -> None:
    """Set the reason of picks that have none yet."""
    reasons[which & (reasons == "")] = why


def _at_edges(
    particles: Particles, rows: ParticleRows, own: Mask, name: str, params: CleanParticlesParams
) -> Mask:
    """Picks outside their tomogram, or visible in too few tilts."""
    places = rows.positions_xyz_angstrom
    outside = np.zeros(rows.n, dtype=bool)
    for tomogram in particles.tomograms:
        if tomogram.name == name:
            half = 0.5 * np.array(tomogram.volume.shape[::-1]) * tomogram.voxel_size_angstrom
            outside |= (np.abs(places) > half - params.edge_angstrom).any(axis=1)
    if params.min_seen_fraction > 0:
        seen = np.ones(rows.n)
        seen[own] = seen_fraction(particles.series_of(name), places[own], params.edge_angstrom)
        outside |= seen < params.min_seen_fraction
    return outside


def _at_gold(
    particles: Particles,
    rows: ParticleRows,
    own: Mask,
    name: str,
    params: CleanParticlesParams,
    context: StepContext,
) -> Mask:
    series = particles.series_of(name)
    gold = find_gold(series, context.device)
    near = np.zeros(rows.n, dtype=bool)
    if gold is not None and params.gold_angstrom is not None:
        distance = distance_to(rows.positions_xyz_angstrom[own], gold.positions_xyz_angstrom)
        near[own] = distance < params.gold_angstrom
    return near


def _lonely(rows: ParticleRows, reasons: NDArray[np.str_], params: CleanParticlesParams) -> float | None:
    """Mark picks with too few neighbours; returns the distance of the lattice."""
    if not params.lattice_min_neighbours:
        return params.lattice_distance_angstrom
    distances = []
    for name in np.unique(rows.tomogram):
        left = np.flatnonzero((rows.tomogram == name) & (reasons == ""))
        places, axes = rows.positions_xyz_angstrom[left], rows.rotations[left][:, :, 2]
        distance = params.lattice_distance_angstrom or lattice_distance(places)
        if distance is None:
            continue
        distances.append(distance)
        count = lattice_neighbours(places, axes, distance, params.lattice_max_angle_deg)
        reasons[left[count < params.lattice_min_neighbours]] = "lonely"
    return float(np.median(distances)) if distances else None
