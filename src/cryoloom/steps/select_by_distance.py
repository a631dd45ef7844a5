"""Select picks by their distance to other objects: membranes, filaments, or another species.

The others are particles of the same tomograms (`others_from`): places on membranes or filaments, or picks of
another kind. The smallest distance leaves out picks on a membrane or at another particle; the largest
distance keeps only picks nearby.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field, model_validator

from cryoloom.algorithms.picking.cleaning import distance_to
from cryoloom.contract import Column, Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.model import Particles

__all__ = ["SelectByDistanceParams", "select_by_distance"]


class SelectByDistanceParams(StepParams):
    """Parameters of the selection."""

    min_distance_angstrom: float = Field(
        0.0, ge=0, description="Smallest distance to the nearest of the others."
    )
    max_distance_angstrom: float | None = Field(
        None, gt=0, description="Largest distance to the nearest of the others. Unset: any."
    )

    @model_validator(mode="after")
    def _range_is_open(self) -> SelectByDistanceParams:
        if (
            self.max_distance_angstrom is not None
            and self.max_distance_angstrom <= self.min_distance_angstrom
        ):
            raise ValueError(
                f"max_distance_angstrom is {self.max_distance_angstrom:g}, expected more than "
                f"min_distance_angstrom, {self.min_distance_angstrom:g}"
            )
        return self


@step(
    "select_by_distance",
    per="particle_set",
    needs=Particles,
    gives=Particles,
    also_needs={"others_from": Particles},
    bytes_needed=lambda particles, params: 200_000_000 + 400 * particles.n_particles,
    methods="Picks were selected by their distance to other objects.",
    figures=(
        Figure("n_particles", "particles", "Particles kept", "Picks left.", column=Column("Kept", digits=0)),
        Figure("n_before", "particles", "Particles before", "Picks given."),
        Figure(
            "distance_median_angstrom",
            "angstrom",
            "Distance to the others, median",
            "Distance of the picks to the nearest of the other objects.",
        ),
    ),
)
def select_by_distance(
    particles: Particles, params: SelectByDistanceParams, context: StepContext, *, others_from: Particles
) -> Particles:
    """Keep picks at the given distances from other objects of the same tomogram."""
    rows, others = particles.rows(), others_from.rows()
    distance = np.full(rows.n, np.inf)
    for name in np.unique(rows.tomogram):
        own = rows.tomogram == name
        theirs = others.positions_xyz_angstrom[others.tomogram == name]
        distance[own] = distance_to(rows.positions_xyz_angstrom[own], theirs)
    kept = distance >= params.min_distance_angstrom
    if params.max_distance_angstrom is not None:
        kept &= distance <= params.max_distance_angstrom
    context.figure("n_before", rows.n)
    context.figure("n_particles", int(kept.sum()))
    finite = distance[np.isfinite(distance)]
    context.figure(
        "distance_median_angstrom",
        float(np.median(finite)) if finite.size else None,
        reason="there are no other objects",
    )
    table = context.new_table("particles", rows.take(np.flatnonzero(kept)).columns())
    return replace(particles, table=table)
