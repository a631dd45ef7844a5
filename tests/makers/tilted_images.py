"""Images of a tilted film of white scattering, made independently of the simulator."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cryoloom.geometry.projection import projection_matrices
from cryoloom.model import Microscope


def tilted_film(
    rng: np.random.Generator,
    *,
    defocus_angstrom: float,
    tilt_deg: float = 0.0,
    axis_deg: float = 0.0,
    handedness: int = 1,
    astigmatism_angstrom: tuple[float, float] = (0.0, 0.0),
    shape_yx: tuple[int, int] = (512, 512),
    pixel_size_angstrom: float = 2.7,
    phase_rms_rad: float = 0.1,
    counts: float = 20.0,
    amplitude_contrast: float = 0.1,
) -> NDArray[np.float32]:
    """Poisson counts ``(y, x)``; the defocus at the image's centre is the one given.

    White noise is filtered with the CTF at nodes of defocus 200 angstrom apart and blended by each
    pixel's own defocus. astigmatism_angstrom : cos 2 angle and sin 2 angle parts.
    """
    n_y, n_x = shape_yx
    microscope = Microscope(amplitude_contrast=amplitude_contrast)
    k_y, k_x = np.fft.fftfreq(n_y, pixel_size_angstrom)[:, None], np.fft.rfftfreq(n_x, pixel_size_angstrom)
    squared, angle = k_x**2 + k_y**2, np.arctan2(k_y, k_x)
    y, x = np.meshgrid(*((np.arange(n) - n // 2) * pixel_size_angstrom for n in shape_yx), indexing="ij")
    # Specimen points (X, Y, 0) that project to (x, y), and their height along the beam.
    matrix = projection_matrices(axis_deg, tilt_deg)
    specimen = np.linalg.solve(matrix[:2, :2], np.stack([x.ravel(), y.ravel()]))
    height = (matrix[2, :2] @ specimen).reshape(shape_yx)
    local = defocus_angstrom - handedness * height
    noise_rfft = np.fft.rfft2(rng.standard_normal(shape_yx) * phase_rms_rad)
    wavelength, cs_angstrom = microscope.wavelength_angstrom, 2.7e7
    phase = np.zeros(shape_yx)
    for node in np.arange(math.floor(local.min() / 200.0) * 200.0, local.max() + 400.0, 200.0):
        share = np.clip(1 - np.abs(local - node) / 200.0, 0, 1)
        axial, diagonal = astigmatism_angstrom
        defocus = node + axial * np.cos(2 * angle) + diagonal * np.sin(2 * angle)
        chi = (
            math.pi * wavelength * defocus * squared
            - 0.5 * math.pi * cs_angstrom * wavelength**3 * squared**2
        )
        phase += share * np.fft.irfft2(noise_rfft * np.sin(chi + math.asin(amplitude_contrast)), s=shape_yx)
    return rng.poisson(counts * np.clip(1 - 2 * phase, 0, None)).astype(np.float32)
