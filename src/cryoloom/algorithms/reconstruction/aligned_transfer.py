"""The contrast transfer function over the frequencies of an aligned image.

A pose rotates, stretches and shears an image, and its frequencies inversely. Astigmatic defocus times the
square of a frequency is a quadratic form of the frequency's components, and so it is in the aligned frame: no
angle is needed. Phases are in turns, of which only the fraction counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.phase import astigmatism_components
from cryoloom.geometry.tilt_axis import image_from_aligned
from cryoloom.model import Ctf, Microscope, Pose

__all__ = ["AlignedTransfer", "aligned_transfer"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AlignedTransfer:
    """``sin(2 pi turns)`` is the transfer function; x and y in cycles per aligned pixel."""

    defocus: Array
    """(3,), of x^2, x y and y^2: turns by defocus."""
    squared: Array
    """(3,): ``wavelength k^2 / 2``, turns per angstrom of depth."""
    fourth: float
    """Turns by spherical aberration, per square of ``squared``'s value."""
    constant: float
    """Turns by the phase plate and amplitude contrast."""

    @property
    def numbers(self) -> Array:
        """(8,): all of them, one after the other."""
        return np.concatenate([self.defocus, self.squared, [self.fourth, self.constant]])

    def over_rfft2(
        self, shape_yx: tuple[int, int], device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Turns at the origin, between -1/2 and 1/2, and turns per angstrom of depth, float32."""
        y = torch.fft.fftfreq(shape_yx[0], dtype=torch.float64, device=device)[:, None]
        x = torch.fft.rfftfreq(shape_yx[1], dtype=torch.float64, device=device)[None]
        per_angstrom, turns = (
            form[0] * x**2 + form[1] * x * y + form[2] * y**2
            for form in (self.squared.tolist(), self.defocus.tolist())
        )
        turns = turns + self.fourth * per_angstrom**2 + self.constant
        return (turns - turns.round()).float(), per_angstrom.float()


def aligned_transfer(
    pose: Pose, ctf: Ctf, microscope: Microscope, pixel_size_angstrom: float
) -> AlignedTransfer:
    """Transfer function of an image brought into the frame of its tilt axis.

    Conventions as in `cryoloom.algorithms.ctf.transfer`.

    pixel_size_angstrom : of the aligned image.
    """
    # Aligned coordinates are image = axes @ aligned, so frequencies are image = axes^-T @ aligned.
    axes = image_from_aligned(pose.axis_deg, pose.tilt_deg, pose.x_tilt_deg, pose.magnification)
    k_x, k_y = np.linalg.inv(axes).T / pixel_size_angstrom
    squares, differences = _product(k_x, k_x) + _product(k_y, k_y), _product(k_x, k_x) - _product(k_y, k_y)
    mean = 0.5 * (ctf.defocus_u_angstrom + ctf.defocus_v_angstrom)
    axial, diagonal = astigmatism_components(
        ctf.defocus_u_angstrom, ctf.defocus_v_angstrom, ctf.astigmatism_angle_deg
    )
    half_wavelength = 0.5 * microscope.wavelength_angstrom
    constant = math.radians(ctf.phase_shift_deg) + math.asin(microscope.amplitude_contrast)
    return AlignedTransfer(
        defocus=half_wavelength * (mean * squares + axial * differences + 2 * diagonal * _product(k_x, k_y)),
        squared=half_wavelength * squares,
        # -Cs lambda^3 k^4 / 4, of squared^2 = lambda^2 k^4 / 4.
        fourth=-microscope.spherical_aberration_mm * 1e7 * microscope.wavelength_angstrom,
        constant=constant / math.tau,
    )


def _product(one: Array, other: Array) -> Array:
    """Coefficients of x^2, x y and y^2 in the product of two linear forms."""
    return np.array([one[0] * other[0], one[0] * other[1] + one[1] * other[0], one[1] * other[1]])
