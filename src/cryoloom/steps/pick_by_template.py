"""Find particles by a template: a map, an atomic model, or an average; decoys estimate the false picks.

The search uses the tilt images, not the tomogram: each image is whitened, multiplied by its CTF at every
voxel's depth and by the dose weight, and back-projected without a ramp. The correlation of this
matched-filter tomogram with a density is the cross term of the log-likelihood of all tilts, so templates need
no missing wedge, and scores are in standard deviations of noise. Candidates are maxima of the correlation
with the template's radial profile. At each candidate, the part of the template that depends on direction is
compared at all rotations, after removal of what an unknown profile or a small shift could explain. Gold is
masked in every image, and each candidate is compared in the tilts in which it is visible.

Decoys are treated the same way: templates with mixed spherical-harmonic degrees, of the same power in every
shell and degree. Where there is no particle, the template is better than K decoys once in K + 1; so the
number of candidates that decoys win gives the number of false picks (Barber & Candes 2015; Gimenez & Zou
2019), and picks are cut at the requested false discovery rate. A tomogram without the particle gives no
picks. Another protein does not behave like noise: the same template fits it best everywhere. So up to 60
candidates (all, or the clearest that the template won) are searched with 20 further decoys. Two thirds of
these are random lumps or sheets with the template's power spectrum; candidates that they win are not picked.
If all candidates are searched again, one particle in a tomogram is enough for a rate of 0.05; otherwise four
of the clearest must win. In addition, the template must be 20 times likelier (3 nats) than every decoy.

If a symmetry is given, the template's axes are measured. Where they are not the standard ones of the group,
or do not pass through the centre, the template is turned and moved, and positions and rotations refer to the
new map. A template without the symmetry is refused.

The template's hand is checked: the mirrored template must fit the picks less well. Density is bright in maps
and dark in tomograms; a dark map is inverted.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.picking.matched_series import (
    find_gold,
    matched_filter_bytes,
    matched_filter_of,
    search_grid,
)
from cryoloom.algorithms.picking.template_matching import Matches, match_template
from cryoloom.algorithms.picking.templates import density_of_points, template_of_density
from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import UserInputError
from cryoloom.formats.exchange.atomic_model import ATOMIC_MODEL_SUFFIXES, read_atoms
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import Average, ParticleRows, Particles, Tomogram
from cryoloom.procedures.placed_particles import particles_in
from cryoloom.procedures.standard_axes import standard_map

__all__ = ["PickByTemplateParams", "pick_by_template"]

_USUAL_VOXEL_ANGSTROM = 10.0
_VOXELS_ACROSS = 40
"""Chosen: voxels of 10 A, or a fortieth of the diameter; finer detail needs finer rotations."""
_ROTATIONS = 4500
_FINEST_STEP_DEG = 7.5
"""Chosen: rotations that the search makes at most, and the finest step; refinement begins there."""
_HAND_NATS = 20.0
"""Chosen: evidence for the other hand above which the user is warned; less may be chance."""
_BESIDES_BYTES = 500_000_000
"""Chosen: torch's code and pools, as in other steps (`benchmarks/declared_memory.py`)."""
_BEYOND_BOX = 1.05
"""Chosen: a diameter up to 5 % beyond the box is rounding."""


class PickByTemplateParams(StepParams):
    """Parameters of the template search."""

    template: Path | None = Field(
        None, description="A map (.mrc, .map) or an atomic model (PDB or mmCIF) of the particle."
    )
    diameter_angstrom: float | None = Field(
        None,
        gt=0,
        description="Diameter of the particle; density outside is ignored. Unset: that of an atomic model.",
    )
    symmetry: str = Field(
        "C1",
        description="Point group of the template: C1, C6, D2, T, O, I. A template with other axes than "
        "RELION's is turned to them.",
    )
    template_voxel_angstrom: float | None = Field(
        None, gt=0, description="Voxel size of the map. Unset: from its header."
    )
    contrast: Literal["auto", "light", "dark"] = Field(
        "auto", description="Contrast of the particle in the map: bright or dark."
    )
    species: str = Field("", description="Name of the picked particle. Unset: the template's file name.")
    voxel_size_angstrom: float | None = Field(
        None,
        gt=0,
        description="Voxel size of the search, which uses detail down to 2.2 voxels. Unset: 10 A, or more "
        "for particles above 400 A.",
    )
    angular_step_deg: float | None = Field(
        None, ge=2, le=30, description="Step between rotations. Unset: 7.5 to 15 degrees, by symmetry."
    )
    false_discovery_rate: float = Field(0.05, gt=0, le=1, description="Allowed fraction of false picks.")
    fill_beads: bool = Field(True, description="Find gold beads and fill them with their surroundings.")
    decoys: int = Field(3, ge=1, le=20, description="Number of decoys that compete with the template.")
    min_distance_angstrom: float | None = Field(
        None, ge=0, description="Smallest distance between two particles. Unset: 0.8 of the diameter."
    )
    max_particles: int | None = Field(
        None,
        ge=1,
        description="Largest number of particles per tomogram; the best are kept. Unset: no limit.",
    )
    edge_angstrom: float = Field(
        0.0, ge=0, description="Distance from the faces of the tomogram in which nothing is picked."
    )


