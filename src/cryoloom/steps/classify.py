"""Divide particles into classes at their known poses, and separate false picks.

Every class has a map of each half. A particle's likelihood under each class follows from all its tilt images
with their CTF, radiation damage and noise; it contributes to each class map with its probability, and
probabilities and maps are improved in turns (expectation and maximisation). Poses stay as `refine` left them.
Halves share nothing finer than 40 A, so averages of the classes stay independent.

The first division is not random: it follows the directions in which the particles differ most from their
common average (principal components), unless maps to compare with are given. False picks go to a junk
class: those that a shell without orientation explains as well as any class. Particles of which `refine` gave
no resolution have no junk class, because a particle with a wrong pose looks the same.

Both halves of a real class differ from the common average in the same way. The correlation of these
differences is reported as evidence; without it, more classes only add noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.averaging.classification import class_probabilities, clusters_of
from cryoloom.algorithms.averaging.evaluation import HalfMaps, particle_mask
from cryoloom.algorithms.averaging.halves import assign_halves
from cryoloom.algorithms.averaging.maps import joined_below, low_pass, map_on_grid
from cryoloom.algorithms.averaging.particle_images import choose_boxes, delocalisation_angstrom
from cryoloom.algorithms.averaging.reconstruction import FourierSums, prior_precision
from cryoloom.algorithms.averaging.shell_correlation import shell_correlation
from cryoloom.contract import Column, Figure, Outputs, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import Average, FscCurve, ParticleRows, Particles, doubt_of
from cryoloom.procedures.averaging_params import particle_diameter_angstrom
from cryoloom.procedures.class_passes import ClassPasses
from cryoloom.procedures.particle_passes import (
    image_stack,
    joined_particles,
    largest_part_bytes,
    warn_of_unknown_hands,
)

__all__ = ["ClassifyParams", "classify"]

Array = NDArray[np.float64]

_JOINED_BELOW_ANGSTROM, _TOUCHING_DIAMETERS = 40.0, 0.7
"""Halves share detail coarser than 40 A, as in `refine`; particles nearer than 0.7 diameters overlap and are
of one half."""
_PRINCIPAL_ROUNDS, _MOST_DIRECTIONS = 12, 3
"""Chosen: rounds in which the directions no longer turn, and directions that the first division looks at."""
_LEAST_EVIDENCE, _SETTLED = 0.1, 0.005
"""Equal particles had an evidence of -0.01 to 0.04, different ones 0.4 to 0.5 (24 particles, four seeds).
Part of the particles that change class: chosen."""
_LEAST_AMPLITUDE = 1.0 / 3.0
"""Chosen: particles with less of the median amplitude are empty places, as in `refine`."""
_AMPLITUDE_SD = 0.2
"""Chosen: prior of a particle's amplitude about 1."""
_PER_CLASS = 4
"""Chosen: two in each half are the fewest that make a map."""


class ClassifyParams(StepParams):
    """Parameters of the classification."""

    n_classes: int = Field(2, ge=1, le=50, description="Number of classes, not counting junk.")
    references: tuple[Path, ...] = Field(
        (), description="Maps (.mrc) to start from, one for each class, in the frame of the poses."
    )
    junk: bool | None = Field(
        None,
        description="Add a class for false picks: those that a shell explains as well. Unset: yes, unless "
        "refine gave no resolution of these poses; particles with wrong poses look like false picks.",
    )
    resolution_angstrom: float = Field(
        15.0, gt=0, description="Finest resolution at which classes are compared."
    )
    focus: Path | None = Field(
        None, description="Mask (.mrc, 0 to 1) of the region in which classes may differ. Unset: everywhere."
    )
    keep: tuple[int, ...] = Field(
        (), description="Classes whose particles are passed on, counted from 1. Unset: all but junk."
    )
    diameter_angstrom: float | None = Field(
        None, gt=0, description="Diameter of the particle. Unset: the value set when picking."
    )
    max_dose_per_angstrom2: float | None = Field(
        None, gt=0, description="Leave out tilts after this dose. Unset: none."
    )
    max_iterations: int = Field(30, ge=1, le=200, description="Largest number of iterations.")


