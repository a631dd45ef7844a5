"""Files that belong to an image without a project: angles, transforms, points, particles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import CryoloomError, UserInputError
from cryoloom.formats.exchange.marked_points import read_marked_points
from cryoloom.formats.imod.transforms import poses_from_xf, read_angles, read_xf
from cryoloom.formats.session.mdoc import read_mdoc

__all__ = ["SIDE_SUFFIXES", "PointSet", "beside", "placements_of", "point_sets_of", "tilt_angles_of"]

_ANGLE_SUFFIXES = (".rawtlt", ".tlt")
_POINT_SUFFIXES = (".mod", ".tbl", ".star", ".csv")
SIDE_SUFFIXES = frozenset({*_ANGLE_SUFFIXES, ".mdoc", ".xf", *_POINT_SUFFIXES})
_MOST_POINTS = 100_000
"""Chosen: number of points that a browser draws without delay."""


@dataclass(frozen=True, slots=True)
class PointSet:
    """Points of one file, drawn over an image."""

    name: str
    points: NDArray[np.float64]
    """``(n, 3)`` as x, y, z in voxels, where voxel i spans i to i + 1."""
    models: NDArray[np.int64]
    """Group of each point, ``(n,)``."""

    def facts(self) -> dict[str, Any]:
        """Data for the browser."""
        return {"name": self.name, "points": self.points.round(2).tolist(), "models": self.models.tolist()}


def beside(image: Path, given: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Side files of an image: given files, then files with its name in the same folder."""
    stems = {image.stem, image.name}
    try:
        near = sorted(
            path for path in image.parent.iterdir() if path.suffix in SIDE_SUFFIXES and path.stem in stems
        )
    except OSError:
        near = []
    return tuple(dict.fromkeys([*(path.absolute() for path in given), *near]))


def tilt_angles_of(files: Sequence[Path], n_sections: int) -> tuple[float, ...]:
    """Tilt of every section, from the first file with one angle for each; () if there is none."""
    for path in files:
        try:
            if path.suffix in _ANGLE_SUFFIXES:
                angles = tuple(float(angle) for angle in read_angles(path))
            elif path.suffix == ".mdoc":
                angles_in_mdoc = [section.tilt_deg for section in read_mdoc(path).sections]
                angles = tuple(angle for angle in angles_in_mdoc if angle is not None)
            else:
                continue
        except CryoloomError:
            continue  # a file with this name but other content
        if len(angles) == n_sections:
            return angles
    return ()


def placements_of(
    files: Sequence[Path], tilt_deg: Sequence[float], shape_yx: tuple[int, int]
) -> list[tuple[float, float, float]]:
    """Axis in degrees and shift (x, y) in pixels of every section, from an .xf; [] if there is none."""
    path = next((path for path in files if path.suffix == ".xf"), None)
    if path is None:
        return []
    transforms = read_xf(path)
    angles = tilt_deg if len(tilt_deg) == len(transforms) else np.zeros(len(transforms))
    return [
        (one.axis_deg, *one.shift_xy_angstrom) for one in poses_from_xf(transforms, angles, 1.0, shape_yx)
    ]


def point_sets_of(
    files: Sequence[Path], shape: tuple[int, int, int], pixel_size_angstrom: float
) -> tuple[PointSet, ...]:
    """Points of all files with points. shape : (z, y, x) of the image.

    Raises UserInputError or DataUnfitError if a file of points cannot be read.
    """
    return tuple(
        _points(path, shape, pixel_size_angstrom) for path in files if path.suffix in _POINT_SUFFIXES
    )


def _points(path: Path, shape: tuple[int, int, int], size: float) -> PointSet:
    middle = np.array(shape[::-1]) // 2 + 0.5
    if path.suffix == ".star":
        if not size:
            raise UserInputError(f"{path.name} is in angstrom, and the image has no pixel size")
        # Imported here because it loads pandas, which only STAR files need.
        from cryoloom.formats.relion.particles import read_relion_particles
        from cryoloom.formats.relion.star_tables import read_blocks

        rows = [row for table in read_blocks(path).values() for row in table]
        names = {str(row["rlnTomoName"]) for row in rows if "rlnTomoName" in row} or {path.stem}
        found = read_relion_particles(
            path, tomogram_shapes_px=dict.fromkeys(names, shape), tomogram_pixel_angstrom=size
        )
        places = found.positions_xyz_angstrom / size + middle
        return PointSet(path.name, places[:_MOST_POINTS], np.arange(len(places))[:_MOST_POINTS])
    parts, models = [np.zeros((0, 3))], [np.zeros(0, np.int64)]
    for one in read_marked_points(path):
        parts.append(one.points / (size or 1.0) + middle if one.in_angstrom else one.points + 0.5)
        models.append(np.full(len(one.points), one.model))
    return PointSet(path.name, np.concatenate(parts)[:_MOST_POINTS], np.concatenate(models)[:_MOST_POINTS])
