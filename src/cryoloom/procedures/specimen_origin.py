"""Place of the specimen in an aligned series, and its CTFs at the origin of the poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from cryoloom.algorithms.alignment.specimen_middle import SPECIMEN_PIXEL_ANGSTROM, find_specimen
from cryoloom.algorithms.series.specimen_frame import (
    handedness_in,
    with_defocus_at_origin,
    with_middle_at_origin,
)
from cryoloom.algorithms.series.tilt_images import TiltImages, shrink_images
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext
from cryoloom.model import TiltSeries
from cryoloom.procedures.specimen_records import MIDDLE_ERROR, THICKNESS_ERROR, beside_transmission

__all__ = ["SPECIMEN_FIGURES", "place_specimen", "with_handedness_followed"]

LEAST_TILTS = 5
"""Chosen: fewest images in which the specimen can be searched for."""

SPECIMEN_FIGURES = (
    Figure(
        "thickness_angstrom",
        "angstrom",
        "Thickness",
        "Thickness of the ice or lamella: between planes of gold, between the planes that enclose its "
        "contents, or by the transmitted electrons.",
        role="thickness",
    ),
    THICKNESS_ERROR,
    Figure(
        "middle_height_angstrom",
        "angstrom",
        "Height of the specimen",
        "Height of the middle of the specimen above the origin of the alignment: the mean of the tracked "
        "points, or the other program's origin. With centre_specimen the origin was moved by this.",
    ),
    MIDDLE_ERROR,
)


def place_specimen(
    series: TiltSeries,
    images: TiltImages,
    places: Sequence[int | None],
    context: StepContext,
    *,
    by: str,
    centre: bool,
    doubt: str = "",
) -> TiltSeries:
    """The aligned series with its specimen located, and its CTFs given at the poses' origin.

    places : index of each tilt's image among the images; None if it has none. centre : move the origin along
    z to the middle of the specimen. doubt : why the poses may be wrong; the place of the specimen in a
    tomogram made with them is then not used.
    """
    if doubt:
        return _not_found(series, doubt, context)
    binning = max(1.0, SPECIMEN_PIXEL_ANGSTROM / images.pixel_size_angstrom)
    small = shrink_images(images, round(min(images.shape_yx) / binning))
    finite = torch.isfinite(small.images.sum(dim=(1, 2)))
    varied = finite & (small.images.amax((1, 2)) > small.images.amin((1, 2)))
    numbered = [
        replace(tilt, section=at)
        for tilt, at in zip(series.tilts, places, strict=True)
        if at is not None and tilt.pose is not None and not tilt.is_excluded and varied[at]
    ]
    if len(numbered) < LEAST_TILTS:
        return _not_found(series, f"only {len(numbered)} images have contrast", context)
    found = find_specimen(replace(series, tilts=tuple(numbered)), small, context.rng)
    if found.doubt:
        return _not_found(series, found.doubt, context)
    if note := beside_transmission(found):
        context.warn(note)
    context.figure("thickness_angstrom", found.fit.thickness_angstrom)
    context.figure("thickness_error_angstrom", found.fit.thickness_error_angstrom)
    context.figure("middle_height_angstrom", found.fit.z_offset_angstrom)
    context.figure("middle_error_angstrom", found.fit.middle_error_angstrom)
    known = with_defocus_at_origin(replace(series, slab=found.slab(by)))
    return with_middle_at_origin(known) if centre else known


def with_handedness_followed(aligned: TiltSeries, before: TiltSeries, context: StepContext) -> TiltSeries:
    """The aligned series with the previous handedness, converted to its new poses; warns if its sign changes.

    before : the series as its handedness was determined.
    """
    hand = handedness_in(aligned, before)
    if hand.applied is not None and hand.applied != before.handedness.applied:
        is_directed = before.axis_is_directed and before.tilt_axis_deg.told is not None
        mirrored = "; by the metadata the tomogram is the mirror image of the specimen" if is_directed else ""
        context.warn(
            f"{aligned.name}: the direction of the tilt axis is opposite to the previous one, so the "
            f"handedness is {hand.applied:+.0f} here, not {before.handedness.applied or 0:+.0f}{mirrored}"
        )
    return replace(aligned, handedness=hand)


def _not_found(series: TiltSeries, reason: str, context: StepContext) -> TiltSeries:
    context.not_measurable("thickness_angstrom", reason)
    context.not_measurable("thickness_error_angstrom", reason)
    context.not_measurable("middle_height_angstrom", reason)
    context.not_measurable("middle_error_angstrom", reason)
    context.warn(
        f"the middle of the specimen was not found: {reason}; z = 0 stays at the origin of the alignment, "
        "and "
        "the measured defocus is taken to be that of z = 0. Check the tomogram, and set height_angstrom "
        "of correct_ctf if the specimen lies elsewhere"
    )
    return replace(series, slab=None)
