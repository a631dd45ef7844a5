"""IMOD tiltalign's text files of fiducials: residuals (.resid) and solved positions (.xyz).

A ``.resid`` line holds the tracked position in pixels of the raw image, counted from its lower left corner,
the view from 0, and the residual in pixels. Lines come track by track, in order of view.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError

__all__ = ["FiducialPositions", "FiducialResiduals", "read_resid", "read_xyz"]


@dataclass(frozen=True, slots=True)
class FiducialResiduals:
    """Flat table of a ``.resid`` file: ``track``, ``view`` ``(n,)`` from 0; pixels ``(n, 2)`` as xy."""

    track: NDArray[np.int64]
    view: NDArray[np.int64]
    position_xy_px: NDArray[np.float64]
    residual_xy_px: NDArray[np.float64]

    @property
    def mean_residual_px(self) -> float:
        """Mean length of the residuals."""
        return float(np.hypot(self.residual_xy_px[:, 0], self.residual_xy_px[:, 1]).mean())


@dataclass(frozen=True, slots=True)
class FiducialPositions:
    """A ``.xyz`` file: pixels, x and y from the corner, z from the middle; and the image's size."""

    xyz_px: NDArray[np.float64]
    contour: NDArray[np.int64]
    pixel_size_angstrom: float
    shape_yx: tuple[int, int]


def read_resid(path: Path) -> FiducialResiduals:
    """Read a ``.resid`` file; a new track begins where the view number does not grow."""
    try:
        lines = path.read_text().splitlines()
        expected = int(lines[0].split()[0])
        table = np.array([[float(word) for word in line.split()[:5]] for line in lines[1:] if line.strip()])
    except (OSError, ValueError, IndexError) as error:
        raise DataUnfitError(
            f"{path} is not a tiltalign .resid file: expected a count, then lines of x y view dx dy ({error})"
        ) from error
    if table.shape != (expected, 5):
        raise DataUnfitError(
            f"{path} announces {expected} residuals but holds {len(table)}; write it again with tiltalign"
        )
    view = table[:, 2].astype(np.int64)
    track = np.concatenate([[0], np.cumsum(np.diff(view) <= 0)]).astype(np.int64)
    return FiducialResiduals(track, view, table[:, :2], table[:, 3:5])


def read_xyz(path: Path) -> FiducialPositions:
    """Read a ``.xyz`` file; pixel size and image size stand at the end of its first line."""
    try:
        text = path.read_text()
        found = re.search(r"Pix:\s*([\d.]+)\s+Dim:\s*(\d+)\s+(\d+)", text)
        rows = [line.split("Pix:")[0].split() for line in text.splitlines() if line.strip()]
        xyz = np.array([[float(word) for word in row[1:4]] for row in rows])
        contour = np.array([int(row[5]) for row in rows], dtype=np.int64)
    except (OSError, ValueError, IndexError) as error:
        raise DataUnfitError(
            f"{path} is not a tiltalign .xyz file: expected number, x, y, z, object, contour ({error})"
        ) from error
    if found is None:
        raise DataUnfitError(f"{path} has no 'Pix: Dim:' on its first line; write it again with tiltalign")
    return FiducialPositions(xyz, contour, float(found[1]), (int(found[3]), int(found[2])))
