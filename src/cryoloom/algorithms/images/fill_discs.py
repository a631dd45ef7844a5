"""Discs of an image filled with its surroundings: level, slope and texture of the area around.

A disc is filled with the pixels of another disc nearby, minus its smooth background, plus the local one. The
smooth background is a plane fitted to a ring. So mean, variance and spectrum of the noise are those of the
place, and because each image uses its own neighbours, the filling adds up to noise in a tomogram. At its rim
a disc is blended so that the variance is preserved.

All of it is linear in the pixels, so an image's halves, filled with the same choice of neighbours, still add
up.

Where a spectrum is to be measured, grain from elsewhere would interfere with itself: there discs are faded to
the background alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DiscFilling", "fade_discs", "fill_discs", "plan_filling"]

LEAST_OF_RING = 0.2
"""Part of the ring about a disc that must be background for a plane to be fitted to it."""

Image = NDArray[np.float32]
RIM_PX = 2.0
"""Chosen: soft edge of a filled disc; a hard one would show."""
RING = (1.15, 2.0)
"""Chosen: radii of the ring for the background, in radii of the disc."""
TRIES = 200
"""Chosen: random places tried for a disc of free background; most images have one within a few."""
RING_PIXELS = 1500
"""Approximate number of pixels of a ring that determine a plane well enough."""


@dataclass(frozen=True, slots=True)
class DiscFilling:
    """Discs ``(n, 2)`` as (row, column) of their middle pixels, and of their sources."""

    centres: NDArray[np.int64]
    lenders: NDArray[np.int64]
    radius_px: float


def plan_filling(
    shape_yx: tuple[int, int],
    centres_yx_px: NDArray[np.float64],
    radius_px: float,
    avoid_yx_px: NDArray[np.float64],
    rng: np.random.Generator,
) -> DiscFilling:
    """Choose a source for each disc inside the image: near, complete, and free of pixels to avoid.

    centres_yx_px : (n, 2) real-valued indices. avoid_yx_px : (m, 2), of all beads. If there is no complete
    source for a disc the best one tried is used.
    """
    side = np.array(shape_yx)
    centres = np.rint(centres_yx_px).astype(np.int64)
    reach = int(np.ceil(radius_px + RIM_PX))
    touched = ((centres > -reach) & (centres < side + reach)).all(axis=1)
    centres = centres[touched]
    lenders = np.empty_like(centres)
    free = 2 * radius_px + RIM_PX
    for k, centre in enumerate(centres):
        best, best_clear = centre, -np.inf
        for attempt in range(TRIES):
            distance = radius_px * rng.uniform(2.3, 4.0 + 6.0 * attempt / TRIES)
            angle = rng.uniform(0, 2 * np.pi)
            place = centre + np.rint(distance * np.array([np.sin(angle), np.cos(angle)])).astype(np.int64)
            inner = min(float((place - reach).min()), float((side - 1 - reach - place).min()))
            clear = min(inner, float(np.hypot(*(avoid_yx_px - place).T).min(initial=np.inf)) - free)
            if clear > best_clear:
                best, best_clear = place, clear
            if clear >= 0:
                break
        lenders[k] = np.clip(best, reach, np.maximum(side - 1 - reach, reach))
    return DiscFilling(centres, lenders, radius_px)


def fill_discs(image: Image, filling: DiscFilling, avoid_yx_px: NDArray[np.float64]) -> Image:
    """Image ``(y, x)`` with the discs filled; pixels outside them are untouched.

    avoid_yx_px : beads, whose pixels are not part of the background.
    """
    filled = image.copy()
    offsets, weight, ring = _patterns(filling.radius_px)
    for centre, lender in zip(filling.centres, filling.lenders, strict=True):
        own = _plane(image, centre, ring, avoid_yx_px, filling.radius_px)
        theirs = _plane(image, lender, ring, avoid_yx_px, filling.radius_px)
        if own is None or theirs is None:
            continue
        place, source = centre + offsets, lender + offsets
        inside = _inside(image.shape, place) & _inside(image.shape, source)
        place, source, w, at = place[inside], source[inside], weight[inside], offsets[inside]
        background = own[0] + at @ own[1:]
        grain = image[source[:, 0], source[:, 1]] - (theirs[0] + at @ theirs[1:])
        left = image[place[:, 0], place[:, 1]] - background
        # Squares of the weights add up to one: independent noise keeps its variance.
        filled[place[:, 0], place[:, 1]] = background + w * grain + np.sqrt(1 - w**2) * left
    return filled


def fade_discs(image: Image, centres_yx_px: NDArray[np.float64], radius_px: float, rim_px: float) -> Image:
    """Image ``(y, x)`` with discs faded to the plane of their surroundings, over a rim outside the radius.

    centres_yx_px : (n, 2) real-valued indices. A disc about which too little is seen stays as it is.
    """
    faded = image.copy()
    reach = radius_px + rim_px
    around, _, ring = _patterns(reach)
    ring = ring[:: max(1, len(ring) // RING_PIXELS)]
    distance = np.hypot(*around.T)
    depth = np.clip((reach - distance) / rim_px, 0.0, 1.0)
    weight = 0.5 - 0.5 * np.cos(np.pi * depth)
    for centre in np.rint(centres_yx_px).astype(np.int64):
        plane = _plane(image, centre, ring, centres_yx_px, reach)
        if plane is None:
            continue
        place = centre + around
        inside = _inside(image.shape, place)
        place, w, at = place[inside], weight[inside], around[inside]
        background = plane[0] + at @ plane[1:]
        values = faded[place[:, 0], place[:, 1]]
        faded[place[:, 0], place[:, 1]] = background + (1 - w) * (values - background)
    return faded


def _patterns(
    radius_px: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Offsets of a disc's pixels and the weight of the filling there; and offsets of its ring."""
    reach = int(np.ceil(radius_px * RING[1]))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(y, x)
    offsets = np.stack([y, x], axis=-1)
    disc = distance < radius_px + RIM_PX
    depth = np.clip((radius_px + RIM_PX - distance[disc]) / RIM_PX, 0.0, 1.0)
    weight = np.sin(0.5 * np.pi * depth)
    ring = (distance >= radius_px * RING[0]) & (distance < radius_px * RING[1])
    return offsets[disc], weight, offsets[ring]


def _plane(
    image: Image,
    centre: NDArray[np.int64],
    ring: NDArray[np.int64],
    avoid_yx_px: NDArray[np.float64],
    radius_px: float,
) -> NDArray[np.float64] | None:
    """Level and slopes (y, x) of the background about a disc, ``(3,)``; None if too few pixels are valid."""
    place = centre + ring
    good: NDArray[np.bool_] = _inside(image.shape, place)
    for bead in avoid_yx_px[np.hypot(*(avoid_yx_px - centre).T) < radius_px * (1 + RING[1])]:
        good[np.hypot(*(place - bead).T) <= radius_px] = False
    if good.sum() < LEAST_OF_RING * len(ring):
        return None
    design = np.column_stack([np.ones(int(good.sum())), ring[good]])
    values = image[place[good, 0], place[good, 1]].astype(np.float64)
    plane: NDArray[np.float64] = np.linalg.lstsq(design, values, rcond=None)[0]
    return plane


def _inside(shape: tuple[int, ...], place: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray(((place >= 0) & (place < np.array(shape))).all(axis=1), dtype=np.bool_)
