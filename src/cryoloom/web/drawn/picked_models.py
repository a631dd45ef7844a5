"""Positions on models drawn in the browser, computed by the code of the picking steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoloom.algorithms.picking.ellipsoids import fit_ellipsoid, fit_sphere
from cryoloom.algorithms.picking.filaments import fit_filament, sample_filament
from cryoloom.algorithms.picking.surface_sampling import sample_closed, sample_open
from cryoloom.algorithms.picking.surfaces import fit_open_surface
from cryoloom.web.decide import ModelValue

__all__ = ["places_on"]


def places_on(model: ModelValue) -> dict[str, Any]:
    """Positions ``(n, 3)``, normals ``(n, 3)``, and the size of the model as text.

    Raises DataUnfitError if the points are too few for the shape.
    """
    points = np.array(model.points)
    rng = np.random.default_rng(0)  # the same model always has the same positions
    side = -1.0 if model.inwards else 1.0
    facts: dict[str, Any] = {}
    if model.shape == "filament":
        filament = fit_filament(points)
        made = sample_filament(filament, model.spacing_angstrom)
        places, normals = made.positions_xyz_angstrom, made.rotations[:, :, 2] * side
        facts["size"] = f"{filament.length_angstrom / 10:.0f} nm long"
    elif model.shape == "membrane":
        surface = fit_open_surface(points)
        on = sample_open(surface, model.spacing_angstrom, rng)
        places, normals = on.positions_xyz_angstrom, on.normals * side
        facts["size"] = f"{len(points)} points"
    else:
        fit = fit_sphere(points) if model.shape == "sphere" else fit_ellipsoid(points)
        axes = fit.ellipsoid.half_axes_angstrom
        on = sample_closed(fit.ellipsoid, model.spacing_angstrom, rng)
        places, normals = on.positions_xyz_angstrom, on.normals * side
        facts["centre"] = fit.ellipsoid.centre_xyz_angstrom.round(1).tolist()
        facts["half_axes_angstrom"] = axes.round(1).tolist()
        across = " x ".join(
            f"{2 * axis / 10:.0f}" for axis in (axes[:1] if model.shape == "sphere" else axes)
        )
        facts["size"] = f"{across} nm"
    return {**facts, "places": places.round(1).tolist(), "normals": normals.round(4).tolist()}
