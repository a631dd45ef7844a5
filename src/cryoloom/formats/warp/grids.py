"""Warp's grids: values at nodes over the image and the tilts, between them natural cubic splines.

Warp (``CubicGrid``) spreads nodes evenly from ``margin`` to ``1 - margin`` of each side, of an image's width
and height and of the tilts in order; a side with one node does not vary. Where its pose predicts p it looks
at ``p - (GridMovementX, GridMovementY)(p)`` (``TiltSeries.GetPositionInAllTilts``), in angstrom: an
`ImageWarp` is the same with the other sign.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from cryoloom.errors import DataUnfitError
from cryoloom.model import ImageWarp

__all__ = ["WarpGrid", "add_grid", "add_movements", "movements"]

Array = NDArray[np.float64]

_N_EXPORTED = 9
"""Nodes along width and height of a movement grid we write: splines through them keep our displacements."""
_MOST_CONTROLS = 12
"""Chosen: control points along an axis; Warp's usual grids have fewer nodes."""
_LEAST_ANGSTROM = 0.01
"""Displacements that differ by less over an image are replaced by one shift."""
_MOVEMENTS = ("GridMovementX", "GridMovementY")


@dataclass(frozen=True, slots=True)
class WarpGrid:
    """One of a tilt series' grids."""

    values: Array
    """``(tilt, y, x)``."""
    margins_zyx: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def read(cls, root: ElementTree.Element, name: str) -> WarpGrid | None:
        """The grid of a name, or None if there is none. Raises DataUnfitError if a node has no value."""
        grid = root.find(name)
        if grid is None:
            return None
        shape = [int(grid.get(side, "1")) for side in ("Depth", "Height", "Width")]
        values = np.full(shape, np.nan)
        for node in grid.iter("Node"):
            place = tuple(int(node.get(axis, "0")) for axis in "ZYX")
            if any(at >= n for at, n in zip(place, shape, strict=True)):
                raise DataUnfitError(
                    f"{name} of Warp has a node at {place} beyond its size {tuple(shape)}; the file is "
                    "damaged"
                )
            values[place] = float(node.get("Value", "nan"))
        if not np.isfinite(values).all():
            raise DataUnfitError(
                f"{name} of Warp has nodes without a value, or with one that is not finite; run WarpTools "
                "again"
            )
        margins = [float(grid.get(f"Margin{axis}", "0")) for axis in "ZYX"]
        return cls(values, (margins[0], margins[1], margins[2]))

    @property
    def varies(self) -> bool:
        """True unless it is zero everywhere."""
        return bool(np.abs(self.values).max() > 1e-6)

    def at(self, z: Array, y: Array, x: Array) -> Array:
        """Values ``(z, y, x)`` at places from 0 to 1 along the tilts, the height and the width."""
        values = self.values
        for axis, (margin, places) in enumerate(zip(self.margins_zyx, (z, y, x), strict=True)):
            n = values.shape[axis]
            if n == 1:
                values = np.repeat(values, len(places), axis=axis)
            else:
                nodes = np.linspace(margin, 1 - margin, n)
                values = CubicSpline(nodes, values, axis=axis, bc_type="natural")(places)
        return values


def movements(
    root: ElementTree.Element, n_tilts: int, extent_xy_angstrom: tuple[float, float] | None = None
) -> tuple[Array, list[ImageWarp | None], float]:
    """Corrections of a series' poses by its movement grids.

    Shifts, displacements, and the misfit of the latter. Shifts are ``(tilt, 2)`` in angstrom. The misfit is
    the largest root mean square, over an image, between displacement and grid, in angstrom. Raises ValueError
    if grids differ over the image, and neither the file nor ``extent_xy_angstrom`` shows how large that is.
    """
    grids = [WarpGrid.read(root, name) or WarpGrid(np.zeros((1, 1, 1))) for name in _MOVEMENTS]
    if not any(grid.varies for grid in grids):
        return np.zeros((n_tilts, 2)), [None] * n_tilts, 0.0
    most_nodes = max(max(grid.values.shape[1:]) for grid in grids)
    extent = _extent_xy_angstrom(root, extent_xy_angstrom, is_needed=most_nodes > 1)
    n_controls = min(_MOST_CONTROLS, most_nodes + 2)
    along = np.linspace(0.0, 1.0, 4 * n_controls)
    tilts = np.arange(n_tilts) / max(1, n_tilts - 1)
    moved = -np.stack([grid.at(tilts, along, along) for grid in grids], axis=-1).reshape(n_tilts, -1, 2)
    places = np.stack(np.meshgrid(along - 0.5, along - 0.5), axis=-1).reshape(-1, 2) * extent
    warps: list[ImageWarp | None] = []
    shifts, misfit = moved.mean(axis=1), 0.0
    for shift, own in zip(shifts, moved - shifts[:, None], strict=True):
        if np.abs(own).max() < _LEAST_ANGSTROM:
            warps.append(None)
            continue
        # With the shift in the pose, the same point is reprojected that much further on.
        warp = ImageWarp.fitted(places + shift, own, extent, n_controls)
        missed = warp.displacement(places + shift) - own
        misfit = max(misfit, float(np.sqrt((missed**2).sum(axis=1).mean())))
        warps.append(warp)
    return shifts, warps, misfit


def add_movements(
    root: ElementTree.Element, warps: Sequence[ImageWarp | None], extent_xy_angstrom: Sequence[float]
) -> None:
    """Write the movement grids of all tilts; with one node if no image is displaced."""
    n = _N_EXPORTED if any(warp is not None for warp in warps) else 1
    along = np.linspace(-0.5, 0.5, n) if n > 1 else np.zeros(1)
    places = np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2) * np.array(extent_xy_angstrom)
    moved = np.zeros((len(warps) if n > 1 else 1, n * n, 2))
    for i, warp in enumerate(warps):
        if warp is not None:
            moved[i] = warp.displacement(places)
    for axis, name in enumerate(_MOVEMENTS):
        add_grid(root, name, -moved[..., axis].reshape(-1, n, n))


def add_grid(root: ElementTree.Element, name: str, values: Array) -> None:
    """Write a grid of values ``(tilt, y, x)`` without margins."""
    depth, height, width = (str(n) for n in values.shape)
    grid = ElementTree.SubElement(
        root, name, Width=width, Height=height, Depth=depth, MarginX="0", MarginY="0", MarginZ="0"
    )
    for (z, y, x), value in np.ndenumerate(values):
        # Python's shortest text that reads back the same; no negative zero.
        ElementTree.SubElement(grid, "Node", X=str(x), Y=str(y), Z=str(z), Value=repr(float(value) + 0.0))


def _extent_xy_angstrom(
    root: ElementTree.Element, otherwise: tuple[float, float] | None, *, is_needed: bool
) -> tuple[float, float]:
    extent = [float(word) for word in root.get("ImageDimensionsAngstrom", "").replace(",", " ").split()]
    if len(extent) == 2 and min(extent) > 0:
        return extent[0], extent[1]
    if otherwise is not None:
        return otherwise
    if is_needed:
        raise ValueError(
            "its movement grids differ over the image, but ImageDimensionsAngstrom does not contain its size"
        )
    return 1.0, 1.0
