"""Take the poses from one set, and the images from another.

Typical use: align binned, filtered or denoised images, and assign their poses to the unbinned, unfiltered
ones. Series are matched by name and tilts by acquisition index. Poses are in angstrom from the image centre,
so the binning of either set does not matter; images of another field (for example cropped ones) are refused.
Doses and pixels of the images stay unchanged. The measured place of the specimen is assigned with the poses;
the defocus is referred to their origin.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import Field

from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin, with_defocus_of_specimen
from cryoloom.algorithms.series.tilt_matching import corresponding_tilts
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import TiltSeries
from cryoloom.procedures.specimen_origin import with_handedness_followed

__all__ = ["AssignPosesParams", "assign_poses"]

_SAME_FIELD = 0.02
"""Chosen: binning drops some rows at the edge; cropping that would move the centre drops more."""


class AssignPosesParams(StepParams):
    """Parameters of the assignment."""

    exclusions: bool = Field(True, description="Also exclude the tilts that the set with the poses excludes.")


FIGURES = (Figure("n_poses", "tilts", "Poses assigned", "Tilts that use the pose of the other set."),)


@step(
    "assign_poses",
    version=3,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda item, params: 1 << 20,
    also_needs={"poses_from": TiltSeries},
    methods="Poses were taken from other images of the same tilts.",
    figures=FIGURES,
)
def assign_poses(
    series: TiltSeries, params: AssignPosesParams, context: StepContext, *, poses_from: TiltSeries
) -> TiltSeries:
    """Give the tilts of a series the poses of the same tilts in another set."""
    theirs = corresponding_tilts(series, poses_from, "poses_from")
    if not any(tilt.pose for tilt in poses_from.tilts):
        raise DataUnfitError(
            f"poses_from has no poses for {series.name}: it was not aligned; connect it to align_series"
        )
    _require_the_same_field(series, poses_from)
    known = with_defocus_of_specimen(series)
    changes: dict[int, dict[str, Any]] = {}
    for tilt in series.tilts:
        other = theirs[tilt.acquisition_index]
        exclusion = tilt.exclusion or (other.exclusion if params.exclusions else None)
        if other.pose is None and exclusion is None:
            raise DataUnfitError(
                f"poses_from has no pose for tilt {tilt.acquisition_index} of {series.name}, which is not "
                "excluded; align it, or exclude it"
            )
        changes[tilt.acquisition_index] = {"pose": other.pose, "exclusion": exclusion}
    context.figure("n_poses", sum(change["pose"] is not None for change in changes.values()))
    assigned = replace(
        known.with_tilts(changes),
        tilt_axis_deg=poses_from.tilt_axis_deg,
        tilt_offset_deg=poses_from.tilt_offset_deg,
        slab=poses_from.slab,
    )
    return with_defocus_at_origin(with_handedness_followed(assigned, series, context))


def _require_the_same_field(series: TiltSeries, other: TiltSeries) -> None:
    """Refuse sets whose images cover different fields."""
    sizes = [
        tuple(n * stack.pixel_size_angstrom for n in stack.shape_yx)
        for each in (series, other)
        if (stack := each.weighted or each.stack) is not None
    ]
    if len(sizes) < 2:
        return
    mine, its = sizes
    if any(abs(a - b) > _SAME_FIELD * max(a, b) for a, b in zip(mine, its, strict=True)):
        raise DataUnfitError(
            f"the images of {series.name} cover another field than the images that were aligned. Poses are "
            "relative to the image centre, so they do not fit cropped images; use images of the same field",
            got_angstrom=tuple(round(a) for a in its),
            expected_angstrom=tuple(round(a) for a in mine),
        )
