"""Erase gold beads from the images of an aligned series, to avoid their streaks in the tomogram.

Beads are found in three dimensions: places where nearly all images show the shadow of a sphere. Their radius
with fringes is measured from the mean of all beads in all images. In each image the disc of a bead is filled
with the texture of a nearby disc on the local background (`fill_discs`), so that mean, variance and spectrum
are preserved; every image uses another neighbour, so that nothing adds up in the tomogram. Local
displacements of the poses are taken into account. Even, odd and dose-weighted images are treated alike and
still add up. All other pixels are unchanged.

Figures: ``n_beads``; ``bead_diameter_angstrom``; ``erased_radius_angstrom``; ``bead_contrast_left_percent``,
the remaining darkness of the erased discs' cores relative to their surroundings, in percent of the beads'
darkness, mean over all beads and images; ``erased_percent`` of the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.alignment.bead_positions import BeadPositions, beads_of_poses
from cryoloom.algorithms.images.fill_discs import fill_discs, plan_filling
from cryoloom.algorithms.series.derived_pixels import reading_bytes
from cryoloom.algorithms.series.tilt_images import load_tilt_images
from cryoloom.contract.figures import Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.frames import index_from_position
from cryoloom.model import Stack, Tilt, TiltSeries
from cryoloom.procedures.alignment_records import BEAD_DIAMETER
from cryoloom.procedures.written_stack import WrittenStack, stacks_by_prefix, with_stacks

__all__ = ["EraseBeadsParams", "erase_beads"]

Array = NDArray[np.float64]

WORKING_PIXEL_ANGSTROM = 11.0
PIXELS_PER_DIAMETER = 5.0
LARGEST_RADIUS_DIAMETERS = 1.2
"""Chosen: pixels of a ninth of a bead of 10 nm, at least five across any bead, and largest radius that
fringes are given."""
_CORE_DIAMETERS, _AROUND_DIAMETERS = 0.4, 1.3
"""Chosen: the core of a shadow, and the surroundings beyond its fringes, from its centre."""
_LEAST_TRACE = 0.03
"""Chosen: part of the core's depth below which a fringe is not erased."""
_AROUND_RADII = 1.1
"""Chosen: the ring around an erased disc, in its radii."""


class EraseBeadsParams(StepParams):
    """Parameters of bead erasing."""

    bead_diameter_angstrom: float | None = Field(
        None, gt=0, description="Diameter of the gold beads. Unset: measured."
    )
    radius_angstrom: float | None = Field(
        None, gt=0, description="Radius of the erased discs. Unset: measured, including the beads' fringes."
    )
    min_significance: float = Field(
        6.0,
        ge=1,
        le=15,
        description="Smallest mean height of the matched filter at a bead, divided by its spread. Gold has "
        "9 to 15, dense particles up to 5.",
    )


def _bytes_needed(series: TiltSeries, params: EraseBeadsParams) -> int:
    """Working images and their maps, and a few images."""
    stack = series.best_stack
    n_y, n_x = stack.shape_yx
    binning = max(1.0, WORKING_PIXEL_ANGSTROM / stack.pixel_size_angstrom)
    working = int(16 * len(series.tilts) * n_y * n_x / binning**2)
    return 250_000_000 + working + 28 * n_y * n_x + reading_bytes(stack.images)


FIGURES = (
    Figure("n_beads", "", "Gold beads", "Gold beads found in the specimen from the images."),
    BEAD_DIAMETER,
    Figure(
        "erased_radius_angstrom",
        "angstrom",
        "Erased radius",
        "Radius of the filled discs, including the fringes of the beads, measured from all beads.",
    ),
    Figure(
        "bead_contrast_left_percent",
        "percent",
        "Remaining bead contrast",
        "Darkness of the erased discs against their surroundings, in percent of that of the beads.",
        good="within a few percent of 0",
    ),
    Figure(
        "erased_percent",
        "percent",
        "Pixels erased",
        "Part of the pixels that were filled. More than about 10 percent means that beads are very dense, "
        "or that false ones were found.",
        good="below 10 percent",
    ),
)
RECORDS = (
    Record(
        "beads",
        "Positions of the gold beads in the specimen and their significance.",
        shows="points_in_specimen",
    ),
)


