"""Position of the specimen in the frame of an alignment: from gold on its surfaces and from its contents.

Gold lies on one or both surfaces of the ice. If most beads are on one plane or two, these are surfaces,
accurate to a few angstrom, and give the slopes; otherwise the slab is fitted that contains features above
noise (`slab`). Beads would distort that fit, because their streaks extend beyond the ice, so they are filled
first.

Gold on one surface gives the middle if the thickness is known. Where features do not show the other surface
(few of them, or a short range of tilts), the transmitted electrons give the thickness
(`transmitted_thickness`), and features show on which side of the gold the ice lies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.bead_positions import beads_of_poses
from cryoloom.algorithms.images.fill_discs import fill_discs, plan_filling
from cryoloom.algorithms.series.tilt_images import TiltImages
from cryoloom.algorithms.series.tilt_quality import counts_from_zero
from cryoloom.algorithms.series.transmitted_thickness import TransmittedThickness, transmitted_thickness
from cryoloom.algorithms.specimen.point_surfaces import BeadPlanes, extent_of_layer, find_bead_planes
from cryoloom.algorithms.specimen.slab import (
    LEAST_CONTRAST,
    Energies,
    SlabFit,
    energies_of_series,
    features_beside,
    fit_slab,
)
from cryoloom.geometry.frames import index_from_position
from cryoloom.model import Slab, Sourced, TiltSeries

__all__ = [
    "SPECIMEN_PIXEL_ANGSTROM",
    "FoundSpecimen",
    "bytes_to_find_specimen",
    "bytes_to_measure_specimen",
    "depth_error_angstrom",
    "find_specimen",
    "thickness_by_transmission",
]

Array = NDArray[np.float64]

SPECIMEN_PIXEL_ANGSTROM = 15.0
"""Chosen: approximate pixel size of the images in which the specimen is searched."""
SEARCH_HEIGHT_ANGSTROM = 5000.0  # chosen: of the volume, ice of any usual thickness and its offset
VOXEL_ANGSTROM = 20.0  # a sixth of the finest detail whose energy is compared (`slab.FINEST_ANGSTROM`)
LARGEST_SIDE_VOXELS = 280  # chosen: a cube of float32 takes 88 MB
#: Gold has 9 and more (the scale ends at 15), dense particles at most 5.
LEAST_BEAD_SIGNIFICANCE = 6.0
BEAD_RADIUS_DIAMETERS = 1.1  # chosen: of the disc that is erased, the bead and its fringes
#: Chosen: largest distance of a single plane of gold from the surface of the slab of features.
NEAR_SURFACE_ANGSTROM, NEAR_SURFACE_PART = 150.0, 0.35
TWO_PLANES_ERROR_ANGSTROM = 20.0  # chosen: of the middle between two planes of gold, a fifth of a bead
LEAST_CONTRAST_ON_GOLD, LARGEST_ERROR_ON_GOLD_ANGSTROM = 2.0, 120.0
"""Ratio of features to noise, and error of the middle, if gold gives the slopes and a surface."""
#: Chosen: largest error over the thickness. Two or three features can be anywhere in ice that is several
#: times as thick as their range.
LARGEST_THICKNESS_ERROR_PART = 0.25
PLACE_ERROR_ANGSTROM = 30.0
"""Two pixels of the images. Over the tangent of the tilts' half range it is the error of a depth."""
LARGEST_TRANSMISSION_ERROR_PART = 0.3
"""Chosen: largest error of a thickness by transmission over it. The mean free path alone is known to 0.2."""
CONTRADICTION = 3.0
"""Chosen: standard errors by which thicknesses of features and of transmitted electrons may differ."""
MORE_ON_A_SIDE, TIMES_ON_A_SIDE = 3.0, 3.0
"""Features on the ice's side of its gold over those on the other: how many more, and how many times as many.
Chosen: if one in five were a trace on the wrong side, three more would mean odds of 64."""
#: Chosen: beads within the ice; fewer do not determine its thickness.
LEAST_BEADS_WITHIN = 8


