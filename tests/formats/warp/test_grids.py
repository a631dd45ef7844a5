"""Grids of Warp: where they look, and what they say a pose's displacement is."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.warp.grids import WarpGrid, add_grid, movements

EXTENT = (4000.0, 3000.0)


def series_of(extent=EXTENT, **grids):
    root = ElementTree.Element("TiltSeries")
    if extent:
        root.set("ImageDimensionsAngstrom", f"{extent[0]}, {extent[1]}")
    for name, values in grids.items():
        add_grid(root, name, np.asarray(values, dtype=float))
    return ElementTree.fromstring(ElementTree.tostring(root))


def test_nodes_are_met_and_sides_with_one_do_not_vary(rng):
    values = rng.normal(size=(5, 1, 4))
    grid = WarpGrid.read(series_of(GridCTF=values), "GridCTF")
    at = grid.at(np.arange(5) / 4, np.array([0.0, 0.7]), np.arange(4) / 3)
    np.testing.assert_allclose(at, np.repeat(values, 2, axis=1), atol=1e-12)


def test_two_nodes_are_a_line_and_margins_move_them():
    grid = WarpGrid(np.array([[[1.0, 3.0]]]), (0.0, 0.0, 0.25))
    np.testing.assert_allclose(
        grid.at(np.zeros(1), np.zeros(1), np.array([0.25, 0.5, 0.75, 1.0])), [[[1, 2, 3, 4]]]
    )


def test_a_natural_spline_has_no_curvature_at_its_ends():
    """By hand: of 0, 1, 0 at 0, 1/2, 1 the spline is 3 s - 4 s^3 before the middle."""
    grid = WarpGrid(np.array([0.0, 1.0, 0.0]).reshape(1, 1, 3))
    s = np.array([0.1, 0.25, 0.4])
    np.testing.assert_allclose(grid.at(np.zeros(1), np.zeros(1), s)[0, 0], 3 * s - 4 * s**3)


def test_displacements_are_the_movements_with_the_other_sign(rng):
    x, y = rng.normal(0, 8, (2, 3, 5, 4))
    root = series_of(GridMovementX=x, GridMovementY=y)
    shifts, warps, misfit = movements(root, 3)
    assert misfit < 0.3
    grids = [WarpGrid.read(root, name) for name in ("GridMovementX", "GridMovementY")]
    along = np.linspace(0.02, 0.98, 30)
    places = np.stack(np.meshgrid(along - 0.5, along - 0.5), axis=-1).reshape(-1, 2) * EXTENT
    for t in range(3):
        seen = shifts[t] + warps[t].displacement(places + shifts[t])
        expected = -np.stack([grid.at(np.array([t / 2]), along, along).ravel() for grid in grids], axis=1)
        assert np.sqrt(((seen - expected) ** 2).sum(axis=1).mean()) < 0.3


def test_one_movement_of_a_whole_image_is_a_shift():
    shifts, warps, misfit = movements(series_of(None, GridMovementX=[[[3.0]], [[-2.0]]]), 2)
    np.testing.assert_allclose(shifts, [[-3.0, 0.0], [2.0, 0.0]])
    assert warps == [None, None]
    assert misfit == 0


def test_what_cannot_be_placed_is_refused():
    with pytest.raises(ValueError, match="ImageDimensionsAngstrom"):
        movements(series_of(None, GridMovementX=[[[1.0, 2.0]]]), 4)
    with pytest.raises(DataUnfitError, match="without a value"):
        WarpGrid.read(ElementTree.fromstring("<T><GridCTF Width='2'/></T>"), "GridCTF")
    text = "<T><GridCTF><Node X='1' Value='3'/></GridCTF></T>"
    with pytest.raises(DataUnfitError, match="beyond its size"):
        WarpGrid.read(ElementTree.fromstring(text), "GridCTF")
