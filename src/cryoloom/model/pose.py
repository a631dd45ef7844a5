"""Pose of the specimen when an image was taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryoloom.geometry.projection import projection_matrices
from cryoloom.model.image_warp import ImageWarp
from cryoloom.model.limits import require

__all__ = ["Pose"]


@dataclass(frozen=True, slots=True)
class Pose:
    """``image = shift + magnification [Rz(axis) Ry(tilt) Rx(x_tilt) r]_xy`` (conventions.md, "Projection").

    Angstrom from the image centre, so it holds at any binning.
    """

    axis_deg: float
    tilt_deg: float
    x_tilt_deg: float = 0.0
    shift_xy_angstrom: tuple[float, float] = (0.0, 0.0)
    magnification: float = 1.0
    residual_angstrom: float | None = None
    """Mean distance between tracked and predicted positions; None if nothing was tracked."""
    predicted: bool = False
    """True if the pose was taken from the neighbours' solution because the image itself gave none."""
    warp: ImageWarp | None = None
    """Local displacement of the image, in addition to the pose."""

    def __post_init__(self) -> None:
        """Refuse what no image can have (`limits`)."""
        require("tilt axis", self.axis_deg)
        require("tilt angle", self.tilt_deg)
        require("x-tilt", self.x_tilt_deg)
        require("magnification", self.magnification)
        for shift in self.shift_xy_angstrom:
            require("image shift", shift)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Rotation from specimen to image frame, ``(3, 3)``, without the magnification."""
        return projection_matrices(self.axis_deg, self.tilt_deg, self.x_tilt_deg)
