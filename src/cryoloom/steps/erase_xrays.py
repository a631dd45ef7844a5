"""Erase X-ray hits from the images before interpolation or filtering.

A pixel is a hit if it is brighter than the annulus around it by many local standard deviations and brighter
than every pixel of the annulus. It is also a hit if it is as much brighter than its eight neighbours. Spots
are extended to the bright pixels around them. Gold beads are dark and their edges fail the second condition,
so they stay. Hit pixels are replaced by nearby values: the list is stored, and applied when images are read.
After IMOD's ccderaser (Kremer et al., J. Struct. Biol. 116 (1996)).

This step is for stacks from other programs. `align_frames` already replaces hits as bad pixels of single
movies; on its sums this step finds almost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.images.prefetch import prefetch
from cryoloom.algorithms.images.xrays import XrayCriteria, fill_from_surroundings, find_xrays
from cryoloom.algorithms.series.derived_pixels import Replaced, numbers_only
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.model import Exclusion, TiltSeries

__all__ = ["EraseXraysParams", "erase_xrays"]


class EraseXraysParams(StepParams):
    """Parameters of X-ray removal. Sigmas are local standard deviations."""

    peak_sigma: float = Field(
        10.0, gt=3, description="Smallest height of a spot above its surroundings, in sigmas."
    )
    difference_sigma: float = Field(
        10.0, gt=3, description="Smallest height of a single hit pixel above its eight neighbours, in sigmas."
    )
    grow_sigma: float = Field(
        4.0,
        gt=2,
        description="Pixels around a spot that are this many sigmas above its surroundings belong to it.",
    )
    radius_px: float = Field(2.5, ge=1, le=6, description="Largest radius of a spot, in pixels.")
    giant_sigma: float = Field(
        12.0, gt=3, description="Smallest height of a large spot above its surroundings, in sigmas."
    )
    giant_radius_px: float = Field(8.0, ge=2, le=20, description="Largest radius of a large spot, in pixels.")


def _bytes_needed(series: TiltSeries, params: EraseXraysParams) -> int:
    """Images in work with their masks on each of two threads, and the one being written."""
    n_y, n_x = series.unweighted_stack.shape_yx
    return 30 * n_y * n_x + (1 << 23)


FIGURES = (
    Figure(
        "xray_pixels_per_megapixel",
        "per million",
        "X-ray pixels",
        "Pixels hit by X-rays or noise spikes and replaced. Thousands mean that real detail or a wrong gain "
        "reference was taken for spikes.",
        good="below 100",
    ),
)

_LOST_FRACTION = 0.01
"""Fraction of non-finite pixels above which an image is excluded; fewer are replaced like X-ray hits."""


@step(
    "erase_xrays",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    citations=(
        "Kremer, Mastronarde & McIntosh, J. Struct. Biol. 116, 71 (1996), doi:10.1006/jsbi.1996.0013",
    ),
    ignores_exclusions=True,
    methods=(
        "X-ray hits were replaced by values nearby[ ({xray_pixels_per_megapixel:.1f} in a million pixels)]."
    ),
    figures=FIGURES,
)
def erase_xrays(series: TiltSeries, params: EraseXraysParams, context: StepContext) -> TiltSeries:
    """Find X-ray hits in every tilt and replace them, at the same pixels in its even and odd halves."""
    stack = series.unweighted_stack
    criteria = XrayCriteria(**params.model_dump())
    n_hit = 0
    moves: list[tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]] = []
    n_sections = stack.images.shape[0]

    unreal: dict[int, float] = {}
    """Fraction of non-finite pixels, by section."""

    def look(section: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        image, bad = numbers_only(stack.images[section])
        if bad.any():
            unreal[section] = float(bad.mean())
        return image, find_xrays(image, criteria) | bad

    with ThreadPoolExecutor(context.n_threads) as pool:
        looked = prefetch(pool, look, range(n_sections), context.n_threads)
        for section, (_, hit) in looked:
            n_hit += int(hit.sum())
            lost = unreal.get(section, 0.0) > _LOST_FRACTION
            target, source = fill_from_surroundings(hit & (not lost), context.rng)
            moves.append((np.full(len(target), section, np.int32), target, source))
            context.progress(section + 1, n_sections)
    context.figure(
        "xray_pixels_per_megapixel",
        1e6 * n_hit / (n_sections * stack.images.shape[1] * stack.images.shape[2]),
    )
    columns = (np.concatenate(column) for column in zip(*moves, strict=True))
    table = context.new_table("xrays", dict(zip(("section", "target", "source"), columns, strict=True)))
    erased = stack.of_each(lambda pixels: Replaced(pixels, table))
    return replace(_without_lost(series, unreal, context), stack=erased, weighted=None)


def _without_lost(series: TiltSeries, unreal: Mapping[int, float], context: StepContext) -> TiltSeries:
    """The series without tilts that have too many non-finite pixels; every affected tilt is reported."""
    if not unreal:
        return series
    changes: dict[int, dict[str, Exclusion]] = {}
    affected = []
    for tilt in series.tilts:
        share = unreal.get(-1 if tilt.section is None else tilt.section, 0.0)
        if not share:
            continue
        affected.append(f"{tilt.nominal_tilt_deg:.1f} deg ({100 * share:.2g} %)")
        if share > _LOST_FRACTION and tilt.exclusion is None and tilt.kept_by is None:
            reason = f"{100 * share:.2g} % of its pixels are not finite"
            changes[tilt.acquisition_index] = {"exclusion": Exclusion.by_step(reason, "erase_xrays", share)}
    context.warn(
        f"{series.name}: pixels that are not finite were replaced at {', '.join(affected[:8])}; tilts with "
        f"more than {100 * _LOST_FRACTION:g} % of them are excluded"
    )
    return series.with_tilts(changes)
