"""Pick round, dense objects of a given diameter, if nothing else is known about the particle.

The images are whitened, multiplied by their CTF at every voxel's depth and back-projected as in
`pick_by_template`; the template is a ball. Noise is positive as often as negative, so the maxima of opposite
sign estimate the false picks. Their number above a threshold, or that of an exponential tail through them if
it is larger, gives the false discovery rate, which sets the threshold; maxima in the bright rim of a denser
object are not counted. Objects with a much larger mass than
most picks (gold, ice crystals) are left out. Picks have no rotation: `initial_model` finds it, and a template
made from that model picks more accurately. This step cannot distinguish the particle from other objects of
the same size or from pieces of a membrane, which `clean_particles` removes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from cryoloom.algorithms.picking.candidates import (
    Candidates,
    correlate_volume,
    find_candidates,
    most_candidates,
    radial_power,
    typical_density,
)
from cryoloom.algorithms.picking.cleaning import distance_to
from cryoloom.algorithms.picking.matched_filter import MatchedFilter
from cryoloom.algorithms.picking.matched_series import (
    Gold,
    find_gold,
    matched_filter_bytes,
    matched_filter_of,
    search_grid,
)
from cryoloom.algorithms.picking.templates import ball_density, template_of_density
from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.geometry.frames import position_from_index
from cryoloom.model import ParticleRows, Particles, Tomogram
from cryoloom.procedures.placed_particles import particles_in

__all__ = ["PickBlobsParams", "pick_blobs"]

Array = NDArray[np.float64]

_USUAL_VOXEL_ANGSTROM = 10.0
_VOXELS_ACROSS = 20
"""Chosen: voxels of 10 A, or a twentieth of the diameter; finer detail does not distinguish balls."""
_LEAST_SIGNIFICANCE = 4.0
"""Chosen: below it chance alone has maxima by the thousand; how many of the rest are chance is counted."""
_LEAST_TAIL = 0.5
"""Chosen: twice the decay of Gaussian noise at four deviations, 1/4: noise of a tomogram is less regular."""
_CLEAR_SIGNIFICANCE = 6.0
"""Chosen: noise of a whole tomogram does not reach it."""
_LOBE_DIAMETERS = 1.6
"""Chosen: extent of the bright rim that a high-passed image has around a dense object."""


class PickBlobsParams(StepParams):
    """Parameters of picking by size."""

    diameter_angstrom: float = Field(gt=0, description="Diameter of the particles.")
    voxel_size_angstrom: float | None = Field(
        None, gt=0, description="Voxel size of the search. Unset: 10 A, or more for particles above 200 A."
    )
    false_discovery_rate: float = Field(0.05, gt=0, le=1, description="Allowed fraction of false picks.")
    min_distance_angstrom: float | None = Field(
        None, ge=0, description="Smallest distance between two particles. Unset: 0.8 of the diameter."
    )
    max_density: float = Field(
        2.0,
        gt=1,
        description="Leave out picks whose mass is this many times that of most picks.",
    )
    max_particles: int | None = Field(
        None,
        ge=1,
        description="Largest number of particles per tomogram; the most significant are kept. Unset: no "
        "limit.",
    )
    fill_beads: bool = Field(True, description="Find gold beads and fill them with their surroundings.")
    edge_angstrom: float = Field(
        0.0, ge=0, description="Distance from the faces of the tomogram in which nothing is picked."
    )
    species: str = Field("blob", description="Name of the picked particle.")


def _bytes_needed(tomogram: Tomogram, params: PickBlobsParams) -> int:
    voxel = params.voxel_size_angstrom or max(
        _USUAL_VOXEL_ANGSTROM, params.diameter_angstrom / _VOXELS_ACROSS
    )
    return 500_000_000 + matched_filter_bytes(
        tomogram, max(voxel, tomogram.series.unweighted_stack.pixel_size_angstrom)
    )


@step(
    "pick_blobs",
    version=3,
    per="tomogram",
    needs=Tomogram,
    gives=Particles,
    bytes_needed=_bytes_needed,
    methods=(
        "Particles of {diameter_angstrom:.0f} Å were picked by their size alone "
        "({total_n_particles:.0f} particles)."
    ),
    figures=(
        Figure(
            "n_particles",
            "particles",
            "Particles picked",
            "Round, dense objects of the given size, at the given false discovery rate.",
            column=Column("Picks", digits=0),
        ),
        Figure("n_candidates", "places", "Candidates", "Maxima of the correlation with a ball."),
        Figure(
            "least_significance",
            "",
            "Significance of the weakest pick",
            "Correlation with a ball at the weakest pick, in standard deviations of noise.",
            good="above 5",
        ),
        Figure(
            "noise_deviation",
            "",
            "Deviation of the correlation",
            "Standard deviation of the correlation outside particles, divided by that of the images' noise.",
            good="near 1; above 2 the specimen is crowded",
        ),
        Figure("n_too_dense", "particles", "Too dense", "Objects left out because they are much denser."),
    ),
    records=(
        Record("picks", "Position in angstrom from the tomogram's centre and significance of every pick."),
    ),
)
def pick_blobs(tomogram: Tomogram, params: PickBlobsParams, context: StepContext) -> Particles:
    """Pick round, dense objects of a diameter; maxima of opposite sign give the false discovery rate."""
    diameter = params.diameter_angstrom
    usual = max(_USUAL_VOXEL_ANGSTROM, diameter / _VOXELS_ACROSS)
    grid = search_grid(tomogram, params.voxel_size_angstrom, diameter, usual)
    voxel = grid.voxel_size_angstrom
    gold = find_gold(tomogram.series, context.device) if params.fill_beads else None
    total = len(grid.tilts) + 2
    matched = matched_filter_of(
        tomogram,
        grid,
        diameter,
        gold,
        context.rng,
        device=context.device,
        progress=lambda done, _: context.progress(done, total),
    )
    ball = template_of_density(
        ball_density(diameter, voxel / 4),
        voxel / 4,
        voxel_size_angstrom=voxel,
        radius_angstrom=0.5 * diameter + voxel,
    )
    profile = ball.rotated(np.eye(3)[None])[0]
    energy = matched.energy(radial_power(profile, matched.filters[0].frequency_per_voxel))
    correlation = correlate_volume(matched.volume, profile).cpu().numpy()
    apart = 0.8 * diameter if params.min_distance_angstrom is None else params.min_distance_angstrom

    def maxima(sign: int) -> Candidates:
        return find_candidates(
            sign * correlation,
            energy,
            apart_voxels=apart / voxel,
            margin_voxels=ball.box // 2 + int(params.edge_angstrom / voxel),
            least_significance=_LEAST_SIGNIFICANCE,
            most=most_candidates(tuple(matched.volume.shape), voxel, diameter),
        )

    found, opposite = (_away_from(gold, maxima(sign), matched) for sign in (1, -1))
    context.progress(total - 1, total)
    q_value = _q_values(found.significance, _not_beside(opposite, found, _LOBE_DIAMETERS * diameter / voxel))
    nearest = tuple(np.rint(found.index_zyx).astype(int).T)
    amplitude = found.significance / np.sqrt(np.maximum(energy[nearest].astype(np.float64), 1e-12))
    passed = q_value <= params.false_discovery_rate
    dense = (
        passed & (amplitude > params.max_density * typical_density(amplitude[passed]))
        if passed.any()
        else passed
    )
    index = np.flatnonzero(passed & ~dense)[: params.max_particles]
    positions = position_from_index(found.index_zyx[index], tuple(matched.volume.shape), voxel)
    context.figure("n_particles", len(index))
    context.figure("n_candidates", len(found.significance))
    context.figure(
        "least_significance",
        float(found.significance[index].min()) if len(index) else None,
        reason="nothing was picked",
    )
    context.figure("noise_deviation", found.noise)
    context.figure("n_too_dense", int(dense.sum()))
    context.record(
        "picks",
        {
            "xyz_angstrom": positions.round(1).tolist(),
            "significance": found.significance[index].round(2).tolist(),
        },
    )
    if not len(index):
        context.warn(_why_nothing(found, q_value))
    rows = replace(
        ParticleRows.of(tomogram.name, positions, score=found.significance[index]),
        others={"q_value": q_value[index], "amplitude": amplitude[index]},
    )
    context.progress(total, total)
    return particles_in(
        tomogram,
        rows,
        context,
        species=params.species,
        diameter_angstrom=diameter,
    )


def _away_from(gold: Gold | None, found: Candidates, matched: MatchedFilter) -> Candidates:
    """Positions outside the filled beads."""
    if gold is None:
        return found
    shape = tuple(matched.volume.shape)
    places = position_from_index(found.index_zyx, shape, matched.voxel_size_angstrom)
    away = distance_to(places, gold.positions_xyz_angstrom) > gold.diameter_angstrom
    return replace(found, index_zyx=found.index_zyx[away], significance=found.significance[away])


def _not_beside(opposite: Candidates, found: Candidates, reach_voxels: float) -> Array:
    """Significance of maxima of the other sign that are not side lobes of a stronger maximum nearby."""
    near = (
        cKDTree(found.index_zyx).query_ball_point(opposite.index_zyx, reach_voxels)
        if len(found.significance)
        else [[] for _ in opposite.significance]
    )
    alone = [
        not any(found.significance[j] > height for j in neighbours)
        for height, neighbours in zip(opposite.significance, near, strict=True)
    ]
    return opposite.significance[np.array(alone, dtype=bool)]


def _why_nothing(found: Candidates, q_value: Array) -> str:
    """Message if nothing was picked."""
    n_clear = int((found.significance > _CLEAR_SIGNIFICANCE).sum())
    if n_clear and q_value.min() < 1:
        return (
            f"{n_clear} objects of this diameter stand out, but so do bright places: "
            f"{100 * q_value.min():.1f} % of the clearest may be false. Look at them in the tomogram; set "
            "false_discovery_rate higher to take them"
        )
    return "no object of this diameter exceeds the noise; try another diameter"


def _q_values(heights: Array, opposite: Array) -> Array:
    """False discovery rate at each height ``(n,)``.

    Expected maxima above it by chance, over all maxima above it. The number by chance is that of the maxima
    of the other sign, and at least an exponential tail through these maxima and one more at its foot. Beyond
    the highest of them the count alone says nothing: it would allow one in twenty objects to be false, but
    not a single object however clear.
    """
    n_chance = len(opposite) + 1
    scale = max(float((opposite - _LEAST_SIGNIFICANCE).sum()) / n_chance, _LEAST_TAIL)
    counted = (opposite[None] >= heights[:, None]).sum(axis=1)
    tail = n_chance * np.exp(-(heights - _LEAST_SIGNIFICANCE) / scale)
    found = (heights[None] >= heights[:, None]).sum(axis=1)
    rate = np.maximum(counted, tail) / np.maximum(found, 1)
    order = np.argsort(-heights, kind="stable")
    smallest = np.minimum.accumulate(rate[order][::-1])[::-1]
    q_value = np.ones(len(heights))
    q_value[order] = np.minimum(smallest, 1.0)
    return q_value
