"""Weighted back-projection: what a tomogram of known projections must be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cryoloom.algorithms.images.radial_filter import RadialFilter
from cryoloom.algorithms.reconstruction.back_projection import plan_back_projection
from cryoloom.algorithms.series.aligned_images import pose_affine, sample_aligned, spline_image
from cryoloom.geometry.projection import project
from cryoloom.model import Pose

PIXEL = 2.0


def gaussian_images(points_xyz, sigma, poses, shape):
    """Line integrals, per ``PIXEL``, of Gaussians of height 1; sigma and points in angstrom."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    images = []
    for pose in poses:
        seen = project(points_xyz, pose.matrix[None], np.zeros((1, 2)))[0] * pose.magnification
        seen = (seen + pose.shift_xy_angstrom) / PIXEL + (shape[1] // 2, shape[0] // 2)
        width = sigma * pose.magnification / PIXEL
        bumps = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * width**2)) for px, py in seen]
        images.append(np.sqrt(2 * np.pi) * sigma / PIXEL * np.sum(bumps, axis=0))
    return np.array(images, dtype=np.float32)


def back_projected(images, poses, volume_shape, binning, cutoff=0.45, **radial):
    """Volume, in the units of the images per voxel, by the same calls as the step's."""
    image_shape = images.shape[1:]
    n_columns = 2 * int(np.hypot(*image_shape) / binning / 2) + 2
    n_y = volume_shape[1]
    plan = plan_back_projection(
        volume_shape,
        n_columns,
        [pose.tilt_deg for pose in poses],
        [pose.x_tilt_deg for pose in poses],
        RadialFilter(cutoff, 0.05, **radial),
    )
    halo = plan.halo_rows
    aligned = torch.empty((len(poses), n_y + 2 * halo, n_columns))
    for i, pose in enumerate(poses):
        knots = spline_image(torch.from_numpy(images[i]), (binning, binning))
        affine = pose_affine(
            image_shape,
            tuple(knots.shape),
            (n_y, n_columns),
            binning,
            axis_deg=pose.axis_deg,
            tilt_deg=pose.tilt_deg,
            x_tilt_deg=pose.x_tilt_deg,
            shift_xy_px=(pose.shift_xy_angstrom[0] / PIXEL, pose.shift_xy_angstrom[1] / PIXEL),
            magnification=pose.magnification,
        )
        aligned[i] = sample_aligned(knots, affine, -halo, n_y + 2 * halo, n_columns)
    starts = range(0, n_y, 32)
    sizes = [min(32, n_y - start) for start in starts]
    strips = [
        plan.strip(aligned[:, start : start + size + 2 * halo], size)
        for start, size in zip(starts, sizes, strict=True)
    ]
    return torch.cat(strips, dim=1).numpy()


def random_poses(tilts, axis_deg, x_tilt_deg, rng):
    """Poses with shifts of 20 A, and half a degree and 0.3 % of scatter in axis and magnification."""
    return [
        Pose(
            axis_deg + 0.5 * rng.standard_normal(),
            float(tilt),
            x_tilt_deg,
            tuple(20 * rng.standard_normal(2)),
            1 + 0.003 * rng.standard_normal(),
        )
        for tilt in tilts
    ]


# Not symmetric under any mirror or exchange of axes, and apart from each other.
POINTS = np.array(
    [[50.0, 20, 15], [-40, 35, -20], [-55, -45, 10], [20, -50, -15], [0, 5, 20], [45, -15, -22]]
)


def local_figures(volume, points_px, sigma_px):
    """Offset of each Gaussian's centre (xyz, voxels) and its height, by least squares."""
    z, y, x = np.mgrid[: volume.shape[0], : volume.shape[1], : volume.shape[2]]
    grid = np.stack([x, y, z], axis=-1)
    offsets, heights = [], []
    for point in points_px:
        from_centre = grid - point
        near = (from_centre**2).sum(axis=-1) < (2.5 * sigma_px) ** 2
        bump = np.exp(-(from_centre[near] ** 2).sum(axis=-1) / (2 * sigma_px**2))
        # A bump moved by d changes by bump * r . d / sigma^2.
        design = np.concatenate([bump[:, None], bump[:, None] * from_centre[near] / sigma_px**2], axis=1)
        height, *moved = np.linalg.lstsq(design, volume[near], rcond=None)[0]
        heights.append(height)
        offsets.append(np.array(moved) / height)
    return np.array(offsets), np.array(heights)


