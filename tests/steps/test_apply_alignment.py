"""apply_alignment: points come to lie where poses without axis and shift expect them."""

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Ctf, Exclusion, ImageWarp, Microscope, Pose, Stack, Tilt, TiltSeries
from cryoloom.steps.apply_alignment import ApplyAlignmentParams, apply_alignment

PIXEL = 4.0
POINTS = np.array([[120.0, -90.0, 60.0], [-150.0, 60.0, -40.0], [30.0, 130.0, 0.0]])
HEIGHTS = np.array([1.0, 2.0, 3.0])


def make_series(axis=85.3, shape=(160, 200), x_tilt=0.0):
    """Three Gaussian blobs seen by poses with axis, shift and magnification; a halves pair that adds up."""
    tilts, images = [], np.full((3, *shape), 50.0, np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for i, angle in enumerate((-30.0, 0.0, 30.0)):
        pose = Pose(axis + i, angle, x_tilt, (30.0 * i - 20.0, 25.0 - 10.0 * i), 1.0 + 0.01 * i)
        tilts.append(Tilt(i, angle, 3.0 * i, 3.0 * i + 3, section=i, pose=pose, ctf=Ctf(3e4, 2.9e4, 30.0)))
        for point, height in zip(POINTS, HEIGHTS, strict=True):
            seen = pose.magnification * (pose.matrix @ point)[:2] + pose.shift_xy_angstrom
            at_x, at_y = seen / PIXEL + [shape[1] // 2, shape[0] // 2]
            images[i] += height * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * 3.0**2))
    stack = Stack(images, PIXEL, images * 0.4, images * 0.6)
    return TiltSeries("TS", Microscope(), PIXEL, tuple(tilts), stack=stack)


def centroids(image, pose, pixel_size):
    """Where the blobs are, in angstrom from the centre, looked for about where the pose expects them."""
    found = []
    for point in POINTS:
        expected = (pose.matrix @ point)[:2]
        index = np.rint(expected[::-1] / pixel_size).astype(int) + np.array(image.shape) // 2
        reach = round(48 / pixel_size)
        cut = image[tuple(slice(i - reach, i + reach + 1) for i in index)] - 50.0
        offset = np.arange(-reach, reach + 1)
        at = np.array([cut.sum(0) @ offset, cut.sum(1) @ offset]) / cut.sum()
        found.append((index[::-1] - np.array(image.shape)[::-1] // 2 + at) * pixel_size)
    return np.array(found)


@pytest.mark.parametrize("shape", [(160, 200), (161, 201)])
@pytest.mark.parametrize(
    ("axis", "binning", "x_tilt"), [(85.3, 1.0, 0.0), (-4.0, 2.0, 0.0), (175.0, 1.5, 2.0)]
)
def test_points_lie_where_the_upright_poses_say(context, shape, axis, binning, x_tilt):
    series = make_series(axis, shape, x_tilt)
    after = apply_alignment(series, ApplyAlignmentParams(binning=binning), context)
    for tilt, was in zip(after.tilts, series.tilts, strict=True):
        assert tilt.pose == Pose(0.0, was.pose.tilt_deg, was.pose.x_tilt_deg)
        found = centroids(after.stack.images[tilt.section], tilt.pose, after.stack.pixel_size_angstrom)
        expected = (POINTS @ tilt.pose.matrix.T)[:, :2]
        np.testing.assert_allclose(found, expected, atol=0.25)  # a sixteenth of a pixel
    across = abs(np.sin(np.deg2rad(axis))) > 0.7
    sides = shape[::-1] if across else shape
    assert after.stack.shape_yx == tuple(2 * round(n / binning / 2) for n in sides)
    np.testing.assert_allclose(after.stack.images, after.stack.even + after.stack.odd, atol=1e-3)
    assert 60 < context.figures["covered_percent"] <= 100


def test_astigmatism_turns_along_and_movies_are_left_behind(context):
    after = apply_alignment(make_series(), ApplyAlignmentParams(), context)
    assert after.tilts[0].ctf.astigmatism_angle_deg == pytest.approx((30.0 - 85.3) % 180)
    assert after.tilts[0].movie is None
    assert after.tilt_axis_deg.applied == 0.0


def test_every_tilt_needs_a_pose(context):
    series = make_series()
    with pytest.raises(DataUnfitError, match="1 tilts have no pose"):
        apply_alignment(series.with_tilts({1: {"pose": None}}), ApplyAlignmentParams(), context)
    excluded = series.with_tilts({1: {"pose": None, "exclusion": Exclusion.by_user("dark")}})
    after = apply_alignment(excluded, ApplyAlignmentParams(), context)
    assert after.tilts[1].pose is None
    assert np.isfinite(after.stack.images).all()


def test_a_tomogram_of_aligned_images_is_that_of_the_raw_ones(context):
    from cryoloom.steps.reconstruct import ReconstructParams, reconstruct

    series = make_series(axis=85.3)
    params = ReconstructParams(binning=1, thickness_angstrom=320, width_angstrom=400, length_angstrom=400)
    raw = np.array(reconstruct(series, params, context).volume)
    aligned = apply_alignment(series, ApplyAlignmentParams(), context)
    again = np.array(reconstruct(replace(aligned), params, context).volume)
    assert np.corrcoef(raw.ravel(), again.ravel())[0, 1] > 0.995


def test_a_local_alignment_is_undone(rng, context):
    """Blobs displaced by the poses' warps come to lie where the upright poses say, and no warp is left."""
    series = make_series(85.3, (160, 200))
    y, x = np.mgrid[:160, :200]
    images, changes = np.full((3, 160, 200), 50.0, np.float32), {}
    for i, tilt in enumerate(series.tilts):
        warp = ImageWarp.of_controls(rng.normal(0, 12, (3, 3, 2)), (200 * PIXEL, 160 * PIXEL))
        changes[i] = {"pose": replace(tilt.pose, warp=warp)}
        for point, height in zip(POINTS, HEIGHTS, strict=True):
            seen = tilt.pose.magnification * (tilt.pose.matrix @ point)[:2] + tilt.pose.shift_xy_angstrom
            at_x, at_y = (seen + warp.displacement(seen[None])[0]) / PIXEL + [100, 80]
            images[i] += height * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * 3.0**2))
    warped = replace(series.with_tilts(changes), stack=Stack(images, PIXEL))
    after = apply_alignment(warped, ApplyAlignmentParams(), context)
    for tilt in after.tilts:
        assert tilt.pose.warp is None
        found = centroids(after.stack.images[tilt.section], tilt.pose, PIXEL)
        # Blobs lose their shape a little where the displacement has a gradient.
        np.testing.assert_allclose(found, (POINTS @ tilt.pose.matrix.T)[:, :2], atol=1.2)
    rigid = apply_alignment(replace(warped, tilts=series.tilts), ApplyAlignmentParams(), context)
    far = (
        centroids(rigid.stack.images[0], after.tilts[0].pose, PIXEL)
        - (POINTS @ after.tilts[0].pose.matrix.T)[:, :2]
    )
    assert np.hypot(*far.T).max() > 5
