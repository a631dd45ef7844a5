"""Conversion between a map and the half cube of its Fourier transform, for slices.

Linear interpolation in Fourier space multiplies a map by ``sinc^2`` along each axis, which is divided out in
real space; for a map padded to twice its side the remaining error lies outside the map.
"""

from __future__ import annotations

import numpy as np
import torch

from cryoloom.kernels.slices.fourier_slices import cube_shape

__all__ = [
    "PADDING",
    "add_conjugates",
    "cube_frequency",
    "cube_of_map",
    "gridding_square",
    "map_of_cube",
]

PADDING = 2
"""As in RELION: linear interpolation in a transform padded to twice the side."""


def cube_of_map(density: torch.Tensor, highest: float) -> torch.Tensor:
    """Half cube of a map ``(n, n, n)``, n even, its centre at index ``n // 2``; values beyond the band stay.

    highest : radius of the frequencies that will be used, in units of one over the map's side.
    """
    n = density.shape[0]
    padded = torch.zeros((PADDING * n,) * 3, dtype=torch.float32, device=density.device)
    low = (PADDING * n) // 2 - n // 2
    padded[low : low + n, low : low + n, low : low + n] = density / _gridding(n, density.device)
    transform = torch.fft.rfftn(torch.fft.ifftshift(padded))
    shape = cube_shape(min(PADDING * highest, PADDING * n // 2 - 1))
    half = shape[0] // 2
    index = torch.arange(-half, half + 1, device=density.device)
    rows = index % (PADDING * n)
    cube = torch.zeros(shape, dtype=torch.complex64, device=density.device)
    columns = min(shape[2], transform.shape[2])
    cube[:, :, :columns] = transform[rows][:, rows][:, :, :columns]
    # Beyond the transform's own highest frequency values are zero, though the index would wrap.
    outside = index.abs() >= PADDING * n // 2
    cube[outside] = 0
    cube[:, outside] = 0
    cube[:, :, PADDING * n // 2 :] = 0
    return cube


def map_of_cube(cube: torch.Tensor, n: int) -> torch.Tensor:
    """Map ``(n, n, n)``, n even, of a half cube into which slices were inserted.

    Insertion spreads samples over the neighbouring cells, which multiplies the map by ``sinc^2`` once more.
    """
    half = cube.shape[0] // 2
    side = PADDING * n
    keep = min(half, side // 2 - 1)
    index = torch.arange(-keep, keep + 1, device=cube.device)
    transform = torch.zeros((side, side, side // 2 + 1), dtype=torch.complex64, device=cube.device)
    rows = index % side
    inner = cube[half - keep : half + keep + 1, half - keep : half + keep + 1, : keep + 1]
    transform[rows[:, None], rows[None, :], : keep + 1] = inner
    padded = torch.fft.fftshift(torch.fft.irfftn(transform, s=(side,) * 3))
    low = side // 2 - n // 2
    return padded[low : low + n, low : low + n, low : low + n] / _gridding(n, cube.device)


def add_conjugates(cube: torch.Tensor) -> torch.Tensor:
    """A copy in which each value of the plane x = 0 is joined by the conjugate of its opposite.

    Insertion puts a sample and its conjugate, which carry the same information, into either half of that
    plane. Real cubes (weights) work as well.
    """
    joined = cube.clone()
    plane = cube[:, :, 0]
    joined[:, :, 0] = plane + torch.flip(plane, (0, 1)).conj()
    return joined


def cube_frequency(shape: tuple[int, ...] | torch.Size, device: torch.device | str = "cpu") -> torch.Tensor:
    """Length of each frequency of a half cube in units of one over the unpadded map's side, float32."""
    half = shape[0] // 2
    along = torch.arange(-half, half + 1, device=device, dtype=torch.float32) / PADDING
    x = torch.arange(0, shape[2], device=device, dtype=torch.float32) / PADDING
    return torch.sqrt(along[:, None, None] ** 2 + along[None, :, None] ** 2 + x[None, None] ** 2)


def gridding_square(n: int) -> torch.Tensor:
    """What a map ``(n, n, n)`` is multiplied by so that `map_of_cube` of its `cube_of_map` gives it back."""
    return _gridding(n, "cpu") ** 2


def _gridding(n: int, device: torch.device | str) -> torch.Tensor:
    """``sinc^2`` of x, y and z over the padded side."""
    line = np.sinc((np.arange(n) - n // 2) / (PADDING * n)) ** 2
    along = torch.tensor(line, dtype=torch.float32, device=device)
    return along[:, None, None] * along[None, :, None] * along[None, None, :]
