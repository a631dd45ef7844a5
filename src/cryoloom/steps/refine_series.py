"""Refine tilt series by their particles and the average: geometry, defocus and amplitude of every tilt.

Each particle is a fiducial. Its image in every tilt is compared with the projection of the average, and the
best image shifts give the geometry of the tilt: image shift, stage angles, magnification, and a smooth warp
of the image, solved for together with the particles' positions. Once the geometry hardly changes, the
defocus of every tilt is refined, and the amplitude and B-factor of its signal are measured. So the step is
run twice: refine the series, average or refine the particles, and refine the series once more.

Every group of parameters is fitted to three quarters of the particles and tested on the last quarter, in
turns. It is used only if the particles that were left out agree better with the average, beyond chance.
Otherwise the series is passed on unchanged.

Tilts are compared with the average of the *other* half: a particle's own half contains its noise, which keeps
it in place. Positions of particles follow from their own half, so the halves stay independent except for the
few parameters that all particles share. Refine the particles again afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.averaging.evaluation import particle_mask
from cryoloom.algorithms.averaging.particle_images import (
    BoxLayout,
    ParticleImages,
    choose_boxes,
    delocalisation_angstrom,
    extract_images,
    usable_tilts,
)
from cryoloom.algorithms.series_refinement.held_out import Decision, decide, folds_of
from cryoloom.algorithms.series_refinement.reference import reference_cubes, scaled_to
from cryoloom.algorithms.series_refinement.shift_scores import shell_terms, shift_scores
from cryoloom.algorithms.series_refinement.tilt_contrast import (
    DefocusModel,
    EnvelopeModel,
    defocus_changes,
    defocus_offsets,
    envelope_values,
    envelopes,
    fitted_to_others,
    values_at_defocus,
)
from cryoloom.algorithms.series_refinement.tilt_geometry import (
    Group,
    design_of,
    held_out_values,
    refined_pose,
    solve_geometry,
)
from cryoloom.contract import Column, Figure, Outputs, Record
from cryoloom.contract.step import Shared, StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import Average, ParticleRows, Particles, Pose, Tilt, TiltSeries
from cryoloom.procedures.particle_passes import image_stack, warn_of_unknown_hands

__all__ = ["RefineSeriesParams", "refine_series"]

Array = NDArray[np.float64]

_N_FOLDS, _LEAST_PARTICLES = 4, 8
"""Chosen: number of parts that are left out in turn, and two particles for each."""
_SETTLED_RESOLUTIONS = 0.1
"""Chosen: rms movement of particles in the images, relative to the resolution, that affects no average."""


class RefineSeriesParams(StepParams):
    """Parameters of the refinement."""

    max_shift_angstrom: float = Field(
        12.0, gt=0, le=60, description="Largest displacement of a particle's image that is searched."
    )
    stage_angles: bool = Field(True, description="Refine tilt axis, tilt and x-tilt of every tilt.")
    magnification: bool = Field(True, description="Refine the magnification of every tilt.")
    warp_controls: int = Field(
        3, ge=0, le=8, description="Control points of the image warp along x and y. 0: no warp."
    )
    defocus: bool = Field(
        True, description="Refine the defocus of every tilt, once the geometry does not change."
    )
    max_defocus_change_angstrom: float = Field(
        1500.0, gt=0, le=10000, description="Largest change of the defocus that is searched."
    )
    amplitudes: bool = Field(
        True,
        description="Measure the amplitude and B-factor of every tilt, once the geometry does not change.",
    )
    rounds: int = Field(
        2, ge=1, le=5, description="Largest number of refinements of each group of parameters."
    )
    finest_resolution_angstrom: float | None = Field(
        None, gt=0, description="Finest resolution that is compared. Unset: that of the average."
    )


def _bytes_needed(particles: Particles, params: RefineSeriesParams) -> int:
    """Images of the largest series' particles, their products and shift scores."""
    largest = 0
    for series in particles.series:
        pixel = image_stack(series).pixel_size_angstrom
        resolution = max(2.05 * pixel, params.finest_resolution_angstrom or 6.0)
        layout = choose_boxes(
            particles.diameter_angstrom or 200.0,
            resolution,
            pixel,
            delocalisation_angstrom(series, resolution),
        )
        reach = 2 * int(2.0 * params.max_shift_angstrom / layout.pixel_size_angstrom + 3) + 1
        per_tilt = 12 * len(layout.plane.kxy) + 12 * reach**2
        largest = max(largest, particles.n_particles * len(series.included) * per_tilt)
        largest = max(largest, 0) + 12 * 12 * (2 * layout.crop_px + 5) ** 3 // 2
    return 2 * largest + (500 << 20)


