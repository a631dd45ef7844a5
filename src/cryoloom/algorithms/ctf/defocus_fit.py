"""Thon rings of one image as a likelihood: whitened tile spectra against a tilted, astigmatic defocus.

A whitened power value is exponentially distributed about ``1 + m`` with the weak ring modulation

    m = -s(k) cos(2 chi(k, angle, tile)),      defocus(tile, angle) = df + slope . xy + a cos 2 angle + b
    sin 2 angle

so the gain in log-likelihood over "no rings" is ``sum N (R m - m^2 / 2)``, R being the whitened power minus
one. All quantities of a fit follow from it: the best defocus, its standard deviation (Fisher information),
and whether the image has visible rings. The tiles are compared with the tilted model directly, without
rescaling or averaging.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from cryoloom.algorithms.ctf.phase import ctf_phase
from cryoloom.algorithms.images.power_spectrum import SpectrumBand, TileSpectra
from cryoloom.model import Microscope

__all__ = [
    "DefocusFit",
    "LocalRings",
    "RingData",
    "RingTemplate",
    "SearchSums",
    "background_basis",
    "defocus_gains",
    "local_rings",
    "refine_defocus",
    "ring_phase",
    "ring_template",
    "search_sums",
    "search_table",
    "spline_basis",
    "tile_offsets",
    "whiten",
]

BACKGROUND_KNOTS = 9
"""Chosen: of the spline for the background; more knots would follow Thon rings."""


@dataclass(frozen=True, slots=True)
class RingData:
    """Whitened tile spectra of one image, and the data that a model of them needs."""

    band: SpectrumBand
    microscope: Microscope
    residual: torch.Tensor
    """Whitened power minus one, ``(tile, sector, ring)`` float32."""
    weight: torch.Tensor
    """Independent power values behind each residual, ``(sector, ring)`` float32."""
    centres_xy_angstrom: NDArray[np.float64]
    tile_angstrom: float
    noise_at_lag: NDArray[np.float64]
    """See `TileSpectra`."""
    background: NDArray[np.float64]
    """What the spectra were divided by, mean over tiles and sectors, ``(ring,)``."""
    phase_shift_deg: float = 0.0
    """Phase shift of a phase plate, in addition to that of amplitude contrast."""

    @property
    def squared_frequency(self) -> torch.Tensor:
        """k^2 of the rings, ``(ring,)`` float32."""
        return _squared_frequency(self.band, self.residual.device)

    @property
    def phase_per_angstrom(self) -> torch.Tensor:
        """Derivative of ``2 chi`` with respect to defocus, ``(ring,)`` in radians per angstrom."""
        return 2 * math.pi * self.microscope.wavelength_angstrom * self.squared_frequency

    @property
    def astigmatism_basis(self) -> torch.Tensor:
        """``cos 2 angle`` and ``sin 2 angle`` of the sectors, ``(2, sector)`` float32."""
        return _astigmatism_basis(self.band, self.residual.device)


@functools.lru_cache(maxsize=8)  # fits need them thousands of times
def _squared_frequency(band: SpectrumBand, device: torch.device) -> torch.Tensor:
    return torch.tensor(band.squared_frequency, dtype=torch.float32, device=device)


@functools.lru_cache(maxsize=8)
def _astigmatism_basis(band: SpectrumBand, device: torch.device) -> torch.Tensor:
    angle = band.sector_angle_rad
    return torch.tensor(np.stack([np.cos(2 * angle), np.sin(2 * angle)]), dtype=torch.float32, device=device)


@dataclass(frozen=True, slots=True)
class DefocusFit:
    """Mean defocus and astigmatism components of one image in angstrom, and their errors."""

    defocus_angstrom: float
    axial_angstrom: float
    diagonal_angstrom: float
    sd_angstrom: float
    """Standard deviation of the mean defocus by the Fisher information, prior included."""
    data_sd_angstrom: float
    """The same from the image alone, astigmatism known."""
    gain: float
    """Log-likelihood over that of an image without rings, in nats: of rings with the template's amplitude; in
    a fit of a series, with the amplitude of the tilt (`tilt_rings.own_gain`)."""
    noise: float = 1.0
    """Variance of the amplitude of rings at other defoci, over that of counting statistics."""


def whiten(
    spectra: TileSpectra,
    microscope: Microscope,
    modulation: NDArray[np.floating] | None = None,
    device: torch.device | str = "cpu",
) -> RingData:
    """Divide tile spectra by their smooth background: radial, with a broad level per tile and per sector.

    modulation : (tile, sector, ring) expected, removed before the background is fitted, so that it cannot
    follow the rings. Tiles over carbon or gold get a lower weight by their own level.
    """
    band, counts = spectra.band, spectra.counts.astype(np.float64)
    pooled_counts = counts.sum(axis=0)

    def pooled(values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray((values.mean(axis=0) * counts).sum(axis=0) / np.maximum(pooled_counts, 1))

    power = spectra.power.astype(np.float64)
    expected = np.ones_like(power)
    if modulation is not None:
        expected = (1.0 + modulation) / (1.0 + pooled(modulation))
    # Levels of tiles and sectors are relative to all: they remove nothing of common rings.
    common = pooled(power) * expected
    levels = _broad_levels(power, counts, band, axes=(1,)) / _broad_levels(common, counts, band, axes=(1,))
    power = power / levels[:, None, :]
    sector_levels = _broad_levels(power, counts, band, axes=(0,)) / _broad_levels(
        common, counts, band, axes=(0,)
    )
    power = power / sector_levels
    mean = pooled(power)
    if modulation is not None:
        mean = mean / (1.0 + pooled(modulation))
    background = _smooth_curve(band, mean, pooled_counts)
    residual = torch.as_tensor(power / background - 1.0, dtype=torch.float32, device=device)
    excess = np.ones(band.n_rings)
    if modulation is not None:
        # Few strong scatterers make the lowest frequencies more uncertain than white noise would.
        misfit = ((power / background - 1.0 - modulation) ** 2 * counts).mean(axis=(0, 1))
        # No less than that of white noise whose frequencies are all independent.
        excess = np.maximum(_smooth_curve(band, misfit, pooled_counts), 1.0)
        excess = excess / excess[pooled_counts > 0].min()
    weight = torch.as_tensor(counts * spectra.independence / excess, dtype=torch.float32, device=device)
    # A bin without frequencies carries no information: zero weight would do, but 0 * -1 must not reach a sum.
    residual = torch.where(weight > 0, residual.clamp(max=20.0), torch.zeros(()))
    return RingData(
        band,
        microscope,
        residual,
        weight,
        spectra.centres_xy_angstrom,
        spectra.tile_angstrom,
        spectra.noise_at_lag,
        levels.mean(axis=0) * sector_levels.mean(axis=0) * background,
    )


def _broad_levels(
    power: NDArray[np.floating], counts: NDArray[np.float64], band: SpectrumBand, axes: tuple[int, ...]
) -> NDArray[np.float64]:
    """Level in six broad bands of k, interpolated to the rings in the logarithm.

    ``axes`` (1,) gives one curve per tile, ``(tile, ring)``; (0,) one per sector, ``(sector, ring)``.
    """
    edges = np.linspace(band.low_per_angstrom, band.high_per_angstrom, 7)
    which = np.clip(np.digitize(band.frequency, edges) - 1, 0, 5)
    weights = np.broadcast_to(counts, power.shape)
    total, count = (power * weights).sum(axis=axes), weights.sum(axis=axes)
    in_band = np.eye(6)[which]
    means = (total @ in_band) / np.maximum(count @ in_band, 1)
    middles = 0.5 * (edges[1:] + edges[:-1])
    logs = np.log(np.maximum(means, 1e-30 + 1e-6 * means.max()))
    return np.exp(np.stack([np.interp(band.frequency, middles, row) for row in logs]))


def background_basis(band: SpectrumBand) -> NDArray[np.float64]:
    """Smooth curves that backgrounds are made of, ``(ring, curve)``: too stiff to follow many rings."""
    return spline_basis(band.frequency, BACKGROUND_KNOTS)


def spline_basis(places: NDArray[np.float64], n_knots: int) -> NDArray[np.float64]:
    """Cubic B-splines between the first and the last place, ``(place, curve)``, two more than knots."""
    inner = np.linspace(places[0], places[-1], n_knots)
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    return np.asarray(BSpline.design_matrix(np.clip(places, inner[0], inner[-1]), knots, 3).toarray())


def _smooth_curve(
    band: SpectrumBand, values: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`background_basis` through positive values of variance value^2 / count."""
    basis = background_basis(band)
    curve = np.maximum(values, 1e-6)
    for _ in range(3):
        root = np.sqrt(counts) / curve
        solution = np.linalg.lstsq(basis * root[:, None], values * root, rcond=None)[0]
        curve = np.maximum(basis @ solution, 0.2 * np.maximum(values, 1e-6))
    return curve


