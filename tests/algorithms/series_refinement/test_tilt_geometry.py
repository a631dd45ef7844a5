"""The geometry of a series returns from displacements of its particles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.series_refinement.shift_scores import ShiftScores
from cryoloom.algorithms.series_refinement.tilt_geometry import (
    design_of,
    held_out_values,
    refined_pose,
    solve_geometry,
)
from cryoloom.geometry.projection import project
from cryoloom.model import ImageWarp, Pose

EXTENT = (2000.0, 1800.0)
TILTS_DEG = np.arange(-50.0, 51.0, 20.0)


def seen(pose, positions):
    rigid = project(positions, pose.magnification * pose.matrix[None], [pose.shift_xy_angstrom])[0]
    return rigid if pose.warp is None else rigid + pose.warp.displacement(rigid)


def scores_of(displaced, sharpness=0.5, spacing=0.5, reach=16):
    """Gaussian peaks of the likelihood, 4 A wide, at displacements ``(n, tilt, 2)``."""
    from scipy.ndimage import spline_filter1d

    axis = spacing * np.arange(-reach - 2, reach + 3)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    away = (x - displaced[..., 0, None, None]) ** 2 + (y - displaced[..., 1, None, None]) ** 2
    values = 16.0 * sharpness * np.exp(-away / 32.0)
    for one in (2, 3):
        values = spline_filter1d(values, order=3, axis=one, mode="mirror")
    information = np.broadcast_to(sharpness * np.eye(2), (*displaced.shape[:2], 2, 2))
    return ShiftScores(values.astype(np.float32), spacing, information)


@pytest.fixture(scope="module")
def wrong():
    rng = np.random.default_rng(5)
    positions = rng.uniform(-1, 1, (40, 3)) * np.array([900.0, 800.0, 150.0])
    poses = [Pose(80.0, float(t), 0.0, (10.0, -5.0)) for t in TILTS_DEG]
    true = [
        replace(
            pose,
            tilt_deg=pose.tilt_deg + float(rng.normal(0, 0.05)),
            axis_deg=pose.axis_deg + float(rng.normal(0, 0.05)),
            shift_xy_angstrom=tuple(float(v) for v in np.array([10.0, -5.0]) + rng.normal(0, 2.0, 2)),
            warp=ImageWarp.of_controls(rng.normal(0, 1.0, (3, 3, 2)), EXTENT),
        )
        for pose in poses
    ]
    displaced = np.stack(
        [seen(b, positions) - seen(a, positions) for a, b in zip(poses, true, strict=True)], axis=1
    )
    return poses, positions, displaced


def test_the_design_is_the_derivative_of_the_projection(wrong):
    poses, positions, _ = wrong
    design = design_of(poses, positions, EXTENT, 3)
    rng = np.random.default_rng(7)
    parameters = rng.normal(0, 1, design.prior_sd.shape) * design.prior_sd * 0.3
    moved = refined_pose(poses[2], design, parameters)
    linear = design.per_tilt[2] @ parameters
    # Second order in a tenth of a degree over 1000 A, and warps rounded to a hundredth.
    assert_allclose(seen(moved, positions) - seen(poses[2], positions), linear, atol=0.05)


def test_all_groups_together_explain_what_moved(wrong):
    poses, positions, displaced = wrong
    scores, design = scores_of(displaced), design_of(poses, positions, EXTENT, 3)
    used = ("image shifts", "stage angles", "magnification", "image warp")
    found = solve_geometry(scores, design, used)
    left = displaced - np.einsum("tnap,tp->nta", design.per_tilt, found.parameters)
    left -= np.einsum("tab,nb->nta", design.projection, found.displacements_xyz_angstrom)
    assert np.sqrt((displaced**2).mean()) > 1.5
    # Priors hold a few hundredths of the displacement back.
    assert np.sqrt((left**2).mean()) < 0.15
    shifts = solve_geometry(scores, design, ("image shifts",))
    assert found.values.sum() > shifts.values.sum()


def test_groups_are_distinguished_by_particles_left_out(wrong):
    poses, positions, displaced = wrong
    rng = np.random.default_rng(8)
    folds = np.arange(len(positions)) % 4
    design = design_of(poses, positions, EXTENT, 3)
    noisy = scores_of(displaced + rng.normal(0, 1.0, displaced.shape))
    nothing = held_out_values(noisy, design, (), folds).sum()
    shifts = held_out_values(noisy, design, ("image shifts",), folds).sum()
    warp = held_out_values(noisy, design, ("image shifts", "image warp"), folds).sum()
    assert nothing < shifts < warp
    # Displacements without any order are not explained by a warp fitted to other particles.
    chance = scores_of(rng.normal(0, 2.0, displaced.shape))
    nothing = held_out_values(chance, design, (), folds).sum()
    assert held_out_values(chance, design, ("image shifts", "image warp"), folds).sum() < nothing


def test_a_warp_is_added_to_one_that_was_there(wrong):
    poses, positions, _ = wrong
    rng = np.random.default_rng(9)
    before = ImageWarp.of_controls(rng.normal(0, 1, (4, 4, 2)), EXTENT)
    pose = replace(poses[0], warp=before)
    design = design_of([pose], positions, EXTENT, 3)
    parameters = np.zeros(len(design.prior_sd))
    parameters[6:] = rng.normal(0, 1, 18)
    moved = refined_pose(pose, design, parameters)
    change = seen(moved, positions) - seen(pose, positions)
    # Two splines of different controls are one of the finer ones to a tenth of an angstrom.
    assert_allclose(change, design.per_tilt[0] @ parameters, atol=0.25)