@dataclass(frozen=True, slots=True)
class FoundSpecimen:
    """The specimen, and the evidence."""

    fit: SlabFit
    n_beads: int
    planes: BeadPlanes | None
    """Planes of gold, if most of it lies on one or two."""
    volume: torch.Tensor
    """The small tomogram ``(z, y, x)`` it was found in."""
    voxel_size_angstrom: float
    by_transmission: bool = False
    """Whether the thickness is that of the transmitted electrons, from gold on one surface inwards."""
    contradicted_by: TransmittedThickness | None = None
    """A much smaller thickness by transmission than by features. The errors of the fit cover both."""

    @property
    def is_certain(self) -> bool:
        """Whether thickness and middle are known: by gold, by features, or by gold and transmission."""
        return not self.doubt

    @property
    def doubt(self) -> str:
        """Why they are not known; empty if they are."""
        fit = self.fit
        if self.has_two_surfaces or self.by_transmission or self.contradicted_by is not None:
            return ""
        if self.planes is not None:
            (gold,) = self.planes.heights_angstrom
            low, high = _surfaces(fit)
            if low < gold < high and not _is_surface(fit, gold):
                return (
                    "its gold lies on one plane, but in the middle of the features found, which may be "
                    "traces of the gold"
                )
        if fit.contrast < (LEAST_CONTRAST if self.planes is None else LEAST_CONTRAST_ON_GOLD):
            return "it has too little contrast in the tomogram"
        if self.planes is not None and fit.middle_error_angstrom > LARGEST_ERROR_ON_GOLD_ANGSTROM:
            return f"the height of its middle is known to {fit.middle_error_angstrom:.0f} A only"
        if fit.thickness_error_angstrom > LARGEST_THICKNESS_ERROR_PART * fit.thickness_angstrom:
            return (
                f"about {fit.n_features:.0f} features lie in it, so that its thickness is known to "
                f"{fit.thickness_error_angstrom:.0f} of {fit.thickness_angstrom:.0f} A only"
            )
        return ""

    @property
    def has_two_surfaces(self) -> bool:
        """Whether gold gives both surfaces."""
        return self.planes is not None and len(self.planes.heights_angstrom) == 2

    def slab(self, by: str) -> Slab:
        """As a value of the model; nothing is applied. A pretilt that is not known is omitted."""
        fit = self.fit
        measured = {
            "thickness_angstrom": fit.thickness_angstrom,
            "z_offset_angstrom": fit.z_offset_angstrom,
        }
        if fit.has_pretilt:
            measured |= {"tilt_x_deg": fit.tilt_x_deg, "tilt_y_deg": fit.tilt_y_deg}
        sourced = {name: Sourced().with_measured(value, by, apply=False) for name, value in measured.items()}
        return Slab(
            **sourced,
            middle_error_angstrom=fit.middle_error_angstrom,
            thickness_error_angstrom=fit.thickness_error_angstrom,
        )


def bytes_to_find_specimen(
    shape_yx: tuple[int, int], pixel_size_angstrom: float, height_angstrom: float = SEARCH_HEIGHT_ANGSTROM
) -> int:
    """Bytes of the small tomogram and its control, for images of that size."""
    field = max(shape_yx) * pixel_size_angstrom
    voxel = max(VOXEL_ANGSTROM, field / LARGEST_SIDE_VOXELS)
    return int(16 * (field / voxel) ** 2 * height_angstrom / voxel)


def bytes_to_measure_specimen(series: TiltSeries, height_angstrom: float = SEARCH_HEIGHT_ANGSTROM) -> int:
    """Bytes of the small images of a series with their spectra, and of the search in them."""
    stack = series.best_stack
    n_y, n_x = stack.shape_yx
    working = len(series.tilts) * n_y * n_x * (stack.pixel_size_angstrom / SPECIMEN_PIXEL_ANGSTROM) ** 2
    search = bytes_to_find_specimen(stack.shape_yx, stack.pixel_size_angstrom, height_angstrom)
    return 400_000_000 + 24 * n_y * n_x + int(24 * working) + search


