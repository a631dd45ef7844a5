"""Passes over the particles of many series: one part of work per series, its images in the scratch folder."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.directed_search import DirectedGrid, carried_directions
from cryoloom.algorithms.averaging.fourier_cube import cube_of_map
from cryoloom.algorithms.averaging.halves import duplicates
from cryoloom.algorithms.averaging.maps import radial_terms
from cryoloom.algorithms.averaging.particle_images import (
    BoxLayout,
    ParticleImages,
    choose_boxes,
    delocalisation_angstrom,
    extract_images,
    usable_tilts,
)
from cryoloom.algorithms.averaging.passes import (
    PassResult,
    Poses,
    SearchGrid,
    equivalents_pass,
    insert_pass,
    refine_pass,
    search_pass,
    split_tilt_pass,
)
from cryoloom.algorithms.averaging.pose_refinement import PosePrior
from cryoloom.algorithms.averaging.reconstruction import Insertion
from cryoloom.algorithms.averaging.refinement import PassOrder, Refined
from cryoloom.algorithms.averaging.split_search import split_search_pass
from cryoloom.algorithms.initial_model.own_axes import class_sums, own_axes
from cryoloom.contract.step import StepContext
from cryoloom.errors import DataUnfitError, TransientError
from cryoloom.formats.pixels.array_files import open_arrays, write_arrays
from cryoloom.geometry.orientation_grid import z_axis_to
from cryoloom.geometry.rotations import rotation_from_vector
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import Average, FscCurve, ParticleRows, Particles, Stack, TiltSeries

__all__ = [
    "SeriesWorker",
    "averaging_bytes",
    "direction_record",
    "extraction",
    "fsc_record",
    "image_stack",
    "joined_particles",
    "largest_part_bytes",
    "run_part",
    "stored_average",
    "tell_of_symmetry",
    "warn_of_unknown_hands",
]

Array = NDArray[np.float64]

_LEAST_GAIN, _LARGEST_GAIN = 0.05, 4.0
"""Chosen: measured noise beyond these ratios is an error of the measurement, not of the image."""
#: Likeness of a map under a symmetry, relative to rotations by other angles, as in `map_symmetry`.
_LEAST_LIKENESS = 0.3
_SAME_PIXEL_SIZE = 1.001
"""Chosen: a calibration is known to a few thousandths; a larger difference is another magnification."""


def joined_particles(items: Sequence[Particles]) -> tuple[ParticleRows, tuple[TiltSeries, ...]]:
    """All particles of a set, and the series they are in, by name.

    Raises DataUnfitError if there are no particles, one series comes in two versions, or pixel sizes
    differ.
    """
    if not any(item.n_particles for item in items):
        names = ", ".join(item.name for item in items) or "none"
        raise DataUnfitError(f"there are no particles to average; tomograms without picks: {names}")
    series: dict[str, TiltSeries] = {}
    for item in items:
        for one in item.series:
            if series.setdefault(one.name, one) != one:
                raise DataUnfitError(
                    f"the particles of {one.name} refer to two versions of the series; pick or assign them "
                    "on one alignment"
                )
    rows = ParticleRows.joined([item.rows() for item in items if item.n_particles])
    unknown = sorted(set(rows.tomogram.tolist()) - set(series))
    if unknown:
        raise DataUnfitError(f"particles of {unknown} have no tilt series; the set has {sorted(series)}")
    used = tuple(series[name] for name in sorted(set(rows.tomogram.tolist())))
    sizes = {one.name: image_stack(one).pixel_size_angstrom for one in used}
    if sizes and max(sizes.values()) > _SAME_PIXEL_SIZE * min(sizes.values()):
        raise DataUnfitError(f"the series differ in pixel size: {sizes} A; average them separately")
    return rows, used


def image_stack(series: TiltSeries) -> Stack:
    """Images that particles are extracted from: before CTF correction and dose weighting."""
    return series.unweighted_stack


def averaging_bytes(series: TiltSeries, n_particles: int, layout: BoxLayout) -> int:
    """Memory of one series' part: its images once, half of them again, and the sums."""
    images = ParticleImages.bytes_of(n_particles, len(series.included), layout)
    cubes = 6 * 12 * (2 * layout.crop_px + 5) ** 3 // 2
    return 2 * images + cubes + (400 << 20)