FIGURES = (
    Figure(
        "n_particles",
        "particles",
        "Particles passed on",
        "Particles of the classes that are kept.",
        column=Column("Particles", digits=0),
    ),
    Figure("largest_class_percent", "percent", "Largest class", "Part of all particles."),
    Figure("smallest_class_percent", "percent", "Smallest class", "Part of all particles, without junk."),
    Figure("junk_percent", "percent", "Junk", "Part of the particles in the junk class."),
    Figure(
        "certainty",
        "",
        "Certainty",
        "Mean of the highest probability of each particle.",
        good="above 0.9",
    ),
    Figure(
        "difference_evidence",
        "",
        "Evidence of the classes",
        "Mean correlation between the halves of the difference of a class from the average of all, between "
        "40 A and the resolution of the comparison. Near 0 if all particles are the same.",
        good="above 0.3",
    ),
)
RECORDS = (
    Record("classes", "Particles of every class, and how certain they are.", shows="table"),
    Record(
        "iterations",
        "Part of the particles that changed their class, and mean log-likelihood.",
        shows="table",
    ),
)


@step(
    "classify",
    version=4,
    per="particle_set",
    needs=Particles,
    gives=Particles,
    also_gives={"averages": Average},
    gathers=True,
    bytes_needed=lambda items, params: (
        (1 << 30) + 2 * largest_part_bytes(items, params.diameter_angstrom, params.resolution_angstrom)
    ),
    bytes_per_part=lambda items, params: largest_part_bytes(
        items, params.diameter_angstrom, params.resolution_angstrom
    ),
    outside=lambda name, params: file_digests(
        [*params.references, *([params.focus] if params.focus else [])]
    ),
    citations=(
        "Scheres, S. H. W. (2012) RELION: implementation of a Bayesian approach to cryo-EM structure "
        "determination. J. Struct. Biol. 180, 519-530, doi:10.1016/j.jsb.2012.09.006",
        "Punjani, A. & Fleet, D. J. (2021) 3D variability analysis: resolving continuous flexibility and "
        "discrete heterogeneity from single particle cryo-EM. J. Struct. Biol. 213, 107702, "
        "doi:10.1016/j.jsb.2021.107702",
    ),
    methods=(
        "Particles were divided into {n_classes} classes at their poses by maximum likelihood to "
        "{resolution_angstrom:.0f} A; {n_particles:.0f} were kept."
    ),
    figures=FIGURES,
    records=RECORDS,
)
def classify(items: tuple[Particles, ...], params: ClassifyParams, context: StepContext) -> Outputs:
    """Divide the particles of a project into classes; gives those that are kept, and averages."""
    junk = not any(item.pose_doubt for item in items) if params.junk is None else params.junk
    _check(params, junk=junk)
    rows, series = joined_particles(items)
    diameter = particle_diameter_angstrom(items, params.diameter_angstrom, "classify")
    n_classes = len(params.references) or params.n_classes
    if rows.n < _PER_CLASS * n_classes:
        raise DataUnfitError(
            f"{rows.n} particles are too few for {n_classes} classes; expected at least "
            f"{_PER_CLASS * n_classes}"
        )
    warn_of_unknown_hands(series, context)
    if rows.half is None or not (rows.half > 0).any():
        rows = replace(rows, half=assign_halves(rows, _TOUCHING_DIAMETERS * diameter, context.rng))
    pixel = image_stack(series[0]).pixel_size_angstrom
    finest = max(params.resolution_angstrom, 2.05 * pixel)
    apart = max(delocalisation_angstrom(one, finest) for one in series)
    layout = choose_boxes(diameter, finest, pixel, apart)
    passes = ClassPasses(context, series, rows, layout, finest, params.max_dose_per_angstrom2 or math.inf)
    if not (passes.n_visible > 0).any():
        raise DataUnfitError(
            f"none of {rows.n} particles lies inside an image; check that positions are relative to the "
            "tomogram's centre, not to a corner"
        )
    passes.rows = rows = replace(rows, half=np.where(passes.n_visible > 0, passes.half, 0))
    division = _Division(passes, params, diameter, n_classes, junk=junk)
    division.run(context)
    return _given(items, rows, division, params, diameter, context)


def _check(params: ClassifyParams, *, junk: bool) -> None:
    n_classes = len(params.references) or params.n_classes
    most = n_classes + junk
    wrong = [number for number in params.keep if not 1 <= number <= most]
    if wrong:
        raise UserInputError(f"keep names the classes {wrong}; there are classes 1 to {most}")
    for path in (*params.references, *([params.focus] if params.focus else [])):
        if not path.is_file():
            raise UserInputError(
                f"the map {path} does not exist; correct the parameter references or focus of classify"
            )