def find_specimen(
    series: TiltSeries,
    images: TiltImages,
    rng: np.random.Generator,
    *,
    height_angstrom: float = SEARCH_HEIGHT_ANGSTROM,
    use_beads: bool = True,
) -> FoundSpecimen:
    """Thickness, height and pretilt of the specimen in the frame of the poses of ``series``.

    images : of the sections that the poses are for, of about SPECIMEN_PIXEL_ANGSTROM. use_beads : fill
    gold and let it define the surfaces it lies on.
    """
    points = np.zeros((0, 3))
    if use_beads:
        images, points = _without_beads(series, images, rng)
    planes = find_bead_planes(points, rng)
    pixel = images.pixel_size_angstrom
    voxel = max(VOXEL_ANGSTROM, pixel, max(images.shape_yx) * pixel / LARGEST_SIDE_VOXELS)
    energies, volume = energies_of_series(
        series, images, rng, voxel_size_angstrom=voxel, height_angstrom=height_angstrom
    )
    fit = _fitted(energies, planes)
    if planes is None and len(points) >= LEAST_BEADS_WITHIN:
        fit = _holding(fit, points)
    if planes is None or len(planes.heights_angstrom) == 1:
        fit = _with_depth_error(
            fit, depth_error_angstrom([t.pose.tilt_deg for t in series.included if t.pose])
        )
    found = FoundSpecimen(fit, len(points), planes, volume, voxel)
    ice = thickness_by_transmission(series, images)
    if planes is None or len(planes.heights_angstrom) == 2 or ice is None:
        return found
    more = fit.thickness_angstrom - ice.thickness_angstrom
    sure = CONTRADICTION * math.hypot(fit.thickness_error_angstrom, ice.error_angstrom)
    if found.doubt or more < -sure:
        seen = _from_gold_inwards(fit, planes, energies, ice)
        return found if seen is None else replace(found, fit=seen, by_transmission=True)
    if more > sure:
        # Features beyond the ice, or electrons that no energy filter takes out.
        wider = replace(
            fit,
            middle_error_angstrom=math.hypot(fit.middle_error_angstrom, more / 2),
            thickness_error_angstrom=math.hypot(fit.thickness_error_angstrom, more),
        )
        return replace(found, fit=wider, contradicted_by=ice)
    return found


def thickness_by_transmission(series: TiltSeries, images: TiltImages) -> TransmittedThickness | None:
    """From the mean counts of the images that the included tilts' sections are for."""
    tilts = [tilt for tilt in series.included if tilt.pose is not None and tilt.section is not None]
    sections = [tilt.section or 0 for tilt in tilts]
    if not counts_from_zero(images.mean[sections], images.deviation[sections]):
        return None
    return transmitted_thickness(
        images.mean[sections],
        np.array([tilt.pose.tilt_deg for tilt in tilts if tilt.pose is not None]),
        np.array([tilt.dose_per_angstrom2 for tilt in tilts]),
        series.microscope,
    )


def _from_gold_inwards(
    fit: SlabFit, planes: BeadPlanes, energies: Energies, ice: TransmittedThickness
) -> SlabFit | None:
    """The slab between a single plane of gold and the other surface; None if either side may be the ice's."""
    if ice.error_angstrom > LARGEST_TRANSMISSION_ERROR_PART * ice.thickness_angstrom:
        return None
    (gold,) = planes.heights_angstrom
    height = ice.thickness_angstrom / _across(fit)
    slopes = np.array([planes.slope_x, planes.slope_y])
    below, above = features_beside(energies, slopes, gold, height)
    fewer, more = sorted((below, above))
    if more - fewer < MORE_ON_A_SIDE or more < TIMES_ON_A_SIDE * fewer:
        return None
    low, high = (gold, gold + height) if above > below else (gold - height, gold)
    return replace(
        _with_surfaces(fit, low, high),
        middle_error_angstrom=math.hypot(0.5 * ice.error_angstrom, TWO_PLANES_ERROR_ANGSTROM),
        thickness_error_angstrom=ice.error_angstrom,
    )


def depth_error_angstrom(tilt_deg: Sequence[float]) -> float:
    """How precisely tilts of this range determine depths in the ice."""
    half_range = 0.5 * math.radians(max(tilt_deg) - min(tilt_deg))
    return PLACE_ERROR_ANGSTROM / max(math.tan(min(half_range, 1.5)), 1e-3)