def largest_part_bytes(
    items: Any, diameter_angstrom: float | None, finest_resolution_angstrom: float | None
) -> int:
    """Memory of the largest series' part, as a step declares it in `bytes_per_part`."""
    largest = 0
    for item in items if isinstance(items, tuple) else (items,):
        diameter = diameter_angstrom or item.diameter_angstrom or 200.0
        for series in item.series:
            pixel = image_stack(series).pixel_size_angstrom
            # Nyquist of unbinned images, or 6 A: smaller pixels are extracted only once they are needed.
            resolution = max(2.05 * pixel, finest_resolution_angstrom or 0.0, 6.0)
            apart = delocalisation_angstrom(series, resolution)
            layout = choose_boxes(diameter, resolution, pixel, apart)
            largest = max(largest, averaging_bytes(series, item.n_particles, layout))
    return largest


def warn_of_unknown_hands(series: Sequence[TiltSeries], context: StepContext) -> None:
    """Warn of series without a known handedness: their CTF is that of the middle at every depth."""
    for one in series:
        if one.handedness.applied is None:
            context.warn(
                f"{one.name}: the handedness is not known, so every depth uses the CTF of the middle, which "
                "limits the resolution. Measure the handedness with estimate_ctf after the alignment"
            )


def tell_of_symmetry(refined: Refined, group: str, context: StepContext) -> None:
    """Report how well the average had its symmetry before it was imposed."""
    found = refined.symmetry
    if found is None:
        context.figure("symmetry_likeness", None, reason="no symmetry was imposed, or the average is a shell")
        return
    context.figure("symmetry_likeness", found.likeness)
    if found.likeness < _LEAST_LIKENESS:
        context.warn(
            f"The average did not have the symmetry {group} before it was imposed: its likeness after "
            f"rotation was {found.likeness:.2f}, expected at least {_LEAST_LIKENESS}; average without "
            "symmetry and compare"
        )


def direction_record(rows: ParticleRows, n_bins: int = 6) -> list[dict[str, Any]]:
    """Number of particles by direction of their z axis, in bands of equal area from +z to -z."""
    used = np.ones(rows.n, bool) if rows.half is None else rows.half > 0
    x, y, z = rows.rotations[used][:, :, 2].T
    band = np.minimum(((1.0 - z) / 2.0 * n_bins).astype(int), n_bins - 1)
    sector = np.minimum(((np.arctan2(y, x) / (2.0 * np.pi)) % 1.0 * n_bins).astype(int), n_bins - 1)
    counts = np.zeros((n_bins, n_bins), int)
    np.add.at(counts, (band, sector), 1)
    edges = np.rad2deg(np.arccos(1.0 - 2.0 * np.arange(n_bins + 1) / n_bins))
    wide = 360.0 / n_bins
    return [
        {"angle_to_z_deg": f"{edges[i]:.0f} to {edges[i + 1]:.0f}"}
        | {f"azimuth {j * wide:.0f} to {(j + 1) * wide:.0f}": int(counts[i, j]) for j in range(n_bins)}
        for i in range(n_bins)
    ]


def fsc_record(refined: Refined) -> dict[str, Any]:
    """Curves of an average as a record of kind "curves"."""
    box = refined.map.shape[0] * refined.voxel_angstrom
    return {
        "x_title": "Frequency (1/A)",
        "y_title": "Correlation",
        "x": [round(i / box, 5) for i in range(len(refined.verdict.curves["masked"]))],
        "curves": {name: np.round(curve, 4).tolist() for name, curve in refined.verdict.curves.items()},
    }


def stored_average(
    refined: Refined,
    symmetry: str,
    diameter_angstrom: float,
    n_particles: int,
    context: StepContext,
    *,
    pose_doubt: str = "",
) -> Average:
    """Write the maps of an average and return it as a value of the model."""
    volumes: dict[str, Any] = {}
    named = {
        "map": refined.map,
        "half1": refined.halves[0],
        "half2": refined.halves[1],
        "mask": refined.mask,
    }
    for role, values in named.items():
        sink = context.new_pixels(role, tuple(values.shape), refined.voxel_angstrom, kind="volume")
        sink[...] = values.numpy().astype(np.float32)
        volumes[role] = sink
    box = refined.map.shape[0] * refined.voxel_angstrom
    curves = tuple(
        FscCurve(
            name,
            tuple(round(shell / box, 6) for shell in range(len(curve))),
            tuple(round(float(value), 4) for value in curve),
        )
        for name, curve in refined.verdict.curves.items()
    )
    return Average(
        context.item_name,
        volumes["map"],
        refined.voxel_angstrom,
        symmetry=symmetry,
        half1=volumes["half1"],
        half2=volumes["half2"],
        mask=volumes["mask"],
        curves=curves,
        resolution_angstrom=refined.verdict.resolution_angstrom,
        resolution_note=refined.verdict.note,
        n_particles=n_particles,
        diameter_angstrom=diameter_angstrom,
        pose_doubt=pose_doubt,
    )


