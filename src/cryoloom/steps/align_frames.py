"""Correct the motion between the frames of every movie and sum them.

Frames are compared with the sum of the others, iteratively, with a B-factor (Li et al., Nat. Methods 10,
584 (2013); Zheng et al., Nat. Methods 14, 331 (2017)). Then the most probable trajectory is found: the
likelihood of all frames with ring-wise signal and noise measured from the frames themselves, times a prior
on how specimens of this series drift, learned from its tilts as they are measured, least tilted first. A
pattern that stands still, such as gain residue, is part of the model, so it does not hold the frames at
zero shift. Frames are moved by Fourier phase and binned by Fourier cropping; sums are electrons per binned
pixel.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from cryoloom.algorithms.eer_fractions import eer_frames_per_fraction
from cryoloom.algorithms.motion import MotionSettings
from cryoloom.algorithms.movie_alignment import AlignedMovie, FrameDoses, MovieAligner
from cryoloom.algorithms.trajectory_prior import ShiftMeasurement, TrajectoryPrior, learn_prior
from cryoloom.algorithms.workspace import Workspace
from cryoloom.errors import DataUnfitError
from cryoloom.formats.gain import load_gain
from cryoloom.geometry.frames import binned_shape
from cryoloom.model import Movie, Stack, Tilt, TiltSeries
from cryoloom.steps.declaration import StepContext, StepParams, step

__all__ = ["AlignFramesParams", "align_frames", "motion_settings"]


class AlignFramesParams(StepParams):
    """What a user may choose in motion correction."""

    binning: float = Field(
        1.0, ge=1.0, le=32.0, description="Factor by which the summed images are smaller than the frames."
    )
    eer_dose_per_fraction: float = Field(
        0.5, gt=0, description="EER only: dose of the fractions that frames are summed into before alignment."
    )
    eer_dose_unit: Literal["e/A^2", "e/px"] = Field(
        "e/A^2", description="Unit of eer_dose_per_fraction: per square angstrom, or per pixel of the movie."
    )
    max_shift_angstrom: float = Field(
        80.0, gt=0, description="Largest shift between frames that is searched for."
    )
    b_factor_angstrom2: float = Field(
        1000.0, ge=0, description="Damping exp(-B k^2 / 4) of fine detail in the first, correlating search."
    )
    finest_angstrom: float = Field(6.0, gt=0, description="Finest detail used to refine the motion.")
    coarsest_angstrom: float = Field(
        400.0, gt=0, description="Coarsest detail used; beyond it illumination stands still and misleads."
    )
    tolerance_px: float = Field(
        0.01, gt=0, description="Refinement ends when no frame moves by more, in pixels of the movie."
    )
    hot_pixel_sigma: float = Field(
        6.0,
        gt=3,
        description="Pixels whose summed counts are this many sigmas off their surroundings are replaced.",
    )
    use_drift_prior: bool = Field(
        True, description="Learn from the series how its specimens drift and use it where frames say little."
    )
    dose_weight_frames: bool = Field(
        False,
        description="Also write sums whose frames are weighted by radiation damage (the weighted stack).",
    )
    local_grid_xyt: tuple[int, int, int] | None = Field(
        None,
        description="Controls along x, y and time of a model of motion that differs over the field; "
        "none corrects whole frames only, best below 3 e/A^2 a tilt.",
    )

    @model_validator(mode="after")
    def _local_and_weighted_exclude_each_other(self) -> AlignFramesParams:
        if self.local_grid_xyt is not None:
            if self.dose_weight_frames:
                raise ValueError(
                    "local_grid_xyt does not go with dose_weight_frames; use weight_dose instead"
                )
            if min(self.local_grid_xyt) < 2 or max(self.local_grid_xyt) > 12:
                raise ValueError("local_grid_xyt needs 2 to 12 controls along x, y and time")
        return self


# Memory for the spectra of one movie's frames; with more, each spectrum is made a second time.
_SPECTRA_BYTES = 3 << 30


def _bytes_needed(series: TiltSeries, params: AlignFramesParams) -> int:
    """Frames of this movie and the next, spectra, working copies, and images."""
    movies = [tilt.movie for tilt in series.tilts if tilt.movie is not None]
    if not movies:
        return 1 << 26
    n_pixels = max(movie.shape_yx[0] * movie.shape_yx[1] for movie in movies)
    n_frames = max(min(movie.n_frames, 64) for movie in movies)
    spectra = min(_SPECTRA_BYTES, int(4.3 * n_frames * n_pixels))
    # Frames of bytes stay bytes, but an open movie alone tells; spectra of floats count for the difference.
    return 2 * 4 * n_frames * n_pixels + spectra + 24 * n_pixels + (1 << 28)


@step(
    "align_frames",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    citations=("Li et al., Nat. Methods 10, 584 (2013)", "Zheng et al., Nat. Methods 14, 331 (2017)"),
    ignores_exclusions=True,
)
def align_frames(series: TiltSeries, params: AlignFramesParams, context: StepContext) -> TiltSeries:
    """Find the motion within every movie, and sum its frames with it corrected: all, even and odd ones.

    Quality figures: ``motion_median_angstrom`` and ``motion_max_angstrom``, length of the path of a tilt's
    frames; ``motion_error_angstrom``, expected rms error of a frame's shift, median over tilts.
    """
    frame_yx = _common_shape(series)
    gain = load_gain(series.gain, frame_yx) if series.gain is not None else None
    sinks = _Sinks.open(context, series, frame_yx, params)
    prior = start = TrajectoryPrior.start(series.pixel_size_angstrom)
    measured: list[ShiftMeasurement] = []
    changes: dict[int, dict[str, Any]] = {}
    errors: list[float] = []
    with ThreadPoolExecutor(context.n_threads) as pool:
        aligner = MovieAligner(
            frame_yx,
            params.binning,
            gain,
            motion_settings(series.pixel_size_angstrom, params),
            pool,
            context.rng,
            params.hot_pixel_sigma,
            min(_SPECTRA_BYTES, context.memory_bytes // 3),
            params.local_grid_xyt,
        )
        order = sorted(range(len(series.tilts)), key=lambda i: abs(series.tilts[i].nominal_tilt_deg))
        movies = _read_ahead(series, order, params, context)
        for done, (section, frames) in enumerate(movies, start=1):
            tilt = series.tilts[section]
            doses = _doses(series, tilt, len(frames.images)) if params.dose_weight_frames else None
            aligned = aligner.align(list(frames.images), prior, doses)
            if aligned.n_bad_pixels == frame_yx[0] * frame_yx[1]:
                raise DataUnfitError(
                    f"no pixel of tilt {tilt.acquisition_index}'s movie is usable; check it and the gain",
                    series=series.name,
                )
            sinks.write(section, aligned, pool)
            measured.append(aligned.motion.measurement)
            if params.use_drift_prior:
                prior = learn_prior(measured, start)
            errors.append(float(np.sqrt(np.mean(aligned.motion.error_yx_px**2))) * series.pixel_size_angstrom)
            changes[tilt.acquisition_index] = {
                "section": section,
                "frame_shifts_yx_angstrom": _shifts_angstrom(aligned, series.pixel_size_angstrom),
                "frames_per_fraction": frames.per_fraction,
            }
            context.progress(done, len(order))
    aligned_series = series.with_tilts(changes)
    _tell(aligned_series, errors, context)
    return replace(aligned_series, stack=sinks.stack, weighted=sinks.weighted)


def _common_shape(series: TiltSeries) -> tuple[int, int]:
    """Shape of the movies, which must be one."""
    first: Movie | None = None
    for tilt in series.tilts:
        if tilt.movie is None:
            raise DataUnfitError(
                "a tilt has no movie to align; import the movies, or leave align_frames out",
                series=series.name, acquisition_index=tilt.acquisition_index,
            )  # fmt: skip
        first = first or tilt.movie
        if tilt.movie.shape_yx != first.shape_yx:
            raise DataUnfitError(
                f"{tilt.movie.path.name} has another size than {first.path.name}; a series needs one size: "
                "remove it, or import it as a series of its own",
                got_yx=tilt.movie.shape_yx, expected_yx=first.shape_yx,
            )  # fmt: skip
    if first is None:
        raise DataUnfitError("the series has no tilts; import it again", series=series.name)
    return first.shape_yx


def motion_settings(pixel_size_angstrom: float, params: AlignFramesParams) -> MotionSettings:
    """Turn lengths into pixels of the movie."""
    pixel = pixel_size_angstrom
    return MotionSettings(
        max_shift_px=params.max_shift_angstrom / pixel,
        b_factor_px2=params.b_factor_angstrom2 / pixel**2,
        finest_px=max(2.0, params.finest_angstrom / pixel),
        coarsest_px=params.coarsest_angstrom / pixel,
        tolerance_px=params.tolerance_px,
    )


@dataclass(frozen=True, slots=True)
class _Fractions:
    """Frames as they are aligned, and how many raw frames each sums."""

    images: NDArray[Any]
    """(fraction, y, x), counts of the smallest type that holds them."""
    per_fraction: int


def _read_ahead(
    series: TiltSeries, order: Sequence[int], params: AlignFramesParams, context: StepContext
) -> Iterator[tuple[int, _Fractions]]:
    """Sections and their frames, in the order given; a movie is decoded while the one before is aligned.

    The frames of a movie are valid until the next is asked for: two movies share the memory in turn.
    """
    memory = (Workspace(), Workspace())
    with ThreadPoolExecutor(1) as reader:

        def read(i: int) -> Future[_Fractions]:
            return reader.submit(_read, series, series.tilts[order[i]], params, context, memory[i % 2])

        upcoming = read(0)
        for i, section in enumerate(order):
            frames = upcoming.result()
            if i + 1 < len(order):
                upcoming = read(i + 1)
            yield section, frames


def _read(
    series: TiltSeries, tilt: Tilt, params: AlignFramesParams, context: StepContext, memory: Workspace
) -> _Fractions:
    """Decode a movie into the frames that are aligned: raw frames, or EER fractions of the dose asked for."""
    if tilt.movie is None:
        raise DataUnfitError("a tilt has no movie", acquisition_index=tilt.acquisition_index)
    movie = context.open_movie(tilt.movie)
    per_fraction = _frames_per_fraction(series, tilt, tilt.movie, params)
    # All raw frames are used: fractions differ by one frame at most where they do not divide.
    n_fractions = max(1, round(movie.n_frames / per_fraction))
    edges = np.linspace(0, movie.n_frames, n_fractions + 1).round().astype(int)
    dtype = movie.sum_dtype(int(np.diff(edges).max()))
    images = memory.array("frames", (n_fractions, *movie.shape_yx), dtype)
    for image, (start, stop) in zip(images, itertools.pairwise(edges), strict=True):
        movie.read_sum(int(start), int(stop), into=image)
        _require_finite(image, tilt.movie.path.name, int(start))
    return _Fractions(images, per_fraction)


def _require_finite(image: NDArray[Any], name: str, frame: int) -> None:
    if image.dtype.kind == "f" and not math.isfinite(image.min() + image.max()):  # NaN wins both
        raise DataUnfitError(
            f"{name} has pixels that are NaN or infinite, expected counts; write it again, or leave it out",
            frame=frame,
            n_pixels=int(image.size - np.isfinite(image).sum()),
        )


def _frames_per_fraction(series: TiltSeries, tilt: Tilt, movie: Movie, params: AlignFramesParams) -> int:
    """Raw frames summed before alignment: 1, for EER what this movie's own dose and frame count give."""
    if movie.path.suffix.lower() != ".eer":
        return 1
    if tilt.dose_per_angstrom2 <= 0:
        raise DataUnfitError(
            f"the dose of {movie.path.name} is unknown, so its EER frames cannot be grouped; give the dose "
            "per tilt at import",
            dose_per_angstrom2=tilt.dose_per_angstrom2,
        )
    return eer_frames_per_fraction(
        movie.n_frames,
        tilt.dose_per_angstrom2,
        params.eer_dose_per_fraction,
        params.eer_dose_unit,
        series.pixel_size_angstrom * movie.eer_sampling,
    )


