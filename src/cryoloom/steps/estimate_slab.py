"""Measure thickness, height and pretilt of the specimen: the place of the ice or lamella in the tomogram.

Gold on one or two planes gives these surfaces (`algorithms/alignment/specimen_middle`). Otherwise a small
tomogram is reconstructed from the aligned images (gold beads filled first). The slab is fitted to the region
with more features than noise of the same images gives, see `algorithms/specimen/slab`. The defocus, measured
on the specimen, is given at the origin of the poses. With `apply`, poses and defoci are changed so that the
specimen lies flat about z = 0 in a tomogram made from them, and the measured tilt offset is applied to the
series. Otherwise poses stay; `position` of reconstruct uses the result.

Figures: ``thickness_angstrom``; ``z_offset_angstrom``, the height of the slab's middle above the origin of
the poses; ``pretilt_x_deg`` and ``pretilt_y_deg``, its inclination about the specimen's x and about the tilt
axis; ``pretilt_error_deg``, the standard error of either; ``slab_contrast``, the density of features inside
the slab divided by that outside; ``middle_error_angstrom``, the standard error of the middle's height.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from cryoloom.algorithms.alignment.specimen_middle import (
    SPECIMEN_PIXEL_ANGSTROM,
    bytes_to_measure_specimen,
    find_specimen,
)
from cryoloom.algorithms.series.derived_pixels import reading_bytes
from cryoloom.algorithms.series.specimen_frame import series_in_slab, with_slab
from cryoloom.algorithms.series.tilt_images import load_tilt_images
from cryoloom.contract.figures import Column, Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import Slab, Sourced, TiltSeries
from cryoloom.procedures.specimen_records import MIDDLE_ERROR, THICKNESS_ERROR, report_specimen

__all__ = ["EstimateSlabParams", "HandSlab", "estimate_slab"]


class HandSlab(BaseModel):
    """A slab set by hand, in the frame of the poses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    thickness_angstrom: float = Field(gt=0, lt=1e5)
    z_offset_angstrom: float = Field(0.0, gt=-1e5, lt=1e5)
    tilt_x_deg: float = Field(0.0, gt=-45, lt=45)
    tilt_y_deg: float = Field(0.0, gt=-45, lt=45)

    def slab(self) -> Slab:
        """As the model keeps it."""
        thickness, z_offset, tilt_x, tilt_y = (
            Sourced(measured=value, measured_by="user")
            for value in (self.thickness_angstrom, self.z_offset_angstrom, self.tilt_x_deg, self.tilt_y_deg)
        )
        return Slab(thickness, z_offset, tilt_x, tilt_y)


class EstimateSlabParams(StepParams):
    """Parameters of the measurement."""

    search_height_angstrom: float = Field(
        5000.0, ge=1000, description="Height of the tomogram in which the specimen is searched."
    )
    fill_beads: bool = Field(True, description="Fill gold beads first, so that they do not dominate.")
    apply: bool = Field(
        False, description="Rotate and move the poses so that the specimen lies flat about z = 0."
    )
    by_hand: HandSlab | None = Field(
        None, description="Thickness, height and pretilts set by hand: nothing is measured then."
    )


def _bytes_needed(series: TiltSeries, params: EstimateSlabParams) -> int:
    """Working images with their spectra, the tomogram and its control, and what is read at a time."""
    search = bytes_to_measure_specimen(series, params.search_height_angstrom)
    return search + reading_bytes(series.best_stack.images)


