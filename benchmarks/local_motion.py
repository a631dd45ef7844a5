"""The local model of motion against the truth: what it gains where motion differs, and costs where not.

Simulated movies (1024 x 1024 at 2.7 A, 8 frames of 3 e/A^2, four tilts, beads or none) whose ice domes by
0, 3 or 8 A rms in the first exposure. Prints the rms error in angstrom of the motion all over the field,
with whole frames corrected only and with the local model, and seconds a movie of both.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cryoloom.algorithms.motion.movie_alignment import MovieAligner
from cryoloom.algorithms.motion.trajectory_prior import TrajectoryPrior, learn_prior
from cryoloom.formats.pixels.movie import open_movie
from cryoloom.model import TiltSeries
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.truth import TiltTruth, Truth
from cryoloom.steps.align_frames import AlignFramesParams, motion_settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.simulated_movies import FLAWLESS_CAMERA, simulated_movies

POINTS = np.linspace(0.05, 0.95, 10)  # over the field, along y and x


def true_motion(tilt: TiltTruth) -> np.ndarray:
    """Displacement of a grid of points in angstrom, ``(frame, y, x, 2)``, less its mean over frames."""
    whole = np.array(tilt.frame_shifts_yx_angstrom)[:, None, None]
    motion = np.broadcast_to(whole, (len(whole), len(POINTS), len(POINTS), 2))
    if tilt.local_motion is not None:
        at = 2 * POINTS - 1
        local = [tilt.local_motion.displacement_yx_angstrom(i, at, at) for i in range(len(whole))]
        motion = motion + np.array(local)
    return motion - motion.mean(axis=0)


def errors_and_seconds(
    series: TiltSeries, truth: Truth, grid_xyt: tuple[int, int, int] | None
) -> tuple[float, float, float]:
    """Rms error over tilts, frames, points and axes; the same of the least tilted movie; seconds a movie."""
    pixel = series.pixel_size_angstrom
    prior = start = TrajectoryPrior.start(pixel)
    measured, squares, seconds = [], [], []
    with ThreadPoolExecutor(2) as pool:
        settings = motion_settings(pixel, AlignFramesParams())
        shape = series.tilts[0].movie.shape_yx  # type: ignore[union-attr]
        aligner = MovieAligner(shape, 1.0, None, settings, pool, local_grid_xyt=grid_xyt)
        for tilt in sorted(series.tilts, key=lambda t: abs(t.nominal_tilt_deg)):
            movie = open_movie(tilt.movie)  # type: ignore[arg-type]
            frames = [movie.read_sum(i, i + 1) for i in range(movie.n_frames)]
            clock = time.perf_counter()
            aligned = aligner.align(frames, prior, np.random.default_rng(0))
            seconds.append(time.perf_counter() - clock)
            measured.append(aligned.motion.measurement)
            prior = learn_prior(measured, start)
            true = true_motion(truth.tilt(tilt.acquisition_index))
            found = np.broadcast_to(aligned.motion.shifts_yx_px[:, None, None], true.shape)
            if aligned.local is not None:
                n = len(frames)
                found = found + [aligned.local.displacement(n, i, POINTS, POINTS) for i in range(n)]
            squares.append(np.mean((pixel * (found - found.mean(axis=0)) - true) ** 2))
    return float(np.sqrt(np.mean(squares))), float(np.sqrt(squares[0])), float(np.median(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--doming", type=float, nargs="+", default=[0.0, 3.0, 8.0], help="angstrom")
    parser.add_argument("--grid", type=int, nargs=3, default=[4, 4, 3], help="controls in x, y, time")
    arguments = parser.parse_args()
    print("rms error of motion over the field, A: all four tilts, and the first exposure; seconds a movie")
    print("beads seed  doming   whole  first     local  first     s whole  s local")
    for n_beads in (12, 0):
        for seed in arguments.seeds:
            for doming in arguments.doming:
                params = SimulationParams(
                    seed=seed, n_beads=n_beads, image_shape_yx=(arguments.side,) * 2, tilt_min_deg=-15,
                    tilt_max_deg=30, tilt_step_deg=15, pixel_size_angstrom=2.7,
                    local_motion_angstrom=doming, **FLAWLESS_CAMERA,
                )  # fmt: skip
                with tempfile.TemporaryDirectory() as folder:
                    series, truth = simulated_movies(Path(folder), params)
                    whole = errors_and_seconds(series, truth, None)
                    local = errors_and_seconds(series, truth, tuple(arguments.grid))
                print(
                    f"{n_beads:5d} {seed:4d} {doming:7.1f} {whole[0]:7.2f} {whole[1]:6.2f}   {local[0]:7.2f}"
                    f" {local[1]:6.2f}   {whole[2]:9.1f} {local[2]:8.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
