"""Correct the motion between the frames of every movie and sum them.

Frames are compared with the sum of the others, iteratively, with a B-factor (Li et al., Nat. Methods 10, 584
(2013); Zheng et al., Nat. Methods 14, 331 (2017)). Then the most probable trajectory is found. Its
probability is the likelihood of all frames, with signal and noise measured per ring from the frames
themselves, times a prior on the drift, learned from the earlier tilts of the series. A pattern that stands
still, such as gain residue, is part of the model, so it does not hold the frames at zero shift. Frames are
moved by Fourier phase and binned by Fourier cropping; sums are electrons per binned pixel. The output is the
sum of all frames and the sum of the even frames; that of the odd frames is their difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from cryoloom.algorithms.images.half_precision import keeps_half_precision
from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.motion.frame_motion import MotionSettings
from cryoloom.algorithms.motion.movie_alignment import FrameDoses, MovieAligner
from cryoloom.algorithms.motion.movie_fractions import (
    ReadAhead,
    fraction_edges,
    frames_in_use,
    frames_per_fraction,
    n_fractions,
    read_fractions,
    without_dark,
)
from cryoloom.algorithms.motion.trajectory_prior import ShiftMeasurement, TrajectoryPrior, learn_prior
from cryoloom.algorithms.series.derived_pixels import Difference
from cryoloom.contract.figures import Bounds, Column, Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.contract.usual_time import UsualTime
from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.dark import load_dark
from cryoloom.formats.session.gain import load_gain
from cryoloom.geometry.frames import binned_shape
from cryoloom.model import KeyedPixels, Movie, Stack, Tilt, TiltSeries

__all__ = ["AlignFramesParams", "align_frames", "motion_settings"]


class AlignFramesParams(StepParams):
    """Parameters of motion correction."""

    binning: float = Field(
        1.0, ge=1.0, le=32.0, description="Binning of the summed images relative to the frames."
    )
    first_frame: int = Field(
        1,
        ge=1,
        description="First frame that is used; 1 is the first of the movie. In EER files, raw frames are "
        "counted.",
    )
    last_frame: int | None = Field(
        None, ge=1, description="Last frame that is used. Unset, or in shorter movies: the last one."
    )
    eer_dose_per_fraction: float = Field(
        0.5, gt=0, description="EER only: dose of the fractions that frames are summed into before alignment."
    )
    eer_dose_unit: Literal["e/A^2", "e/px"] = Field(
        "e/A^2", description="Unit of eer_dose_per_fraction: per square angstrom, or per pixel of the movie."
    )
    max_shift_angstrom: float = Field(
        80.0, gt=0, description="Largest shift between frames that is searched."
    )
    b_factor_angstrom2: float = Field(
        1000.0, ge=0, description="B-factor exp(-B k^2 / 4) of the first search by correlation."
    )
    finest_angstrom: float = Field(6.0, gt=0, description="Finest detail used to refine the motion.")
    coarsest_angstrom: float = Field(
        400.0, gt=0, description="Coarsest detail used; coarser illumination does not move with the specimen."
    )
    tolerance_px: float = Field(
        0.01,
        gt=0,
        description="Refinement ends when no frame moves by more than this, in pixels of the movie.",
    )
    hot_pixel_sigma: float = Field(
        6.0,
        gt=3,
        description="Pixels whose summed counts differ by this many sigmas from their surroundings are "
        "replaced.",
    )
    use_drift_prior: bool = Field(
        True,
        description="Learn the drift of the specimen from the earlier tilts of the series and use it "
        "as a prior; helps frames of low dose.",
    )
    dose_weight_frames: bool = Field(
        False,
        description="Also write sums whose frames are weighted for radiation damage (the weighted stack).",
    )
    local_grid_xyt: tuple[int, int, int] | None = Field(
        None,
        description="Control points along x, y and time of a model of local motion. Unset: only whole "
        "frames are corrected, which is best below 3 e/A^2 per tilt.",
    )

    dtype: Literal["float16", "float32"] = Field(
        "float16",
        description="Type of the stored sums: float16 where it adds less than a ten-thousandth of their "
        "variance (images of counted electrons), else float32.",
    )

    @model_validator(mode="after")
    def _frames_are_in_order(self) -> AlignFramesParams:
        if self.last_frame is not None and self.last_frame < self.first_frame:
            raise ValueError(
                f"got frames {self.first_frame} to {self.last_frame}; expected the first one first"
            )
        return self

    @model_validator(mode="after")
    def _local_and_weighted_exclude_each_other(self) -> AlignFramesParams:
        if self.local_grid_xyt is not None:
            if self.dose_weight_frames:
                raise ValueError(
                    "local_grid_xyt and dose_weight_frames cannot be combined; use weight_dose instead"
                )
            if min(self.local_grid_xyt) < 2 or max(self.local_grid_xyt) > 12:
                raise ValueError("local_grid_xyt needs 2 to 12 control points along x, y and time")
        return self


#: Chosen: memory for the spectra of one movie's frames; for a larger movie each spectrum is computed twice.
_SPECTRA_BYTES = 3 << 30


def _bytes_needed(series: TiltSeries, params: AlignFramesParams) -> int:
    """Frames of this movie and the next, spectra, working copies, and images."""
    movies = [tilt.movie for tilt in series.tilts if tilt.movie is not None]
    if not movies:
        return 1 << 26
    n_pixels = max(movie.shape_yx[0] * movie.shape_yx[1] for movie in movies)
    n_frames = max(min(movie.n_frames, 64) for movie in movies)
    spectra = min(_SPECTRA_BYTES, int(4.3 * n_frames * n_pixels))
    # Frames of bytes stay bytes, but only an open movie shows its type; the spectra's share covers the
    # difference.
    n_copies = 2 if series.dark_path is None else 4
    return n_copies * 4 * n_frames * n_pixels + spectra + 24 * n_pixels + (1 << 28)


def _bytes_stored(series: TiltSeries, params: AlignFramesParams) -> int:
    """All and even images of every tilt, twice where frames are weighted as well."""
    n_y, n_x = binned_shape(_common_shape(series), params.binning)
    n_images = 2 * len(series.tilts) * (2 if params.dose_weight_frames else 1)
    return n_images * n_y * n_x * (2 if params.dtype == "float16" else 4)


def _align_ahead(series: TiltSeries, params: AlignFramesParams, context: StepContext) -> TiltSeries | None:
    """Align and sum the movies that exist, in the file of the whole series; the series as far as it goes."""
    return _summed(series, params, context)[0]


FIGURES = (
    Figure(
        "motion_median_angstrom",
        "angstrom",
        "Motion, median over tilts",
        "Length of the path of the specimen during one tilt. Motion between frames is corrected; fast motion "
        "within a frame blurs the image.",
        bounds=Bounds(15.0, 40.0, "Motion is corrected between frames, not within one."),
        column=Column("Motion"),
        role="motion",
    ),
    Figure(
        "motion_max_angstrom",
        "angstrom",
        "Motion, largest",
        "Motion of the tilt that moved most. A tilt far above the median may be blurred.",
    ),
    Figure(
        "motion_error_angstrom",
        "angstrom",
        "Motion, uncertainty",
        "Expected rms error of a frame's position, from the scatter about a smooth path; median over tilts.",
        good="well below a pixel",
    ),
)


@step(
    "align_frames",
    version=2,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    usual_time=UsualTime(1.0, 8.2, of="frames"),
    bytes_stored=_bytes_stored,
    citations=(
        "Li et al., Nat. Methods 10, 584 (2013), doi:10.1038/nmeth.2472",
        "Zheng et al., Nat. Methods 14, 331 (2017), doi:10.1038/nmeth.4193",
    ),
    ahead=_align_ahead,
    ignores_exclusions=True,
    methods=(
        "Movie frames were aligned by their most probable trajectory and summed[, binned by "
        "{binning:g}][; in the median tilt the specimen moved by {motion_median_angstrom:.1f} "
        "Å]."
    ),
    figures=FIGURES,
    source_of=("images",),
)
def align_frames(series: TiltSeries, params: AlignFramesParams, context: StepContext) -> TiltSeries:
    """Find the motion within every movie and sum the corrected frames: all, even and odd ones."""
    single = [t for t in series.tilts if _Exposed.of(series, t, params).n_fractions == 1]
    _warn_of_single_frames(series, single, with_halves=len(single) < len(series.tilts), context=context)
    summed, errors = _summed(series, params, context)
    _tell(summed, errors, context)
    return summed


_Arrays = Mapping[str, NDArray[Any]]
"""An aligned movie: sums ``images``, ``even`` and ``odd`` (``weighted_images`` ...) in electrons per binned
pixel ``(y, x)``, unless loaded from a partial result; ``shifts_yx_px`` ``(frame, 2)`` and ``error_px``; the
measurement that updates the prior of later tilts; ``prior_px`` ``(3,)``, the prior of this alignment; and
whether the sums keep half precision (``fits``, ``weighted_fits``)."""


def _summed(
    series: TiltSeries, params: AlignFramesParams, context: StepContext
) -> tuple[TiltSeries, list[float]]:
    """The series with its sums, and the errors of the tilts' motion in angstrom.

    Tilts are taken in order of acquisition. A movie summed while the series was growing is reused if the
    tilts before it give the same prior: it is then identical to a new result, bit by bit.
    """
    frame_yx = _common_shape(series)
    sections = {tilt.acquisition_index: section for section, tilt in enumerate(series.tilts)}
    tilts = sorted(series.tilts, key=lambda tilt: tilt.acquisition_index)
    exposed = {tilt.acquisition_index: _Exposed.of(series, tilt, params) for tilt in tilts}
    dark = load_dark(series.dark_path, frame_yx) if series.dark_path is not None else None
    changes: dict[int, dict[str, Any]] = {}
    keys: dict[int, str] = {}
    errors: list[float] = []
    with ThreadPoolExecutor(context.n_threads) as pool:
        aligner = MovieAligner(
            frame_yx,
            params.binning,
            load_gain(series.gain, frame_yx) if series.gain is not None else None,
            motion_settings(series.pixel_size_angstrom, params),
            pool,
            params.hot_pixel_sigma,
            min(_SPECTRA_BYTES, context.memory_bytes // 3),
            params.local_grid_xyt,
        )
        facts = {i: _facts(series, one, params, aligner) for i, one in exposed.items()}
        kept = {i: context.load_partial(*facts[i]) for i in exposed}
        opening = _Opening(context, series, params, any(one.n_fractions > 1 for one in exposed.values()))
        first = kept[tilts[0].acquisition_index]
        sinks: _Sinks | None = None
        if first is not None:  # the first tilt shows how the sums can be stored
            sinks = opening.open(
                first,
                {sections[i]: _image_key(context, facts[i], a) for i, a in kept.items() if a is not None},
            )
        reusable = {
            i for i, a in kept.items() if a is not None and sinks is not None and sinks.hold(sections[i])
        }

        def read(i: int, memory: ScratchBuffers) -> NDArray[Any]:
            movie, frames, n = exposed[i].movie, exposed[i].frames, exposed[i].n_fractions
            fractions = read_fractions(context.open_movie(movie), movie, frames, n, memory)
            return (
                fractions
                if dark is None
                else without_dark(fractions, dark, fraction_edges(frames, n), memory)
            )

        prior = start = TrajectoryPrior.start(series.pixel_size_angstrom)
        measured: list[ShiftMeasurement] = []
        with ReadAhead([i for i in exposed if i not in reusable], read) as reader:
            for done, (i, one) in enumerate(exposed.items(), start=1):
                section, aligned = sections[i], kept[i] if i in reusable else None
                if aligned is None or not np.array_equal(aligned["prior_px"], prior.as_array()):
                    aligned = _align(one, reader.frames(i), prior, aligner)
                    if sinks is None:
                        sinks = opening.open(aligned, {})
                    keys[section] = _image_key(context, facts[i], aligned)
                    sinks.write(section, aligned, keys[section], pool)
                    context.save_partial(_without_images(aligned), *facts[i])
                keys[section] = _image_key(context, facts[i], aligned)
                measured.append(ShiftMeasurement(aligned["measured_yx_px"], aligned["information_per_px2"]))
                if params.use_drift_prior:
                    prior = learn_prior(measured, start)
                shifts = aligned["shifts_yx_px"] * series.pixel_size_angstrom
                if len(shifts) > 1:
                    errors.append(float(aligned["error_px"]) * series.pixel_size_angstrom)
                changes[i] = {
                    "section": section,
                    "frame_shifts_yx_angstrom": tuple((float(y), float(x)) for y, x in shifts),
                    "frames_per_fraction": one.per_fraction,
                    "first_frame": params.first_frame - 1,
                }
                context.progress(done, len(tilts))
    if sinks is None:
        raise ValueError("a series without movies reached the summation")
    for change in changes.values():
        change["section"] = sinks.place(change["section"])
    stack, weighted = sinks.stacks(keys)
    return replace(series.with_tilts(changes), stack=stack, weighted=weighted), errors


def _image_key(context: StepContext, facts: tuple[object, ...], aligned: _Arrays) -> str:
    """Everything on which the sums of a movie depend: the facts of its alignment, and the prior."""
    return context.partial_key(*facts, np.asarray(aligned["prior_px"], float).tolist())


def _without_images(aligned: _Arrays) -> dict[str, NDArray[Any]]:
    """Data of an aligned movie other than its images."""
    return {name: array for name, array in aligned.items() if array.ndim < 2 or name in _SHIFTS}


_SHIFTS = ("shifts_yx_px", "measured_yx_px")


@dataclass(frozen=True, slots=True)
class _Exposed:
    """A tilt with a movie, and how its frames are grouped and weighted."""

    tilt: Tilt
    movie: Movie
    frames: range
    per_fraction: int
    n_fractions: int
    doses: FrameDoses | None

    @classmethod
    def of(cls, series: TiltSeries, tilt: Tilt, params: AlignFramesParams) -> _Exposed:
        movie = series.movie_of(tilt)
        per_fraction = frames_per_fraction(
            series, tilt, movie, params.eer_dose_per_fraction, params.eer_dose_unit
        )
        frames = frames_in_use(movie, params.first_frame, params.last_frame)
        n = n_fractions(len(frames), per_fraction)
        doses = _doses(series, tilt, movie, frames, n) if params.dose_weight_frames else None
        return cls(tilt, movie, frames, per_fraction, n, doses)


_KEPT_AS = "images in the stack"
"""Earlier versions kept other arrays under the same facts."""


def _facts(
    series: TiltSeries, exposed: _Exposed, params: AlignFramesParams, aligner: MovieAligner
) -> tuple[object, ...]:
    """Everything that determines an aligned movie except the prior, which depends on the tilts before it."""
    gain = None if series.gain is None else replace(series.gain, evidence=(), orientation_by="")
    doses = None if exposed.doses is None else exposed.doses.edges_per_angstrom2.tolist()
    return (
        _KEPT_AS,
        exposed.movie,
        gain,
        params.model_dump(mode="json"),
        series.pixel_size_angstrom,
        exposed.per_fraction,
        [doses, series.microscope.voltage_kv],
        aligner.holds_all(exposed.n_fractions),
        *([] if series.dark_path is None else [series.dark_path]),
    )


def _align(exposed: _Exposed, frames: NDArray[Any], prior: TrajectoryPrior, aligner: MovieAligner) -> _Arrays:
    """Align one movie. Random numbers depend on its name, so the result is the same alone or in a series."""
    name = exposed.movie.path.name
    aligned = aligner.align(list(frames), prior, np.random.default_rng(list(name.encode())), exposed.doses)
    if aligned.n_bad_pixels == frames[0].size:
        raise DataUnfitError(f"no pixel of the movie {name} is usable; check it and the gain")
    motion = aligned.motion
    arrays: dict[str, NDArray[Any]] = {
        **aligned.sums._asdict(),
        "shifts_yx_px": motion.shifts_yx_px,
        "error_px": np.sqrt(np.mean(motion.error_yx_px**2)),
        "measured_yx_px": motion.measurement.shifts_yx_px,
        "information_per_px2": motion.measurement.information_per_px2,
        "prior_px": prior.as_array(),
        "fits": np.array(_keep_half_precision(aligned.sums.even, aligned.sums.odd)),
    }
    if aligned.weighted is not None:
        arrays |= {f"weighted_{name}": image for name, image in aligned.weighted._asdict().items()}
        weighted = aligned.weighted
        arrays["weighted_fits"] = np.array(_keep_half_precision(weighted.even, weighted.odd))
    return arrays


def _keep_half_precision(even: NDArray[np.float32], odd: NDArray[np.float32]) -> bool:
    return keeps_half_precision(even) and keeps_half_precision(even + odd)


def _common_shape(series: TiltSeries) -> tuple[int, int]:
    """Shape of the movies, which must be the same for all."""
    movies = [series.movie_of(tilt) for tilt in series.tilts]
    if not movies:
        raise DataUnfitError("the series has no tilts; import it again", series=series.name)
    first = movies[0]
    for movie in movies:
        if movie.shape_yx != first.shape_yx:
            raise DataUnfitError(
                f"{movie.path.name} differs in size from {first.path.name}; all movies of a series must "
                "have the same size: remove it, or import it as a separate series",
                got_yx=movie.shape_yx, expected_yx=first.shape_yx,
            )  # fmt: skip
    return first.shape_yx


def motion_settings(pixel_size_angstrom: float, params: AlignFramesParams) -> MotionSettings:
    """Convert lengths to pixels of the movie."""
    pixel = pixel_size_angstrom
    return MotionSettings(
        max_shift_px=params.max_shift_angstrom / pixel,
        b_factor_px2=params.b_factor_angstrom2 / pixel**2,
        finest_px=max(2.0, params.finest_angstrom / pixel),
        coarsest_px=params.coarsest_angstrom / pixel,
        tolerance_px=params.tolerance_px,
    )


def _doses(series: TiltSeries, tilt: Tilt, movie: Movie, frames: range, n: int) -> FrameDoses:
    """Dose at the borders of a tilt's fractions; all raw frames are assumed to have the same dose."""
    per_frame = tilt.dose_per_angstrom2 / movie.n_frames
    begin, end = (tilt.dose_start_per_angstrom2 + per_frame * i for i in (frames.start, frames.stop))
    edges = np.linspace(begin, end, n + 1)
    return FrameDoses(edges, series.pixel_size_angstrom, series.microscope.voltage_kv)