class _WhichTilts(Protocol):
    """Parameters of every step that averages."""

    @property
    def max_dose_per_angstrom2(self) -> float | None:
        """Tilts after this dose are left out."""

    @property
    def min_tilts(self) -> int:
        """Particles visible in fewer tilts are left out."""


@dataclass
class SeriesWorker:
    """`refinement.Worker` that distributes series over the executor."""

    context: StepContext
    series: tuple[TiltSeries, ...]
    rows: ParticleRows
    diameter_angstrom: float
    max_dose_per_angstrom2: float = math.inf
    min_tilts: int = 1
    prior_sd_angstrom: float = 10.0
    use_directions: bool = True
    crop_angstrom: float | None = None
    n_visible: NDArray[np.int64] = field(init=False)
    """Number of tilts in which each particle is visible, ``(n,)``."""
    log_likelihood: Array = field(init=False)
    scale: Array = field(init=False)
    """Amplitude of each particle relative to the average, ``(n,)``."""
    angle_sd_deg: Array = field(init=False)
    shift_sd_angstrom: Array = field(init=False)
    is_twin: NDArray[np.bool_] = field(init=False)
    """Particles that moved to the position of a likelier one and were left out, ``(n,)``."""
    tilt_terms: dict[str, Array] = field(default_factory=dict)
    """Cross and quadratic terms of the particles of each series, by tilt and shell, ``(tilt, shell, 2)``."""

    @classmethod
    def of(
        cls,
        context: StepContext,
        series: tuple[TiltSeries, ...],
        rows: ParticleRows,
        diameter_angstrom: float,
        params: _WhichTilts,
        **more: Any,
    ) -> Self:
        """A worker with the parameters that every step of averaging has."""
        return cls(
            context,
            series,
            rows,
            diameter_angstrom,
            max_dose_per_angstrom2=params.max_dose_per_angstrom2 or math.inf,
            min_tilts=params.min_tilts,
            **more,
        )

    def __post_init__(self) -> None:
        n = self.rows.n
        self.rows = replace(self.rows, rotations=np.array(self.rows.rotations))
        self.n_visible = np.zeros(n, np.int64)
        self.log_likelihood, self.angle_sd_deg, self.shift_sd_angstrom = (np.zeros(n) for _ in range(3))
        self.scale = np.ones(n)
        self.is_twin = np.zeros(n, bool)
        self._members = [np.flatnonzero(self.rows.tomogram == one.name) for one in self.series]
        self._shifts = np.zeros((n, 3))
        self._gains: dict[int, NDArray[np.float32]] = {}
        self._layout: BoxLayout | None = None
        self._n_orders = 0
        self._set_aside: NDArray[np.int64] | None = None

    @property
    def image_pixel_angstrom(self) -> float:
        """Pixel size of the tilt images."""
        return image_stack(self.series[0]).pixel_size_angstrom

    def layout(self, resolution_angstrom: float) -> BoxLayout:
        """Box sizes for a resolution, at the largest defocus of all series."""
        apart = max(delocalisation_angstrom(one, resolution_angstrom) for one in self.series)
        return choose_boxes(self.diameter_angstrom, resolution_angstrom, self.image_pixel_angstrom, apart)

    @property
    def half(self) -> NDArray[np.int64]:
        """Half of each particle, 1 or 2, ``(n,)``; 0 for those that are left out."""
        return self.rows.halves

    @property
    def positions_xyz_angstrom(self) -> Array:
        """Current positions, ``(n, 3)``."""
        return self.rows.positions_xyz_angstrom + self._shifts

    def extract(self, layout: BoxLayout) -> None:
        """Extract all particles at their current positions."""
        self.rows = replace(self.rows, positions_xyz_angstrom=self.positions_xyz_angstrom)
        self._shifts = np.zeros_like(self._shifts)
        self._refuse_without_room(layout)
        self._layout, self._gains = layout, {}
        parts = [
            extraction(one, self.rows, mine, layout, self.max_dose_per_angstrom2, self._folder(i))
            for i, (one, mine) in enumerate(zip(self.series, self._members, strict=True))
        ]
        for mine, made in zip(self._members, self.context.imap(run_part, parts), strict=True):
            self.n_visible[mine] = made["n_visible"]
        if self.rows.half is None:
            raise DataUnfitError("particles have no halves; assign them before they are averaged")
        self._refuse_hidden()
        shown = self.n_visible >= self.min_tilts
        self.rows = replace(self.rows, half=np.where(shown, self.rows.half, 0))

    def _refuse_without_room(self, layout: BoxLayout) -> None:
        """Raise TransientError where the images would not fit on the disk of the scratch folder."""
        folder = self.context.scratch()
        needed = sum(
            ParticleImages.bytes_of(len(mine), len(usable_tilts(one, self.max_dose_per_angstrom2)), layout)
            for one, mine in zip(self.series, self._members, strict=True)
        )
        replaced = sum(file.stat().st_size for file in folder.glob("images_*/*.npy"))
        free = shutil.disk_usage(folder).free
        if needed > free + replaced:
            raise TransientError(
                f"the images of {self.rows.n} particles to {2.0 * layout.pixel_size_angstrom:.1f} A need "
                f"{needed / 1e9:.1f} GB in {folder}, which has room for {(free + replaced) / 1e9:.1f} GB; "
                "free some space, or ask for a coarser resolution",
                needed_gb=round(needed / 1e9, 2),
                room_gb=round((free + replaced) / 1e9, 2),
            )

    def _refuse_hidden(self) -> None:
        """Raise DataUnfitError where no particle can be used, with what the images cover."""
        shown, n = self.n_visible, self.rows.n
        used = np.zeros(n, bool) if self.rows.half is None else self.rows.half > 0
        if not (shown > 0).any():
            stack = image_stack(self.series[0])
            reach = [0.5 * size * stack.pixel_size_angstrom for size in stack.images.shape[:0:-1]]
            farthest = np.abs(self.rows.positions_xyz_angstrom).max(axis=0)
            raise DataUnfitError(
                f"none of {n} particles lies inside an image: positions reach {farthest[0]:.0f}, "
                f"{farthest[1]:.0f} and {farthest[2]:.0f} A from the centre in x, y and z, images of "
                f"{self.series[0].name} {reach[0]:.0f} A in x and {reach[1]:.0f} A in y; check that "
                "positions are relative to the centre, and in pixels of the right binning"
            )
        if not (used & (shown >= self.min_tilts)).any():
            raise DataUnfitError(
                f"no particle is visible in {self.min_tilts} tilts; the largest number is {shown.max()}. "
                "Lower min_tilts, or keep more tilts"
            )

    @property
    def poses(self) -> list[Poses]:
        """Current poses by series."""
        return [self._poses(mine) for mine in self._members]

    def radial_terms(self, reference: torch.Tensor, band_angstrom: float) -> tuple[float, float]:
        """Cross and quadratic terms of all particles with the radial part of a reference."""
        order = PassOrder("insert", (reference, reference), band_angstrom, 0.0)
        found = self.context.imap(run_part, self._parts("radial", order))
        cross, quadratic = np.sum([made["terms"] for made in found], axis=0)
        return float(cross), float(quadratic)

    def run(self, order: PassOrder) -> Iterator[PassResult]:
        """Results by series, in order; poses and noise are updated."""
        made = self.context.imap(run_part, self._parts(order.kind, order))
        for i, (mine, arrays) in enumerate(zip(self._members, made, strict=True)):
            result = _result(arrays, order.insert_to, self._needed_layout().crop_px)
            yield result
            if order.kind == "insert":
                continue
            self.rows.rotations[mine] = result.rotations
            self._shifts[mine] = result.shifts_xyz_angstrom
            self.log_likelihood[mine] = result.log_likelihood
            self.angle_sd_deg[mine] = result.angle_sd_deg
            self.shift_sd_angstrom[mine] = result.shift_sd_angstrom
            if order.kind != "search":
                cross, quadratic = result.terms.sum(axis=1).T
                self.scale[mine] = cross / np.maximum(quadratic, 1e-12)
            if order.kind == "local_refine":
                self.tilt_terms[self.series[i].name] = result.noise[..., 2:]
                self._gains[i] = self._gain(result.noise)

    def split_tilts(
        self, references: tuple[torch.Tensor, torch.Tensor], band_angstrom: float
    ) -> tuple[Array, Array]:
        """Angles in degrees and distances in angstrom between poses from even and odd tilts, ``(n,)``."""
        turn, moved = np.full(self.rows.n, np.nan), np.full(self.rows.n, np.nan)
        order = PassOrder("split_tilts", references, band_angstrom, 0.0)
        made = self.context.imap(run_part, self._parts(order.kind, order))
        for mine, arrays in zip(self._members, made, strict=True):
            turn[mine], moved[mine] = arrays["turn"], arrays["moved"]
        return turn, moved

    def equivalents(
        self, group: str, references: tuple[torch.Tensor, torch.Tensor], band_angstrom: float
    ) -> Array:
        """Terms of every particle at the equivalents of its pose, as `passes.equivalents_pass`."""
        operators = symmetry_matrices(group)
        terms = np.zeros((self.rows.n, len(operators), 2, 2))
        parts = self._parts("equivalents", PassOrder("insert", references, band_angstrom, 0.0))
        for part in parts:
            part["group"] = group
        for mine, arrays in zip(self._members, self.context.imap(run_part, parts), strict=True):
            terms[mine] = arrays["terms"]
        return terms

    def split_search(
        self,
        references: tuple[torch.Tensor, torch.Tensor],
        plain: tuple[torch.Tensor, torch.Tensor],
        grid: SearchGrid | DirectedGrid,
        band_angstrom: float,
        rng: np.random.Generator,
    ) -> Array:
        """Gains of all particles and of their twins, as `split_search.split_search_pass`."""
        gains = np.zeros((self.rows.n, 3))
        shared = {"plain_first": plain[0].numpy(), "plain_second": plain[1].numpy()}
        order = PassOrder("insert", references, band_angstrom, 0.0, grid)
        made = zip(self._parts("split_search", order, shared), self._members, strict=True)
        used = [(part, mine) for part, mine in made if (self.half[mine] > 0).any()]
        parts = [part | {"seed": int(rng.integers(2**31))} for part, _ in used]
        for (_, mine), arrays in zip(used, self.context.imap(run_part, parts), strict=True):
            gains[mine] = arrays["gains"]
        return gains

    def own_axes(self, group: str, band_angstrom: float) -> Array:
        """Place every particle by its own axes; how far each lies above other placings, ``(n,)``."""
        significance = np.full(self.rows.n, np.nan)
        rotations = self.rows.rotations.copy()
        for mine, arrays in self._own("own_axes", group, None, band_angstrom):
            rotations[mine], significance[mine] = arrays["rotations"], arrays["significance"]
        self.rows = replace(self.rows, rotations=rotations)
        return significance[self.half > 0]

    def class_sums(
        self, group: str, references: tuple[torch.Tensor, torch.Tensor], band_angstrom: float
    ) -> Array:
        """As `own_axes.class_sums`, of all particles in use, ``(n, class, 4)``."""
        made = self._own("class_sums", group, references, band_angstrom)
        return np.concatenate([arrays["sums"] for _, arrays in made])

    def _own(
        self,
        kind: str,
        group: str,
        references: tuple[torch.Tensor, torch.Tensor] | None,
        band_angstrom: float,
    ) -> Iterator[tuple[NDArray[np.int64], Mapping[str, NDArray[Any]]]]:
        parts = self._parts(kind, PassOrder("insert", references, band_angstrom, 0.0))
        for part in parts:
            part |= {"group": group, "diameter": self.diameter_angstrom}
        for mine, arrays in zip(self._members, self.context.imap(run_part, parts), strict=True):
            yield mine[self.half[mine] > 0], arrays

    def scatter(self, rng: np.random.Generator) -> None:
        """Give every particle a random orientation, about its own direction if it has one, and no shift."""
        rotations = Rotation.random(self.rows.n, rng).as_matrix()
        directions = self.rows.prior_directions
        if self.use_directions and directions is not None:
            known = np.isfinite(directions).all(axis=1)
            azimuth = rng.uniform(0.0, 360.0, int(known.sum()))
            rotations[known] = z_axis_to(directions[known], azimuth)
        self.rows = replace(self.rows, rotations=rotations)
        self._shifts = np.zeros_like(self._shifts)

    def use_at_most(self, n: int, rng: np.random.Generator) -> None:
        """Work with a random part of the particles until `use_all`."""
        self.use_all()
        half = self.rows.half
        if half is None or np.count_nonzero(half) <= n:
            return
        self._set_aside = half
        chosen = rng.choice(np.flatnonzero(half), n, replace=False)
        used = np.zeros_like(half)
        used[chosen] = half[chosen]
        self.rows = replace(self.rows, half=used)

    def use_all(self) -> None:
        """Work with all particles."""
        if self._set_aside is not None:
            self.rows = replace(self.rows, half=self._set_aside)
            self._set_aside = None

    def kept_poses(self) -> tuple[Array, Array]:
        """Present rotations and shifts, for `restore`."""
        return self.rows.rotations.copy(), self._shifts.copy()

    def restore(self, poses: tuple[Array, Array]) -> None:
        """Restore stored rotations and shifts."""
        self.rows = replace(self.rows, rotations=poses[0].copy())
        self._shifts = poses[1].copy()

    def carry_directions(self, reach_angstrom: float) -> None:
        """Give particles on surfaces the direction of their surface where they are now."""
        carried = carried_directions(self.rows, self.positions_xyz_angstrom, reach_angstrom)
        self.rows = replace(self.rows, prior_directions=carried)

    def drop_weak(self, least_scale: float) -> None:
        """Remove particles from their half if their amplitude is below a fraction of the median."""
        if self.rows.half is None:
            return
        used = self.rows.half > 0
        weak = used & (self.scale < least_scale * np.median(self.scale[used]))
        self.rows = replace(self.rows, half=np.where(weak, 0, self.rows.half))

    def drop_twins(self, distance_angstrom: float) -> None:
        """Remove particles from their half that came closer than a distance to a likelier one in use."""
        used = np.flatnonzero(self.half > 0)
        present = replace(
            self.rows, positions_xyz_angstrom=self.positions_xyz_angstrom, score=self.log_likelihood
        )
        twins = used[duplicates(present.take(used), distance_angstrom)]
        self.is_twin[twins] = True
        self.rows = replace(self.rows, half=np.where(self.is_twin, 0, self.half))

    def shuffled(self, rng: np.random.Generator, insert_to: float) -> tuple[Insertion, Insertion]:
        """Sums with rotations exchanged among the particles of each half.

        Particles with a direction of their own (on membranes, along filaments) are turned about it by random
        angles instead: halves of a membrane agree on the membrane, whatever stands on it.
        """
        kept, self.rows = self.rows, replace(self.rows, rotations=self.rows.rotations.copy())
        for half in (1, 2):
            mine = np.flatnonzero(kept.half == half)
            self.rows.rotations[mine] = kept.rotations[rng.permutation(mine)]
        directions = kept.prior_directions
        if self.use_directions and directions is not None:
            known = np.isfinite(directions).all(axis=1)
            angle = rng.uniform(0.0, 2.0 * np.pi, (int(known.sum()), 1))
            turned = rotation_from_vector(directions[known] * angle) @ kept.rotations[known]
            self.rows.rotations[known] = turned
        total: tuple[Insertion, Insertion] | None = None
        for result in self.run(PassOrder("insert", None, 0.0, insert_to)):
            if total is None:
                total = result.halves
            else:
                total[0].add(result.halves[0])
                total[1].add(result.halves[1])
        self.rows = kept
        if total is None:
            raise DataUnfitError("there is no series with particles to average")
        return total

    def _parts(
        self, kind: str, order: PassOrder, more: Mapping[str, NDArray[Any]] | None = None
    ) -> list[dict[str, Any]]:
        """Parts of a pass by series; what they share, with more arrays by name, is in files."""
        self._n_orders += 1
        shared = self.context.scratch() / f"order_{self._n_orders:03d}"
        arrays: dict[str, NDArray[Any]] = dict(more or {})
        if order.references is not None:
            arrays["first"], arrays["second"] = (half.numpy() for half in order.references)
        if isinstance(order.grid, SearchGrid):
            arrays["grid_rotations"] = order.grid.rotations
            arrays["grid_shifts"] = order.grid.shifts_xyz_angstrom
        write_arrays(shared, arrays)
        parts = []
        for i, poses in enumerate(self.poses):
            part: dict[str, Any] = {
                "kind": kind,
                "folder": self._folder(i),
                "shared": shared,
                "half": poses.half,
                "rotations": poses.rotations,
                "shifts": poses.shifts_xyz_angstrom,
                "shift_sd": self.prior_sd_angstrom,
                "band": order.band_angstrom,
                "insert_to": order.insert_to,
                "temperature": 1.0 if order.grid is None else order.grid.temperature,
            }
            if poses.prior.directions is not None and poses.prior.width_deg is not None:
                part |= {"directions": poses.prior.directions, "width": poses.prior.width_deg}
            if isinstance(order.grid, DirectedGrid):
                part["directed"] = asdict(order.grid)
            if i in self._gains:
                part["gain"] = self._gains[i]
            parts.append(part)
        return parts

    def _poses(self, mine: NDArray[np.int64]) -> Poses:
        rows, half = self.rows, self.rows.half
        directions, width = rows.prior_directions, rows.prior_width_deg
        with_prior = self.use_directions and directions is not None and width is not None
        prior = PosePrior(
            self.prior_sd_angstrom,
            directions[mine] if with_prior and directions is not None else None,
            width[mine] if with_prior and width is not None else None,
        )
        return Poses(
            np.zeros(len(mine), np.int64) if half is None else half[mine],
            rows.rotations[mine],
            self._shifts[mine],
            prior,
        )

    def _gain(self, noise: Array) -> NDArray[np.float32]:
        """Factor of data and weights by tilt and sample: expected over measured noise, smoothed."""
        found, expected = (_smooth(noise[..., column]) for column in (0, 1))
        known = found > 0
        ratio = np.ones(found.shape)
        ratio[known] = np.clip(expected[known] / found[known], _LEAST_GAIN, _LARGEST_GAIN)
        for row, is_known in zip(ratio, known, strict=True):
            if is_known.any():
                last = int(np.flatnonzero(is_known)[-1])
                row[last + 1 :] = row[last]
        shell = np.minimum(self._needed_layout().plane.shell, noise.shape[1] - 1)
        return np.take(ratio, shell, axis=1).astype(np.float32)

    def _folder(self, i: int) -> Path:
        return self.context.scratch() / f"images_{i:04d}"

    def _needed_layout(self) -> BoxLayout:
        if self._layout is None:
            raise ValueError("extract particles before passes are run over them")
        return self._layout


