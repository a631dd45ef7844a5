"""Place of the specimen: a layer of ice or a lamella between two parallel planes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cryoloom.geometry.rotations import rotation_x, rotation_y
from cryoloom.model.added_later import ADDED_LATER
from cryoloom.model.sourced import Sourced

__all__ = ["Slab"]


@dataclass(frozen=True, slots=True)
class Slab:
    """Thickness, place and pretilt of the specimen in the frame of the poses it was measured with.

    The middle plane passes through ``(0, 0, z_offset)`` and is rotated by ``Ry(tilt_y) Rx(tilt_x)``.
    ``applied`` is the movement and rotation of the poses since; None if they have not changed.
    """

    thickness_angstrom: Sourced = field(default_factory=Sourced)
    z_offset_angstrom: Sourced = field(default_factory=Sourced)
    tilt_x_deg: Sourced = field(default_factory=Sourced)
    tilt_y_deg: Sourced = field(default_factory=Sourced)
    middle_error_angstrom: float | None = None
    """Standard error of the middle's height, if it was estimated."""
    thickness_error_angstrom: float | None = field(default=None, metadata=ADDED_LATER)
    """Standard error of the thickness, if it was estimated."""

    @property
    def is_applied(self) -> bool:
        """Whether the poses are already those of the slab lying flat about z = 0."""
        moved = self.z_offset_angstrom.applied is not None
        return moved and self._is_turned

    @property
    def _is_turned(self) -> bool:
        tilts = (self.tilt_x_deg, self.tilt_y_deg)
        return all(tilt.measured is None or tilt.applied is not None for tilt in tilts)

    @property
    def offset_xyz_angstrom(self) -> NDArray[np.float64]:
        """Middle of the slab above the current origin of the poses, ``(3,)``."""
        z_offset = self.z_offset_angstrom
        return np.array([0.0, 0.0, (z_offset.measured or 0.0) - (z_offset.applied or 0.0)])

    @property
    def rotation(self) -> NDArray[np.float64]:
        """Rotation from the flat slab to the current frame of the poses, ``(3, 3)``."""
        if self._is_turned:
            return np.eye(3)
        return rotation_y(self.tilt_y_deg.measured or 0.0) @ rotation_x(self.tilt_x_deg.measured or 0.0)

    @property
    def plane(self) -> tuple[float, float, float]:
        """``(a, b, c)``: the middle is ``z = a + b x + c y`` in the current frame of the poses."""
        x, y, z = self.rotation[:, 2]
        return float(self.offset_xyz_angstrom[2]), float(-x / z), float(-y / z)
