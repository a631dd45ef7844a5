"""Evidence of orbits with torch's own gather: any device, and the oracle of the CPU's loop."""

from __future__ import annotations

import torch

from cryoloom.kernels.slices.fourier_slices_torch import take_slices_torch

__all__ = ["orbit_evidence_torch"]

_VALUES_AT_ONCE = 1 << 22
"""Chosen: bounds memory."""


def orbit_evidence_torch(
    values: torch.Tensor,
    precision: torch.Tensor,
    worth: torch.Tensor,
    turns: torch.Tensor,
    points: torch.Tensor,
    prior: torch.Tensor,
) -> torch.Tensor:
    """As `orbits.orbit_evidence`."""
    n_operators = turns.shape[1]
    at_once = max(1, _VALUES_AT_ONCE // max(1, n_operators * len(points)))
    one = torch.tensor([[1.0, 0.0]], device=values.device)
    found = [torch.zeros(0, dtype=torch.float64, device=values.device)]
    for start in range(0, len(turns), at_once):
        turned = turns[start : start + at_once] @ points.T
        # The first axis of a frame is the place that its only sample reads.
        places = turned.transpose(-1, -2)
        frames = torch.stack([places, torch.zeros_like(places)], dim=-2).reshape(-1, 2, 3)
        read = [
            take_slices_torch(cube.to(values.dtype), frames, one)[0].reshape(places.shape[:-1])
            for cube in (values, precision, worth)
        ]
        total = read[1].real.sum(dim=1)
        together = 0.5 * read[0].sum(dim=1).abs() ** 2 / (total + prior) - torch.log1p(total / prior)
        found.append((together - read[2].real.sum(dim=1)).double().sum(dim=1))
    return torch.cat(found)
