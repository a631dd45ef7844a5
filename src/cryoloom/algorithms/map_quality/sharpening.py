"""Sharpening of an average: restores high frequencies that the detector and imprecise poses attenuated.

Amplitudes of a protein's map fall beyond 10 A as ``exp(-B k^2 / 4)`` (Rosenthal & Henderson, J. Mol. Biol.
333 (2003)). The map is weighted by the correlation of its halves, ``C_ref = sqrt(2 FSC / (1 + FSC))``,
divided by the detector's modulation transfer, multiplied by ``exp(B k^2 / 4)``, and cut at its resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.volume_fourier import exact_radial_frequency_rfftn, weigh_shells

__all__ = ["GuinierFit", "fit_b_factor", "radial_amplitude", "reference_correlation", "sharpened"]

Array = NDArray[np.float64]

_COARSEST_ANGSTROM = 10.0
"""Resolution at which secondary structure ends and Wilson's straight line begins."""
_LEAST_SHELLS, _LEAST_TRANSFER = 5, 0.1
"""Chosen: for a line through them; below a tenth noise would be raised tenfold."""


@dataclass(frozen=True, slots=True)
class GuinierFit:
    """Logarithm of amplitudes over squared frequency in 1/A^2, and the straight line through them."""

    squared_per_angstrom2: Array
    log_amplitude: Array
    fitted: Array
    b_factor_angstrom2: float
    """Positive where amplitudes fall."""


def reference_correlation(correlation: Array) -> Array:
    """Correlation of the whole map with a perfect one, from that of its halves."""
    fsc = np.clip(correlation, 0.0, 1.0)
    return np.asarray(np.sqrt(2.0 * fsc / (1.0 + fsc)))


def radial_amplitude(density: torch.Tensor) -> Array:
    """Root mean square of the transform of a map ``(n, n, n)`` by shells 0 to ``n // 2``."""
    n = density.shape[0]
    power = (torch.fft.rfftn(density.double()).abs() ** 2).numpy()
    shell = _shell_numbers(n)
    sums = np.bincount(shell.ravel(), power.ravel())[: n // 2 + 1]
    counts = np.bincount(shell.ravel())[: n // 2 + 1]
    return np.asarray(np.sqrt(sums / counts))


def fit_b_factor(amplitude: Array, box_angstrom: float, resolution_angstrom: float) -> GuinierFit | None:
    """B-factor of a map of known resolution, or None where too few shells lie between 10 A and it."""
    shells = np.arange(len(amplitude))
    first = int(np.ceil(box_angstrom / _COARSEST_ANGSTROM))
    last = min(int(box_angstrom / resolution_angstrom), len(amplitude) - 1)
    used = shells[first : last + 1]
    used = used[amplitude[used] > 0] if len(used) else used
    if len(used) < _LEAST_SHELLS:
        return None
    squared = (used / box_angstrom) ** 2
    slope, offset = np.polyfit(squared, np.log(amplitude[used]), 1)
    every = shells[1 : last + 1]
    return GuinierFit(
        (every / box_angstrom) ** 2,
        np.log(np.maximum(amplitude[every], 1e-30)),
        offset + slope * (every / box_angstrom) ** 2,
        -4.0 * float(slope),
    )


def sharpened(
    density: torch.Tensor,
    voxel_angstrom: float,
    weight: Array,
    b_factor_angstrom2: float,
    resolution_angstrom: float,
    transfer: Array | None = None,
) -> torch.Tensor:
    """A map ``(n, n, n)`` weighted by shells, corrected for detector transfer and a B-factor, low-passed.

    weight, transfer : by shells of the map; transfer below 0.1 counts as that. The low-pass is a cosine of
    two shells about the resolution.
    """
    n = density.shape[0]
    shells = np.arange(n // 2 + 1)
    frequency = shells / (n * voxel_angstrom)
    factor = np.zeros(n // 2 + 1)
    factor[: min(len(weight), n // 2 + 1)] = weight[: n // 2 + 1]
    factor *= np.exp(b_factor_angstrom2 * frequency**2 / 4.0)
    if transfer is not None:
        factor /= np.maximum(transfer[: n // 2 + 1], _LEAST_TRANSFER)
    edge = np.clip((shells - n * voxel_angstrom / resolution_angstrom + 1.0) / 2.0, 0.0, 1.0)
    factor *= 0.5 + 0.5 * np.cos(np.pi * edge)
    return weigh_shells(density.float(), factor)


def _shell_numbers(n: int) -> NDArray[np.int64]:
    return np.rint(exact_radial_frequency_rfftn((n, n, n), 1 / n)).astype(np.int64)
