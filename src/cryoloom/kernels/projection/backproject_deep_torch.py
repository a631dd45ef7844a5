"""Back-projection of one strip from mixtures of images in torch, on any device: slab by slab."""

from __future__ import annotations

import torch

from cryoloom.kernels.projection.backproject import back_project

__all__ = ["back_project_deep_torch"]


def back_project_deep_torch(
    nodes: torch.Tensor,
    first_node: torch.Tensor,
    depths: torch.Tensor,
    tilts: torch.Tensor,
    columns: torch.Tensor,
    n_at_once: int,
    volume: torch.Tensor,
) -> None:
    """See `cryoloom.kernels.projection.backproject_deep.back_project_deep`.

    depths : (node, 2), depth and scale. tilts : (tilt, 6), line, range and step. Both in the CPU's memory.
    """
    index = torch.arange(nodes.shape[1], dtype=torch.float64)
    images = torch.empty((len(columns), *nodes.shape[1:]), device=nodes.device)
    for start in range(0, len(volume), n_at_once):
        stop = min(len(volume), start + n_at_once)
        for t, (d0, dc, dz, low, high, step) in enumerate(tilts.tolist()):
            own = slice(int(first_node[t]), int(first_node[t + 1]))
            depth = (d0 + dc * index + dz * 0.5 * (start + stop - 1)).clamp(low, high)
            weights = _weights(depths[own], depth, step).to(images)
            images[t] = torch.einsum("kcr,kc->cr", nodes[own], weights)
        moved = columns.clone()
        moved[:, 0] += moved[:, 2] * start
        back_project(images, moved, volume[start:stop])


def _weights(depths: torch.Tensor, depth: torch.Tensor, step: float) -> torch.Tensor:
    """Weights ``(node, column)`` of the nodes for columns seen at the given depths."""
    apart = depth - depths[:, :1]
    if step > 0:
        return (1 - apart.abs() / step).clamp(min=0)
    others = [
        torch.cat([apart[:node], apart[node + 1 :]]).prod(dim=0) * scale
        for node, scale in enumerate(depths[:, 1].tolist())
    ]
    return torch.stack(others)
