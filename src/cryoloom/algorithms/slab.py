"""Where the specimen lies in its tomogram: two parallel planes between which there is more than noise.

Structure is in focus only at its own height; noise is everywhere alike. So the energy of a low-resolution
tomogram is divided by that of a control made from the same images with random phases, which has the same
noise, spectra and coverage and no specimen at any height. In columns over the field a slab with soft
surfaces is fitted to the logarithm, with an inside and an outside level for each, so that neither a crystal
of ice nor an empty corner leads; again with the energies sheared by what was found, until nothing is left to
find. The surfaces are where the mean profile across that slab falls to a few percent of its step: what
touches a surface with little of itself belongs to the specimen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares
from scipy.special import erf

from cryoloom.algorithms.back_projection import plan_back_projection
from cryoloom.algorithms.radial_filter import RadialFilter
from cryoloom.algorithms.tomogram_grid import TomogramGrid, aligned_rows
from cryoloom.model import Pixels

__all__ = ["Energies", "SlabFit", "fit_slab", "local_energies", "random_phases", "small_tomogram"]

Array = NDArray[np.float64]

CELLS = 30
"""Of the field on each side, whose energies are kept; `COLUMNS` columns are made of them."""
COLUMNS = 2
FIELD_USED = 0.9
LARGEST_ENERGY = 50.0
"""Of a voxel, over the control's mean: what is brighter counts no more, so that no crystal leads."""
CONTROL_SMOOTH_ANGSTROM = 250.0
SMOOTH_ANGSTROM = 25.0
LARGEST_TILT_DEG = 30.0
LEAST_THICKNESS_ANGSTROM = 100.0
RESIDUAL_SCALE = 0.3
"""Of the logarithm, beyond which a misfit counts less than its square."""
ROUNDS = 4
SURFACE_LEVEL = 0.06
THICK_PARTS = (0.4, 0.55)
"""Thickness to begin with, part of the tomogram's height."""
COST_OF_UNEVENNESS = 0.15
"""By which a thicker slab may fit worse: bodies within it lie unevenly. Two true ones did by 0.08 and 0.1."""


@dataclass(frozen=True, slots=True)
class Energies:
    """Energy over the control's, ``(cell, z)``, at ``z_angstrom`` ``(z,)`` and centres ``(cell, 2)``."""

    ratio: Array
    z_angstrom: Array
    centre_xy_angstrom: Array


@dataclass(frozen=True, slots=True)
class SlabFit:
    """A slab: its middle plane is ``z = z_offset + slope_x x + slope_y y``, the thickness is across it."""

    thickness_angstrom: float
    z_offset_angstrom: float
    slope_x: float
    slope_y: float
    contrast: float
    """Energy inside over that outside, the median of the columns."""
    explained: float
    """Part of the columns' variation along z that the slab explains, 0 to 1."""
    depth_angstrom: Array
    """Distances from the middle plane, for ``profile``: the mean energy across the slab."""
    profile: Array

    @property
    def tilt_y_deg(self) -> float:
        """Pretilt about the tilt axis: the slab's plane is turned by ``Ry(tilt_y) Rx(tilt_x)``."""
        return -math.degrees(math.atan(self.slope_x))

    @property
    def tilt_x_deg(self) -> float:
        """Pretilt about the specimen's x axis."""
        return math.degrees(math.atan(self.slope_y / math.hypot(1.0, self.slope_x)))


