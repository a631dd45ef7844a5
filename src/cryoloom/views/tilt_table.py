"""Every tilt of a series as a row of plain numbers: for the report, the command line and the web pages."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cryoloom.model import Ctf, Stack, Tilt, TiltSeries

__all__ = ["TILT_COLUMNS", "TiltColumn", "TiltRow", "is_limited_by_pixels", "tilt_rows"]

FITTED_NYQUIST_FRACTION = 0.95
"""Finest frequency, over Nyquist's, that CTF fits use (`estimate_ctf`)."""
LIMIT_TOLERANCE = 1.05
"""A fit ends at a sample of the spectrum, slightly before the end of the band."""


@dataclass(frozen=True, slots=True)
class TiltColumn:
    """Heading of a column of the table, and the field of `TiltRow` it shows."""

    field: str
    heading: str
    unit: str
    digits: int
    meaning: str


TILT_COLUMNS = (
    TiltColumn("acquisition_index", "Order", "", 0, "place in the order of acquisition; 0 is the first"),
    TiltColumn("tilt_deg", "Tilt", "°", 1, "tilt angle in use: aligned, or nominal with the offset"),
    TiltColumn("dose_end_per_angstrom2", "Dose", "e/Å²", 1, "accumulated dose at the end of the tilt"),
    TiltColumn("motion_angstrom", "Motion", "Å", 1, "length of the path of the specimen during the tilt"),
    TiltColumn("defocus_u_angstrom", "Defocus U", "Å", 0, "larger defocus"),
    TiltColumn("defocus_v_angstrom", "Defocus V", "Å", 0, "smaller defocus"),
    TiltColumn("fit_resolution_angstrom", "CTF fit", "Å", 1, "resolution up to which the CTF fits"),
    TiltColumn("shift_x_angstrom", "Shift x", "Å", 0, "position of the specimen's origin in the image, x"),
    TiltColumn("shift_y_angstrom", "Shift y", "Å", 0, "position of the specimen's origin in the image, y"),
    TiltColumn("residual_angstrom", "Residual", "Å", 1, "mean alignment residual of the tilt"),
)


@dataclass(frozen=True, slots=True)
class TiltRow:
    """One tilt. None for an unknown quantity; the unit is in the name."""

    acquisition_index: int
    section: int | None
    tilt_deg: float
    nominal_tilt_deg: float
    dose_start_per_angstrom2: float
    dose_end_per_angstrom2: float
    is_kept: bool
    reason: str
    """Why the tilt is excluded; "" if it is kept."""
    excluded_by: str
    n_frames: int
    motion_angstrom: float | None
    defocus_u_angstrom: float | None
    defocus_v_angstrom: float | None
    astigmatism_angle_deg: float | None
    phase_shift_deg: float | None
    fit_resolution_angstrom: float | None
    fit_is_limited_by_pixels: bool
    """The rings are visible up to the finest frequency of the pixels: smaller pixels would show more."""
    ctf_is_predicted: bool
    """The image shows no rings; the CTF is predicted by the model of the series."""
    defocus_sd_angstrom: float | None
    """Standard deviation of the mean defocus."""
    shift_x_angstrom: float | None
    shift_y_angstrom: float | None
    axis_deg: float | None
    residual_angstrom: float | None
    pose_is_predicted: bool
    """Nothing was tracked in the image; the pose is interpolated from its neighbours."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks on the numbers of the tilt."""
        remarks = []
        if self.fit_is_limited_by_pixels:
            remarks.append("CTF fit limited by the pixel size")
        if self.ctf_is_predicted:
            remarks.append("no rings visible; CTF predicted")
        if self.pose_is_predicted:
            remarks.append("nothing tracked; pose from the neighbours")
        return tuple(remarks)


def tilt_rows(series: TiltSeries) -> tuple[TiltRow, ...]:
    """All tilts of a series in order of tilt, the excluded ones too."""
    return tuple(
        _row(tilt, float(angle), series.stack)
        for tilt, angle in zip(series.tilts, series.tilt_deg, strict=True)
    )


def is_limited_by_pixels(ctf: Ctf, pixel_size_angstrom: float) -> bool:
    """Whether the rings are visible up to the finest frequency of images of this pixel size."""
    if ctf.predicted or ctf.fit_resolution_angstrom is None:
        return False
    finest = 2 * pixel_size_angstrom / FITTED_NYQUIST_FRACTION
    # Finer than two pixels: measured on images with smaller pixels, before they were binned.
    return 2 * pixel_size_angstrom <= ctf.fit_resolution_angstrom <= LIMIT_TOLERANCE * finest


def _row(tilt: Tilt, tilt_deg: float, stack: Stack | None) -> TiltRow:
    ctf, pose, exclusion = tilt.ctf, tilt.pose, tilt.exclusion
    return TiltRow(
        acquisition_index=tilt.acquisition_index,
        section=tilt.section,
        tilt_deg=tilt_deg,
        nominal_tilt_deg=tilt.nominal_tilt_deg,
        dose_start_per_angstrom2=tilt.dose_start_per_angstrom2,
        dose_end_per_angstrom2=tilt.dose_end_per_angstrom2,
        is_kept=exclusion is None,
        reason="" if exclusion is None else exclusion.reason,
        excluded_by="" if exclusion is None else str(exclusion.by),
        n_frames=len(tilt.frame_shifts_yx_angstrom),
        motion_angstrom=_path_angstrom(tilt),
        defocus_u_angstrom=None if ctf is None else ctf.defocus_u_angstrom,
        defocus_v_angstrom=None if ctf is None else ctf.defocus_v_angstrom,
        astigmatism_angle_deg=None if ctf is None else ctf.astigmatism_angle_deg,
        phase_shift_deg=None if ctf is None else ctf.phase_shift_deg,
        fit_resolution_angstrom=None if ctf is None else _finite(ctf.fit_resolution_angstrom),
        fit_is_limited_by_pixels=ctf is not None
        and stack is not None
        and is_limited_by_pixels(ctf, stack.pixel_size_angstrom),
        ctf_is_predicted=ctf is not None and ctf.predicted,
        defocus_sd_angstrom=None if ctf is None else _finite(ctf.defocus_sd_angstrom),
        shift_x_angstrom=None if pose is None else pose.shift_xy_angstrom[0],
        shift_y_angstrom=None if pose is None else pose.shift_xy_angstrom[1],
        axis_deg=None if pose is None else pose.axis_deg,
        residual_angstrom=None if pose is None else _finite(pose.residual_angstrom),
        pose_is_predicted=pose is not None and pose.predicted,
    )


def _path_angstrom(tilt: Tilt) -> float | None:
    """Length of the path through the positions of the frames; None of fewer than two."""
    positions = np.array(tilt.frame_shifts_yx_angstrom)
    if len(positions) < 2:
        return None
    return float(np.hypot(*np.diff(positions, axis=0).T).sum())


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