@dataclass(frozen=True, slots=True)
class RingTemplate:
    """Expected rings at a defocus, ``(ring,)``, or at those of a grid, ``(grid, ring)``."""

    modulation: torch.Tensor
    """Amplitude of the modulation that remains in the tiles."""
    precision: torch.Tensor
    """Inverse of the noise variance in such a modulation, relative to that of ``RingData.weight``."""


def ring_template(
    data: RingData,
    modulation: NDArray[np.float64],
    defocus_angstrom: NDArray[np.float64] | float,
    slope: NDArray[np.float64],
) -> RingTemplate:
    """Expected rings of Hann-tapered tiles for a modulation ``(ring,)`` of the untapered spectrum.

    Rings at frequency k come from points 2 lambda df k apart: the taper's autocorrelation at that distance
    gives the remaining part of them, and of the noise. Within a tile the defocus changes by ``slope``: the
    rings are averaged over the squared taper, which multiplies them by its transform at lambda k^2 slope.
    """
    wavelength, band = data.microscope.wavelength_angstrom, data.band
    distance = 2 * wavelength * np.abs(np.asarray(defocus_angstrom))[..., None] * band.frequency
    u = np.minimum(distance / data.tile_angstrom, 1.0)
    turn = 2 * np.pi * u
    kept = ((1 - u) * (1 + 0.5 * np.cos(turn)) + 0.75 / np.pi * np.sin(turn)) / 1.5
    for component in slope:
        v = wavelength * band.squared_frequency * component * data.tile_angstrom
        kept = kept * (
            np.sinc(v) + (np.sinc(v - 1) + np.sinc(v + 1)) * 2 / 3 + (np.sinc(v - 2) + np.sinc(v + 2)) / 6
        )
    # Near a full tile's distance noise and rings vanish together; the limit keeps their ratio finite.
    noise = np.maximum(np.interp(u, np.linspace(0, 1, len(data.noise_at_lag)), data.noise_at_lag), 0.02)
    device = data.residual.device
    return RingTemplate(
        torch.as_tensor(modulation * kept, dtype=torch.float32, device=device),
        torch.as_tensor(1.0 / noise, dtype=torch.float32, device=device),
    )


