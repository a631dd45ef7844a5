"""Defocus of a whole tilt series in one model.

What tilts share is learnt from all of them: how strong the rings are (ice thickness included), the
astigmatism, the inclination of the specimen in its holder and the microscope's handedness. What differs,
the defocus of each exposure, is found from its own rings under a prior from the other exposures: a
smooth curve in time and in tilt with jitter, by Gaussian-process regression. The prior has heavy tails:
an exposure that clearly says otherwise is believed, one that says nothing gets the prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.optimize import nnls

from cryoloom.algorithms.ctf_fit import (
    DefocusFit,
    LocalRings,
    RingData,
    RingTemplate,
    defocus_gains,
    local_rings,
    refine_defocus,
    ring_phase,
    ring_template,
    search_table,
    tile_offsets,
)
from cryoloom.geometry.projection import projection_matrices

__all__ = ["SeriesFit", "SeriesModel", "TiltRings", "at_origin", "defocus_slope", "fit_series"]

GRID_STEP_ANGSTROM = 100.0
# Scales of the prior on defocus: autofocus drift over some exposures, and a stage that is not eucentric.
DRIFT_ANGSTROM, DRIFT_EXPOSURES = 2000.0, 10.0
ECCENTRIC_ANGSTROM, ECCENTRIC_DEG = 2000.0, 40.0
MIN_JITTER_ANGSTROM = 150.0
STUDENT_FREEDOM = 3.0
ASTIGMATISM_SD_ANGSTROM = 600.0
INCLINATION_SD_DEG = 6.0
# Rings are believed at 4 standard deviations: half the square, in nats.
CERTAIN_GAIN = 8.0


@dataclass(frozen=True, slots=True)
class TiltRings:
    """Rings of one exposure, and how the specimen stood."""

    data: RingData
    acquisition_index: int
    tilt_deg: float
    axis_deg: float
    x_tilt_deg: float = 0.0
    shift_xy_angstrom: tuple[float, float] = (0.0, 0.0)
    """Where the specimen's origin is in the image: the defocus is told there."""


@dataclass(frozen=True, slots=True)
class SeriesModel:
    """What the exposures of a series share."""

    handedness: int
    spectrum: NDArray[np.float64]
    """Modulation s(k) at zero tilt without the thickness' sinc, ``(ring,)``."""
    thickness_angstrom: float = 0.0
    decay: float = 0.0
    """The modulation falls as exp(-decay (1 / cos tilt - 1))."""
    inclination_deg: tuple[float, float] = (0.0, 0.0)
    """Slope of the specimen about the tilt axis and across it, added to tilt and x tilt."""
    astigmatism_angstrom: tuple[float, float] = (0.0, 0.0)
    astigmatism_sd_angstrom: float = ASTIGMATISM_SD_ANGSTROM

    def modulation(self, tilt: TiltRings) -> NDArray[np.float64]:
        """Expected modulation of the rings of an exposure, ``(ring,)``.

        Scatterers spread evenly over the thickness wash the rings out by sinc(lambda k^2 thickness / cos
        tilt).
        """
        lengthening = 1.0 / math.cos(math.radians(min(abs(tilt.tilt_deg + self.inclination_deg[0]), 80.0)))
        wavelength = tilt.data.microscope.wavelength_angstrom
        washed = np.sinc(
            wavelength * tilt.data.band.squared_frequency * self.thickness_angstrom * lengthening
        )
        return self.spectrum * washed * math.exp(-self.decay * (lengthening - 1.0))

    def slope(self, tilt: TiltRings) -> NDArray[np.float64]:
        """Change of defocus with image x and y, ``(2,)``."""
        return defocus_slope(
            tilt.axis_deg,
            tilt.tilt_deg + self.inclination_deg[0],
            tilt.x_tilt_deg + self.inclination_deg[1],
            self.handedness,
        )

    def template(self, tilt: TiltRings, defocus_angstrom: NDArray[np.float64] | float) -> RingTemplate:
        """Expected rings of an exposure at a defocus or at each of a grid."""
        return ring_template(tilt.data, self.modulation(tilt), defocus_angstrom, self.slope(tilt))


