"""Deconvolution of a tomogram by one transfer function: Tegunov's filter, known as "dimifilter".

``W = C / (C^2 + 1 / SNR)`` with ``SNR(x) = exp(-100 x falloff / voxel) 10^(3 strength) h(x)``, x the fraction
of Nyquist, h the high-pass ``1 - cos(pi min(1, x / highpass))``, which rises from 0 to 2 (tom_deconv). C is
positive at low frequency: dense matter stays dark. It restores contrast between the zeros of the CTF at the
defocus of the untilted image; it is for viewing and segmentation, not for averaging.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.transfer import ctf_1d
from cryoloom.algorithms.images.volume_fourier import frequencies_rfftn
from cryoloom.model import Microscope

__all__ = ["deconvolution_filter", "filter_reach_px", "filtered_volume"]

_TABLE = 2048
"""Steps of the table of the filter. Chosen: far finer than the filter changes."""


def deconvolution_filter(
    voxel_size_angstrom: float,
    defocus_angstrom: float,
    microscope: Microscope,
    *,
    strength: float,
    falloff: float,
    highpass_fraction: float,
    phase_shift_deg: float = 0.0,
    is_phase_flipped: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Filter and transfer function over 2048 frequencies from 0 to Nyquist, ends included.

    highpass_fraction : of Nyquist. is_phase_flipped : the images' CTF was corrected, so |C| is undone.
    """
    fraction = np.linspace(0.0, 1.0, _TABLE)
    highpass = 1.0 - np.cos(math.pi * np.minimum(1.0, fraction / max(highpass_fraction, 1e-9)))
    if highpass_fraction <= 0:
        highpass[:] = 2.0
    signal_to_noise = np.exp(-100.0 * fraction * falloff / voxel_size_angstrom) * 10 ** (3 * strength)
    signal_to_noise *= highpass
    transfer = ctf_1d(fraction / (2 * voxel_size_angstrom), defocus_angstrom, microscope, phase_shift_deg)
    if is_phase_flipped:
        transfer = np.abs(transfer)
    # C / (C^2 + 1 / SNR), written so that SNR = 0 gives 0.
    return transfer * signal_to_noise / (transfer**2 * signal_to_noise + 1.0), transfer


def filter_reach_px(response: NDArray[np.float64], left_out: float = 1e-4) -> int:
    """Distance in voxels beyond which a filter's kernel holds less than ``left_out`` of its power.

    The one-dimensional kernel is taken: the three-dimensional one falls off faster.
    """
    kernel = np.fft.irfft(response)[: len(response)] ** 2
    beyond = 1.0 - np.cumsum(kernel) / kernel.sum()
    return int(np.argmax(beyond < left_out))


def filtered_volume(
    volume: NDArray[np.float32], response: NDArray[np.float64], n_threads: int = 1
) -> NDArray[np.float32]:
    """A volume ``(z, y, x)`` filtered radially; the filter goes from 0 to Nyquist, corners are as Nyquist."""
    spectrum = scipy.fft.rfftn(volume, workers=n_threads)
    z, y, x = (2 * k.numpy() for k in frequencies_rfftn(volume.shape, dtype=torch.float64))
    squared_yx = y[0] ** 2 + x[0] ** 2
    table = response.astype(np.float32)
    for plane, frequency_z in zip(spectrum, z.ravel(), strict=True):
        radius = np.sqrt(squared_yx + frequency_z**2)
        position = np.minimum(radius, 1.0) * (len(table) - 1)
        index = np.minimum(position.astype(np.int32), len(table) - 2)
        share = (position - index).astype(np.float32)
        plane *= table[index] * (1 - share) + table[index + 1] * share
    return scipy.fft.irfftn(spectrum, s=volume.shape, workers=n_threads, overwrite_x=True)
