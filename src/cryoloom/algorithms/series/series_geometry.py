"""Pose of the specimen in every image of a series, as arrays: the result of alignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cryoloom.geometry.projection import angles_of_projection, project, projection_matrices
from cryoloom.geometry.rotations import rotation_x, rotation_z
from cryoloom.model import Pose

__all__ = ["SeriesGeometry", "geometry_of_poses"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SeriesGeometry:
    """Pose of every view: ``image = shift + magnification [Rz(axis) Rx(beam) Ry(tilt) Rx(x_tilt) D r]_xy``.

    All arrays are ``(n_views,)``, the shift ``(n_views, 2)``. ``beam`` is the angle by which the beam misses
    the perpendicular to the tilt axis (0 in an ordinary pose: `without_beam_tilt`). ``D`` stretches the
    specimen along its x by ``1 + stretch`` and adds ``skew * y`` to x: a specimen that deforms with dose.
    """

    axis_deg: Array
    tilt_deg: Array
    shift_xy_angstrom: Array
    x_tilt_deg: Array = field(default_factory=lambda: np.zeros(0))
    magnification: Array = field(default_factory=lambda: np.zeros(0))
    stretch: Array = field(default_factory=lambda: np.zeros(0))
    skew: Array = field(default_factory=lambda: np.zeros(0))
    beam_tilt_deg: Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        n = len(self.tilt_deg)
        for name, default in (
            ("x_tilt_deg", 0.0),
            ("magnification", 1.0),
            ("stretch", 0.0),
            ("skew", 0.0),
            ("beam_tilt_deg", 0.0),
        ):
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.full(n, default))

    @classmethod
    def start(
        cls, tilt_deg: Array, axis_deg: float, shift_xy_angstrom: Array | None = None
    ) -> SeriesGeometry:
        """One axis for all views, given tilts, and shifts if there are any yet."""
        tilt = np.asarray(tilt_deg, dtype=np.float64)
        shift = np.zeros((len(tilt), 2)) if shift_xy_angstrom is None else np.array(shift_xy_angstrom, float)
        return cls(np.full(len(tilt), float(axis_deg)), tilt.copy(), shift)

    @property
    def n_views(self) -> int:
        """Number of images."""
        return len(self.tilt_deg)

    def outwards(self, usable: NDArray[np.bool_]) -> list[int]:
        """Usable views in the order of their distance in tilt from the least tilted usable one."""
        least = int(np.argmin(np.where(usable, np.abs(self.tilt_deg), np.inf)))
        order = np.argsort(np.abs(self.tilt_deg - self.tilt_deg[least]), kind="stable")
        return [int(i) for i in order if usable[i]]

    @property
    def mean_axis_deg(self) -> float:
        """Tilt axis of the series as one number."""
        return float(np.mean(self.axis_deg))

    @property
    def matrices(self) -> Array:
        """``(n_views, 3, 3)`` from specimen to image frame with magnification and deformation."""
        rotation = projection_matrices(self.axis_deg, self.tilt_deg, self.x_tilt_deg)
        if self.beam_tilt_deg.any():
            turned = rotation_x(self.beam_tilt_deg) @ projection_matrices(0.0, self.tilt_deg, self.x_tilt_deg)
            rotation = rotation_z(self.axis_deg) @ turned
        deformation = np.tile(np.eye(3), (self.n_views, 1, 1))
        deformation[:, 0, 0] += self.stretch
        deformation[:, 0, 1] += self.skew
        return self.magnification[:, None, None] * (rotation @ deformation)

    def project(self, points_xyz_angstrom: Array) -> Array:
        """Image positions ``(n_views, n_points, 2)`` as xy in angstrom from the image centre."""
        return project(points_xyz_angstrom, self.matrices, self.shift_xy_angstrom)

    def without_beam_tilt(self) -> SeriesGeometry:
        """The same rotations expressed by axis, tilt and x-tilt only, each a little different per view."""
        if not self.beam_tilt_deg.any():
            return self
        bare = replace(
            self, stretch=0 * self.stretch, skew=0 * self.skew, magnification=0 * self.tilt_deg + 1
        )
        axis_deg, tilt_deg, x_tilt_deg = angles_of_projection(bare.matrices)
        return replace(
            self,
            axis_deg=self.axis_deg + _turn(axis_deg, self.axis_deg),
            tilt_deg=tilt_deg,
            x_tilt_deg=x_tilt_deg,
            beam_tilt_deg=np.zeros(self.n_views),
        )

    def with_axis_turned(self, turn_deg: float) -> SeriesGeometry:
        """The same shifts about a tilt axis rotated equally in all views."""
        return replace(self, axis_deg=self.axis_deg + turn_deg)

    def with_origin_moved(self, offset_xyz_angstrom: Array) -> SeriesGeometry:
        """The same geometry for points counted from ``offset`` (points become ``r - offset``)."""
        moved = self.project(np.asarray(offset_xyz_angstrom, dtype=np.float64)[None])[:, 0]
        return replace(self, shift_xy_angstrom=moved)


def geometry_of_poses(poses: Sequence[Pose]) -> SeriesGeometry:
    """The geometry of the poses."""
    return SeriesGeometry(
        np.array([pose.axis_deg for pose in poses]),
        np.array([pose.tilt_deg for pose in poses]),
        np.array([pose.shift_xy_angstrom for pose in poses], dtype=np.float64).reshape(-1, 2),
        np.array([pose.x_tilt_deg for pose in poses]),
        np.array([pose.magnification for pose in poses]),
    )


def _turn(to_deg: Array, from_deg: Array) -> Array:
    """Smallest turn from one direction to another, degrees."""
    return (to_deg - from_deg + 180.0) % 360.0 - 180.0