@dataclass(frozen=True, slots=True)
class _Opening:
    """Function that begins the stacks of a series."""

    context: StepContext
    series: TiltSeries
    params: AlignFramesParams
    with_halves: bool

    def open(self, first: _Arrays, kept: Mapping[int, str]) -> _Sinks:
        """Create the stacks of all frames and, where any movie has more than one, of even frames.

        first : the aligned first movie. kept : keys of sections that may be there already.
        """
        series, params = self.series, self.params
        shape = (len(series.tilts), *binned_shape(_common_shape(series), params.binning))
        pixel = series.pixel_size_angstrom * params.binning
        n_below = _n_below(series, self.context.n_expected)
        sinks = {}
        for prefix in ("", "weighted_") if params.dose_weight_frames else ("",):
            for role in (f"{prefix}images", f"{prefix}even") if self.with_halves else (f"{prefix}images",):
                sinks[role] = self.context.keyed_pixels(
                    role,
                    shape,
                    pixel,
                    dtype=params.dtype if first[f"{prefix}fits"] else "float32",
                    keys=[kept.get(section) for section in range(shape[0])],
                    n_below=n_below,
                )
        return _Sinks(sinks, pixel)


def _n_below(series: TiltSeries, n_expected: int) -> int:
    """Tilts that are expected below the lowest of a growing series.

    A series that went to both sides of its first tilt goes on so; another is expected to end as far on the
    other side of zero.
    """
    angles = np.array([tilt.nominal_tilt_deg for tilt in series.tilts])
    n_missing = n_expected - len(angles)
    if n_missing <= 0:
        return 0
    first = min(series.tilts, key=lambda tilt: tilt.acquisition_index).nominal_tilt_deg
    n_lower = int(np.count_nonzero(angles < first))
    if angles.min() < first < angles.max():
        below = n_expected // 2 - n_lower
    else:
        step = float(np.median(np.diff(np.sort(angles)))) if len(angles) > 1 else _USUAL_STEP_DEG
        below = round(((angles.min() + angles.max()) / max(step, 0.1) + n_missing) / 2)
    return int(np.clip(below, 0, n_missing))