@dataclass(frozen=True, slots=True)
class SeriesFit:
    """Result of `fit_series`; lists are in the order of the tilts given."""

    model: SeriesModel
    fits: list[DefocusFit]
    predicted: list[bool]
    """True where the exposure's own rings were not seen and the defocus is the prior's."""
    prior_angstrom: NDArray[np.float64]
    jitter_angstrom: float
    hand_gain: float
    """Log-likelihood of the handedness found over that of the other one, in nats."""
    total_gain: float


def defocus_slope(
    axis_deg: float, tilt_deg: float, x_tilt_deg: float, handedness: int
) -> NDArray[np.float64]:
    """Change of defocus with image x and y, ``(2,)``, of a specimen that is the plane z = 0 of its own frame.

    For image p = M[:2, :2] (x, y) the height along the beam is M[2, :2] (x, y); handedness +1 lowers the
    defocus by it.
    """
    matrix = projection_matrices(axis_deg, tilt_deg, x_tilt_deg)
    return -handedness * matrix[2, :2] @ np.linalg.inv(matrix[:2, :2])


def fit_series(
    tilts: Sequence[TiltRings],
    search_angstrom: tuple[float, float],
    handedness: int | None = None,
    rewhiten: Callable[[int, NDArray[np.float64]], RingData] | None = None,
    n_rounds: int = 2,
) -> SeriesFit | None:
    """Fit all exposures together; None where the series as a whole shows no rings.

    handedness : +1 or -1 if known; otherwise the likelier one. rewhiten : (position in ``tilts``,
    (ring,) mean modulation) -> data with the background fitted beside the rings.
    """
    tilts = list(tilts)
    grid = np.arange(search_angstrom[0], search_angstrom[1] + GRID_STEP_ANGSTROM, GRID_STEP_ANGSTROM)
    start = SeriesModel(handedness or 1, _first_spectrum(tilts[0].data))
    candidates = [replace(start, handedness=hand) for hand in ([handedness] if handedness else [1, -1])]
    gains = {model.handedness: _grid_gains(tilts, model, grid) for model in candidates}
    consensus = {hand: _consensus(curves, grid) for hand, curves in gains.items()}
    hand = max(consensus, key=lambda h: consensus[h][1])
    centre, evidence = consensus[hand]
    if evidence < CERTAIN_GAIN:
        return None
    model = replace(start, handedness=hand)
    prior, prior_sd = np.full(len(tilts), centre), np.full(len(tilts), 2500.0)
    curves = gains[hand]
    model = replace(
        model, astigmatism_angstrom=_coarse_astigmatism(tilts, model, _pick(curves, grid, prior, prior_sd))
    )
    for _ in range(n_rounds):
        local, fits = _refine_all(tilts, model, _pick(curves, grid, prior, prior_sd), prior, prior_sd)
        model = _shared_model(tilts, local, model, fits)
        prior, prior_sd, jitter = _predict_each(tilts, fits)
        if rewhiten is not None:
            tilts = [
                replace(tilt, data=rewhiten(i, _mean_modulation(tilt, model, fit)))
                for i, (tilt, fit) in enumerate(zip(tilts, fits, strict=True))
            ]
        curves = _grid_gains(tilts, model, grid)
    _, fits = _refine_all(tilts, model, _pick(curves, grid, prior, prior_sd), prior, prior_sd)
    seen = [_is_seen(fit) for fit in fits]
    if sum(fit.gain for fit, ok in zip(fits, seen, strict=True) if ok) < CERTAIN_GAIN:
        return None
    final = [
        fit if ok else replace(fit, defocus_angstrom=float(m), sd_angstrom=float(sd))
        for fit, ok, m, sd in zip(fits, seen, prior, prior_sd, strict=True)
    ]
    return SeriesFit(
        model,
        final,
        [not ok for ok in seen],
        prior,
        jitter,
        _hand_gain(tilts, model, curves, grid, prior, prior_sd),
        sum(fit.gain for fit in fits),
    )


def _first_spectrum(data: RingData) -> NDArray[np.float64]:
    """A guess good enough to begin with: a tenth, falling to 1/e at 8 angstrom."""
    return 0.1 * np.exp(-64.0 * data.band.squared_frequency)


def _is_seen(fit: DefocusFit) -> bool:
    return fit.gain > 0.5 * CERTAIN_GAIN


