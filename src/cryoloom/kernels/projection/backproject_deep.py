"""Back-projection of one strip from images that change with depth: each is a mixture of a few others.

One signature, vector code on the CPU and torch elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cryoloom.kernels.projection.backproject_cpu import Z_BLOCK
from cryoloom.kernels.projection.backproject_deep_cpu import back_project_deep_numba
from cryoloom.kernels.projection.backproject_deep_torch import back_project_deep_torch
from cryoloom.kernels.tensors import on_cpu
from cryoloom.kernels.vector.ir import ROWS
from cryoloom.kernels.vector.support import vector_code_fits

__all__ = ["DepthMixtures", "back_project_deep"]


@dataclass(frozen=True, slots=True)
class DepthMixtures:
    """Dependence of the images of a strip on depth; float64 in the CPU's memory.

    The weights of a tilt's nodes at depth d are ``scale_i prod_(j != i) (d - depth_j)``, or, with a step,
    ``max(0, 1 - |d - depth_i| / step)``, with d held within the tilt's range.
    """

    first_node: torch.Tensor
    """(tilt + 1,) int64; the nodes of tilt t are ``first_node[t]`` to ``first_node[t + 1] - 1``."""
    node_depths: torch.Tensor
    """(node,) in any unit of depth."""
    node_scales: torch.Tensor
    """(node,); not used with a step."""
    lines: torch.Tensor
    """(tilt, 3) as (d0, dc, dz): column c is seen from height z at the depth ``d0 + dc c + dz z``."""
    ranges: torch.Tensor
    """(tilt, 2), least and largest depth."""
    steps: torch.Tensor
    """(tilt,) distance of the nodes, or 0 for the polynomial."""


def back_project_deep(
    nodes: torch.Tensor,
    mixtures: DepthMixtures,
    columns: torch.Tensor,
    slab_voxels: int,
    volume: torch.Tensor,
) -> None:
    """Fill a strip of a volume with the sum over tilts of images mixed for the depth of the voxels.

    nodes   : (node, column, 32) float32, contiguous, the nodes of a tilt one after the other.
    columns : (tilt, 3) float32, as `back_project` takes them, on the nodes' device.
    slab_voxels : heights for which a mixture may be used; never more than 16 are.
    volume  : (z, y, x) float32 with at most 32 rows y, contiguous, overwritten.
    """
    if nodes.shape[2] != ROWS or volume.shape[1] > ROWS or len(nodes) != len(mixtures.node_depths):
        raise ValueError(f"expected strips of {ROWS} rows and a depth for each of {len(nodes)} nodes")
    depths = torch.stack([mixtures.node_depths, mixtures.node_scales], dim=1)
    tilts = torch.cat([mixtures.lines, mixtures.ranges, mixtures.steps[:, None]], dim=1)
    n_at_once = max(1, min(slab_voxels, Z_BLOCK))
    if on_cpu(nodes, columns, volume) and vector_code_fits(nodes):
        back_project_deep_numba(
            nodes.numpy(),
            mixtures.first_node.numpy(),
            depths.numpy(),
            tilts.numpy(),
            columns.numpy(),
            n_at_once,
            volume.numpy(),
        )
    else:
        back_project_deep_torch(nodes, mixtures.first_node, depths, tilts, columns, n_at_once, volume)
