"""Position of the specimen in its tomogram: two parallel planes that enclose its features.

Structure is in focus only at its own height; noise is the same everywhere. So the energy of a low-resolution
tomogram is divided by that of a control made from the same images with random phases, which has the same
noise, spectra and coverage and no specimen at any height. Blocks of the tomogram with more energy than a
thousandth of the control's blocks have are filled: a strong feature counts no more than a weak one. Features
are unevenly distributed in the specimen, and their middle gives its slopes to some degrees only; the
outermost give its surfaces. So every slab within reach is scored by the likelihood that blocks inside are
filled with one frequency, and those outside with a lower one; the slopes are the mean over all slabs,
weighted by likelihood. The surfaces are where the fraction of filled blocks across that slab falls to a few
percent of that inside.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, label

from cryoloom.algorithms.images.radial_filter import RadialFilter
from cryoloom.algorithms.images.single_thread_pool import of_each
from cryoloom.algorithms.reconstruction.back_projection import plan_back_projection
from cryoloom.algorithms.reconstruction.tomogram_grid import TomogramGrid, aligned_rows, tomogram_grid
from cryoloom.algorithms.series.tilt_images import TiltImages, band_pass
from cryoloom.model import Pixels, Stack, TiltSeries

__all__ = [
    "LARGEST_TILT_ERROR_DEG",
    "LEAST_CONTRAST",
    "Energies",
    "SlabFit",
    "energies_of_series",
    "features_beside",
    "fit_slab",
    "local_energies",
    "random_phases",
]

Array = NDArray[np.float64]

COARSEST_ANGSTROM, FINEST_ANGSTROM = 600.0, 120.0
"""Chosen: detail of a specimen, between thickness of the ice and noise of the images."""
CELLS = 30
"""Chosen: of the field on each side, whose energies are kept at every height: blocks."""
FIELD_USED = 0.9  # chosen: of each side; towards the rim views are missing
LARGEST_ENERGY = 50.0
"""Largest energy of a voxel over the control's mean.

Larger values are clipped, so that no crystal dominates.
"""
CONTROL_SMOOTH_ANGSTROM = 250.0  # chosen: along z; the control has no layers, so what varies faster is noise
FILLED_QUANTILE = 0.999
"""Chosen: fraction of the control's blocks above the threshold of a filled block."""
LARGEST_TILT_DEG = 28.0  # chosen: of the specimen; steeper ones are not mounted
COARSE_STEP_DEG = 4.0  # chosen: the finer steps below end at an eighth of it
FINER_STEPS_DEG = (2.0, 1.0, 0.5)
"""Halved each time; slopes of ten series were right to 0.9 and 0.7 degrees rms."""
SPREAD_STEP_DEG, SPREAD_STEPS = 0.75, 9
"""Chosen: slopes whose likelihood gives the mean and the error, to 6.75 degrees."""
HEIGHT_STEP_ANGSTROM = 40.0  # chosen: of the surfaces in the search; their final heights are finer
LEAST_THICKNESS_ANGSTROM = 160.0  # chosen: of the specimen; a ribosome is 250 A
LEAST_CONTRAST = 10.0
"""Noise reached 7, simulated specimens 24 and more."""
LARGEST_TILT_ERROR_DEG = 3.2
"""4.1 corresponds to no preference for any slope."""
SMOOTH_ANGSTROM = 25.0  # chosen: of the profile along z, about a voxel
SURFACE_LEVEL = 0.03
"""Chosen: of the filled part inside; a surface is where bodies end, not where half of them do."""
MIDDLE_KNOWN_TO = 0.03
"""Chosen, of the thickness: possible unevenness of features in the specimen."""
FEATURE_ANGSTROM = 240.0
"""Chosen: size of a feature, where features touch each other: a particle and its blur."""
EDGE_ANGSTROM = 150.0
"""Inside the most likely slab, from where its surface is searched outwards."""


@dataclass(frozen=True, slots=True)
class Energies:
    """Energy over the control's, ``(cell, z)``, at ``z_angstrom`` ``(z,)`` and centres ``(cell, 2)``.

    Cells are in rows, as (y, x).
    """

    ratio: Array
    z_angstrom: Array
    centre_xy_angstrom: Array
    filled_level: float
    """Energy ratio above which a block contains more than noise."""