FIGURES = (
    Figure(
        "held_out_gain_nats",
        "nats",
        "Gain on held-out particles",
        "Log-likelihood that particles gained by parameters fitted to other particles, summed over what is "
        "used. 0 if nothing is used.",
        good="as large as possible; 0 if the series was right already",
        column=Column("Held-out gain", digits=0),
    ),
    Figure("n_particles", "particles", "Particles", "Particles in either half that were compared."),
    Figure(
        "shift_change_angstrom",
        "angstrom",
        "Change of image shifts",
        "Root mean square over the tilts of the movement of a particle's image.",
        column=Column("Moved"),
    ),
    Figure(
        "tilt_change_deg", "deg", "Change of tilt angles", "Root mean square over the tilts.",
    ),
    Figure(
        "defocus_change_angstrom",
        "angstrom",
        "Change of the defocus",
        "Root mean square over the tilts.",
    ),
    Figure(
        "position_change_angstrom",
        "angstrom",
        "Change of positions",
        "Root mean square movement of the particles in the tomogram.",
    ),
)  # fmt: skip
RECORDS = (
    Record(
        "groups",
        "Groups of parameters that were tried, in order, and the gain on particles they were not fitted to.",
    ),
    Record("tilts", "Changes of every tilt, and the amplitude and B-factor of its signal."),
)


@step(
    "refine_series",
    version=2,
    per="particle_set",
    needs=Particles,
    gives=Particles,
    also_needs={"average_from": Shared(Average)},
    also_gives={"series": TiltSeries},
    bytes_needed=_bytes_needed,
    citations=(
        "Tegunov, D. et al. (2021) Multi-particle cryo-EM refinement with M visualizes ribosome-antibiotic "
        "complex at 3.5 A in cells. Nat. Methods 18, 186-193, doi:10.1038/s41592-020-01054-7",
        "Zivanov, J. et al. (2022) A Bayesian approach to single-particle electron cryo-tomography in "
        "RELION-4.0. eLife 11, e83724, doi:10.7554/eLife.83724",
    ),
    methods=(
        "Tilt series were refined by their particles against the average of the other half; parameters were "
        "used where left-out particles agreed better."
    ),
    figures=FIGURES,
    records=RECORDS,
)
def refine_series(
    particles: Particles, params: RefineSeriesParams, context: StepContext, *, average_from: Average
) -> Outputs:
    """Refine geometry, defocus and amplitudes of tilt series by their particles."""
    rows, average = particles.rows(), average_from
    resolution = params.finest_resolution_angstrom or average.resolution_angstrom
    reason = _why_not(rows, average, resolution)
    if reason:
        context.warn(f"Nothing is refined: {reason}")
        context.figure("held_out_gain_nats", 0.0)
        return Outputs(particles, {"series": particles.series})
    warn_of_unknown_hands(particles.series, context)
    positions = rows.positions_xyz_angstrom.copy()
    changed, made = [], []
    for series in particles.series:
        mine = np.flatnonzero((rows.tomogram == series.name) & (rows.halves > 0))
        if len(mine) < _LEAST_PARTICLES:
            context.warn(
                f"{series.name} is not refined: {len(mine)} particles are too few to leave some out; "
                f"expected at least {_LEAST_PARTICLES}"
            )
            changed.append(series)
            continue
        one = _SeriesRefinement(series, rows.take(mine), average, float(resolution or 0.0), params, context)
        one.run()
        positions[mine] = one.positions
        changed.append(one.series)
        made.append(one)
    _report(made, positions - rows.positions_xyz_angstrom, context)
    table = context.new_table("particles", replace(rows, positions_xyz_angstrom=positions).columns())
    after = replace(particles, table=table, series=tuple(changed), images=())
    return Outputs(after, {"series": after.series})


