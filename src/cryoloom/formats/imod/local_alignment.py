"""IMOD's local alignments (tiltalign's ``local.xf``): areas on a grid, each with its changes of every view.

Format as ``flib/tilt/tilt.f90`` reads it: a line with the number of areas in x and y, the first area's
centre, the spacing, whether x-tilts are there, the pixel size and whether z-factors are there; then for each
area the change of tilt of each view, the change of x-tilt, pairs of z-factors, and a transform a view.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError

__all__ = ["LocalAlignment", "read_local_xf", "write_local_xf"]


@dataclass(frozen=True, slots=True)
class LocalAlignment:
    """Areas in rows of x. Angles in degrees; pixels are those of the aligned stack tiltalign saw."""

    n_areas_xy: tuple[int, int]
    first_centre_xy_px: tuple[int, int]
    spacing_xy_px: tuple[int, int]
    pixel_size_angstrom: float
    tilt_change_deg: NDArray[np.float64]
    """(area, view)."""
    x_tilt_change_deg: NDArray[np.float64] | None
    """(area, view), where the file has them."""
    z_factors: NDArray[np.float64] | None
    """(area, view, 2), where the file has them."""
    transforms: NDArray[np.float64]
    """(area, view, 2, 3), as `read_xf` gives them."""

    @property
    def n_views(self) -> int:
        """Views of each area."""
        return int(self.tilt_change_deg.shape[1])


def read_local_xf(path: Path, n_views: int) -> LocalAlignment:
    """Read the local alignment of a series with this number of views; the file itself does not give it."""
    try:
        header, _, body = path.read_text().partition("\n")
        head = [float(word) for word in header.split()]
        values = np.array(body.split(), dtype=np.float64)
        n_x, n_y, start_x, start_y, step_x, step_y = (int(value) for value in head[:6])
    except (OSError, ValueError) as error:
        raise DataUnfitError(f"{path} is not a local alignment of IMOD: {error}") from error
    has_x_tilt = len(head) > 6 and round(head[6]) > 0
    has_z_factors = len(head) > 8 and round(head[8]) > 0
    per_view = [1, int(has_x_tilt), 2 * int(has_z_factors), 6]
    if len(values) != n_x * n_y * n_views * sum(per_view):
        raise DataUnfitError(
            f"{path} holds {len(values)} numbers; expected {n_x * n_y * n_views * sum(per_view)} for "
            f"{n_x} x {n_y} areas of {n_views} views"
        )
    areas = values.reshape(n_x * n_y, n_views * sum(per_view))
    tilt, x_tilt, factors, transforms = np.split(areas, np.cumsum(per_view)[:-1] * n_views, axis=1)
    lines = transforms.reshape(n_x * n_y, n_views, 6)
    matrices = np.concatenate(
        [lines[..., :4].reshape(n_x * n_y, n_views, 2, 2), lines[..., 4:, None]], axis=-1
    )
    return LocalAlignment(
        (n_x, n_y),
        (start_x, start_y),
        (step_x, step_y),
        head[7] if len(head) > 7 else 0.0,
        tilt,
        x_tilt if has_x_tilt else None,
        factors.reshape(n_x * n_y, n_views, 2) if has_z_factors else None,
        matrices,
    )


def write_local_xf(path: Path, local: LocalAlignment) -> None:
    """Write a local alignment as tiltalign lays it out."""
    has_x_tilt, has_factors = local.x_tilt_change_deg is not None, local.z_factors is not None
    lines = [
        "".join(f"{n:6d}" for n in (*local.n_areas_xy, *local.first_centre_xy_px, *local.spacing_xy_px))
        + f"{int(has_x_tilt):6d}{local.pixel_size_angstrom:12.5f}{int(has_factors):4d}"
    ]
    for area in range(len(local.tilt_change_deg)):
        lines += _rows(local.tilt_change_deg[area], 10, 4)
        if local.x_tilt_change_deg is not None:
            lines += _rows(local.x_tilt_change_deg[area], 10, 4)
        if local.z_factors is not None:
            lines += _rows(local.z_factors[area].ravel(), 6, 6)
        for matrix in local.transforms[area]:
            (a11, a12, dx), (a21, a22, dy) = matrix
            lines.append("".join(f"{v:14.9f}" for v in (a11, a12, a21, a22)) + f"{dx:14.6f}{dy:14.6f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _rows(values: NDArray[np.float64], per_line: int, digits: int) -> list[str]:
    return [
        "".join(f"{value:{digits + 6}.{digits}f}" for value in values[i : i + per_line])
        for i in range(0, len(values), per_line)
    ]