def ring_phase(data: RingData, defocus_angstrom: torch.Tensor) -> torch.Tensor:
    """``2 chi`` in radians, ``(..., ring)`` for defoci ``(...)``."""
    return 2 * ctf_phase(
        data.squared_frequency, defocus_angstrom[..., None], data.microscope, data.phase_shift_deg
    )


def search_table(data: RingData, template: RingTemplate, grid_angstrom: torch.Tensor) -> torch.Tensor:
    """Matched-filter sums of every tile and sector at every defocus of a grid, ``(tile, sector, grid)``.

    The template is one of the grid's. The gain of a model is the sum of one entry per tile and sector;
    the model's own energy, which hardly changes along the grid, is subtracted in equal parts.
    """
    expected = -template.modulation * torch.cos(ring_phase(data, grid_angstrom))
    table = torch.matmul(data.residual * data.weight, (expected * template.precision).T)
    energy = (template.precision * template.modulation.square()) @ data.weight.sum(dim=0)
    return table - 0.25 * energy / data.weight.shape[0]


def tile_offsets(data: RingData, slope: NDArray[np.float64], axial: float, diagonal: float) -> torch.Tensor:
    """Defocus of tiles and sectors less the image's, ``(tile, sector)`` in angstrom."""
    tiles = torch.as_tensor(
        data.centres_xy_angstrom @ slope, dtype=torch.float32, device=data.residual.device
    )
    basis = data.astigmatism_basis
    return tiles[:, None] + axial * basis[0] + diagonal * basis[1]


