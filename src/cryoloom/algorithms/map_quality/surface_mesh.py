"""Triangles of the surface of a map at a level: surface nets, Gibson, MICCAI 1998, LNCS 1496, 888."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["SurfaceMesh", "surface_mesh"]

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class SurfaceMesh:
    """A closed surface: vertices ``(n, 3)`` as xyz indices of the volume, with outward normals.

    Triangles ``(m, 3)`` of vertices run against the clock as they are seen from outside.
    """

    vertices_xyz: NDArray[np.float32]
    normals_xyz: NDArray[np.float32]
    triangles: NDArray[np.uint32]


def surface_mesh(volume: NDArray[np.floating], level: float) -> SurfaceMesh:
    """Surface around the voxels of a volume ``(z, y, x)`` that are at least ``level``; closed at its border.

    Every cell between eight voxels that the surface passes has one vertex, the mean of the places where the
    surface cuts the cell's edges; every edge that is cut has a square between the vertices of its four cells.
    """
    lowest = min(float(volume.min()), level) - 1.0  # outside, so that the surface closes
    padded = np.pad(np.asarray(volume, dtype=np.float32), 1, constant_values=lowest)
    inside = padded >= level
    shape = tuple(n - 1 for n in padded.shape)
    total, n_cuts = np.zeros((*shape, 3), dtype=np.float32), np.zeros(shape, dtype=np.float32)
    cut_edges = []
    for axis in range(3):
        here = _shortened(padded, axis, 0)
        there = _shortened(padded, axis, 1)
        starts_inside = _shortened(inside, axis, 0)
        places = np.argwhere(starts_inside != _shortened(inside, axis, 1))
        at = tuple(places.T)
        part = (level - here[at]) / (there[at] - here[at])
        cuts = places.astype(np.float32)
        cuts[:, axis] += part
        cells = _cells_of(places, axis)
        for cell in cells:
            np.add.at(total, tuple(cell.T), cuts)
            np.add.at(n_cuts, tuple(cell.T), 1.0)
        cut_edges.append((cells, starts_inside[at], axis))
    active = n_cuts > 0
    number = np.full(shape, -1, dtype=np.int64)
    number[active] = np.arange(int(active.sum()))
    vertices_zyx = total[active] / n_cuts[active][:, None] - 1.0  # without the padding
    squares = [
        _turned(np.stack([number[tuple(cell.T)] for cell in cells], axis=1), starts_inside, axis)
        for cells, starts_inside, axis in cut_edges
    ]
    corners = np.concatenate(squares)
    triangles = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]]).astype(np.uint32)
    vertices = np.ascontiguousarray(vertices_zyx[:, ::-1], dtype=np.float32)
    return SurfaceMesh(vertices, _normals(vertices, triangles), triangles)


def _shortened(values: NDArray[T], axis: int, start: int) -> NDArray[T]:
    """Values without the last along an axis, or (start 1) without the first."""
    cut = [slice(None)] * 3
    cut[axis] = slice(start, values.shape[axis] - 1 + start)
    return values[tuple(cut)]


def _cells_of(places: NDArray[np.int64], axis: int) -> list[NDArray[np.int64]]:
    """The four cells about edges that begin at some places, in order round the edge."""
    first, second = [one for one in range(3) if one != axis]
    found = []
    for back_first, back_second in ((0, 0), (1, 0), (1, 1), (0, 1)):
        cell = places.copy()
        cell[:, first] -= back_first
        cell[:, second] -= back_second
        found.append(cell)
    return found


def _turned(squares: NDArray[np.int64], starts_inside: NDArray[np.bool_], axis: int) -> NDArray[np.int64]:
    """Squares so that they run against the clock from outside; an edge that starts inside points outwards."""
    # (0,0), (-1,0), (-1,-1), (0,-1) in the order z, y, x runs one way about z and x, the other about y.
    is_forward = starts_inside == (axis == 1)
    return np.where(is_forward[:, None], squares, squares[:, ::-1])


def _normals(vertices: NDArray[np.float32], triangles: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Unit normals of vertices: of the triangles about each, by their area."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    by_area = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(normals, triangles[:, i], by_area)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(normals / np.maximum(length, 1e-12), dtype=np.float32)