class _Division:
    """Classes and their particles. Particles without a half are not used."""

    def __init__(
        self, passes: ClassPasses, params: ClassifyParams, diameter: float, n_classes: int, *, junk: bool
    ) -> None:
        self.passes, self.n_classes, self.junk = passes, n_classes, junk
        self.band, self.voxel = passes.band_angstrom, passes.layout.pixel_size_angstrom
        self.n = passes.layout.crop_px
        self.used = passes.half > 0
        self.mask = particle_mask(self.n, self.voxel, diameter)
        self.focus = None if params.focus is None else _volume(params.focus, self.n, self.voxel).clip(0, 1)
        self.references = [_volume(path, self.n, self.voxel) for path in params.references]
        self.max_iterations = params.max_iterations
        self.probabilities = np.zeros((passes.rows.n, n_classes + self.junk))
        self.sums: list[tuple[FourierSums, FourierSums]] = []
        self.history: list[dict[str, float]] = []
        everyone = np.ones((passes.rows.n, 1))
        self.whole = passes.sums(everyone)[0]
        # The signal on which the halves of all particles agree is the prior of every class.
        correlation = HalfMaps.of_sums(self.whole, self.voxel).correlation(self.mask)
        both = _joined(self.whole)
        curve = np.full(int(both.highest) + 1, 0.01)
        curve[: len(correlation)] = np.clip(correlation[: len(curve)], 0.01, 0.99)
        self.precision = prior_precision(both.shell_weights(), 2 * curve / (1 + curve))
        self.mean = low_pass(both.map(self.precision) * self.mask, self.voxel, self.band)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Most probable class of every particle from 1; junk is the last, 0 is nothing."""
        return np.where(self.used, self.probabilities.argmax(axis=1) + 1, 0)

    def run(self, context: StepContext) -> None:
        """Expectation and maximisation until particles no longer change their class."""
        likelihoods = self._first(context.rng)
        shares = np.full(self.probabilities.shape[1], 1.0 / self.probabilities.shape[1])
        for i in range(self.max_iterations):
            before = self.labels
            self.probabilities = class_probabilities(likelihoods, shares)
            changed = float((self.labels != before)[self.used].mean())
            mean = float((self.probabilities * likelihoods).sum(axis=1)[self.used].mean())
            self.history.append(
                {"changed_percent": round(100 * changed, 2), "log_likelihood": round(mean, 2)}
            )
            self.sums = self.passes.sums(self.probabilities[:, : self.n_classes])
            context.progress(i + 1, self.max_iterations)
            if i and changed < _SETTLED:
                break
            shares = np.maximum(self.probabilities[self.used].mean(axis=0), 0.02)
            shares /= shares.sum()
            likelihoods = self.passes.likelihoods(self._maps(), junk=self.junk)
        self._by_size()

    def halves(self, k: int) -> HalfMaps:
        """Both half maps of a class, without a prior."""
        return HalfMaps.of_sums(self.sums[k], self.voxel)

    def evidence(self) -> float | None:
        """Mean correlation of the halves in the differences between classes, beyond 40 A."""
        if self.n_classes < 2:
            return None
        box = self.n * self.voxel
        first = int(box / _JOINED_BELOW_ANGSTROM) + 1
        last = min(int(box / self.band), self.n // 2 - 1)
        first = min(first, max(last - 1, 1))
        found = []
        for sums in self.sums:
            apart = [
                _apart(half, whole).map(self.precision) * self.mask
                for half, whole in zip(sums, self.whole, strict=True)
            ]
            found.append(float(np.mean(shell_correlation(apart[0], apart[1])[first : last + 1])))
        return float(np.mean(found))

    def _maps(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """References of both halves of every class."""
        made = []
        for sums in self.sums:
            halves = [self._filtered(half.map(self.precision)) for half in sums]
            first, second = joined_below(halves, self.voxel, _JOINED_BELOW_ANGSTROM)
            made.append((first, second))
        return made

    def _filtered(self, density: torch.Tensor) -> torch.Tensor:
        """A reference of a class; outside the focus it is the average of all."""
        made = low_pass(density * self.mask, self.voxel, self.band)
        return made if self.focus is None else self.mean + (made - self.mean) * self.focus

    def _first(self, rng: np.random.Generator) -> Array:
        """Log-likelihoods of the first division."""
        if self.references:
            maps = [low_pass(one * self.mask, self.voxel, self.band) for one in self.references]
            scaled = [one * self._scale(one) for one in maps]
            return self.passes.likelihoods([(one, one) for one in scaled], junk=self.junk)
        if self.n_classes == 1:
            return self.passes.likelihoods([(self.mean, self.mean)], junk=self.junk)
        particles = self._with_density()
        coefficients = self._principal_coefficients(particles, rng)
        division = np.zeros(len(particles), np.int64)
        division[particles] = clusters_of(coefficients[particles], self.n_classes, rng)
        first = np.zeros((len(particles), self.n_classes))
        first[np.arange(len(particles)), division] = 1.0
        first[~particles] = 0.0
        self.sums = self.passes.sums(first)
        return self.passes.likelihoods(self._maps(), junk=self.junk)

    def _with_density(self) -> NDArray[np.bool_]:
        """Particles for the first division: those that are not empty places, ``(n,)``.

        Other particles must be among them, whatever explains these: in a mixture the average of all may be
        more like one kind than like the other.
        """
        slope, curvature = self.passes.difference_terms(torch.zeros_like(self.mean), [self.mean])
        amplitude = slope[:, 0] / np.maximum(curvature[:, 0, 0], 1e-12)
        found = self.used & (amplitude >= _LEAST_AMPLITUDE * np.median(amplitude[self.used]))
        return found if found.sum() >= _PER_CLASS * self.n_classes else self.used

    def _scale(self, density: torch.Tensor) -> float:
        """Factor of a given map that fits the images best."""
        zero = torch.zeros_like(density)
        slope, curvature = self.passes.difference_terms(zero, [density])
        factor = float(slope[self.used].sum() / max(curvature[self.used].sum(), 1e-12))
        if factor <= 0:
            raise DataUnfitError(
                "the particles correlate negatively with a given reference; its density must be positive "
                "(white) and in the frame of the poses"
            )
        return factor

    def _principal_coefficients(self, particles: NDArray[np.bool_], rng: np.random.Generator) -> Array:
        """Coefficients ``(n, q)`` of the directions in which particles differ most.

        The amplitude of the average is a direction of its own, which is left out of the result.
        """
        kept, self.passes.rows = (
            self.passes.rows,
            replace(self.passes.rows, half=np.where(particles, self.passes.half, 0)),
        )
        directions, n = [self.mean], len(particles)
        for _ in range(min(self.n_classes - 1, _MOST_DIRECTIONS)):
            coefficients: Array = rng.standard_normal((n, len(directions) + 1))
            coefficients[:, : len(directions)] = 0.0
            variance: Array = np.zeros(n)
            for _ in range(_PRINCIPAL_ROUNDS):
                sums = self.passes.difference_sums(self.mean, directions, coefficients, variance)
                direction = self._difference(sums)
                slope, curvature = self.passes.difference_terms(self.mean, [*directions, direction])
                prior = np.ones(len(directions) + 1)
                prior[0] = _AMPLITUDE_SD**-2
                precision = curvature + np.diag(prior)
                coefficients = np.array(np.linalg.solve(precision, slope[..., None])[..., 0], np.float64)
                spread = coefficients[particles, -1].std()
                variance = np.array(np.linalg.inv(precision)[:, -1, -1], np.float64)
                # Coefficients of unit variance; the direction takes the scale.
                coefficients[:, -1] /= max(spread, 1e-12)
                variance = variance / max(spread, 1e-12) ** 2
            directions.append(direction)
        self.passes.rows = kept
        return coefficients[:, 1:]

    def _difference(self, sums: FourierSums) -> torch.Tensor:
        """Map of a direction, in the focus if there is one."""
        made = low_pass(sums.map(self.precision) * self.mask, self.voxel, self.band)
        return made if self.focus is None else made * self.focus

    def _by_size(self) -> None:
        """Order the classes, largest first; junk stays last."""
        sizes = self.probabilities[self.used][:, : self.n_classes].sum(axis=0)
        order = np.argsort(-sizes, kind="stable")
        self.sums = [self.sums[k] for k in order]
        self.probabilities[:, : self.n_classes] = self.probabilities[:, order]


def _joined(sums: tuple[FourierSums, FourierSums]) -> FourierSums:
    first, second = sums
    return replace(first, data=first.data + second.data, weights=first.weights + second.weights)


def _apart(sums: FourierSums, whole: FourierSums) -> FourierSums:
    """The difference of a class from the average of all, in its sums.

    Weights of a class are smaller, so its filtered map is weaker than that of all; this does not count as a
    difference.
    """
    expected = sums.weights * whole.data / torch.clip(whole.weights, min=1e-12)
    return replace(sums, data=sums.data - expected)


def _volume(path: Path, n: int, voxel: float) -> torch.Tensor:
    """A map from a file on the grid of the classes."""
    pixels = MrcPixels(path)
    values = np.asarray(pixels[...], dtype=np.float32)
    if values.ndim != 3 or not np.isfinite(values).all() or not pixels.pixel_size_angstrom > 0:
        raise UserInputError(
            f"{path} has the shape {values.shape} and voxels of {pixels.pixel_size_angstrom:g} A; expected a "
            "volume of finite values with a voxel size"
        )
    return map_on_grid(values, pixels.pixel_size_angstrom, n, voxel)


def _given(
    items: Sequence[Particles],
    rows: ParticleRows,
    division: _Division,
    params: ClassifyParams,
    diameter: float,
    context: StepContext,
) -> Outputs:
    """Particles of the classes that are kept, and the classes' averages."""
    labels, highest = division.labels, division.probabilities.max(axis=1)
    keep = params.keep or tuple(range(1, division.n_classes + 1))
    chosen = np.isin(labels, keep)
    others: dict[str, NDArray[Any]] = {**(rows.others or {}), "class_probability": highest}
    everyone = replace(rows, class_number=labels, others=others)
    made = []
    for item in items:
        mine = everyone.take(np.flatnonzero((everyone.tomogram == item.name) & chosen))
        table = context.new_table(f"particles_{item.name}", mine.columns())
        made.append(replace(item, table=table, diameter_angstrom=diameter, images=()))
    _report(division, labels, highest, int(chosen.sum()), context)
    doubt = doubt_of(items)
    averages = tuple(
        _average(division, k, labels, diameter, doubt, context) for k in range(division.n_classes)
    )
    return Outputs(tuple(made), {"averages": averages})


