"""Membranes of vesicles are found where they are, close, and give pick_on_surfaces what it needs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cryoloom.algorithms.picking.ridges import half_sphere
from cryoloom.model import Tomogram
from cryoloom.simulate.particles import ParticleModel
from cryoloom.steps.pick_on_surfaces import PickOnSurfacesParams, pick_on_surfaces
from cryoloom.steps.segment_membranes import SegmentMembranesParams, segment_membranes
from makers.context import MemoryContext
from makers.particle_scene import make_scene

RADIUS = 240.0
CENTRES = np.array([[-300.0, -250.0, 20.0], [320.0, 280.0, -40.0]])


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(5)
    toward = rng.normal(size=(12000, 3))
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    leaflet = RADIUS + np.where(rng.random(len(toward)) < 0.5, -18.0, 18.0)
    points = (toward * leaflet[:, None]).astype(np.float32)
    vesicle = ParticleModel("vesicle", points, np.full(len(points), 3.3, np.float32))
    scene = make_scene(
        vesicle,
        len(CENTRES),
        rng,
        shape_yx=(144, 144),
        pixel=10.0,
        tilts_deg=np.arange(-60.0, 61.0, 5.0),
        dose=4.0,
        thickness=700.0,
        positions=CENTRES,
        box_px=96,
    )
    tomogram = Tomogram(scene.series, np.zeros((72, 144, 144), np.float32), 10.0)
    context = MemoryContext()
    made = segment_membranes(tomogram, SegmentMembranesParams(fill_beads=False), context)
    return made, context


def test_points_lie_on_the_membranes_and_cover_them(found):
    made, context = found
    rows = made.rows()
    away = np.linalg.norm(rows.positions_xyz_angstrom[:, None] - CENTRES, axis=2)
    on_it = np.abs(away - RADIUS).min(axis=1) < 30
    assert on_it.mean() > 0.93
    assert abs(np.median(away.min(axis=1)) - RADIUS) < 12
    toward = np.concatenate([half_sphere(200), -half_sphere(200)])
    toward = toward[np.abs(toward[:, 2]) < 0.85]
    tree = cKDTree(rows.positions_xyz_angstrom)
    for centre in CENTRES:
        # Points stand 60 A apart, so every place has one within 60 A where there is a membrane.
        assert (tree.query(centre + RADIUS * toward)[0] < 60).mean() > 0.85
    assert context.figures["n_vesicles"] == 2


def test_normals_of_vesicles_point_outward(found):
    rows = found[0].rows()
    nearest = np.linalg.norm(rows.positions_xyz_angstrom[:, None] - CENTRES, axis=2).argmin(axis=1)
    outward = rows.positions_xyz_angstrom - CENTRES[nearest]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    angle = np.rad2deg(np.arccos(np.clip((outward * rows.prior_directions).sum(axis=1), -1, 1)))
    assert np.median(angle) < 12
    assert np.allclose(rows.rotations[:, :, 2], rows.prior_directions)


def test_surfaces_are_fitted_to_them(found):
    context = MemoryContext()
    params = PickOnSurfacesParams(spacing_angstrom=90.0)
    places = pick_on_surfaces(found[0], params, context).rows().positions_xyz_angstrom
    away = np.abs(np.linalg.norm(places[:, None] - CENTRES, axis=2) - RADIUS).min(axis=1)
    assert context.figures["n_surfaces"] == found[1].figures["n_membranes"]
    # Caps that the missing wedge hides are closed by the fit.
    assert np.median(away) < 15
    assert (np.abs(places[:, 2]) > 0.9 * RADIUS).any()


def test_noise_has_no_membranes():
    rng = np.random.default_rng(8)
    dot = ParticleModel("dot", np.zeros((1, 3), np.float32), np.full(1, 1e-3, np.float32))
    scene = make_scene(
        dot, 1, rng, shape_yx=(96, 96), pixel=10.0, tilts_deg=np.arange(-60.0, 61.0, 6.0), box_px=32
    )
    tomogram = Tomogram(scene.series, np.zeros((60, 96, 96), np.float32), 10.0)
    context = MemoryContext()
    made = segment_membranes(tomogram, SegmentMembranesParams(fill_beads=False), context)
    assert made.n_particles == 0
    assert "no membrane was found" in context.warnings[0]
