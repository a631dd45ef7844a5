"""Local motion: a bending field is found, and undone better than a shift of the whole frame can."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.testing import assert_allclose

from cryoloom.algorithms.motion.frame_motion import MotionSettings
from cryoloom.algorithms.motion.local_motion import LocalMotion, add_undistorted
from cryoloom.algorithms.motion.movie_alignment import MovieAligner
from cryoloom.algorithms.motion.trajectory_prior import TrajectoryPrior
from cryoloom.geometry.spline_basis import cubic_spline_transfer

SHAPE = (240, 256)
N_FRAMES = 6


def shrinking_movie(rng):
    """Frames of spots that move towards the centre, at the borders by 2 pixels, and the same at rest."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    centres = rng.uniform(4, np.array(SHAPE) - 4, (120, 2))
    frames = []
    for i in (*range(N_FRAMES), None):
        strength = 0.0 if i is None else (i + 0.5) / N_FRAMES - 0.5
        image = np.ones(SHAPE)
        for cy, cx in centres:
            my, mx = (c - strength * 4.0 * (c / n - 0.5) for c, n in zip((cy, cx), SHAPE, strict=True))
            top, left = int(max(0, my - 9)), int(max(0, mx - 9))
            near = (slice(top, top + 19), slice(left, left + 19))
            image[near] -= 0.7 * np.exp(-((y[near] - my) ** 2 + (x[near] - mx) ** 2) / 6)
        expected = 40 * np.clip(image, 0.05, 1)
        frames.append(expected if i is None else rng.poisson(expected).astype(np.float32))
    return frames[:-1], frames[-1]


def test_a_bending_field_is_found_and_undone(rng):
    frames, rest = shrinking_movie(rng)
    settings = MotionSettings(8.0, 60.0, 2.5, 60.0, 0.01)
    prior = TrajectoryPrior(3.0, 1.0, 0.2)
    with ThreadPoolExecutor(2) as pool:
        made = [
            MovieAligner(SHAPE, 1.0, None, settings, pool, local_grid_xyt=grid).align(frames, prior, rng)
            for grid in (None, (3, 3, 2))
        ]
    found = made[1].local.displacement(N_FRAMES, 0, np.array([0.15, 0.85]), np.array([0.15, 0.85]))
    # At the first frame things are further out by 0.417 * 4 * 0.35 = 0.58 px; patches know that to about 0.1.
    assert_allclose(found[..., 0], [[-0.58, -0.58], [0.58, 0.58]], atol=0.25)
    assert_allclose(found[..., 1], [[-0.58, 0.58], [-0.58, 0.58]], atol=0.25)
    whole, local = (m.sums.images for m in made)
    assert_allclose(local.mean(), whole.mean(), rtol=2e-3)
    likeness = [
        np.corrcoef(image[8:-8, 8:-8].ravel(), rest[8:-8, 8:-8].ravel())[0, 1] for image in (whole, local)
    ]
    assert likeness[1] > likeness[0] + 0.005


def test_where_nothing_moves_locally_nothing_is_found(rng):
    _, rest = shrinking_movie(rng)
    frames = [rng.poisson(rest).astype(np.float32) for _ in range(N_FRAMES)]
    settings = MotionSettings(8.0, 60.0, 2.5, 60.0, 0.01)
    with ThreadPoolExecutor(2) as pool:
        aligner = MovieAligner(SHAPE, 1.0, None, settings, pool, local_grid_xyt=(3, 3, 2))
        made = aligner.align(frames, TrajectoryPrior(3.0, 1.0, 0.2), rng)
    at = np.linspace(0.05, 0.95, 9)
    # Patches by themselves are uncertain to 0.1 px; that none of them moved is what all together tell.
    assert np.abs(made.local.displacement(N_FRAMES, 0, at, at)).max() < 0.05


def test_no_displacement_leaves_the_frame(rng):
    image = rng.standard_normal((64, 60)).astype(np.float32)
    transfer = np.outer(cubic_spline_transfer(64), cubic_spline_transfer(60)[:31])
    weights = np.fft.irfft2(np.fft.rfft2(image) / transfer, s=image.shape).astype(np.float32)
    total = np.ones_like(image)
    with ThreadPoolExecutor(2) as pool:
        add_undistorted(total, weights, LocalMotion(np.zeros((2, 3, 3, 2))), 4, 1, (1.0, 1.0), pool)
    assert_allclose(total - 1, image, atol=1e-4)
