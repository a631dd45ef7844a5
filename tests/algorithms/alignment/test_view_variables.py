"""Unknowns of a bundle adjustment: derivatives against differences, and what each choice leaves free."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import (
    N_VIEW_PARAMETERS,
    DegreesOfFreedom,
    ViewVariables,
    geometry_of,
    jacobians,
    parameters_of,
)
from cryoloom.algorithms.series.series_geometry import SeriesGeometry


@pytest.fixture
def geometry(rng):
    n = 6
    return SeriesGeometry(
        axis_deg=rng.normal(85, 1, n),
        tilt_deg=np.linspace(-50, 50, n),
        shift_xy_angstrom=rng.normal(0, 100, (n, 2)),
        x_tilt_deg=rng.normal(0, 3, n),
        magnification=rng.normal(1, 0.01, n),
        stretch=rng.normal(0, 0.01, n),
        skew=rng.normal(0, 0.01, n),
        beam_tilt_deg=rng.normal(0, 1, n),
    )


def test_parameters_and_geometry_are_inverse(geometry):
    again = geometry_of(parameters_of(geometry))
    for name in ("axis_deg", "tilt_deg", "x_tilt_deg", "magnification", "stretch", "skew", "beam_tilt_deg"):
        assert_allclose(getattr(again, name), getattr(geometry, name), rtol=1e-12)
    assert_allclose(again.shift_xy_angstrom, geometry.shift_xy_angstrom)


def test_derivatives_are_those_of_the_projection(geometry, rng):
    points = rng.normal(0, 1000, (3, 3))
    view, point = (index.ravel() for index in np.mgrid[: geometry.n_views, :3])
    tracks = Tracks(view, point, np.zeros((len(view), 2)), np.ones(len(view)), geometry.n_views, 3)
    by_view, by_point = jacobians(tracks, geometry, points)
    start = parameters_of(geometry)
    for k in range(N_VIEW_PARAMETERS):
        step = 1e-5
        sides = []
        for sign in (1, -1):
            moved = start.copy()
            moved[:, k] += sign * step
            sides.append(geometry_of(moved).project(points)[view, point])
        # Lengths are thousands of angstrom: third derivatives times step^2 stay below 1e-5.
        assert_allclose(by_view[:, :, k], (sides[0] - sides[1]) / (2 * step), atol=1e-4)
    moved = points.copy()
    moved[:, 2] += 1.0  # exactly linear
    change = geometry.project(moved)[view, point] - geometry.project(points)[view, point]
    assert_allclose(by_point[:, :, 2], change, atol=1e-9)


@pytest.mark.parametrize(
    ("free", "n_unknowns"),
    [
        (DegreesOfFreedom(), 2 * 6 + 1),
        (DegreesOfFreedom(tilt="per_view"), 2 * 6 + 1 + 6),
        (DegreesOfFreedom(axis="fixed", magnification="one"), 2 * 6 + 1),
        (DegreesOfFreedom(axis="grouped", group_size=5), 2 * 6 + 1 + 2),
    ],
)
def test_each_choice_has_its_unknowns(geometry, free, n_unknowns):
    variables = ViewVariables.of(free, geometry)
    assert variables.prior_information.shape == (n_unknowns,)
    assert (variables.prior_information[:12] == 0).all()  # shifts are free


def test_gathered_derivatives_are_those_of_the_unknowns(geometry, rng):
    variables = ViewVariables.of(DegreesOfFreedom(axis="grouped", tilt="per_view"), geometry)
    unknowns = rng.normal(0, 1, len(variables.prior_information))
    slope = rng.normal(0, 1, (geometry.n_views, N_VIEW_PARAMETERS))
    gradient = variables.gather(slope)
    # spread is linear, so that <slope, spread(u)> = <gather(slope), u>.
    assert_allclose((slope * variables.spread(unknowns)).sum(), gradient @ unknowns)
    again = variables.spread(variables.unknowns_from(variables.spread(unknowns)))
    assert_allclose(again, variables.spread(unknowns), atol=1e-9)


def test_normal_matrix_is_that_of_the_unknowns(geometry, rng):
    variables = ViewVariables.of(DegreesOfFreedom(tilt="one"), geometry)
    rows = rng.normal(0, 1, (geometry.n_views, 4, N_VIEW_PARAMETERS))
    blocks = np.einsum("vrp,vrq->vpq", rows, rows)
    unknowns = rng.normal(0, 1, len(variables.prior_information))
    change = variables.spread(unknowns)
    expected = (np.einsum("vrp,vp->vr", rows, change) ** 2).sum()
    assert_allclose(unknowns @ variables.normal(blocks) @ unknowns, expected)
