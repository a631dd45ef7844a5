"""The matched-filter tomogram of an aligned series: gold filled, images aligned, whitened, back-projected."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cryoloom.algorithms.alignment.bead_positions import beads_of_poses
from cryoloom.algorithms.images.fill_discs import fill_discs, plan_filling
from cryoloom.algorithms.picking.matched_filter import (
    MatchedFilter,
    filter_image,
    make_matched_filter,
    plan_tilt_filter,
)
from cryoloom.algorithms.reconstruction.tomogram_grid import TomogramGrid, aligned_rows, tomogram_grid
from cryoloom.algorithms.series.bead_maps import BeadMaps, bead_candidates, bead_maps
from cryoloom.algorithms.series.gold_shadows import LEAST_OF_GOLD
from cryoloom.algorithms.series.tilt_ctfs import ctfs_of
from cryoloom.algorithms.series.tilt_images import load_tilt_images
from cryoloom.errors import UserInputError
from cryoloom.geometry.frames import index_from_position
from cryoloom.geometry.tilt_axis import image_from_aligned
from cryoloom.model import Ctf, Microscope, Pixels, Tilt, TiltSeries, Tomogram
from cryoloom.model.pixels import Index

__all__ = ["Gold", "find_gold", "matched_filter_bytes", "matched_filter_of", "search_grid"]

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]

HIGHPASS_DIAMETERS = 1.5  # chosen: detail coarser than one and a half particles has no information about them
_GOLD_PIXEL_ANGSTROM = 15.0  # chosen: in which gold of 10 nm has 6.7 pixels
#: Gold has 9 and more (the scale ends at 15), dense particles at most 5.
_LEAST_GOLD_SIGNIFICANCE = 6.0
_FINEST_VOXELS = 2.2
"""Chosen, just above Nyquist: finest detail of the search."""
_FEWEST_VOXELS_ACROSS = 5  # chosen: fewer do not resolve a particle from its neighbour
#: Chosen: height of a shadow over the median of the known gold in its image.
_LEAST_OF_KNOWN = 0.5


@dataclass(frozen=True, slots=True)
class Gold:
    """Gold beads of a series."""

    diameter_angstrom: float
    positions_xyz_angstrom: Array
    """``(n, 3)`` in the frame of the poses."""
    seen_xy_angstrom: Array
    """Their positions in each usable tilt's image, ``(tilt, n, 2)`` from the image's centre."""
    further_xy_angstrom: tuple[Array, ...] = ()
    """In each of these images, places as dark as gold that belong to none of the beads: beads that enter the
    field in too few tilts for a position in space. ``(n, 2)`` each; empty for none at all."""

    def hidden_radius_angstrom(self, grid: TomogramGrid, microscope: Microscope) -> float:
        """Up to which a bead hides the specimen at the detail of a search: as far as the defocus carries it.

        What is left of fringes makes a hole in the matched-filter tomogram, so two voxels more are taken.
        """
        defocus = max(abs(tilt.ctf.defocus_angstrom) for tilt in grid.tilts if tilt.ctf is not None)
        voxel = grid.voxel_size_angstrom
        spread = microscope.wavelength_angstrom * defocus / (_FINEST_VOXELS * voxel)
        return 0.5 * self.diameter_angstrom + spread + 2 * voxel

    def places_xy_angstrom(self, i_tilt: int) -> Array:
        """All gold of an image, ``(n, 2)`` from its centre."""
        further = self.further_xy_angstrom[i_tilt : i_tilt + 1]
        return np.concatenate([self.seen_xy_angstrom[i_tilt], *further])


def search_grid(
    tomogram: Tomogram,
    voxel_size_angstrom: float | None,
    diameter_angstrom: float,
    usual_voxel_angstrom: float,
) -> TomogramGrid:
    """Grid of a search over a tomogram's extent; UserInputError for voxels too coarse for the particle."""
    series = tomogram.series
    stack = series.unweighted_stack
    voxel = voxel_size_angstrom or max(usual_voxel_angstrom, stack.pixel_size_angstrom)
    if diameter_angstrom < _FEWEST_VOXELS_ACROSS * voxel:
        raise UserInputError(
            f"a particle of {diameter_angstrom:g} A is {diameter_angstrom / voxel:.1f} voxels of {voxel:g} A "
            f"wide, expected {_FEWEST_VOXELS_ACROSS} or more; choose a smaller voxel_size_angstrom (the "
            f"images' pixel is {stack.pixel_size_angstrom:g} A)"
        )
    ctfs_of(series.included, series.name)
    length_z, length_y, length_x = (n * tomogram.voxel_size_angstrom for n in tomogram.volume.shape)
    return tomogram_grid(
        series,
        stack,
        binning=None,
        voxel_size_angstrom=voxel,
        thickness_angstrom=length_z,
        length_angstrom=length_y,
        width_angstrom=length_x,
    )


