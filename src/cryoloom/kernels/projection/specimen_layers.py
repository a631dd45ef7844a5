"""Fill layers along the beam: with clouds of point scatterers, and with a tilted slab of ice, on the CPU.

The simulator makes several tilts side by side, each on one thread; there is no version for CUDA.
"""

from __future__ import annotations

import torch

from cryoloom.kernels.projection.specimen_layers_cpu import slab_in_layer_numba, stamp_clouds_numba
from cryoloom.kernels.tensors import expect_cpu

__all__ = ["slab_in_layer", "stamp_clouds"]


def stamp_clouds(
    layers: torch.Tensor,
    points: torch.Tensor,
    weights: torch.Tensor,
    spans: torch.Tensor,
    radii: torch.Tensor,
    rotations: torch.Tensor,
    centres: torch.Tensor,
    lowest: float,
    layer_thickness: float,
    pixel_size: float,
    first_layer: int,
    n_layers: int,
) -> None:
    """Add every point to the layer it lies in, spread by a cubic B-spline; the layers are changed in place.

    layers : (l, y, x) float32, layers ``first_layer`` and on of ``n_layers``; x = y = 0 is index ``n // 2``.
    points, weights : (n, 3) xyz in angstrom from the cloud's centre, and (n,); float32, shared by the clouds.
    spans, radii : (m, 2) int64 first and last + 1 point of each cloud; largest distance from its centre.
    rotations, centres : (m, 3, 3) cloud to image frame, and (m, 3) in the image frame, angstrom; float32.
    lowest : beam coordinate in angstrom at which layer 0 begins; the outermost layers are open-ended.
    """
    expect_cpu("stamp_clouds", layers, points, weights, spans, radii, rotations, centres)
    n = len(spans)
    if not len(radii) == len(rotations) == len(centres) == n or len(points) != len(weights):
        raise ValueError(
            f"{n} clouds have {len(radii)} radii, {len(rotations)} rotations and {len(centres)} centres; "
            f"{len(points)} points have {len(weights)} weights"
        )
    stamp_clouds_numba(
        layers.numpy(), points.numpy(), weights.numpy(), spans.numpy(), radii.numpy(), rotations.numpy(),
        centres.numpy(), lowest, layer_thickness, pixel_size, first_layer, n_layers,
    )  # fmt: skip


def slab_in_layer(
    out: torch.Tensor,
    origin_xy: tuple[float, float],
    slope_xy: tuple[float, float],
    height: float,
    half_path: float,
    low: float,
    high: float,
) -> int:
    """Write the square root of the path within a slab and two heights to ``out``; gives how many are > 0.

    out : (y, x) float32. The slab's middle is at ``height + slope_xy . (x, y)`` along the beam, with x and y
    in pixels from ``origin_xy``; it reaches ``half_path`` to both sides. All heights in angstrom.
    """
    expect_cpu("slab_in_layer", out)
    return slab_in_layer_numba(out.numpy(), origin_xy, slope_xy, height, half_path, low, high)
