"""Membranes as points with normals: figures, records and a particle set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoloom.algorithms.picking.membranes import Membrane, thinned
from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import StepContext
from cryoloom.geometry.rotations import rotation_y, rotation_z
from cryoloom.model import ParticleRows, Particles, Tomogram
from cryoloom.procedures.placed_particles import particles_in

__all__ = ["MEMBRANE_FIGURES", "MEMBRANE_RECORDS", "points_on_membranes"]

_NORMAL_WIDTH_DEG = 15.0
"""Chosen: standard deviation of a normal, the prior of a later search."""

MEMBRANE_FIGURES = (
    Figure("n_membranes", "membranes", "Membranes", "Sheets found.", column=Column("Membranes", digits=0)),
    Figure("n_vesicles", "vesicles", "Vesicles", "Membranes that close about a centre."),
    Figure("area_um2", "um2", "Membrane area", "Total area of all membranes, as far as they are visible."),
)
MEMBRANE_RECORDS = (
    Record("membranes", "Area, number of points and whether it closes, of every membrane."),
    Record("picks", "Position in angstrom from the tomogram's centre, and membrane, of every point."),
)


def points_on_membranes(
    tomogram: Tomogram,
    found: list[Membrane],
    *,
    spacing_angstrom: float,
    species: str,
    context: StepContext,
) -> Particles:
    """Points on the membranes of a tomogram, turned so that z is the normal; figures and records of them."""
    context.figure("n_membranes", len(found))
    context.figure("n_vesicles", sum(one.is_closed for one in found))
    context.figure("area_um2", sum(one.area_angstrom2 for one in found) * 1e-8)
    thin = [thinned(one, spacing_angstrom) for one in found]
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
    return particles_in(
        tomogram,
        rows,
        context,
        species=species,
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
