"""Height of the specimen in a tomogram, from what was measured; from the voxels only as a last resort.

Heights are along z, in angstrom, from the centre of the volume, which is the origin of the poses. The section
with the most contrast is no good answer: rays of gold beads above and below the ice have more of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from cryoloom.model import Pose, Tomogram

__all__ = ["SpecimenHeight", "height_from_profile", "measured_height", "track_positions"]

Array = NDArray[np.float64]

LEAST_TRACKS = 6
LEAST_TILTS_OF_A_TRACK = 5
LEAST_TILT_RANGE_DEG = 20.0
"""Below, the depth of a track is known to no better than a few times the error of its positions."""
SMOOTHING_ANGSTROM = 120.0


@dataclass(frozen=True, slots=True)
class SpecimenHeight:
    """Middle of the specimen, its thickness where that is known, and what both were taken from."""

    middle_angstrom: float
    thickness_angstrom: float | None
    source: str


def measured_height(
    tomogram: Tomogram, tracks: Mapping[str, Any] | None = None, *, tracks_are_beads: bool = False
) -> SpecimenHeight | None:
    """Height of the specimen as the slab, or else the tracks, tell it; None where nothing was measured.

    tracks : record of the alignment: ``track``, ``acquisition_index``, ``x_angstrom``, ``y_angstrom`` and
    ``counts`` of every observation. Gold beads may all lie on one surface, so their height is used only where
    they lie on two.
    """
    slab = tomogram.series.slab
    if slab is not None and slab.z_offset_angstrom.measured is not None:
        middle = 0.0 if slab.is_applied else float(slab.z_offset_angstrom.measured)
        return SpecimenHeight(middle, slab.thickness_angstrom.measured, "the measured slab")
    if tracks is None:
        return None
    poses = {t.acquisition_index: t.pose for t in tomogram.series.tilts if t.pose is not None}
    heights = track_positions(tracks, poses)[1][:, 2]
    if len(heights) < LEAST_TRACKS:
        return None
    low, high = np.percentile(heights, [5, 95])
    if not tracks_are_beads:
        return SpecimenHeight(float(np.median(heights)), None, "the depth of the tracked features")
    # On two surfaces, beads leave the middle of their range empty.
    middle_half = np.abs(heights - (low + high) / 2) < (high - low) / 4
    if high - low < 200.0 or middle_half.mean() > 0.2:
        return None
    return SpecimenHeight(float(low + high) / 2, float(high - low), "the beads on both surfaces")


def track_positions(tracks: Mapping[str, Any], poses: Mapping[int, Pose]) -> tuple[NDArray[np.int64], Array]:
    """Numbers of the tracks and their positions ``(track, 3)`` in angstrom, xyz, in the frame of the poses.

    Least squares over the observations that count: ``image = shift + magnification M r`` in every tilt.
    Tracks seen in few tilts, or over a narrow range of tilts, are left out.
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
    """Middle of the sections that hold more than noise; None where no such layer stands out.

    spread : for every section ``z``, the distance of the quartiles of its detail (`quartile_spread`): rays of
    beads fill less than a quarter of a section, so they do not change it.
    """
    values = np.nan_to_num(np.asarray(spread, dtype=np.float64))
    if len(values) < 4:
        return None
    smooth = gaussian_filter1d(values, SMOOTHING_ANGSTROM / voxel_size_angstrom / 2, mode="nearest")
    noise, top = np.percentile(smooth, 15), float(smooth.max())
    if top <= 1.05 * noise:
        return None
    inside = smooth > noise + 0.5 * (top - noise)
    peak = int(np.argmax(smooth))
    first, last = _run_about(inside, peak)
    n_z = len(values)
    middle = ((first + last) / 2 - n_z // 2) * voxel_size_angstrom
    return SpecimenHeight(float(middle), float((last - first + 1) * voxel_size_angstrom), "the voxels")


def _run_about(inside: Iterable[bool], at: int) -> tuple[int, int]:
    """First and last index of the unbroken run of true values that holds ``at``."""
    flags = list(inside)
    first = last = at
    while first > 0 and flags[first - 1]:
        first -= 1
    while last < len(flags) - 1 and flags[last + 1]:
        last += 1
    return first, last