FIGURES = (
    Figure(
        "n_beads",
        "",
        "Gold beads",
        "Gold beads found in the aligned images and filled before the measurement.",
    ),
    Figure(
        "thickness_angstrom",
        "angstrom",
        "Thickness",
        "Thickness of the ice or lamella, between the planes that enclose its contents.",
        column=Column("Thickness", digits=0, unit="nm", divide_by=10.0),
        role="thickness",
    ),
    THICKNESS_ERROR,
    Figure(
        "z_offset_angstrom",
        "angstrom",
        "Height of the specimen",
        "Height of the middle of the specimen above the origin of the poses.",
    ),
    Figure("pretilt_x_deg", "deg", "Pretilt about x", "Inclination of the specimen along the tilt axis."),
    Figure(
        "pretilt_y_deg",
        "deg",
        "Pretilt about the tilt axis",
        "Inclination of the specimen across the tilt axis. Lamellae often lie at 8 to 12 degrees, "
        "plunge-frozen ice within 3.",
    ),
    Figure(
        "slab_contrast",
        "",
        "Slab, contrast",
        "Density of features inside the slab over that outside.",
        good="10 or more; below, the slab is a guess",
    ),
    Figure(
        "pretilt_error_deg",
        "deg",
        "Pretilt, error",
        "Standard error of each of the two pretilts.",
        good="below 3.2 degrees; above, the slab is a guess",
    ),
    MIDDLE_ERROR,
)
RECORDS = (
    Record(
        "slab",
        "Slice across the middle of a small tomogram with the surfaces of the specimen, and what lies at "
        "each depth.",
        shows="slab",
    ),
)


@step(
    "estimate_slab",
    takes_by_hand=("slab",),
    version=8,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    gpu="optional",
    methods="The specimen was found in the aligned series[; it was {thickness_angstrom:.0f} Å thick].",
    figures=FIGURES,
    records=RECORDS,
)
def estimate_slab(series: TiltSeries, params: EstimateSlabParams, context: StepContext) -> TiltSeries:
    """Measure the place of the specimen, or use the one set by hand; optionally rotate it to be flat."""
    if params.by_hand is not None:
        return _by_hand(series, params.by_hand, context, apply=params.apply)
    stack = series.best_stack
    usable = [tilt for tilt in series.included if tilt.pose is not None and tilt.section is not None]
    if len(usable) < 5:
        raise DataUnfitError(
            "a slab needs at least 5 aligned tilts; run align_series first",
            series=series.name,
            n_tilts=len(usable),
        )
    images = load_tilt_images(
        stack.images, stack.pixel_size_angstrom, SPECIMEN_PIXEL_ANGSTROM, device=context.device
    )
    context.progress(1, 4)
    context.progress(2, 4)
    found = find_specimen(
        series,
        images,
        context.rng,
        height_angstrom=params.search_height_angstrom,
        use_beads=params.fill_beads,
    )
    context.progress(4, 4)
    if params.fill_beads:
        context.figure("n_beads", found.n_beads)
    report_specimen(found, context)
    by = "estimate_slab"
    known = with_slab(series, found.slab(by)) if found.is_certain else series
    if not params.apply:
        return known
    if not (found.is_certain and found.fit.has_pretilt):
        context.warn("no clear slab was found, so the poses are unchanged; check the slice")
        return known
    offset = (series.tilt_offset_deg.applied or 0.0) + found.fit.tilt_y_deg
    flat = series_in_slab(known)
    return replace(flat, tilt_offset_deg=series.tilt_offset_deg.with_measured(offset, by, apply=True))


def _by_hand(series: TiltSeries, given: HandSlab, context: StepContext, *, apply: bool) -> TiltSeries:
    """The series with a slab that a user set."""
    context.figure("thickness_angstrom", given.thickness_angstrom)
    context.figure("z_offset_angstrom", given.z_offset_angstrom)
    context.figure("pretilt_x_deg", given.tilt_x_deg)
    context.figure("pretilt_y_deg", given.tilt_y_deg)
    known = with_slab(series, given.slab())
    if not apply:
        return known
    offset = (series.tilt_offset_deg.applied or 0.0) + given.tilt_y_deg
    corrected = series.tilt_offset_deg.with_measured(offset, "user", apply=True)
    return replace(series_in_slab(known), tilt_offset_deg=corrected)