FIGURES = (
    Figure(
        "n_particles",
        "particles",
        "Particles picked",
        "Places where the template is better than its decoys, at the requested false discovery rate.",
        good="as many as are visible by eye",
        column=Column("Picks", digits=0),
    ),
    Figure(
        "n_candidates",
        "places",
        "Candidates",
        "Places of about the particle's size and density that were compared with the template.",
    ),
    Figure(
        "decoy_wins_percent",
        "percent",
        "Candidates that a decoy won",
        "Fraction of all candidates at which a decoy fits better than the template. For candidates that are "
        "not "
        "particles it is K / (K + 1) with K decoys, 75 percent with three.",
        good="small where most candidates are particles",
    ),
    Figure(
        "orientation_significance",
        "",
        "Significance of orientations, median",
        "Correlation with the direction-dependent part of the template at its best rotation, in standard "
        "deviations of noise, median over the picks. Noise alone gives 4 to 5.",
        good="above 7",
    ),
    Figure(
        "amplitude_spread_percent",
        "percent",
        "Spread of the particles' density",
        "Robust standard deviation of the picks' density, divided by its median. It is small for particles "
        "of one kind.",
        good="below 25",
    ),
    Figure(
        "hand_nats",
        "nats",
        "Evidence for the template's hand",
        "Log-likelihood of the template less that of its mirror image, over the best 60 picks. Negative: "
        "either the template or the tilt geometry has the wrong hand.",
        good="above 20, if the particle shows a hand at this resolution",
    ),
)
RECORDS = (
    Record(
        "margins",
        "How many candidates template and decoys win, by margin in nats, and the least margin picked.",
    ),
    Record("picks", "Position in angstrom from the tomogram's centre and margin in nats of every pick."),
)


def bytes_needed(tomogram: Tomogram, params: PickByTemplateParams) -> int:
    """The matched-filter tomogram with its correlation, energy and splines, and the aligned images."""
    pixel = tomogram.series.unweighted_stack.pixel_size_angstrom
    voxel = params.voxel_size_angstrom or max(_USUAL_VOXEL_ANGSTROM, pixel)
    return _BESIDES_BYTES + matched_filter_bytes(tomogram, voxel)