def _why_not(rows: ParticleRows, average: Average, resolution: float | None) -> str:
    """Reason why the series cannot be refined; "" if it can."""
    if average.half1 is None or average.half2 is None:
        return f"the average {average.name} has no halves; use an average from refine or reconstruct_particle"
    if resolution is None:
        note = average.resolution_note or "its halves do not agree"
        return f"the average has no resolution ({note}); refine the particles first"
    if rows.half is None or not (rows.half > 0).any():
        raise DataUnfitError(
            "the particles have no halves, so they cannot be compared with the other half's average; use "
            "the particles from refine, or import their halves"
        )
    return ""


@dataclass(frozen=True, slots=True)
class _Compared:
    """Images of all particles, and the cubes of both halves they are compared with."""

    images: ParticleImages
    cubes: tuple[torch.Tensor, torch.Tensor]
    n_used: int


class _SeriesRefinement:
    """Refines one series; `series` and `positions` are the state."""

    def __init__(
        self,
        series: TiltSeries,
        rows: ParticleRows,
        average: Average,
        resolution: float,
        params: RefineSeriesParams,
        context: StepContext,
    ) -> None:
        self.before, self.series, self.positions = series, series, rows.positions_xyz_angstrom
        self.rotations, self.half = rows.rotations, rows.halves
        self.decisions: list[Decision] = []
        self.contrast_waits = False
        self._moved_angstrom = 0.0
        self._params, self._context = params, context
        stack = image_stack(series)
        self._stack, self._resolution = stack, max(resolution, 2.05 * stack.pixel_size_angstrom)
        diameter = average.diameter_angstrom or 0.6 * average.map.shape[0] * average.voxel_size_angstrom
        apart = delocalisation_angstrom(series, self._resolution)
        self._layout = choose_boxes(diameter, self._resolution, stack.pixel_size_angstrom, apart)
        self._raw_cubes = _cubes_of(average, self._resolution, diameter, self._layout)
        self._folds = folds_of(self.half, _N_FOLDS, context.rng)
        self._own, self._other = self.half - 1, 2 - self.half

    @property
    def tilts(self) -> list[Tilt]:
        """Tilts with an image that are not excluded."""
        return usable_tilts(self.series, np.inf)

    def run(self) -> None:
        """Geometry; then defocus and amplitudes, if the average was made with this geometry.

        An average of another geometry lacks detail, which looks like a defocus and like weak tilts of low
        dose.
        """
        if not self._correlates():
            self._context.warn(
                f"{self.series.name} is not refined: its particles do not correlate with the average; "
                "average them at their present poses first, and check that density is positive (white)"
            )
            return
        rounds = self._params.rounds
        for i in range(rounds):
            accepted = self._refine_geometry()
            self._context.progress(i + 1, 2 * rounds + 1)
            if not accepted:
                break
        contrast = self._params.defocus or self._params.amplitudes
        self.contrast_waits = contrast and self._moved_angstrom > _SETTLED_RESOLUTIONS * self._resolution
        if self.contrast_waits:
            return
        for i in range(rounds if self._params.defocus else 0):
            accepted = self._refine_defocus()
            self._context.progress(rounds + i + 1, 2 * rounds + 1)
            if not accepted:
                break
        if self._params.amplitudes:
            self._measure_amplitudes()

    def _correlates(self) -> bool:
        """Whether the particles show the average at all."""
        images = extract_images(self.series, self._stack.images, self.positions, self._layout)
        n_used = images.plane.n_within(self._resolution)
        return scaled_to(images, self._raw_cubes, self._other, self.rotations, n_used)[1] > 0

    def _compared(self) -> _Compared:
        """Particles at their present positions, with the references scaled to them."""
        images = extract_images(self.series, self._stack.images, self.positions, self._layout)
        n_used = images.plane.n_within(self._resolution)
        cubes, _ = scaled_to(images, self._raw_cubes, self._other, self.rotations, n_used)
        return _Compared(images, cubes, n_used)

    def _refine_geometry(self) -> bool:
        found, reach = self._compared(), self._params.max_shift_angstrom
        scores = shift_scores(found.images, found.cubes, self._other, self.rotations, found.n_used, reach)
        poses = [tilt.pose or Pose(0.0, 0.0) for tilt in self.tilts]
        height, width = (n * self._stack.pixel_size_angstrom for n in self._stack.shape_yx)
        design = design_of(poses, self.positions, (width, height), self._params.warp_controls)
        used: tuple[Group, ...] = ()
        best = held_out_values(scores, design, used, self._folds)
        for group in self._groups():
            values = held_out_values(scores, design, (*used, group), self._folds)
            decision = decide(group, best, values)
            self.decisions.append(decision)
            if decision.accepted:
                used, best = (*used, group), values
        if not used:
            return False
        shared = solve_geometry(scores, design, used).parameters
        own = shift_scores(found.images, found.cubes, self._own, self.rotations, found.n_used, reach)
        moved = solve_geometry(own, design, (), shared).displacements_xyz_angstrom
        changes = {
            tilt.acquisition_index: {"pose": refined_pose(pose, design, parameters)}
            for tilt, pose, parameters in zip(self.tilts, poses, shared, strict=True)
        }
        self.series, self.positions = self.series.with_tilts(changes), self.positions + moved
        in_images = np.einsum("tnap,tp->nta", design.per_tilt, shared)
        in_images += np.einsum("tab,nb->nta", design.projection, moved)
        self._moved_angstrom += float(np.sqrt((in_images**2).sum(axis=-1).mean()))
        return True

    def _groups(self) -> list[Group]:
        groups: list[Group] = ["image shifts"]
        groups += ["stage angles"] if self._params.stage_angles else []
        groups += ["magnification"] if self._params.magnification else []
        return groups + (["image warp"] if self._params.warp_controls else [])

    def _refine_defocus(self) -> bool:
        """Defocus: the images are cut again with the CTF of every change that is tried."""
        offsets = defocus_offsets(
            self.series.microscope.wavelength_angstrom,
            self._resolution,
            self._params.max_defocus_change_angstrom,
        )
        cubes = self._compared().cubes
        values = []
        for offset in offsets:
            shifted = _defocused(self.series, {t.acquisition_index: float(offset) for t in self.tilts})
            images = extract_images(shifted, self._stack.images, self.positions, self._layout)
            n_used = images.plane.n_within(self._resolution)
            terms = shell_terms(images, cubes, self._other, self.rotations, n_used)
            values.append((terms[..., 0] - 0.5 * terms[..., 1]).sum(axis=2))
        sampled = np.array(values)

        chosen: DefocusModel = "none"
        best = sampled[len(offsets) // 2].sum(axis=1)
        tried_models: tuple[DefocusModel, ...] = ("series", "tilt")
        for model in tried_models:
            after = fitted_to_others(
                self._folds,
                partial(_fitted_defocus, sampled, offsets, model),
                partial(_values_at_defocus, sampled, offsets),
            )
            named = "defocus of the series" if model == "series" else "defocus of each tilt"
            decision = decide(named, best, after)
            self.decisions.append(decision)
            if decision.accepted:
                chosen, best = model, after
        if chosen == "none":
            return False
        changes = _fitted_defocus(sampled, offsets, chosen, np.arange(len(self.positions)))
        self.series = _defocused(
            self.series, {t.acquisition_index: float(c) for t, c in zip(self.tilts, changes, strict=True)}
        )
        return True

    def _measure_amplitudes(self) -> None:
        found = self._compared()
        terms = shell_terms(found.images, found.cubes, self._other, self.rotations, found.n_used)
        squared = (np.arange(terms.shape[2]) / found.images.plane.box_angstrom) ** 2

        chosen: EnvelopeModel = "none"
        best = (terms[..., 0] - 0.5 * terms[..., 1]).sum(axis=(1, 2))
        tried_models: tuple[EnvelopeModel, ...] = ("amplitude", "amplitude and B-factor")
        for model in tried_models:
            after = fitted_to_others(
                self._folds,
                partial(_fitted_envelopes, terms, squared, model),
                partial(_values_with_envelopes, terms, squared),
            )
            decision = decide(f"{model} of each tilt", best, after)
            self.decisions.append(decision)
            if decision.accepted:
                chosen, best = model, after
        if chosen == "none":
            return
        amplitude, b_factor = _fitted_envelopes(terms, squared, chosen, np.arange(len(self.positions)))
        changes = {}
        for tilt, a, b in zip(self.tilts, amplitude, b_factor, strict=True):
            if tilt.ctf is None:
                continue
            ctf = replace(
                tilt.ctf,
                amplitude=tilt.ctf.amplitude * float(a),
                b_factor_angstrom2=tilt.ctf.b_factor_angstrom2 + float(b),
            )
            changes[tilt.acquisition_index] = {"ctf": ctf}
        self.series = self.series.with_tilts(changes)

    def rows(self) -> list[dict[str, Any]]:
        """Changes of every tilt."""
        old = {tilt.acquisition_index: tilt for tilt in self.before.tilts}
        return [self._row(old[tilt.acquisition_index], tilt) for tilt in self.tilts]

    def _row(self, old: Tilt, new: Tilt) -> dict[str, Any]:
        if old.pose is None or new.pose is None or old.ctf is None or new.ctf is None:
            raise DataUnfitError(f"tilt {new.acquisition_index} has no pose or no CTF")
        moved = np.array(new.pose.shift_xy_angstrom) - np.array(old.pose.shift_xy_angstrom)
        warp = 0.0 if new.pose.warp is None else float(np.abs(new.pose.warp.controls).max())
        return {
            "series": self.series.name,
            "tilt": new.acquisition_index,
            "tilt_deg": round(new.pose.tilt_deg, 3),
            "shift_x_change_angstrom": round(float(moved[0]), 2),
            "shift_y_change_angstrom": round(float(moved[1]), 2),
            "tilt_change_deg": round(new.pose.tilt_deg - old.pose.tilt_deg, 3),
            "axis_change_deg": round(new.pose.axis_deg - old.pose.axis_deg, 3),
            "magnification_change_percent": round(
                100.0 * (new.pose.magnification / old.pose.magnification - 1.0), 3
            ),
            "largest_warp_angstrom": round(warp, 2),
            "defocus_change_angstrom": round(new.ctf.defocus_angstrom - old.ctf.defocus_angstrom, 1),
            "amplitude": round(new.ctf.amplitude, 3),
            "b_factor_angstrom2": round(new.ctf.b_factor_angstrom2, 1),
        }


def _fitted_defocus(
    sampled: Array, offsets: Array, model: DefocusModel, particles: NDArray[np.int64]
) -> Array:
    """Changes of the tilts' defocus, fitted to some of the particles."""
    return defocus_changes(sampled[:, particles].sum(axis=1), offsets, model)


def _values_at_defocus(sampled: Array, offsets: Array, particles: NDArray[np.int64], changes: Array) -> Array:
    return values_at_defocus(sampled[:, particles], offsets, changes)


def _fitted_envelopes(
    terms: Array, squared: Array, model: EnvelopeModel, particles: NDArray[np.int64]
) -> Array:
    """Amplitudes and B-factors of the tilts, fitted to some of the particles, ``(2, tilt)``."""
    return np.array(envelopes(terms[particles].sum(axis=0), squared, model))


def _values_with_envelopes(terms: Array, squared: Array, particles: NDArray[np.int64], found: Array) -> Array:
    return envelope_values(terms[particles], squared, found[0], found[1])


def _cubes_of(
    average: Average, resolution: float, diameter: float, layout: BoxLayout
) -> tuple[torch.Tensor, torch.Tensor]:
    """References of both halves."""
    if average.half1 is None or average.half2 is None:
        raise DataUnfitError(f"the average {average.name} has no halves")
    halves = [torch.tensor(np.asarray(half[...], np.float32)) for half in (average.half1, average.half2)]
    n, voxel = halves[0].shape[0], average.voxel_size_angstrom
    if {tuple(half.shape) for half in halves} != {(n, n, n)} or not all(
        bool(torch.isfinite(half).all()) for half in halves
    ):
        raise DataUnfitError(
            f"the halves of {average.name} have the shapes {[tuple(half.shape) for half in halves]}; "
            "expected two cubes of one size with finite values"
        )
    mask = (
        particle_mask(n, voxel, diameter)
        if average.mask is None
        else torch.tensor(np.asarray(average.mask[...], np.float32))
    )
    curves = {curve.name: np.array(curve.correlation) for curve in average.curves}
    correlation = next((curves[name] for name in ("corrected", "masked") if name in curves), None)
    if correlation is None:
        correlation = np.ones(n // 2)
    return reference_cubes((halves[0], halves[1]), mask, correlation, voxel, resolution, layout)


def _defocused(series: TiltSeries, changes_angstrom: dict[int, float]) -> TiltSeries:
    """A series whose tilts, by acquisition index, have another defocus."""
    changed = {}
    for tilt in series.tilts:
        if tilt.acquisition_index in changes_angstrom and tilt.ctf is not None:
            change = changes_angstrom[tilt.acquisition_index]
            ctf = replace(
                tilt.ctf,
                defocus_u_angstrom=tilt.ctf.defocus_u_angstrom + change,
                defocus_v_angstrom=tilt.ctf.defocus_v_angstrom + change,
            )
            changed[tilt.acquisition_index] = {"ctf": ctf}
    return series.with_tilts(changed)


def _report(made: Sequence[_SeriesRefinement], moved: Array, context: StepContext) -> None:
    """Figures and records of the series that were compared."""
    decisions = [(one.series.name, decision) for one in made for decision in one.decisions]
    rows = [row for one in made for row in one.rows()]
    gain = sum(decision.gain_nats for _, decision in decisions if decision.accepted)
    context.figure("held_out_gain_nats", float(gain))
    context.figure("n_particles", sum(len(one.positions) for one in made))
    waiting = [one.series.name for one in made if one.contrast_waits]
    if waiting:
        context.warn(
            f"Defocus and amplitudes of {', '.join(waiting)} are not refined yet, because the geometry "
            "changed: average the particles again, and refine the series once more with that average"
        )
    context.record("groups", [{"series": name, **decision.row()} for name, decision in decisions])
    context.record("tilts", rows)
    if not rows:
        return
    squares = {
        name: np.mean([row[key] ** 2 for row in rows])
        for name, key in (
            ("x", "shift_x_change_angstrom"),
            ("y", "shift_y_change_angstrom"),
            ("tilt", "tilt_change_deg"),
            ("defocus", "defocus_change_angstrom"),
        )
    }
    context.figure("shift_change_angstrom", float(np.sqrt(squares["x"] + squares["y"])))
    context.figure("tilt_change_deg", float(np.sqrt(squares["tilt"])))
    context.figure("defocus_change_angstrom", float(np.sqrt(squares["defocus"])))
    context.figure("position_change_angstrom", float(np.sqrt((moved**2).sum(axis=1).mean())))
    if not any(decision.accepted for _, decision in decisions):
        context.warn(
            "Nothing was changed: no group of parameters improved the agreement of left-out particles"
        )
