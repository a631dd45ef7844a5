"""A small three-dimensional U-Net that predicts a correction of a volume.

After Ronneberger et al., MICCAI (2015) and cryoCARE (Buchholz et al., Methods Cell Biol. 152, 2019), without
normalising layers: the output at a voxel depends on its surroundings only, so that tiles fit together except
for rounding.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["UNet3d", "reach_px"]


class UNet3d(nn.Module):
    """Volumes ``(n, 1, z, y, x)`` to the same shape; sizes divide by ``2 ** depth``.

    filters : channels at full resolution, twice as many with each halving. The last layer starts at zero:
    an untrained network changes nothing.
    """

    def __init__(self, filters: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.filters, self.depth = filters, depth
        widths = [filters << level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            _convolutions(1 if level == 0 else widths[level - 1], widths[level]) for level in range(depth)
        )
        self.bottom = _convolutions(widths[depth - 1] if depth else 1, widths[depth])
        self.up = nn.ModuleList(
            _convolutions(widths[level + 1] + widths[level], widths[level])
            for level in reversed(range(depth))
        )
        self.last = nn.Conv3d(filters, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # half as fast again

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Denoised volumes."""
        kept: list[torch.Tensor] = []
        features = volumes
        for block in self.down:
            features = block(features)
            kept.append(features)
            features = functional.avg_pool3d(features, 2)
        features = self.bottom(features)
        for block in self.up:
            finer = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([finer, kept.pop()], dim=1))
        return volumes + self.last(features)


def _convolutions(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(n_in, n_out, 3, padding=1),
        nn.LeakyReLU(0.1, inplace=True),
        nn.Conv3d(n_out, n_out, 3, padding=1),
        nn.LeakyReLU(0.1, inplace=True),
    )


def reach_px(depth: int) -> int:
    """Margin, a multiple of ``2 ** depth``, that contains all voxels a result depends on.

    Two convolutions on the way down and two on the way up at every level, two at the bottom, and what
    pooling and doubling round.
    """
    reach = 2 * (1 << depth)
    for level in range(depth):
        reach += (4 + 1) * (1 << level)
    step = 1 << depth
    return -(-reach // step) * step