@step(
    "pick_by_template",
    version=6,
    per="tomogram",
    needs=Tomogram,
    gives=Particles,
    bytes_needed=bytes_needed,
    gpu="none",
    outside=lambda name, params: file_digests([params.template] if params.template else []),
    citations=(
        "Barber, R. F. & Candes, E. J. (2015) Controlling the false discovery rate via knockoffs. "
        "Ann. Stat. 43, 2055-2085, doi:10.1214/15-AOS1337",
        "Gimenez, J. R. & Zou, J. (2019) Improving the stability of the knockoff procedure: multiple "
        "simultaneous knockoffs and entropy maximization. AISTATS, PMLR 89, 2184-2192.",
        "Alexa, M. (2022) Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3). CVPR, 8281-8290, "
        "doi:10.1109/CVPR52688.2022.00811",
    ),
    methods=(
        "Particles were picked by a template at a false discovery rate of {false_discovery_rate:.2f}, "
        "estimated with decoys of equal power ({total_n_particles:.0f} particles)."
    ),
    figures=FIGURES,
    records=RECORDS,
)
def pick_by_template(tomogram: Tomogram, params: PickByTemplateParams, context: StepContext) -> Particles:
    """Find particles and their rotations by a template, at a false discovery rate estimated with decoys."""
    series = tomogram.series
    operators = symmetry_matrices(params.symmetry)
    density, density_voxel, diameter = _density(params)
    density = _about_standard_axes(density, density_voxel, diameter, params, context)
    usual = max(_USUAL_VOXEL_ANGSTROM, diameter / _VOXELS_ACROSS)
    grid = search_grid(tomogram, params.voxel_size_angstrom, diameter, usual)
    voxel = grid.voxel_size_angstrom
    if series.handedness.applied is None:
        context.warn(
            f"{series.name}: the handedness is not known, so every depth uses the CTF of the middle; "
            "measure the handedness with estimate_ctf after the alignment, or set it at the import"
        )
    gold = find_gold(tomogram.series, context.device) if params.fill_beads else None
    total = 2 * len(grid.tilts)
    matched = matched_filter_of(
        tomogram,
        grid,
        diameter,
        gold,
        context.rng,
        device=context.device,
        progress=lambda done, _: context.progress(done, total),
    )
    template = template_of_density(
        density,
        density_voxel,
        voxel_size_angstrom=voxel,
        radius_angstrom=0.5 * diameter + voxel,
    )
    matches = match_template(
        matched,
        template,
        operators,
        context.rng,
        angular_step_deg=params.angular_step_deg or _angular_step_deg(len(operators)),
        apart_angstrom=0.8 * diameter
        if params.min_distance_angstrom is None
        else params.min_distance_angstrom,
        false_discovery_rate=params.false_discovery_rate,
        n_decoys=params.decoys,
        margin_angstrom=params.edge_angstrom,
        progress=lambda done, n: context.progress(total // 2 + total // 2 * done // n, total),
    )
    _report(matches, context)
    index = np.flatnonzero(matches.picked)
    index = index[np.argsort(-matches.competition.margin[index], kind="stable")][: params.max_particles]
    found = ParticleRows.of(
        tomogram.name,
        matches.positions_xyz_angstrom[index],
        rotations=matches.rotations[index],
        score=matches.competition.margin[index],
    )
    others = {
        "q_value": matches.competition.q_value[index],
        "significance": matches.significance[index],
        "radial_significance": matches.radial_significance[index],
        "amplitude": matches.amplitude[index],
    }
    rows = replace(found, others=others)
    return particles_in(
        tomogram,
        rows,
        context,
        template=_stored(density, density_voxel, diameter, params, context),
        species=params.species or (params.template.name.split(".")[0] if params.template else "particle"),
        diameter_angstrom=diameter,
        symmetry=params.symmetry,
    )


def _density(params: PickByTemplateParams) -> tuple[NDArray[np.float64], float, float]:
    """The template's density, bright, its voxel size, and the particle's diameter."""
    path = params.template
    if path is None:
        raise UserInputError(
            "pick_by_template has no template; give a map or an atomic model as template, or use pick_blobs"
        )
    if not path.is_file():
        raise UserInputError(
            f"the template {path} does not exist; correct the parameter template of pick_by_template"
        )
    if path.name.lower().endswith(ATOMIC_MODEL_SUFFIXES):
        atoms, electrons = read_atoms(path)
        centre = np.average(atoms, axis=0, weights=electrons)
        extent = 2 * float(np.percentile(np.linalg.norm(atoms - centre, axis=1), 99.5))
        voxel = 0.25 * _USUAL_VOXEL_ANGSTROM
        return density_of_points(atoms, electrons, voxel), voxel, params.diameter_angstrom or extent
    pixels = MrcPixels(path)
    density = pixels[...].astype(np.float64)
    voxel = params.template_voxel_angstrom or pixels.pixel_size_angstrom
    if density.ndim != 3 or min(density.shape) < 8:
        raise UserInputError(
            f"the template {path} has the shape {density.shape}; expected a volume (z, y, x)"
        )
    if not np.isfinite(density).all():
        raise UserInputError(f"the template {path} has values that are not finite numbers")
    if not voxel > 0:
        raise UserInputError(f"the template {path} gives no voxel size; set template_voxel_angstrom")
    diameter = params.diameter_angstrom
    if diameter is None:
        raise UserInputError("a map does not give the particle's size; set diameter_angstrom")
    if diameter > _BEYOND_BOX * min(density.shape) * voxel:
        raise UserInputError(
            f"diameter_angstrom is {diameter:g}, but the template's box is "
            f"{min(density.shape) * voxel:.0f} A wide; correct the diameter or template_voxel_angstrom"
        )
    return _light(density, voxel, diameter, params.contrast), voxel, diameter


def _about_standard_axes(
    density: NDArray[np.float64],
    voxel: float,
    diameter: float,
    params: PickByTemplateParams,
    context: StepContext,
) -> NDArray[np.float64]:
    """The template about the standard axes of its symmetry. Refuses one that lacks the symmetry."""
    name = f"the template {params.template} of pick_by_template"
    found = standard_map(density, voxel, params.symmetry, diameter, name)
    if found.note:
        context.warn(f"The template {params.template} is changed before the search: {found.note}")
    return found.density


def _stored(
    density: NDArray[np.float64],
    voxel: float,
    diameter: float,
    params: PickByTemplateParams,
    context: StepContext,
) -> Average:
    """The template in the frame of the particles' rotations, bright, as first map of a refinement."""
    sink = context.new_pixels("template", density.shape, voxel, kind="volume")
    sink[...] = density.astype(np.float32)
    name = params.template.name.split(".")[0] if params.template else "template"
    return Average(name, sink, voxel, symmetry=params.symmetry, diameter_angstrom=diameter)


def _light(density: NDArray[np.float64], voxel: float, diameter: float, contrast: str) -> NDArray[np.float64]:
    """The density with bright matter."""
    if contrast == "auto":
        at = [(np.arange(n) - n // 2) * voxel for n in density.shape]
        distance = np.sqrt(at[0][:, None, None] ** 2 + at[1][:, None] ** 2 + at[2] ** 2)
        inside = density[distance < 0.5 * diameter]
        rim = density[np.abs(distance - 0.5 * diameter) < 1.5 * voxel]
        contrast = "light" if inside.mean() >= np.median(rim) else "dark"
    return -density if contrast == "dark" else density


def _angular_step_deg(n_operators: int) -> float:
    """Limited by the number of rotations, and no smaller than a refinement needs at its start."""
    volume = 8 * math.pi**2 / n_operators
    return max(_FINEST_STEP_DEG, math.degrees((volume / _ROTATIONS) ** (1 / 3)))


def _report(matches: Matches, context: StepContext) -> None:
    """Figures and records of the picks."""
    competition, picked = matches.competition, matches.picked
    n, n_picked = len(picked), int(picked.sum())
    context.figure("n_particles", n_picked)
    context.figure("n_candidates", n)
    none = "nothing was picked"
    if n:
        context.figure("decoy_wins_percent", 100.0 * float((~competition.is_target).mean()))
    else:
        context.not_measurable("decoy_wins_percent", "there are no candidates")
    if n_picked:
        amplitude = matches.amplitude[picked]
        middle = float(np.median(amplitude))
        spread = 1.4826 * float(np.median(np.abs(amplitude - middle)))
        context.figure("orientation_significance", float(np.median(matches.significance[picked])))
        context.figure("amplitude_spread_percent", 100.0 * spread / middle)
        context.figure("hand_nats", matches.hand_evidence)
    else:
        context.not_measurable("orientation_significance", none)
        context.not_measurable("amplitude_spread_percent", none)
        context.not_measurable("hand_nats", none)
        context.warn(
            "no particle was picked: the template is better than its decoys at "
            f"{int(competition.is_target.sum())} of {n} candidates, too few for the requested rate. Check "
            "the defocus, and the template's diameter and contrast"
        )
    if matches.hand_evidence < -_HAND_NATS:
        context.warn(
            f"the mirrored template explains the picks better, by {-matches.hand_evidence:.0f} nats: the "
            "template's hand or the direction of the tilt axis is wrong; nothing was changed"
        )
    edges = np.linspace(0.0, max(float(competition.margin.max(initial=1.0)), 1.0), 41)
    cut = float(competition.margin[picked].min()) if n_picked else None
    context.record(
        "margins",
        {
            "edges_nats": edges.round(3).tolist(),
            "template": np.histogram(competition.margin[competition.is_target], edges)[0].tolist(),
            "decoys": np.histogram(competition.margin[~competition.is_target], edges)[0].tolist(),
            "cut_nats": cut,
        },
    )
    context.record(
        "picks",
        {
            "xyz_angstrom": matches.positions_xyz_angstrom[picked].round(1).tolist(),
            "margin_nats": competition.margin[picked].round(2).tolist(),
        },
    )
