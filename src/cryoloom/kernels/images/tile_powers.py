"""Power of an image's tapered tiles summed in bins of the spectrum: numba on the CPU, torch on CUDA."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cryoloom.kernels.images.tile_powers_cpu import tile_powers_cpu
from cryoloom.kernels.images.tile_powers_torch import tile_powers_torch
from cryoloom.kernels.tensors import on_cpu

__all__ = ["tile_powers"]


def tile_powers(
    image: torch.Tensor,
    starts_y: Sequence[int],
    starts_x: Sequence[int],
    window: torch.Tensor,
    bins: torch.Tensor,
    n_bins: int,
) -> torch.Tensor:
    """Power of each tile summed in the bins, ``(tile, bin)`` float32, row after row of tiles.

    image    : (y, x) float32. starts_y, starts_x : first pixel of each row and column of tiles.
    window   : (edge, edge) float32; a tile less its mean is multiplied by it.
    bins     : (edge * (edge // 2 + 1),) int32, the bin of each frequency of a tile's rfft2; those of -1 are
               left out. On the image's device, as the window.
    On the CPU the calling thread works alone.
    """
    edge = len(window)
    if image.dtype != torch.float32 or tuple(bins.shape) != (edge * (edge // 2 + 1),):
        raise ValueError(
            f"expected a float32 image and a bin for each of {edge * (edge // 2 + 1)} frequencies, got "
            f"{image.dtype} and {tuple(bins.shape)}"
        )
    if max(starts_y) + edge > image.shape[0] or max(starts_x) + edge > image.shape[1]:
        raise ValueError(f"tiles of {edge} pixels leave an image of {tuple(image.shape)}")
    if on_cpu(image, window, bins):
        powers = tile_powers_cpu(image.numpy(), starts_y, starts_x, window.numpy(), bins.numpy(), n_bins)
        return torch.from_numpy(powers)
    return tile_powers_torch(image, starts_y, starts_x, window, bins, n_bins)
