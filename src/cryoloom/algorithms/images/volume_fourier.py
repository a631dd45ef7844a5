"""Fourier transforms of volumes: their frequencies, shifts, and weights by shells.

Spectra are unshifted ``rfftn`` of torch, default normalisation, ``(z, y, x // 2 + 1)``.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = [
    "exact_radial_frequency_rfftn",
    "frequencies_rfftn",
    "radial_frequency_rfftn",
    "shift_volume",
    "weigh_shells",
]


def frequencies_rfftn(
    shape_zyx: tuple[int, ...],
    spacing: float = 1.0,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frequencies that broadcast over an rfftn: ``(z, 1, 1)``, ``(1, y, 1)`` and ``(1, 1, x // 2 + 1)``.

    spacing : of voxels; frequencies are cycles per its unit, so cycles per voxel for 1.
    """
    n_z, n_y, n_x = shape_zyx
    return (
        torch.fft.fftfreq(n_z, spacing, dtype=dtype, device=device)[:, None, None],
        torch.fft.fftfreq(n_y, spacing, dtype=dtype, device=device)[None, :, None],
        torch.fft.rfftfreq(n_x, spacing, dtype=dtype, device=device)[None, None, :],
    )


def radial_frequency_rfftn(shape_zyx: tuple[int, ...], device: torch.device | str = "cpu") -> torch.Tensor:
    """Length of the frequency vector in cycles per voxel, ``(z, y, x // 2 + 1)`` float32."""
    z, y, x = frequencies_rfftn(shape_zyx, device=device)
    return torch.sqrt(z**2 + y**2 + x**2)


def exact_radial_frequency_rfftn(shape_zyx: tuple[int, ...], spacing: float = 1.0) -> NDArray[np.float64]:
    """Length of the frequency vector, ``(z, y, x // 2 + 1)``; ``spacing`` as of `frequencies_rfftn`.

    The root is that of numpy, which rounds correctly; torch's differs in the last bit of float64.
    """
    z, y, x = (k.numpy() for k in frequencies_rfftn(shape_zyx, spacing, dtype=torch.float64))
    return np.asarray(np.sqrt(z**2 + y**2 + x**2))


def shift_volume(volume: torch.Tensor, shift_xyz_px: NDArray[np.float64]) -> torch.Tensor:
    """A volume ``(z, y, x)`` moved by voxels, periodically, exactly for band-limited content."""
    axes = frequencies_rfftn(tuple(volume.shape), dtype=torch.float64)
    # The ramp as an outer product: three short exponentials instead of one per voxel.
    z, y, x = (
        np.exp(-2j * np.pi * k.numpy() * shift) for k, shift in zip(axes, shift_xyz_px[::-1], strict=True)
    )
    spectrum = torch.fft.rfftn(volume) * torch.tensor(z * y * x, dtype=torch.complex64)
    return torch.fft.irfftn(spectrum, s=volume.shape)


def weigh_shells(volume: torch.Tensor, weight: NDArray[np.float64]) -> torch.Tensor:
    """A cube ``(n, n, n)`` times a weight by whole frequencies of the box, linear between; 0 beyond."""
    n = volume.shape[0]
    radius = exact_radial_frequency_rfftn((n, n, n), 1 / n)
    factor = np.interp(radius.ravel(), np.arange(len(weight)), weight, right=0.0).reshape(radius.shape)
    spectrum = torch.fft.rfftn(volume) * torch.tensor(factor, dtype=torch.float32)
    return torch.fft.irfftn(spectrum, s=volume.shape)
