"""Measured Fourier coefficients of a tomogram, and a loss with which a network predicts the others.

The loss is DeepDeWedge's (Wiedemann & Heckel, Nat. Commun. 15, 8255 (2024)): a box of one half is rotated at
random and a second wedge is removed from it; the target is the rotated box of the other half, which contains
the second wedge. So the network learns to denoise and to fill a wedge at once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from cryoloom.geometry.rotations import rotation_from_quaternion

__all__ = ["TiltRange", "measured_region", "random_rotations", "turned", "wedge_loss", "with_wedge_filled"]

TiltRange = tuple[float, float]
"""Lowest and highest tilt in degrees."""

#: Weight of the second wedge over the rest (Wiedemann & Heckel).
_FILL_WEIGHT = 2.0


def measured_region(
    edge: int, tilt_range_deg: TiltRange, rotations: torch.Tensor | None = None
) -> torch.Tensor:
    """True if an rfftn of a cube holds measured coefficients, ``(z, y, x // 2 + 1)``.

    A projection tilted by t about y measures the plane of frequencies through y and (cos t, 0, sin t).
    rotations : (n, 3, 3) of xyz, for cubes whose content at r is the tomogram's at ``R r``; the result then
    is ``(n, z, y, x // 2 + 1)``.
    """
    device = rotations.device if rotations is not None else torch.device("cpu")
    full, half = torch.fft.fftfreq(edge, device=device), torch.fft.rfftfreq(edge, device=device)
    z, y, x = torch.meshgrid(full, full, half, indexing="ij")
    frequency = torch.stack([x, y, z])
    if rotations is not None:
        frequency = torch.einsum("nij,jzyx->nizyx", rotations, frequency)
    angle = torch.rad2deg(torch.atan2(frequency.select(-4, 2), frequency.select(-4, 0)))
    low, high = tilt_range_deg
    inside = torch.remainder(angle - low, 180.0) <= high - low
    # Along the tilt axis, and within one coefficient of it, every image contributes.
    return inside | (frequency.select(-4, 0) ** 2 + frequency.select(-4, 2) ** 2 < (0.75 / edge) ** 2)


def turned(boxes: torch.Tensor, rotations: torch.Tensor, edge: int) -> torch.Tensor:
    """Boxes ``(n, c, z, y, x)`` sampled at ``R r``: cubes of ``edge`` about the centre, trilinear."""
    size = boxes.shape[-1]
    theta = torch.zeros((len(boxes), 3, 4), device=boxes.device)
    theta[:, :, :3] = rotations * ((edge - 1) / (size - 1))
    grid = functional.affine_grid(theta, [len(boxes), 1, edge, edge, edge], align_corners=True)
    return functional.grid_sample(boxes, grid, padding_mode="reflection", align_corners=True)


def random_rotations(n: int, rng: np.random.Generator) -> torch.Tensor:
    """Uniform over all rotations, ``(n, 3, 3)``, from unit quaternions."""
    q = rng.standard_normal((n, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    return torch.from_numpy(rotation_from_quaternion(x, y, z, w).astype(np.float32))


def wedge_loss(
    network: torch.nn.Module,
    boxes: torch.Tensor,
    targets: torch.Tensor,
    rotations: torch.Tensor,
    edge: int,
    tilt_range_deg: TiltRange,
) -> torch.Tensor:
    """Loss of one batch. boxes, targets : (n, 1, z, y, x) of one half and the other, wider than ``edge``."""
    known = measured_region(edge, tilt_range_deg, rotations)[:, None]
    kept = measured_region(edge, tilt_range_deg).to(boxes.device)
    given = torch.fft.rfftn(turned(boxes, rotations, edge), dim=(-3, -2, -1)) * kept
    made = network(torch.fft.irfftn(given, s=(edge, edge, edge), dim=(-3, -2, -1)))
    difference = torch.fft.rfftn(made - turned(targets, rotations, edge), dim=(-3, -2, -1), norm="ortho")
    power = difference.real**2 + difference.imag**2
    weight = torch.where(kept, 1.0, _FILL_WEIGHT) * known
    return (power * weight).mean()


def with_wedge_filled(boxes: torch.Tensor, made: torch.Tensor, tilt_range_deg: TiltRange) -> torch.Tensor:
    """Boxes ``(n, 1, z, y, x)`` whose missing coefficients are replaced by the network's output."""
    edge = boxes.shape[-1]
    known = measured_region(edge, tilt_range_deg).to(boxes.device)
    spectra = [torch.fft.rfftn(volume, dim=(-3, -2, -1)) for volume in (boxes, made)]
    filled = torch.where(known, spectra[0], spectra[1])
    return torch.fft.irfftn(filled, s=(edge, edge, edge), dim=(-3, -2, -1))
