"""Boxes cut about particles: where a bead lies in them, and in the volume made of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.averaging.extracted_particles import ParticleCutter, binned_layout
from cryoloom.errors import DataUnfitError
from cryoloom.simulate.particles import ParticleModel
from makers.particle_scene import make_scene

# The bead is 40 A along the specimen's x from the particle's position.
BEAD = np.array([[40.0, 0.0, 0.0]], np.float32)
PLACES = np.array([[-60.0, 40.0, 30.0], [90.0, -70.0, -20.0], [2000.0, 0.0, 0.0]])
TILTS_DEG = np.array([-40.0, -20.0, 0.0, 20.0, 40.0])


@pytest.fixture(scope="module")
def scene():
    model = ParticleModel("bead", BEAD, np.full(1, 3000.0, np.float32))
    return make_scene(
        model, 3, np.random.default_rng(3), shape_yx=(120, 128), pixel=5.0, tilts_deg=TILTS_DEG, dose=0.5,
        noise=0.0, b_factor=800.0, positions=PLACES, rotations=np.tile(np.eye(3), (3, 1, 1)), box_px=48,
        defocus=8000.0,
    )  # fmt: skip


def cutter_of(scene, layout=None, **options):
    layout = layout or binned_layout(5.0, 1.0, 48, 32)
    images, places = scene.series.stack.images, scene.positions_xyz_angstrom
    return ParticleCutter(scene.series, images, places, layout, **options)


def test_a_bead_is_where_its_tilt_projects_it(scene):
    cutter = cutter_of(scene)
    assert cutter.visible[:2].all()
    assert not cutter.visible[2].any()
    for t, particles, images in cutter.images():
        assert particles.tolist() == [0, 1]
        expected = cutter.tilts[t].pose.matrix @ BEAD[0] / 5.0
        for image in images:
            assert image.shape == (32, 32)
            # Multiplied by the CTF a bead is bright.
            y, x = np.unravel_index(np.argmax(image), image.shape)
            assert_allclose([x - 16, y - 16], expected[:2], atol=1.1)


def test_the_volume_has_the_bead_in_the_particle_s_own_axes(scene):
    # The volume's x axis is the specimen's y: the bead lies at -y.
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    frames = np.stack([np.eye(3), quarter, np.eye(3)])
    (made,) = list(cutter_of(scene).volumes(frames))
    assert made.particles.tolist() == [0, 1]
    assert made.volumes.shape == (2, 32, 32, 32)
    assert made.weights.shape == (2, 64, 32, 17)
    places = [np.array(np.unravel_index(np.argmax(one), one.shape)) - 16 for one in made.volumes]
    assert_allclose(places[0], [0, 0, 8], atol=1)
    assert_allclose(places[1], [0, -8, 0], atol=1)


def test_particles_left_out_and_late_tilts_are_not_cut(scene):
    cutter = cutter_of(scene, max_dose_per_angstrom2=1.5)
    assert len(cutter.tilts) == 3
    cutter.leave_out(np.array([True, False, False]))
    assert {tuple(particles) for _, particles, _ in cutter.images()} == {(1,)}


def test_layouts_are_even_and_crops_lie_within():
    layout = binned_layout(2.0, 3.0, 40, 32)
    assert (layout.cut_px, layout.box_px, layout.crop_px) == (120, 40, 32)
    assert layout.pixel_size_angstrom == 6.0
    for box, crop in ((41, 32), (40, 31), (40, 48)):
        with pytest.raises(DataUnfitError, match="expected even sizes, the crop within the box"):
            binned_layout(2.0, 1.0, box, crop)


def test_a_box_larger_than_the_images_is_refused(scene):
    with pytest.raises(DataUnfitError, match="choose a smaller box_px"):
        cutter_of(scene, binned_layout(5.0, 4.0, 48))
