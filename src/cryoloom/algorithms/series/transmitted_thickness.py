"""Thickness of the ice from the transmitted electrons: steep images are darker.

A slab of thickness T transmits ``exp(-T / (L cos(t + offset)))`` of the electrons at tilt t. The fall of the
mean intensity with the tilt gives T / L without a reference image of a hole, because only the change counts.
L is the mean free path of electrons that do not reach the image: that of inelastic scattering, where an
energy filter takes these electrons out. Rice et al., J. Struct. Biol. 204, 38 (2018) measure thickness this
way in untilted images.

The pretilt of the specimen is an unknown too, with a prior: over a short range of tilts it turns into
thickness. The scatter about the fit (a beam that fluctuates, particles that enter the field) gives the error;
that of the mean free path is added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from cryoloom.geometry.slab_path import slab_path
from cryoloom.model import Microscope

__all__ = ["TransmittedThickness", "mean_free_path_angstrom", "transmitted_thickness"]

Array = NDArray[np.float64]

FREE_PATH_ANGSTROM, FREE_PATH_ERROR = 3200.0, 0.2
"""At 300 kV. Chosen: 3000 to 4000 A are published for ice; aperture and filter take more or less."""
REST_ENERGY_KEV = 510.999
LEAST_TILTS = 8
"""Three unknowns, and a scatter that means something."""
PRETILT_DEG = 8.0  # chosen: usual inclination of a specimen, lamellae included
LARGEST_PRETILT_DEG = 30.0
LEAST_RELATIVE_THICKNESS = 0.02
"""Chosen, over the mean free path: thinner ice does not weaken steep images visibly, nor do images that were
each normalised."""
LEAST_SCATTER = 1e-4  # of a mean over 10^8 electrons
FIRST_SCATTER, N_ROUNDS = 5e-3, 4
DOSES_DIFFER = 0.03
"""Chosen: relative; above, counts may have to be divided by the dose."""


@dataclass(frozen=True, slots=True)
class TransmittedThickness:
    """Thickness across the specimen and its standard error."""

    thickness_angstrom: float
    error_angstrom: float


def mean_free_path_angstrom(microscope: Microscope) -> float:
    """Of electrons in ice. It grows as the square of their speed."""

    def squared_speed(kilovolt: float) -> float:
        return 1 - 1 / (1 + kilovolt / REST_ENERGY_KEV) ** 2

    return FREE_PATH_ANGSTROM * squared_speed(microscope.voltage_kv) / squared_speed(300.0)


def transmitted_thickness(
    mean_counts: Array, tilt_deg: Array, dose_per_angstrom2: Array, microscope: Microscope
) -> TransmittedThickness | None:
    """From the mean counts of a series' images, ``(n,)`` each; None if they tell nothing.

    Exposures may be longer at high tilts. Then counts over dose are used if they follow the law better: some
    programs scale images to one dose.
    """
    if len(mean_counts) < LEAST_TILTS or not (np.isfinite(mean_counts).all() and mean_counts.min() > 0):
        return None
    fits = [_fit(np.log(mean_counts), np.deg2rad(tilt_deg))]
    if dose_per_angstrom2.min() > 0 and np.ptp(dose_per_angstrom2) > DOSES_DIFFER * dose_per_angstrom2.mean():
        fits.append(_fit(np.log(mean_counts / dose_per_angstrom2), np.deg2rad(tilt_deg)))
    relative, error, _ = min(fits, key=lambda fit: fit[2])
    if relative < LEAST_RELATIVE_THICKNESS:
        return None
    path = mean_free_path_angstrom(microscope)
    return TransmittedThickness(relative * path, path * math.hypot(error, FREE_PATH_ERROR * relative))


def _fit(log_counts: Array, tilt_rad: Array) -> tuple[float, float, float]:
    """Thickness over the mean free path, its error, and the scatter about the fit."""
    pretilt = math.radians(PRETILT_DEG)
    steepest = math.radians(85.0)

    def miss(values: Array) -> Array:
        path = slab_path(np.clip(tilt_rad + values[2], -steepest, steepest))
        return np.asarray(values[0] - values[1] * path - log_counts)

    limit = math.radians(LARGEST_PRETILT_DEG)
    bounds = ([-np.inf, 0.0, -limit], [np.inf, 10.0, limit])
    start, scatter = np.array([float(log_counts.max()) + 0.3, 0.3, 0.0]), FIRST_SCATTER
    for _ in range(N_ROUNDS):

        def cost(values: Array, scatter: float = scatter) -> Array:
            # Roots of the soft L1 loss: a grid bar in one image has little effect.
            off = miss(values) / (2 * scatter)
            robust = 2 * np.sign(off) * np.sqrt(2 * (np.sqrt(1 + off**2) - 1))
            return np.append(robust, values[2] / pretilt)

        fit = least_squares(cost, start, bounds=bounds)
        start, left = fit.x, miss(fit.x)
        freedom = math.sqrt(len(left) / (len(left) - 3))
        scatter = max(1.4826 * float(np.median(np.abs(left - np.median(left)))) * freedom, LEAST_SCATTER)
    covariance = np.linalg.pinv(fit.jac.T @ fit.jac)
    return float(fit.x[1]), float(math.sqrt(covariance[1, 1])), scatter
