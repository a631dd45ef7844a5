"""Beads of an aligned series: all are found, none is invented, and images show them where they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from cryoloom.algorithms.alignment.bead_positions import beads_of_poses, locate_beads
from cryoloom.algorithms.series.bead_maps import bead_maps
from cryoloom.algorithms.series.series_geometry import geometry_of_poses
from cryoloom.algorithms.series.tilt_images import load_tilt_images
from makers.bead_images import DIAMETER, PIXEL, bead_series


@pytest.fixture
def scene(rng):
    series, truth, bare = bead_series(rng)
    poses = [tilt.pose for tilt in series.tilts]
    return series, truth, bare, poses, np.ones(len(poses), bool)


def images_of(pixels):
    return load_tilt_images(pixels, PIXEL, PIXEL)


def test_every_bead_is_found_in_the_specimen_and_in_the_images(scene):
    series, truth, _, poses, usable = scene
    diameter, beads = beads_of_poses(images_of(series.stack.images), poses, usable)
    # Candidates of the diameter stand 18 % apart.
    assert diameter == pytest.approx(DIAMETER, rel=0.2)
    found = beads.points_xyz_angstrom
    assert len(found) == len(truth)
    apart, which = cKDTree(truth).query(found)
    assert sorted(which) == list(range(len(truth)))
    assert apart.max() < PIXEL
    # In the image: what a template of ten pixels tells of a bead of ten times the noise.
    seen = geometry_of_poses(poses).project(truth)[:, which]
    off = np.linalg.norm(beads.seen_xy_angstrom - seen, axis=-1)
    assert np.median(off) < 0.3 * PIXEL
    assert off.max() < 2 * PIXEL


def test_noise_has_no_beads(scene):
    _, _, bare, poses, usable = scene
    _, beads = beads_of_poses(images_of(bare), poses, usable, DIAMETER)
    assert len(beads.points_xyz_angstrom) == 0


def test_a_dark_spot_of_one_image_is_no_bead_and_unused_images_have_positions(scene):
    series, truth, _, poses, usable = scene
    images = np.array(series.stack.images)
    images[8, 70:80, 90:100] -= 60.0
    usable = usable.copy()
    usable[[2, 11]] = False
    images[[2, 11]] = 100.0 + np.random.default_rng(2).normal(0, 5, images[0].shape)
    _, beads = beads_of_poses(images_of(images), poses, usable, DIAMETER)
    assert len(beads.points_xyz_angstrom) == len(truth)
    which = cKDTree(truth).query(beads.points_xyz_angstrom)[1]
    expected = geometry_of_poses(poses).project(truth)[:, which][[2, 11]]
    assert np.linalg.norm(beads.seen_xy_angstrom[[2, 11]] - expected, axis=-1).max() < PIXEL


def test_maps_without_height_give_nothing(scene):
    series, _, _, poses, usable = scene
    maps = bead_maps(images_of(series.stack.images), DIAMETER)
    flat = replace(maps, maps=torch.zeros_like(maps.maps))
    beads = locate_beads(flat, geometry_of_poses(poses), usable)
    assert beads.points_xyz_angstrom.shape == (0, 3)
    assert beads.seen_xy_angstrom.shape == (len(poses), 0, 2)