@dataclass(frozen=True, slots=True)
class SlabFit:
    """A slab: its middle plane is ``z = z_offset + slope_x x + slope_y y``, the thickness is across it."""

    thickness_angstrom: float
    z_offset_angstrom: float
    slope_x: float
    slope_y: float
    tilt_error_deg: float
    """Standard error of the pretilt about either axis, the larger one, from the spread of likely slabs."""
    contrast: float
    """Ratio of the frequencies of filled blocks inside and outside."""
    depth_angstrom: Array
    """Distances from the middle plane, for ``profile``: the fraction of filled blocks across the slab."""
    profile: Array
    middle_error_angstrom: float = 0.0
    """Standard error of the middle's height: spread of likely surfaces, their resolution, and how far from
    them the outermost features may lie."""
    thickness_error_angstrom: float = 0.0
    """Standard error of the thickness, from the same."""
    n_features: float = 0.0
    """Independent features within the slab."""

    @property
    def is_certain(self) -> bool:
        """Whether a slab contains features, and enough of them for its pretilt."""
        return self.contrast >= LEAST_CONTRAST and self.has_pretilt

    @property
    def has_pretilt(self) -> bool:
        """Whether features, or gold, determine the pretilt."""
        return self.tilt_error_deg <= LARGEST_TILT_ERROR_DEG

    @property
    def tilt_y_deg(self) -> float:
        """Pretilt about the tilt axis: the slab's plane is rotated by ``Ry(tilt_y) Rx(tilt_x)``."""
        return -math.degrees(math.atan(self.slope_x))

    @property
    def tilt_x_deg(self) -> float:
        """Pretilt about the specimen's x axis."""
        return math.degrees(math.atan(self.slope_y / math.hypot(1.0, self.slope_x)))


def energies_of_series(
    series: TiltSeries,
    images: TiltImages,
    rng: np.random.Generator,
    *,
    voxel_size_angstrom: float,
    height_angstrom: float,
) -> tuple[Energies, torch.Tensor]:
    """Energies of a small tomogram of the given height, and the tomogram ``(z, y, x)``.

    images : of the sections that the poses of ``series`` are for.
    """
    pixel = images.pixel_size_angstrom
    band = band_pass(images.images, COARSEST_ANGSTROM / pixel, FINEST_ANGSTROM / pixel)
    band = band / (band.flatten(1).std(dim=1)[:, None, None] + 1e-9)
    stack = Stack(band.cpu().numpy(), pixel)
    grid = tomogram_grid(
        series,
        stack,
        binning=None,
        voxel_size_angstrom=voxel_size_angstrom,
        thickness_angstrom=height_angstrom,
        length_angstrom=None,
        width_angstrom=None,
    )
    device = str(images.images.device)
    volume = _small_tomogram(stack.images, grid, device)
    control = _small_tomogram(random_phases(band, rng).cpu().numpy(), grid, device)
    return local_energies(volume, control, voxel_size_angstrom), volume


def _small_tomogram(images: Pixels, grid: TomogramGrid, device: str) -> torch.Tensor:
    """Weighted back-projection of images ``(section, y, x)``, in memory, ``(z, y, x)``."""
    projection = plan_back_projection(
        grid.volume_shape,
        grid.n_columns,
        [pose.tilt_deg for pose in grid.poses],
        [pose.x_tilt_deg for pose in grid.poses],
        RadialFilter(0.35, 0.05),
    )
    halo = projection.halo_rows
    n_rows = grid.volume_shape[1] + 2 * halo
    rows = of_each(lambda tilt: aligned_rows(images, grid, tilt, -halo, n_rows, device), grid.tilts)
    aligned = torch.stack(rows)
    volume = torch.empty(grid.volume_shape)
    first = 0
    for strip in projection.strips(aligned.to(device), 0):
        volume[:, first : first + strip.shape[1]] = strip.cpu()
        first += strip.shape[1]
    return volume


