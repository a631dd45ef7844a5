"""Thickness of a tomogram that holds the specimen, as far as the alignment measured it."""

from __future__ import annotations

from cryoloom.algorithms.series.specimen_frame import height_of_slab
from cryoloom.model import Slab

__all__ = ["SAFE_THICKNESS_ANGSTROM", "is_slab_known", "thickness_around"]

SAFE_THICKNESS_ANGSTROM = 4000.0
"""Used if the specimen was not measured: ice is 1000 to 3000 thick and lies around the tracked points."""
LEAST_MARGIN_ANGSTROM, MARGIN_PART = 200.0, 0.15
"""On either side. Measured thicknesses are wrong by up to a fifth where little is seen; gold and dirt stand
on the surfaces."""
LARGEST_ERROR_ANGSTROM = 120.0
"""Chosen: standard error of the middle's height with which it still sets the thickness."""
LARGEST_THICKNESS_ERROR_PART = 0.25
"""Chosen, of the thickness: with a larger error it does not set the tomogram's."""


def is_slab_known(slab: Slab) -> bool:
    """Whether a slab can set the thickness: both are known well enough, and its pretilt."""
    error, thickness = slab.middle_error_angstrom, slab.thickness_angstrom.measured
    if thickness is None or slab.tilt_y_deg.measured is None or error is None:
        return False
    sure = (slab.thickness_error_angstrom or 0.0) <= LARGEST_THICKNESS_ERROR_PART * thickness
    return sure and error <= LARGEST_ERROR_ANGSTROM


def thickness_around(slab: Slab, length_angstrom: float, width_angstrom: float) -> float:
    """Thickness of a volume about the origin that holds a slab over the field, with a margin, in angstrom.

    length_angstrom, width_angstrom : of the volume along and across the tilt axis.
    """
    thickness = slab.thickness_angstrom.measured or 0.0
    least = max(LEAST_MARGIN_ANGSTROM, MARGIN_PART * thickness, slab.thickness_error_angstrom or 0.0)
    margin = least + 2 * (slab.middle_error_angstrom or 0.0)
    return height_of_slab(slab, length_angstrom, width_angstrom) + 2 * margin
