"""Membranes become particles: thinned, turned to their normals, with figures and records."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from cryoloom.algorithms.picking.membranes import Membrane
from cryoloom.model import Tomogram
from cryoloom.procedures.membrane_points import points_on_membranes
from makers.made_series import aligned, make_series


def test_points_are_turned_to_their_normals(context, rng):
    normals = rng.normal(size=(6, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    places = np.arange(18.0).reshape(6, 3) * 30.0
    found = [Membrane(places, normals, np.ones(6), 2e6, is_closed=True)]
    tomogram = Tomogram(aligned(make_series()), np.zeros((4, 4, 4), np.float32), 10.0)
    made = points_on_membranes(tomogram, found, spacing_angstrom=10.0, species="m", context=context)
    rows = made.rows()
    assert_allclose(rows.rotations @ (0.0, 0.0, 1.0), rows.prior_directions, atol=1e-9)
    assert made.species == "m"
    assert set(rows.surface) == {1}
    assert context.figures["n_vesicles"] == 1
    assert context.records["membranes"][0]["points"] == 6


def test_none(context):
    tomogram = Tomogram(aligned(make_series()), np.zeros((4, 4, 4), np.float32), 10.0)
    made = points_on_membranes(tomogram, [], spacing_angstrom=10.0, species="m", context=context)
    assert made.n_particles == 0
    assert context.figures["area_um2"] == 0.0
