"""Rotation and flip of a gain reference: the orientation that flattens the camera's counts.

The figure of an orientation is the coefficient of variation of the gain-corrected sum of many frames (the
test of aretomo3-preprocess). Here sum and gain are first divided by their local means, so that ice, beads and
cells do not contribute, only differences between neighbouring pixels. Shot noise remains, and for a wrong
orientation twice the gain's pattern.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from cryoloom.geometry.image_orientation import ORIENTATIONS, Flip, orient_image

__all__ = ["GainOrientation", "OrientationTrial", "find_gain_orientation"]

_DEAD_BELOW, _HOT_ABOVE, _HOT_SIGMAS = 0.2, 3.0, 6.0
"""Fractions of the median counts: pixels below are dead.

Pixels above, by this many Poisson deviations more, are hot.
"""

_NEIGHBOURHOOD_PX = 9  # chosen: over which a pixel is compared; wider ones follow the image
_SIGMAS_FOR_CERTAIN = 10.0  # noise of neighbouring pixels is not fully independent, so more than 5
#: Chosen: relative difference of the variation from the second orientation; a smaller one is not significant.
_LEAST_GAIN = 0.002
_Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class OrientationTrial:
    """Variation (standard deviation over mean) between neighbours, with the gain in this orientation."""

    quarter_turns: int
    flip: Flip
    variation: float


@dataclass(frozen=True, slots=True)
class GainOrientation:
    """The flattest orientation first, and whether it is certain."""

    trials: tuple[OrientationTrial, ...]
    variation_without_gain: float
    margin_sigmas: float
    """Difference of the best to the next orientation, and to half of it, in standard errors of flatness."""
    is_certain: bool

    @property
    def best(self) -> OrientationTrial:
        """The flattest."""
        return self.trials[0]


def find_gain_orientation(counts: _Image, gain: _Image) -> GainOrientation:
    """Try every orientation whose shape fits.

    counts : (y, x) raw counts, summed over many frames. gain : multiplicative, 0 at defects, as filed, on the
    counts' grid up to a quarter turn.
    """
    usable = _usable(counts)
    flat_counts = _over_local_mean(counts, usable)
    flat_gain = _over_local_mean(gain, gain > 0)
    admissible = [
        o for o in ORIENTATIONS if orient_image(np.empty(gain.shape, bool), *o).shape == counts.shape
    ]
    good = usable.copy()
    for orientation in admissible:  # the same pixels for all, otherwise defects would decide
        good &= orient_image(gain > 0, *orientation)
    trials = [
        OrientationTrial(*orientation, _variation(flat_counts * orient_image(flat_gain, *orientation), good))
        for orientation in admissible
    ]
    trials.sort(key=lambda trial: trial.variation)
    best, without = trials[0], _variation(flat_counts, good)
    oriented = orient_image(flat_gain, best.quarter_turns, best.flip)
    # Coincidence loss attenuates the pattern in counts, so that the full gain may flatten no better
    # than none. Half of it
    # does, if at least a quarter of the pattern is present.
    halved = flat_counts * (1.0 + 0.5 * (oriented - 1.0))
    sigmas = _sigmas_flatter(halved[good], flat_counts[good])
    is_clear = True
    if len(trials) > 1:
        second = trials[1]
        rival = flat_counts * orient_image(flat_gain, second.quarter_turns, second.flip)
        sigmas = min(sigmas, _sigmas_flatter((flat_counts * oriented)[good], rival[good]))
        is_clear = second.variation > (1.0 + _LEAST_GAIN) * best.variation
    return GainOrientation(tuple(trials), without, sigmas, is_clear and sigmas > _SIGMAS_FOR_CERTAIN)


def _sigmas_flatter(best: _Image, rival: _Image) -> float:
    """Difference of the variances in standard errors. Both share their shot noise: pixels are paired."""
    if best.size < 2:
        return 0.0
    difference = (rival / rival.mean(dtype=np.float64) - 1) ** 2 - (
        best / best.mean(dtype=np.float64) - 1
    ) ** 2
    spread = float(difference.std(dtype=np.float64))
    return float(difference.mean(dtype=np.float64)) / spread * best.size**0.5 if spread > 0 else 0.0


def _usable(counts: _Image) -> NDArray[np.bool_]:
    """Pixels that are neither dead nor hot beyond what a gain corrects."""
    typical = float(np.median(counts[::4, ::4]))
    return (counts > _DEAD_BELOW * typical) & (
        counts < _HOT_ABOVE * typical + _HOT_SIGMAS * np.sqrt(max(typical, 0.0))
    )


def _over_local_mean(image: _Image, good: NDArray[np.bool_]) -> _Image:
    """Image over the mean of the good pixels around; 1 where there is none."""
    weight = uniform_filter(good.astype(np.float32), _NEIGHBOURHOOD_PX, mode="nearest")
    local = uniform_filter(np.where(good, image, np.float32(0)), _NEIGHBOURHOOD_PX, mode="nearest")
    flat = np.ones_like(image)
    np.divide(image * weight, local, out=flat, where=good & (local > 0))
    return flat


def _variation(image: _Image, good: NDArray[np.bool_]) -> float:
    values = image[good]
    return float(values.std(dtype=np.float64) / values.mean(dtype=np.float64)) if values.size else 0.0
