"""Find the orientation of the gain reference from the movies.

Every admissible rotation and flip (four for a rectangular sensor, eight for a square one) is applied to the
reference, and the summed raw frames of the first movies in order of acquisition are corrected with it. The
right orientation gives the smallest variation between neighbouring pixels. Movies are added until the choice
is clear.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.motion.gain_orientation import GainOrientation, find_gain_orientation
from cryoloom.contract.figures import Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.contract.usual_time import UsualTime
from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.gain import fit_to_shape, load_gain, read_gain_file
from cryoloom.model import GainReference, Movie, TiltSeries

__all__ = ["PrepareGainParams", "prepare_gain"]


class PrepareGainParams(StepParams):
    """Parameters of the search."""

    find_orientation: bool = Field(True, description="Off: use the orientation given at the import.")
    max_movies: int = Field(12, ge=1, description="Largest number of movies summed.")


def _bytes_needed(series: TiltSeries, params: PrepareGainParams) -> int:
    movie = next((tilt.movie for tilt in series.tilts if tilt.movie is not None), None)
    # Counts, gain, both over their local means, the product, and the working copies of filters.
    if movie is None:
        return 0
    physical_yx = _physical(movie).shape_yx
    # The last check loads the gain on the movies' own grid, which is finer for EER.
    return 4 * (10 * physical_yx[0] * physical_yx[1] + 2 * movie.shape_yx[0] * movie.shape_yx[1])


def _prepare_ahead(series: TiltSeries, params: PrepareGainParams, context: StepContext) -> TiltSeries | None:
    """The series with its gain, as soon as its first movies determine the orientation."""
    prepared = prepare_gain(series, params, context)
    if series.gain is None or series.gain.orientation_by or not params.find_orientation:
        return prepared
    is_settled = prepared.gain is not None and prepared.gain.orientation_by == "data"
    return prepared if is_settled or len(series.tilts) >= params.max_movies else None


FIGURES = (
    Figure(
        "gain_variation",
        "",
        "Variation with gain reference",
        "Standard deviation between neighbouring pixels, divided by their mean, after gain correction.",
        good="that of shot noise",
    ),
    Figure(
        "raw_variation",
        "",
        "Variation without gain reference",
        "Variation between neighbouring pixels before gain correction. A correct gain reference lowers it.",
        good="above the variation with gain reference",
    ),
    Figure(
        "gain_margin_sigmas",
        "standard errors",
        "Gain orientation, evidence",
        "Difference in variation between the orientation in use and the next best one, in standard errors.",
        good="10 or more; below, the movies do not determine the orientation",
    ),
)
RECORDS = (
    Record(
        "gain_orientation",
        "Variation between neighbouring pixels after correction with the gain reference in each orientation. "
        "The right orientation removes the pattern of the camera best and has the shortest bar.",
        shows="gain_trials",
    ),
)


@step(
    "prepare_gain",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    usual_time=UsualTime(0.1),
    citations=("aretomo3-preprocess, check-gain-transform (criterion)",),
    ahead=_prepare_ahead,
    ignores_exclusions=True,
    methods=(
        "[The orientation of the gain reference was found from the movies (variation "
        "between neighbouring pixels {raw_variation:.3f} before and {gain_variation:.3f} after "
        "correction).]"
    ),
    figures=FIGURES,
    records=RECORDS,
)
def prepare_gain(series: TiltSeries, params: PrepareGainParams, context: StepContext) -> TiltSeries:
    """Find rotation and flip of the gain reference relative to the movies.

    An orientation given by the user is kept; a warning is issued if the movies clearly contradict it.
    """
    gain = series.gain
    movies = [tilt.movie for tilt in sorted(series.tilts, key=lambda t: t.acquisition_index) if tilt.movie]
    if gain is None or not movies:
        return series
    if not params.find_orientation:
        return _checked(series, replace(gain, orientation_by=gain.orientation_by or "as filed"), movies[0])
    found, n_movies = _search(gain, movies[: params.max_movies], context)
    evidence = tuple((f"{t.quarter_turns} turns, {t.flip}", t.variation) for t in found.trials)
    best = (found.best.quarter_turns, found.best.flip)
    if gain.orientation_by:
        chosen = gain
        if found.is_certain and not _is_same(best, gain):
            context.warn(
                f"{series.name}: the given gain orientation ({gain.quarter_turns} turns, {gain.flip}) is "
                f"kept, but {best[0]} turns, {best[1]} gives less variation; leave it out to use that"
            )
    elif found.is_certain:
        chosen = replace(gain, quarter_turns=best[0], flip=best[1], orientation_by="data")
    else:
        chosen = _uncertain(series, gain, found, movies[0], context)
    chosen = replace(chosen, evidence=(*evidence, ("without gain", found.variation_without_gain)))
    context.figure("gain_variation", found.best.variation)
    context.figure("raw_variation", found.variation_without_gain)
    context.figure("gain_margin_sigmas", found.margin_sigmas)
    context.record(
        "gain_orientation",
        {
            "trials": [
                {"quarter_turns": t.quarter_turns, "flip": t.flip, "variation": t.variation}
                for t in found.trials
            ],
            "variation_without_gain": found.variation_without_gain,
            "margin_sigmas": found.margin_sigmas,
            "is_certain": found.is_certain,
            "n_movies": n_movies,
            "quarter_turns": chosen.quarter_turns,
            "flip": chosen.flip,
            "by": chosen.orientation_by,
        },
    )
    return _checked(series, chosen, movies[0])


def _search(gain: GainReference, movies: list[Movie], context: StepContext) -> tuple[GainOrientation, int]:
    """Sum movies in order of acquisition; test after the first, second, fourth and so on."""
    first = _physical(movies[0])
    counts = np.zeros(first.shape_yx, dtype=np.float32)
    image = _on_grid(gain, first.shape_yx)
    for n_movies, movie in enumerate(movies, start=1):
        counts += _counts(_physical(movie), context)
        context.progress(n_movies, len(movies))
        if n_movies & (n_movies - 1) == 0 or n_movies == len(movies):
            found = find_gain_orientation(counts, image)
            if found.is_certain:
                break
    return found, n_movies


def _counts(movie: Movie, context: StepContext) -> NDArray[np.float32]:
    """Sum of a movie's raw frames, ``(y, x)``; for a growing series it is read once."""
    kept = context.load_partial(movie)
    if kept is not None:
        return kept["counts"]
    opened = context.open_movie(movie)
    counts = opened.read_sum(0, opened.n_frames)
    context.save_partial({"counts": counts}, movie)
    return counts


