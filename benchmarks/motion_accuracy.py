"""Frame-shift error against the truth on simulated movies: ours, RELION's, and no alignment.

The floor: 3 e/A^2 in 8 frames, 1024 x 1024, 2.7 A/px, three seeds, two specimens (one without beads).
Every number is the rms over frames and both axes of the shift relative to the mean over frames, in pixels.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mrcfile
import numpy as np
import starfile
from numpy.typing import NDArray

from cryoloom.algorithms.motion.movie_alignment import MovieAligner
from cryoloom.algorithms.motion.trajectory_prior import TrajectoryPrior, learn_prior
from cryoloom.formats.pixels.movie import describe_movie, open_movie
from cryoloom.simulate.camera import make_camera
from cryoloom.simulate.session import SimulationParams, simulate_session
from cryoloom.simulate.truth import Truth
from cryoloom.steps.align_frames import AlignFramesParams, motion_settings

Shifts = NDArray[np.float64]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments.add_argument("--tilt-step", type=float, default=15.0, help="degrees")
    arguments.add_argument("--keep", type=Path, help="folder to simulate into and to reuse")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        print("rms error of a frame's shift in pixels, all tilts and those to 45 degrees")
        print(
            f"{'specimen':>12} {'seed':>4} {'ours':>7} {'to 45':>7} {'RELION':>7} {'to 45':>7} "
            f"{'none':>7} {'reprojected':>8}"
        )
        for n_beads in (8, 0):
            for seed in options.seeds:
                params = SimulationParams(
                    seed=seed, tilt_step_deg=options.tilt_step, image_shape_yx=(1024, 1024),
                    pixel_size_angstrom=2.7, n_beads=n_beads,
                )  # fmt: skip
                report(params, folder / f"sim_{seed}_{n_beads}")


def report(params: SimulationParams, folder: Path) -> None:
    """Print one line for one session."""
    if not (folder / "truth.json").exists():
        simulate_session(params, folder)
    truth = Truth.load(folder / "truth.json")
    gain = make_camera(params, np.random.default_rng([params.seed, 0, 2])).gain
    tilts = sorted(truth.tilts, key=lambda tilt: tilt.acquisition_index)
    movies = [next((folder / "frames").glob(f"*_{tilt.acquisition_index:03d}_*.tif")) for tilt in tilts]
    true = [np.array(tilt.frame_shifts_yx_angstrom) / params.pixel_size_angstrom for tilt in tilts]
    true = [shifts - shifts.mean(axis=0) for shifts in true]
    low = np.array([abs(tilt.nominal_tilt_deg) <= 45 for tilt in tilts])
    ours, expected = align(movies, gain, params.pixel_size_angstrom)
    theirs = align_with_relion(movies, gain, params, folder / "relion")
    squares = [
        np.array([np.mean((found - t) ** 2) for found, t in zip(f, true, strict=True)])
        for f in (ours, theirs)
    ]
    rms_expected = np.sqrt(np.mean(np.square(expected)))
    none = np.mean([np.mean(t**2) for t in true])
    cells = [np.sqrt([s.mean(), s[low].mean()]) for s in squares]
    print(
        f"{'beads' if params.n_beads else 'no beads':>12} {params.seed:>4}"
        + "".join(f" {value:7.4f}" for value in (*cells[0], *cells[1], np.sqrt(none), rms_expected)),
        flush=True,
    )


def align(movies: list[Path], gain: NDArray[np.float32], pixel: float) -> tuple[list[Shifts], list[float]]:
    """Shifts of each movie's frames by our method, and the errors it expects."""
    prior = start = TrajectoryPrior.start(pixel)
    measured, found, expected = [], [], []
    with ThreadPoolExecutor(2) as pool:
        aligner = MovieAligner(gain.shape, 1.0, gain, motion_settings(pixel, AlignFramesParams()), pool)
        for path in movies:
            movie = open_movie(describe_movie(path))
            frames = [movie.read_sum(i, i + 1) for i in range(movie.n_frames)]
            motion = aligner.align(frames, prior, np.random.default_rng(0)).motion
            measured.append(motion.measurement)
            prior = learn_prior(measured, start)
            found.append(motion.shifts_yx_px)
            expected.append(float(np.sqrt(np.mean(motion.error_yx_px**2))))
    return found, expected


def align_with_relion(
    movies: list[Path], gain: NDArray[np.float32], params: SimulationParams, folder: Path
) -> list[Shifts]:
    """Shifts by relion_run_motioncorr --use_own, or NaN where it is not installed."""
    if shutil.which("relion_run_motioncorr") is None:
        return [np.full((params.n_frames, 2), np.nan) for _ in movies]
    folder.mkdir(exist_ok=True)
    with mrcfile.new(folder / "gain.mrc", overwrite=True) as mrc:
        mrc.set_data(gain)
    (folder / "movies").unlink(missing_ok=True)
    (folder / "movies").symlink_to(movies[0].parent.resolve())
    names = "\n".join(f"movies/{path.name} 1" for path in movies)
    (folder / "movies.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n"
        "_rlnMicrographOriginalPixelSize #3\n_rlnVoltage #4\n"
        "_rlnSphericalAberration #5\n_rlnAmplitudeContrast #6\n"
        f"one 1 {params.pixel_size_angstrom} 300 2.7 0.1\n\n"
        f"data_movies\n\nloop_\n_rlnMicrographMovieName #1\n_rlnOpticsGroup #2\n{names}\n"
    )
    dose = params.dose_per_tilt_per_angstrom2 / params.n_frames
    run = subprocess.run(
        ["relion_run_motioncorr", "--use_own", "--j", "2", "--i", "movies.star", "--o", "out/",
         "--gainref", "gain.mrc", "--angpix", str(params.pixel_size_angstrom), "--voltage", "300",
         "--dose_per_frame", str(dose), "--patch_x", "1", "--patch_y", "1", "--bfactor", "150"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode:
        raise SystemExit(run.stdout[-2000:] + run.stderr[-2000:])
    found = []
    for path in movies:
        table = starfile.read(
            folder / "out" / "movies" / f"{path.stem.replace('.', '_')}.star", always_dict=True
        )["global_shift"]
        # RELION keeps the shift that corrects a frame; the specimen went the other way.
        shifts = -table[["rlnMicrographShiftY", "rlnMicrographShiftX"]].to_numpy(dtype=float)
        found.append(shifts - shifts.mean(axis=0))
    return found


if __name__ == "__main__":
    main()
