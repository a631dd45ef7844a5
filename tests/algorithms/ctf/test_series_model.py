"""What the tilts of a series have in common: the washing out by thickness, decay, dose and the slope."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.ctf.defocus_fit import DefocusFit
from cryoloom.algorithms.ctf.series_model import (
    CERTAIN_GAIN,
    STRONGEST_RINGS,
    SeriesModel,
    at_origin,
    defocus_slope,
    is_seen,
)
from makers.exact_rings import BAND, exact_rings


@pytest.fixture(scope="module")
def tilts():
    made = exact_rings(np.full(3, 30000.0), np.zeros(3), (0.0, 60.0, -60.0))
    return [tilt for tilt, _ in made]


def test_a_slab_at_60_degrees_is_washed_out_as_one_of_twice_its_thickness(tilts):
    flat, steep, other = tilts
    spectrum = np.full(BAND.n_rings, 0.5)
    model = SeriesModel(1, spectrum, thickness_angstrom=1000.0)
    double = replace(model, thickness_angstrom=2000.0)
    assert_allclose(model.modulation(steep), double.modulation(flat), atol=1e-9)
    assert_allclose(model.modulation(steep), model.modulation(other), atol=1e-9)
    assert_allclose(model.modulations(tilts), [model.modulation(tilt) for tilt in tilts])
    # Rings vanish where sinc(lambda k^2 t / cos tilt) does: at k^2 = n / (lambda path).
    wavelength = flat.data.microscope.wavelength_angstrom
    nodes = np.array(model.nodes_per_angstrom(steep))
    assert len(nodes) > 0
    assert_allclose(np.rint(nodes**2 * wavelength * 2000), nodes**2 * wavelength * 2000, atol=1e-9)
    assert ((nodes >= BAND.low_per_angstrom) & (nodes <= BAND.high_per_angstrom)).all()
    assert replace(model, thickness_angstrom=0.0).nodes_per_angstrom(steep) == []


def test_an_inclined_specimen_is_thinnest_where_tilt_and_inclination_cancel(tilts):
    _, steep, other = tilts
    model = SeriesModel(1, np.full(BAND.n_rings, 0.5), decay=0.7, inclination_deg=(-15.0, 0.0))
    # exp(-decay (1 / cos - 1)) at 45 and at 75 degrees.
    for tilt, angle in ((steep, 45.0), (other, 75.0)):
        expected = 0.5 * np.exp(-0.7 * (1 / np.cos(np.deg2rad(angle)) - 1))
        assert_allclose(model.modulation(tilt), expected, rtol=1e-6)


def test_the_amplitude_may_depend_on_dose_within_what_is_possible(tilts):
    flat = tilts[0]
    change = np.stack([np.full(BAND.n_rings, -1.0), np.zeros(BAND.n_rings)])
    model = SeriesModel(1, np.full(BAND.n_rings, 0.5), strength_change=change)
    at = [replace(flat, acquisition_index=i) for i in (0, 20, 40)]
    # Half a unit of dose to either side of the middle one.
    assert_allclose([model.strength(tilt)[0] for tilt in at], [STRONGEST_RINGS, 0.5, 0.0])


def test_the_slope_is_the_tangent_of_the_tilt_across_the_axis_and_has_the_hands_sign(tilts):
    # The axis along image y: the defocus rises with x at positive tilt (w = z / cos - X tan).
    assert_allclose(defocus_slope(0.0, 45.0, 0.0, 1), [1.0, 0.0], atol=1e-12)
    assert_allclose(defocus_slope(0.0, 45.0, 0.0, -1), [-1.0, 0.0], atol=1e-12)
    assert_allclose(defocus_slope(90.0, 30.0, 0.0, 1), [0.0, np.tan(np.pi / 6)], atol=1e-12)
    model = SeriesModel(-1, np.full(BAND.n_rings, 0.5), inclination_deg=(10.0, 0.0))
    assert_allclose(model.slope(tilts[1]), defocus_slope(tilts[1].axis_deg, 70.0, 0.0, -1))


def test_positions_count_from_the_specimens_origin(tilts):
    moved = replace(tilts[0], shift_xy_angstrom=(100.0, -40.0))
    assert_allclose(
        moved.data.centres_xy_angstrom - at_origin(moved).centres_xy_angstrom,
        np.broadcast_to([100.0, -40.0], moved.data.centres_xy_angstrom.shape),
    )


def test_rings_are_seen_from_half_of_what_is_certain(tilts):
    fit = DefocusFit(30000.0, 0.0, 0.0, 100.0, 100.0, 0.51 * CERTAIN_GAIN)
    assert is_seen(fit)
    assert not is_seen(replace(fit, gain=0.49 * CERTAIN_GAIN))
