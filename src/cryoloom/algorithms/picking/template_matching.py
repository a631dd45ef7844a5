"""Particles of a tomogram by a template: candidates, rotations, decoys, and a false discovery rate.

Candidates come from the radial profile, the search at each of them is one matrix product, and the same is
done with decoys of equal power; candidates that the template wins clearly are particles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.picking.candidates import (
    Candidates,
    correlate_volume,
    find_candidates,
    keep_apart,
    most_candidates,
    radial_power,
)
from cryoloom.algorithms.picking.decoys import decoys_of, further_decoys
from cryoloom.algorithms.picking.false_discovery import Competition, compete, confirm
from cryoloom.algorithms.picking.matched_filter import MatchedFilter
from cryoloom.algorithms.picking.pose_search import (
    SHIFTS_VOXELS,
    PoseSearch,
    SearchResult,
    Windows,
    cut_windows,
    plan_pose_search,
    shift_steps,
    spline_coefficients,
)
from cryoloom.algorithms.picking.template_energy import RotationSet
from cryoloom.algorithms.picking.templates import Template
from cryoloom.geometry.frames import position_from_index
from cryoloom.geometry.orientation_grid import rotation_grid, rotations_near

__all__ = ["Matches", "match_template"]

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]

_LEAST_SIGNIFICANCE = 5.0
"""Chosen: deviations of a maximum to be searched finely; the decoys decide afterwards."""
_CANDIDATES_FOR_HAND = 60  # chosen: the clearest picks, for the evidence of the hand
_MOST_CONFIRMED = 60
"""Chosen: places at which further decoys compete: all of them, or the clearest that the template has won."""
_FURTHER_DECOYS = 20
"""One other protein is taken for the particle in one scene of 24."""
_DOUBTFUL = 0.1
"""Chosen: part of the clearest places that further decoys win, above which no other place is picked."""
_TILT_GROUPS = 10
"""Chosen: groups of tilts; each place is visible in some of the tilts of a group."""
_LEAST_SHOWN = 0.1
"""Chosen, of the information at the centre: places hidden by gold in nearly all tilts are left out."""
_DISC_OF_BALL = math.sqrt(4 / 5)
"""Radius of an even disc over that of a ball whose projection is as wide, rms."""
_WINDOW_BYTES = 300_000_000
"""Chosen: windows held at a time, before voxels outside the template are removed."""
_FINER = 2.0
"""Chosen: steps of the last search are this much finer."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Every candidate, ``(n,)``; those that the template won at the false discovery rate are `picked`."""

    positions_xyz_angstrom: Array
    rotations: Array
    competition: Competition
    evidence: Array
    """Evidence for the template and each decoy, ``(1 + n_decoys, n)``, in nats."""
    radial_significance: Array
    """Significance of the radial part, in sd of noise."""
    significance: Array
    """Significance of the part that depends on direction, in sd of noise."""
    amplitude: Array
    """Amplitude of the candidate over that of the template, in the template's unit."""
    picked: NDArray[np.bool_]
    hand_evidence: float
    """Evidence of the template less that of its mirror image, over the best picks, in nats."""
    noise: float
    """Standard deviation of the radial correlation between candidates; 1 if images contain only noise."""


