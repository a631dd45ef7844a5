"""Give particles another set of images of the same tilts: unbinned ones, or ones that are not CTF-corrected.

Particles are picked in a tomogram, which knows the images it was made of: often binned and corrected. For
averaging, the images should be unbinned and uncorrected. Positions are relative to the tomogram's centre, and
the poses of the given series place that centre in the images, so both must come from one alignment.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoloom.contract import Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import Particles, TiltSeries

__all__ = ["AssignSeriesParams", "assign_series"]

_LARGEST_TURN_DEG = 2.0
"""Chosen: largest change between both poses of a tilt. A refinement changes them by less, another alignment
by more."""


class AssignSeriesParams(StepParams):
    """No parameters."""


@step(
    "assign_series",
    per="particle_set",
    needs=Particles,
    gives=Particles,
    also_needs={"series_from": TiltSeries},
    bytes_needed=lambda particles, params: 1 << 26,
    methods="Particles were taken from other images of the same tilts.",
    figures=(
        Figure(
            "pixel_size_angstrom",
            "angstrom",
            "Pixel size",
            "Pixel size of the images the particles now have.",
        ),
        Figure(
            "beam_change_deg",
            "deg",
            "Change of the beam",
            "Largest angle between the beam's directions of one tilt in the former and the new series.",
        ),
    ),
)
def assign_series(
    particles: Particles, params: AssignSeriesParams, context: StepContext, *, series_from: TiltSeries
) -> Particles:
    """Give the particles of a tomogram the images of another series of the same tilts."""
    name = series_from.name
    if name not in {one.name for one in particles.series}:
        raise DataUnfitError(
            f"series_from is {name}, but the particles are in {[one.name for one in particles.series]}; "
            "connect series of the same names"
        )
    without = [tilt.acquisition_index for tilt in series_from.included if tilt.pose is None]
    if without:
        raise DataUnfitError(
            f"tilts {without} of series_from have no pose; connect series_from to a step after align_series "
            "or assign_poses",
            series=name,
        )
    change = _beam_change_deg(particles.series_of(name), series_from)
    if change is not None and change > _LARGEST_TURN_DEG:
        raise DataUnfitError(
            f"a tilt of {name} has another pose in series_from: it differs by {change:.1f} deg. Positions "
            "are valid for one alignment only; use a series with the same alignment",
            series=name,
        )
    context.figure("pixel_size_angstrom", series_from.unweighted_stack.pixel_size_angstrom)
    context.figure("beam_change_deg", change, reason="the former series has no poses")
    others = tuple(one for one in particles.series if one.name != name)
    return replace(particles, series=(*others, series_from), images=())


def _beam_change_deg(former: TiltSeries, other: TiltSeries) -> float | None:
    """Largest angle between the beams, in the specimen, of the tilts in both series."""
    known = {tilt.acquisition_index: tilt.pose for tilt in former.tilts if tilt.pose is not None}
    angles = [
        float(np.rad2deg(np.arccos(np.clip(known[t.acquisition_index].matrix[2] @ t.pose.matrix[2], -1, 1))))
        for t in other.included
        if t.pose is not None and t.acquisition_index in known
    ]
    return max(angles, default=None)
