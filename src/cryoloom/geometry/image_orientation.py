"""Quarter turns and flips of an image, as camera programs name them (conventions.md: row 0 is the bottom)."""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["ORIENTATIONS", "Flip", "orient_image"]

Flip = Literal["none", "upside_down", "left_right"]
_Pixel = TypeVar("_Pixel", bound=np.generic)

ORIENTATIONS: tuple[tuple[int, Flip], ...] = (
    (0, "none"),
    (1, "none"),
    (2, "none"),
    (3, "none"),
    (0, "upside_down"),
    (1, "upside_down"),
    (2, "upside_down"),
    (3, "upside_down"),
)
"""All eight orientations; a flip from left to right is two more turns and a flip upside down."""


def orient_image(image: NDArray[_Pixel], quarter_turns: int, flip: Flip) -> NDArray[_Pixel]:
    """Image ``(y, x)`` turned counter-clockwise as displayed with row 0 at the bottom, then flipped."""
    # NumPy turns counter-clockwise with row 0 at the top: the opposite direction here.
    turned = np.rot90(image, -quarter_turns)
    if flip == "upside_down":
        turned = turned[::-1]
    elif flip == "left_right":
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)
