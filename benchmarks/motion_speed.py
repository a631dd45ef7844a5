"""Seconds per 5760 x 4092 x 8-frame TIFF movie, all included, beside RELION's own on the same file.

Our time is that of the step `align_frames` over a series of movies less that of a series of one, per
movie: start and compilation are paid once a session. RELION's likewise: several movies in one call less
one. Medians of the rounds, which take turns so that both meet the same other load.

``--profile`` says where the time goes instead: on one thread, since there the parts of a movie follow each
other, without the first movie, whose memory is new.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import mrcfile
import numba
import numpy as np
import scipy.fft
import tifffile
import torch

from cryoloom.algorithms.motion import frame_motion, frame_spectra, frame_sum, movie_alignment
from cryoloom.engine.worker.kept_sections import KeptSections, KeyedSink
from cryoloom.formats.pixels.movie import describe_movie, open_movie
from cryoloom.formats.pixels.mrc import MrcSink
from cryoloom.model import GainReference, Microscope, Movie, MovieFrames, Tilt, TiltSeries
from cryoloom.steps import align_frames as step_module
from cryoloom.steps.align_frames import AlignFramesParams, align_frames

SHAPE = (4092, 5760)
PIXEL_ANGSTROM = 1.0
COUNTS = 1.0


@dataclass
class FileContext:
    """What the engine hands the step, writing MRC files into a folder."""

    folder: Path
    device: str = "cpu"
    n_threads: int = 2
    memory_bytes: int = 8 << 30
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def new_pixels(
        self, role, shape, pixel_size_angstrom, *, kind="stack", dtype="float32", multiscale=False
    ):
        """Begin an MRC file."""
        return MrcSink(self.folder / f"{role}.mrc", shape, pixel_size_angstrom, dtype)

    grows: bool = False
    n_expected: int = 0

    def keyed_pixels(self, role, shape, pixel_size_angstrom, *, dtype, keys, n_below=0):
        """Begin an MRC file of which nothing was kept."""
        kept = KeptSections(self.folder / "cache", role)
        path = self.folder / f"{role}.mrc"
        return KeyedSink.begun(role, path, shape, pixel_size_angstrom, dtype, keys, kept)[0]

    def partial_key(self, *facts: object) -> str:
        """Nothing is kept under it."""
        return ""

    def open_movie(self, movie: Movie) -> MovieFrames:
        """Open it."""
        return open_movie(movie)

    def load_partial(self, *facts: object) -> None:
        """Nothing was made ahead."""

    def save_partial(self, arrays: object, *facts: object) -> None:
        """The series does not grow."""

    def progress(self, done: int, total: int) -> None:
        """Nobody listens."""

    def figure(self, name: str, value: float | None, *, reason: str = "") -> None:
        """Nobody listens."""

    def not_measurable(self, name: str, reason: str) -> None:
        """Nobody listens."""

    def record(self, name: str, data: object) -> None:
        """Nobody listens."""

    def warn(self, message: str) -> None:
        """Nobody listens."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--movies", type=int, default=4, help="movies in a series")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--binning", type=float, nargs="+", default=[1.0])
    arguments.add_argument("--compression", nargs="+", default=["none", "lzw"])
    arguments.add_argument("--no-relion", action="store_true")
    arguments.add_argument("--profile", action="store_true", help="where the time goes, on one thread")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    numba.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        frames = synthetic_frames()
        gain = np.random.default_rng(5).normal(1.0, 0.03, SHAPE).astype(np.float32)
        with mrcfile.new(folder / "gain.mrc") as mrc:
            mrc.set_data(gain)
        if options.profile:
            path = folder / "none.tif"
            tifffile.imwrite(path, frames, rowsperstrip=32)
            profile(folder, path, options.movies)
            return
        with_relion = not options.no_relion and shutil.which("relion_run_motioncorr") is not None
        print(f"seconds a movie, {options.threads} threads; median (least) of {options.rounds} rounds")
        for compression in options.compression:
            path = folder / f"{compression}.tif"
            tifffile.imwrite(
                path, frames, compression=None if compression == "none" else compression, rowsperstrip=32
            )
            seconds: dict[str, list[float]] = {}
            for _ in range(options.rounds):
                for binning in options.binning:
                    time_ours(folder, path, 1, binning, options.threads)
                    many = time_ours(folder, path, options.movies, binning, options.threads)
                    one = time_ours(folder, path, 1, binning, options.threads)
                    seconds.setdefault(f"ours, binning {binning:g}", []).append(
                        (many - one) / (options.movies - 1)
                    )
                if with_relion:
                    many = time_relion(folder, path, options.movies, options.threads)
                    one = time_relion(folder, path, 1, options.threads)
                    seconds.setdefault("RELION, binning 1", []).append((many - one) / (options.movies - 1))
                seconds.setdefault("8 FFTs alone", []).append(time_transforms(frames, options.threads))
            for name, values in seconds.items():
                print(f"{compression:>5} {name:20} {np.median(values):6.2f} ({min(values):.2f})", flush=True)


def synthetic_frames() -> np.ndarray:
    """Eight frames of ice with texture that drifts, one count a pixel, 8 bit."""
    rng = np.random.default_rng(3)
    n_y, n_x = SHAPE
    frequency = np.hypot(np.fft.fftfreq(n_y)[:, None], np.fft.rfftfreq(n_x)[None]).astype(np.float32)
    specimen = scipy.fft.rfft2(rng.standard_normal(SHAPE, dtype=np.float32), workers=2)
    specimen *= np.exp(-((frequency / 0.06) ** 2))
    specimen *= 0.1 / np.std(scipy.fft.irfft2(specimen, s=SHAPE, workers=2))
    frames = np.empty((8, *SHAPE), np.uint8)
    for i in range(8):
        shift = np.array([4.0, -3.0]) * (1 - np.exp(-0.4 * i))
        ramp = np.exp(-2j * np.pi * np.fft.fftfreq(n_y) * shift[0])[:, None] * np.exp(
            -2j * np.pi * np.fft.rfftfreq(n_x) * shift[1]
        )
        image = scipy.fft.irfft2(specimen * ramp.astype(np.complex64), s=SHAPE, workers=2)
        frames[i] = rng.poisson(COUNTS * np.clip(1 + image, 0.05, None))
    return frames


