"""A series whose images were rotated and shifted by its poses: what of its metadata is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cryoloom.model import Tilt, TiltSeries

__all__ = ["upright_series"]


def upright_series(series: TiltSeries, by: str) -> TiltSeries:
    """Series of aligned images: poses keep tilt and x-tilt only, and astigmatism turns with the image.

    The new images no longer correspond to the movies' pixels, so movies and motion are dropped. by : the
    step.
    """
    changed = series.with_tilts({tilt.acquisition_index: _upright(tilt) for tilt in series.tilts})
    return replace(changed, tilt_axis_deg=series.tilt_axis_deg.with_measured(0.0, by, apply=True))


def _upright(tilt: Tilt) -> dict[str, Any]:
    """Metadata of a tilt whose image was rotated by minus its axis."""
    changes: dict[str, Any] = {"movie": None, "frame_shifts_yx_angstrom": (), "frames_per_fraction": None}
    pose = tilt.pose
    if pose is None:
        return changes
    changes["pose"] = replace(pose, axis_deg=0.0, shift_xy_angstrom=(0.0, 0.0), magnification=1.0, warp=None)
    if tilt.ctf is not None:
        angle = (tilt.ctf.astigmatism_angle_deg - pose.axis_deg) % 180.0
        changes["ctf"] = replace(tilt.ctf, astigmatism_angle_deg=angle)
    return changes