def find_gold(series: TiltSeries, device: str = "cpu") -> Gold | None:
    """Gold beads in the images of all tilts with a pose that are not excluded; None if there are none."""
    stack = series.unweighted_stack
    tilts = [tilt for tilt in series.included if tilt.pose is not None and tilt.section is not None]
    images = load_tilt_images(
        _Sections(stack.images, [tilt.section or 0 for tilt in tilts]),
        stack.pixel_size_angstrom,
        _GOLD_PIXEL_ANGSTROM,
        device=device,
    )
    poses = [tilt.pose for tilt in tilts if tilt.pose is not None]
    diameter, beads = beads_of_poses(images, poses, np.ones(len(tilts), dtype=bool))
    gold = beads.significance >= _LEAST_GOLD_SIGNIFICANCE
    if not gold.any():
        return None
    seen = beads.seen_xy_angstrom[:, gold]
    further = _further_gold(bead_maps(images, diameter), seen)
    return Gold(diameter, beads.points_xyz_angstrom[gold], seen, further)


def _further_gold(maps: BeadMaps, seen_xy_angstrom: Array) -> tuple[Array, ...]:
    """Per image, places about as dark as its gold that lie at no bead known in space."""
    further = []
    for view, known in enumerate(seen_xy_angstrom):
        found, height = bead_candidates(maps, view, LEAST_OF_GOLD)
        if not len(found):
            further.append(np.zeros((0, 2)))
            continue
        away, _ = cKDTree(known).query(found)
        at_gold = away < maps.diameter_angstrom
        least = _LEAST_OF_KNOWN * float(np.median(height[at_gold])) if at_gold.any() else LEAST_OF_GOLD
        further.append(found[~at_gold & (height >= least)])
    return tuple(further)


def matched_filter_of(
    tomogram: Tomogram,
    grid: TomogramGrid,
    diameter_angstrom: float,
    gold: Gold | None,
    rng: np.random.Generator,
    *,
    device: str = "cpu",
    progress: Progress = lambda done, total: None,
) -> MatchedFilter:
    """Matched-filter tomogram for particles of a diameter; gold is filled with its surroundings first."""
    series = tomogram.series
    aligned = torch.empty((len(grid.tilts), grid.volume_shape[1], grid.n_columns), dtype=torch.float32)
    filters = []
    hidden = 0.0 if gold is None else gold.hidden_radius_angstrom(grid, series.microscope)
    for i, tilt in enumerate(grid.tilts):
        images: Pixels = series.unweighted_stack.images
        if gold is not None:
            images = _Filled(images, tilt.section or 0, gold, i, grid.pixel_size_angstrom, hidden, rng)
        image = aligned_rows(images, grid, tilt, 0, grid.volume_shape[1], device)
        one = plan_tilt_filter(
            image,
            tilt,
            grid.voxel_size_angstrom,
            HIGHPASS_DIAMETERS * diameter_angstrom,
            series.microscope.voltage_kv,
        )
        filters.append(one)
        aligned[i] = filter_image(image, one)
        if gold is not None:
            # The filling of gold prevents ringing of the filter; it is not specimen.
            aligned[i] *= _clear_of_gold(gold.places_xy_angstrom(i), hidden, tilt, grid)
        progress(i + 1, len(grid.tilts))
    ctfs: list[Ctf] = [tilt.ctf for tilt in grid.tilts if tilt.ctf is not None]
    hand = series.handedness.applied or 0.0
    made = make_matched_filter(aligned, grid, ctfs, filters, series.microscope, hand)
    if gold is None:
        return made
    places = tuple(gold.places_xy_angstrom(i) for i in range(len(grid.tilts)))
    return replace(made, gold_xy_angstrom=places, gold_radius_angstrom=hidden)