def extraction(
    series: TiltSeries,
    rows: ParticleRows,
    members: NDArray[np.int64],
    layout: BoxLayout,
    max_dose_per_angstrom2: float,
    folder: Path,
) -> dict[str, Any]:
    """Order for `run_part` to cut the members of a set out of their series into a folder."""
    return {
        "kind": "extract",
        "series": series,
        "positions": rows.positions_xyz_angstrom[members],
        "layout": [layout.cut_px, layout.box_px, layout.crop_px, layout.image_pixel_angstrom],
        "max_dose": max_dose_per_angstrom2,
        "folder": folder,
    }


def run_part(part: Mapping[str, Any], context: StepContext) -> dict[str, NDArray[Any]]:
    """One series' part of a pass, or of an extraction."""
    folder = Path(part["folder"])
    if part["kind"] == "extract":
        cut, box, crop, pixel = part["layout"]
        images = extract_images(
            part["series"],
            image_stack(part["series"]).images,
            part["positions"],
            BoxLayout(int(cut), int(box), int(crop), float(pixel)),
            max_dose_per_angstrom2=part["max_dose"],
        )
        write_arrays(folder, images.arrays())
        return {"n_visible": images.visible.sum(axis=1)}
    images = ParticleImages.of_arrays(open_arrays(folder))
    shared = open_arrays(Path(part["shared"]))
    n_used = images.plane.n_within(part["band"]) if part["band"] > 0 else 0
    highest = float(images.plane.radius[-1])
    maps = [torch.tensor(shared[name]) for name in ("first", "second") if name in shared]
    cubes = [cube_of_map(density, highest) for density in maps]
    if part["kind"] == "radial":
        return {"terms": np.array(radial_terms(images, cubes[0], n_used))}
    poses = Poses(
        part["half"],
        part["rotations"],
        part["shifts"],
        PosePrior(part["shift_sd"], part.get("directions"), part.get("width")),
    )
    gain, insert_to = part.get("gain"), part["insert_to"]
    if part["kind"] == "insert":
        return _sums(insert_pass(images, poses, insert_to, gain=gain))
    if part["kind"] == "local_refine":
        return _arrays(refine_pass(images, cubes, poses, n_used, insert_to, gain=gain))
    if part["kind"] == "equivalents":
        operators = symmetry_matrices(part["group"])
        return {"terms": equivalents_pass(images, cubes, poses, operators, n_used, gain=gain)}
    if part["kind"] == "split_tilts":
        turn, moved = split_tilt_pass(images, cubes, poses, n_used, gain=gain)
        return {"turn": turn, "moved": moved}
    if part["kind"] in ("own_axes", "class_sums"):
        return _of_single_particles(part, images, cubes, poses)
    grid: SearchGrid | DirectedGrid
    if "directed" in part:
        grid = DirectedGrid(**part["directed"])
    else:
        grid = SearchGrid(shared["grid_rotations"], shared["grid_shifts"], part["temperature"])
    if part["kind"] == "split_search":
        first, second = (
            cube_of_map(torch.tensor(shared[name]), highest) for name in ("plain_first", "plain_second")
        )
        gains = split_search_pass(
            images,
            (cubes[0], cubes[1]),
            (first, second),
            poses,
            grid,
            n_used,
            np.random.default_rng(part["seed"]),
            gain=gain,
        )
        return {"gains": gains}
    then_refine = part["kind"] == "search_refine"
    return _arrays(
        search_pass(images, cubes, poses, grid, n_used, insert_to, gain=gain, then_refine=then_refine)
    )


