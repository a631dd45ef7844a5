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
    n_gold: int = 0,
    gold_height_angstrom: float = 0.0,
) -> NDArray[np.float32]:
    """Poisson counts ``(y, x)``; the defocus at the image's centre is the one given.

    White noise is filtered with the CTF at nodes of defocus 200 angstrom apart and blended by each
    pixel's own defocus. astigmatism_angstrom : cos 2 angle and sin 2 angle parts. n_gold : beads of 100
    angstrom, so much above the film.
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
    gold, of_gold = (
        np.zeros(shape_yx),
        local - handedness * gold_height_angstrom / math.cos(math.radians(tilt_deg)),
    )
    for _ in range(n_gold):
        row, column = (rng.uniform(-0.42, 0.42) * n * pixel_size_angstrom for n in shape_yx)
        gold += 1.5 * np.sqrt(np.clip(1 - ((y - row) ** 2 + (x - column) ** 2) / 50.0**2, 0, None))
    wavelength, cs_angstrom = microscope.wavelength_angstrom, 2.7e7
    axial, diagonal = astigmatism_angstrom
    phase = np.zeros(shape_yx)
    lowest, highest = min(local.min(), of_gold.min()), max(local.max(), of_gold.max())
    for node in np.arange(math.floor(lowest / 200.0) * 200.0, highest + 400.0, 200.0):
        share, share_of_gold = (np.clip(1 - np.abs(of - node) / 200.0, 0, 1) for of in (local, of_gold))
        defocus = node + axial * np.cos(2 * angle) + diagonal * np.sin(2 * angle)
        chi = (
            math.pi * wavelength * defocus * squared
            - 0.5 * math.pi * cs_angstrom * wavelength**3 * squared**2
        )
        transfer = np.sin(chi + math.asin(amplitude_contrast))
        phase += share * np.fft.irfft2(noise_rfft * transfer, s=shape_yx)
        if n_gold:
            phase += np.fft.irfft2(np.fft.rfft2(share_of_gold * gold) * transfer, s=shape_yx)
    return rng.poisson(counts * np.clip(1 - 2 * phase, 0, None)).astype(np.float32)
