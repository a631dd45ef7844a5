"""Estimation of common properties: ring amplitude, thickness, inclination, astigmatism."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from cryoloom.algorithms.ctf.defocus_fit import (
    DefocusFit,
    LocalRings,
    defocus_gains,
    ring_phase,
    ring_template,
    search_table,
    spline_basis,
    tile_offsets,
)
from cryoloom.algorithms.ctf.series_model import (
    ASTIGMATISM_SD_ANGSTROM,
    GRID_STEP_ANGSTROM,
    STRONGEST_RINGS,
    SeriesModel,
    TiltRings,
    at_origin,
    is_seen,
)
from cryoloom.algorithms.images.power_spectrum import SpectrumBand

__all__ = [
    "Thickness",
    "coarse_astigmatism",
    "common_value",
    "shared_model",
    "strength_basis",
    "thickness_of",
]

STRENGTH_KNOTS = 8  # chosen: of the amplitude over the band, smoother than any ring
INCLINATION_SD_DEG = 6.0  # chosen: of the specimen to the plane at zero tilt; pretilts are a few degrees
THICKNESSES_ANGSTROM = (0.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0, 3000.0, 4000.0)
"""Tried in turn, then refined; 60 A off on simulated series."""
DECAYS = (-0.5, 0.0, 0.5, 1.0, 2.0)  # chosen: tried in turn, then refined
#: Chosen: expected variation of the astigmatism's components. Stigmators are not changed within a series; the
#: data can increase it.
ASTIGMATISM_SPREAD_ANGSTROM = 30.0
_THICKNESSES_ANGSTROM = np.arange(0.0, 6001.0, 100.0)
"""Chosen: of specimens through which rings are seen."""
_NEAR_DECAY = 0.6
"""Chosen: decays about the one found that are tried with every thickness."""


def shared_model(
    tilts: Sequence[TiltRings],
    local: Sequence[LocalRings],
    model: SeriesModel,
    fits: Sequence[DefocusFit],
) -> SeriesModel:
    """Model estimated again from the tilts that show rings."""
    seen = [i for i, fit in enumerate(fits) if is_seen(fit)]
    if not seen:
        return model
    tilts, local, fits = [tilts[i] for i in seen], [local[i] for i in seen], [fits[i] for i in seen]
    strength = _with_strength(list(zip(tilts, fits, strict=True)), model)
    # One or two tilts determine the amplitude, but not its variation between tilts.
    if len(seen) < 3:
        return strength
    return replace(
        strength,
        inclination_deg=_inclination(tilts, local, model, fits),
        **_astigmatism(tilts, local, model, fits),
    )


@dataclass(frozen=True, slots=True)
class Thickness:
    """Thickness of the scattering layer in angstrom, from the nodes of the rings."""

    angstrom: float
    sd_angstrom: float


def thickness_of(
    tilts: Sequence[TiltRings], model: SeriesModel, fits: Sequence[DefocusFit]
) -> Thickness | None:
    """Mean and standard deviation of the posterior of the thickness, strength and decay fitted at each.

    None if no tilt shows rings.
    """
    pairs = [(tilt, fit) for tilt, fit in zip(tilts, fits, strict=True) if is_seen(fit)]
    if not pairs:
        return None
    evidence = _strength_evidence(pairs, model)
    grid = _THICKNESSES_ANGSTROM
    decays = [d for d in DECAYS if abs(d - model.decay) < _NEAR_DECAY]
    losses = np.array([[evidence.fit(model, t, d)[0] for d in decays] for t in grid])
    weight = np.exp(losses.min() - losses).sum(axis=1)
    weight /= weight.sum()
    mean = float(weight @ grid)
    # At least a grid step wide: values between its points were not tested.
    spread = math.sqrt(float(weight @ (grid - mean) ** 2) + (grid[1] - grid[0]) ** 2 / 12)
    return Thickness(mean, spread)


@dataclass(frozen=True, slots=True)
class _StrengthEvidence:
    """Least-squares sums of the ring amplitude of each tilt, ``(tilt, ring)``."""

    tilts: list[TiltRings]
    amplitude: NDArray[np.float64]
    information: NDArray[np.float64]
    basis: NDArray[np.float64]
    """Smooth curves the strength is made of, ``(ring, curve)``."""

    def fit(self, model: SeriesModel, thickness_angstrom: float, decay: float) -> tuple[float, SeriesModel]:
        """Negative log-likelihood in nats of the best strength at a thickness and decay, and the model."""
        n_rings = self.basis.shape[0]
        shape = replace(
            model,
            spectrum=np.ones(n_rings),
            strength_change=None,
            thickness_angstrom=thickness_angstrom,
            decay=decay,
        )
        factors = shape.modulations(self.tilts)
        # sum_i information (amplitude / information - factor spectrum)^2, gathered over tilts.
        curvature = (self.information * factors**2).sum(axis=0) + 1e-9
        target = (self.amplitude * factors).sum(axis=0)
        root = np.sqrt(curvature)
        coefficients, _ = nnls(self.basis * root[:, None], target / root)
        spectrum = self.basis @ coefficients
        loss = float(0.5 * np.sum(curvature * spectrum**2) - np.sum(target * spectrum))
        return loss, replace(shape, spectrum=np.minimum(spectrum, STRONGEST_RINGS))


def _strength_evidence(
    pairs: Sequence[tuple[TiltRings, DefocusFit]], model: SeriesModel
) -> _StrengthEvidence:
    amplitudes, information = [], []
    for tilt, fit in pairs:
        data, slope = at_origin(tilt), model.slope(tilt)
        unit = ring_template(data, np.ones(data.band.n_rings), fit.defocus_angstrom, slope)
        offsets = tile_offsets(data, slope, fit.axial_angstrom, fit.diagonal_angstrom)
        expected = -unit.modulation * torch.cos(ring_phase(data, fit.defocus_angstrom + offsets))
        weighted = data.weight * unit.precision * expected
        amplitudes.append((weighted * data.residual).sum(dim=(0, 1)).double().cpu().numpy())
        information.append((weighted * expected).sum(dim=(0, 1)).double().cpu().numpy())
    basis = strength_basis(pairs[0][0].data.band)
    return _StrengthEvidence([tilt for tilt, _ in pairs], np.array(amplitudes), np.array(information), basis)


def strength_basis(band: SpectrumBand) -> NDArray[np.float64]:
    """Smooth curves that the strength of the rings is made of, ``(ring, curve)``."""
    return spline_basis(band.frequency, STRENGTH_KNOTS)


def _with_strength(pairs: Sequence[tuple[TiltRings, DefocusFit]], model: SeriesModel) -> SeriesModel:
    """Ring amplitude by least squares: a smooth positive curve, thickness and decay with tilt."""
    evidence = _strength_evidence(pairs, model)
    tried = (evidence.fit(model, thickness, decay) for thickness in THICKNESSES_ANGSTROM for decay in DECAYS)
    return min(tried, key=lambda found: found[0])[1]


def _inclination(
    tilts: Sequence[TiltRings],
    local: Sequence[LocalRings],
    model: SeriesModel,
    fits: Sequence[DefocusFit],
) -> tuple[float, float]:
    """Inclination of the specimen by one step of Fisher scoring, the tilts' defoci eliminated."""
    angles = np.array(model.inclination_deg)
    gradient = -angles / INCLINATION_SD_DEG**2
    curvature = np.eye(2) / INCLINATION_SD_DEG**2
    for tilt, rings, fit in zip(tilts, local, fits, strict=True):
        slope = model.slope(tilt)
        _, score, information = rings.at(
            fit.defocus_angstrom, fit.axial_angstrom, fit.diagonal_angstrom, slope
        )
        turned = [
            replace(model, inclination_deg=(angles[0] + about, angles[1] + across)).slope(tilt) - slope
            for about, across in ((0.1, 0.0), (0.0, 0.1))
        ]
        rates = rings.data.centres_xy_angstrom @ np.stack(turned, axis=1) / 0.1
        tile_score = score.sum(dim=1).double().cpu().numpy()
        tile_information = information.sum(dim=1).double().cpu().numpy()
        rates = rates - tile_information @ rates / tile_information.sum()
        gradient += tile_score @ rates
        curvature += (rates * tile_information[:, None]).T @ rates
    moved = np.clip(angles + np.clip(np.linalg.solve(curvature, gradient), -5, 5), -30, 30)
    return float(moved[0]), float(moved[1])


