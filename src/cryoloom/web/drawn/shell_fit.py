"""Fit of a manually drawn sphere to the shell of a vesicle, at the end of a drag with the sphere tool.

The shell is the darkest position along each ray from the centre. Rays near the beam direction are excluded,
because the missing wedge removes the shell at top and bottom. The fit is that of the picking steps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from cryoloom.algorithms.picking.ellipsoids import EllipsoidFit, fit_sphere
from cryoloom.geometry.orientation_grid import even_directions

__all__ = ["fit_shell"]

Array = NDArray[np.float64]
_N_RAYS = 600
"""Chosen: about 8 degrees apart."""
#: Chosen: largest |z| of a ray, 40 degrees from the plane; tilts to 60 degrees still show the shell there.
_STEEPEST = 0.64
#: Chosen: range of the search on either side of the drawn sphere, over its radius.
_REACH = 0.35
_ROUNDS = 3
"""Chosen: after three rounds the sphere no longer moves."""
_AVERAGED_DEG = 14.0
"""Chosen: rays within this angle are averaged, about twelve."""


def fit_shell(
    volume: NDArray[np.uint8], voxel_size_angstrom: float, centre_xyz_angstrom: Array, radius_angstrom: float
) -> tuple[EllipsoidFit, Array]:
    """Sphere on the dark shell near a drawn sphere, and the points ``(n, 3)`` of the fit.

    volume : (z, y, x), centre at index ``n // 2``; dense matter is dark. Raises DataUnfitError if the
    sphere is outside the volume.
    """
    rays = even_directions(_N_RAYS)
    rays = rays[np.abs(rays[:, 2]) < _STEEPEST]
    centre, radius = np.asarray(centre_xyz_angstrom, dtype=np.float64), radius_angstrom
    reach = _REACH
    for _ in range(_ROUNDS):
        points = _shell_points(volume, voxel_size_angstrom, centre, radius, rays, reach)
        fit = fit_sphere(points)
        centre = fit.ellipsoid.centre_xyz_angstrom
        radius = float(fit.ellipsoid.half_axes_angstrom[0])
        reach = max(0.12, 0.5 * reach)
    return fit, points


def _shell_points(
    volume: NDArray[np.uint8], size: float, centre: Array, radius: float, rays: Array, reach: float
) -> Array:
    """Darkest position along each ray, after averaging with neighbouring rays."""
    distances = np.arange(max(size, (1 - reach) * radius), (1 + reach) * radius, 0.5 * size)
    places = centre + rays[:, None, :] * distances[None, :, None]
    middle = np.array(volume.shape[::-1]) // 2
    low = np.maximum(np.floor(places.min(axis=(0, 1)) / size + middle).astype(int) - 3, 0)
    high = np.minimum(np.ceil(places.max(axis=(0, 1)) / size + middle).astype(int) + 4, volume.shape[::-1])
    if (high <= low).any():
        return np.empty((0, 3))
    box = volume[low[2] : high[2], low[1] : high[1], low[0] : high[0]].astype(np.float32)
    box = gaussian_filter(box, 0.7)
    index = (places / size + middle - low)[..., ::-1]
    profiles = map_coordinates(box, np.moveaxis(index, -1, 0), order=1, mode="nearest")
    inside = ((index >= 0) & (index <= np.array(box.shape) - 1)).all(axis=(1, 2))
    profiles, kept = profiles[inside], rays[inside]
    near = kept @ kept.T > np.cos(np.radians(_AVERAGED_DEG))
    smooth = (near @ profiles) / near.sum(axis=1, keepdims=True)
    smooth = gaussian_filter1d(smooth, 1.0, axis=1, mode="nearest")
    darkest = distances[smooth.argmin(axis=1)]
    at_an_end = (smooth.argmin(axis=1) == 0) | (smooth.argmin(axis=1) == len(distances) - 1)
    return np.asarray((centre + kept * darkest[:, None])[~at_an_end])
