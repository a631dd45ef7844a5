"""Exclude tilts that are dark, covered, shifted, blurred or beyond a limit, each with its reason and figure.

Brightness is compared with the attenuation of the series' specimen (a slab: the logarithm falls with 1 /
cos(tilt)); shift is judged by the part of the field in common with the other tilts: by the poses of a series
that is aligned, otherwise by correlation where it is reliable. Blur is motion within frames, which cannot be
corrected: it reduces power more at finer detail, and most along one direction, relative to the trend with
tilt and dose. A tilt is blurred if the smear that explains this is long and its evidence strong. Decisions
of the user are final.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.alignment.coarse_alignment import align_coarsely
from cryoloom.algorithms.alignment.first_alignment import choose_axis
from cryoloom.algorithms.images.image_smear import SeriesSmear, explaining_terms, fit_smears, power_error
from cryoloom.algorithms.series.tilt_images import TiltImages, load_tilt_images
from cryoloom.algorithms.series.tilt_quality import brightness_ratio, covered_fractions, robust_trend
from cryoloom.algorithms.series.tilt_survey import TiltSurvey, survey_image, survey_tilts
from cryoloom.contract.figures import Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.contract.usual_time import UsualTime
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Exclusion, Stack, Tilt, TiltSeries
from cryoloom.procedures.prepared_images import PreparedImages

__all__ = ["SelectTiltsParams", "select_tilts"]

Array = NDArray[np.float64]

TRUSTED_PROMINENCE = 9.0  # of a correlation peak of the whole field; noise alone reaches about 5
WORKING_PIXELS = 192
"""Chosen: of the shorter side; a shift of the field needs no detail."""


class SelectTiltsParams(StepParams):
    """Parameters of the selection."""

    find_dark: bool = Field(
        True, description="Exclude tilts much darker than expected from their neighbours."
    )
    dark_ratio: float = Field(
        0.6, gt=0, lt=1, description="Dark: mean below this fraction of the expected mean."
    )
    find_covered: bool = Field(True, description="Exclude tilts partly covered, for example by a grid bar.")
    covered_fraction: float = Field(
        0.25, gt=0, lt=1, description="Covered: more than this fraction of the field."
    )
    find_shifted: bool = Field(True, description="Exclude tilts that show another area.")
    shift_fraction: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Shifted: by more than this fraction of the field (0.15 is a usual choice). Unset: so "
        "far that less than least_common_field is in common.",
    )
    least_common_field: float = Field(
        0.65,
        gt=0,
        lt=1,
        description="Fraction of the field that a tilt must have in common with the others; alignment "
        "works down to about this value.",
    )
    find_blurred: bool = Field(True, description="Exclude tilts that are blurred relative to the series.")
    blur_angstrom: float = Field(
        25.0, gt=0, description="Blurred: detail is smeared by more than this beyond the trend of the series."
    )
    min_tilt_deg: float | None = Field(
        None, ge=-90, le=90, description="Exclude tilts at lower nominal angles. Unset: none."
    )
    max_tilt_deg: float | None = Field(
        None, ge=-90, le=90, description="Exclude tilts at higher nominal angles. Unset: none."
    )
    max_dose_per_angstrom2: float | None = Field(
        None, gt=0, description="Exclude tilts at whose end the dose is higher. Unset: none."
    )
    include_tilts: tuple[int, ...] = Field((), description="Acquisition indices never to exclude.")
    exclude_tilts: tuple[int, ...] = Field((), description="Acquisition indices always to exclude.")


def _bytes_needed(series: TiltSeries, params: SelectTiltsParams) -> int:
    """Correlation and small images of every tilt, and a few binned images for each of two threads."""
    n_y, n_x = series.unweighted_stack.shape_yx
    binned = max(1, int(6.0 / series.unweighted_stack.pixel_size_angstrom)) ** 2
    return 100_000_000 + 4_000_000 * len(series.tilts) + 12 * n_y * n_x // binned


_SURVEY = "survey"


def _survey_ahead(series: TiltSeries, params: SelectTiltsParams, context: StepContext) -> TiltSeries:
    """Survey the images that exist so far; exclusions are decided when the series is complete."""
    stack = series.unweighted_stack
    PreparedImages(context, series, stack, _SURVEY).prepare(
        [tilt.section for tilt in series.tilts if tilt.section is not None],
        lambda section: survey_image(stack.images, section, stack.pixel_size_angstrom),
    )
    return series


FIGURES = (
    Figure(
        "n_excluded",
        "tilts",
        "Tilts excluded",
        "Dark, covered, shifted or blurred images, and those beyond a limit, that the following steps do "
        "not use, and those excluded before. The reason is shown with each image.",
    ),
)
RECORDS = (
    Record(
        "tilt_quality",
        "Brightness, shift and blur of every image, the criteria for exclusion.",
        shows="tilt_quality",
    ),
)


@step(
    "select_tilts",
    version=3,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    usual_time=UsualTime(2.0, 5.5),
    ahead=_survey_ahead,
    methods=("Dark, covered, misplaced and blurred tilts were left out[ ({total_n_excluded:.0f} in all)]."),
    figures=FIGURES,
    records=RECORDS,
)
def select_tilts(series: TiltSeries, params: SelectTiltsParams, context: StepContext) -> TiltSeries:
    """Exclude dark, covered, shifted and blurred tilts, with a reason and a figure on each."""
    indices = [tilt.acquisition_index for tilt in series.tilts]
    unknown = sorted((set(params.include_tilts) | set(params.exclude_tilts)) - set(indices))
    if unknown or set(params.include_tilts) & set(params.exclude_tilts):
        raise UserInputError(
            "include_tilts and exclude_tilts must be acquisition indices of the series and not overlap",
            series=series.name,
            unknown=unknown,
        )
    tilts = [tilt for tilt in series.tilts if tilt.section is not None]
    if not tilts:
        raise DataUnfitError("no tilt of the series has an image; run align_frames first", series=series.name)
    stack = series.unweighted_stack
    sections = np.array([tilt.section for tilt in tilts], dtype=int)
    seen = survey_tilts(
        stack.images,
        stack.even if all(tilt.has_halves for tilt in tilts) else None,
        sections,
        stack.pixel_size_angstrom,
        context.n_threads,
        context.progress,
        PreparedImages(context, series, stack, _SURVEY),
    )
    tilt_deg = np.array([tilt.nominal_tilt_deg for tilt in tilts])
    found: list[Exclusion | None] = [None] * len(tilts)
    _judge_light(found, seen, tilt_deg, params)
    illuminated = np.array([reason is None for reason in found])
    if any(tilt.pose for tilt in tilts):
        shift, common = _shift_fractions_of_poses(tilts, stack)
    else:
        working = stack.pixel_size_angstrom * min(stack.shape_yx) / WORKING_PIXELS
        images = load_tilt_images(seen.small, seen.small_pixel_size_angstrom, working)
        shift, common = _shift_fractions(images, tilt_deg, illuminated, series.tilt_axis_deg.applied)
    if params.shift_fraction is not None:
        is_shifted = shift > params.shift_fraction
    else:
        is_shifted = common < params.least_common_field
    smear = _smears(seen, tilts, illuminated)
    least = int(np.argmin(np.where(illuminated, np.abs(tilt_deg), np.inf)))
    for i in np.flatnonzero(illuminated):
        length = smear.length_angstrom[i]
        if params.find_shifted and is_shifted[i] and i != least:
            text = f"shifted by {100 * shift[i]:.0f} % of the field, {100 * common[i]:.0f} % in common"
            found[i] = Exclusion.by_step(text, "select_tilts", float(shift[i]))
        elif params.find_blurred and length > params.blur_angstrom and smear.is_significant[i]:
            text = f"blurred: smeared over {length:.0f} A along {smear.angle_deg[i]:.0f} deg"
            found[i] = Exclusion.by_step(text, "select_tilts", float(length))
    found = [reason or _beyond_limits(tilt, params) for tilt, reason in zip(tilts, found, strict=True)]
    changes = {
        tilt.acquisition_index: {"exclusion": _final(tilt, reason, params)}
        for tilt, reason in zip(tilts, found, strict=True)
    }
    selected = series.with_tilts(changes)
    context.figure("n_excluded", sum(tilt.is_excluded for tilt in selected.tilts))
    context.record(
        "tilt_quality",
        {
            "acquisition_index": [tilt.acquisition_index for tilt in tilts],
            "mean_counts": [float(v) for v in seen.mean],
            "shift_fraction": [float(v) if np.isfinite(v) else None for v in shift],
            "smear_angstrom": [float(v) for v in smear.length_angstrom],
            "smear_angle_deg": [float(v) for v in smear.angle_deg],
        },
    )
    return selected


def _final(tilt: Tilt, found: Exclusion | None, params: SelectTiltsParams) -> Exclusion | None:
    """Decisions of the user first (of this run, then of earlier ones), then exclusions by steps."""
    before = tilt.exclusion
    if tilt.acquisition_index in params.exclude_tilts:
        return Exclusion.by_user("excluded by the user")
    if before is not None and before.by.is_user:
        return before
    if tilt.kept_by is not None or tilt.acquisition_index in params.include_tilts:
        return None
    return before or found


def _beyond_limits(tilt: Tilt, params: SelectTiltsParams) -> Exclusion | None:
    """The exclusion of a tilt beyond the limits of angle or dose; None within them."""
    angle, dose = tilt.nominal_tilt_deg, tilt.dose_end_per_angstrom2
    low, high, most = params.min_tilt_deg, params.max_tilt_deg, params.max_dose_per_angstrom2
    if low is not None and angle < low:
        return Exclusion.by_step(f"{angle:.1f} deg is below {low:g} deg", "select_tilts", angle)
    if high is not None and angle > high:
        return Exclusion.by_step(f"{angle:.1f} deg is above {high:g} deg", "select_tilts", angle)
    if most is not None and dose > most:
        return Exclusion.by_step(f"dose of {dose:.1f} e/A^2 is above {most:g}", "select_tilts", dose)
    return None


def _judge_light(
    found: list[Exclusion | None], seen: TiltSurvey, tilt_deg: Array, params: SelectTiltsParams
) -> None:
    """Mark dark and covered tilts. Images without a zero of intensity (normalised ones) are skipped."""
    mean, blocks = seen.mean, seen.blocks
    if not _counts_from_zero(seen):
        return
    ratio = brightness_ratio(mean, tilt_deg)
    covered = covered_fractions(blocks)
    least = int(np.argmin(np.abs(tilt_deg)))
    for i in range(len(found)):
        black = ratio[i] < 0.2
        if i == least and not black:
            continue
        if params.find_dark and ratio[i] < params.dark_ratio:
            text = f"dark: {100 * ratio[i]:.0f} % of the expected intensity"
            found[i] = Exclusion.by_step(text, "select_tilts", float(ratio[i]))
        elif params.find_covered and covered[i] > params.covered_fraction + float(np.median(covered)):
            text = f"{100 * covered[i]:.0f} % of the field is covered"
            found[i] = Exclusion.by_step(text, "select_tilts", float(covered[i]))


def _counts_from_zero(seen: TiltSurvey) -> bool:
    return bool(np.median(seen.mean) > 0 and np.median(seen.blocks.min(axis=(1, 2))) >= 0)


def _smears(seen: TiltSurvey, tilts: list[Tilt], illuminated: NDArray[np.bool_]) -> SeriesSmear:
    """Smear of each illuminated tilt relative to the others; 0 for the rest."""
    counts = np.where(seen.mean > 0, seen.mean, 1.0)[:, None] if _counts_from_zero(seen) else 1.0
    signal = (seen.power - seen.noise_power) / counts**2
    error = power_error(seen.power, seen.bins) / counts**2
    tilt_deg = np.array([tilt.nominal_tilt_deg for tilt in tilts])
    dose = np.array([tilt.dose_end_per_angstrom2 for tilt in tilts])
    fitted = fit_smears(
        signal[illuminated], error[illuminated], seen.bins, explaining_terms(tilt_deg, dose)[illuminated]
    )
    return fitted.spread_over(illuminated)


def _shift_fractions_of_poses(tilts: list[Tilt], stack: Stack) -> tuple[Array, Array]:
    """Distance of each image from the middle of the series over the shorter side, and the part in common.

    NaN without a pose.
    """
    nowhere = (np.nan, np.nan)
    place = np.array([tilt.pose.shift_xy_angstrom if tilt.pose else nowhere for tilt in tilts])
    off = place - np.nanmedian(place, axis=0)
    n_y, n_x = stack.shape_yx
    return _of_offsets(off, stack.pixel_size_angstrom * np.array([n_x, n_y]))


def _of_offsets(off_xy: Array, field_xy: Array) -> tuple[Array, Array]:
    """Length of each offset over the shorter side of the field, and the part of the field in common."""
    common = np.prod(np.clip(1.0 - np.abs(off_xy) / field_xy, 0.0, 1.0), axis=1)
    return np.hypot(*off_xy.T) / field_xy.min(), common


def _shift_fractions(
    images: TiltImages, tilt_deg: Array, illuminated: NDArray[np.bool_], nominal_deg: float | None
) -> tuple[Array, Array]:
    """Distance of each image from the target over the shorter side, and the part of the field in common.

    NaN if it is not reliable. Distances count from the drift of the whole series, since a chain of
    correlations drifts as well: by a tenth of the field on simulated series. A steady drift counts half.
    """
    unknown = np.full(len(tilt_deg), np.nan)
    if illuminated.sum() < 3:
        return unknown, unknown
    axis_deg, _, _ = choose_axis(images, tilt_deg, illuminated, nominal_deg)
    coarse = align_coarsely(images, tilt_deg, axis_deg, illuminated, max_shift_fraction=0.48)
    trusted = illuminated & ~(coarse.prominence < TRUSTED_PROMINENCE)
    if trusted.sum() < 3:
        return unknown, unknown
    place = np.where(trusted[:, None], coarse.shift_xy_angstrom, np.nan)
    drift = np.column_stack([robust_trend(tilt_deg, along, 2) for along in place.T])
    jump, steady = place - drift, 0.5 * (place - np.nanmedian(place, axis=0))
    longer = np.hypot(*jump.T) >= np.hypot(*steady.T)
    off = np.where(longer[:, None], jump, steady)
    n_y, n_x = images.shape_yx
    return _of_offsets(off, images.pixel_size_angstrom * np.array([n_x, n_y]))
