"""The filter of weighted back-projection: ramp, cut-off, and how much each tilt counts."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

__all__ = ["ramp_filter", "tilt_increments_rad"]


def ramp_filter(n_samples: int, cutoff_per_px: float, falloff_per_px: float) -> torch.Tensor:
    """Ramp in cycles per pixel, ``(n_samples // 2 + 1)`` float32, with a Gaussian fall-off beyond a cut-off.

    The ramp is the transform of Kak and Slaney's band-limited kernel (Principles of Computerized Tomographic
    Imaging, 3.3: 1/4 at 0, ``-1 / (pi k)^2`` at odd k), so that rows padded to twice their length are
    filtered without wrapping; its value at zero frequency is 0.2 of the first step, as IMOD's and NovaCTF's.
    From the cut-off on it is the value there times ``exp(-((f - cutoff) / falloff)^2)``, as IMOD's RADIAL.
    """
    sample = torch.arange(n_samples, dtype=torch.float64)
    distance = torch.minimum(sample, n_samples - sample)
    kernel = torch.where(distance % 2 == 1, -1.0 / (torch.pi * distance.clamp(min=1)) ** 2, 0.0)
    kernel[0] = 0.25
    ramp = torch.fft.rfft(kernel).real
    frequency = torch.fft.rfftfreq(n_samples, dtype=torch.float64)
    beyond = frequency > cutoff_per_px
    fall = torch.exp(-(((frequency - cutoff_per_px) / falloff_per_px) ** 2))
    return torch.where(beyond, cutoff_per_px * fall, ramp).to(torch.float32)


def tilt_increments_rad(tilt_deg: ArrayLike, largest_ratio: float = 2.0) -> NDArray[np.float64]:
    """Angle each tilt stands for, ``(n_tilts)`` in radians: half the way to both neighbours.

    The first and last tilt stand for a whole increment, equal tilts share theirs, and nobody stands for more
    than ``largest_ratio`` of the median increment: over a gap of left-out tilts the neighbours fill the low
    frequencies, but must not shout in the high ones. With these weights the Fourier components between the
    outermost tilts have the object's own values, whatever the range and the spacing.
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
