"""Tracks of an alignment with a user's corrections, and their solution.

The tracks are those recorded by `align_series`; manual positions are decisions of kind ``track``. They are
solved as in the step (bundle adjustment from the existing poses). Nothing is stored before the step runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate

from cryoloom.algorithms.alignment.bundle_adjustment import BundleSolution, adjust_bundle
from cryoloom.algorithms.alignment.cross_validation import leave_one_out_residuals
from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry, geometry_of_poses
from cryoloom.errors import DataUnfitError
from cryoloom.formats.imod.tracks import ForeignTracks, write_fiducial_model
from cryoloom.model import Tilt, TiltSeries
from cryoloom.store.decisions import Decision

__all__ = ["EditedTracks", "bead_centre", "edited_tracks", "solve", "write_tracks"]

Array = NDArray[np.float64]
_LEAST_POINTS, _LEAST_TILTS = 3, 3
"""Fewer points or tilts do not determine the poses."""
#: Chosen: diameters of the discs that are fitted, over the expected one.
_DIAMETERS = (0.7, 1.0, 1.4, 2.0)


@dataclass(frozen=True, slots=True)
class EditedTracks:
    """Positions ``(n, 2)`` of tracks in the tilts with a pose; manual or tracked."""

    tilts: tuple[Tilt, ...]
    tilt: NDArray[np.int64]
    """Index in ``tilts`` of every observation."""
    track: NDArray[np.int64]
    position_xy_angstrom: Array
    by_hand: NDArray[np.bool_]

    def as_tracks(self) -> Tracks:
        """Tracks for the bundle adjustment; manual and tracked positions have the same weight."""
        return Tracks(
            self.tilt,
            self.track,
            self.position_xy_angstrom,
            np.ones(len(self.tilt)),
            len(self.tilts),
            int(self.track.max(initial=-1)) + 1,
        )


def edited_tracks(series: TiltSeries, record: Any, decided: Sequence[Decision]) -> EditedTracks:
    """Tracks of the record ``residuals`` with the valid decisions.

    Raises DataUnfitError if the alignment recorded no tracks (it was made without them).
    """
    if not isinstance(record, Mapping) or not record.get("track"):
        raise DataUnfitError("this alignment recorded no tracks; run align_series with beads or patches")
    tilts = tuple(tilt for tilt in series.tilts if tilt.pose is not None and not tilt.is_excluded)
    place = {tilt.acquisition_index: i for i, tilt in enumerate(tilts)}
    known: dict[tuple[int, int], tuple[float, float, bool]] = {}
    for track, index, x, y in zip(
        record["track"], record["acquisition_index"], record["x_angstrom"], record["y_angstrom"], strict=True
    ):
        if index in place:
            known[int(track), place[index]] = (float(x), float(y), False)
    for one in decided:
        track, _, acquisition = one.target.partition("/")
        if int(acquisition) not in place:
            continue
        key = int(track), place[int(acquisition)]
        x, y = one.value["x_angstrom"], one.value["y_angstrom"]
        if x is None or y is None:
            known.pop(key, None)
        else:
            known[key] = (float(x), float(y), True)
    keys = sorted(known)
    return EditedTracks(
        tilts,
        np.array([tilt for _, tilt in keys], dtype=np.int64),
        np.array([track for track, _ in keys], dtype=np.int64),
        np.array([known[key][:2] for key in keys], dtype=np.float64).reshape(-1, 2),
        np.array([known[key][2] for key in keys], dtype=bool),
    )


@dataclass(frozen=True, slots=True)
class Solved:
    """An adjustment, with the errors of left-out observations."""

    solution: BundleSolution
    left_out_angstrom: Array
    """Residual of each observation from its point when it is left out, ``(n,)``."""
    predicted_xy_angstrom: Array
    """Expected position of every track in every tilt, ``(n_tracks, n_tilts, 2)``."""

    def summary(self, tracks: Tracks) -> dict[str, float]:
        """Numbers to compare with those before."""
        return {
            "residual_angstrom": round(self.solution.mean_residual_angstrom(tracks), 2),
            "left_out_angstrom": round(float(np.nanmedian(self.left_out_angstrom)), 2),
            "axis_deg": round(self.solution.geometry.mean_axis_deg, 2),
        }


def solve(edited: EditedTracks, *, rotation_per_tilt: bool = False, again: bool = True) -> Solved:
    """Solve with these tracks from the existing poses; without ``again`` only evaluate them with these poses.

    Raises DataUnfitError for too few tracks or tilts.
    """
    tracks = edited.as_tracks()
    n_points, n_tilts = len(np.unique(edited.track)), len(np.unique(edited.tilt))
    if n_points < _LEAST_POINTS or n_tilts < _LEAST_TILTS:
        raise DataUnfitError(
            f"{n_points} tracks in {n_tilts} tilts cannot be solved; expected at least {_LEAST_POINTS} in "
            f"{_LEAST_TILTS}"
        )
    start = geometry_of_poses([tilt.pose for tilt in edited.tilts if tilt.pose is not None])
    free = DegreesOfFreedom(axis="per_view" if rotation_per_tilt else "one")
    solution = adjust_bundle(tracks, start, free) if again else _judged(tracks, start)
    left_out = leave_one_out_residuals(tracks, solution.geometry)
    predicted = solution.geometry.project(solution.points_xyz_angstrom)
    return Solved(solution, left_out, np.swapaxes(predicted, 0, 1))


def _judged(tracks: Tracks, geometry: SeriesGeometry) -> BundleSolution:
    """Points, residuals and weights for the existing poses."""
    fixed = DegreesOfFreedom(axis="fixed")
    return adjust_bundle(tracks, geometry, fixed, max_cycles=3)


def write_tracks(series: TiltSeries, edited: EditedTracks, folder: Path) -> Path:
    """Write the tracks as NAME.fid with the angles, as `align_series` reads them from ``fiducials``."""
    stack = series.best_stack
    with_section = [tilt for tilt in series.tilts if tilt.section is not None]
    in_order = sorted(with_section, key=lambda tilt: tilt.section or 0)
    section = np.array([tilt.section for tilt in edited.tilts])
    _, numbered = np.unique(edited.track, return_inverse=True)
    angles = np.array([tilt.nominal_tilt_deg for tilt in in_order])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{series.name}.fid"
    tracks = ForeignTracks(
        path, numbered.astype(np.int64), section[edited.tilt], edited.position_xy_angstrom, angles
    )
    write_fiducial_model(
        path, tracks, (stack.images.shape[1], stack.images.shape[2]), stack.pixel_size_angstrom
    )
    path.with_suffix(".rawtlt").write_text("".join(f"{angle:.2f}\n" for angle in angles))
    return path


def bead_centre(
    image: NDArray[np.float32], x_px: float, y_px: float, diameter_px: float
) -> tuple[float, float]:
    """Centre of the dark bead nearest to a click, in pixels (x, y) of the image ``(y, x)``.

    A dark disc with a lighter rim is fitted within a diameter of the click, to a fraction of a pixel by a
    paraboloid. Several sizes are tried, because a disc that is too small fits anywhere in a bead. Raises
    DataUnfitError for a click outside the image.
    """
    tried = [_disc_centre(image, x_px, y_px, factor * diameter_px) for factor in _DIAMETERS]
    _, x, y = max(tried)
    return x, y


def _disc_centre(
    image: NDArray[np.float32], x_px: float, y_px: float, diameter_px: float
) -> tuple[float, float, float]:
    """Score and position of the best fit of a disc of this diameter near a place."""
    radius = max(1.0, diameter_px / 2)
    reach = int(np.ceil(max(4.0, 1.2 * diameter_px)))
    size = int(np.ceil(1.6 * radius))
    grid = np.arange(-size, size + 1)
    distance = np.hypot(*np.meshgrid(grid, grid, indexing="ij"))
    # An edge one pixel wide gives a position finer than a pixel.
    disc = np.clip(radius + 0.5 - distance, 0, 1)
    rim = np.clip(1.5 * radius + 0.5 - distance, 0, 1) - disc
    kernel = rim / rim.sum() - disc / disc.sum()
    kernel /= np.linalg.norm(kernel)  # the same noise for discs of all sizes
    cx, cy = round(x_px - 0.5), round(y_px - 0.5)
    if not (0 <= cx < image.shape[1] and 0 <= cy < image.shape[0]):
        raise DataUnfitError("the place clicked lies outside of the image")
    margin = reach + size + 1
    padded = np.pad(np.asarray(image, dtype=np.float64), margin, mode="edge")
    around = padded[cy : cy + 2 * margin + 1, cx : cx + 2 * margin + 1]
    fit = correlate(around, kernel, mode="valid")  # (2 reach + 3) squared: one pixel more than the search
    offset = np.arange(-reach - 1, reach + 2)
    dy, dx = np.meshgrid(offset, offset, indexing="ij")
    # Far from the click another bead may fit better, so near positions are preferred.
    near = fit / max(float(np.abs(fit).max()), 1e-12) - 0.25 * np.hypot(dy, dx) / reach
    near[[0, -1], :] = near[:, [0, -1]] = -np.inf
    y, x = (int(v) for v in np.unravel_index(np.argmax(near), near.shape))
    while True:  # climb to the maximum: the preference for near positions only selects the bead
        y0, x0 = max(1, y - 1), max(1, x - 1)
        part = fit[y0 : min(len(fit) - 1, y + 2), x0 : min(len(fit) - 1, x + 2)]
        j, i = (int(v) for v in np.unravel_index(np.argmax(part), part.shape))
        if (y0 + j, x0 + i) == (y, x) or part[j, i] <= fit[y, x]:
            break
        y, x = y0 + j, x0 + i
    fine_y, fine_x = _top_of(fit[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3])
    return float(fit[y, x]), cx + offset[x] + fine_x + 0.5, cy + offset[y] + fine_y + 0.5


def _top_of(values: Array) -> tuple[float, float]:
    """Maximum of a paraboloid through 5 x 5 values, from their middle; (0, 0) if there is none."""
    if values.shape != (5, 5):
        return 0.0, 0.0
    y, x = (v.ravel() for v in np.meshgrid(np.arange(-2.0, 3), np.arange(-2.0, 3), indexing="ij"))
    design = np.column_stack([np.ones(25), y, x, y * y, x * x, x * y])
    _, by, bx, ayy, axx, axy = np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
    curvature = np.array([[2 * ayy, axy], [axy, 2 * axx]])
    if np.linalg.eigvalsh(curvature)[-1] >= 0:
        return 0.0, 0.0
    top = np.clip(np.linalg.solve(curvature, [-by, -bx]), -1, 1)
    return float(top[0]), float(top[1])