def _grid_gains(
    tilts: Sequence[TiltRings], model: SeriesModel, grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Gain of every exposure at every defocus of the specimen's origin, ``(tilt, grid)``."""
    rows = []
    for tilt in tilts:
        slope = model.slope(tilt)
        shift = float(np.asarray(tilt.shift_xy_angstrom) @ slope)
        reach = float(np.abs(tilt.data.centres_xy_angstrom @ slope - shift).max()) + 3000.0
        margin = math.ceil(reach / GRID_STEP_ANGSTROM)
        wide = np.concatenate(
            [
                grid[0] - GRID_STEP_ANGSTROM * np.arange(margin, 0, -1),
                grid,
                grid[-1] + GRID_STEP_ANGSTROM * np.arange(1, margin + 1),
            ]
        )
        wide_grid = torch.as_tensor(wide, dtype=torch.float32, device=tilt.data.residual.device)
        table = search_table(tilt.data, model.template(tilt, wide), wide_grid)
        gains = defocus_gains(
            table, GRID_STEP_ANGSTROM, tile_offsets(at_origin(tilt), slope, *model.astigmatism_angstrom)
        )
        rows.append(gains[margin : margin + len(grid)].double().cpu().numpy())
    return np.array(rows)


def at_origin(tilt: TiltRings) -> RingData:
    """The data with tile positions from the specimen's origin instead of the image's centre."""
    return replace(
        tilt.data, centres_xy_angstrom=tilt.data.centres_xy_angstrom - np.asarray(tilt.shift_xy_angstrom)
    )


def _consensus(curves: NDArray[np.float64], grid: NDArray[np.float64]) -> tuple[float, float]:
    """Defocus about which most exposures show rings, and the log evidence for it over the range's average.

    Each exposure lies within 1500 angstrom (one standard deviation) of it, or, one in ten, anywhere.
    """
    peak = curves.max(axis=1, keepdims=True)
    likelihood = np.exp(np.maximum(curves - peak, -700.0))
    half = np.arange(-45, 46) * GRID_STEP_ANGSTROM
    kernel = np.exp(-0.5 * (half / 1500.0) ** 2)
    kernel /= kernel.sum()
    near = np.stack([np.convolve(row, kernel, mode="same") for row in likelihood])
    mixed = 0.9 * near + 0.1 * likelihood.mean(axis=1, keepdims=True)
    evidence = np.log(np.maximum(mixed, 1e-300)).sum(axis=0) + float(peak.sum())
    best = int(np.argmax(evidence))
    # "No rings" has gain 0 for every exposure.
    return float(grid[best]), float(evidence[best])


def _pick(
    curves: NDArray[np.float64],
    grid: NDArray[np.float64],
    prior: NDArray[np.float64],
    prior_sd: NDArray[np.float64],
) -> list[float]:
    """Grid defocus of largest posterior for each exposure under the heavy-tailed prior."""
    deviation = (grid - prior[:, None]) / prior_sd[:, None]
    log_prior = -0.5 * (STUDENT_FREEDOM + 1) * np.log1p(deviation**2 / STUDENT_FREEDOM)
    return [float(grid[i]) for i in np.argmax(curves + log_prior, axis=1)]


def _refine_all(
    tilts: Sequence[TiltRings],
    model: SeriesModel,
    starts: Sequence[float],
    prior: NDArray[np.float64],
    prior_sd: NDArray[np.float64],
) -> tuple[list[LocalRings], list[DefocusFit]]:
    """Fit of each exposure from its start; the heavy-tailed prior is a Gaussian of equal slope there."""
    tables, fits = [], []
    shared, spread = model.astigmatism_angstrom, model.astigmatism_sd_angstrom
    for tilt, start, mean, sd in zip(tilts, starts, prior, prior_sd, strict=True):
        weight = (STUDENT_FREEDOM + 1) / (STUDENT_FREEDOM + ((start - mean) / sd) ** 2)
        template, slope = model.template(tilt, start), model.slope(tilt)
        tables.append(local_rings(at_origin(tilt), template, start, slope))
        prior_of_fit = (float(sd) / math.sqrt(weight), spread, spread)
        fits.append(refine_defocus(tables[-1], (start, *shared), slope, (float(mean), *shared), prior_of_fit))
    return tables, fits


def _coarse_astigmatism(
    tilts: Sequence[TiltRings], model: SeriesModel, picked: Sequence[float]
) -> tuple[float, float]:
    """Astigmatism components shared by the series, from a grid to 1200 angstrom either way, 300 apart."""
    values = np.arange(-1200.0, 1201.0, 300.0)
    nearby = np.arange(-6, 7) * GRID_STEP_ANGSTROM
    total = -0.5 * (values[:, None] ** 2 + values**2) / ASTIGMATISM_SD_ANGSTROM**2
    # Steep tilts say little about astigmatism and cost as much: the dozen least tilted speak for all.
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


def _mean_modulation(tilt: TiltRings, model: SeriesModel, fit: DefocusFit) -> NDArray[np.float64]:
    """Mean of the expected modulation over tiles and sectors, ``(ring,)``; zero where nothing was seen."""
    data = at_origin(tilt)
    if not _is_seen(fit):
        return np.zeros(data.band.n_rings)
    template = model.template(tilt, fit.defocus_angstrom)
    offsets = tile_offsets(data, model.slope(tilt), fit.axial_angstrom, fit.diagonal_angstrom)
    phase = ring_phase(data, fit.defocus_angstrom + offsets)
    return (-template.modulation * torch.cos(phase)).mean(dim=(0, 1)).double().cpu().numpy()


def _shared_model(
    tilts: Sequence[TiltRings],
    local: Sequence[LocalRings],
    model: SeriesModel,
    fits: Sequence[DefocusFit],
) -> SeriesModel:
    """Model learnt again from the exposures that show rings."""
    seen = [i for i, fit in enumerate(fits) if _is_seen(fit)]
    if not seen:
        return model
    tilts, local, fits = [tilts[i] for i in seen], [local[i] for i in seen], [fits[i] for i in seen]
    strength = _with_strength(list(zip(tilts, fits, strict=True)), model)
    # From one or two exposures the strength can be told, but not what varies between exposures.
    if len(seen) < 3:
        return strength
    return replace(
        strength,
        inclination_deg=_inclination(tilts, local, model, fits),
        **_astigmatism(tilts, local, model, fits),
    )


def _with_strength(pairs: Sequence[tuple[TiltRings, DefocusFit]], model: SeriesModel) -> SeriesModel:
    """Strength of the rings by least squares: a smooth positive curve, thickness and decay with tilt."""
    amplitudes, information = [], []
    for tilt, fit in pairs:
        data, slope = at_origin(tilt), model.slope(tilt)
        unit = ring_template(data, np.ones(data.band.n_rings), fit.defocus_angstrom, slope)
        offsets = tile_offsets(data, slope, fit.axial_angstrom, fit.diagonal_angstrom)
        expected = -unit.modulation * torch.cos(ring_phase(data, fit.defocus_angstrom + offsets))
        weighted = data.weight * unit.precision * expected
        amplitudes.append((weighted * data.residual).sum(dim=(0, 1)).double().cpu().numpy())
        information.append((weighted * expected).sum(dim=(0, 1)).double().cpu().numpy())
    band = pairs[0][0].data.band
    inner = np.linspace(band.frequency[0], band.frequency[-1], 8)
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    basis = BSpline.design_matrix(np.clip(band.frequency, inner[0], inner[-1]), knots, 3).toarray()
    best = (math.inf, model)
    for thickness in (0.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0, 3000.0, 4000.0):
        for decay in (-0.5, 0.0, 0.5, 1.0, 2.0):
            shape = replace(model, spectrum=np.ones(band.n_rings), thickness_angstrom=thickness, decay=decay)
            factors = [shape.modulation(tilt) for tilt, _ in pairs]
            # sum_i information (amplitude / information - factor spectrum)^2, gathered over exposures.
            curvature = sum(i * f**2 for i, f in zip(information, factors, strict=True)) + 1e-9
            target = sum(a * f for a, f in zip(amplitudes, factors, strict=True))
            root = np.sqrt(curvature)
            coefficients, _ = nnls(basis * root[:, None], target / root)
            spectrum = basis @ coefficients
            loss = float(0.5 * np.sum(curvature * spectrum**2) - np.sum(target * spectrum))
            if loss < best[0]:
                best = (loss, replace(shape, spectrum=np.minimum(spectrum, 0.9)))
    return best[1]


def _inclination(
    tilts: Sequence[TiltRings],
    local: Sequence[LocalRings],
    model: SeriesModel,
    fits: Sequence[DefocusFit],
) -> tuple[float, float]:
    """Inclination of the specimen by one step of Fisher scoring, the exposures' defoci eliminated."""
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
    """Mean astigmatism of the exposures and how much it varies beyond the error of its measurement."""
    values, precisions = [], []
    for tilt, rings, fit in zip(tilts, local, fits, strict=True):
        components = np.array([fit.axial_angstrom, fit.diagonal_angstrom])
        _, score, information = rings.at(
            fit.defocus_angstrom, fit.axial_angstrom, fit.diagonal_angstrom, model.slope(tilt)
        )
        basis = rings.data.astigmatism_basis
        gradient = (basis @ score.sum(dim=0)).double().cpu().numpy()
        curvature = ((basis * information.sum(dim=0)) @ basis.T).double().cpu().numpy() + 1e-9 * np.eye(2)
        # One scoring step from the regularised fit gives what the exposure says without the prior.
        values.append(components + np.clip(np.linalg.solve(curvature, gradient), -600, 600))
        precisions.append(np.diag(curvature))
    measured, precision = np.array(values), np.array(precisions)
    variance = model.astigmatism_sd_angstrom**2
    for _ in range(20):
        weights = 1.0 / (1.0 / precision + variance)
        mean = (weights * measured).sum(axis=0) / weights.sum(axis=0)
        shrunk = variance * weights * (measured - mean)
        variance = max(float(np.mean(shrunk**2 + variance * (1 - variance * weights))), 20.0**2)
    return {
        "astigmatism_angstrom": (float(mean[0]), float(mean[1])),
        "astigmatism_sd_angstrom": min(math.sqrt(variance), ASTIGMATISM_SD_ANGSTROM),
    }


def _predict_each(
    tilts: Sequence[TiltRings], fits: Sequence[DefocusFit]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Defocus of each exposure predicted from the others, its standard deviation, and the jitter.

    Gaussian-process regression in time and tilt, leave-one-out in closed form (Rasmussen & Williams
    2006, eq. 5.12); exposures without rings have no weight, outliers little.
    """
    time = np.array([t.acquisition_index for t in tilts], dtype=float)
    angle = np.array([t.tilt_deg for t in tilts])
    values = np.array([f.defocus_angstrom for f in fits])
    # What the data alone say: a fit leaning on its prior must not confirm it.
    variance = np.array([f.data_sd_angstrom**2 if _is_seen(f) else 1e10 for f in fits])
    smooth = DRIFT_ANGSTROM**2 * _squared_exponential(time, DRIFT_EXPOSURES)
    smooth += ECCENTRIC_ANGSTROM**2 * _squared_exponential(angle, ECCENTRIC_DEG) + 1e10
    jitter, robust = 1000.0, np.ones(len(tilts))
    for _ in range(8):
        covariance = smooth + np.diag((variance + jitter**2) / robust)
        inverse = np.linalg.inv(covariance)
        loo_variance = 1.0 / np.diag(inverse)
        residual = (inverse @ values) * loo_variance
        seen = np.array([_is_seen(f) for f in fits])
        total_sd = np.sqrt(loo_variance)
        scaled = np.abs(residual) / total_sd
        robust = (STUDENT_FREEDOM + 1) / (STUDENT_FREEDOM + scaled**2)
        if seen.sum() >= 4:
            jitter *= float(np.clip(np.median(scaled[seen]) / 0.6745, 0.5, 2.0))
        jitter = float(np.clip(jitter, MIN_JITTER_ANGSTROM, 4000.0))
    own = variance / robust
    predictive = np.sqrt(np.maximum(loo_variance - own, jitter**2))
    return values - residual, predictive, jitter


def _squared_exponential(x: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    return np.exp(-0.5 * (np.subtract.outer(x, x) / length) ** 2)


def _hand_gain(
    tilts: Sequence[TiltRings],
    model: SeriesModel,
    curves: NDArray[np.float64],
    grid: NDArray[np.float64],
    prior: NDArray[np.float64],
    prior_sd: NDArray[np.float64],
) -> float:
    """Best gain of the model's handedness less that of the other one under the same prior, in nats."""
    other = _grid_gains(tilts, replace(model, handedness=-model.handedness), grid)
    deviation = (grid - prior[:, None]) / prior_sd[:, None]
    log_prior = -0.5 * (STUDENT_FREEDOM + 1) * np.log1p(deviation**2 / STUDENT_FREEDOM)
    return float(np.sum((curves + log_prior).max(axis=1) - (other + log_prior).max(axis=1)))
