"""Cells of particles on surfaces: distances, masks of one particle, and the detail that shows its azimuth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.algorithms.averaging.surface_cells import (
    azimuth_band_angstrom,
    cell_diameter_angstrom,
    has_directions,
    lie_on_surfaces,
    spacing_angstrom,
)
from cryoloom.model import ParticleRows


def lattice(spacing: float, name: str = "TS_1") -> ParticleRows:
    y, x = np.mgrid[0:4, 0:5]
    places = spacing * np.stack([x.ravel(), y.ravel(), np.zeros(20)], axis=1)
    rows = ParticleRows.of(name, places)
    return replace(rows, prior_directions=np.tile([0.0, 0.0, 1.0], (20, 1)), surface=np.ones(20, int))


def test_the_spacing_is_that_of_one_tomogram():
    # Tomograms share coordinates, not space.
    both = ParticleRows.joined([lattice(80.0), lattice(80.0, "TS_2")])
    assert spacing_angstrom(both) == pytest.approx(80.0)
    assert spacing_angstrom(both.take(np.array([0]))) is None


@pytest.mark.parametrize(("diameter", "cell"), [(350.0, 116.0), (116.0, 116.0), (90.0, 90.0)])
def test_a_cell_is_at_most_the_diameter(diameter, cell):
    assert cell_diameter_angstrom(diameter, 80.0) == pytest.approx(cell)


@pytest.mark.parametrize(
    ("cell", "pixel", "band"),
    [(116.0, 2.7, 26.68), (60.0, 2.7, 20.0), (60.0, 10.0, 25.0), (400.0, 2.7, 40.0)],
)
def test_the_first_detail_follows_the_cell_and_the_pixels(cell, pixel, band):
    assert azimuth_band_angstrom(cell, pixel) == pytest.approx(band)


def test_filaments_and_particles_without_direction_lie_on_no_surface():
    rows = lattice(80.0)
    assert lie_on_surfaces(rows)
    assert has_directions(rows)
    filament = replace(rows, surface=np.full(20, -1))
    assert not lie_on_surfaces(filament)
    assert has_directions(filament)
    free = replace(rows, prior_directions=None)
    assert not lie_on_surfaces(free)
    assert not has_directions(free)
    few = rows.prior_directions.copy()
    few[:12] = np.nan
    assert not has_directions(replace(rows, prior_directions=few))