def defocus_gains(table: torch.Tensor, step_angstrom: float, offsets_angstrom: torch.Tensor) -> torch.Tensor:
    """Gain in nats at every defocus of a grid, ``(grid,)``, from its `search_table` and `tile_offsets`.

    Offsets are rounded to the grid; beyond its ends the end values are used: give it a margin.
    """
    moved = torch.round(offsets_angstrom / step_angstrom).long()
    n = table.shape[-1]
    index = (torch.arange(n, device=table.device) + moved[..., None]).clamp(0, n - 1)
    return torch.gather(table, 2, index).sum(dim=(0, 1))


@dataclass(frozen=True, slots=True)
class SearchSums:
    """What the gain of an image at every defocus of a grid consists of, ``(..., grid)`` in nats."""

    matched: NDArray[np.float64]
    energy: NDArray[np.float64]

    def gains(self, times: float = 1.0) -> NDArray[np.float64]:
        """Gain for rings that are ``times`` as strong as the template's."""
        return times * self.matched - times**2 * self.energy

    def marginal_gains(self, spread: float, noise: NDArray[np.float64] | float = 1.0) -> NDArray[np.float64]:
        """Gain for rings whose strength over the template's is 1 with a standard deviation.

        noise : variance of the matched sums over that of counting statistics.
        """
        matched, precision = self.matched / noise, spread**-2
        doubled = 2 * self.energy / noise + precision
        return 0.5 * ((matched + precision) ** 2 / doubled - precision - np.log(doubled / precision))


def search_sums(
    data: RingData,
    template: RingTemplate,
    grid_angstrom: torch.Tensor,
    step_angstrom: float,
    offsets_angstrom: Sequence[torch.Tensor],
) -> list[SearchSums]:
    """The same as `defocus_gains` of a `search_table`, for several `tile_offsets`, without the table.

    Tiles and sectors of the same offset, of which there are about a hundred, are added before the sum over
    rings, not after it.
    """
    expected = -template.precision * template.modulation * torch.cos(ring_phase(data, grid_angstrom))
    energy = (template.precision * template.modulation.square()) @ data.weight.sum(dim=0)
    weighted = (data.residual * data.weight).flatten(0, 1)
    places, sums = torch.arange(len(grid_angstrom), device=expected.device), []
    for offsets in offsets_angstrom:
        moved, group = torch.unique(
            torch.round(offsets / step_angstrom).long().flatten(), return_inverse=True
        )
        # By a matrix: the order of additions by index differs from run to run on a GPU.
        gather = torch.nn.functional.one_hot(group, len(moved)).T.to(weighted.dtype)
        index = (places + moved[:, None]).clamp(0, len(places) - 1)
        matched = torch.gather((gather @ weighted) @ expected.T, 1, index).sum(dim=0)
        spent = gather.sum(dim=1) @ energy[index] * (0.25 / data.weight.shape[0])
        sums.append(SearchSums(matched.double().cpu().numpy(), spent.double().cpu().numpy()))
    return sums


@dataclass(frozen=True, slots=True)
class LocalRings:
    """Likelihood of one image's tiles and sectors near a defocus, tabulated for fast fits."""

    data: RingData
    first_angstrom: float
    step_angstrom: float
    gain: torch.Tensor
    """Nats over "no rings", ``(tile, sector, grid)``."""
    score: torch.Tensor
    """Its derivative by defocus, ``(tile, sector, grid)``."""
    information: torch.Tensor
    """Fisher information on defocus, ``(sector, grid)``, the same for every tile."""

    def at(
        self, defocus_angstrom: float, axial: float, diagonal: float, slope: NDArray[np.float64]
    ) -> tuple[float, torch.Tensor, torch.Tensor]:
        """Gain of a model in nats; score and information of each tile and sector, ``(tile, sector)``."""
        place = defocus_angstrom + tile_offsets(self.data, slope, axial, diagonal) - self.first_angstrom
        place = (place / self.step_angstrom).clamp(0, self.gain.shape[-1] - 1.001)
        index = place.long()
        part = place - index
        sector = torch.arange(index.shape[1], device=index.device)

        def look_up(table: torch.Tensor) -> torch.Tensor:
            if table.ndim == 2:
                return table[sector, index] * (1 - part) + table[sector, index + 1] * part
            pair = torch.gather(table, 2, torch.stack([index, index + 1], dim=-1))
            return pair[..., 0] * (1 - part) + pair[..., 1] * part

        return float(look_up(self.gain).double().sum()), look_up(self.score), look_up(self.information)