#: Usual step of tilt series; a guess that is only used if the first tilt is the only one.
_USUAL_STEP_DEG = 3.0


@dataclass(frozen=True, slots=True)
class _Sinks:
    """The stacks that are being written, by role, and their pixel size in angstrom."""

    pixels: Mapping[str, KeyedPixels]
    pixel_size_angstrom: float

    def hold(self, section: int) -> bool:
        """Whether the images of a tilt are there already."""
        return all(sink.holds(section) for sink in self.pixels.values())

    def place(self, section: int) -> int:
        """Section of the files."""
        return self.pixels["images"].place(section)

    def stacks(self, keys: Mapping[int, str]) -> tuple[Stack, Stack | None]:
        """The stacks as values of the model. keys : what decides each section."""
        all_images = self.pixels["images"]
        # The type in which the first tilt's sums can be stored is used for all.
        key_at = {self.place(section): f"{key} {all_images.dtype}" for section, key in keys.items()}
        named = tuple(key_at.get(place, "") for place in range(all_images.shape[0]))

        def stack(prefix: str, keys: tuple[str, ...]) -> Stack:
            images, even = self.pixels[f"{prefix}images"], self.pixels.get(f"{prefix}even")
            odd = None if even is None else Difference(images, even)
            return Stack(images, self.pixel_size_angstrom, even, odd, image_keys=keys)

        weighted = stack("weighted_", ()) if "weighted_images" in self.pixels else None
        return stack("", named), weighted

    def write(self, section: int, aligned: _Arrays, key: str, pool: Executor) -> None:
        """Write a tilt, its images side by side."""
        images = {role: _image(role, aligned) for role in self.pixels}

        def write(role: str) -> None:
            self.pixels[role][section] = images[role]
            self.pixels[role].keep(section, key)

        list(pool.map(write, self.pixels))


