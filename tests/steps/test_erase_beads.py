"""erase_beads: beads are found where they are, vanish, and leave the rest and the noise as they were."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cryoloom.algorithms.alignment.bead_positions import locate_beads
from cryoloom.algorithms.images.undistorted_images import undistorted
from cryoloom.algorithms.series.bead_maps import bead_maps
from cryoloom.algorithms.series.series_geometry import geometry_of_poses
from cryoloom.algorithms.series.tilt_images import load_tilt_images
from cryoloom.errors import DataUnfitError
from cryoloom.model import ImageWarp, Stack
from cryoloom.steps.erase_beads import EraseBeadsParams, erase_beads
from makers.bead_images import DIAMETER, PIXEL, bead_series


def test_beads_are_located(rng):
    series, truth, _ = bead_series(rng)
    images = load_tilt_images(series.stack.images, PIXEL, PIXEL)
    geometry = geometry_of_poses([tilt.pose for tilt in series.tilts])
    found = locate_beads(bead_maps(images, DIAMETER), geometry, np.ones(len(series.tilts), dtype=bool))
    distance = np.linalg.norm(found.points_xyz_angstrom[:, None] - truth[None], axis=-1)
    assert len(found.points_xyz_angstrom) == len(truth)
    assert distance.min(axis=0).max() < 10.0  # a pixel, in depth, where two beads are close
    seen = geometry.project(truth)[:, distance.argmin(axis=1)]
    half = np.array(series.stack.shape_yx)[::-1] * PIXEL / 2 - DIAMETER
    inside = (np.abs(seen) < half).all(axis=-1)
    assert np.abs(found.seen_xy_angstrom - seen)[inside].max() < 0.2 * DIAMETER


@pytest.mark.parametrize("seed", [1, 2])
def test_beads_vanish_and_nothing_else_changes(seed, context):
    rng = np.random.default_rng(seed)
    series, truth, bare = bead_series(rng)
    after = erase_beads(series, EraseBeadsParams(bead_diameter_angstrom=DIAMETER), context)
    assert context.figures["n_beads"] == len(truth)
    # 8 beads in 17 images: the mean of as many discs of bare noise is as far from zero.
    assert abs(context.figures["bead_contrast_left_percent"]) < 4.0
    geometry = geometry_of_poses([tilt.pose for tilt in series.tilts])
    y, x = np.mgrid[: series.stack.shape_yx[0], : series.stack.shape_yx[1]]
    cores, bare_cores = [], []
    for image, before, empty, places in zip(
        after.stack.images, series.stack.images, bare, geometry.project(truth) / PIXEL, strict=True
    ):
        centre = np.array(image.shape)[::-1] // 2
        distance = np.min([np.hypot(x - px, y - py) for px, py in places + centre], axis=0)
        far = distance * PIXEL > context.figures["erased_radius_angstrom"] + 40
        np.testing.assert_array_equal(image[far], before[far])
        core = distance * PIXEL < DIAMETER / 2
        smooth = np.polynomial.polynomial.polyfit(x[far], empty[far], 1)
        cores.append((image - smooth[0] - smooth[1] * x)[core])
        bare_cores.append((empty - smooth[0] - smooth[1] * x)[core])
    cores, bare_cores = np.concatenate(cores), np.concatenate(bare_cores)
    assert abs(cores.mean()) < 0.15 * bare_cores.std()
    # A disc's level is fitted to noise (3 %), and discs of beads side by side overlap.
    assert cores.std() / bare_cores.std() == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(after.stack.images, after.stack.even + after.stack.odd, atol=1e-3)


def test_a_local_displacement_is_followed(rng, context):
    """Images that wobble by 40 A more on one side than on the other, another way in every tilt."""
    series, truth, _ = bead_series(rng, n_beads=5, n_tilts=11)
    extent = (series.stack.shape_yx[1] * PIXEL, series.stack.shape_yx[0] * PIXEL)
    tilts, images = [], []
    for tilt, image in zip(series.tilts, series.stack.images, strict=True):
        corners = rng.normal(0, 40, (2, 2, 2))
        warp = ImageWarp.of_controls(np.repeat(np.repeat(corners, 2, axis=0), 2, axis=1), extent)
        opposite = ImageWarp.of_controls(-warp.controls, extent)
        # What is at p goes to p + d(p): the image there is that of p + d - d(p + d), 1 A off at most.
        images.append(undistorted(torch.from_numpy(image), opposite, PIXEL).numpy())
        tilts.append(replace(tilt, pose=replace(tilt.pose, warp=warp)))
    rigid = replace(series, stack=Stack(np.stack(images), PIXEL))
    bent = replace(rigid, tilts=tuple(tilts))
    left = []
    for one in (rigid, bent):
        after = erase_beads(one, EraseBeadsParams(bead_diameter_angstrom=DIAMETER), context)
        left.append(_darkest(after, bent, truth) / _darkest(rigid, bent, truth))
    assert context.figures["n_beads"] == len(truth)
    assert left[1] < 0.06
    assert left[0] > 3 * left[1]


def _darkest(series, bent, points):
    """Mean darkness of the images where beads are, those in the field, against the images' median."""
    dark = []
    for image, tilt in zip(series.stack.images, bent.tilts, strict=True):
        geometry = geometry_of_poses([tilt.pose])
        places = geometry.project(points)[0]
        places = np.rint((places + tilt.pose.warp.displacement(places)) / PIXEL).astype(int)
        x, y = (places + np.array(image.shape)[::-1] // 2).T
        inside = (x > 8) & (y > 8) & (x < image.shape[1] - 8) & (y < image.shape[0] - 8)
        for row, column in zip(y[inside], x[inside], strict=True):
            around = image[row - 8 : row + 9, column - 8 : column + 9]
            dark.append(np.median(around) - image[row - 2 : row + 3, column - 2 : column + 3].mean())
    return float(np.mean(dark))


def test_the_radius_covers_the_fringes(rng, context):
    series, _, _ = bead_series(rng)
    erase_beads(series, EraseBeadsParams(bead_diameter_angstrom=DIAMETER), context)
    # The bright fringe lies at 1.3 radii and is 0.17 wide: flat from about 1.6.
    assert 70 <= context.figures["erased_radius_angstrom"] <= 100


def test_weighted_images_are_treated_alike(rng, context):
    series, _, _ = bead_series(rng, n_beads=3, n_tilts=9, weighted=True)
    after = erase_beads(series, EraseBeadsParams(bead_diameter_angstrom=DIAMETER), context)
    changed = after.stack.images != series.stack.images
    assert ((after.weighted.images != series.weighted.images) == changed).mean() > 0.9
    assert after.weighted.even is not None


def test_without_beads_nothing_happens(rng, context):
    series, _, bare = bead_series(rng, n_beads=1, n_tilts=9)
    series = replace(series, stack=Stack(bare, PIXEL))
    after = erase_beads(series, EraseBeadsParams(bead_diameter_angstrom=DIAMETER), context)
    assert after is series
    assert any("no gold bead" in warning for warning in context.warnings)


def test_an_alignment_is_needed(rng, context):
    series, _, _ = bead_series(rng, n_beads=1, n_tilts=9)
    unaligned = series.with_tilts({t.acquisition_index: {"pose": None} for t in series.tilts})
    with pytest.raises(DataUnfitError, match="align_series first"):
        erase_beads(unaligned, EraseBeadsParams(), context)
