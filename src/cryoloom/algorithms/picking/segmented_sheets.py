"""Points and normals on the middle of sheets that a segmentation marks, a voxel thick."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from cryoloom.algorithms.picking.ridges import RidgePoints, RidgeResponse, ridge_points

__all__ = ["sheet_points"]

_LEAST_DENSITY = 0.1
"""Chosen, of the smoothed mask: smaller values lie at the rim of a sheet."""
_LEAST_BENDING = 0.4
"""Chosen, of the strongest bending in the volume, that of the middle of a sheet."""


def sheet_points(mask: NDArray[np.bool_], sigma_voxels: float) -> RidgePoints:
    """Crest of a mask ``(z, y, x)`` smoothed by a Gaussian; directions are normals of either sign.

    sigma_voxels : about half the thickness of the marked sheets. The normal is the eigenvector of the second
    derivatives along which the smoothed mask bends most. Scores are the smoothed mask, at most 1.
    """
    smooth = gaussian_filter(mask.astype(np.float32), sigma_voxels)
    place = np.argwhere(mask & (smooth > _LEAST_DENSITY))
    if not len(place):
        return RidgePoints(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    at = tuple(place.T)
    bending = np.empty((len(place), 3, 3))
    for i in range(3):
        for j in range(i, 3):
            orders = [0, 0, 0]
            orders[i] += 1
            orders[j] += 1
            derivative = mask.astype(np.float32)
            for axis, order in enumerate(orders):
                derivative = gaussian_filter1d(derivative, sigma_voxels, axis=axis, order=order)
            bending[:, i, j] = bending[:, j, i] = derivative[at]
    values, vectors = np.linalg.eigh(bending)  # the first bends most downwards
    # At a sheet's faces its profile hardly bends, and the normal is not known.
    middle = values[:, 0] < _LEAST_BENDING * values[:, 0].min()
    place, vectors = place[middle], vectors[middle]
    at = tuple(place.T)
    number = np.zeros(mask.shape, dtype=np.int32)
    number[at] = np.arange(len(place))
    score = np.zeros(mask.shape, dtype=np.float32)
    score[at] = smooth[at]
    return ridge_points(RidgeResponse(score, number, vectors[:, ::-1, 0]), "sheet", _LEAST_DENSITY)