def time_ours(folder: Path, path: Path, n_movies: int, binning: float, n_threads: int) -> float:
    """Seconds of align_frames over a series whose movies are all this file."""
    movie = describe_movie(path)
    tilts = tuple(Tilt(i, 3.0 * i, 3.0 * i, 3.0 * i + 3.0, movie) for i in range(n_movies))
    series = TiltSeries("TS", Microscope(), PIXEL_ANGSTROM, tilts, gain=GainReference(folder / "gain.mrc"))
    context = FileContext(folder, n_threads=n_threads)
    start = time.perf_counter()
    aligned = align_frames(series, AlignFramesParams(binning=binning), context)
    stack = aligned.best_stack
    for pixels in (stack.images, stack.even):  # odd is their difference
        pixels.commit()  # type: ignore[union-attr]
    return time.perf_counter() - start


def time_relion(folder: Path, path: Path, n_movies: int, n_threads: int) -> float:
    """Seconds of one call of relion_run_motioncorr for so many movies, all this file."""
    names = []
    for i in range(n_movies):
        link = folder / f"relion_{i}_{path.name}"
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        names.append(f"{link.name} 1")
    (folder / "movies.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n"
        "_rlnMicrographOriginalPixelSize #3\n_rlnVoltage #4\n"
        "_rlnSphericalAberration #5\n_rlnAmplitudeContrast #6\n"
        f"one 1 {PIXEL_ANGSTROM} 300 2.7 0.1\n\n"
        "data_movies\n\nloop_\n_rlnMicrographMovieName #1\n_rlnOpticsGroup #2\n" + "\n".join(names) + "\n"
    )
    start = time.perf_counter()
    subprocess.run(
        ["relion_run_motioncorr", "--use_own", "--j", str(n_threads), "--i", "movies.star", "--o", "relion/",
         "--gainref", "gain.mrc", "--angpix", str(PIXEL_ANGSTROM), "--voltage", "300",
         "--dose_per_frame", "1", "--patch_x", "1", "--patch_y", "1", "--bfactor", "150"],
        cwd=folder, capture_output=True, check=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    shutil.rmtree(folder / "relion")
    return seconds


PARTS = (
    (step_module, "read_fractions", "decode, from the page cache (beside the rest)"),
    (movie_alignment, "find_bad_pixels", "bad pixels"),
    (frame_spectra, "transform_rows", "transforms of rows"),
    (frame_spectra, "transform_lines", "transforms of columns"),
    (movie_alignment, "frame_spectrum", "a frame's spectrum: transforms, gain, bad pixels replaced"),
    (frame_motion, "coarse_shifts", "motion by correlation"),
    (frame_motion, "refine_shifts", "motion by likelihood"),
    (frame_sum.HalfSums, "add", "sums of moved spectra"),
    (frame_sum, "lines_back", "transforms of columns, back"),
    (frame_sum, "rows_back", "transforms of rows, back"),
    (frame_sum.HalfSums, "images", "images of the sums: transforms, mean, total"),
    (MrcSink, "__setitem__", "16-bit floats, statistics, writing"),
    (movie_alignment.MovieAligner, "align", "all but decoding and writing"),
)


@contextlib.contextmanager
def timed(seconds: dict[str, list[float]]) -> Iterator[None]:
    """Note the seconds of every call of `PARTS`."""

    def wrapped(function, name):
        @functools.wraps(function)
        def call(*arguments, **named):
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                seconds[name].append(time.perf_counter() - start)

        return call

    before = [(owner, attribute, getattr(owner, attribute)) for owner, attribute, _ in PARTS]
    try:
        for owner, attribute, name in PARTS:
            setattr(owner, attribute, wrapped(getattr(owner, attribute), name))
        yield
    finally:
        for owner, attribute, function in before:
            setattr(owner, attribute, function)


def profile(folder: Path, path: Path, n_movies: int) -> None:
    """Seconds a movie of every part, and what the system did for a movie."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    time_ours(folder, path, 1, 1.0, 1)
    seconds: dict[str, list[float]] = collections.defaultdict(list)
    before = resource.getrusage(resource.RUSAGE_SELF)
    with timed(seconds):
        whole = time_ours(folder, path, n_movies, 1.0, 1)
    used = resource.getrusage(resource.RUSAGE_SELF)
    for name, calls in seconds.items():
        each = len(calls) // n_movies
        by_movie = np.reshape(calls[: each * n_movies], (n_movies, each)).sum(axis=1)
        print(f"{name:60} {np.median(by_movie[1:]):6.3f} s in {each} calls")
    print(f"{'whole, memory of the first movie included':60} {whole / n_movies:6.3f} s")
    print(f"{'of it by the system: page faults and the page cache':60} "
          f"{(used.ru_stime - before.ru_stime) / n_movies:6.3f} s, "
          f"{(used.ru_minflt - before.ru_minflt) // n_movies} page faults")  # fmt: skip


def time_transforms(frames: np.ndarray, n_threads: int) -> float:
    """Seconds of the forward transforms alone, on the bare frames."""
    images = [frame.astype(np.float32) for frame in frames]
    start = time.perf_counter()
    for image in images:
        scipy.fft.rfft2(image, workers=n_threads)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