@step(
    "erase_beads",
    version=4,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    gpu="optional",
    methods="Gold beads were erased from the images[ ({n_beads:.0f} in a series)].",
    figures=FIGURES,
    records=RECORDS,
)
def erase_beads(series: TiltSeries, params: EraseBeadsParams, context: StepContext) -> TiltSeries:
    """Find the gold beads of an aligned series and fill their discs in every image."""
    tilts = [tilt for tilt in series.tilts if tilt.section is not None and tilt.pose is not None]
    stack = series.unweighted_stack
    if len([tilt for tilt in tilts if not tilt.is_excluded]) < 3:
        raise DataUnfitError(
            "beads are found with the poses of the images; run align_series first", series=series.name
        )
    diameter, beads = _beads(series, tilts, params, context.device)
    context.figure("n_beads", len(beads.points_xyz_angstrom))
    context.figure("bead_diameter_angstrom", diameter)
    context.record(
        "beads",
        {
            "xyz_angstrom": np.round(beads.points_xyz_angstrom, 1).tolist(),
            "significance": np.round(beads.significance, 2).tolist(),
        },
    )
    if len(beads.points_xyz_angstrom) == 0:
        context.warn("no gold bead was found; the images are unchanged")
        return series
    radius = params.radius_angstrom or _radius_with_fringes(stack, tilts, beads, diameter)
    context.figure("erased_radius_angstrom", radius)
    return _erased(series, tilts, _Discs(beads, diameter, radius), context)


@dataclass(frozen=True, slots=True)
class _Discs:
    """Beads to erase."""

    beads: BeadPositions
    diameter_angstrom: float
    radius_angstrom: float


def _beads(
    series: TiltSeries, tilts: list[Tilt], params: EraseBeadsParams, device: str
) -> tuple[float, BeadPositions]:
    """Diameter and positions, the latter for ``tilts``."""
    stack = series.unweighted_stack
    working = WORKING_PIXEL_ANGSTROM
    if params.bead_diameter_angstrom is not None:
        working = min(working, params.bead_diameter_angstrom / PIXELS_PER_DIAMETER)
    images = load_tilt_images(stack.images, stack.pixel_size_angstrom, working, device=device)
    order = [tilt.section or 0 for tilt in tilts]
    images = replace(
        images, images=images.images[order], mean=images.mean[order], deviation=images.deviation[order]
    )
    usable = np.array([not tilt.is_excluded for tilt in tilts])
    poses = [tilt.pose for tilt in tilts if tilt.pose is not None]
    diameter, beads = beads_of_poses(images, poses, usable, params.bead_diameter_angstrom)
    strong = beads.significance >= params.min_significance
    return diameter, BeadPositions(
        beads.points_xyz_angstrom[strong], beads.seen_xy_angstrom[:, strong], beads.significance[strong]
    )


def _radius_with_fringes(
    stack: Stack, tilts: list[Tilt], beads: BeadPositions, diameter_angstrom: float
) -> float:
    """Radius beyond which the mean profile of all beads in all images is flat to 3 % of its depth."""
    pixel = stack.pixel_size_angstrom
    n_bins = max(8, int(np.ceil(1.6 * diameter_angstrom / pixel)))
    edges = np.linspace(0.0, 1.6 * diameter_angstrom, n_bins + 1)
    total, count = np.zeros(n_bins), np.zeros(n_bins)
    for view, tilt in enumerate(tilts):
        if tilt.is_excluded:
            continue
        image = np.asarray(stack.images[tilt.section or 0], dtype=np.float64)
        scale = max(abs(float(image.mean())), 1e-6 + float(image.std()))
        for place in _indices(beads, view, stack):
            distance, values = _about(image, place, edges[-1] / pixel)
            if len(values) == 0:
                continue
            level = np.median(values[distance * pixel > _AROUND_DIAMETERS * diameter_angstrom])
            which = np.minimum((distance * pixel / edges[-1] * n_bins).astype(int), n_bins - 1)
            total += np.bincount(which, (values - level) / scale, n_bins)
            count += np.bincount(which, minlength=n_bins)
    profile = total / np.maximum(count, 1)
    far = edges[:-1] > _AROUND_DIAMETERS * diameter_angstrom
    depth = abs(profile[edges[1:] <= _CORE_DIAMETERS * diameter_angstrom].mean()) if len(profile) else 0.0
    rough = np.abs(profile - profile[far].mean()) > max(_LEAST_TRACE * depth, 3 * float(profile[far].std()))
    reach = edges[1:][rough].max() if rough.any() else 0.5 * diameter_angstrom
    return float(np.clip(reach, 0.6 * diameter_angstrom, LARGEST_RADIUS_DIAMETERS * diameter_angstrom))