def _average(
    division: _Division,
    k: int,
    labels: NDArray[np.int64],
    diameter: float,
    doubt: str,
    context: StepContext,
) -> Average:
    """Average of a class, with its halves."""
    halves, mask, voxel = division.halves(k), division.mask, division.voxel
    named = {
        "map": _joined(division.sums[k]).map(division.precision),
        "half1": halves.maps[0],
        "half2": halves.maps[1],
        "mask": mask,
    }
    stored: dict[str, Any] = {}
    for role, values in named.items():
        sink = context.new_pixels(f"class_{k + 1}_{role}", tuple(values.shape), voxel, kind="volume")
        sink[...] = values.numpy().astype(np.float32)
        stored[role] = sink
    correlation = halves.correlation(mask)
    curve = FscCurve(
        "masked",
        tuple(round(shell / halves.box_angstrom, 6) for shell in range(len(correlation))),
        tuple(round(float(value), 4) for value in correlation),
    )
    return Average(
        f"class_{k + 1}",
        stored["map"],
        voxel,
        half1=stored["half1"],
        half2=stored["half2"],
        mask=stored["mask"],
        curves=(curve,),
        resolution_note=f"classes are compared to {division.band:.1f} A; {'refine' if doubt else 'average'} "
        "the particles of the class to measure its resolution",
        n_particles=int((labels == k + 1).sum()),
        diameter_angstrom=diameter,
        pose_doubt=doubt,
    )


