"""Refinement from a first reference: search while poses are uncertain, Gauss-Newton steps afterwards.

Two halves of the particles are refined against their own maps, which share only detail coarser than 40 A. The
band of the search follows the agreement of the halves, at most doubles, and grows only while the agreement
depends on orientation: shells and imposed symmetry agree for any poses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.central_sections import central_sections
from cryoloom.algorithms.averaging.directed_search import DirectedGrid
from cryoloom.algorithms.averaging.evaluation import HalfMaps, Verdict, particle_mask, pose_evidence, verdict
from cryoloom.algorithms.averaging.half_plane import HalfPlane
from cryoloom.algorithms.averaging.map_symmetry import SymmetryFit, symmetry_in_place
from cryoloom.algorithms.averaging.maps import joined_below, low_pass, map_on_grid
from cryoloom.algorithms.averaging.particle_images import BoxLayout
from cryoloom.algorithms.averaging.passes import PassResult, Poses, SearchGrid
from cryoloom.algorithms.averaging.pose_search import shift_grid
from cryoloom.algorithms.averaging.reconstruction import FourierSums, Insertion, prior_precision
from cryoloom.algorithms.averaging.shell_correlation import first_fall
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.orientation_grid import rotation_grid
from cryoloom.geometry.symmetry import symmetry_matrices

__all__ = [
    "IterationRecord",
    "PassOrder",
    "Refined",
    "RefinementSettings",
    "Worker",
    "first_reference",
    "reconstruct_average",
    "reference_scale",
    "refine_average",
]

Array = NDArray[np.float64]

_JOINED_BELOW_ANGSTROM = 40.0
"""Halves share detail coarser than this, so that they do not drift apart in orientation (as RELION)."""
_MAX_SEARCHES = 6  # chosen: of the orientations; it ends earlier where the resolution no longer improves
#: Chosen: scale of a particle over the typical one; false picks have a small part of a particle's density.
_LEAST_SCALE = 0.33
#: Chosen: number of orientations that share the posterior at which refinement replaces the search.
_SETTLED = 3.0
_SEARCH_ANGSTROM, _FIRST_LAYOUT_ANGSTROM = 20.0, 14.0
"""Finest detail of a search (`_search_band`), and detail that the first images have. Chosen: finer is left to
refinement, which needs no grid."""
_COARSE_PX = 48
"""Chosen: side of the map on which axes of symmetry are looked for."""
_FINER_AT, _FINER_BY = 1.15, 1.6
"""Chosen.

Images are extracted again when the resolution is within 15 % of their detail, and then with detail finer than
the resolution by 1.6.
"""
_STALLED = 0.98
"""Chosen: a pass that improves the resolution by less than 2 % brought nothing."""
_SHARP_BANDS = 1.3
"""Chosen: a search at up to 1.3 times the finest band is refined in the same pass."""
_CERTAIN = 1.2
"""Chosen: orientations that share a particle, up to which no other search is needed."""
_LEAST_EVIDENCE = 0.25
"""Chosen: correlation of the halves with tilts left out, above which a search goes to a finer band at
once."""
_NO_CORRELATION = 0.05
"""Chosen: a curve that has fallen to this is noise beyond."""


@dataclass(frozen=True, slots=True)
class RefinementSettings:
    """Settings by the user."""

    symmetry: str
    diameter_angstrom: float
    initial_lowpass_angstrom: float = 40.0
    shift_range_angstrom: float = 12.0
    angular_step_deg: float | None = None
    finest_angstrom: float = 0.0
    max_iterations: int = 20
    apart_angstrom: float = 0.0
    """Particles that come closer than this to a likelier one are left out."""
    about_axis: bool = False
    """Whether particles have directions: their poses are judged by what changes about z."""


@dataclass(frozen=True, slots=True)
class PassOrder:
    """A pass over every series: plain data."""

    kind: Literal["search", "search_refine", "local_refine", "split_tilts", "insert"]
    references: tuple[torch.Tensor, torch.Tensor] | None
    """Maps of both halves."""
    band_angstrom: float
    insert_to: float
    grid: SearchGrid | DirectedGrid | None = None


class Worker(Protocol):
    """Does passes over all series, independent of where their images are."""

    @property
    def image_pixel_angstrom(self) -> float:
        """Pixel size of the tilt images: twice this is the finest resolution."""

    def layout(self, resolution_angstrom: float) -> BoxLayout:
        """Boxes for work to a resolution."""

    def extract(self, layout: BoxLayout) -> None:
        """Extract all particles at their current poses; their shifts are then relative to these."""

    @property
    def poses(self) -> Sequence[Poses]:
        """Current poses by series."""

    def radial_terms(self, reference: torch.Tensor, band_angstrom: float) -> tuple[float, float]:
        """Cross and quadratic term of all particles with the radial part of a reference."""

    def run(self, order: PassOrder) -> Iterable[PassResult]:
        """Results by series, in order; poses and noise are updated."""

    def drop_weak(self, least_scale: float) -> None:
        """Leave out particles whose amplitude is below a fraction of the median's."""

    def drop_twins(self, distance_angstrom: float) -> None:
        """Leave out particles that came closer than a distance to a likelier one."""

    def shuffled(self, rng: np.random.Generator, insert_to: float) -> tuple[Insertion, Insertion]:
        """Sums with rotations exchanged among the particles of each half."""