def _image(role: str, aligned: _Arrays) -> NDArray[np.float32]:
    """A tilt's image for the stack of a role."""
    if not role.endswith("even"):
        return aligned[role]
    if len(aligned["shifts_yx_px"]) == 1:
        # One frame has no halves: both contain half of its counts, and the tilt is marked so (`has_halves`).
        return np.float32(0.5) * aligned[role.removesuffix("even") + "images"]
    return aligned[role]


def _warn_of_single_frames(
    series: TiltSeries, single: Sequence[Tilt], *, with_halves: bool, context: StepContext
) -> None:
    if not single:
        return
    angles = ", ".join(f"{tilt.nominal_tilt_deg:.1f}" for tilt in single[:8])
    angles += "" if len(single) <= 8 else f" and {len(single) - 8} more"
    if with_halves:
        context.warn(
            f"{series.name}: the movies at {angles} deg have a single frame: they are summed without motion "
            "correction and excluded from halves, half-map figures and denoising"
        )
    else:
        context.warn(
            f"{series.name}: the movies have a single frame each: they are summed without motion correction "
            "and without halves, so half-map figures and denoising by halves are not available"
        )


def _tell(series: TiltSeries, errors_angstrom: Sequence[float], context: StepContext) -> None:
    """Figures: length of each tilt's path, and its uncertainty."""
    paths = []
    for tilt in (one for one in series.tilts if one.has_halves):
        positions = np.array(tilt.frame_shifts_yx_angstrom)
        paths.append(float(np.hypot(*np.diff(positions, axis=0).T).sum()))
    if not paths:
        reason = "the movies have a single frame each"
        context.not_measurable("motion_median_angstrom", reason)
        context.not_measurable("motion_max_angstrom", reason)
        context.not_measurable("motion_error_angstrom", reason)
        return
    context.figure("motion_median_angstrom", float(np.median(paths)))
    context.figure("motion_max_angstrom", float(np.max(paths)))
    context.figure("motion_error_angstrom", float(np.median(errors_angstrom)))