def _clear_of_gold(places_xy: Array, radius_angstrom: float, tilt: Tilt, grid: TomogramGrid) -> torch.Tensor:
    """0 where gold hides the specimen in the aligned image, else 1, ``(row, column)`` float32."""
    n_rows, n_columns = grid.volume_shape[1], grid.n_columns
    clear = torch.ones((n_rows, n_columns))
    pose = tilt.pose
    if pose is None:
        raise ValueError("a tilt without a pose is in the grid")
    to_image = image_from_aligned(pose.axis_deg, pose.tilt_deg, pose.x_tilt_deg, pose.magnification)
    away = places_xy - np.array(pose.shift_xy_angstrom)
    places = np.linalg.solve(to_image, away.T).T / grid.voxel_size_angstrom + [n_columns // 2, n_rows // 2]
    radius = radius_angstrom / grid.voxel_size_angstrom
    for column, row in places:
        rows, columns = (
            slice(max(0, math.floor(at - radius) - 1), max(0, math.ceil(at + radius) + 2))
            for at in (row, column)
        )
        y = torch.arange(n_rows)[rows, None] - row
        x = torch.arange(n_columns)[columns] - column
        clear[rows, columns] *= (torch.hypot(y, x) - radius + 0.5).clamp(0, 1)
    return clear


def matched_filter_bytes(tomogram: Tomogram, voxel_size_angstrom: float) -> int:
    """Peak memory of the tomogram with a correlation, its energy and splines, and of the aligned images."""
    stack = tomogram.series.unweighted_stack
    n_voxels = 1.0
    for n in tomogram.volume.shape:
        n_voxels *= n * tomogram.voxel_size_angstrom / voxel_size_angstrom
    n_y, n_x = stack.shape_yx
    image = n_y * n_x
    binned = image * (stack.pixel_size_angstrom / voxel_size_angstrom) ** 2
    gold = len(tomogram.series.tilts) * image * (stack.pixel_size_angstrom / _GOLD_PIXEL_ANGSTROM) ** 2
    return int(36 * n_voxels + len(tomogram.series.tilts) * 24 * binned + 24 * image + 24 * gold)


@dataclass(frozen=True, slots=True)
class _Sections:
    """Some sections of a stack, in the given order."""

    images: Pixels
    sections: list[int]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.sections), *self.images.shape[1:])

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.images.dtype

    def __getitem__(self, index: Index, /) -> NDArray[np.float32]:
        section, *rest = index if isinstance(index, tuple) else (index,)
        if not isinstance(section, int):
            raise TypeError(f"expected one section at a time, got {index!r}")
        return self.images[(self.sections[section], *rest)]


@dataclass(frozen=True, slots=True)
class _Filled:
    """A stack in which the gold of one section is filled."""

    images: Pixels
    section: int
    gold: Gold
    i_tilt: int
    pixel_size_angstrom: float
    radius_angstrom: float
    rng: np.random.Generator

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.images.dtype

    def __getitem__(self, index: Index, /) -> NDArray[np.float32]:
        section, *window = index if isinstance(index, tuple) else (index,)
        if section != self.section:
            return self.images[index]
        image = self.images[self.section]
        shape = (image.shape[0], image.shape[1])
        seen = self.gold.places_xy_angstrom(self.i_tilt)
        places = index_from_position(seen, shape, self.pixel_size_angstrom)
        radius = self.radius_angstrom / self.pixel_size_angstrom
        filling = plan_filling(shape, places, radius, places, self.rng)
        filled = np.asarray(fill_discs(image, filling, places))
        return filled[tuple(window)] if window else filled