@dataclass(frozen=True, slots=True)
class IterationRecord:
    """Summary of one pass."""

    kind: str
    band_angstrom: float
    pixel_size_angstrom: float
    resolution_angstrom: float
    evidence: float | None
    n_effective: float
    log_likelihood: float
    angle_change_deg: float
    shift_change_angstrom: float
    angle_sd_deg: float
    correlation: tuple[float, ...] = ()
    """Correlation of the halves by shells, from zero frequency."""
    box_angstrom: float = math.inf
    """Shell i is the frequency i / box."""
    sections: NDArray[np.uint8] | None = field(default=None, compare=False)
    """Central sections of the map after the pass (`central_sections`)."""


@dataclass(frozen=True, slots=True)
class Refined:
    """A refined average. Halves have no prior and no mask; the map is their Wiener-filtered sum."""

    map: torch.Tensor
    halves: tuple[torch.Tensor, torch.Tensor]
    mask: torch.Tensor
    voxel_angstrom: float
    verdict: Verdict
    history: tuple[IterationRecord, ...]
    references: tuple[torch.Tensor, torch.Tensor] | None = None
    """Filtered maps of the halves as the last pass used them; None if no pass was made."""
    band_angstrom: float = math.inf
    """Finest detail of the last pass."""
    symmetry: SymmetryFit | None = None
    """How the map that no symmetry was imposed on is like itself under it; None without symmetry."""


@dataclass
class _Progress:
    """Halves from one pass."""

    sums: tuple[FourierSums, FourierSums]
    correlation: Array
    evidence: float | None
    plain: tuple[FourierSums, FourierSums]
    """Without the symmetry."""
    n_effective: float
    log_likelihood: float
    angle_change_deg: float
    shift_change_angstrom: float
    angle_sd_deg: float


def refine_average(
    worker: Worker,
    reference: torch.Tensor,
    reference_voxel_angstrom: float,
    settings: RefinementSettings,
    rng: np.random.Generator,
    tell: Callable[[IterationRecord], None] = lambda record: None,
    *,
    poses_known: bool = False,
) -> Refined:
    """Refine all particles of a worker from a first reference of any scale, density positive.

    poses_known : start from the existing poses, without a search.
    """
    finest = max(settings.finest_angstrom, 2.05 * worker.image_pixel_angstrom)
    layout = worker.layout(max(_FIRST_LAYOUT_ANGSTROM, finest))
    worker.extract(layout)
    loop = _Loop(worker, layout, settings, tell)
    band = max(settings.initial_lowpass_angstrom, 2.0 * layout.pixel_size_angstrom)
    first = first_reference(reference, reference_voxel_angstrom, layout, settings.diameter_angstrom, band)
    first = first * reference_scale(worker, first, band)
    loop.references = (first, first)
    if not poses_known:
        band = loop.search(band)
    stalled, best, searched = 0, math.inf, poses_known
    while loop.n_done < settings.max_iterations:
        resolution = loop.refine(band)
        worker.drop_twins(settings.apart_angstrom)
        if not math.isfinite(resolution):
            break  # the halves do not agree; the result so far is evaluated
        worker.drop_weak(_LEAST_SCALE)
        limit = _finest_of(loop.layout)
        if resolution < _FINER_AT * limit and limit > 1.05 * finest:
            loop.change_layout(max(finest, min(resolution, limit) / _FINER_BY))
            band, stalled = resolution, 0
            continue
        stalled = stalled + 1 if resolution > _STALLED * best else 0
        best = min(best, resolution)
        band = max(resolution, band / 1.5, _finest_of(loop.layout))
        if stalled >= 2:
            if searched or loop.is_certain:
                break
            # Once more over all orientations: poses that failed early are found with the better map.
            searched, stalled = True, 0
            loop.search_again()
    return loop.finish(rng)