def _with_depth_error(fit: SlabFit, error_angstrom: float) -> SlabFit:
    """The slab with either surface known to no better than that."""
    return replace(
        fit,
        middle_error_angstrom=math.hypot(fit.middle_error_angstrom, error_angstrom / math.sqrt(2)),
        thickness_error_angstrom=math.hypot(fit.thickness_error_angstrom, error_angstrom * math.sqrt(2)),
    )


def _fitted(energies: Energies, planes: BeadPlanes | None) -> SlabFit:
    """The slab of the filled blocks, with its slopes and surfaces from gold if there is any."""
    if planes is None:
        return fit_slab(energies)
    slopes = np.array([planes.slope_x, planes.slope_y])
    if len(planes.heights_angstrom) == 2:
        found = _with_surfaces(fit_slab(energies, slopes), *planes.heights_angstrom)
        error = TWO_PLANES_ERROR_ANGSTROM
        return replace(found, middle_error_angstrom=error, thickness_error_angstrom=2 * error)
    (gold,) = planes.heights_angstrom
    free = fit_slab(energies, slopes)
    return fit_slab(energies, slopes, gold) if _is_surface(free, gold) else free


def _is_surface(fit: SlabFit, height: float) -> bool:
    """Whether a plane at this height may be a surface of the slab."""
    low, high = _surfaces(fit)
    reach = max(NEAR_SURFACE_ANGSTROM, NEAR_SURFACE_PART * (high - low))
    return min(abs(height - low), abs(height - high)) <= reach


def _holding(fit: SlabFit, points: Array) -> SlabFit:
    """The slab enlarged to contain the beads, ``(n, 3)``."""
    low, high = _surfaces(fit)
    heights = points[:, 2] - points[:, :2] @ np.array([fit.slope_x, fit.slope_y])
    return _with_surfaces(fit, *extent_of_layer(heights, low, high))


def _across(fit: SlabFit) -> float:
    """Distance across the slab over height along z."""
    return 1.0 / math.hypot(1.0, fit.slope_x, fit.slope_y)


def _surfaces(fit: SlabFit) -> tuple[float, float]:
    """Heights of the lower and upper surface at x = y = 0."""
    half = 0.5 * fit.thickness_angstrom / _across(fit)
    return fit.z_offset_angstrom - half, fit.z_offset_angstrom + half


def _with_surfaces(fit: SlabFit, low: float, high: float) -> SlabFit:
    middle = 0.5 * (low + high)
    return replace(
        fit,
        thickness_angstrom=float((high - low) * _across(fit)),
        z_offset_angstrom=float(middle),
        depth_angstrom=fit.depth_angstrom + (fit.z_offset_angstrom - middle) * _across(fit),
    )


def _without_beads(
    series: TiltSeries, images: TiltImages, rng: np.random.Generator
) -> tuple[TiltImages, Array]:
    """Working images with the gold beads' discs filled, and where the beads are, ``(n, 3)``."""
    tilts = [tilt for tilt in series.included if tilt.pose is not None and tilt.section is not None]
    sections = [tilt.section or 0 for tilt in tilts]
    seen = replace(images, images=images.images[sections])
    poses = [tilt.pose for tilt in tilts if tilt.pose is not None]
    diameter, beads = beads_of_poses(seen, poses, np.ones(len(tilts), dtype=bool))
    gold = beads.significance >= LEAST_BEAD_SIGNIFICANCE
    if not gold.any():
        return images, np.zeros((0, 3))
    filled = images.images.clone()
    radius_px = BEAD_RADIUS_DIAMETERS * diameter / images.pixel_size_angstrom
    for view, section in enumerate(sections):
        places = index_from_position(
            beads.seen_xy_angstrom[view][gold], images.shape_yx, images.pixel_size_angstrom
        )
        filling = plan_filling(images.shape_yx, places, radius_px, places, rng)
        image = fill_discs(images.images[section].cpu().numpy(), filling, places)
        filled[section] = torch.from_numpy(image).to(filled.device)
    return replace(images, images=filled), beads.points_xyz_angstrom[gold]
