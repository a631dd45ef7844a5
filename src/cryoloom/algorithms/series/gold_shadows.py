"""Gold hidden in single images, of a series that need not be aligned.

Gold scatters far more strongly than ice and protein, and lies on a surface: a measurement of the whole
specimen, such as its defocus, must not include it. The least tilted images show whether a series has gold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.fill_discs import fade_discs
from cryoloom.algorithms.images.single_thread_pool import of_each
from cryoloom.algorithms.series.bead_maps import (
    LEAST_SIGNIFICANCE,
    bead_candidates,
    bead_maps,
    measure_bead_diameter,
)
from cryoloom.algorithms.series.tilt_images import TiltImages, load_tilt_images
from cryoloom.kernels.images.block_mean import block_mean
from cryoloom.kernels.tensors import tensor_over

__all__ = ["GoldShadows", "find_gold"]

Image = NDArray[np.float32]

WORKING_PIXEL_ANGSTROM = 11.0  # chosen: about a ninth of a bead of 10 nm
LEAST_BEADS = 3  # chosen: as for the diameter (`bead_maps.measure_bead_diameter`)
LEAST_OF_GOLD = 10.0
"""Height of as many shadows in the least tilted images. Simulated gold has 26, without it 8 were reached."""
LEAST_OF_TYPICAL = 0.3
"""Part of that height which a bead has in any image: gold fades in the longer path of steep tilts."""
HIDDEN_RADIUS, RIM = 0.7, 0.4
"""In measured diameters, which are of the shadow's dark core: 0.8 of the true one."""


@dataclass(frozen=True, slots=True)
class GoldShadows:
    """Appearance of gold in the images of a series."""

    pixel_size_angstrom: float
    diameter_angstrom: float
    least_significance: float

    def places(self, image: Image) -> NDArray[np.float64]:
        """Where an image ``(y, x)`` shows gold, ``(n, 2)`` as real-valued (row, column)."""
        small, binning = _binned(image, self.pixel_size_angstrom)
        maps = bead_maps(small, self.diameter_angstrom)
        found, _ = bead_candidates(maps, 0, self.least_significance)
        # A block's middle lies half a block beyond its first pixel.
        index = found[:, ::-1] / small.pixel_size_angstrom + np.array(small.shape_yx) // 2
        return np.asarray((index + 0.5) * binning - 0.5)

    def hidden(self, image: Image) -> tuple[Image, int]:
        """The image without its gold, and how many beads that were."""
        places = self.places(image)
        diameter = self.diameter_angstrom / self.pixel_size_angstrom
        return fade_discs(image, places, HIDDEN_RADIUS * diameter, RIM * diameter), len(places)


def find_gold(images: Sequence[Image], pixel_size_angstrom: float) -> GoldShadows | None:
    """Appearance of gold in images ``(y, x)`` of little tilt, the least tilted first.

    None if most of them show no gold.
    """
    small = of_each(lambda image: _binned(image, pixel_size_angstrom)[0], images)
    if not small:
        return None
    diameter = measure_bead_diameter(small[0], 0)
    heights = of_each(
        lambda one: _height_of_gold(bead_candidates(bead_maps(one, diameter), 0, LEAST_SIGNIFICANCE)[1]),
        small,
    )
    typical = float(np.median(heights))
    if typical < LEAST_OF_GOLD:
        return None
    return GoldShadows(pixel_size_angstrom, diameter, max(LEAST_SIGNIFICANCE, LEAST_OF_TYPICAL * typical))


def _height_of_gold(heights: NDArray[np.float64]) -> float:
    """That of the last shadow which must be gold's; 0 where there are fewer."""
    return float(np.sort(heights)[-LEAST_BEADS]) if len(heights) >= LEAST_BEADS else 0.0


def _binned(image: Image, pixel_size_angstrom: float) -> tuple[TiltImages, int]:
    """A working image by means over blocks, and how many pixels these have on a side."""
    binning = max(1, round(WORKING_PIXEL_ANGSTROM / pixel_size_angstrom))
    # Even, so that nothing is trimmed.
    n_y, n_x = (2 * (n // (2 * binning)) for n in image.shape)
    small = np.empty((1, n_y, n_x), np.float32)
    rows = np.ascontiguousarray(image[: n_y * binning], dtype=np.float32)
    block_mean(tensor_over(rows), torch.from_numpy(small[0]))
    pixel = binning * pixel_size_angstrom
    return load_tilt_images(small, pixel, pixel), binning
