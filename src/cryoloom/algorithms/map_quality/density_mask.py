"""A soft mask about the density of an average, found from the map itself."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label

from cryoloom.algorithms.averaging.maps import low_pass
from cryoloom.algorithms.averaging.shell_correlation import soft_sphere

__all__ = ["density_mask", "soft_edge"]

#: Chosen: parts smaller than this fraction of the largest one are noise or neighbours.
_LEAST_PART = 0.1


def density_mask(
    density: torch.Tensor,
    voxel_angstrom: float,
    diameter_angstrom: float | None,
    *,
    lowpass_angstrom: float = 15.0,
    threshold_sd: float = 4.0,
    extend_angstrom: float = 6.0,
    edge_angstrom: float = 12.0,
) -> torch.Tensor:
    """Mask ``(n, n, n)`` of the density above the noise outside of the particle.

    1, falling to 0 over an edge. The map is low-passed; noise is what lies between the particle's sphere and
    the sphere the box holds, in standard deviations of which the threshold is. Without a diameter, half of
    the box. Holes stay part of the mask if the edge closes them.
    """
    n = density.shape[0]
    smooth = low_pass(density, voxel_angstrom, max(lowpass_angstrom, 2.5 * voxel_angstrom)).numpy()
    radius_px = 0.5 * (diameter_angstrom or 0.5 * n * voxel_angstrom) / voxel_angstrom
    radius_px = min(1.1 * radius_px, 0.42 * n)
    inside = soft_sphere(n, radius_px, 1.0).numpy() > 0
    around = (soft_sphere(n, n / 2 - 2, 1.0).numpy() > 0) & ~inside
    level = float(np.median(smooth[around]))
    spread = 1.4826 * float(np.median(np.abs(smooth[around] - level)))
    # A map masked before has no noise around it: then a tenth of its highest density is the threshold.
    highest = float(np.percentile(smooth[inside], 99.5))
    threshold = max(level + threshold_sd * spread, level + 0.1 * (highest - level))
    return soft_edge(
        _large_parts((smooth > threshold) & inside), voxel_angstrom, extend_angstrom, edge_angstrom
    )


def soft_edge(
    solid: NDArray[np.bool_], voxel_angstrom: float, extend_angstrom: float, edge_angstrom: float
) -> torch.Tensor:
    """A solid ``(n, n, n)`` extended by a distance, then falling to 0 as a cosine; 0 at the box's rim."""
    if not solid.any():
        return torch.zeros(solid.shape, dtype=torch.float32)
    distance = distance_transform_edt(~solid) * voxel_angstrom
    fall = np.clip((distance - extend_angstrom) / max(edge_angstrom, 1e-6), 0.0, 1.0)
    mask = 0.5 + 0.5 * np.cos(np.pi * fall)
    mask[fall >= 1.0] = 0.0
    ball = soft_sphere(solid.shape[0], solid.shape[0] / 2 - 4, 3.0).numpy()
    return torch.tensor(mask * ball, dtype=torch.float32)


def _large_parts(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, count = label(solid)
    if count == 0:
        return solid
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= _LEAST_PART * sizes.max())[parts])