def _physical(movie: Movie) -> Movie:
    """The movie on the camera's physical grid: sub-pixels have no gain of their own."""
    shape = (movie.shape_yx[0] // movie.eer_sampling, movie.shape_yx[1] // movie.eer_sampling)
    return replace(movie, shape_yx=shape, eer_sampling=1)


def _on_grid(gain: GainReference, shape_yx: tuple[int, int]) -> NDArray[np.float32]:
    """Gain on the movies' grid, up to a quarter turn; raises DataUnfitError if no rotation fits."""
    image = read_gain_file(gain)
    for shape in (shape_yx, shape_yx[::-1]):
        fitted = fit_to_shape(image, shape)
        if fitted is not None:
            return fitted
    raise DataUnfitError(
        f"the gain reference {gain.path.name} does not fit the movies in any rotation; give this camera's",
        got_yx=image.shape,
        expected_yx=shape_yx,
    )


def _uncertain(
    series: TiltSeries, gain: GainReference, found: GainOrientation, movie: Movie, context: StepContext
) -> GainReference:
    """Keep the file's orientation if its shape fits, and warn."""
    as_filed = any(_is_same((t.quarter_turns, t.flip), gain) for t in found.trials)
    context.warn(
        f"{series.name}: the movies do not determine the orientation of the gain (variation "
        f"{found.best.variation:.4f} at best, {found.variation_without_gain:.4f} without gain); set "
        "gain_quarter_turns and gain_flip. If the movies are gain-corrected already, give no gain"
    )
    if as_filed:
        return replace(gain, orientation_by="as filed")
    return replace(
        gain, quarter_turns=found.best.quarter_turns, flip=found.best.flip, orientation_by="best guess"
    )


def _is_same(orientation: tuple[int, str], gain: GainReference) -> bool:
    """A flip from left to right is a flip upside down plus two quarter turns."""
    turns, flip = gain.quarter_turns, gain.flip
    if flip == "left_right":
        turns, flip = (turns + 2) % 4, "upside_down"
    return orientation == (turns, flip)


def _checked(series: TiltSeries, gain: GainReference, movie: Movie) -> TiltSeries:
    """The series with its gain, if tests show that the gain fits."""
    load_gain(gain, movie.shape_yx)
    return replace(series, gain=gain)