def _doses(series: TiltSeries, tilt: Tilt, n_frames: int) -> FrameDoses:
    """Dose at the borders of a tilt's frames, which are taken to be equally exposed."""
    edges = np.linspace(tilt.dose_start_per_angstrom2, tilt.dose_end_per_angstrom2, n_frames + 1)
    return FrameDoses(edges, series.pixel_size_angstrom, series.microscope.voltage_kv)


def _shifts_angstrom(aligned: AlignedMovie, pixel_size_angstrom: float) -> tuple[tuple[float, float], ...]:
    shifts = aligned.motion.shifts_yx_px * pixel_size_angstrom
    return tuple((float(y), float(x)) for y, x in shifts)


@dataclass(frozen=True, slots=True)
class _Sinks:
    """Stacks being written, and the same as the model's values."""

    stack: Stack
    weighted: Stack | None

    @classmethod
    def open(
        cls, context: StepContext, series: TiltSeries, frame_yx: tuple[int, int], params: AlignFramesParams
    ) -> _Sinks:
        """Begin the stacks of all, even and odd frames."""
        shape = (len(series.tilts), *binned_shape(frame_yx, params.binning))
        pixel = series.pixel_size_angstrom * params.binning

        def stack(prefix: str) -> Stack:
            made = [context.new_pixels(prefix + role, shape, pixel) for role in ("images", "even", "odd")]
            return Stack(made[0], pixel, made[1], made[2])

        return cls(stack(""), stack("weighted_") if params.dose_weight_frames else None)

    def write(self, section: int, aligned: AlignedMovie, pool: Executor) -> None:
        """Write a tilt, its images side by side."""
        stacks = [(self.stack, aligned.sums)]
        if self.weighted is not None and aligned.weighted is not None:
            stacks.append((self.weighted, aligned.weighted))

        def write(part: tuple[Any, NDArray[np.float32]]) -> None:
            sink, image = part  # a stack being made holds sinks; its type only promises reading
            sink[section] = image

        for stack, sums in stacks:
            list(pool.map(write, zip((stack.images, stack.even, stack.odd), sums, strict=True)))


def _tell(series: TiltSeries, errors_angstrom: Sequence[float], context: StepContext) -> None:
    """Figures: length of each tilt's path, and how well it is known."""
    paths = []
    for tilt in series.tilts:
        positions = np.array(tilt.frame_shifts_yx_angstrom)
        paths.append(float(np.hypot(*np.diff(positions, axis=0).T).sum()))
    context.figure("motion_median_angstrom", float(np.median(paths)))
    context.figure("motion_max_angstrom", float(np.max(paths)))
    context.figure("motion_error_angstrom", float(np.median(errors_angstrom)))