def local_rings(
    data: RingData,
    template: RingTemplate,
    centre_angstrom: float,
    slope: NDArray[np.float64],
    range_angstrom: float = 1200.0,
    step_angstrom: float = 50.0,
) -> LocalRings:
    """Tabulate the likelihood for image defoci within a range of a centre, for the template of that centre.

    Sectors may differ from the mean by as much again (astigmatism), tiles as the tilt requires.
    """
    reach = float(np.abs(data.centres_xy_angstrom @ slope).max()) + range_angstrom
    n_half = math.ceil(reach / step_angstrom)
    grid = centre_angstrom + step_angstrom * torch.arange(-n_half, n_half + 1, device=data.residual.device)
    phase, rate = ring_phase(data, grid), data.phase_per_angstrom
    model, quadrature = -template.modulation * torch.cos(phase), template.modulation * torch.sin(phase) * rate
    weighted = data.residual * data.weight
    sector_weight = data.weight * template.precision
    gain = torch.matmul(weighted, (model * template.precision).T) - 0.5 * sector_weight @ model.square().T
    score = (
        torch.matmul(weighted, (quadrature * template.precision).T) - sector_weight @ (model * quadrature).T
    )
    information = sector_weight @ quadrature.square().T
    return LocalRings(data, float(grid[0]), step_angstrom, gain, score, information)


def refine_defocus(
    rings: LocalRings,
    start: tuple[float, float, float],
    slope: NDArray[np.float64],
    prior_mean: tuple[float, float, float],
    prior_sd: tuple[float, float, float],
    n_iterations: int = 15,
) -> DefocusFit:
    """Defocus and astigmatism of largest posterior near ``start``, by Fisher scoring.

    start, prior_mean, prior_sd : mean defocus, cos 2 angle and sin 2 angle parts in angstrom; the prior is
    Gaussian.
    """
    mean, precision = np.array(prior_mean), 1.0 / np.array(prior_sd) ** 2
    astigmatism = rings.data.astigmatism_basis
    basis = torch.cat([torch.ones_like(astigmatism[:1]), astigmatism])

    def evaluate(
        x: NDArray[np.float64],
    ) -> tuple[float, float, NDArray[np.float64], NDArray[np.float64]]:
        gain, score, information = rings.at(x[0], x[1], x[2], slope)
        gradient = (basis @ score.sum(dim=0)).double().cpu().numpy() - precision * (x - mean)
        curvature = ((basis * information.sum(dim=0)) @ basis.T).double().cpu().numpy()
        return gain - 0.5 * float(precision @ (x - mean) ** 2), gain, gradient, curvature

    x = np.array(start)
    posterior, gain, gradient, curvature = evaluate(x)
    for _ in range(n_iterations):
        move = np.linalg.solve(curvature + np.diag(precision), gradient)
        # The quadratic model holds within a fraction of a ring: about 300 angstrom at 7 angstrom resolution.
        move *= min(1.0, 300.0 / max(np.abs(move).max(), 1e-9))
        while np.abs(move).max() > 0.5:
            trial = evaluate(x + move)
            if trial[0] > posterior:
                x = x + move
                posterior, gain, gradient, curvature = trial
                break
            move = 0.5 * move
        else:
            break
    covariance = np.linalg.inv(curvature + np.diag(precision))
    data_sd = 1.0 / math.sqrt(max(float(curvature[0, 0]), 1e-12))
    sd = math.sqrt(float(covariance[0, 0]))
    return DefocusFit(float(x[0]), float(x[1]), float(x[2]), sd, data_sd, gain)
