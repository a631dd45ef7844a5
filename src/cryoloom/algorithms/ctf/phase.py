"""Phase of the contrast transfer function, and the defocus in every direction.

For a weak phase object the image is ``1 - 2 ctf * phase``, with

    chi(k) = pi lambda df(angle) k^2 - pi/2 Cs lambda^3 k^4 + phase_shift + asin(amplitude_contrast)
    ctf(k) = sin(chi)

(underfocus positive). The sign is chosen so that the function is **positive at low frequency**:
multiplying an image by it or by its sign keeps the camera's contrast, protein dark. CTFFIND's function
is minus this one. Astigmatism: ``df(angle) = mean + (u - v) / 2 cos(2 (angle - angle_of_u))``, angles
from +x, counter-clockwise. Wade, Ultramicroscopy 46 (1992); Rohou & Grigorieff, J. Struct. Biol. 192 (2015).

The functions take NumPy arrays and torch tensors, and the module does not import torch: pages and reports
draw a CTF without it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from cryoloom.model import Microscope

if TYPE_CHECKING:
    import torch

__all__ = ["astigmatism_components", "ctf_phase", "directional_defocus", "principal_defoci"]

Array = TypeVar("Array", NDArray[np.float64], "torch.Tensor")


def ctf_phase(
    squared_frequency: Array,
    defocus_angstrom: Array | float,
    microscope: Microscope,
    phase_shift_deg: float = 0.0,
) -> Array:
    """Phase ``chi`` in radians; NumPy or torch, the arguments broadcast.

    squared_frequency : k^2 in 1/angstrom^2. defocus_angstrom : underfocus positive, any shape.
    """
    wavelength = microscope.wavelength_angstrom
    cs_angstrom = microscope.spherical_aberration_mm * 1e7
    constant = math.radians(phase_shift_deg) + math.asin(microscope.amplitude_contrast)
    linear = math.pi * wavelength * defocus_angstrom
    return (
        linear - 0.5 * math.pi * cs_angstrom * wavelength**3 * squared_frequency
    ) * squared_frequency + constant


def directional_defocus(
    angle_rad: Array, defocus_u_angstrom: float, defocus_v_angstrom: float, astigmatism_angle_deg: float
) -> Array:
    """Defocus in angstrom for frequency vectors of the given direction from +x, counter-clockwise."""
    axial, diagonal = astigmatism_components(defocus_u_angstrom, defocus_v_angstrom, astigmatism_angle_deg)
    mean = 0.5 * (defocus_u_angstrom + defocus_v_angstrom)
    double = 2 * angle_rad
    if isinstance(double, np.ndarray | np.floating):
        return mean + axial * np.cos(double) + diagonal * np.sin(double)
    return mean + axial * double.cos() + diagonal * double.sin()


def astigmatism_components(
    defocus_u_angstrom: float, defocus_v_angstrom: float, astigmatism_angle_deg: float
) -> tuple[float, float]:
    """Half the astigmatism as cos 2 angle and sin 2 angle parts, which can be averaged."""
    half = 0.5 * (defocus_u_angstrom - defocus_v_angstrom)
    angle = math.radians(2 * astigmatism_angle_deg)
    return half * math.cos(angle), half * math.sin(angle)


def principal_defoci(defocus_angstrom: float, axial: float, diagonal: float) -> tuple[float, float, float]:
    """Defocus u, v (u >= v) and the angle of u in degrees, -90 to 90, from mean and components."""
    half = math.hypot(axial, diagonal)
    angle_deg = 0.5 * math.degrees(math.atan2(diagonal, axial))
    return defocus_angstrom + half, defocus_angstrom - half, angle_deg