@pytest.mark.parametrize(("axis_deg", "x_tilt_deg"), [(85.0, 0.0), (-3.0, 0.0), (85.0, 6.0), (-95.0, -4.0)])
def test_gaussians_have_their_place_and_height_from_a_full_range(axis_deg, x_tilt_deg, rng):
    binning, shape, sigma = 2.0, (40, 50, 64), 1.7
    poses = random_poses(np.arange(-90, 90, 2.0), axis_deg, x_tilt_deg, rng)
    images = gaussian_images(POINTS, sigma * PIXEL * binning, poses, (120, 121))
    # Integrals over voxels of 4 A, not over pixels of 2 A.
    volume = back_projected(images / binning, poses, shape, binning)
    points_px = POINTS / (PIXEL * binning) + [shape[2] // 2, shape[1] // 2, shape[0] // 2]
    offsets, heights = local_figures(volume, points_px, sigma)
    np.testing.assert_allclose(offsets, 0, atol=0.03)
    np.testing.assert_allclose(heights, 1, rtol=0.02)


def test_uneven_tilts_and_a_delta_give_the_object_back(rng):
    # Steps of 0.5 to 2 degrees over the whole range: increments make up for the spacing.
    tilts = np.cumsum(rng.uniform(0.5, 2.0, 300))
    tilts = tilts[tilts < 180] - 90
    poses = random_poses(tilts, 85.0, 0.0, rng)
    shape, sigma = (40, 50, 64), 1.7
    images = gaussian_images(POINTS, sigma * PIXEL * 2, poses, (120, 121))
    volume = back_projected(images / 2, poses, shape, 2.0)
    points_px = POINTS / (PIXEL * 2) + [shape[2] // 2, shape[1] // 2, shape[0] // 2]
    offsets, heights = local_figures(volume, points_px, sigma)
    np.testing.assert_allclose(offsets, 0, atol=0.04)
    np.testing.assert_allclose(heights, 1, rtol=0.03)


def test_one_direction_smears_its_filtered_image_along_the_beam(rng):
    # Two equal views are one: the volume is the ramp-filtered image at every height, halved by nothing.
    plan = plan_back_projection((9, 32, 40), 42, [0.0, 0.0], [0.0, 0.0], RadialFilter(0.5, 0.05, 0, 9.0))
    rows = torch.zeros((2, 32, 42))
    rows[:, :, 21] = 1.0
    volume = plan.strip(rows, 32).numpy()
    np.testing.assert_allclose(volume, np.broadcast_to(volume[:1, :1], volume.shape), atol=1e-6)
    # Exact weights of one direction are flat, one over the thickness: a delta stays a delta.
    expected = np.zeros(40)
    expected[20] = 1 / 9
    # The Gaussian beyond Nyquist and the inverse of linear interpolation leave a ripple.
    np.testing.assert_allclose(volume[0, 0], expected, atol=0.02)


def test_a_limited_range_keeps_places_and_the_measured_part_of_the_height(rng):
    binning, shape, sigma = 2.0, (40, 50, 64), 1.7
    poses = random_poses(np.arange(-60, 61, 3.0), 85.0, 0.0, rng)
    images = gaussian_images(POINTS[:4], sigma * PIXEL * binning, poses, (120, 121))
    volume = back_projected(images / binning, poses, shape, binning)
    points_px = POINTS[:4] / (PIXEL * binning) + [shape[2] // 2, shape[1] // 2, shape[0] // 2]
    offsets, heights = local_figures(volume, points_px, sigma)
    np.testing.assert_allclose(offsets[:, :2], 0, atol=0.1)
    # Neighbours' wedges lean on each other along z.
    np.testing.assert_allclose(offsets[:, 2], 0, atol=0.2)
    # 123 of 180 degrees of Fourier space are measured: 0.68 of an isotropic bump's height.
    np.testing.assert_allclose(heights, 123 / 180, rtol=0.09)


def test_a_flat_field_gives_a_flat_tomogram_without_edges(rng):
    # Images that end inside the volume, at an offset: their border must not streak.
    poses = random_poses(np.arange(-60, 61, 6.0), 85.0, 0.0, rng)
    volume = back_projected(np.full((21, 90, 90), 0.3, np.float32), poses, (16, 40, 60), 2.0)
    # A bump of 0.3 spread over 16 voxels would be 0.02 each; a bare border gives 0.06.
    assert np.abs(volume).max() < 0.02


def test_a_short_filter_between_columns_is_as_good_as_longer_transforms(rng):
    tilts = np.linspace(-60, 60, 7)
    plan = plan_back_projection((20, 40, 96), 96, tilts, [0.0] * 7, RadialFilter(0.35, 0.05))
    assert plan.taps is not None
    rows = torch.from_numpy(rng.standard_normal((7, 40, 96)).astype(np.float32))
    short, long = (
        torch.cat([strip.clone() for strip in one.strips(rows, 0)], dim=1)
        for one in (plan, replace(plan, taps=None))
    )
    assert float((short - long).std() / long.std()) < 0.005


def test_detail_near_half_a_cycle_is_made_finer_by_transforms():
    plan = plan_back_projection((20, 40, 96), 96, [0.0, 30.0], [0.0] * 2, RadialFilter(0.5, 0.05))
    assert plan.taps is None
