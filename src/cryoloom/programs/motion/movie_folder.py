"""The movies of a series in a scratch folder, and the images and shifts that a program made of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.motion.movie_fractions import frames_per_fraction
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext
from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.formats.session.gain import load_gain
from cryoloom.model import Pixels, Stack, Tilt, TiltSeries

__all__ = [
    "GAIN_NAME",
    "MOTION_FIGURES",
    "MovedTilt",
    "fractions_of",
    "movie_name",
    "movie_stem",
    "place_movies",
    "series_with_sums",
    "sums_beside",
]

GAIN_NAME = "gain.mrc"

MOTION_FIGURES = (
    Figure(
        "motion_median_angstrom",
        "angstrom",
        "Motion, median over tilts",
        "Length of the path of the specimen during one exposure, as the program found it.",
        role="motion",
    ),
    Figure(
        "motion_max_angstrom",
        "angstrom",
        "Motion, largest",
        "The same for the tilt that moved most. A tilt far above the median may be blurred.",
    ),
)


@dataclass(frozen=True, slots=True)
class MovedTilt:
    """Results of a program for one movie."""

    sums: Mapping[str, Path]
    """Files by what they hold: images, even, odd, weighted_images, ..."""
    shifts_yx_px: NDArray[np.float64] | None
    """``(frame, 2)``: what moves each frame onto the others, in pixels of the movie.

    None if a program does not write it.
    """
    path_angstrom: float | None = None
    """Length of the path, where the shifts are not known."""

    def length_angstrom(self, pixel_size_angstrom: float) -> float:
        """Length of the specimen's path during the exposure."""
        if self.shifts_yx_px is None:
            return self.path_angstrom or 0.0
        return float(np.hypot(*np.diff(self.shifts_yx_px, axis=0).T).sum()) * pixel_size_angstrom


def movie_name(tilt: Tilt, series: TiltSeries) -> str:
    """Name of a tilt's movie in the scratch folder: by acquisition index, whatever it is called outside."""
    suffix = series.movie_of(tilt).path.suffix.lower()
    return f"movies/{movie_stem(tilt)}{'.tif' if suffix == '.tiff' else suffix}"


def movie_stem(tilt: Tilt) -> str:
    """Name of a tilt's movie files in the scratch folder, without folder and ending."""
    return f"{tilt.acquisition_index:04d}"


def sums_beside(base: Path, *, halves: bool) -> dict[str, Path]:
    """Sums that MotionCor and RELION write as ``base.mrc``, and of its halves beside it, by role.

    Their odd frames are 0, 2, ... (RELION counts from 1; MotionCor: ``CCorrectFullShift.cpp``), which is what
    `Stack.even` holds.
    """
    sums = {"images": base.with_suffix(".mrc")}
    if halves:
        sums |= {
            "even": base.with_name(f"{base.name}_ODD.mrc"),
            "odd": base.with_name(f"{base.name}_EVN.mrc"),
        }
    return sums


def fractions_of(series: TiltSeries, tilt: Tilt, dose_per_fraction: float) -> int:
    """Raw frames of one fraction: of EER by this movie's own dose and frame count, else 1."""
    return frames_per_fraction(series, tilt, series.movie_of(tilt), dose_per_fraction, "e/A^2")


def place_movies(series: TiltSeries, folder: Path, *, divide_by_gain: bool = False) -> None:
    """Link the movies, and write the gain as it is applied to them: turned, flipped, 0 at defects.

    divide_by_gain : write the reciprocal, for a program that divides by it.
    """
    (folder / "movies").mkdir(exist_ok=True)
    for tilt in series.tilts:
        movie = series.movie_of(tilt)
        if not movie.path.is_file():
            raise DataUnfitError(f"the movie {movie.path} is missing; bring it back, or exclude the tilt")
        _linked(movie.path, folder / movie_name(tilt, series))
    if series.gain is None:
        return
    gain = load_gain(series.gain, series.movie_of(series.tilts[0]).shape_yx)
    if divide_by_gain:
        gain = np.divide(1.0, gain, out=np.zeros_like(gain), where=gain > 0)
    write_mrc(folder / GAIN_NAME, gain.astype(np.float32), series.pixel_size_angstrom)


def _linked(source: Path, link: Path) -> None:
    """A symbolic link, or a copy where the disk has none."""
    try:
        link.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, link)


def series_with_sums(
    series: TiltSeries,
    moved: Sequence[MovedTilt],
    binning: float,
    per_fraction: Sequence[int | None],
    context: StepContext,
) -> TiltSeries:
    """Series with stacks of the sums, a section for each tilt in order, and the motion of its frames."""
    shape_yx = MrcPixels(moved[0].sums["images"], as_image=True).shape
    raw_yx = series.movie_of(series.tilts[0]).shape_yx
    if any(abs(n * binning - raw) > 2 * binning for n, raw in zip(shape_yx, raw_yx, strict=True)):
        raise DataUnfitError(
            f"the program made images of {shape_yx[1]} x {shape_yx[0]} pixels from movies of {raw_yx[1]} x "
            f"{raw_yx[0]} at binning {binning:g}; the result is not used"
        )
    pixel_size = series.pixel_size_angstrom * binning
    made: dict[str, Pixels] = {}
    for role in moved[0].sums:
        sink = context.new_pixels(role, (len(moved), *shape_yx), pixel_size)
        for section, result in enumerate(moved):
            image = MrcPixels(result.sums[role], as_image=True)
            if image.shape != shape_yx:
                raise DataUnfitError(f"{result.sums[role].name} has another size than the first image")
            sink[section] = image[:]
        made[role] = sink
    changes: dict[int, dict[str, Any]] = {}
    for section, (tilt, result, group) in enumerate(zip(series.tilts, moved, per_fraction, strict=True)):
        changes[tilt.acquisition_index] = {"section": section, "frames_per_fraction": group}
        if result.shifts_yx_px is not None:
            # The specimen is where the frame is moved from.
            positions = -(result.shifts_yx_px - result.shifts_yx_px.mean(axis=0)) * series.pixel_size_angstrom
            changes[tilt.acquisition_index]["frame_shifts_yx_angstrom"] = tuple(
                (float(y), float(x)) for y, x in positions
            )
    lengths = [result.length_angstrom(series.pixel_size_angstrom) for result in moved]
    context.figure("motion_median_angstrom", float(np.median(lengths)))
    context.figure("motion_max_angstrom", max(lengths))
    stack = Stack(made["images"], pixel_size, made.get("even"), made.get("odd"))
    weighted = None
    if "weighted_images" in made:
        weighted = Stack(made["weighted_images"], pixel_size)
    return replace(series.with_tilts(changes), stack=stack, weighted=weighted)
