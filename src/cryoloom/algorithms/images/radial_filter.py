"""The filter of weighted back-projection: ramp, cut-off, and the weight of each tilt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cryoloom.geometry.slab_path import sines_between

__all__ = ["RadialFilter", "exact_weights", "ramp_filter", "sirt_like_factor", "tilt_increments_rad"]

# 0.00195, 0.3 and the effective iterations beyond 15: NovaCTF's filterProjections.cpp, which states that they
# make the filter look like IMOD's SIRT after as many iterations.
_SIRT_RATE_PER_PX, _SIRT_EXTRA_ITERATIONS = 0.00195, 0.3


@dataclass(frozen=True, slots=True)
class RadialFilter:
    """What the rows of the aligned images are multiplied by in Fourier space, in cycles per aligned pixel."""

    cutoff_per_px: float
    falloff_per_px: float
    """IMOD's RADIAL: end of the ramp, and width of the Gaussian beyond it."""
    sirt_like_iterations: int = 0
    """0 for none; otherwise the ramp is attenuated as SIRT with this many iterations does."""
    thickness_px: float | None = None
    """Thickness of the specimen for exact weights instead of increments of the ramp; None: increments."""

    def of_tilts(self, tilt_deg: ArrayLike, n_samples: int) -> torch.Tensor:
        """Filter of every tilt, ``(tilt, n_samples // 2 + 1)`` float32, for rows of ``n_samples``."""
        ramp = ramp_filter(n_samples)
        if self.thickness_px is None:
            increments = torch.from_numpy(tilt_increments_rad(tilt_deg))
            weights = increments[:, None] * ramp[None]
        else:
            weights = torch.from_numpy(exact_weights(tilt_deg, n_samples, self.thickness_px))
        frequency = torch.fft.rfftfreq(n_samples, dtype=torch.float64)
        if self.sirt_like_iterations:
            weights = weights * sirt_like_factor(frequency, self.sirt_like_iterations)
        # From the cut-off on: the value there, falling off as a Gaussian.
        at = min(n_samples // 2, round(self.cutoff_per_px * n_samples))
        fall = torch.exp(-(((frequency[at:] - self.cutoff_per_px) / self.falloff_per_px) ** 2))
        weights[:, at:] = weights[:, at : at + 1] * fall
        return weights.to(torch.float32)


def ramp_filter(n_samples: int) -> torch.Tensor:
    """Ramp in cycles per pixel, ``(n_samples // 2 + 1)`` float64.

    It is the transform of Kak and Slaney's band-limited kernel (Principles of Computerized Tomographic
    Imaging, 3.3: 1/4 at 0, ``-1 / (pi k)^2`` at odd k), so that rows padded to twice their length are
    filtered without wrapping; its value at zero frequency is 0.2 of the first step, as IMOD's and NovaCTF's.
    """
    sample = torch.arange(n_samples, dtype=torch.float64)
    distance = torch.minimum(sample, n_samples - sample)
    kernel = torch.where(distance % 2 == 1, -1.0 / (torch.pi * distance.clamp(min=1)) ** 2, 0.0)
    kernel[0] = 0.25
    return torch.fft.rfft(kernel).real


def sirt_like_factor(frequency_per_px: torch.Tensor, n_iterations: int) -> torch.Tensor:
    """Factor with which one back-projection resembles SIRT: ``1 - (1 - a / f)^(N + 0.3)``.

    1 below a = 0.00195 cycles per pixel. Many iterations leave the ramp unchanged, few attenuate the high
    frequencies to a constant, ``N a / f``. N counts fully up to 15, 0.8 each up to 30, then 0.6.
    """
    if n_iterations < 1:
        raise ValueError(f"expected at least 1 iteration, got {n_iterations}")
    effective = min(n_iterations, 15) + 0.8 * min(max(n_iterations - 15, 0), 15)
    effective += 0.6 * max(n_iterations - 30, 0)
    ratio = _SIRT_RATE_PER_PX / frequency_per_px.clamp(min=_SIRT_RATE_PER_PX)
    return 1 - (1 - ratio) ** (effective + _SIRT_EXTRA_ITERATIONS) * (ratio < 1)


def exact_weights(tilt_deg: ArrayLike, n_samples: int, thickness_px: float) -> NDArray[np.float64]:
    """Weights ``(tilt, n_samples // 2 + 1)`` for any tilts, as ramp times angle.

    In Fourier space a projection of a specimen of thickness D is a slab 1 / D thick. The weight is one over
    the overlap of a tilt's slab with those of all tilts: ``1 / (D sum_i tri(D f sin(t_i - t)))``. Where
    neighbours overlap it is the ramp times their distance; from Crowther's resolution on it no longer grows.
    Harauz & van Heel, Optik 73 (1986).
    """
    frequency = np.fft.rfftfreq(n_samples)
    apart = sines_between(tilt_deg)
    overlap = np.stack(
        [np.clip(1 - thickness_px * row[:, None] * frequency, 0, None).sum(axis=0) for row in apart]
    )
    return 1.0 / (thickness_px * overlap)


def tilt_increments_rad(tilt_deg: ArrayLike, largest_ratio: float = 2.0) -> NDArray[np.float64]:
    """Angle that each tilt represents, ``(n_tilts)`` in radians: half the way to both neighbours.

    The first and last tilt represent a whole increment, equal tilts share theirs, and no tilt represents more
    than ``largest_ratio`` of the median increment: over a gap of excluded tilts the neighbours fill the low
    frequencies, but must not be amplified at the high ones. With these weights the Fourier components between
    the outermost tilts have the object's own values, for any range and spacing.
    """
    tilt = np.asarray(tilt_deg, dtype=np.float64)
    if tilt.size < 2:
        raise ValueError(f"expected at least 2 tilts, got {tilt.size}")
    distinct, which, count = np.unique(tilt, return_inverse=True, return_counts=True)
    if distinct.size < 2:
        raise ValueError(f"expected different tilts, got {tilt.size} times {tilt[0]:.2f} deg")
    step = np.diff(distinct)
    increment = 0.5 * (np.concatenate([step[:1], step]) + np.concatenate([step, step[-1:]]))
    increment = np.minimum(increment, largest_ratio * np.median(step))
    return np.deg2rad((increment / count)[which])
