"""The place of a simulated specimen, with gold on its surfaces and without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cryoloom.algorithms.alignment import specimen_middle
from cryoloom.algorithms.alignment.specimen_middle import FoundSpecimen, depth_error_angstrom, find_specimen
from cryoloom.algorithms.series.tilt_images import load_tilt_images
from cryoloom.algorithms.series.transmitted_thickness import TransmittedThickness
from cryoloom.algorithms.specimen.point_surfaces import BeadPlanes
from cryoloom.algorithms.specimen.slab import SlabFit
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.session import simulate_tilt_series


@pytest.mark.parametrize(("beads_lie", "middle"), [("on_top", -500.0), ("on_both", 300.0)])
def test_gold_on_the_surfaces_tells_the_middle(beads_lie, middle):
    params = SimulationParams(
        seed=3,
        image_shape_yx=(256, 256),
        pixel_size_angstrom=10.0,
        tilt_step_deg=8.0,
        n_beads=20,
        beads_lie=beads_lie,
        n_particles=60,
        thickness_angstrom=1200.0,
        z_offset_angstrom=middle,
        pretilt_x_deg=2.0,
        pretilt_y_deg=-5.0,
    )
    series, truth = simulate_tilt_series(params)
    images = load_tilt_images(series.stack.images, 10.0, 15.0)
    found = find_specimen(truth.with_true_poses(series), images, np.random.default_rng(1))
    assert found.is_certain
    assert len(found.planes.heights_angstrom) == (2 if beads_lie == "on_both" else 1)
    # Beads tell their surface to a few angstrom, bodies the other one to some 5 % of the thickness.
    assert found.fit.z_offset_angstrom == pytest.approx(middle, abs=15 if beads_lie == "on_both" else 60)
    assert found.fit.thickness_angstrom == pytest.approx(1200, rel=0.02 if beads_lie == "on_both" else 0.1)
    assert (found.fit.tilt_x_deg, found.fit.tilt_y_deg) == pytest.approx((2.0, -5.0), abs=0.3)


def test_a_slab_of_noise_is_not_certain():
    fit = SlabFit(900.0, 10.0, 0.0, 0.0, 4.0, 5.0, np.zeros(3), np.zeros(3))
    assert not FoundSpecimen(fit, 0, None, torch.zeros(1, 1, 1), 20.0).is_certain


@pytest.mark.parametrize(("gold", "is_certain"), [(-600.0, True), (0.0, False)])
def test_gold_in_the_middle_of_what_was_found_is_taken_for_its_own_traces(gold, is_certain):
    """Random session 113: 520 A for 2462 A, as all that tilts to 25 degrees showed lay about the gold."""
    fit = SlabFit(1000.0, 0.0, 0.0, 0.0, 1.0, 50.0, np.zeros(3), np.zeros(3))
    planes = BeadPlanes(0.0, 0.0, (gold,))
    found = FoundSpecimen(fit, 18, planes, torch.zeros(1, 1, 1), 20.0)
    assert found.is_certain == is_certain
    assert ("traces of the gold" in found.doubt) != is_certain


def test_small_tilts_tell_little_of_the_depth():
    """Random session 115: 1056 +- 208 A for 510 A from tilts to 8 degrees."""
    assert depth_error_angstrom([-60.0, 0.0, 60.0]) < 20
    assert depth_error_angstrom([-8.0, 0.0, 8.0]) > 200


@pytest.mark.parametrize(("beads_lie", "surface"), [("on_top", 900.0), ("below", -900.0)])
def test_gold_and_transmitted_electrons_tell_the_middle_where_features_do_not(beads_lie, surface):
    """Tilts to 11 degrees do not show how high features lie, but that ice is 1800 A thick."""
    params = SimulationParams(
        seed=5,
        image_shape_yx=(256, 256),
        pixel_size_angstrom=9.0,
        tilt_min_deg=-11.0,
        tilt_max_deg=11.0,
        tilt_step_deg=1.1,
        n_beads=20,
        beads_lie=beads_lie,
        n_particles=12,
        n_vesicles=0,
        n_membranes=0,
        thickness_angstrom=1800.0,
        z_offset_angstrom=0.0,
        pretilt_x_deg=0.0,
        pretilt_y_deg=0.0,
    )
    series, truth = simulate_tilt_series(params)
    images = load_tilt_images(series.stack.images, 9.0, 15.0)
    posed = truth.with_true_poses(series)
    found = find_specimen(posed, images, np.random.default_rng(1))
    assert found.by_transmission
    assert found.is_certain
    (gold,) = found.planes.heights_angstrom
    assert gold == pytest.approx(surface, abs=80)
    assert abs(found.fit.z_offset_angstrom) < 2 * found.fit.middle_error_angstrom
    assert found.fit.middle_error_angstrom < 350
    # Without electrons counted nothing is known.
    levelled = replace(images, mean=np.zeros(len(images.mean)))
    assert not find_specimen(posed, levelled, np.random.default_rng(1)).is_certain


@pytest.mark.parametrize(
    ("below", "above", "side"), [(0.0, 4.0, 1), (5.0, 0.5, -1), (2.0, 2.0, 0), (0.0, 2.0, 0), (9.0, 20.0, 0)]
)
def test_the_ice_lies_where_clearly_more_features_are(below, above, side, monkeypatch):
    monkeypatch.setattr(specimen_middle, "features_beside", lambda *_: (below, above))
    fit = SlabFit(300.0, 10.0, 0.0, 0.0, 1.0, 50.0, np.zeros(3), np.zeros(3))
    ice = TransmittedThickness(1000.0, 200.0)
    seen = specimen_middle._from_gold_inwards(fit, BeadPlanes(0.0, 0.0, (100.0,)), None, ice)
    if side == 0:
        assert seen is None
    else:
        assert seen.z_offset_angstrom == pytest.approx(100.0 + side * 500.0)
        assert seen.middle_error_angstrom == pytest.approx(100.0, abs=3)
    vague = TransmittedThickness(1000.0, 400.0)
    assert specimen_middle._from_gold_inwards(fit, BeadPlanes(0.0, 0.0, (100.0,)), None, vague) is None