def _astigmatism(
    tilts: Sequence[TiltRings],
    local: Sequence[LocalRings],
    model: SeriesModel,
    fits: Sequence[DefocusFit],
) -> dict[str, Any]:
    """Mean astigmatism of the tilts and its variation beyond the error of the measurement."""
    values, precisions = [], []
    for tilt, rings, fit in zip(tilts, local, fits, strict=True):
        components = np.array([fit.axial_angstrom, fit.diagonal_angstrom])
        _, score, information = rings.at(
            fit.defocus_angstrom, fit.axial_angstrom, fit.diagonal_angstrom, model.slope(tilt)
        )
        basis = rings.data.astigmatism_basis
        gradient = (basis @ score.sum(dim=0)).double().cpu().numpy()
        curvature = ((basis * information.sum(dim=0)) @ basis.T).double().cpu().numpy() + 1e-9 * np.eye(2)
        # One scoring step from the regularised fit gives the tilt's estimate without the prior.
        values.append(components + np.clip(np.linalg.solve(curvature, gradient), -600, 600))
        precisions.append(np.diag(curvature))
    mean, spread = common_value(np.array(values), 1.0 / np.array(precisions), ASTIGMATISM_SPREAD_ANGSTROM)
    return {"astigmatism_angstrom": (float(mean[0]), float(mean[1])), "astigmatism_sd_angstrom": spread}