def _of_single_particles(
    part: Mapping[str, Any], images: ParticleImages, cubes: Sequence[torch.Tensor], poses: Poses
) -> dict[str, NDArray[Any]]:
    """Axes of a group in each particle in use, or products with itself turned."""
    group, diameter, band = part["group"], part["diameter"], part["band"]
    if part["kind"] == "own_axes":
        used = np.flatnonzero(poses.half > 0)
        found = own_axes(images.take(used), poses.shifts_xyz_angstrom[used], group, diameter, band)
        return {"rotations": found.rotations, "significance": found.significance}
    sums: dict[int, Array] = {}
    for half in (0, 1):
        mine = np.flatnonzero(poses.half == half + 1)
        if len(mine):
            shifts = poses.shifts_xyz_angstrom[mine]
            made = class_sums(images.take(mine), cubes[half], shifts, group, diameter, band)
            sums |= dict(zip(mine.tolist(), made, strict=True))
    return {"sums": np.array([sums[i] for i in sorted(sums)])}


def _smooth(by_shell: Array) -> Array:
    """Rows ``(tilt, shell)`` averaged over three shells."""
    smooth = 0.5 * by_shell
    smooth[:, 1:] += 0.25 * by_shell[:, :-1]
    smooth[:, :-1] += 0.25 * by_shell[:, 1:]
    return smooth