def _report(
    division: _Division, labels: NDArray[np.int64], highest: Array, n_kept: int, context: StepContext
) -> None:
    used = division.used
    counts = np.bincount(labels[used], minlength=division.probabilities.shape[1] + 1)[1:]
    percent = 100.0 * counts / max(used.sum(), 1)
    context.figure("n_particles", n_kept)
    context.figure("largest_class_percent", float(percent[: division.n_classes].max()))
    context.figure("smallest_class_percent", float(percent[: division.n_classes].min()))
    if division.junk:
        context.figure("junk_percent", float(percent[-1]))
    else:
        context.figure("junk_percent", None, reason="there is no junk class")
    context.figure("certainty", float(highest[used].mean()))
    evidence = division.evidence()
    context.figure("difference_evidence", evidence, reason="there is one class")
    if evidence is not None and evidence < _LEAST_EVIDENCE:
        context.warn(
            "The classes may differ only by chance: the differences of their halves from the other classes "
            f"correlate by {evidence:.2f}, expected {_LEAST_EVIDENCE} or more; use fewer classes"
        )
    names = [str(k + 1) for k in range(division.n_classes)] + (["junk"] if division.junk else [])
    context.record(
        "classes",
        [
            {
                "class": name,
                "particles": int(counts[k]),
                "percent": round(float(percent[k]), 1),
                "certainty": round(float(highest[used & (labels == k + 1)].mean()), 3) if counts[k] else 0.0,
            }
            for k, name in enumerate(names)
        ],
    )
    context.record("iterations", division.history)
