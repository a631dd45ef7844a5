"""Power of an image's tiles summed in bins in torch, on any device: a row of tiles at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["tile_powers_torch"]


def tile_powers_torch(
    image: torch.Tensor,
    starts_y: Sequence[int],
    starts_x: Sequence[int],
    window: torch.Tensor,
    bins: torch.Tensor,
    n_bins: int,
) -> torch.Tensor:
    """See `cryoloom.kernels.images.tile_powers.tile_powers`."""
    edge = len(window)
    used = (bins >= 0).nonzero().ravel()
    # A sum by matrix: the order of additions by index differs from run to run on a GPU.
    gather = torch.sparse_coo_tensor(
        torch.stack([bins[used].long(), used]),
        torch.ones(len(used), device=image.device),
        (n_bins, len(bins)),
        check_invariants=False,
    )
    power = []
    for y in starts_y:
        tiles = torch.stack([image[y : y + edge, x : x + edge] for x in starts_x])
        tiles = (tiles - tiles.mean(dim=(-2, -1), keepdim=True)) * window
        squares = torch.view_as_real(torch.fft.rfft2(tiles)).square().sum(dim=-1)
        power.append((gather @ squares.reshape(len(starts_x), -1).T).T)
    return torch.cat(power)