def match_template(
    matched: MatchedFilter,
    template: Template,
    operators: Array,
    rng: np.random.Generator,
    *,
    angular_step_deg: float,
    apart_angstrom: float,
    false_discovery_rate: float,
    n_decoys: int = 3,
    margin_angstrom: float = 0.0,
    progress: Progress = lambda done, total: None,
) -> Matches:
    """Find particles and their rotations in a matched-filter tomogram.

    operators : symmetry of the template, ``(m, 3, 3)``. apart_angstrom : least distance of two particles.
    Rotations are from the template to the tomogram.
    """
    total = n_decoys + 5
    voxel = matched.voxel_size_angstrom
    radial, reference, decoys = decoys_of(template, n_decoys, rng)
    progress(1, total)
    profile = radial.rotated(np.eye(3)[None])[0]
    power = radial_power(profile, matched.filters[0].frequency_per_voxel)
    energy = matched.energy(power)
    found = find_candidates(
        correlate_volume(matched.volume, profile).cpu().numpy(),
        energy,
        apart_voxels=apart_angstrom / voxel,
        margin_voxels=template.box // 2 + math.ceil(margin_angstrom / voxel),
        least_significance=_LEAST_SIGNIFICANCE,
        most=most_candidates(tuple(matched.volume.shape), voxel, 2 * template.radius_angstrom),
    )
    progress(2, total)
    if not len(found.significance):
        return _none(n_decoys, found.noise)
    groups = matched.tilt_groups(_TILT_GROUPS)
    search = plan_pose_search(radial, np.stack([matched.point_spread(template.box, g) for g in groups]))
    places = position_from_index(found.index_zyx, tuple(matched.volume.shape), voxel)
    seen_radius = _DISC_OF_BALL * (template.radius_angstrom - voxel)
    energies = matched.tilt_energies(places, power, seen_radius)
    central = matched.tilt_energies(np.zeros((1, 3)), power, None)
    enough = energies.sum(axis=0) > _LEAST_SHOWN * central.sum()
    if not enough.any():
        return _none(n_decoys, found.noise)
    found = Candidates(found.index_zyx[enough], found.significance[enough], found.noise)
    shown = np.stack([energies[g][:, enough].sum(axis=0) / central[g].sum() for g in groups], axis=-1)
    windows = _WindowMaker(found.index_zyx, shown, search, spline_coefficients(matched.volume))
    rotations = RotationSet.of(rotation_grid(angular_step_deg, operators))
    results = []
    for i, one in enumerate((reference, *decoys)):
        results.append(_searched(search, windows, one, rotations))
        progress(3 + i, total)
    evidence = np.stack([result.evidence for result in results])
    competition = _confirmed(
        compete(evidence),
        evidence,
        search,
        windows,
        further_decoys(template, _FURTHER_DECOYS, rng),
        rotations,
    )
    progress(3 + len(results), total)
    picked = _picked(found, competition, false_discovery_rate, apart_angstrom / voxel)
    turned, shifts, significance = _refined(
        search, windows, reference, rotations, results[0], picked, angular_step_deg
    )
    hand = _hand(search, windows, reference, rotations, evidence[0], competition, picked)
    progress(total, total)
    return Matches(
        positions_xyz_angstrom=position_from_index(
            found.index_zyx + shifts, tuple(matched.volume.shape), voxel
        ),
        rotations=turned,
        competition=competition,
        evidence=evidence,
        radial_significance=found.significance,
        significance=significance,
        amplitude=results[0].amplitude,
        picked=picked,
        hand_evidence=hand,
        noise=found.noise,
    )