def common_value(
    measured: NDArray[np.float64], variance: NDArray[np.float64], typical_spread: float
) -> tuple[NDArray[np.float64], float]:
    """Mean ``(component,)`` and spread of what was measured, ``(tilt, component)``, with known variances.

    The spread, of one size for all components, is that of largest posterior under an exponential prior of
    mean ``typical_spread``, up to `ASTIGMATISM_SD_ANGSTROM`.
    """

    def mean_for(spread: float) -> NDArray[np.float64]:
        weights = 1.0 / (variance + spread**2)
        return np.asarray((weights * measured).sum(axis=0) / weights.sum(axis=0))

    def loss(spread: float) -> float:
        total = variance + spread**2
        misfit = 0.5 * (np.log(total) + (measured - mean_for(spread)) ** 2 / total).sum()
        return float(misfit) + spread / typical_spread

    # On a grid: for nearly equal tilts expectation-maximisation would take hundreds of steps.
    spread = min(np.geomspace(10.0, ASTIGMATISM_SD_ANGSTROM, 40).tolist(), key=loss)
    return mean_for(spread), spread


def coarse_astigmatism(
    tilts: Sequence[TiltRings], model: SeriesModel, picked: Sequence[float]
) -> tuple[float, float]:
    """Astigmatism components shared by the series, from a grid to 1200 angstrom either way, 300 apart."""
    values = np.arange(-1200.0, 1201.0, 300.0)
    nearby = np.arange(-6, 7) * GRID_STEP_ANGSTROM
    total = -0.5 * (values[:, None] ** 2 + values**2) / ASTIGMATISM_SD_ANGSTROM**2
    # Steep tilts contribute little to astigmatism at equal cost: the dozen least tilted are used.
    for i in np.argsort([abs(t.tilt_deg) for t in tilts])[:12]:
        data, slope = at_origin(tilts[i]), model.slope(tilts[i])
        reach = float(np.abs(data.centres_xy_angstrom @ slope).max()) + 1700.0
        margin = math.ceil(reach / GRID_STEP_ANGSTROM)
        wide = picked[i] + np.arange(-margin - 6, margin + 7) * GRID_STEP_ANGSTROM
        wide_grid = torch.as_tensor(wide, dtype=torch.float32, device=data.residual.device)
        table = search_table(data, model.template(tilts[i], wide), wide_grid)
        for j, axial in enumerate(values):
            for k, diagonal in enumerate(values):
                gains = defocus_gains(table, GRID_STEP_ANGSTROM, tile_offsets(data, slope, axial, diagonal))
                total[j, k] += float(gains[margin : margin + len(nearby)].max())
    best = np.unravel_index(np.argmax(total), total.shape)
    return float(values[best[0]]), float(values[best[1]])