_SCALARS = ("log_likelihood", "n_effective", "angle_sd_deg", "shift_sd_angstrom", "terms", "noise")


def _arrays(result: PassResult) -> dict[str, NDArray[Any]]:
    named = {name: getattr(result, name) for name in _SCALARS}
    return {
        "rotations": result.rotations,
        "shifts": result.shifts_xyz_angstrom,
        **named,
        **_sums(result.halves),
    }


def _sums(halves: tuple[Insertion, Insertion]) -> dict[str, NDArray[Any]]:
    made = {}
    for i, half in enumerate(halves):
        made[f"data_{i}"], made[f"weights_{i}"] = half.data.numpy(), half.weights.numpy()
    return made


def _result(arrays: Mapping[str, NDArray[Any]], insert_to: float, box_px: int) -> PassResult:
    halves = []
    for i in (0, 1):
        half = Insertion(box_px, insert_to)
        half.data = torch.tensor(arrays[f"data_{i}"])
        half.weights = torch.tensor(arrays[f"weights_{i}"])
        halves.append(half)
    empty = np.zeros(0)
    named = {name: arrays.get(name, empty) for name in _SCALARS}
    return PassResult(
        rotations=arrays.get("rotations", np.zeros((0, 3, 3))),
        shifts_xyz_angstrom=arrays.get("shifts", np.zeros((0, 3))),
        **named,
        halves=(halves[0], halves[1]),
    )
