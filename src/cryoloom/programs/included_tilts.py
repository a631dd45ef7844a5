"""A series of the tilts in use alone, for a program that knows no exclusions, and its results put back.

Tilts are matched by acquisition index on the way back, so nothing is shifted by a tilt that was left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from cryoloom.algorithms.series.specimen_frame import series_from_frame
from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import Stack, Tilt, TiltSeries
from cryoloom.programs.handover import place_float32

__all__ = [
    "ImageChoice",
    "chosen_stack",
    "names_of_images",
    "of_tilts",
    "pixels_of_image",
    "series_centred_on_voxel",
    "with_results",
    "written",
]

ImageChoice = Literal["best", "unweighted", "weighted"]


def chosen_stack(series: TiltSeries, choice: ImageChoice) -> Stack:
    """The stack a user wants a program to work on. Raises DataUnfitError if there is none."""
    if choice == "best":
        return series.best_stack
    if choice == "unweighted":
        return series.unweighted_stack
    if series.weighted is None:
        raise DataUnfitError(
            f"{series.name} has no dose-weighted images; run weight_dose before, or choose unweighted"
        )
    return series.weighted


def names_of_images(stack: Stack, *, halves: bool) -> tuple[str, ...]:
    """Roles of the images that a program works on: "images", and the halves that exist, if wanted."""
    return ("images", *(name for name in stack.present if halves and name != "images"))


def pixels_of_image(stack: Stack) -> int:
    """Pixels of one image, for the memory of programs that read images one by one."""
    n_y, n_x = stack.shape_yx
    return n_y * n_x


def of_tilts(series: TiltSeries, tilts: Sequence[Tilt], stack: Stack) -> TiltSeries:
    """Series of these tilts, in ascending order of section, renumbered for ``stack``."""
    in_order = sorted(tilts, key=lambda tilt: tilt.section if tilt.section is not None else -1)
    numbered = [replace(tilt, section=section) for section, tilt in enumerate(in_order)]
    kept = tuple(sorted(numbered, key=lambda tilt: (tilt.nominal_tilt_deg, tilt.acquisition_index)))
    return replace(series, tilts=kept, stack=stack, weighted=None, corrected=None)


def written(series: TiltSeries, stack: Stack, path: Path, least: int = 2) -> TiltSeries:
    """Write the sections in use to a file, and give the series of them, whose stack it is."""
    used = sorted((t for t in series.included if t.section is not None), key=lambda t: t.section or 0)
    if len(used) < least:
        raise DataUnfitError(
            f"{series.name} has {len(used)} tilts in use, expected at least {least}; include more tilts"
        )
    sections = [tilt.section for tilt in used if tilt.section is not None]
    all_of_them = sections == list(range(stack.images.shape[0]))
    place_float32(stack.images, path, stack.pixel_size_angstrom, None if all_of_them else sections)
    return of_tilts(series, used, Stack(MrcPixels(path), stack.pixel_size_angstrom))


def with_results(series: TiltSeries, found: TiltSeries) -> TiltSeries:
    """The whole series with what was found for some of its tilts: poses, CTFs and exclusions.

    A tilt that took no part loses its pose, which would be of another alignment.
    """
    of_index = {tilt.acquisition_index: tilt for tilt in found.tilts}
    changes = {}
    for tilt in series.tilts:
        result = of_index.get(tilt.acquisition_index)
        changes[tilt.acquisition_index] = (
            {"pose": None}
            if result is None
            else {"pose": result.pose, "ctf": result.ctf, "exclusion": result.exclusion}
        )
    return replace(
        series.with_tilts(changes),
        tilt_axis_deg=found.tilt_axis_deg,
        tilt_offset_deg=found.tilt_offset_deg,
        handedness=found.handedness,
        slab=found.slab,
    )


def series_centred_on_voxel(
    series: TiltSeries, volume_zyx: tuple[int, int, int], voxel_size_angstrom: float
) -> TiltSeries:
    """Series whose origin is the volume's index ``n // 2``, where the program has it at ``(n - 1) / 2``.

    Along an axis of an even number of voxels the two are half a voxel apart: r = r' + voxel / 2.
    """
    offset_zyx = np.array([0.5 if n % 2 == 0 else 0.0 for n in volume_zyx]) * voxel_size_angstrom
    return series_from_frame(series, offset_zyx[::-1])