def random_phases(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Images ``(..., y, x)`` of the same spectra, with phases of white noise."""
    shape = (int(images.shape[-2]), int(images.shape[-1]))
    noise = torch.fft.rfft2(torch.from_numpy(rng.standard_normal(tuple(images.shape)).astype(np.float32)))
    noise = noise.to(images.device)
    return torch.fft.irfft2(torch.fft.rfft2(images).abs() * noise / (noise.abs() + 1e-12), s=shape)


def local_energies(volume: torch.Tensor, control: torch.Tensor, voxel_size_angstrom: float) -> Energies:
    """Energy of a tomogram ``(z, y, x)`` over the control's mean at that height, in cells of the field."""
    n_z, n_y, n_x = (int(n) for n in volume.shape)
    rows, columns = (_edges(n) for n in (n_y, n_x))
    field = np.s_[:, rows[0] : rows[-1], columns[0] : columns[-1]]
    expected = (control[field] ** 2).mean(dim=(1, 2)).double().numpy()
    expected = gaussian_filter1d(expected, CONTROL_SMOOTH_ANGSTROM / voxel_size_angstrom, mode="nearest")
    scale = torch.from_numpy(1.0 / np.maximum(expected, 1e-12)).float()[:, None, None]
    centres: list[list[float]] = []
    ratios: list[Array] = []
    noise: list[Array] = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            for of, into in ((volume, ratios), (control, noise)):
                energy = (of[:, top:bottom, left:right] ** 2 * scale).clamp(max=LARGEST_ENERGY)
                into.append(energy.mean(dim=(1, 2)).double().numpy())
            centres.append([(left + right - 1) / 2 - n_x // 2, (top + bottom - 1) / 2 - n_y // 2])
    z = (np.arange(n_z) - n_z // 2) * voxel_size_angstrom
    places = np.array(centres, dtype=np.float64) * float(voxel_size_angstrom)
    level = float(np.quantile(noise, FILLED_QUANTILE))
    return Energies(np.array(ratios), z.astype(np.float64), places, level)


def _edges(n: int) -> NDArray[np.int64]:
    cells = max(2, min(CELLS, int(FIELD_USED * n) // 3))
    return np.unique(
        np.rint(np.linspace(0.5 * (1 - FIELD_USED) * n, 0.5 * (1 + FIELD_USED) * n, cells + 1))
    ).astype(np.int64)


def fit_slab(
    energies: Energies, slopes_xy: Array | None = None, surface_angstrom: float | None = None
) -> SlabFit:
    """The slab given by the filled blocks.

    slopes_xy : ``(2,)`` of its plane; surface_angstrom : height of one of its surfaces; if they are known.
    """
    blocks = _Blocks.of(energies)
    if slopes_xy is not None:
        return _along(blocks, slopes_xy, 0.0, surface_angstrom)
    coarse = np.arange(-LARGEST_TILT_DEG, LARGEST_TILT_DEG + 1, COARSE_STEP_DEG)
    slopes = np.zeros(2)
    for ticks_deg in (coarse, *(step * np.arange(-2.0, 3.0) for step in FINER_STEPS_DEG)):
        ticks = np.tan(np.deg2rad(ticks_deg))
        scores = _likelihoods(blocks, slopes, ticks)
        best = np.unravel_index(int(np.argmax(scores)), scores.shape)
        slopes = slopes + ticks[list(best)]
    ticks = math.tan(math.radians(SPREAD_STEP_DEG)) * np.arange(-SPREAD_STEPS, SPREAD_STEPS + 1.0)
    scores = _likelihoods(blocks, slopes, ticks)
    weight = np.exp((scores - scores.max()) / max(1.0, blocks.n_of_a_body))
    weight /= weight.sum()
    of_each = [weight.sum(axis=1), weight.sum(axis=0)]
    mean = np.array([(share * ticks).sum() for share in of_each])
    spread = [math.sqrt((share * (ticks - m) ** 2).sum()) for share, m in zip(of_each, mean, strict=True)]
    return _along(blocks, slopes + mean, math.degrees(math.atan(max(spread))))


def features_beside(
    energies: Energies, slopes_xy: Array, height_angstrom: float, reach_angstrom: float
) -> tuple[float, float]:
    """Independent features below and above a plane, up to a distance from it along z.

    Those nearer than one feature's size do not count: gold on the plane leaves traces on both of its sides.
    """
    blocks = _Blocks.of(energies)
    filled, _, heights = blocks.across(slopes_xy)
    away = heights - height_angstrom
    inside = (np.abs(away) > FEATURE_ANGSTROM) & (np.abs(away) <= reach_angstrom)
    below, above = (
        float(filled[inside & side].sum() / blocks.n_of_a_feature) for side in (away < 0, away > 0)
    )
    return below, above


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Filled blocks ``(n,)`` by their cell and their place along z, and where cells and heights are."""

    cell: NDArray[np.int64]
    place: NDArray[np.int64]
    centre_xy_angstrom: Array
    z_angstrom: Array
    n_of_a_body: float
    """Filled blocks that touch each other are one feature, and count once."""
    n_of_a_feature: float
    """Filled blocks of an independent feature: the mean of all blocks over the size of the feature they are
    in, so that scattered blocks of noise count for little, and a large body for several features."""

    @classmethod
    def of(cls, energies: Energies) -> _Blocks:
        centres, z = energies.centre_xy_angstrom, energies.z_angstrom
        filled = energies.ratio > energies.filled_level
        rows, columns = (len(np.unique(centres[:, axis])) for axis in (1, 0))
        bodies, n_bodies = label(filled.reshape(rows, columns, len(z)), np.ones((3, 3, 3)))
        cell, place = np.nonzero(filled)
        sizes = np.bincount(bodies.ravel())[1:].astype(np.float64)
        x, y = (np.diff(np.unique(centres[:, axis])).max(initial=1.0) for axis in (0, 1))
        largest = max(1.0, FEATURE_ANGSTROM**3 / float(x * y * (z[1] - z[0])))
        # Pieces of sizes s have the effective number (sum s)^2 / sum s^2.
        n_of_a_feature = float((sizes * np.minimum(sizes, largest)).sum() / max(sizes.sum(), 1.0))
        return cls(cell, place, centres, z, len(cell) / max(n_bodies, 1), max(1.0, n_of_a_feature))

    def across(self, slopes: Array, group: int = 1) -> tuple[Array, Array, Array]:
        """Filled and all blocks by height above the plane ``slopes . xy`` along z, and the heights.

        group : steps of z that are counted as one.
        """
        n_z, step = len(self.z_angstrom), float(self.z_angstrom[1] - self.z_angstrom[0])
        moved = np.rint(-(self.centre_xy_angstrom @ slopes) / step).astype(np.int64)
        first = int(moved.min())
        moved = moved - first
        length = -(-(n_z + int(moved.max()) + 1) // group) * group
        filled = np.bincount(moved[self.cell] + self.place, minlength=length)
        begun = np.bincount(moved, minlength=length) - np.bincount(moved + n_z, minlength=length)
        counts = [a.reshape(-1, group).sum(axis=1).astype(np.float64) for a in (filled, np.cumsum(begun))]
        heights = self.z_angstrom[0] + step * (first + group * np.arange(length // group) + (group - 1) / 2)
        return counts[0], counts[1], heights


def _likelihoods(blocks: _Blocks, slopes: Array, ticks: Array) -> Array:
    """Logarithm of the best slab's likelihood at each slope in x and y about the given, ``(tick, tick)``."""
    group = max(1, round(HEIGHT_STEP_ANGSTROM / float(blocks.z_angstrom[1] - blocks.z_angstrom[0])))

    def of_slope(in_x: float) -> list[float]:
        return [_likeliest(*blocks.across(slopes + np.array([in_x, in_y]), group))[0] for in_y in ticks]

    return np.array(of_each(of_slope, ticks.tolist()))


def _likeliest(
    filled: Array,
    everything: Array,
    heights: Array,
    surface: int | None = None,
    *,
    sides_differ: bool = False,
) -> tuple[float, int, int]:
    """Likelihood of the most likely slab, its first place and the one after its last.

    Of k filled blocks of n the likelihood is ``k log(k / n) + (n - k) log(1 - k / n)``, inside and outside;
    sides_differ : below and above are independent, since streaks of gold on one surface fill blocks on one
    side. surface : place of an edge that is known.
    """
    least = math.ceil(LEAST_THICKNESS_ANGSTROM / (heights[1] - heights[0]))
    lower, upper = _pairs(len(heights) + 1, least)
    k, n = (np.concatenate([[0.0], np.cumsum(a)]) for a in (filled, everything))
    k_in, n_in = k[upper] - k[lower], n[upper] - n[lower]
    if sides_differ:
        scores = _of_three(k, n, lower, upper)
        more_below = k_in * n[lower] <= k[lower] * n_in
        no_slab = more_below | (k_in * (n[-1] - n[upper]) <= (k[-1] - k[upper]) * n_in)
    else:
        k_out, n_out = k[-1] - k_in, n[-1] - n_in
        scores = _log_likelihood(k_in, n_in) + _log_likelihood(k_out, n_out)
        no_slab = k_in * n_out <= k_out * n_in
    scores[no_slab] = _log_likelihood(k[-1:], n[-1:])[0]
    if surface is not None and ((lower == surface) | (upper == surface)).any():
        scores[(lower != surface) & (upper != surface)] = -np.inf
    best = int(np.argmax(scores))
    return float(scores[best]), int(lower[best]), int(upper[best])


def _of_three(k: Array, n: Array, lower: NDArray[np.int64], upper: NDArray[np.int64]) -> Array:
    """Logarithm of the likelihood of the blocks below, within and above; k, n : summed up from 0."""
    inside = _log_likelihood(k[upper] - k[lower], n[upper] - n[lower])
    return inside + _log_likelihood(k[lower], n[lower]) + _log_likelihood(k[-1] - k[upper], n[-1] - n[upper])


@functools.lru_cache(maxsize=64)
def _pairs(n: int, apart: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    lower, upper = np.triu_indices(n, apart)
    return lower.astype(np.int64), upper.astype(np.int64)


def _log_likelihood(k: Array, n: Array) -> Array:
    part = np.clip(k / np.maximum(n, 1.0), 1e-6, 1 - 1e-6)
    return np.asarray(k * np.log(part) + (n - k) * np.log(1 - part))


def _along(
    blocks: _Blocks, slopes: Array, tilt_error_deg: float, surface_angstrom: float | None = None
) -> SlabFit:
    """The slab with the given slopes, and with one of its surfaces at the given height if it is known."""
    filled, everything, heights = blocks.across(slopes)
    step = float(heights[1] - heights[0])
    known = None
    if surface_angstrom is not None:
        known = int(np.clip(round((surface_angstrom - heights[0]) / step), 0, len(heights)))
    _, lower, upper = _likeliest(filled, everything, heights, known, sides_differ=True)
    edge_spread = _edge_spread(blocks, filled, everything, lower, upper, known)
    parts = (slice(lower), slice(lower, upper), slice(upper, None))
    below, inside, above = (filled[part].sum() / max(everything[part].sum(), 1.0) for part in parts)
    outside = (filled.sum() - filled[parts[1]].sum()) / max(
        everything.sum() - everything[parts[1]].sum(), 1.0
    )
    smooth = [gaussian_filter1d(a, SMOOTH_ANGSTROM / step, mode="nearest") for a in (filled, everything)]
    profile = smooth[0] / np.maximum(smooth[1], 1.0)
    surfaces = []
    for place, sign, beyond in ((lower, -1, below), (upper, 1, above)):
        if place == known and surface_angstrom is not None:
            surfaces.append(surface_angstrom)
        else:
            level = float(beyond + SURFACE_LEVEL * (inside - beyond))
            surfaces.append(_surface(heights, profile, level, place if sign < 0 else place - 1, sign))
    low, high = surfaces
    # Heights run along z, the thickness is across the slab.
    across = 1.0 / math.hypot(1.0, float(slopes[0]), float(slopes[1]))
    n_features = float(filled[parts[1]].sum() / blocks.n_of_a_feature)
    n_unknown = 2 - (known is not None)
    # If n points are spread evenly through a layer, the outermost is 1 / (n + 1) of the thickness below the
    # surface, with a standard deviation of the same size. The rms errors of middle and thickness are sqrt(2)
    # / 2 and sqrt(6) times that if both are unknown.
    gap = (high - low) / (n_features + 1.0) * math.sqrt(n_unknown / 2)
    return SlabFit(
        max(high - low, step) * across,
        0.5 * (low + high),
        float(slopes[0]),
        float(slopes[1]),
        tilt_error_deg,
        float(inside / max(outside, 1e-4)),
        (heights - 0.5 * (low + high)) * across,
        profile,
        math.hypot(edge_spread * step, MIDDLE_KNOWN_TO * (high - low), gap / math.sqrt(2.0)),
        math.hypot(2 * edge_spread * step, MIDDLE_KNOWN_TO * (high - low), math.sqrt(6.0) * gap) * across,
        n_features,
    )


def _edge_spread(
    blocks: _Blocks, filled: Array, everything: Array, lower: int, upper: int, known: int | None
) -> float:
    """Standard deviation of the middle of the likely slabs, in steps of height: each edge independently."""
    k, n = (np.concatenate([[0.0], np.cumsum(a)]) for a in (filled, everything))
    variance = 0.0
    for edge, places in ((lower, np.arange(upper)), (upper, np.arange(lower + 1, len(k)))):
        if edge == known:
            continue
        other = np.full(len(places), upper if edge == lower else lower)
        scores = _of_three(k, n, places, other) if edge == lower else _of_three(k, n, other, places)
        weight = np.exp((scores - scores.max()) / max(1.0, blocks.n_of_a_body))
        weight /= weight.sum()
        variance += float((weight * (places - (weight * places).sum()) ** 2).sum())
    return 0.5 * math.sqrt(variance)


def _surface(heights: Array, profile: Array, level: float, edge: int, sign: int) -> float:
    """Place where the profile falls to a level, searched on both sides of the most likely slab's edge."""
    step = heights[1] - heights[0]
    reach = round(EDGE_ANGSTROM / step)
    at = int(np.clip(edge - sign * reach, 1, len(heights) - 2))
    last = int(np.clip(edge + sign * reach, 1, len(heights) - 2))
    while at != last and profile[at] >= level:
        at += sign
    if profile[at] >= level:
        return float(heights[edge])
    within, beyond = float(profile[at - sign]), float(profile[at])
    part = (within - level) / (within - beyond) if within > beyond else 0.0
    return float(heights[at - sign] + sign * step * np.clip(part, 0.0, 1.0))
