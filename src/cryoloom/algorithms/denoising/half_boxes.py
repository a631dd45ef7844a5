"""Boxes from the two halves of a tomogram, for training networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.volume_tiles import read_mirrored
from cryoloom.model import Pixels

__all__ = ["HalfBoxes", "Normalisation", "draw_boxes"]


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Mean and standard deviation that are mapped to 0 and 1 for networks."""

    mean: float
    deviation: float

    def apply(self, volume: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values for the network."""
        return (volume - np.float32(self.mean)) / np.float32(self.deviation)

    def undo(self, volume: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values of the tomogram."""
        return volume * np.float32(self.deviation) + np.float32(self.mean)


@dataclass(frozen=True, slots=True)
class HalfBoxes:
    """The same boxes of both halves, normalised, ``(box, half, z, y, x)`` float16."""

    boxes: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.boxes)

    def batch(self, n: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes of one half and the same of the other, ``(n, 1, z, y, x)``, halves swapped at random.

        They are mirrored along y and rotated by 180 degrees about it at random, which keeps the missing
        wedge.
        """
        chosen = self.boxes[rng.integers(len(self.boxes), size=n)].astype(np.float32)
        pairs = []
        for pair, (swaps, mirrors, turns) in zip(chosen, rng.random((n, 3)) < 0.5, strict=True):
            axes = (2,) * int(mirrors) + (1, 3) * int(turns)
            turned = np.flip(pair, axes)
            pairs.append(turned[::-1] if swaps else turned)
        both = torch.from_numpy(np.ascontiguousarray(np.stack(pairs)))
        return both[:, :1], both[:, 1:]


def draw_boxes(
    even: Pixels,
    odd: Pixels,
    n_boxes: int,
    edge: int,
    rng: np.random.Generator,
    *,
    validation_share: float = 0.1,
) -> tuple[HalfBoxes, HalfBoxes, Normalisation]:
    """Boxes for training, boxes for validation, and their normalisation.

    The validation boxes come from the far end along y, the tilt axis, away from all training boxes. A volume
    thinner than a box is mirrored at its faces.
    """
    n_z, n_y, n_x = even.shape
    border = max(edge, n_y - max(edge, round(validation_share * n_y)))
    n_validation = max(2, round(validation_share * n_boxes))
    sets = []
    for n, low, high in ((n_boxes, 0, border - edge), (n_validation, min(border, n_y - edge), n_y - edge)):
        starts = np.stack(
            [
                _starts(n, min(0, (n_z - edge) // 2), max((n_z - edge) // 2, n_z - edge), rng),
                _starts(n, min(low, high), max(low, high), rng),
                _starts(n, min(0, (n_x - edge) // 2), max((n_x - edge) // 2, n_x - edge), rng),
            ],
            axis=1,
        )
        starts = starts[np.lexsort(starts.T[::-1])]  # along the file
        made = np.empty((n, 2, edge, edge, edge), np.float32)
        for box, start in zip(made, starts, strict=True):
            for half, pixels in zip(box, (even, odd), strict=True):
                half[...] = read_mirrored(pixels, tuple(int(s) for s in start), (edge, edge, edge))
        sets.append(made)
    normalisation = Normalisation(float(sets[0].mean()), float(sets[0].std()) or 1.0)
    training, validation = (HalfBoxes(normalisation.apply(made).astype(np.float16)) for made in sets)
    return training, validation, normalisation


def _starts(n: int, low: int, high: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.integers(low, high + 1, size=n)