def reconstruct_average(worker: Worker, settings: RefinementSettings, rng: np.random.Generator) -> Refined:
    """Average the particles of a worker at their current poses."""
    layout = worker.layout(max(settings.finest_angstrom, 2.05 * worker.image_pixel_angstrom))
    worker.extract(layout)
    return _Loop(worker, layout, settings, lambda record: None).finish(rng)


@dataclass
class _Loop:
    """The passes of one refinement."""

    worker: Worker
    layout: BoxLayout
    settings: RefinementSettings
    tell: Callable[[IterationRecord], None]
    references: tuple[torch.Tensor, torch.Tensor] = field(init=False)
    history: list[IterationRecord] = field(default_factory=list)
    is_certain: bool = False
    """Whether the last search found one orientation for nearly every particle."""

    @property
    def n_done(self) -> int:
        return len(self.history)

    def search(self, band: float) -> float:
        """Search until the posteriors are narrow; returns the band to continue with."""
        range_angstrom, group = self.settings.shift_range_angstrom, symmetry_matrices(self.settings.symmetry)
        for i in range(_MAX_SEARCHES):
            step = max(2.0, min(band / 6.0, range_angstrom / 2.0))
            grid = SearchGrid(
                rotation_grid(self._angular_step(band), group), shift_grid(range_angstrom, step)
            )
            sharp = band <= _SHARP_BANDS * self._search_band()
            kind: Literal["search", "search_refine"] = "search_refine" if sharp else "search"
            highest = self._highest() if sharp else min(2.0 * self._box_angstrom() / band, self._highest())
            made = self._pass(PassOrder(kind, self.references, band, highest, grid), checks_poses=True)
            agreed = min(band, first_fall(made.correlation, 0.5, self._box_angstrom()))
            self.is_certain = made.n_effective < _CERTAIN
            if sharp and (made.n_effective < _SETTLED or i >= 3):
                return max(agreed, 0.5 * band)
            if (made.evidence or 0.0) > _LEAST_EVIDENCE:
                band = max(agreed, 0.5 * band, self._search_band())
            elif i >= 2:
                band = max(0.8 * band, self._search_band())
            range_angstrom = step
        return band

    def search_again(self) -> None:
        """Search about the current poses, and keep the refined best."""
        band = self._search_band()
        group = symmetry_matrices(self.settings.symmetry)
        grid = SearchGrid(rotation_grid(self._angular_step(band), group), shift_grid(6.0, 3.0))
        self._pass(PassOrder("search_refine", self.references, band, self._highest(), grid))

    def refine(self, band: float) -> float:
        """One pass of refinement; the resolution at which the halves agree."""
        made = self._pass(PassOrder("local_refine", self.references, band, self._highest()))
        return first_fall(made.correlation, 0.143, self._box_angstrom())

    def change_layout(self, resolution_angstrom: float) -> None:
        """Extract again with smaller pixels; the references go along."""
        old, self.layout = self.layout, self.worker.layout(resolution_angstrom)
        self.worker.extract(self.layout)
        moved = [
            map_on_grid(half, old.pixel_size_angstrom, self.layout.crop_px, self.layout.pixel_size_angstrom)
            # Sums of smaller voxels: a projection's value per pixel scales with the square of the pixel.
            * (self.layout.pixel_size_angstrom / old.pixel_size_angstrom)
            for half in self.references
        ]
        self.references = (moved[0], moved[1])

    def finish(self, rng: np.random.Generator) -> Refined:
        """Halves and map at the current poses, and their evaluation."""
        highest, voxel = self._highest(), self.layout.pixel_size_angstrom
        order = PassOrder("insert", None, _finest_of(self.layout), highest)
        made = self._measure(self.worker.run(order), checks_poses=False)
        halves = HalfMaps.of_sums(made.sums, voxel)
        mask = self._mask()
        plain = HalfMaps.of_sums(made.plain, voxel)
        shuffled = self.worker.shuffled(rng, highest)
        null = HalfMaps.of_sums((shuffled[0].sums(), shuffled[1].sums()), voxel)
        found = verdict(
            halves,
            plain,
            null,
            mask,
            rng,
            about_axis=self.settings.about_axis,
            order=len(symmetry_matrices(self.settings.symmetry)),
        )
        both = replace(
            made.sums[0],
            data=made.sums[0].data + made.sums[1].data,
            weights=made.sums[0].weights + made.sums[1].weights,
        )
        fsc = np.clip(found.curves["corrected"], 0.0, 1.0)
        # Of the whole set: 2 FSC / (1 + FSC).
        precision = prior_precision(both.shell_weights(), _fitted(2 * fsc / (1 + fsc), both))
        return Refined(
            both.map(precision),
            halves.maps,
            mask,
            voxel,
            found,
            tuple(self.history),
            self.references if self.history else None,
            self.history[-1].band_angstrom if self.history else math.inf,
            self._likeness(made.plain, mask),
        )

    def _likeness(self, plain: tuple[FourierSums, FourierSums], mask: torch.Tensor) -> SymmetryFit | None:
        """Symmetry of the map without imposed symmetry, to the resolution of its halves, on coarse voxels."""
        first, second = plain
        whole = replace(first, data=first.data + second.data, weights=first.weights + second.weights)
        correlation = HalfMaps.of_sums(plain, self.layout.pixel_size_angstrom).correlation(mask)
        fsc = np.clip(correlation, 0.0, 1.0)
        precision = prior_precision(whole.shell_weights(), _fitted(2 * fsc / (1 + fsc), whole))
        side = 1.5 * self.settings.diameter_angstrom
        small = map_on_grid(
            whole.map(precision) * mask, self.layout.pixel_size_angstrom, _COARSE_PX, side / _COARSE_PX
        )
        return symmetry_in_place(small, 0.55 / 1.5 * _COARSE_PX, self.settings.symmetry)

    def _pass(self, order: PassOrder, *, checks_poses: bool = False) -> _Progress:
        made = self._measure(self.worker.run(order), checks_poses=checks_poses)
        mask, voxel = self._mask(), self.layout.pixel_size_angstrom
        halves = [
            sums.map(prior_precision(sums.shell_weights(), _fitted(made.correlation, sums))) * mask
            for sums in made.sums
        ]
        first, second = joined_below(halves, voxel, _JOINED_BELOW_ANGSTROM)
        self.references = (first, second)
        record = IterationRecord(
            order.kind,
            order.band_angstrom,
            voxel,
            first_fall(made.correlation, 0.143, self._box_angstrom()),
            made.evidence,
            made.n_effective,
            made.log_likelihood,
            made.angle_change_deg,
            made.shift_change_angstrom,
            made.angle_sd_deg,
            tuple(made.correlation.tolist()),
            self._box_angstrom(),
            central_sections(first + second),
        )
        self.history.append(record)
        self.tell(record)
        return made

    def _measure(self, results: Iterable[PassResult], *, checks_poses: bool) -> _Progress:
        total: tuple[Insertion, Insertion] | None = None
        n_effective, likelihood, spread = [], [], []
        before = [(poses.rotations, poses.shifts_xyz_angstrom) for poses in self.worker.poses]
        turned, moved = [], []
        for (rotations, shifts), result in zip(before, results, strict=True):
            if total is None:
                total = result.halves
            else:
                for into, part in zip(total, result.halves, strict=True):
                    into.add(part)
            if not len(result.rotations):
                continue  # sums alone
            n_effective.append(result.n_effective)
            likelihood.append(result.log_likelihood)
            spread.append(result.angle_sd_deg)
            trace = np.einsum("nij,nij->n", rotations, result.rotations)
            turned.append(np.rad2deg(np.arccos(np.clip(0.5 * (trace - 1.0), -1.0, 1.0))))
            moved.append(np.linalg.norm(shifts - result.shifts_xyz_angstrom, axis=1))
        if total is None:
            raise DataUnfitError("there is no series with particles to average")
        plain = (total[0].sums(), total[1].sums())
        group = self.settings.symmetry
        imposed = len(symmetry_matrices(group)) > 1
        sums = (total[0].sums(group), total[1].sums(group)) if imposed else plain
        voxel, mask = self.layout.pixel_size_angstrom, self._mask()
        evidence = None
        if checks_poses:
            loose = HalfMaps.of_sums(plain, voxel)
            evidence = pose_evidence(loose.non_radial_correlation(mask), loose.n_shells)
        return _Progress(
            sums,
            HalfMaps.of_sums(sums, voxel).correlation(mask),
            evidence,
            plain,
            *(_median(values) for values in (n_effective, likelihood, turned, moved, spread)),
        )

    def _mask(self) -> torch.Tensor:
        return particle_mask(
            self.layout.crop_px, self.layout.pixel_size_angstrom, self.settings.diameter_angstrom
        )

    def _highest(self) -> float:
        return float(self.layout.plane.radius[-1])

    def _box_angstrom(self) -> float:
        return self.layout.plane.box_angstrom

    def _search_band(self) -> float:
        """Finest band of a search: refinement must converge from the nearest of its orientations.

        An orientation of a grid of 7.5 degrees is at most 6 away; the convergence radius is band over radius.
        """
        return max(_SEARCH_ANGSTROM, 0.13 * self.settings.diameter_angstrom)

    def _angular_step(self, band: float) -> float:
        """Slightly finer than Crowther's band over diameter."""
        if self.settings.angular_step_deg is not None:
            return self.settings.angular_step_deg
        coarsest = 15.0 if len(symmetry_matrices(self.settings.symmetry)) == 1 else 7.5
        return float(np.clip(np.rad2deg(0.5 * band / self.settings.diameter_angstrom), 7.5, coarsest))