def small_tomogram(images: Pixels, grid: TomogramGrid, device: str) -> torch.Tensor:
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
    aligned = torch.stack([aligned_rows(images, grid, tilt, -halo, n_rows, device) for tilt in grid.tilts])
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
    ratios, centres = [], []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            energy = (volume[:, top:bottom, left:right] ** 2 * scale).clamp(max=LARGEST_ENERGY)
            ratios.append(energy.mean(dim=(1, 2)).double().numpy())
            centres.append([(left + right - 1) / 2 - n_x // 2, (top + bottom - 1) / 2 - n_y // 2])
    z = (np.arange(n_z) - n_z // 2) * voxel_size_angstrom
    places = np.array(centres, dtype=np.float64) * float(voxel_size_angstrom)
    return Energies(np.array(ratios), z.astype(np.float64), places)


def _edges(n: int) -> NDArray[np.int64]:
    cells = max(COLUMNS, min(CELLS, int(FIELD_USED * n) // 3))
    return np.unique(
        np.rint(np.linspace(0.5 * (1 - FIELD_USED) * n, 0.5 * (1 + FIELD_USED) * n, cells + 1))
    ).astype(np.int64)


def fit_slab(energies: Energies) -> SlabFit:
    """The slab that explains the energies best."""
    reach = float(np.abs(energies.centre_xy_angstrom).max())
    values = np.zeros(5)
    slopes = np.zeros(2)
    columns = _columns(energies, slopes)
    for round_ in range(ROUNDS):
        columns = _columns(energies, slopes)
        starts = _starts(columns, reach) if round_ == 0 else [np.array([values[0], 0.0, 0.0, *values[3:]])]
        values = _best(columns, starts, reach)
        slopes = slopes + values[1:3] / reach
    upright = values * [1.0, 0.0, 0.0, 1.0, 1.0]
    depth, profile = _profile(energies, slopes, float(values[0]))
    lower, upper = _surfaces(depth, profile, float(values[3]))
    fitted, step = _fitted(columns, values, reach)
    about = columns.ratio - columns.ratio.mean(axis=1, keepdims=True)
    rest = columns.ratio - fitted
    # Depths run across the slab, heights along z.
    along = math.hypot(1.0, float(slopes[0]), float(slopes[1]))
    return SlabFit(
        upper - lower,
        float(upright[0]) + 0.5 * (upper + lower) * along,
        float(slopes[0]),
        float(slopes[1]),
        float(np.exp(np.median(step))),
        float(1.0 - np.median((rest**2).sum(axis=1) / np.maximum((about**2).sum(axis=1), 1e-12))),
        depth - 0.5 * (upper + lower),
        profile,
    )


def _columns(energies: Energies, slopes: Array) -> Energies:
    """Columns of cells, each cell moved down by the plane's rise at it; logarithms, every other height."""
    z = energies.z_angstrom
    rise = energies.centre_xy_angstrom @ slopes
    moved = np.array([np.interp(z + up, z, cell) for up, cell in zip(rise, energies.ratio, strict=True)])
    low, high = energies.centre_xy_angstrom.min(axis=0), energies.centre_xy_angstrom.max(axis=0)
    place = (energies.centre_xy_angstrom - low) / np.maximum(high - low, 1e-9) * COLUMNS * (1 - 1e-9)
    which = place[:, 1].astype(int) * COLUMNS + place[:, 0].astype(int)
    ratio, centre = [], []
    for column in np.unique(which):
        mine = which == column
        ratio.append(moved[mine].mean(axis=0))
        centre.append(energies.centre_xy_angstrom[mine].mean(axis=0))
    smooth = gaussian_filter1d(np.array(ratio), SMOOTH_ANGSTROM / (z[1] - z[0]), axis=1, mode="nearest")
    return Energies(np.log(smooth + 1e-6)[:, ::2], z[::2], np.array(centre))


def _starts(columns: Energies, reach: float) -> list[Array]:
    """Middle, rise to the field's edge in x and y, thickness and softness: from the columns' own centres."""
    z = columns.z_angstrom
    smooth = np.exp(gaussian_filter1d(columns.ratio, 100.0 / (z[1] - z[0]), axis=1, mode="nearest"))
    low = np.quantile(smooth, 0.2, axis=1, keepdims=True)
    weight = np.clip(smooth - 0.5 * (low + smooth.max(axis=1, keepdims=True)), 0.0, None) + 1e-12
    middle = (weight * z).sum(axis=1) / weight.sum(axis=1)
    spread = np.sqrt((weight * (z - middle[:, None]) ** 2).sum(axis=1) / weight.sum(axis=1))
    design = np.column_stack([np.ones(len(middle)), columns.centre_xy_angstrom / reach])
    keep = np.ones(len(middle), dtype=bool)
    plane = np.zeros(3)
    for _ in range(5):
        plane = np.linalg.lstsq(design[keep], middle[keep], rcond=None)[0]
        off = np.abs(middle - design @ plane)
        keep = off <= max(2.5 * 1.4826 * float(np.median(off)), 50.0)
    thickness = float(np.median(spread) * math.sqrt(12.0))
    starts = [
        np.array([plane[0], plane[1] * tilted, plane[2] * tilted, thickness * thicker, 80.0])
        for thicker in (0.7, 1.3)
        for tilted in (1.0, 0.0)
    ]
    # Where a few bright bodies draw the centres together: thick, about the tomogram's own middle.
    depth = float(np.ptp(z))
    return starts + [np.array([0.0, 0.0, 0.0, part * depth, 80.0]) for part in THICK_PARTS]


def _best(columns: Energies, starts: list[Array], reach: float) -> Array:
    depth = float(np.ptp(columns.z_angstrom))
    rise = math.tan(math.radians(LARGEST_TILT_DEG)) * reach
    lowest = np.array([-depth, -rise, -rise, LEAST_THICKNESS_ANGSTROM, 10.0])
    highest = np.array([depth, rise, rise, depth, 400.0])
    found = [
        least_squares(
            lambda values: _misfit(columns, values, reach),
            np.clip(start, lowest + 1.0, highest - 1.0),
            x_scale=[100.0, 100.0, 100.0, 100.0, 30.0],
            loss="soft_l1",
            bounds=(lowest, highest),
            max_nfev=60,
        )
        for start in starts
    ]
    least = min(float(fit.cost) for fit in found)
    # Within the specimen there is more here and less there; beyond it there is nothing.
    alike = [fit.x for fit in found if float(fit.cost) <= (1 + COST_OF_UNEVENNESS) * least]
    return np.asarray(max(alike, key=lambda values: float(values[3])))


def _heights(columns: Energies, values: Array, reach: float) -> Array:
    """Distance of each place of the columns from the middle plane, ``(column, z)``."""
    slopes = values[1:3] / reach
    across: Array = columns.z_angstrom[None] - (values[0] + columns.centre_xy_angstrom @ slopes)[:, None]
    return across / math.hypot(1.0, *slopes)


def _fitted(columns: Energies, values: Array, reach: float) -> tuple[Array, Array]:
    """Columns as the slab explains them best, ``(column, z)``, and each one's step, ``(column,)``.

    A column has a level outside, a step inside, and outside a slope with the distance from the middle: near
    the specimen less of it is out of focus.
    """
    height, thickness, softness = _heights(columns, values, reach), values[3], values[4]
    upper, lower = (height - thickness / 2) / softness, (height + thickness / 2) / softness
    inside = 0.5 * (erf(lower) - erf(upper))
    distance = np.abs(height) / np.ptp(columns.z_angstrom)
    design = np.stack([np.ones_like(inside), inside, distance * (1 - inside)], axis=-1)
    normal = np.einsum("czi,czj->cij", design, design) + 1e-6 * np.eye(3)
    right = np.einsum("czi,cz->ci", design, columns.ratio)
    levels = np.linalg.solve(normal, right[..., None])[..., 0]
    return np.einsum("czi,ci->cz", design, levels), levels[:, 1]


def _misfit(columns: Energies, values: Array, reach: float) -> Array:
    """Differences from the fitted columns, in units of their spread."""
    fitted, step = _fitted(columns, values, reach)
    # A slab is where there is more, not less: a step down is as bad as none.
    rest = columns.ratio - fitted + np.clip(-step, 0.0, None)[:, None]
    return np.asarray((rest / RESIDUAL_SCALE).ravel())


def _profile(energies: Energies, slopes: Array, middle: float) -> tuple[Array, Array]:
    """Mean energy of all cells at distances from the middle plane."""
    along = math.hypot(1.0, *slopes)
    step = 0.5 * (energies.z_angstrom[1] - energies.z_angstrom[0])
    depth = np.arange(energies.z_angstrom[0] / along, energies.z_angstrom[-1] / along, step)
    rise = energies.centre_xy_angstrom @ slopes + middle
    cells = [
        np.interp(depth * along + up, energies.z_angstrom, cell)
        for up, cell in zip(rise, energies.ratio, strict=True)
    ]
    mean = np.mean(cells, axis=0)
    return depth, gaussian_filter1d(mean, SMOOTH_ANGSTROM / step, mode="nearest")


def _surfaces(depth: Array, profile: Array, thickness: float) -> tuple[float, float]:
    """Where the profile falls to `SURFACE_LEVEL` of its step on both sides of the middle."""
    found = []
    for sign in (-1.0, 1.0):
        inside = float(np.median(profile[(depth * sign > 0) & (depth * sign < thickness / 2)]))
        beyond = profile[(depth * sign > thickness / 2) & (depth * sign < thickness / 2 + 400.0)]
        outside = float(np.quantile(beyond, 0.2)) if len(beyond) else float(profile.min())
        level = outside + SURFACE_LEVEL * (inside - outside)
        line = np.arange(max(0.0, thickness / 2 - 200.0), thickness / 2 + 400.0, 5.0)
        values = np.interp(sign * line, depth, profile)
        below = np.flatnonzero((values[1:] < level) & (values[:-1] >= level))
        found.append(sign * float(line[below[0] + 1]) if len(below) else sign * thickness / 2)
    return found[0], found[1]
