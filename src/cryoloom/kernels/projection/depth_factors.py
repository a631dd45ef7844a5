"""Factors that correct images for the contrast transfer at several depths."""

from __future__ import annotations

from typing import NamedTuple

import torch

__all__ = ["METHODS", "DepthFactors", "TransformLengths"]

METHODS = ("multiply", "phase_flip", "wiener")
"""Corrections, by the number `DepthFactors` calls them."""


class DepthFactors(NamedTuple):
    """Factors of spectra: a function of ``c = sin(2 pi turns)``, by tilt, frequency and depth.

    With x and y in cycles per pixel, ``s = k_xx x^2 + k_xy x y + k_yy y^2`` and so on,
    ``turns = d_xx x^2 + d_xy x y + d_yy y^2 + fourth s^2 + constant - depth s``.
    """

    forms: torch.Tensor
    """(tilt, 8) float32: d_xx, d_xy, d_yy, k_xx, k_xy, k_yy, fourth, constant."""
    first_node: torch.Tensor
    """(tilt + 1,) int64, the depths of tilt t are ``first_node[t]`` to ``first_node[t + 1] - 1``."""
    depths: torch.Tensor
    """(node,) float32 in the unit of the forms."""
    method: int
    """Index into METHODS: ``c``, its sign, or ``c / (c^2 + noise)``."""
    noise: float


class TransformLengths(NamedTuple):
    """Lengths of Fourier transforms, with no factors but 2, 3 and 5."""

    padded: int
    """Rows while they are filtered."""
    along_x: int
    """At least the columns and two margins."""
    along_y: int
    """At least, as a multiple of 16, half of the strips (the larger half) in rows and two margins."""
