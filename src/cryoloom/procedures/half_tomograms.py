"""Agreement of the tomograms of even and of odd frames: figures and a curve."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cryoloom.algorithms.images.half_correlation import shell_correlation, smoothed_crossing_per_px
from cryoloom.contract.figures import Figure, Record
from cryoloom.contract.step import StepContext
from cryoloom.model import Pixels, Tilt

__all__ = [
    "COMPARED_VOXELS",
    "HALF_FIGURES",
    "HALF_RECORD",
    "compare_halves",
    "tell_tilts_without_halves",
]

COMPARED_VOXELS = 192
"""Chosen: voxels of half tomograms that is compared, along each axis, about their middle."""
_RESOLUTION_THRESHOLD = 0.143
"""Threshold of the correlation of halves: Rosenthal & Henderson, J. Mol. Biol. 333 (2003)."""
_MEAN_TO_PER_PX = 0.25
"""Cycles per voxel up to which `half_correlation` is the mean: half of Nyquist."""
_MOST_NAMED = 8
"""Chosen: tilts that a message lists."""

HALF_FIGURES = (
    Figure(
        "half_correlation",
        "",
        "Correlation of half tomograms",
        "Mean Fourier shell correlation, up to half of Nyquist, of the tomograms of even and of odd "
        "frames. 1 means no noise.",
    ),
    Figure(
        "half_resolution_angstrom",
        "angstrom",
        "Half tomograms agree to",
        "Detail at which the correlation of the half tomograms falls below 0.143. Errors of the alignment "
        "are common to both halves and not included.",
    ),
)
HALF_RECORD = Record(
    "half_correlation",
    "Fourier shell correlation of the tomograms of even and of odd frames.",
    shows="half_correlation",
)


def tell_tilts_without_halves(
    series: str, tilts: Sequence[Tilt], halved: Sequence[Tilt], context: StepContext
) -> None:
    """Warn of the tilts of a tomogram that its halves could not use: movies of a single frame have none."""
    single = [tilt for tilt in tilts if not tilt.has_halves]
    if not single or len(halved) == len(tilts):
        return
    angles = ", ".join(f"{tilt.nominal_tilt_deg:.1f}" for tilt in single[:_MOST_NAMED])
    context.warn(
        f"{series}: the even and odd tomograms lack the tilts at {angles} deg, whose movies have a single "
        "frame; half_correlation refers to the other tilts"
    )


def compare_halves(even: Pixels, odd: Pixels, voxel_size_angstrom: float, context: StepContext) -> None:
    """Fourier shell correlation of the middle of the halves ``(z, y, x)``, as figures and a curve."""
    sides = [min(n, COMPARED_VOXELS) for n in even.shape]
    middle = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(even.shape, sides, strict=True))
    boxes = [torch.from_numpy(half[middle].astype("float32")) for half in (even, odd)]
    frequency, correlation = shell_correlation(boxes[0], boxes[1])
    context.record(
        "half_correlation",
        {
            "frequency_per_angstrom": (frequency / voxel_size_angstrom).tolist(),
            "correlation": correlation.tolist(),
        },
    )
    context.figure("half_correlation", float(correlation[frequency < _MEAN_TO_PER_PX].mean()))
    crossing = smoothed_crossing_per_px(frequency, correlation, _RESOLUTION_THRESHOLD)
    if crossing > 0:
        context.figure("half_resolution_angstrom", voxel_size_angstrom / crossing)
    else:
        context.not_measurable(
            "half_resolution_angstrom", "the correlation of the halves does not fall through 0.143"
        )
