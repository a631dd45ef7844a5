"""The contrast transfer function: how the specimen's phase shift becomes contrast in an image.

For a weak phase object the image is ``1 - 2 ctf * phase``, with

    chi(k) = pi lambda df(angle) k^2 - pi/2 Cs lambda^3 k^4 + phase_shift + asin(amplitude_contrast)
    ctf(k) = sin(chi)

(underfocus positive). The sign is chosen so that the function is **positive at low frequency**:
multiplying an image by it or by its sign keeps the camera's contrast, protein dark. CTFFIND's function
is minus this one. Astigmatism: ``df(angle) = mean + (u - v) / 2 cos(2 (angle - angle_of_u))``, angles
from +x, counter-clockwise. Wade, Ultramicroscopy 46 (1992); Rohou & Grigorieff, J. Struct. Biol. 192 (2015).
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.fourier import frequencies_rfft
from cryoloom.model import Ctf, Microscope

__all__ = [
    "astigmatism_components",
    "ctf_1d",
    "ctf_2d",
    "ctf_phase",
    "directional_defocus",
    "principal_defoci",
]

Array = TypeVar("Array", NDArray[np.float64], torch.Tensor)


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
    if isinstance(angle_rad, torch.Tensor):
        return mean + axial * torch.cos(2 * angle_rad) + diagonal * torch.sin(2 * angle_rad)
    return mean + axial * np.cos(2 * angle_rad) + diagonal * np.sin(2 * angle_rad)


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


def ctf_1d(
    frequency_per_angstrom: NDArray[np.float64],
    defocus_angstrom: float,
    microscope: Microscope,
    phase_shift_deg: float = 0.0,
) -> NDArray[np.float64]:
    """Transfer function ``sin(chi)`` at the given frequencies, without astigmatism and envelope."""
    squared = np.asarray(frequency_per_angstrom, dtype=np.float64) ** 2
    return np.sin(ctf_phase(squared, defocus_angstrom, microscope, phase_shift_deg))


def ctf_2d(
    shape_yx: tuple[int, int],
    pixel_size_angstrom: float,
    ctf: Ctf,
    microscope: Microscope,
    *,
    height_angstrom: float = 0.0,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Transfer function ``sin(chi)`` on an rfft2 grid, ``(y, x // 2 + 1)`` float32, without envelope.

    ``height_angstrom`` is subtracted from the defocus: handedness times the beam coordinate ``w`` of the part
    of the specimen it is for (conventions.md, "Defocus").
    """
    frequency_y, frequency_x = frequencies_rfft(shape_yx, device)
    squared = (frequency_y.double() ** 2 + frequency_x.double() ** 2) / pixel_size_angstrom**2
    angle = torch.atan2(frequency_y.double(), frequency_x.double())
    defocus = directional_defocus(
        angle,
        ctf.defocus_u_angstrom - height_angstrom,
        ctf.defocus_v_angstrom - height_angstrom,
        ctf.astigmatism_angle_deg,
    )
    # The phase reaches hundreds of radians: double until the sine is taken.
    return torch.sin(ctf_phase(squared, defocus, microscope, ctf.phase_shift_deg)).float()