def first_reference(
    reference: torch.Tensor,
    voxel_angstrom: float,
    layout: BoxLayout,
    diameter_angstrom: float,
    lowpass_angstrom: float,
) -> torch.Tensor:
    """The user's map on the layout's grid, exact to the first low-pass and zero beyond its edge."""
    pixel = layout.pixel_size_angstrom
    moved = map_on_grid(reference, voxel_angstrom, layout.crop_px, pixel)
    mask = particle_mask(layout.crop_px, pixel, diameter_angstrom)
    outside = mask == 0
    background = float(moved[outside].mean()) if bool(outside.any()) else 0.0
    return low_pass((moved - background) * mask, pixel, lowpass_angstrom)


def _median(parts: list[Array]) -> float:
    return float(np.median(np.concatenate(parts))) if parts else 0.0


def reference_scale(worker: Worker, reference: torch.Tensor, band: float) -> float:
    """Factor that scales a reference to the particles' amplitude in the images."""
    cross, quadratic = worker.radial_terms(reference, band)
    if quadratic <= 0:
        raise DataUnfitError(
            f"the reference is empty at {band:.0f} A; expected a map with density about its centre"
        )
    if cross <= 0:
        raise DataUnfitError(
            "the particles correlate negatively with the reference: its density must be positive (white), "
            "and the images must be unprocessed in contrast, protein dark",
            scale=cross / quadratic,
        )
    return cross / quadratic


def _finest_of(layout: BoxLayout) -> float:
    plane: HalfPlane = layout.plane
    return float(plane.box_angstrom / plane.radius[-1])


def _fitted(correlation: Array, sums: FourierSums) -> Array:
    """A curve as long as the shells of the sums; beyond its end, or its first fall, it is zero."""
    n = int(sums.highest) + 1
    curve = np.zeros(n)
    curve[: min(n, len(correlation))] = correlation[:n]
    fallen = np.flatnonzero(curve[1:] < _NO_CORRELATION) + 1
    if len(fallen):
        curve[int(fallen[0]) :] = 0.0
    return curve