@dataclass(frozen=True, slots=True)
class _WindowMaker:
    """Windows of some candidates at a time, so that many candidates do not need much memory."""

    index_zyx: Array
    shown: Array
    search: PoseSearch
    coefficients: torch.Tensor

    def of(self, index: NDArray[np.int64]) -> Windows:
        """Windows of the candidates of an index."""
        return cut_windows(self.index_zyx[index], self.shown[index], self.search, self.coefficients)

    def take(self, index: NDArray[np.int64]) -> _WindowMaker:
        """The maker of some candidates."""
        return replace(self, index_zyx=self.index_zyx[index], shown=self.shown[index])

    def parts(self, index: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """An index in parts whose windows fit in `_WINDOW_BYTES`."""
        one = 4 * len(SHIFTS_VOXELS) ** 3 * self.search.radial.numel()
        return np.array_split(index, math.ceil(len(index) * one / _WINDOW_BYTES)) if len(index) else []


@dataclass(frozen=True, slots=True)
class _Searched:
    """`SearchResult` and amplitude of all candidates, ``(n,)``."""

    evidence: Array
    rotation: NDArray[np.int64]
    shift: NDArray[np.int64]
    significance: Array
    amplitude: Array


def _searched(
    search: PoseSearch, windows: _WindowMaker, template: Template, rotations: RotationSet
) -> _Searched:
    """Search all candidates, part by part."""
    found: list[tuple[SearchResult, Array]] = []
    for part in windows.parts(np.arange(len(windows.index_zyx))):
        own = windows.of(part)
        found.append((search.search(own, template, rotations), own.amplitude.double().numpy()))
    return _Searched(
        np.concatenate([result.evidence for result, _ in found]),
        np.concatenate([result.rotation for result, _ in found]),
        np.concatenate([result.shift for result, _ in found]),
        np.concatenate([result.significance for result, _ in found]),
        np.concatenate([amplitude for _, amplitude in found]),
    )


def _confirmed(
    competition: Competition,
    evidence: Array,
    search: PoseSearch,
    windows: _WindowMaker,
    decoys: tuple[Template, ...],
    rotations: RotationSet,
) -> Competition:
    """The competition with the rates that further decoys leave."""
    n = evidence.shape[1]
    everywhere = n <= _MOST_CONFIRMED
    if everywhere:
        index = np.arange(n)
    else:
        index = np.flatnonzero(competition.is_target)
        index = index[np.argsort(-competition.margin[index], kind="stable")][:_MOST_CONFIRMED]
    if not len(index):
        return competition
    own = windows.take(index)
    further = np.stack([_searched(search, own, decoy, rotations).evidence for decoy in decoys])
    again = confirm(evidence[:, index], further, all_places=everywhere)
    lost = ~again.is_target
    if everywhere or lost.mean() > _DOUBTFUL:
        q_value = np.ones(n)
    else:
        q_value = competition.q_value.copy()
    q_value[index] = again.q_value
    return replace(competition, q_value=q_value)


def _picked(
    found: Candidates, competition: Competition, false_discovery_rate: float, apart_voxels: float
) -> NDArray[np.bool_]:
    """Candidates below the rate, the best first, without those too close to a better one."""
    passed = np.flatnonzero(competition.q_value <= false_discovery_rate)
    passed = passed[np.argsort(-competition.margin[passed], kind="stable")]
    picked = np.zeros(len(found.significance), dtype=bool)
    picked[passed[keep_apart(found.index_zyx[passed], apart_voxels)]] = True
    return picked


def _refined(
    search: PoseSearch,
    windows: _WindowMaker,
    reference: Template,
    rotations: RotationSet,
    result: _Searched,
    picked: NDArray[np.bool_],
    step_deg: float,
) -> tuple[Array, Array, Array]:
    """Rotation, shift and significance of every candidate; those picked searched again in finer steps."""
    turned = rotations.matrices[result.rotation]
    shifts = shift_steps()[result.shift]
    significance = result.significance.copy()
    about = rotations_near(step_deg / _FINER, step_deg)
    for part in windows.parts(np.flatnonzero(picked)):
        own = about[None] @ turned[part][:, None]
        turned[part], shifts[part], significance[part] = search.refine(windows.of(part), reference, own)
    return turned, shifts, significance


def _hand(
    search: PoseSearch,
    windows: _WindowMaker,
    reference: Template,
    rotations: RotationSet,
    evidence: Array,
    competition: Competition,
    picked: NDArray[np.bool_],
) -> float:
    """Evidence for the template's own hand, from the clearest picks."""
    index = np.flatnonzero(picked)
    index = index[np.argsort(-competition.margin[index], kind="stable")][:_CANDIDATES_FOR_HAND]
    if not len(index):
        return 0.0
    # A mirrored template has the mirrored symmetry; mirrored rotations are its asymmetric unit.
    mirror = np.diag([1.0, 1.0, -1.0])
    mirrored = mirror @ rotations.matrices @ mirror
    other = search.search(windows.of(index), reference.mirrored(), RotationSet.of(mirrored))
    return float((evidence[index] - other.evidence).sum())


def _none(n_decoys: int, noise: float) -> Matches:
    empty = np.zeros(0)
    return Matches(
        np.zeros((0, 3)),
        np.zeros((0, 3, 3)),
        Competition(empty, empty.astype(bool), empty),
        np.zeros((1 + n_decoys, 0)),
        empty,
        empty,
        empty,
        empty.astype(bool),
        0.0,
        noise,
    )
