"""Height of the specimen in a tomogram, from measurements; from the voxels only as a last resort.

Heights are along z, in angstrom, from the centre of the volume, which is the origin of the poses. The section
with the most contrast is not reliable: streaks of gold beads above and below the ice have more of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from cryoloom.model import Pose, Tomogram

__all__ = ["SpecimenHeight", "height_from_profile", "measured_height", "track_positions"]

Array = NDArray[np.float64]

GOLD = ("beads", "fiducials")
"""Kinds of tracks that follow gold beads: found here, or read from another program."""
LEAST_TRACKS = 4
"""Chosen: fewer do not show a surface."""
LEAST_BEADS, LEAST_SPREAD_ANGSTROM = 16, 300.0
"""Beads on one surface scatter less in depth than this; a few beads may lie in one half of the specimen."""
LEAST_TILTS_OF_A_TRACK = 5
"""Chosen: two more than a point needs."""
LEAST_TILT_RANGE_DEG = 20.0
"""Below this range, the depth of a track is uncertain by several times the error of its positions."""
SMOOTHING_ANGSTROM = 120.0
"""Chosen: layers thinner than this are no specimen."""
NOISE_PERCENTILE = 15
"""Sections that vary as little as this are noise; a tomogram extends beyond its specimen."""
LEAST_RISE = 0.05
"""Fraction of the largest value below which there is no specimen."""


@dataclass(frozen=True, slots=True)
class SpecimenHeight:
    """Middle of the specimen, its thickness if known, and the source of both."""

    middle_angstrom: float
    thickness_angstrom: float | None
    source: str


def measured_height(tomogram: Tomogram, tracks: Mapping[str, Any] | None = None) -> SpecimenHeight | None:
    """Height of the specimen by its slab, or else by the tracks; None if nothing was measured.

    tracks : record of the alignment: ``track``, ``acquisition_index``, ``x_angstrom``, ``y_angstrom`` and
    ``counts`` of every observation, and the ``kind`` of the tracks. Gold beads may all lie on one surface, so
    they give the middle only if they are spread in depth; tracks of unknown kind are treated as beads.
    """
    slab = tomogram.series.slab
    if slab is not None and slab.z_offset_angstrom.measured is not None:
        middle = float(slab.offset_xyz_angstrom[2])
        return SpecimenHeight(middle, slab.thickness_angstrom.measured, "the measured position of the ice")
    if tracks is None:
        return None
    poses = {t.acquisition_index: t.pose for t in tomogram.series.tilts if t.pose is not None}
    heights = track_positions(tracks, poses)[1][:, 2]
    if len(heights) < LEAST_TRACKS:
        return None
    if tracks.get("kind", "beads") not in GOLD:
        return SpecimenHeight(float(np.median(heights)), None, "the depth of the tracked features")
    low, high = np.percentile(heights, [5, 95])
    if len(heights) < LEAST_BEADS or high - low < LEAST_SPREAD_ANGSTROM:
        return None
    return SpecimenHeight(float(low + high) / 2, float(high - low), "the depth of the gold beads")


def track_positions(tracks: Mapping[str, Any], poses: Mapping[int, Pose]) -> tuple[NDArray[np.int64], Array]:
    """Numbers of the tracks and their positions ``(track, 3)`` in angstrom, xyz, in the frame of the poses.

    Least squares over the observations in use: ``image = shift + magnification M r`` in every tilt.
    Tracks in few tilts, or over a narrow range of tilts, are left out.
    """
    numbers = np.asarray(tracks.get("track", ()), dtype=np.int64)
    index = np.asarray(tracks.get("acquisition_index", ()), dtype=np.int64)
    seen_xy = np.stack(
        [np.asarray(tracks.get(name, ()), dtype=np.float64) for name in ("x_angstrom", "y_angstrom")], axis=1
    )
    counts = np.asarray(tracks.get("counts", np.ones(len(numbers))), dtype=bool)
    counts &= np.isin(index, list(poses))
    found: list[int] = []
    positions: list[Array] = []
    for number in np.unique(numbers[counts]):
        rows = np.flatnonzero(counts & (numbers == number))
        own = [poses[int(i)] for i in index[rows]]
        angles = [pose.tilt_deg for pose in own]
        if len(own) < LEAST_TILTS_OF_A_TRACK or max(angles) - min(angles) < LEAST_TILT_RANGE_DEG:
            continue
        matrix = np.concatenate([pose.magnification * pose.matrix[:2] for pose in own])
        shifts = np.array([pose.shift_xy_angstrom for pose in own])
        position = np.linalg.lstsq(matrix, (seen_xy[rows] - shifts).ravel(), rcond=None)[0]
        found.append(int(number))
        positions.append(position)
    return np.array(found, dtype=np.int64), np.array(positions).reshape(-1, 3)


def height_from_profile(spread: Sequence[float] | Array, voxel_size_angstrom: float) -> SpecimenHeight | None:
    """Middle of the features above noise in the sections; None if there are none.

    spread : variation of detail in every section ``z``. The streaks of gold beads may vary more than the
    ice, but they extend upwards and downwards alike, so the centre of gravity stays in the specimen, unlike
    the section with the largest value.
    """
    values = np.nan_to_num(np.asarray(spread, dtype=np.float64))
    if len(values) < 4:
        return None
    smooth = gaussian_filter1d(values, SMOOTHING_ANGSTROM / voxel_size_angstrom / 2, mode="nearest")
    above = np.maximum(smooth - np.percentile(smooth, NOISE_PERCENTILE), 0.0)
    if above.max() <= LEAST_RISE * smooth.max():
        return None
    z = np.arange(len(values)) - len(values) // 2
    middle = float(np.sum(above * z) / np.sum(above)) * voxel_size_angstrom
    return SpecimenHeight(middle, None, "the centre of gravity of the sections' contrast")