def _indices(beads: BeadPositions, view: int, stack: Stack) -> Array:
    """Positions of the beads in an image, ``(n, 2)`` real-valued (row, column)."""
    return index_from_position(beads.seen_xy_angstrom[view], stack.shape_yx, stack.pixel_size_angstrom)


def _about(image: Array, place: Array, reach_px: float) -> tuple[Array, Array]:
    """Distances in pixels and values of the pixels around a position; empty if it is not fully inside."""
    low, high = np.floor(place - reach_px).astype(int), np.ceil(place + reach_px).astype(int) + 1
    if (low < 0).any() or (high > image.shape).any():
        return np.zeros(0), np.zeros(0)
    y, x = np.mgrid[low[0] : high[0], low[1] : high[1]]
    distance = np.hypot(y - place[0], x - place[1])
    near = distance < reach_px
    return distance[near], image[low[0] : high[0], low[1] : high[1]][near]


def _erased(series: TiltSeries, tilts: list[Tilt], discs: _Discs, context: StepContext) -> TiltSeries:
    """Stacks with the discs filled; sections of other tilts are unchanged."""
    by_section = {tilt.section: view for view, tilt in enumerate(tilts)}
    made: dict[str, Stack] = {}
    before, after, pixels_erased, pixels_all = 0.0, 0.0, 0, 0
    for prefix, stack in stacks_by_prefix(series).items():
        radius_px = discs.radius_angstrom / stack.pixel_size_angstrom
        n_sections, (n_y, n_x) = stack.images.shape[0], stack.shape_yx
        written = WrittenStack(context, stack, (n_sections, n_y, n_x), stack.pixel_size_angstrom, prefix)
        for section in range(n_sections):
            view = by_section.get(section)
            places = np.zeros((0, 2)) if view is None else _indices(discs.beads, view, stack)
            filling = plan_filling(stack.shape_yx, places, radius_px, places, context.rng)
            for role, pixels in stack.present.items():
                image = np.asarray(pixels[section], dtype=np.float32)
                filled = fill_discs(image, filling, places)
                written.write(role, section, filled)
                if role == "images" and prefix == "":
                    before += _darkness(image, places, discs, stack)
                    after += _darkness(filled, places, discs, stack)
                    pixels_erased += int(np.count_nonzero(filled != image))
                    pixels_all += image.size
            context.progress(section + 1, n_sections)
        made[prefix] = written.finished()
    context.figure("bead_contrast_left_percent", 100.0 * after / before if before else 0.0)
    context.figure("erased_percent", 100.0 * pixels_erased / pixels_all)
    return with_stacks(series, made)


def _darkness(image: NDArray[np.float32], places: Array, discs: _Discs, stack: Stack) -> float:
    """Sum over beads of the darkness of their core relative to the ring around the disc."""
    total = 0.0
    pixel = stack.pixel_size_angstrom
    for place in places:
        distance, values = _about(image.astype(np.float64), place, 1.5 * discs.radius_angstrom / pixel)
        if len(values):
            core = distance * pixel < _CORE_DIAMETERS * discs.diameter_angstrom
            around = distance * pixel > _AROUND_RADII * discs.radius_angstrom
            total += float(values[around].mean() - values[core].mean())
    return total
